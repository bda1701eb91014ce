"""`custody save`: an image with its evidence into a folder, which may cross an air gap."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from custody.cli.bars import progress
from custody.cli.copy import Plan, carried, packed, tell
from custody.cli.places import source, target
from custody.cli.run import settings
from custody.cli.sign import make_signer
from custody.cli.trust_options import SIGNING, Command, message_signer, sign_options, stated
from custody.errors import UsageError
from custody.kit import destination
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services import airgap
from custody.services.cargo import KINDS
from custody.settings import Settings
from custody.sign.signer import Signer
from custody.wiring import command_http, trusted_root_file


@click.command("save", cls=Command)
@click.argument("image")
@click.option("--dir", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="The folder: new, empty, or with the same image.")
@click.option("--platform", metavar="OS/ARCH", help="Of an index the one image, e.g. linux/amd64.")
@click.option("--airgap", "sealed", is_flag=True, help="Put the trusted root beside it, and sign one manifest of every "
              "file, with --key or keyless.")
@click.option("--advisories", is_flag=True, help="Of --airgap: the advisory database too.")
@click.option("--carry", "files", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE", help="Of --airgap: this file too, such as a signing config, policies, revocation lists.")
@sign_options
def command(image: str, folder: Path, platform: str | None, sealed: bool, advisories: bool, files: tuple[Path, ...],
            **options: Any) -> None:
    """Save an image and all that is known about it as an OCI layout, which `cosign load` takes too.

    With --airgap the folder has what the far side needs: DIR/airgap/trusted_root.json, what was given along, and
    DIR/airgap.sigstore.json, which `custody load` verifies before it reads anything else.
    """
    if not sealed and (advisories or files):
        raise UsageError("--advisories, --carry: are part of --airgap")
    if not sealed and (given := stated(SIGNING)):
        raise UsageError(f"{given}: only --airgap signs something")
    for file in files:
        _check_readable(file)
    names = [file.name for file in files]
    if len({*names, "trusted_root.json", "advisories.custody"}) != len(names) + 2:
        raise UsageError("--carry: two files of one name, or one named as what custody puts there")
    if airgap.is_airgap(folder) or (sealed and folder.is_dir() and any(folder.iterdir())):
        raise UsageError(f"--dir {folder}: has something in it already, expected a new folder for --airgap"
                         if sealed else f"--dir {folder}: has a signed manifest, which would be of something else then")
    asyncio.run(_run(settings(), image, folder, Plan(KINDS, whole=True, force=True, platform=platform),
                     Sealing(sealed, advisories, files, message_signer(options["key"]) if advisories else None,
                             options)))


def _check_readable(file: Path) -> None:
    """Before the image is copied, and not behind it."""
    try:
        if not file.is_file():
            raise UsageError(f"--carry {file}: is no regular file")
        with file.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"--carry {file}: {error.strerror}") from None


class Sealing(NamedTuple):
    """What --airgap adds."""

    sealed: bool
    advisories: bool
    files: tuple[Path, ...]
    sign: Callable[[bytes], bytes] | None
    """By the key alone, where one was named and there are advisories: what they are signed with."""
    options: dict[str, Any]


async def _run(configured: Settings, image: str, folder: Path, plan: Plan, sealing: Sealing) -> None:
    http = command_http(configured)
    try:
        signer = await make_signer(http, sealing.options) if sealing.sealed else None  # before the work, not after it
        async with source(configured, image) as start:
            cargo = await packed(start, plan)
            _check_same(folder, cargo.root.digest)
            async with target(configured, f"oci:{folder}", start.ref) as (end, tag):
                tally = await carried(start, end, cargo, tag, plan)
                tell(end, cargo, tally)
            if signer is not None:
                await _seal(configured, signer, str(start.ref.at(cargo.root.digest)), folder, sealing)
    finally:
        await http.close()
    print(f"{folder}: {cargo.root.digest}")


async def _seal(configured: Settings, signer: Signer, name: str, folder: Path, sealing: Sealing) -> None:
    await asyncio.to_thread(_put_along, configured, folder, sealing)  # a key elsewhere has an event loop of its own
    digest = name.partition("@")[2]
    with progress(f"Hashing {folder}", _size(folder)) as advance:
        statement = airgap.describe(folder, name, digest, system_clock(), advance)
    data, verified = await signer.sign(statement, digest)
    destination.write(folder / airgap.MANIFEST, data, "--dir")
    print(f"{folder / airgap.MANIFEST}: {amount(len(statement.predicate['files']), 'file')} signed by "
          f"{visible(str(verified.signer))}", file=sys.stderr)


def _check_same(folder: Path, digest: str) -> None:
    """cosign knows one image a folder, and so does `load`."""
    if not (folder / "index.json").exists():
        return
    from custody.registry.layout import Layout

    held = [image.digest for image in Layout(folder).images() if image.digest != digest]
    if held:
        raise UsageError(f"--dir {folder}: holds another image, {held[0]}", hint="a folder has one image; or custody "
                         "copy IMAGE oci:DIR:TAG")


def _put_along(configured: Settings, folder: Path, sealing: Sealing) -> None:
    destination.make_folder(folder / airgap.FOLDER, "--dir")
    root = Path(sealing.options["trusted_root"] or trusted_root_file(configured))
    if root.is_file():
        shutil.copyfile(root, folder / airgap.ROOT)
    else:
        print("warning: there is no trusted root to carry: what was signed keyless will need one on the far side",
              file=sys.stderr)
    for file in sealing.files:
        shutil.copyfile(file, folder / airgap.FOLDER / file.name)
    if sealing.advisories:
        from custody.vulns import archive
        from custody.wiring.local import advisories

        contents = archive.write(advisories(configured), folder / airgap.ADVISORIES, sealing.sign, system_clock())
        print(f"{folder / airgap.ADVISORIES}: {amount(contents.records, 'record')}", file=sys.stderr)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
