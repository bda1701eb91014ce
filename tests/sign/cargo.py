"""An image of two platforms with evidence of every kind that custody knows, and what of it is at a place."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.places import source
from custody.formats import cosign, notary, oci
from custody.formats import reference as references
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.services.cargo import pack
from custody.settings import Settings
from tests.conftest import peer
from tests.sign.site import Site

ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"


def dump(manifest: oci.Manifest | oci.Index) -> bytes:
    return json.dumps(manifest.to_json()).encode()


def laden(site: Site, name: str) -> str:
    """The image, by digest; signed and attested in the bundle and in tags, each platform too."""
    images = [site.push(name, b"amd64"), site.push(name, b"arm64" * 400_000, "arm64")]

    async def index() -> str:
        ref = references.parse(f"{site.registry}/{name}:1")
        async with RegistryClient(StdlibHttp()) as client:
            children = []
            for image, architecture in zip(images, ("amd64", "arm64"), strict=True):
                held = await client.resolve(references.parse(image))
                children.append(oci.Descriptor(held.media_type, held.digest, held.size,
                                               platform={"os": "linux", "architecture": architecture}))
            pushed = await client.push_manifest(ref, dump(oci.Index(oci.INDEX, tuple(children))), oci.INDEX, tag="1")
            return f"{ref.name}@{pushed.digest}"

    image = asyncio.run(index())
    key, sbom = str(site.folder / "cosign.key"), site.folder / "sbom.json"
    sbom.write_text('{"bomFormat":"CycloneDX","version":1}')
    assert site.custody("sign", "-r", "--format", "both", "--key", key, image) == 0
    for subject in (image, images[0]):
        assert site.custody("attest", "--key", key, "--predicate", str(sbom), "--type", "cyclonedx", subject) == 0
    assert site.custody("attach", "sbom", "--sbom", str(sbom), images[1]) == 0
    asyncio.run(_others(image, key, site))
    return image


async def _others(image: str, key: str, site: Site) -> None:
    """What custody does not write: `.att`, artifacts of cosign 2 and Notation, and evidence about evidence."""
    ref = references.parse(image)
    async with RegistryClient(StdlibHttp()) as client:
        subject = await client.resolve(ref)
        blob = await client.push_blob(ref, b'{"payloadType":"a","payload":"e30=","signatures":[{"sig":"e30="}]}')
        empty = await client.push_blob(ref, oci.EMPTY_BLOB)
        layer = oci.Descriptor("application/vnd.dsse.envelope.v1+json", blob.digest, blob.size)
        config = oci.Descriptor(oci.EMPTY, empty.digest, empty.size)
        await client.push_manifest(ref, dump(oci.Manifest(oci.MANIFEST, config, (layer,))), oci.MANIFEST,
                                   tag=cosign.tag(str(ref.digest), ".att"))
        for kind in (ARTIFACT, notary.ARTIFACT_TYPE):
            about = oci.Descriptor(subject.media_type, subject.digest, subject.size)
            pushed = await client.push_manifest(ref, dump(oci.Manifest(
                oci.MANIFEST, config, (layer,), about, kind, {"of": kind})), oci.MANIFEST)
        for depth in range(3):
            above = oci.Descriptor(oci.MANIFEST, pushed.digest, pushed.size)
            pushed = await client.push_manifest(ref, dump(oci.Manifest(
                oci.MANIFEST, config, (layer,), above, "example/countersignature", {"depth": str(depth)})),
                oci.MANIFEST)


def at(place: str, config: Path | None = None) -> dict[tuple[str, str | None], bytes]:
    """Every manifest and blob that belongs to the image at a place, by digest and tag."""

    async def read() -> dict[tuple[str, str | None], bytes]:
        async with source(Settings(), place) as start:
            cargo = await pack(start.client, start.ref, whole=True)
            held: dict[tuple[str, str | None], bytes] = {
                (piece.descriptor.digest, piece.tag): piece.data for piece in cargo.pieces}
            for digest, blob in cargo.blobs().items():
                held[digest, None] = await start.client.blob(start.ref, blob)
            return held

    held = asyncio.run(read())
    assert all(sha256(data) == digest for (digest, _), data in held.items())
    return held


@contextmanager
def distribution(folder: Path) -> Iterator[str]:
    """The real registry of the name, which has no referrers API."""
    from tests.apiserver import free_port

    program, port = peer("registry"), free_port()
    (folder / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'store'}}}, "
        f"delete: {{enabled: true}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n")
    process = subprocess.Popen([program, "serve", str(folder / "registry.yml")], stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
