"""`custody sign-blob`: vouch for a file's bytes."""

from __future__ import annotations

import asyncio
import base64
import sys
from dataclasses import replace
from typing import Any

import click

from custody.cli.blob_options import Outputs, sign_blob_options
from custody.cli.run import settings
from custody.cli.sign import make_signer
from custody.cli.trust_files import read_input
from custody.cli.trust_options import Command
from custody.errors import UnsupportedError, UsageError
from custody.evidence.model import Verified
from custody.kit.visible import visible
from custody.sign.keys import ALGORITHMS, algorithm_of
from custody.sign.signer import Signer
from custody.wiring import command_http


@click.command("sign-blob", cls=Command)
@click.argument("file", metavar="FILE|-")
@sign_blob_options
@click.option("--output", metavar="FILE", help="The older name of --output-signature.")
@click.option("--b64", type=bool, default=True, show_default=True, metavar="BOOL",
              help="=false: signatures and certificates that are written alone are not in base64.")
@click.option("--rfc3161-timestamp", metavar="FILE", help="Write the timestamp to FILE.")
@click.option("--signing-algorithm", metavar="NAME", help="Of keyless signatures: "
              f"{', '.join(ALGORITHMS)}. Default: the first.")
def command(file: str, output: str | None, b64: bool, signing_algorithm: str | None, **options: Any) -> None:
    """Sign a file and write the signature to a bundle, as `cosign sign-blob` 3 does."""
    if output and options["output_signature"]:
        raise UsageError("--output and --output-signature: are one option, give it once")
    options["output_signature"] = options["output_signature"] or output
    if signing_algorithm is not None and signing_algorithm not in ALGORITHMS:
        raise UnsupportedError("--signing-algorithm",
                               f"{signing_algorithm!r}; custody signs with {', '.join(ALGORITHMS)}")
    asyncio.run(_run(file, Outputs(options, "rfc3161_timestamp"), b64, signing_algorithm, options))


async def _run(file: str, outputs: Outputs, wrapped: bool, algorithm: str | None, options: dict[str, Any]) -> None:
    http = command_http(settings())
    try:
        signer = _with_algorithm(await make_signer(http, options), algorithm)
        outputs.check(signer)
        bundle, verified = await signer.sign_file(read_input(file, "file"), legacy=outputs.legacy)
    finally:
        await http.close()
    signature = base64.b64encode(bundle.signature) if wrapped else bundle.signature
    outputs.write(bundle, signature, wrapped=wrapped)
    outputs.stamp("rfc3161_timestamp", bundle)
    tell_file(file, "signed", verified)


def _with_algorithm(signer: Signer, algorithm: str | None) -> Signer:
    if algorithm is None:
        return signer
    own = algorithm_of(signer.key.public) if signer.key is not None else algorithm
    if own != algorithm:
        raise UsageError(f"--signing-algorithm {algorithm}: the key signs with {own or 'another'}",
                         hint="leave it out: a key says itself how it signs")
    return replace(signer, algorithm=algorithm)


def tell_file(file: str, done: str, verified: Verified) -> None:
    print(f"{'standard input' if file == '-' else visible(file)}: {done} by {visible(str(verified.signer))}"
          + (f", log index {verified.log.index}" if verified.log else ", in no log"), file=sys.stderr)
