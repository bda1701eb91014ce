"""OCI layouts as places: what hostile or broken ones say is an error of custody's, never a traceback or a way out."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.filesystem.layout import LayoutHttp
from custody.errors import CustodyError, MalformedError, NotFoundError, UsageError, VerificationError
from custody.formats import oci
from custody.formats.reference import parse
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.registry.layout import IMAGE_NAME, KIND, REF_NAME, Layout
from custody.services.cargo import pack

NAME = parse("registry.example/team/app:1")


def image(layout: Layout, tag: str | None = "1", layer: bytes = b"layer", subject: oci.Descriptor | None = None
          ) -> oci.Descriptor:
    """An image, put there as a client does."""

    async def put() -> oci.Descriptor:
        async with RegistryClient(LayoutHttp(layout, writable=True)) as client:
            config, blob = await client.push_blob(NAME, b"{}"), await client.push_blob(NAME, layer)
            manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                                    (oci.Descriptor(oci.LAYER_GZIP, blob.digest, blob.size),), subject)
            return await client.push_manifest(NAME, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag=tag)

    return asyncio.run(put())


def packed(folder: Path) -> int:
    async def read() -> int:
        layout = Layout(folder)
        ref = layout.reference(layout.image(None))
        return len((await pack(RegistryClient(LayoutHttp(layout)), ref, whole=True)).pieces)

    return asyncio.run(read())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    layout = Layout.made(tmp_path, "target")
    held = image(layout)
    about = image(layout, None, b"evidence", oci.Descriptor(held.media_type, held.digest, held.size))
    again = Layout(tmp_path)
    assert [entry.digest for entry in again.images()] == [held.digest]
    assert str(again.reference(again.image("1"))) == f"{NAME}@{held.digest}"
    assert again.image(str(NAME)).annotations == {REF_NAME: "1", IMAGE_NAME: str(NAME),
                                                  KIND: "dev.cosignproject.cosign/image"}
    assert [referrer.digest for referrer in again.referrers(held.digest)] == [about.digest]
    assert not list(tmp_path.glob(".draft-*"))


def test_several_images_have_to_be_named(tmp_path: Path) -> None:
    layout = Layout.made(tmp_path, "target")
    first, second = image(layout), image(layout, "2", b"other")
    assert Layout(tmp_path).image("2").digest == second.digest
    assert Layout(tmp_path).image(first.digest).digest == first.digest
    assert all(KIND not in entry.annotations for entry in Layout(tmp_path).entries)  # cosign knows one a folder
    with pytest.raises(UsageError, match="holds several images: 1, 2"):
        Layout(tmp_path).image(None)
    with pytest.raises(UsageError, match="no image 3; it has 1, 2"):
        Layout(tmp_path).image("3")


def test_many_referrers_come_in_pages(tmp_path: Path) -> None:
    layout = Layout.made(tmp_path, "target")
    held = image(layout)
    blobs = tmp_path / "blobs" / "sha256"
    for number in range(2345):
        data = json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "artifactType": "a/b", "layers": [],
                           "config": oci.EMPTY_DESCRIPTOR.to_json(), "annotations": {"n": str(number)},
                           "subject": {"mediaType": oci.MANIFEST, "digest": held.digest, "size": held.size}}).encode()
        (blobs / sha256(data).partition(":")[2]).write_bytes(data)

    async def listed() -> int:
        return len(await RegistryClient(LayoutHttp(Layout(tmp_path))).referrers(NAME.at(held.digest)))

    assert asyncio.run(listed()) == 2345


def test_it_is_only_read_unless_it_may_be_written(tmp_path: Path) -> None:
    layout = Layout.made(tmp_path, "target")
    image(layout)

    async def push() -> None:
        await RegistryClient(LayoutHttp(Layout(tmp_path))).push_blob(NAME, b"more")

    with pytest.raises(CustodyError, match="405"):
        asyncio.run(push())


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, lambda path: path.mkdir()],
                         ids=["link", "pipe", "folder"])
@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blob"])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Any, name: str) -> None:
    held = image(Layout.made(tmp_path, "target"))
    path = tmp_path / (f"blobs/sha256/{held.digest.partition(':')[2]}" if name == "blob" else name)
    path.unlink()
    make(path)
    with pytest.raises(UsageError, match="is no regular file"):
        packed(tmp_path)


def test_a_small_blob_that_was_changed_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    """A referrer that is no longer one would not be missed otherwise."""
    layout = Layout.made(tmp_path, "target")
    held = image(layout)
    about = image(layout, None, b"evidence", oci.Descriptor(held.media_type, held.digest, held.size))
    path = tmp_path / "blobs" / "sha256" / about.digest.partition(":")[2]
    path.write_bytes(path.read_bytes().replace(b'"subject"', b'"subj3ct"'))
    with pytest.raises(VerificationError, match=f"its bytes are sha256:[0-9a-f]*, expected {about.digest}"):
        packed(tmp_path)


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(["mediaType", "digest", "size", "annotations", "manifests",
                                                          "schemaVersion", "subject", REF_NAME, KIND]), inner,
                                         max_size=4), max_leaves=12)


@given(document=_JSON, entry=_JSON, cut=st.integers(0, 200))
def test_any_index_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, document: Any, entry: Any, cut: int
                                      ) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    held = image(Layout.made(folder, "target"))
    good = json.loads((folder / "index.json").read_text())
    for index in (document, {**good, "manifests": [entry, *good["manifests"]]}, {
            **good, "manifests": [{**good["manifests"][0], "annotations": entry}]}):
        (folder / "index.json").write_text(json.dumps(index))
        try:
            count = packed(folder)
        except (UsageError, VerificationError, NotFoundError):
            continue
        assert count == 1
    (folder / "index.json").write_bytes(json.dumps(good).encode()[:cut])
    with pytest.raises(MalformedError):
        packed(folder)
    assert held.digest in json.dumps(good)


@given(data=st.binary(max_size=64) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_blob_may_lie_beside(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("beside")
    image(Layout.made(folder, "target"))
    (folder / "blobs" / "sha256" / sha256(data).partition(":")[2]).write_bytes(data)
    (folder / "blobs" / "sha256" / "no-digest").write_bytes(data)
    assert packed(folder) == 1


def test_what_custody_does_not_know_of_an_index_stays(tmp_path: Path) -> None:
    held = image(Layout.made(tmp_path, "target"))
    path = tmp_path / "index.json"
    said = json.loads(path.read_text())
    said |= {"annotations": {"made": "by hand"}, "other": [1]}
    said["manifests"][0] |= {"platform": {"os": "linux", "architecture": "arm64"}, "urls": ["https://x.example"]}
    path.write_text(json.dumps(said))
    image(Layout(tmp_path), "2", b"another")
    now = json.loads(path.read_text())
    assert (now["annotations"], now["other"]) == ({"made": "by hand"}, [1])
    [first] = (entry for entry in now["manifests"] if entry["digest"] == held.digest)
    assert (first["platform"]["architecture"], first["urls"]) == ("arm64", ["https://x.example"])


def test_what_others_added_meanwhile_stays(tmp_path: Path) -> None:
    Layout.made(tmp_path, "target")
    one, two = Layout(tmp_path), Layout(tmp_path)
    first, second = image(one, "1"), image(two, "2", b"another")
    third = image(one, "2", b"a third")  # whoever puts a tag last means it
    assert {entry.digest: entry.annotations[REF_NAME] for entry in Layout(tmp_path).images()} == {
        first.digest: "1", third.digest: "2"}
    assert Layout(tmp_path).manifest(second.digest) is not None


@pytest.mark.parametrize(("said", "reason"), [
    ('"other":1e999', "a number that a double holds"),
    ('"annotations":{"x":"%s"}' % ("a" * (oci.MAX_MANIFEST - 700)), "bytes with what is to be added")])
def test_an_index_that_could_not_be_read_again_is_not_written(tmp_path: Path, said: str, reason: str) -> None:
    image(Layout.made(tmp_path, "target"))
    path = tmp_path / "index.json"
    path.write_text(path.read_text().rstrip()[:-1] + f",{said}}}")
    before = path.read_bytes()
    with pytest.raises(MalformedError, match=reason):
        image(Layout(tmp_path), "a-tag-of-some-length" * 6, b"another")
    assert path.read_bytes() == before
