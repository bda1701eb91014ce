"""`custody initialize`: the trust files of a TUF mirror."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import click

from custody.cli.run import settings
from custody.errors import NetworkError, UsageError
from custody.kit import regular
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.ports.http import place_of
from custody.services.initializing import check_sum, initialize
from custody.settings import Settings
from custody.trust.tuf.mirrored import read_mirrored
from custody.wiring import command_http, trust_mirror

_PUBLIC = "https://tuf-repo-cdn.sigstore.dev"
_MAX_ROOT = 512_000


@click.command("initialize")
@click.option("--mirror", metavar="URL|DIR", help="A TUF repository: an http or https URL, file:///… or a folder. "
              f"Default: that of the last time, else {_PUBLIC}.")
@click.option("--root", metavar="FILE|URL", help="The repository's root metadata to begin with, from a way that you "
              "trust. Needed the first time.")
@click.option("--root-checksum", metavar="SHA256", help="The digest that --root must have, in hex, or sha512:…; needed "
              "where that is a URL.")
def command(mirror: str | None, root: str | None, root_checksum: str | None) -> None:
    """Fetch trusted_root.json and signing_config.json from a TUF repository, as `cosign initialize` does, to where
    custody's commands look for them.

    The metadata is kept: the next time, what is older than it or not signed as it says is refused. Nothing else fetches
    anything, so that the files are as old as the last run; commands warn once the repository no longer stands by them
    (`expired_trusted_root` in custody.toml).
    """
    configured = settings()
    folder = configured.data / "trust"
    known = read_mirrored(folder)
    url = _mirror(mirror) if mirror is not None else known.mirror if known is not None else _PUBLIC
    if root_checksum is not None and root is None:
        raise UsageError("--root-checksum: is the digest of --root, which is not given")
    initial = None if root is None else _root(configured, root, root_checksum)
    configured.state()
    done = initialize(folder, url, initial, lambda kept, first: trust_mirror(configured, url, kept, first),
                      system_clock)
    print(f"{visible(place_of(url))}: root {done.state.root}, timestamp {done.state.timestamp}; good until "
          f"{format_rfc3339(done.state.expires)} ({done.state.role})", file=sys.stderr)
    for name in ("trusted_root", "signing_config"):
        if getattr(configured, name):
            print(f"warning: {name} = {getattr(configured, name)} in the settings is used instead of what was fetched",
                  file=sys.stderr)
    click.echo(done.trusted_root)
    if done.signing_config is None:
        print("warning: the mirror does not say where to sign; signing needs --signing-config FILE", file=sys.stderr)
    else:
        click.echo(done.signing_config)


def _mirror(text: str) -> str:
    """As a URL without a slash at its end."""
    if text.startswith(("http://", "https://")):
        if not urlsplit(text).hostname:
            raise UsageError(f"--mirror: got {text!r}, expected a URL with a host")
        return text.rstrip("/")
    if "://" in text and not text.startswith("file:///"):
        raise UsageError(f"--mirror: got {text!r}, expected an http or https URL, file:///… or a folder")
    path = Path(unquote(urlsplit(text).path)) if text.startswith("file:///") else Path(text)
    if not path.is_dir():
        raise UsageError(f"--mirror {text}: no such folder", hint="a mirror that is served is an http or https URL")
    return f"file://{quote(str(path.resolve()))}"


def _root(configured: Settings, text: str, checksum: str | None) -> bytes:
    if text.startswith(("http://", "https://")):
        if checksum is None:
            raise UsageError(f"--root {text}: nothing says that it is the right one",
                             hint="--root-checksum SHA256, or a file")
        data = asyncio.run(_download(configured, text))
    else:
        data = regular.limited(Path(text), _MAX_ROOT, "--root")
    if checksum is not None:
        check_sum(data, checksum)
    return data


async def _download(configured: Settings, url: str) -> bytes:
    http = command_http(configured)
    try:
        async with await http.request("GET", url) as answer:
            if answer.status != 200:
                raise NetworkError(f"--root {place_of(url)}: got status {answer.status}, expected 200")
            return await answer.read(_MAX_ROOT)
    finally:
        await http.close()
