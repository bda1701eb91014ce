"""`custody verify-blob`: is the file signed, and by whom?"""

from __future__ import annotations

import sys
from typing import Any

import click

from custody.cli.blob_options import Expectation, Presented, read_artifact, verify_blob_options
from custody.cli.explaining import explain_option, output_option, told
from custody.cli.trust_options import Command
from custody.kit.clock import system_clock
from custody.sign.blob import check_signed


@click.command("verify-blob", cls=Command)
@click.argument("file", metavar="FILE|-|sha256:HEX")
@verify_blob_options
@explain_option
@output_option
def command(file: str, explain: bool, output: str, **options: Any) -> None:
    """Verify a signature of a file, by a key or by the identity and issuer of a certificate.

    Says `Verified OK` on standard error. A digest stands for a file that is elsewhere. All that is needed is in the
    bundle and the trusted root: no service is asked.
    """
    artifact = read_artifact(file)
    presented = Presented(options, artifact)
    expectation = Expectation(options, presented.form)
    with told(explain, output, file, presented) as own:
        verified = check_signed(presented.bundle, presented.form, artifact, expectation.trust, system_clock(),
                                own.trace)
        expectation.check_signer(verified, own.trace)
        own.verified = verified
    print("Verified OK", file=sys.stderr)
