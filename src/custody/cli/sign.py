"""`custody sign`: vouch for an image's digest."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.trust_files import load_config, load_root
from custody.cli.trust_options import (
    IDENTITY_FLAGS,
    Command,
    identity_token,
    load_signing_key,
    named,
    resolve,
    sign_options,
    warn,
)
from custody.errors import UsageError
from custody.formats import intoto
from custody.kit import destination
from custody.kit.clock import system_clock
from custody.ports.http import Http
from custody.sign.referrers import push_bundle
from custody.sign.signer import Signer
from custody.wiring import command_http, registry_client


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@sign_options
@click.option("-a", "--annotations", multiple=True, metavar="KEY=VALUE", help="Sign this annotation with the digest.")
@click.option("--upload", type=bool, default=True, metavar="BOOL", help="=false stores nothing in the registry.")
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the bundle to a file too.")
def command(images: tuple[str, ...], annotations: tuple[str, ...], upload: bool, bundle_file: Path | None,
            **options: Any) -> None:
    """Sign images and store the signature beside them, as `cosign sign` 3 does.

    Name the image by digest: a tag may move between your look and this signature.
    """
    if not upload and not bundle_file:
        raise UsageError("--upload=false: the signature would be kept nowhere", hint="--bundle FILE")
    if bundle_file and len(images) > 1:
        raise UsageError("--bundle: is one file, and there are several images")
    if bundle_file:
        destination.check(bundle_file, "--bundle")
    asyncio.run(_run(images, intoto.parse_annotations(annotations), upload, bundle_file, options))


async def _run(images: tuple[str, ...], annotations: dict[str, str], upload: bool, bundle_file: Path | None,
               options: dict[str, Any]) -> None:
    http = command_http(settings())
    signer = await make_signer(http, options)
    async with registry_client(settings(), http) as client:
        for image in images:
            if named(image).digest is None:
                warn(f"{image}: is a tag, which may move; its digest of this moment is signed")
            ref, descriptor = await resolve(client, image)
            statement = intoto.statement(descriptor.digest, intoto.COSIGN_SIGN, {}, annotations=annotations)
            data, verified = await signer.sign(statement, descriptor.digest)
            if bundle_file:
                destination.write(bundle_file, data, "--bundle")
            if upload:
                pushed = await push_bundle(client, ref, descriptor, data, intoto.COSIGN_SIGN, system_clock())
                print(f"{ref.name}@{pushed.digest}")
            print(f"{ref}: signed by {verified.signer}"
                  + (f", log index {verified.log.index}" if verified.log else ", in no log"), file=sys.stderr)


async def make_signer(http: Http, options: dict[str, Any]) -> Signer:
    """The signer that the shared options describe."""
    if options["key"] and (given := next((flag for flag in IDENTITY_FLAGS if options[flag]), None)):
        raise UsageError(f"--key and --{given.replace('_', '-')}: give one; a key signs without an identity")
    config = load_config(settings(), options["signing_config"], log=options["tlog_upload"] is not False)
    if options["tlog_upload"] and not config.rekor:
        raise UsageError("--tlog-upload=true: no signing config names a log", hint="--signing-config FILE, or `custody "
                         "up`, which writes one; without the flag a signature is in a log where there is one")
    root = load_root(settings(), options["trusted_root"])
    key = load_signing_key(options["key"])
    token = None if key else await identity_token(http, settings(), options)
    if (key is None and token and config.rekor and not options["yes"] and sys.stdin.isatty()
            and not click.confirm(f"Your identity will be written into the log {config.rekor[0].url} for good. Go on?",
                                  err=True)):
        raise UsageError("nothing was signed: the answer was no")
    return Signer(http=http, config=config, root=root, key=key, token=token)
