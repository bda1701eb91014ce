"""`custody sbom compare` with the SBOMs that somebody attested for an image, against a real registry and services."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.formats import oci
from custody.formats import reference as references
from custody.registry.client import RegistryClient
from tests.contents.images import METADATA, tar
from tests.sign.site import PERSON, Site


def _push(site: Site, name: str) -> str:
    layer = tar([("s/f.dist-info/METADATA", METADATA)])

    async def store() -> str:
        ref = references.parse(f"{site.registry}/{name}:1")
        async with RegistryClient(StdlibHttp()) as client:
            config = await client.push_blob(ref, json.dumps({
                "architecture": "amd64", "os": "linux", "rootfs": {
                    "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode())
            blob = await client.push_blob(ref, gzip.compress(layer))
            manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                                    (oci.Descriptor(oci.LAYER_GZIP, blob.digest, blob.size),))
            pushed = await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag="1")
            return str(ref.at(pushed.digest))

    return asyncio.run(store())


def _attest(site: Site, image: str, kind: str, person: str = PERSON) -> None:
    predicate = site.folder / f"{kind}.predicate.json"
    assert site.custody("attest", "--identity-token", site.token(person), "--predicate", str(predicate), "--type", kind,
                        image) == 0


def test_compare_fetches_and_verifies_what_was_attested(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = _push(site, "compared")
    assert site.custody("sbom", "compare", *site.who(), image) == 4
    assert "no attested SBOM found" in capsys.readouterr().err
    true, other = site.folder / "cyclonedx.predicate.json", site.folder / "spdxjson.predicate.json"
    assert site.custody("sbom", image, "-o", f"cyclonedx-json={true}", "-o", f"spdx-json={other}") == 0
    _attest(site, image, "cyclonedx")
    other.write_text(other.read_text().replace("0.6.2", "6.6.6"))
    _attest(site, image, "spdxjson", "eve@example.com")
    capsys.readouterr()

    assert site.custody("sbom", "compare", *site.who(), image, "--exit-code") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert f"verified: {PERSON} (" in told.err
    assert "does not count: referrer sha256:" in told.err
    assert "identity: got 'eve@example.com'" in told.err
    assert "1 names agreed on by 2 sources, 0 not" in told.err

    assert site.custody("sbom", "compare", *site.who("eve@example.com"), image, "--exit-code") == 3
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split() == ["pypi/flask-login", "0.6.2", "6.6.6"]
    assert site.custody("sbom", "compare", *site.who("nobody@example.com"), image) == 4
    assert "no attested SBOM that counts" in capsys.readouterr().err


def test_compare_says_whom_it_needs(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = _push(site, "asked")
    assert site.custody("sbom", "compare", image) == 2
    assert "nothing to compare with" in capsys.readouterr().err
    assert site.custody("sbom", "compare", image, "--insecure-ignore-tlog") == 2
    assert "--insecure-ignore-tlog: nobody is named whose SBOMs to fetch" in capsys.readouterr().err
    assert site.custody("sbom", "compare", *site.who(), "oci:layout") == 2
    assert "oci:layout: layout is no folder" in capsys.readouterr().err
