"""`custody triangulate`: where cosign's tags of an image are."""

from __future__ import annotations

import asyncio

import click

from custody.cli.run import settings
from custody.cli.trust_options import Command, named, warn
from custody.formats import cosign
from custody.wiring import registry_client

_SUFFIXES = {"signature": ".sig", "attestation": ".att", "sbom": ".sbom"}


@click.command("triangulate", cls=Command)
@click.argument("image")
@click.option("--type", "kind", type=click.Choice([*_SUFFIXES, "digest"]), default="signature", show_default=True,
              help="Of which kind; digest: the image itself by its digest.")
def command(image: str, kind: str) -> None:
    """Print the tag under which cosign keeps an image's signatures, attestations or SBOM.

    Nothing says that there is something: bundles, which cosign 3 and custody write, are referrers and in no tag;
    `custody tree` shows all.
    """
    asyncio.run(_run(image, kind))


async def _run(image: str, kind: str) -> None:
    ref = named(image)
    if ref.digest is None:
        async with registry_client(settings()) as client:
            ref = ref.at((await client.resolve(ref)).digest)
    digest = str(ref.digest)
    if kind == "sbom":
        warn("an SBOM in a tag is signed by nobody; custody attest --type cyclonedx signs it")
    print(f"{ref.name}@{digest}" if kind == "digest" else f"{ref.name}:{cosign.tag(digest, _SUFFIXES[kind])}")
