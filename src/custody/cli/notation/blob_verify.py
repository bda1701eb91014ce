"""`custody notation blob verify`: does a signature of a file count, by a trust policy?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, logging_options, pairs, warn
from custody.cli.notation.verify import show_metadata
from custody.cli.notation.verifying import blob_policy, open_verifier
from custody.cli.run import settings
from custody.errors import UsageError, VerificationError
from custody.services.notarysignatures import Judged, describe_file, envelope_file
from custody.sign.notary.trustpolicy import SKIP
from custody.sign.notary.verify import Demands
from custody.wiring import command_http


@click.command("verify", cls=Command)
@click.argument("blob", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--signature", required=True, metavar="FILE", type=click.Path(path_type=Path),
              help="The signature: NAME.jws.sig or NAME.cose.sig.")
@click.option("--media-type", metavar="TYPE", help="The file must have been signed as one of this type.")
@click.option("--policy-name", metavar="NAME", help="By which trust policy. Default: the global one.")
@click.option("--plugin-config", multiple=True, metavar="{key}={value}",
              help="Passed to the verification plugin as it is; repeatable.")
@click.option("-m", "--user-metadata", multiple=True, metavar="{key}={value}",
              help="The signature must have been made with this; repeatable.")
@logging_options
def command(blob: Path, signature: Path, media_type: str | None, policy_name: str | None,
            plugin_config: tuple[str, ...], user_metadata: tuple[str, ...], **options: Any) -> None:
    """Verify a file by the signature that lies beside it or anywhere."""
    if policy_name is not None and not policy_name.strip():
        raise UsageError("--policy-name: got '', expected the name of a trust policy")
    demands = Demands(pairs(user_metadata, "--user-metadata"), pairs(plugin_config, "--plugin-config"))
    asyncio.run(_verify(blob, signature, media_type or "", policy_name, demands,
                        Narrator(options["debug"], options["verbose"])))


async def _verify(blob: Path, signature: Path, media_type: str, policy_name: str | None, demands: Demands,
                  narrator: Narrator) -> None:
    data, form = envelope_file(signature)
    statement, http = blob_policy().for_blob(policy_name), command_http(settings())
    narrator.info(f"trust policy {statement.name}, level {statement.level.name}")
    describe = describe_file(blob, media_type)
    try:
        describe("sha256")  # a file that cannot be read is not one whose signature is wrong
        outcome = await open_verifier(http, settings(), narrator).verify(data, form, statement, describe, demands)
    finally:
        await http.close()
    if outcome.error is not None:
        raise VerificationError(f"{blob}: the signature does not count: {outcome.error.message}",
                                hint=outcome.error.hint, check=outcome.error.check)
    for result in outcome.failures:
        assert result.error is not None  # it is a failure
        warn(f"{result.validation} was set to \"{result.action}\" and failed with error: {result.error.message}")
    if outcome.level == SKIP:
        print(f"Trust policy is configured to skip signature verification for {blob}")
        return
    print(f"Successfully verified signature for {blob}")
    show_metadata(Judged(str(signature), outcome, ""))
