"""`custody attach`: put a document beside an image, unsigned."""

from __future__ import annotations

import asyncio

import click

from custody.cli.run import settings
from custody.cli.trust_files import read_input
from custody.cli.trust_options import resolve, warn
from custody.errors import UsageError
from custody.formats import cosign
from custody.sign.referrers import push_sbom
from custody.wiring import registry_client


@click.group("attach")
def command() -> None:
    """Attach a document to an image without a signature."""


@command.command("sbom")
@click.argument("image")
@click.option("--sbom", "file", required=True, metavar="FILE", help="The SBOM; - reads standard input.")
@click.option("--type", "kind", type=click.Choice(["spdx", "cyclonedx", "syft"]), help="Default: what the file is.")
@click.option("--input-format", "form", type=click.Choice(["json", "xml", "text"]), help="Default: what the file is.")
def sbom(image: str, file: str, kind: str | None, form: str | None) -> None:
    """Attach an SBOM under the tag sha256-<hex>.sbom, as `cosign attach sbom` does.

    Anybody who may push can replace it, so no policy takes it for evidence; `custody attest --type cyclonedx` signs it.
    """
    data = read_input(file, "--sbom")
    detected = cosign.sbom_kind(data)
    chosen = (kind or (detected[0] if detected else ""), form or (detected[1] if detected else ""))
    if detected is None and (kind is None or form is None):
        raise UsageError(f"--sbom {file}: is no SPDX, CycloneDX or syft document that custody knows",
                         hint="name it: --type spdx --input-format json")
    if detected is not None and chosen != detected:
        raise UsageError(f"--sbom {file}: is {detected[0]} {detected[1]}, and the flags say {chosen[0]} {chosen[1]}")
    if chosen not in cosign.SBOM_TYPES:
        raise UsageError(f"--sbom {file}: there is no {chosen[0]} in {chosen[1]}")
    asyncio.run(_run(image, data, cosign.SBOM_TYPES[chosen]))


async def _run(image: str, data: bytes, media_type: str) -> None:
    async with registry_client(settings()) as client:
        ref, _ = await resolve(client, image)
        place = await push_sbom(client, ref, data, media_type)
    print(place)
    warn(f"{place}: is not signed; policies trust what `custody attest` signs, not this")
