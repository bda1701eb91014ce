"""Fetching evidence from a registry that anybody may push to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import VerificationError
from custody.formats import bundle, oci
from custody.formats.reference import parse
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.server.asgi import respond
from custody.sign.referrers import fetch_evidence
from tests.serving import served


def test_more_than_a_verifier_reads_is_refused_before_it_is_fetched() -> None:
    """CVE-2023-46737: signatures without end, which took all time."""
    size = 100 * 1024 * 1024
    manifests = {}
    for number in range(6):
        layer = oci.Descriptor(bundle.MEDIA_TYPE, sha256(b"%d" % number), size)
        manifest = oci.Manifest(oci.MANIFEST, oci.EMPTY_DESCRIPTOR, (layer,), artifact_type=bundle.MEDIA_TYPE)
        data = json.dumps(manifest.to_json()).encode()
        manifests[sha256(data)] = data
    index = oci.Index(oci.INDEX, tuple(oci.Descriptor(oci.MANIFEST, digest, len(data), artifact_type=bundle.MEDIA_TYPE)
                                       for digest, data in manifests.items()))
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        asked.append(path)
        if "/referrers/" in path:
            await respond(send, 200, json.dumps(index.to_json()).encode(), oci.INDEX.encode())
        elif (data := manifests.get(path.rpartition("/")[2])) is not None:
            await respond(send, 200, data, oci.MANIFEST.encode())
        else:
            await respond(send, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')

    async def fetch(url: str) -> None:
        async with RegistryClient(StdlibHttp()) as client:
            await fetch_evidence(client, parse(f"{url.removeprefix('http://')}/app@{sha256(b'image')}"))

    with served(app) as url, pytest.raises(VerificationError, match=r"6 documents of 62.* custody reads at most 500"):
        asyncio.run(fetch(url))
    assert not [path for path in asked if "/blobs/" in path]
