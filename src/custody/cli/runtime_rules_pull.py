"""`custody runtime rules pull`: rule files out of a registry, as falcoctl puts them there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.trust_options import Command, Expected, verify_options, warn
from custody.errors import UsageError
from custody.formats.reference import Reference
from custody.formats.reference import parse as parse_reference
from custody.kit.clock import system_clock
from custody.kit.destination import write_together
from custody.kit.visible import visible
from custody.services import falcorules
from custody.wiring import registry_client

_WHO = ("key", "certificate_identity", "certificate_identity_regexp", "certificate_oidc_issuer",
        "certificate_oidc_issuer_regexp")


@click.command("pull", cls=Command)
@click.argument("image", metavar="REF")
@click.option("-d", "--dir", "folder", default=Path("."), show_default=True, metavar="DIR", help="Where the files go.",
              type=click.Path(file_okay=False, path_type=Path))
@click.option("-f", "--force", is_flag=True, help="Replace files that are there and say something else.")
@verify_options
def command(image: str, folder: Path, force: bool, **options: Any) -> None:
    """Fetch an artifact of rule files, checked as Falco would load them, and print its digest.

    With --key or --certificate-identity and --certificate-oidc-issuer it must be signed, as verify asks it of images;
    without them a warning says that nobody was asked for. Nothing is written before all of it was judged.
    """
    asyncio.run(_run(parse_reference(image.removeprefix(falcorules.REGISTRY)), folder, force, options))


def judge(options: dict[str, Any]) -> falcorules.Judge | None:
    """What verify asks of an image, of an artifact; None where nobody is named. Raises UsageError for half of it."""
    if not any(options[name] for name in _WHO):
        return None
    return falcorules.demanding(Expected(settings(), options).terms, system_clock,
                                lambda line: print(visible(line), file=sys.stderr))


async def _run(ref: Reference, folder: Path, force: bool, options: dict[str, Any]) -> None:
    asked = judge(options)
    async with registry_client(settings()) as client:
        pulled = await falcorules.pull(client, ref, asked)
    if asked is None:
        warn(f"{pulled.ref}: nobody was asked who signed it (--key, --certificate-identity)")
    rules = falcorules.compiled(pulled.files)
    for name, data in pulled.files.items():
        path = folder / name
        if path.exists() and path.read_bytes() != data and not force:
            raise UsageError(f"{path}: is there and says something else", hint="--force")
    for name in pulled.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_together([(folder / name, data) for name, data in pulled.files.items()], "--dir")
    for name in pulled.files:
        print(visible(f"{folder / name}"), file=sys.stderr)
    print(visible(f"{len(rules.rules)} rules"), file=sys.stderr)
    click.echo(str(pulled.ref))
