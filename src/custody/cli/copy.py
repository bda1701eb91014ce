"""`custody copy`: an image with its evidence, to another registry or a folder."""

from __future__ import annotations

import asyncio
import sys
from typing import NamedTuple

import click

from custody.cli.bars import progress
from custody.cli.places import source, target
from custody.cli.run import settings
from custody.cli.trust_options import Command, warn
from custody.errors import UsageError
from custody.kit.amount import amount
from custody.services.cargo import Cargo, only, pack
from custody.services.copying import Place, Tally, carry
from custody.settings import Settings


@click.command("copy", cls=Command)
@click.argument("origin", metavar="SRC")
@click.argument("goal", metavar="DST")
@click.option("--only", "kinds", metavar="KIND,…", help="Of the evidence these alone (sig, att, sbom), and no tag of "
              "the image's.")
@click.option("--sig-only", is_flag=True, help="The same as --only=sig.")
@click.option("-f", "--force", is_flag=True, help="Replace what the tags mean at the target.")
@click.option("--platform", metavar="OS/ARCH", help="Of an index the one image, e.g. linux/amd64.")
@click.option("-r", "--recursive", is_flag=True, help="Referrers of any kind too, such as Notation's signatures, and "
              "evidence about evidence.")
def command(origin: str, goal: str, kinds: str | None, sig_only: bool, force: bool, platform: str | None,
            recursive: bool) -> None:
    """Copy an image and what is known about it, bytes equal.

    SRC and DST are images of registries or oci:DIR[:TAG]. Of an index every manifest is copied, with its evidence:
    bundles, cosign's tags, cosign 2's artifacts. A registry without the referrers API gets the fallback tag, merged
    with what is in it. Nothing is written before all of it was listed.
    """
    if recursive and (kinds or sig_only):
        raise UsageError("--recursive: copies all there is, and --only a part", hint="give one of them")
    chosen = ("sig",) if sig_only and kinds is None else (*only(kinds), *(("sig",) if sig_only else ()))
    plan = Plan(chosen, recursive, force, platform, kinds is not None or sig_only)
    asyncio.run(_run(settings(), origin, goal, plan))


class Plan(NamedTuple):
    kinds: tuple[str, ...]
    whole: bool
    force: bool = False
    platform: str | None = None
    untagged: bool = False


async def _run(configured: Settings, origin: str, goal: str, plan: Plan) -> None:
    async with source(configured, origin) as start:
        cargo = await packed(start, plan)
        async with target(configured, goal, start.ref) as (end, tag):
            tally = await carried(start, end, cargo, None if plan.untagged else tag, plan)
            tell(end, cargo, tally)
            print(f"{end.ref.name}@{cargo.root.digest}")


async def packed(start: Place, plan: Plan) -> Cargo:
    with progress(f"Listing {start.ref.repository}") as advance:
        cargo = await pack(start.client, start.ref, whole=plan.whole, kinds=plan.kinds, platform=plan.platform,
                           advance=advance)
    if cargo.left and not plan.untagged:
        warn(f"{start}: {amount(len(cargo.left), 'referrer')} of other kinds stay behind, such as "
             f"{cargo.left[0].artifact_type or cargo.left[0].media_type}; -r carries them")
    return cargo


async def carried(start: Place, end: Place, cargo: Cargo, tag: str | None, plan: Plan) -> Tally:
    if not end.folder and end.ref.digest not in (None, cargo.root.digest):
        raise UsageError(f"{end}: got another digest than the image's, {cargo.root.digest}",
                         hint="name a tag, or nothing after the repository's name")
    total = sum(blob.size for blob in cargo.blobs().values())
    with progress(f"Copying {start.ref.repository}", total) as advance:
        return await carry(start, end, cargo, tag=tag, force=plan.force, advance=advance)


def tell(end: Place, cargo: Cargo, tally: Tally) -> None:
    """What was carried, for people."""
    images = len(cargo.pieces) - len(cargo.evidence)
    print(f"{end}: {amount(images, 'manifest')} of the image, {len(cargo.evidence)} of evidence; "
          f"{tally.pushed} pushed, {tally.there} there already; {amount(tally.blobs, 'blob')} of {tally.bytes} bytes "
          f"pushed, {tally.mounted} mounted", file=sys.stderr)
