"""Whoever interrupts a scan, or a layer that is broken, leaves no thread that reads on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.errors import MalformedError, VerificationError
from custody.registry.image import StoredImage
from custody.sbom.catalog import catalog
from custody.sbom.decompression import Decompressed, StoppedError
from custody.sbom.limits import Limits
from tests.contents.images import OS_RELEASE, STATUS, image

_NOISE = os.urandom(1 << 20)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) - before == set()


@pytest.fixture(name="stored")
def _stored(tmp_path: Path) -> StoredImage:
    return image(tmp_path / "i", [("etc/os-release", OS_RELEASE), *((f"n/{place}", _NOISE) for place in range(24))],
                 [("var/lib/dpkg/status", STATUS), *((f"m/{place}", _NOISE) for place in range(24))])


def test_one_who_stops_reading_ends_the_threads(stored: StoredImage) -> None:
    layer = stored.manifest.layers[0]
    with Decompressed(stored.open_blob(layer), layer, Limits(), threading.Lock(), None) as chunks:
        next(iter(chunks))


def test_once_stopped_no_chunk_comes(stored: StoredImage) -> None:
    layer, stopped = stored.manifest.layers[0], threading.Event()
    with Decompressed(stored.open_blob(layer), layer, Limits(), threading.Lock(), None, stopped) as chunks:
        taken = iter(chunks)
        next(taken)
        stopped.set()
        with pytest.raises(StoppedError):
            next(taken)


def test_a_catalog_that_nobody_wants_any_more(stored: StoredImage) -> None:
    stopped = threading.Event()
    with pytest.raises(StoppedError):
        catalog(stored, progress=lambda _: stopped.set(), stopped=stopped)


def test_a_reader_that_fails_is_told_by_the_thread_that_reads(stored: StoredImage) -> None:
    def fail(_count: int) -> None:
        raise RuntimeError("the bar broke")

    with pytest.raises(RuntimeError, match="the bar broke"):
        catalog(stored, progress=fail)


def test_the_digest_of_what_was_unpacked_counts(stored: StoredImage) -> None:
    layer = stored.manifest.layers[0]
    with Decompressed(stored.open_blob(layer), layer, Limits(), threading.Lock(), None) as chunks:
        for _ in chunks:
            pass
        chunks.verify(stored.config.diff_ids[0])
        with pytest.raises(VerificationError, match="the image config says sha256:0000"):
            chunks.verify("sha256:" + "0" * 64)


def test_of_several_broken_layers_the_lowest_is_named(tmp_path: Path) -> None:
    stored = image(tmp_path / "i", [("a", b"1")], [("b", b"2")], [("c", b"3")])
    for layer in stored.manifest.layers[1:]:
        blob = tmp_path / "i/blobs/sha256" / layer.digest[7:]
        blob.write_bytes(blob.read_bytes()[:-9])
    for _ in range(5):
        with pytest.raises((VerificationError, MalformedError), match=stored.manifest.layers[1].digest[7:19]):
            catalog(stored)


def test_an_interrupted_command_reads_no_layer_to_its_end(stored: StoredImage, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CUSTODY_DATA_DIR": str(tmp_path / "data")}
    blocked = ("import signal, sys, threading, custody.sbom.layers as layers\n"
               "signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it\n"
               "take = layers.Collected.take\n"
               "def slow(self, entry):\n"
               "    print('reading', flush=True)\n"
               "    threading.Event().wait(0.5)\n"
               "    take(self, entry)\n"
               "layers.Collected.take = slow\n"
               "from custody.cli.main import main\n"
               "sys.exit(main(['sbom', 'oci:i']))\n")
    process = subprocess.Popen([sys.executable, "-c", blocked], cwd=tmp_path, env=environ, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    read, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "error: interrupted")
    assert read.count("reading") < 20  # of 50 entries: each layer ends at its next chunk
