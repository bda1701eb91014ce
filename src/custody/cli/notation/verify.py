"""`custody notation verify`: does a signature beside the image count, by the trust policy for its repository?"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

import click

from custody.cli.explaining import Explaining, explain_option, explaining_of, output_option
from custody.cli.notation.artifacts import artifact_options, client_for, find, seen_as
from custody.cli.notation.options import (
    Command,
    Narrator,
    columns,
    duration,
    logging_options,
    pairs,
    registry_options,
    warn,
)
from custody.cli.notation.verifying import oci_policy, open_verifier
from custody.cli.run import settings
from custody.errors import CustodyError, UsageError, VerificationError
from custody.kit.visible import visible
from custody.services.notarysignatures import Judged, counts, refusal, verify_artifact
from custody.services.telling import Telling
from custody.sign.notary.trustpolicy import SKIP
from custody.sign.notary.verify import Demands
from custody.wiring import command_http
from custody.wiring import max_staple_age as configured_age


@click.command("verify", cls=Command)
@click.argument("artifact", metavar="REFERENCE")
@artifact_options
@click.option("--scope", metavar="REPOSITORY", help="With --oci-layout: by which trust policy, REGISTRY/NAME.")
@click.option("--plugin-config", multiple=True, metavar="{key}={value}",
              help="Passed to the verification plugin as it is; repeatable.")
@click.option("-m", "--user-metadata", multiple=True, metavar="{key}={value}",
              help="The signature must have been made with this; repeatable.")
@click.option("--required-signatures", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="How many must count, each of another signer. custody's own: notation asks for one.")
@click.option("--max-staple-age", metavar="DURATION", help="How long ago answers about revoked certificates may have "
              "been given that `custody notation staple` put there, such as 24h; they count where nobody can be asked. "
              "Default: as long as they say themselves, or the setting. custody's own.")
@explain_option
@output_option
@registry_options
@logging_options
def command(artifact: str, scope: str | None, plugin_config: tuple[str, ...], user_metadata: tuple[str, ...],
            required_signatures: int, max_staple_age: str | None, explain: bool, output: str, **options: Any) -> None:
    """Verify an image as `notation verify` does.

    It needs one signature that counts by the trust policy for its repository. What that only logs is a warning.
    """
    if required_signatures > options["max_signatures"]:
        raise UsageError(f"--required-signatures: got {required_signatures}, of at most {options['max_signatures']} "
                         "signatures that are looked at", hint="--max-signatures looks at more")
    if bool(scope) != bool(options["oci_layout"]):
        raise UsageError("--scope and --oci-layout: give both; a layout does not say which repository it is of")
    explaining = explaining_of(explain, output)
    demands = Demands(pairs(user_metadata, "--user-metadata"), pairs(plugin_config, "--plugin-config"))
    age = configured_age(settings())
    if max_staple_age is not None and not (age := duration(max_staple_age, "--max-staple-age")):
        raise UsageError(f"--max-staple-age: got {max_staple_age}, expected more than nothing")
    asyncio.run(_verify(artifact, scope, demands, required_signatures, options, explaining, age))


async def _verify(artifact: str, scope: str | None, demands: Demands, required: int,
                  options: dict[str, Any], explaining: Explaining | None, max_staple_age: timedelta | None) -> None:
    narrator = Narrator(options["debug"], options["verbose"])
    policy, http = oci_policy(), command_http(settings())
    async with client_for(options, http) as client:
        where = await find(client, artifact, options, "verify")
        statement = policy.for_image(scope or where.name)
        narrator.info(f"trust policy {statement.name}, level {statement.level.name}")
        verifier = open_verifier(http, settings(), narrator, max_staple_age)
        name, telling = f"{seen_as(where)}", Telling() if explaining is not None else None
        refused: CustodyError | None = None
        judged: list[Judged] = []
        try:
            judged = await verify_artifact(where.place, where.subject, statement, verifier, demands,
                                           options["max_signatures"], narrator.info, required, telling)
            if not counts(judged, required):
                refused = refusal(judged, name, required)
        except VerificationError as error:
            refused = error
    if explaining is not None and telling is not None:
        explaining.show(name, telling, refused)
    if refused is not None:
        raise refused
    _report(judged, name, required, told=explaining is not None)


def _report(judged: list[Judged], name: str, required: int, *, told: bool) -> None:
    """Of what counts. Where it was `told` how, stdout has that already."""
    last = judged[-1]
    if last.outcome is None:
        raise refusal(judged, name, required)
    counted = [entry for entry in judged if not entry.reason]
    for result in (result for entry in counted if entry.outcome is not None for result in entry.outcome.failures):
        assert result.error is not None  # it is a failure
        warn(f"{result.validation} was set to \"{result.action}\" and failed with error: {result.error.message}")
    if told:
        return
    if last.outcome.level == SKIP:
        print(f"Trust policy is configured to skip signature verification for {name}")
        return
    print(f"Successfully verified signature for {name}")
    if required > 1:
        sys.stdout.writelines(f"signed by {visible(entry.signer)}\n" for entry in counted)
    show_metadata(last)


def show_metadata(judged: Judged) -> None:
    """What the user signed with the artifact."""
    envelope = judged.outcome.envelope if judged.outcome else None
    if envelope is not None and envelope.target.annotations:
        print("\nThe artifact was signed with the following user metadata.\n")
        sys.stdout.write(columns([("KEY", "VALUE"), *sorted(envelope.target.annotations.items())]))


