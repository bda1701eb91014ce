"""Layers read by several processes: the same catalog as threads read, whatever becomes of a process."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.layercache import SqliteLayerCache
from custody.errors import MalformedError, VerificationError
from custody.registry.image import StoredImage, open_layout
from custody.sbom import apart, layers
from custody.sbom import catalog as catalogs
from custody.sbom.catalog import catalog
from custody.sbom.layerfacts import LayerFacts
from custody.sbom.limits import Limits
from tests.contents.images import METADATA, OS_RELEASE, STATUS, Member, image, layout, tar

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere layers are read by threads alone")
_BASE: list[Member] = [("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS)]
_PYTHON: list[Member] = [("usr/lib/python3/dist-packages/x.dist-info/METADATA", METADATA)]
_NPM: list[Member] = [(f"app/node_modules/n{place}/package.json", b'{"name": "n%d", "version": "1"}' % place)
                      for place in range(40)]


@pytest.fixture(autouse=True)
def _processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_WORTH", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})


@pytest.fixture(name="stored")
def _stored(tmp_path: Path) -> StoredImage:
    return image(tmp_path / "i", _BASE, _PYTHON, _NPM, [("etc/x", b"")])


@pytest.fixture(name="forked")
def _forked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that are made."""
    fork, made = os.fork, list[int]()

    def noted() -> int:
        if process := fork():
            made.append(process)
        return process

    monkeypatch.setattr(os, "fork", noted)
    return made


def _in_children(monkeypatch: pytest.MonkeyPatch, does: Callable[[], object],
                 meanwhile: Callable[[], object] = lambda: None) -> None:
    """What a process does in the place of reading its first layer, and this one, which waits until then, `meanwhile`.
    """
    read, parent = layers.read_layer, os.getpid()
    source, sink = os.pipe()
    begun: list[bytes] = []

    def instead(*args: Any, **more: Any) -> LayerFacts:
        if os.getpid() != parent:
            os.write(sink, b".")
            does()
        elif not begun:
            begun.append(os.read(source, 1))
            meanwhile()
        return read(*args, **more)

    monkeypatch.setattr(catalogs, "read_layer", instead)


def test_processes_say_what_threads_say(stored: StoredImage, forked: list[int], tmp_path: Path) -> None:
    cache = SqliteLayerCache(tmp_path / "layers.db")
    expected = catalog(stored)
    assert forked == []
    progressed: list[int] = []
    assert catalog(stored, cache, progressed.append, forks=True) == expected
    assert len(forked) == 2
    assert sum(progressed) == sum(layer.size for layer in stored.manifest.layers)
    assert catalog(stored, cache, forks=True) == expected
    assert len(forked) == 2  # what is kept is not read again


def test_processes_prove_what_threads_prove(tmp_path: Path, forked: list[int]) -> None:
    lists = "var/lib/dpkg/info/libc6:amd64.md5sums"
    big = os.urandom(3 << 20)
    stated = {b"usr/lib/big": big, b"usr/bin/x": b"as it was", b"usr/bin/gone": b""}
    sums = b"".join(b"%s  %s\n" % (hashlib.md5(data).hexdigest().encode(), name) for name, data in stated.items())
    stored = image(
        tmp_path / "i", [*_BASE, ("etc/debian_version", b"12"), ("usr/lib/big", big), ("usr/bin/x", b"changed"),
                         (lists, sums)], _NPM, [("usr/bin/x", b"changed again")], [("etc/x", b"")])
    expected = catalog(stored, prove=True)
    assert expected.proof is not None
    assert {difference.path for difference in expected.proof.differences} >= {"usr/bin/x", "usr/bin/gone"}
    assert expected.proof.same == 1
    assert catalog(stored, prove=True, forks=True) == expected
    assert len(forked) == 2


def test_no_process_is_left(stored: StoredImage, forked: list[int]) -> None:
    catalog(stored, forks=True)
    for process in forked:
        with pytest.raises(ChildProcessError):
            os.waitpid(process, 0)


@pytest.mark.parametrize("broken", range(4))
def test_a_layer_that_lies_is_named(stored: StoredImage, tmp_path: Path, broken: int) -> None:
    for layer in stored.manifest.layers[broken:]:
        blob = tmp_path / "i/blobs/sha256" / layer.digest[7:]
        blob.write_bytes(blob.read_bytes()[:-9])
    for _ in range(3):
        with pytest.raises((VerificationError, MalformedError), match=stored.manifest.layers[broken].digest[7:19]):
            catalog(stored, forks=True)


def test_a_diff_id_that_lies_is_named(tmp_path: Path) -> None:
    lying = open_layout(layout(tmp_path / "i", [tar(_BASE), tar(_PYTHON), tar(_NPM)],
                               diff_ids={1: "sha256:" + "0" * 64}))
    with pytest.raises(VerificationError, match="the image config says sha256:0000"):
        catalog(lying, forks=True)


@pytest.mark.parametrize("death", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(0),
                                   lambda: 1 // 0], ids=["killed", "gone", "wrong"])
def test_what_a_process_leaves_unread_is_read(stored: StoredImage, death: Callable[[], object],
                                              monkeypatch: pytest.MonkeyPatch, forked: list[int]) -> None:
    expected = catalog(stored)
    _in_children(monkeypatch, death)
    assert catalog(stored, forks=True) == expected
    assert len(forked) == 2


def test_one_who_had_enough_ends_the_processes(stored: StoredImage, monkeypatch: pytest.MonkeyPatch,
                                               forked: list[int]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    _in_children(monkeypatch, lambda: threading.Event().wait(600), interrupted)
    with pytest.raises(KeyboardInterrupt):
        catalog(stored, forks=True)
    assert len(forked) == 2
    for process in forked:
        with pytest.raises(ChildProcessError):
            os.waitpid(process, 0)


def test_what_is_beyond_the_image_s_limits_is_left_to_threads(tmp_path: Path) -> None:
    stored = image(tmp_path / "i", *([(f"app/node_modules/{layer}n{place}/package.json",
                                       b'{"name": "n%d%d", "version": "1"}' % (layer, place)) for place in range(40)]
                                     for layer in range(4)))
    whole = catalog(stored, forks=True)
    assert len(whole.packages) == 160
    few = Limits(parsed=60_000)
    assert sum(unknown.count for unknown in catalog(stored, limits=few, forks=True).unknowns) == sum(
        unknown.count for unknown in catalog(stored, limits=few).unknowns) > 0
    with pytest.raises(MalformedError, match="bytes of names"):
        catalog(stored, limits=Limits(names=300), forks=True)


@pytest.mark.parametrize("made", [0, 1])
def test_where_no_process_can_be_made_threads_read(stored: StoredImage, monkeypatch: pytest.MonkeyPatch, made: int,
                                                   ) -> None:
    expected, fork, processes = catalog(stored), os.fork, list[int]()

    def refused() -> int:
        if len(processes) == made:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if process := fork():
            processes.append(process)
        return process

    monkeypatch.setattr(os, "fork", refused)
    before = len(os.listdir("/proc/self/fd"))
    assert catalog(stored, forks=True) == expected
    assert len(processes) == made
    assert len(os.listdir("/proc/self/fd")) == before
    for process in processes:
        with pytest.raises(ChildProcessError):
            os.waitpid(process, 0)


def test_it_is_not_worth_it_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    assert apart.worthwhile([1, 1, 1, 1]) == 3
    assert apart.worthwhile([1]) == 1
    assert apart.worthwhile([]) == 1
    monkeypatch.setattr(apart, "_WORTH", 8 << 20)
    assert apart.worthwhile([1 << 30, 1 << 20]) == 1
    assert apart.worthwhile([1 << 30, 8 << 20]) == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert apart.worthwhile([1 << 30, 1 << 30]) == 1


def test_a_turn_is_one_process_s_and_ends_with_it() -> None:
    source, sink = os.pipe()
    with apart._turn() as turn:
        turn.acquire()
        turn.acquire()
        turn.release()
        if not (process := os.fork()):
            with apart._Turn(turn._file):
                os.write(sink, b"mine")
                os._exit(0)  # without giving it back
        os.set_blocking(source, False)
        with pytest.raises(BlockingIOError):
            os.read(source, 4)
        turn.release()
        os.waitpid(process, 0)
        assert os.read(source, 4) == b"mine"
        turn.acquire()
    os.close(source)
    os.close(sink)
