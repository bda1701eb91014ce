"""What every index of a registry must do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from custody.adapters.sqlite.repositories import SqliteRepositories
from custody.formats.oci import Descriptor
from custody.ports.repositories import Repositories, Transaction
from tests.ports.registries import MemoryRepositories

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KIND = "application/vnd.oci.image.manifest.v1+json"


def sha(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def described(text: str, kind: str = "application/x") -> Descriptor:
    return Descriptor(KIND, sha(text), len(text), {"name": text}, kind)


@pytest.fixture(params=[SqliteRepositories, lambda _: MemoryRepositories()], ids=["sqlite", "memory"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repositories]:
    make: Callable[[Path], SqliteRepositories | MemoryRepositories] = request.param
    store = make(tmp_path / "index.db")
    yield store
    store.close()


def test_blobs_are_of_their_repositories(index: Repositories) -> None:
    with index.transaction() as transaction:
        transaction.link_blob("a", sha("x"), 1)
        transaction.link_blob("a", sha("x"), 2)  # it has it
        transaction.link_blob("b", sha("x"), 1)
        transaction.link_blob("b", sha("y"), 7)
        assert transaction.sizes("b", [sha("x"), sha("y"), sha("z")]) == {sha("x"): 1, sha("y"): 7}
    assert index.sizes("a", [sha("x"), sha("y")]) == {sha("x"): 1}
    assert (index.has_blob("a", sha("x")), index.has_blob("a", sha("y"))) == (True, False)
    assert (index.holders(sha("x")), index.names("", 9), index.names("a", 9)) == (["a", "b"], ["a", "b"], ["b"])
    before = index.removals()
    with index.transaction() as transaction:
        assert (transaction.unlink_blob("a", sha("x")), transaction.unlink_blob("a", sha("x"))) == (True, False)
        assert transaction.blob_is_used(sha("x"))
        during = index.removals()  # a later part of it checks again what was checked before
    assert len({before, during, index.removals()}) == 3
    assert (index.has_repository("a"), index.names("", 1), index.blob_is_used(sha("x"))) == (False, ["b"], True)
    assert list(index.digests()) == sorted([sha("x"), sha("y")])


def test_a_tag_moves_and_remembers(index: Repositories) -> None:
    times = [NOW + timedelta(seconds=second) for second in range(4)]
    for text, at in zip(("one", "one", "two"), times, strict=False):
        with index.transaction() as transaction:
            transaction.put_manifest("r", described(text), None, ["v1", text], at)
    assert index.manifest("r", "v1") == described("two")
    assert index.manifest("r", sha("one")) == described("one")
    assert (index.manifest("r", "none"), index.manifest("other", "v1")) == (None, None)
    assert index.tags("r", "", 9) == ["one", "two", "v1"]
    assert index.tags("r", "one", 1) == ["two"]
    with index.transaction() as transaction:
        assert (transaction.delete_tag("r", "one", times[3]), transaction.delete_tag("r", "one", times[3])) == (
            True, False)
        assert transaction.delete_manifest("r", sha("two"), times[3])
        assert not transaction.delete_manifest("r", sha("two"), times[3])
    assert (index.tags("r", "", 9), index.manifest("r", "v1"), index.manifest("r", sha("one"))) == (
        [], None, described("one"))
    assert [(event.digest, event.at) for event in index.history("r", "v1")] == [
        (sha("one"), times[0]), (sha("two"), times[2]), (None, times[3])]
    assert index.absent_manifests("r", [sha("one"), sha("two")]) == {sha("two")}


def test_referrers_are_by_digest_and_kind(index: Repositories) -> None:
    with index.transaction() as transaction:
        for number in range(20):
            transaction.put_manifest("r", described(str(number), f"kind/{number % 2}"), sha("subject"), [], NOW)
        transaction.put_manifest("other", described("elsewhere"), sha("subject"), [], NOW)
    digests = [descriptor.digest for descriptor in index.referrers("r", sha("subject"), None, "")]
    assert digests == sorted(sha(str(number)) for number in range(20))
    rest = list(index.referrers("r", sha("subject"), "kind/1", digests[4]))
    assert [descriptor.digest for descriptor in rest] == [
        digest for digest in digests[5:] if digest in {sha(str(number)) for number in range(1, 20, 2)}]


def test_a_transaction_is_whole_or_nothing(index: Repositories) -> None:
    def failing() -> None:
        with index.transaction() as transaction:
            transaction.link_blob("r", sha("x"), 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert not index.has_repository("r")


def test_a_part_fails_alone(index: Repositories) -> None:
    def failing(transaction: Transaction) -> None:
        with transaction.part():
            transaction.put_manifest("r", described("not"), None, ["t"], NOW)
            raise ZeroDivisionError

    with index.transaction() as transaction:
        with transaction.part():
            transaction.put_manifest("r", described("kept"), None, ["t"], NOW)
        with pytest.raises(ZeroDivisionError):
            failing(transaction)
        assert transaction.manifest("r", "t") == described("kept")
    assert index.manifest("r", "t") == described("kept")
    assert [event.digest for event in index.history("r", "t")] == [sha("kept")]


def test_others_see_what_is_committed(index: Repositories) -> None:
    import threading

    seen: list[bool] = []
    with index.transaction() as transaction:
        transaction.link_blob("r", sha("x"), 1)
        reader = threading.Thread(target=lambda: seen.append(index.has_blob("r", sha("x"))))
        reader.start()
        reader.join(60)
        assert transaction.has_blob("r", sha("x"))
    assert (seen, index.has_blob("r", sha("x"))) == ([False], True)
