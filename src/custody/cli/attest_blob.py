"""`custody attest-blob`: sign a statement about a file."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import click

from custody.cli.blob_options import Outputs, sign_blob_options
from custody.cli.predicate import predicate_of
from custody.cli.run import settings
from custody.cli.sign import make_signer
from custody.cli.sign_blob import tell_file
from custody.cli.trust_files import read_input
from custody.cli.trust_options import Command, stated
from custody.errors import UsageError
from custody.formats import intoto
from custody.kit.visible import visible
from custody.sign.blob import Artifact, artifact_of, parse_digest
from custody.wiring import command_http


@click.command("attest-blob", cls=Command)
@click.argument("file", required=False, metavar="FILE|-")
@sign_blob_options
@click.option("--predicate", metavar="FILE", help="What is said of the file: JSON; - reads standard input.")
@click.option("--statement", metavar="FILE", help="A whole in-toto statement, signed as it is.")
@click.option("--type", "kind", default="custom", show_default=True, metavar="TYPE",
              help="Predicate type: a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, or a URI.")
@click.option("--hash", "hexadecimal", metavar="HEX",
              help="SHA-256 of a file that is elsewhere; FILE is its name then.")
@click.option("--output-attestation", metavar="FILE", help="Write the statement to FILE.")
@click.option("--rfc3161-timestamp-bundle", metavar="FILE", help="Write the timestamp to FILE.")
def command(file: str | None, predicate: str | None, statement: str | None, kind: str, hexadecimal: str | None,
            **options: Any) -> None:
    """Sign a predicate about a file and write both to a bundle, as `cosign attest-blob` 3 does."""
    if (predicate is None) == (statement is None):
        raise UsageError("--predicate and --statement: give one of them")
    outputs = Outputs(options, "output_attestation", "rfc3161_timestamp_bundle")
    artifact: Artifact | None
    if statement is not None:
        if hexadecimal is not None:
            raise UsageError("--hash: a statement names its files itself")
        if stated(("kind",)):
            raise UsageError("--type: a statement says itself of which type its predicate is")
        payload = read_input(statement, "--statement")
        kind = intoto.parse_statement(payload, f"--statement {statement}").predicate_type
        # A file beside a statement is held against it, and not passed over.
        artifact = artifact_of(read_input(file, "file")) if file else None
    else:
        if file is None:
            raise UsageError("FILE: not given; --predicate says something about a file")
        if file == "-" and predicate == "-":
            raise UsageError("--predicate -: the file is read from standard input already")
        artifact = _hashed(hexadecimal) if hexadecimal is not None else artifact_of(read_input(file, "file"))
        kind, value = predicate_of(kind, str(predicate))
        payload = intoto.statement(artifact.digest, kind, value, name=os.path.basename(file)).to_bytes()
    asyncio.run(_run(file or str(statement), payload, artifact, kind, outputs, options))


def _hashed(hexadecimal: str) -> Artifact:
    artifact = parse_digest(f"sha256:{hexadecimal.lower()}", "--hash")
    if artifact is None:
        raise UsageError(f"--hash: got {hexadecimal!r}, expected 64 hexadecimal digits")
    return artifact


async def _run(file: str, payload: bytes, artifact: Artifact | None, kind: str, outputs: Outputs,
               options: dict[str, Any]) -> None:
    http = command_http(settings())
    try:
        signer = await make_signer(http, options)
        outputs.check(signer)
        bundle, verified = await signer.sign_statement(payload, artifact, legacy=outputs.legacy)
    finally:
        await http.close()
    assert bundle.envelope is not None  # a statement is signed in one
    outputs.write(bundle, bundle.envelope.to_bytes(), wrapped=True)
    if options["output_attestation"]:
        outputs.file("output_attestation", payload)
    outputs.stamp("rfc3161_timestamp_bundle", bundle)
    tell_file(file, f"{visible(kind)} attested", verified)
