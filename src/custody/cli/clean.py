"""`custody clean`: take the signatures, attestations and SBOMs of an image away."""

from __future__ import annotations

import asyncio
import sys

import click

from custody.cli.run import settings
from custody.cli.trust_options import Command, resolve, warn
from custody.errors import (
    AuthenticationError,
    CustodyError,
    DeniedError,
    NotFoundError,
    UsageError,
    VerificationError,
)
from custody.formats import bundle as bundles
from custody.formats import cosign, dsse, oci
from custody.formats.reference import Reference
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.registry.client import RegistryClient
from custody.wiring import registry_client

_SUFFIXES = {"signature": (".sig",), "attestation": (".att",), "sbom": (".sbom",), "referrer": (),
             "all": (".sig", ".att", ".sbom")}
_WORDS = {"signature": "all signatures in its tag", "attestation": "all attestations in its tag", "sbom": "its SBOM",
          "referrer": "all bundles and artifacts of cosign that refer to it",
          "all": "all signatures, attestations and SBOMs of cosign's"}
_LAYERS = frozenset((cosign.SIMPLE_SIGNING, dsse.MEDIA_TYPE, *cosign.SBOM_TYPES.values()))
_ARTIFACTS = "application/vnd.dev.cosign.artifact."


@click.command("clean", cls=Command)
@click.argument("image")
@click.option("--type", "kind", type=click.Choice(list(_SUFFIXES)), default="all", show_default=True,
              help="What: a tag of cosign's, or what refers to the image.")
@click.option("-f", "--force", is_flag=True, help="Do not ask before it is gone.")
def command(image: str, kind: str, force: bool) -> None:
    """Remove what cosign and custody keep beside an image: tags, bundles, artifacts. The image stays.

    What others keep there, such as Notation's signatures, stays too, and is named.
    """
    if not force:
        if not sys.stdin.isatty():
            raise UsageError(f"clean: {image} would lose {_WORDS[kind]}, and there is nobody to ask", hint="--force")
        if not click.confirm(f"{visible(image)} will lose {_WORDS[kind]}. Go on?", err=True):
            raise UsageError("nothing was removed: the answer was no")
    asyncio.run(_run(image, kind))


async def _run(image: str, kind: str) -> None:
    async with registry_client(settings()) as client:
        ref, _ = await resolve(client, image)
        digest = str(ref.digest)
        places = [ref.tagged(cosign.tag(digest, suffix)) for suffix in _SUFFIXES[kind]]
        listed = [(referrer.artifact_type or referrer.media_type, ref.at(referrer.digest))
                  for referrer in await client.referrers(ref)]
        ours = [place for name, place in listed if name.startswith((bundles.PREFIX, _ARTIFACTS))
                and await _is_about(client, place, digest)]
        if kind in ("referrer", "all"):
            places += ours
        elif ours and kind != "sbom":
            warn(f"{ref}: {amount(len(ours), 'bundle')} or artifacts refer to it, and stay; --type referrer")
        stay = sorted({name for name, _ in listed if not name.startswith((bundles.PREFIX, _ARTIFACTS))})
        if stay and kind in ("referrer", "all"):
            warn(f"{ref}: what others keep stays: {', '.join(stay)}")
        gone = [place for place in places if await _removed(client, place, digest)]
    for place in gone:
        print(f"removed {place if place.tag and not place.digest else f'{place.name}@{place.digest}'}", file=sys.stderr)
    print(f"{ref}: {len(gone)} removed")


async def _is_about(client: RegistryClient, place: Reference, digest: str) -> bool:
    """Whether a listed manifest is there and about the image. Whoever may push may write the list, and would have
    others delete what he may not: raises VerificationError where it names a manifest that is about another.
    """
    try:
        descriptor, data = await client.manifest(place)
    except NotFoundError:
        return False
    subject = oci.parse_manifest(data, str(place), descriptor.media_type).subject
    if subject is None or subject.digest != digest:
        raise VerificationError(f"{place}: is listed as about {digest}, and its subject is "
                                f"{subject.digest if subject else 'none'}", hint="whoever wrote the list is wrong or "
                                "lies; nothing was removed")
    return True


async def _removed(client: RegistryClient, place: Reference, digest: str) -> bool:
    """False where it is not there. A registry that deletes no tags is asked to delete what the tag means, if that is
    signatures, attestations or an SBOM, and nothing else.
    """
    try:
        descriptor, data = await client.manifest(place)
    except NotFoundError:
        return False
    if place.digest is None and descriptor.digest == digest:
        raise VerificationError(f"{place}: means the image itself, which stays",
                                hint="whoever put that tag is wrong or lies")
    try:
        await client.delete_manifest(place)
    except (AuthenticationError, DeniedError, NotFoundError):
        raise
    except CustodyError as error:
        if place.digest:
            raise
        body = oci.parse_manifest(data, str(place), descriptor.media_type)
        layers = body.layers if isinstance(body, oci.Manifest) else ()
        if not layers or not all(layer.media_type in _LAYERS for layer in layers):
            raise VerificationError(f"{place}: the registry deletes no tags ({error.message}), and what the tag means "
                                    "is none of cosign's") from None
        await client.delete_manifest(place.at(descriptor.digest))
    return True
