"""`custody verify-blob-attestation`: what is said about a file, and by whom?"""

from __future__ import annotations

import sys
from typing import Any

import click

from custody.cli.blob_options import Expectation, Presented, read_artifact, verify_blob_options
from custody.cli.explaining import explain_option, output_option, told
from custody.cli.predicate_policies import (
    STEPS,
    SUMMARY,
    Demand,
    policy_option,
    summary_options,
    type_option,
)
from custody.cli.trust_options import Command
from custody.errors import UsageError
from custody.kit.clock import system_clock
from custody.sign.blob import Artifact, check_attested, parse_digest


@click.command("verify-blob-attestation", cls=Command)
@click.argument("file", required=False, metavar="FILE")
@verify_blob_options
@type_option
@policy_option
@summary_options
@click.option("--check-claims", type=bool, default=True, show_default=True, metavar="BOOL",
              help="=false: the signature alone is checked, whatever file the statement is about.")
@click.option("--digest", metavar="HEX", help="Of the file, instead of FILE.")
@click.option("--digestAlg", "algorithm", type=click.Choice(["sha256", "sha384", "sha512"]),
              help="What --digest is by. A FILE is compared with every digest that the statement names.")
@explain_option
@output_option
def command(file: str | None, kind: str, policies: tuple[str, ...], check_claims: bool, digest: str | None,
            algorithm: str | None, explain: bool, output: str, **options: Any) -> None:
    """Verify an attestation of a file: the signature, that it is about the file, the predicate's type, and what
    policies say of it, where there are any.

    Says `Verified OK` on standard error.
    """
    demand = Demand(kind, policies, {name: options.pop(name) for name in SUMMARY}, named=False)
    artifact = _artifact(file, check_claims, digest, algorithm)
    presented = Presented(options, artifact or Artifact("no file"))
    expectation = Expectation(options, presented.form)
    with told(explain, output, file or digest or "any file", presented, *STEPS) as own:
        verified = check_attested(presented.bundle, presented.form, artifact, expectation.trust, system_clock(),
                                  own.trace)
        expectation.check_signer(verified, own.trace)
        envelope = presented.bundle.envelope
        assert envelope is not None  # it is verified
        demand.check(verified, envelope.payload, own.trace)
        own.verified = verified
    print("Verified OK", file=sys.stderr)


def _artifact(file: str | None, check_claims: bool, digest: str | None, algorithm: str | None) -> Artifact | None:
    """None where the statement may be about any file. Raises UsageError."""
    if not check_claims:
        if file or digest or algorithm:
            raise UsageError("--check-claims=false: no file is compared, and one was named")
        return None
    if file and (digest or algorithm):
        raise UsageError("--digest and --digestAlg: stand for a file, and FILE was given")
    if file:
        return read_artifact(file)
    if not (digest and algorithm):
        raise UsageError("FILE: not given, and not both of --digest and --digestAlg",
                         hint="--check-claims=false checks the signature alone")
    artifact = parse_digest(f"{algorithm}:{digest.lower()}", "--digest")
    if artifact is None:
        raise UsageError(f"--digest: got {digest!r}, expected hexadecimal digits")
    return artifact
