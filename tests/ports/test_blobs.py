"""What every store of blobs must do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from custody.adapters.filesystem.blobs import FilesystemBlobs
from custody.errors import VerificationError
from custody.ports.blobs import Blobs
from tests.ports.registries import MemoryBlobs

NAME, OTHER = "0" * 48, "f" * 48


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture(params=[FilesystemBlobs, lambda _: MemoryBlobs()], ids=["directory", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    make: Callable[[Path], Blobs] = request.param
    store = make(tmp_path / "registry")
    yield store
    store.close()


def content(blobs: Blobs, digest: str) -> bytes | None:
    opened = blobs.open(digest)
    if opened is None:
        return None
    with opened as blob:
        assert blob.size == blobs.size(digest)
        assert blob.place
        return blob.read(0, blob.size + 1)


def test_bytes_have_their_digest_s_name_and_no_other(blobs: Blobs) -> None:
    assert content(blobs, sha(b"one")) is None
    outcomes = blobs.publish([(sha(b"one"), b"one"), (sha(b"two"), b"2"), (sha(b""), b"")])
    assert [isinstance(outcome, VerificationError) for outcome in outcomes] == [False, True, False]
    assert [content(blobs, sha(data)) for data in (b"one", b"two", b"")] == [b"one", None, b""]
    assert list(blobs.entries()) == sorted([sha(b"one"), sha(b"")])


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_draft_grows_and_becomes_a_blob(blobs: Blobs, algorithm: str) -> None:
    data = bytes(range(256)) * 40
    digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    draft = blobs.draft(NAME, algorithm)
    draft.write(data[:1000])
    draft.suspend()
    assert (draft.size, blobs.drafts(), blobs.size(digest)) == (1000, [NAME], None)
    draft.write(memoryview(data)[1000:])
    draft.complete(digest)
    assert blobs.publish([(digest, draft)]) == [None]
    assert (content(blobs, digest), blobs.drafts()) == (data, [])


def test_a_draft_is_resumed_by_its_name(blobs: Blobs) -> None:
    draft = blobs.draft(NAME)
    draft.write(b"ab")
    draft.suspend()
    resumed = blobs.resume(NAME)
    assert resumed is not None
    assert resumed.size == 2
    resumed.write(b"c")
    resumed.complete(sha(b"abc"))
    assert blobs.publish([(sha(b"abc"), resumed)]) == [None]
    assert (content(blobs, sha(b"abc")), blobs.resume(OTHER)) == (b"abc", None)


def test_a_draft_of_other_bytes_is_gone(blobs: Blobs) -> None:
    draft = blobs.draft(NAME)
    draft.write(b"other")
    with pytest.raises(VerificationError):
        draft.complete(sha(b"abc"))
    for name in (NAME, OTHER):
        blobs.discard_draft(name)
    assert (blobs.drafts(), blobs.size(sha(b"other"))) == ([], None)


def test_a_part_is_read_and_an_open_blob_outlives_its_name(blobs: Blobs) -> None:
    digest = sha(b"0123456789")
    blobs.publish([(digest, b"0123456789")])
    opened = blobs.open(digest)
    assert opened is not None
    with opened as blob:
        blobs.delete([digest, sha(b"never there")])
        assert [blob.read(*part) for part in ((0, 3), (7, 100), (10, 5), (3, 0))] == [b"012", b"789", b"", b""]
    assert content(blobs, digest) is None


def test_a_descriptor_where_there_is_one_has_the_same_bytes(blobs: Blobs) -> None:
    import os

    blobs.publish([(sha(b"bytes"), b"bytes")])
    opened = blobs.open(sha(b"bytes"))
    assert opened is not None
    with opened as blob:
        file = blob.fileno()
        assert (os.pread(file, 10, 0) if file is not None else blob.read(0, 10)) == b"bytes"


def test_what_went_is_noticed(blobs: Blobs) -> None:
    digest = sha(b"one")
    blobs.publish([(digest, b"one")])
    before = blobs.changes()
    assert blobs.absent({digest: 3, sha(b"two"): 3}) == [sha(b"two")]
    assert blobs.absent({digest: 4}) in ([digest], [])  # it may remember a blob, not its size
    assert blobs.changes() == before
    blobs.delete([digest])
    assert blobs.changes() != before
    assert blobs.absent({digest: 3}) == [digest]


def test_only_the_version_that_was_read_is_quarantined(blobs: Blobs) -> None:
    digest = sha(b"good")
    blobs.publish([(digest, b"good")])
    opened = blobs.open(digest)
    assert opened is not None
    with opened as blob:
        version = blob.version
    assert not blobs.quarantine(digest, version + "0")
    assert (content(blobs, digest), blobs.quarantined()) == (b"good", (0, 0))
    before = blobs.changes()
    assert blobs.quarantine(digest, version)
    assert not blobs.quarantine(digest, version)
    assert (content(blobs, digest), blobs.quarantined(), blobs.changes() != before) == (None, (1, 4), True)
    assert blobs.publish([(digest, b"good")]) == [None]
    assert content(blobs, digest) == b"good"
