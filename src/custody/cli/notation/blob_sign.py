"""`custody notation blob sign`: a signature of a file, in a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, BinaryIO

import click

from custody.cli.notation.options import Command, Narrator, confirmed, logging_options, warn
from custody.cli.notation.signing import signer, signing_options, summary, terms
from custody.cli.run import settings
from custody.errors import UnsupportedError
from custody.kit import destination, regular
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.ports.http import Http
from custody.services.notarysigning import BLOB_TYPE, sign_blob, signature_path
from custody.sign.notary.sign import EnvelopeMaker, Key, Signed, Terms
from custody.wiring import command_http


@click.command("sign", cls=Command)
@click.argument("blob", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@signing_options
@click.option("--media-type", default=BLOB_TYPE, show_default=True, metavar="TYPE", help="What the file is.")
@click.option("--signature-directory", type=click.Path(path_type=Path, file_okay=False), default=Path("."),
              metavar="DIR", help="Where the signature goes, as NAME.jws.sig or NAME.cose.sig. Default: the working "
              "directory.")
@click.option("--force", is_flag=True, help="Replace a signature that is there, without asking.")
@logging_options
def command(blob: Path, media_type: str, signature_directory: Path, force: bool, **options: Any) -> None:
    """Sign a file as `notation blob sign` does, and write the signature to another."""
    narrator = Narrator(options["debug"], options["verbose"])
    http = command_http(settings())
    key, how = signer(options, narrator), terms(http, options)
    if isinstance(key, EnvelopeMaker):
        raise UnsupportedError(f"plugin {key.name}", "makes envelopes and says nothing of its keys, and a file is "
                               "named by the hash that goes with the key", hint="sign with a plugin that has "
                               "SIGNATURE_GENERATOR.RAW")
    path = signature_path(blob, signature_directory, how.media_type)
    destination.check(path, "--signature-directory")
    with regular.opened(blob) as stream:
        signed = asyncio.run(_sign(http, stream, media_type, key, how))
    narrator.info(f"{blob}: {signed.envelope.target.digest}, {signed.envelope.target.size} bytes; {summary(signed)}")
    if path.exists():
        if force:
            warn("existing signature file will be overwritten")
        elif not confirmed("The signature file already exists, do you want to overwrite it?", yes=False):
            return
    destination.write(path, signed.data, "--signature-directory")
    print(f"Successfully signed {visible(str(blob))}\nSignature file written to {visible(str(path))}")


async def _sign(http: Http, stream: BinaryIO, media_type: str, key: Key, how: Terms) -> Signed:
    try:
        return await sign_blob(stream, media_type, key, how, system_clock)
    finally:
        await http.close()
