"""`custody notation inspect`: what the signatures of an image say, whether they count or not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from custody.cli.notation.artifacts import client_for, find, limit_options, seen_as
from custody.cli.notation.inspection import branch_of, drawn, inspected
from custody.cli.notation.options import Command, logging_options, registry_options, warn
from custody.errors import CustodyError, VerificationError
from custody.formats import notary


@click.command("inspect", cls=Command)
@click.argument("artifact", metavar="REFERENCE")
@limit_options
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="text", show_default=True,
              help="What stdout gets.")
@registry_options
@logging_options
def command(artifact: str, output: str, **options: Any) -> None:
    """Show the signatures of an image: who says to have signed it, when, and by which certificates.

    None is verified: that is `custody notation verify`.
    """
    asyncio.run(_inspect(artifact, output, options))


async def _inspect(artifact: str, output: str, options: dict[str, Any]) -> None:
    shown: list[dict[str, Any]] = []
    skipped = 0
    async with client_for(options) as client:
        where = await find(client, artifact, options, "inspect")
        signatures = await where.place.signatures(where.subject)
        for signature in signatures[:options["max_signatures"]]:
            try:
                shown.append(inspected(*await where.place.envelope(signature), signature.digest))
            except CustodyError as error:
                warn(f"Skipping signature {signature.digest} because of error: {error.message}")
                skipped += 1
    if output == "json":
        print(json.dumps({"mediaType": where.subject.media_type, "Signatures": shown}, indent=4))
    elif not shown:
        print(f"{seen_as(where)} has no associated signature")
    else:
        print("Inspecting all signatures for signed artifact")
        print(drawn((seen_as(where), [(notary.ARTIFACT_TYPE, [branch_of(entry, entry["digest"]) for entry in shown])])))
    if len(signatures) > options["max_signatures"]:
        warn(f"exceeded configured limit of max signatures {options['max_signatures']} to examine")
    if skipped:
        raise VerificationError("at least one signature was skipped and not displayed")
