"""OCI layouts that are written to."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from custody.errors import MalformedError, NotFoundError, UsageError, VerificationError
from custody.formats import oci
from custody.kit.digest import sha256
from custody.registry.listedlayout import ListedLayout
from tests.sign.notary.materials import layout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layout(tmp_path / "layout")
    return tmp_path / "layout"


def manifest(number: int, **more: object) -> bytes:
    empty = oci.Descriptor(oci.EMPTY, sha256(b"{}"), 2)
    return json.dumps(oci.Manifest(oci.MANIFEST, empty, (), annotations={"n": str(number)}).to_json() | more).encode()


def test_by_tag_and_by_digest(folder: Path) -> None:
    held = ListedLayout(folder)
    descriptor = held.resolve("v1")
    assert held.resolve(descriptor.digest) == descriptor
    assert sha256(held.manifest(descriptor)) == descriptor.digest
    for unknown in ("v2", "sha256:" + "0" * 64):
        with pytest.raises(NotFoundError, match="no manifest"):
            held.resolve(unknown)


def test_below_an_index(folder: Path) -> None:
    held = ListedLayout(folder)
    inner = held.push_blob(manifest(1), oci.MANIFEST)
    held.push_manifest(json.dumps(oci.Index(oci.INDEX, (inner,)).to_json()).encode(), oci.INDEX)
    assert held.resolve(inner.digest).digest == inner.digest


def test_what_index_json_says_stays(folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": {"kept": "é"}, "other": [1]}))
    held = ListedLayout(folder)
    pushed = held.push_manifest(manifest(1), oci.MANIFEST)
    assert held.push_manifest(manifest(1), oci.MANIFEST) == pushed
    said = json.loads(path.read_text())
    assert (said["annotations"], said["other"], len(said["manifests"])) == ({"kept": "é"}, [1], 2)
    assert said["manifests"][1] == {"mediaType": oci.MANIFEST, "digest": pushed.digest, "size": pushed.size,
                                    "annotations": {"n": "1"}}


def test_many_writers(folder: Path) -> None:
    """Each in a thread of its own, with a descriptor of its own: no entry is lost."""
    threads = [threading.Thread(target=lambda at=at: ListedLayout(folder).push_manifest(manifest(at), oci.MANIFEST))
               for at in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((folder / "index.json").read_text())["manifests"]) == 13


def test_bytes_that_are_others(folder: Path) -> None:
    held = ListedLayout(folder)
    descriptor = held.resolve("v1")
    path = folder / "blobs" / "sha256" / descriptor.digest.removeprefix("sha256:")
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"a"', b'"z"'))
    with pytest.raises(VerificationError, match="expected"):
        held.resolve("v1")
    held.push_blob(data, oci.MANIFEST)  # a damaged one is written again
    assert held.resolve("v1") == descriptor


def test_no_layout(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        ListedLayout(tmp_path / "nothing")
    (folder / "oci-layout").write_text("{}")
    with pytest.raises(MalformedError, match="imageLayoutVersion"):
        ListedLayout(folder)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_bytes(manifest(1))
    with pytest.raises(MalformedError, match="got 'a manifest'"):
        ListedLayout(folder).resolve("v1")
    (folder / "index.json").unlink()
    (folder / "index.json").mkdir()
    with pytest.raises(UsageError, match="is no regular file"):
        ListedLayout(folder).resolve("v1")


def test_what_names_a_manifest_names_no_other(folder: Path) -> None:
    held = ListedLayout(folder)
    image = held.resolve("v1")
    named = {"org.opencontainers.image.ref.name": "v1", "io.containerd.image.name": "x/y:v1", "kept": "yes"}
    held.push_manifest(manifest(1, annotations=named), oci.MANIFEST)
    assert held.resolve("v1") == image
    assert json.loads((folder / "index.json").read_text())["manifests"][1]["annotations"] == {"kept": "yes"}


@pytest.mark.parametrize(("said", "reason"), [
    ('"other":1e999', "a number that a double holds"),
    ('"annotations":{"x":"%s"}' % ("a" * (oci.MAX_MANIFEST - 400)), "bytes with what is to be added")])
def test_an_index_that_could_not_be_read_again_is_not_written(folder: Path, said: str, reason: str) -> None:
    path = folder / "index.json"
    path.write_text(path.read_text().rstrip()[:-1] + f",{said}}}")
    before = path.read_bytes()
    with pytest.raises(MalformedError, match=reason):
        ListedLayout(folder).push_manifest(manifest(1), oci.MANIFEST)
    assert path.read_bytes() == before


def _about(image: oci.Descriptor) -> dict[str, object]:
    return {"mediaType": image.media_type, "digest": image.digest, "size": image.size}


def test_each_manifest_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = ListedLayout(folder)
    image = held.resolve("v1")
    referrers = [held.push_manifest(manifest(at, subject=_about(image)), oci.MANIFEST).digest for at in range(3)]
    index = json.loads((folder / "index.json").read_text())
    index["manifests"] += index["manifests"][1:2]  # one is listed twice
    (folder / "index.json").write_text(json.dumps(index))
    read = []
    whole = ListedLayout.manifest
    monkeypatch.setattr(ListedLayout, "manifest", lambda self, entry: read.append(entry.digest) or whole(self, entry))
    assert [referrer.digest for referrer in held.referrers(image.digest)] == referrers
    assert [held.referrers(digest) for digest in referrers] == [[], [], []]
    assert sorted(read) == sorted([image.digest, *referrers])
    late = ListedLayout(folder).push_manifest(manifest(9, subject=_about(image)), oci.MANIFEST)
    assert held.referrers(image.digest)[-1].digest == late.digest  # what others add is seen
    assert len(read) == 5


def test_manifests_without_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = ListedLayout(folder)
    image = held.resolve("v1")
    size = sum(held.push_manifest(manifest(at), oci.MANIFEST).size for at in range(3))
    monkeypatch.setattr("custody.registry.listedlayout._MOST", size)
    assert held.referrers(image.digest) == held.referrers(image.digest) == []
    held.push_manifest(manifest(3), oci.MANIFEST)
    with pytest.raises(MalformedError, match=rf"index.json: got 'manifests of more than {size} bytes'"):
        held.referrers(image.digest)


def test_a_neighbour_that_is_gone_refers_to_nothing(folder: Path) -> None:
    held = ListedLayout(folder)
    image = held.resolve("v1")
    gone = held.push_manifest(manifest(1), oci.MANIFEST)
    subject = {"mediaType": image.media_type, "digest": image.digest, "size": image.size}
    referrer = held.push_manifest(manifest(2, subject=subject), oci.MANIFEST)
    (folder / "blobs/sha256" / gone.digest[7:]).unlink()
    assert [descriptor.digest for descriptor in held.referrers(image.digest)] == [referrer.digest]
    with pytest.raises(NotFoundError, match="No such file"):
        held.manifest(gone)
