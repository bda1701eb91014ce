"""`custody download`: signatures, attestations and SBOMs as they lie beside an image, unverified."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.trust_options import Command, located, nothing, warn
from custody.errors import MalformedError, MissingEvidenceError, NotFoundError, UnsupportedError
from custody.evidence.model import Evidence, Rejected
from custody.formats import bundle as bundles
from custody.formats import cosign, dsse, intoto, oci, predicates
from custody.formats.protojson import encode_base64
from custody.formats.reference import Reference
from custody.kit import strictjson
from custody.kit.concurrency import together
from custody.kit.visible import inert, visible
from custody.registry.client import RegistryClient
from custody.sign.listing import Limits, fetch_document, list_documents
from custody.wiring import registry_client

_MAX_SBOM = 256 * 1024 * 1024


@click.group("download")
def command() -> None:
    """Print what is beside an image, as it lies there and unverified; IMAGE may be oci:DIR."""


@command.command("signature", cls=Command)
@click.argument("image")
def signature(image: str) -> None:
    """Print an image's Sigstore bundles, one a line, as `cosign download signature` does.

    Where there is none: the signatures of the tag sha256-<hex>.sig and cosign 2's artifacts.
    """
    asyncio.run(_print(image, _signatures, "signature", None))


@command.command("attestation", cls=Command)
@click.argument("image")
@click.option("--predicate-type", metavar="TYPE", help="These alone: a short name such as slsaprovenance1, or a URI.")
@click.option("--platform", metavar="OS/ARCH", help="Of an index the attestations of the one image.")
def attestation(image: str, predicate_type: str | None, platform: str | None) -> None:
    """Print an image's Sigstore bundles, then the DSSE envelopes of the tag sha256-<hex>.att, one a line.

    Without --predicate-type, bundles that are signatures too, as `cosign download attestation` does.
    """
    kind = predicates.predicate_type(predicate_type) if predicate_type else None
    title = "attestation" if kind is None else f"attestation with predicate type {kind}"
    asyncio.run(_print(image, lambda evidence: _attestations(evidence, kind), title, platform))


@command.command("sbom", cls=Command)
@click.argument("image")
@click.option("--platform", metavar="OS/ARCH", help="Of an index the SBOM of the one image.")
def sbom(image: str, platform: str | None) -> None:
    """Print the SBOM of the tag sha256-<hex>.sbom, which nobody signed."""
    asyncio.run(_sbom(image, platform))


async def _print(image: str, lines: Callable[[list[Evidence]], list[str]], title: str, platform: str | None) -> None:
    async with registry_client(settings()) as client:
        at, ref = await _image(client, image, platform)
        listing = await list_documents(at, ref, unsigned=False, artifacts=True)
        fetched = await together(fetch_document(at, str(ref.digest), document, Limits())
                                 for document in listing.documents)
    rejected = [*(document for document in fetched if isinstance(document, Rejected)), *listing.rejected]
    printed = lines(sorted((document for document in fetched if isinstance(document, Evidence)),
                           key=lambda evidence: evidence.source))
    if not printed:
        raise nothing(ref, title, rejected)
    for document in rejected:
        warn(f"{document.source}: {document.reason}")
    for line in printed:
        print(inert(line))


async def _image(client: RegistryClient, image: str, platform: str | None) -> tuple[RegistryClient, Reference]:
    at, ref = await located(client, image)
    return at, ref if platform is None else ref.at((await at.image(ref, platform))[0].digest)


def _signatures(documents: list[Evidence]) -> list[str]:
    bundled = [document for document in documents if document.media_type.startswith(bundles.PREFIX)]
    return [_line(document.data) for document in bundled] or [
        json.dumps(_signed_payload(document), separators=(",", ":")) for document in documents
        if document.media_type == cosign.SIMPLE_SIGNING]


def _signed_payload(document: Evidence) -> dict[str, Any]:
    """cosign's SignedPayload (cosign pkg/cosign/fetch.go); of a certificate its DER alone."""
    bundle = cosign.layer_bundle(document.data, document.annotations, attestation=False)
    chain = [{"Raw": encode_base64(certificate)} for certificate in bundle.certificates]
    entry, stamp = (document.annotations.get(key) for key in (cosign.BUNDLE, cosign.TIMESTAMP))
    return {"Base64Signature": encode_base64(bundle.signature), "Payload": encode_base64(document.data),
            "Cert": chain[0] if chain else None, "Chain": chain[1:] or None,
            "Bundle": strictjson.loads(entry, cosign.BUNDLE) if entry else None,
            "RFC3161Timestamp": strictjson.loads(stamp, cosign.TIMESTAMP) if stamp else None}


def _attestations(documents: list[Evidence], kind: str | None) -> list[str]:
    bundled = [document for document in documents if document.media_type.startswith(bundles.PREFIX)]
    layers = [document for document in documents if document.media_type == dsse.MEDIA_TYPE]
    return [_line(document.data) for document in (*bundled, *layers) if kind is None or _claims(document) == kind]


def _claims(document: Evidence) -> str | None:
    """The predicate type of what was signed, unverified; None for what is no statement."""
    try:
        if document.media_type == dsse.MEDIA_TYPE:
            envelope = dsse.parse_envelope(document.data, document.source)
        elif (inner := bundles.parse_bundle(document.data, document.source).envelope) is not None:
            envelope = inner
        else:
            return None
        return intoto.parse_statement(envelope.payload, document.source).predicate_type
    except (MalformedError, UnsupportedError) as error:
        warn(error.message)
        return None


def _line(data: bytes) -> str:
    """A JSON document on one line: its own bytes where it is on one already."""
    text = data.decode("utf-8", "replace").strip()
    return text if "\n" not in text else json.dumps(strictjson.loads(data, "document"), separators=(",", ":"))


async def _sbom(image: str, platform: str | None) -> None:
    async with registry_client(settings()) as client:
        at, ref = await _image(client, image, platform)
        place = ref.tagged(cosign.tag(str(ref.digest), ".sbom"))
        try:
            descriptor, data = await at.manifest(place)
        except NotFoundError:
            raise MissingEvidenceError(f"{ref}: no SBOM in a tag",
                                       hint="custody download attestation --predicate-type cyclonedx, or spdxjson, "
                                       "has one that somebody signed") from None
        body = oci.parse_manifest(data, str(place), descriptor.media_type)
        if not isinstance(body, oci.Manifest) or len(body.layers) != 1:
            raise MalformedError(str(place), got="no manifest of one layer", expected="an SBOM")
        document = await at.blob(ref, body.layers[0], max_size=_MAX_SBOM)
    warn(f"{place}: is signed by nobody")
    print(f"SBOM of media type {visible(body.layers[0].media_type)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stdout.buffer.write(document)
