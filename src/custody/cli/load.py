"""`custody load`: a folder of `save`, looked at and put into a registry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from custody.cli.airgap import by_key, opened
from custody.cli.copy import Plan, carried, packed, tell
from custody.cli.places import source, target
from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, stated, verify_options
from custody.errors import UsageError
from custody.services.airgap import is_airgap
from custody.services.cargo import KINDS
from custody.services.verify import Terms
from custody.settings import Settings


@click.command("load", cls=Command)
@click.argument("image", required=False)
@click.option("--dir", "folder", required=True, type=click.Path(path_type=Path, file_okay=False, exists=True),
              metavar="DIR", help="The folder.")
@click.option("-f", "--force", is_flag=True, help="Replace what the tags mean at the target.")
@verify_options
def command(image: str | None, folder: Path, force: bool, **options: Any) -> None:
    """Push the image of a folder, with all that is known about it, into a registry under the name IMAGE.

    The folder is one of `custody save` or `cosign save`. Where it has a signed manifest (--airgap), that is verified
    first, and every file compared with it: say whose it must be, with --key or --certificate-identity and
    --certificate-oidc-issuer. Without IMAGE that is all that is done.
    """
    if is_airgap(folder):
        opened(folder, _terms(options))
    elif image is None:
        raise UsageError("load: got no image, expected the name that it gets in a registry",
                         hint="without a name a folder of `save --airgap` is checked; this one has no signed manifest")
    elif given := stated(options):
        raise UsageError(f"{given}: the folder {folder} has no signed manifest, so nothing says whose it is",
                         hint="custody save --airgap makes one; load without such options, then verify")
    if image is not None:
        asyncio.run(_run(settings(), folder, image, Plan(KINDS, whole=True, force=force)))


def _terms(options: dict[str, Any]) -> Terms:
    """Whose manifest it must be. The trusted root in the folder is never taken to verify the folder by."""
    keyless = options["certificate_identity"] or options["certificate_identity_regexp"]
    if options["key"] and not keyless:
        if given := stated(name for name in options if name != "key"):
            raise UsageError(f"{given}: a key's word for the folder counts by itself")
        return by_key(options["key"])
    if not (options["key"] or keyless):
        raise UsageError("load: the folder has a signed manifest, and nobody said whose it must be",
                         hint="--key FILE, or --certificate-identity ID --certificate-oidc-issuer URL")
    return Expected(settings(), options).terms


async def _run(configured: Settings, folder: Path, image: str, plan: Plan) -> None:
    async with source(configured, f"oci:{folder}") as start:
        cargo = await packed(start, plan)
        async with target(configured, image, start.ref) as (end, tag):
            tally = await carried(start, end, cargo, tag, plan)
            tell(end, cargo, tally)
            print(f"{end.ref.name}@{cargo.root.digest}")
