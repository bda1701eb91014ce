"""`custody notation staple`: what is said of revoked certificates now, beside the signatures, for an air gap."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from custody.cli.notation.artifacts import artifact_options, client_for, find, seen_as
from custody.cli.notation.options import Command, Narrator, logging_options, registry_options, warn
from custody.cli.notation.verifying import oci_policy, verifier_of
from custody.cli.run import settings
from custody.errors import UsageError, VerificationError
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, system_clock
from custody.services.notarystapling import Stapling, staple_artifact
from custody.wiring import command_http


@click.command("staple", cls=Command)
@click.argument("artifact", metavar="REFERENCE")
@artifact_options
@click.option("--scope", metavar="REPOSITORY", help="With --oci-layout: by which trust policy, REGISTRY/NAME.")
@registry_options
@logging_options
def command(artifact: str, scope: str | None, **options: Any) -> None:
    """Ask about revoked certificates now, and keep the answers beside the signatures.

    Each signature that counts by the trust policy gets those about its chain and its timestamp's, in the place of what
    was stapled to it before. `copy --recursive` and `save --airgap` carry them. They count, by their issuers'
    signatures and until their own end, where `verify` and `check` cannot ask.
    """
    if bool(scope) != bool(options["oci_layout"]):
        raise UsageError("--scope and --oci-layout: give both; a layout does not say which repository it is of")
    asyncio.run(_staple(artifact, scope, options))


async def _staple(artifact: str, scope: str | None, options: dict[str, Any]) -> None:
    narrator = Narrator(options["debug"], options["verbose"])
    policy, http = oci_policy(), command_http(settings())
    async with client_for(options, http) as client:
        where = await find(client, artifact, options, "staple")
        statement = policy.for_image(scope or where.name)
        narrator.info(f"trust policy {statement.name}, every validation enforced")
        staplings = await staple_artifact(where.place, where.subject, statement,
                                          lambda revocations: verifier_of(revocations, narrator), http, system_clock,
                                          options["max_signatures"])
    name = seen_as(where)
    for stapling in staplings:
        if stapling.reason:
            warn(f"signature {stapling.signature}: nothing is stapled: {stapling.reason}")
        if stapling.left:
            warn(f"signature {stapling.signature}: what was stapled before stays beside it: {stapling.left}")
    done = [stapling for stapling in staplings if not stapling.reason]
    if not done:
        raise VerificationError(f"{name}: nothing is stapled: no signature counts\n" + "\n".join(
            f"  {stapling.signature}: {stapling.reason}" for stapling in staplings))
    for stapling in done:
        print(_said(stapling))


def _said(stapling: Stapling) -> str:
    if not stapling.answers:
        return f"Nothing to staple to signature {stapling.signature}: its certificates name nobody to ask"
    until = f", good until {format_rfc3339(stapling.until)}" if stapling.until else ""
    return f"Successfully stapled {amount(stapling.answers, 'answer')} to signature {stapling.signature}{until}"
