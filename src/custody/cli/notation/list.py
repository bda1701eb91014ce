"""`custody notation list`: which signatures are beside an image, whether they count or not."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from custody.cli.notation.artifacts import artifact_options, client_for, find, seen_as
from custody.cli.notation.options import Command, logging_options, registry_options
from custody.formats import notary


@click.command("list", cls=Command)
@click.argument("artifact", metavar="REFERENCE")
@artifact_options
@registry_options
@logging_options
def command(artifact: str, **options: Any) -> None:
    """List the signatures of an image, each by its manifest's digest. None is verified."""
    asyncio.run(_list(artifact, options))


async def _list(artifact: str, options: dict[str, Any]) -> None:
    async with client_for(options) as client:
        where = await find(client, artifact, options, "list")
        signatures = await where.place.signatures(where.subject)
    if not signatures:
        print(f"{seen_as(where)} has no associated signature")
        return
    print(f"{seen_as(where)}\n└── {notary.ARTIFACT_TYPE}")
    listed = signatures[:options["max_signatures"]]
    for at, signature in enumerate(listed):
        print(f"    {'└' if at == len(listed) - 1 else '├'}── {signature.digest}")
    if len(listed) < len(signatures):
        print(f"Warning: exceeded configured limit of max signatures {len(listed)} to examine")
