"""`custody trust tuf`: the TUF repository that tells others of this data directory's trust files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from custody.cli.run import settings
from custody.errors import UsageError
from custody.kit import destination
from custody.kit.clock import format_rfc3339
from custody.kit.visible import visible
from custody.wiring import Platform

_NOWHERE = "http://127.0.0.1"  # nothing is served, and the files say themselves where services are


@click.group("tuf")
def command() -> None:
    """A TUF repository of trusted root and signing config, for `custody initialize` and `cosign initialize`.

    `custody up`, and `serve` with the tuf role, serve it below /tuf and sign it anew in time.
    """


@command.command("publish")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--refresh", is_flag=True, help="Sign the timestamp anew whatever is left of it: it counts for a week.")
def _publish(folder: Path, refresh: bool) -> None:
    """Bring the repository up to date and copy it to FOLDER, for any file server.

    Printed is the root metadata that clients begin with. Repeat it before the timestamp runs out.
    """
    destination.make_folder(folder, "trust tuf publish")
    platform = Platform(settings(), _NOWHERE)
    if not platform.publish(refresh=refresh):
        raise UsageError(f"{platform.published[0]}: no such file, so there is no trusted root to tell of",
                         hint="custody up, custody trust export or custody initialize makes one; or `trusted_root` in "
                         "custody.toml")
    version = platform.tuf.publish(folder)
    _say(platform, f"{visible(str(folder))}: timestamp {version}")
    click.echo(folder / "1.root.json")


@command.command("rotate-root")
@click.option("--root-key", metavar="FILE", help="The root key as it was until now. Default: tuf-root.key in the data "
              "directory.")
@click.option("--online", is_flag=True, help="Another key for targets, snapshot and timestamp too.")
def _rotate(root_key: str | None, online: bool) -> None:
    """Make another root key, and publish root metadata that is signed by the old and the new one.

    Clients that know the old root take the new one. The new key is tuf-root.key in the data directory: keep it
    elsewhere if you like, it is needed for this command alone, and once a year. `publish` brings copies up to date.
    """
    platform = Platform(settings(), _NOWHERE)
    version = platform.rotate_tuf_root(Path(root_key) if root_key is not None else None, online=online)
    _say(platform, f"root {version}")
    click.echo(platform.tuf.folder / f"{version}.root.json")


def _say(platform: Platform, done: str) -> None:
    expiry = platform.tuf.expiry()
    until = f"; good until {format_rfc3339(expiry[1])} ({expiry[0]})" if expiry is not None else ""
    print(f"{done}{until}", file=sys.stderr)
