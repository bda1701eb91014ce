"""`custody notation plugin install`: a plugin from a file or from an HTTPS server."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import click

from custody.cli.notation.options import Command, Narrator, directory, logging_options, warn
from custody.cli.run import settings
from custody.errors import NetworkError, UsageError
from custody.kit.visible import visible
from custody.ports.http import place_of
from custody.services.plugininstall import MAX_BYTES, install
from custody.wiring import command_http, programs

_REDIRECTS = 5


@click.command("install", cls=Command)
@click.argument("source", metavar="FILE|URL")
@click.option("--file", "is_file", is_flag=True, help="The plugin is a file: a program notation-NAME, or a zip or "
              "tar.gz with one.")
@click.option("--url", "is_url", is_flag=True, help="The plugin is at an HTTPS URL.")
@click.option("--sha256sum", "checksum", metavar="HEX", help="The file's SHA-256; --url needs it.")
@click.option("--force", is_flag=True, help="Also where the same version or a later one is there.")
@logging_options
def command(source: str, is_file: bool, is_url: bool, checksum: str | None, force: bool, **options: Any) -> None:
    """Install a plugin, or update it."""
    narrator = Narrator(options["debug"], options["verbose"])
    if is_file == is_url:
        raise UsageError("--file and --url: got " + ("both" if is_file else "none") + ", expected one")
    with tempfile.TemporaryDirectory(prefix="custody-plugin-") as folder:
        path = Path(source)
        if is_url:
            if not checksum:
                raise UsageError("--url: got no --sha256sum, expected the SHA-256 of what is fetched")
            if urlsplit(source).scheme != "https":
                raise UsageError(f"--url {place_of(source)}: only the HTTPS scheme is supported")
            print(f"Downloading plugin from {visible(source)}")
            path = Path(folder) / (urlsplit(source).path.rpartition("/")[2] or "plugin")
            asyncio.run(_download(source, path))
            print("Download completed")
        narrator.debug(f"installing {path} into {directory().plugins}")
        done = install(directory(), path, programs(), checksum=checksum, force=force)
    if done.made_executable:
        warn("the plugin's program had no permission to be executed, and was given it")
    name, version = visible(done.now.name), visible(done.now.version)
    if done.before:
        print(f"Successfully updated plugin {name} from version {visible(done.before.version)} to {version}")
    else:
        print(f"Successfully installed plugin {name}, version {version}")


async def _download(url: str, path: Path) -> None:
    """Raises NetworkError; it goes from HTTPS to HTTPS alone."""
    http = command_http(settings())
    try:
        for _ in range(_REDIRECTS):
            async with await http.request("GET", url) as answer:
                location = answer.headers.get("location")
                if answer.status in (301, 302, 303, 307, 308) and location:
                    url = urljoin(url, location)
                    if urlsplit(url).scheme != "https":
                        raise NetworkError(f"{place_of(url)}: redirected to what is not HTTPS")
                    continue
                if answer.status != 200:
                    raise NetworkError(f"{place_of(url)}: answered {answer.status}")
                size = 0
                with path.open("wb") as stream:
                    async for chunk in answer.chunks():
                        size += len(chunk)
                        if size >= MAX_BYTES:
                            raise NetworkError(f"{place_of(url)}: got more than {MAX_BYTES} bytes")
                        stream.write(chunk)
                return
    finally:
        await http.close()
    raise NetworkError(f"{place_of(url)}: redirected without end")
