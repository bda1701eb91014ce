"""`custody generate`: what would be signed of an image in cosign 2's form."""

from __future__ import annotations

import asyncio
import sys

import click

from custody.cli.run import settings
from custody.cli.trust_options import Command, resolve
from custody.formats import cosign, intoto
from custody.wiring import registry_client


@click.command("generate", cls=Command)
@click.argument("image")
@click.option("-a", "--annotations", multiple=True, metavar="KEY=VALUE", help="Put this annotation in.")
def command(image: str, annotations: tuple[str, ...]) -> None:
    """Print the simple-signing payload of an image, which nobody signed yet, as `cosign generate` does.

    Whoever signs it elsewhere signs these bytes, to which no newline belongs.
    """
    asyncio.run(_run(image, intoto.parse_annotations(annotations)))


async def _run(image: str, annotations: dict[str, str]) -> None:
    async with registry_client(settings()) as client:
        ref, descriptor = await resolve(client, image)
    sys.stdout.write(cosign.payload(cosign.SimpleSigning(descriptor.digest, ref.name, annotations)).decode())
