"""Native images of GraalVM, made here as its linker lays them out; syft reads the same."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from custody.sbom.catalogers.fact import PROGRAM
from tests.conftest import peer
from tests.contents.images import image

_DOCUMENT = {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
    {"type": "library", "bom-ref": purl, "group": group, "name": name, "version": version, "purl": purl}
    for group, name, version in (("io.micronaut", "micronaut-core", "4.1.0"), ("org.yaml", "snakeyaml", "2.0"))
    for purl in (f"pkg:maven/{group}/{name}@{version}",)]}
_PURLS = {"pkg:maven/io.micronaut/micronaut-core@4.1.0", "pkg:maven/org.yaml/snakeyaml@2.0"}


def native(content: bytes, *, length: int | None = None, address: int = 0x400000, symbols: bool = True) -> bytes:
    """An ELF program with this at the symbol `sbom`, and the two others."""
    data = struct.pack("<Q", len(content) if length is None else length) + content
    names = b"\0sbom\0sbom_length\0__svm_version_info\0"
    rows = [(1, address + 8), (6, address), (18, address)] if symbols else []
    table = bytes(24) + b"".join(struct.pack("<IBBHQQ", name, 0x11, 0, 2, value, 8) for name, value in rows)
    strings = b"\0.svm_heap\0.data\0.dynsym\0.dynstr\0.shstrtab\0"
    contents = [(1, 1, b"heap", 0, 0), (11, 1, data, address, 0), (17, 11, table, 0, 4), (25, 3, names, 0, 0),
                (33, 3, strings, 0, 0)]
    body, heads, place = b"", [bytes(64)], 64
    for name, kind, part, where, link in contents:
        heads.append(struct.pack("<IIQQQQIIQQ", name, kind, 2, where, place, len(part), link, 1, 8,
                                 24 if kind == 11 else 0))
        body += part
        place += len(part)
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, place, 0, 64, 0, 0, 64,
                                                      len(heads), len(heads) - 1)
    return head + body + b"".join(heads)


_PROGRAM = native(gzip.compress(json.dumps(_DOCUMENT).encode(), mtime=0))


def kinds(content: bytes) -> list[str]:
    return [fact.name for fact in read("program", "app", io.BytesIO(content)) if fact.type != PROGRAM]


def test_a_native_image(tmp_path: Path) -> None:
    packages = catalog(image(tmp_path, [("app/server", _PROGRAM)])).packages
    assert {package.purl for package in packages} == _PURLS
    assert {(package.ecosystem, package.locations[0].evidence) for package in packages} == {
        ("Maven", "SBOM of the native image")}


def test_one_without_an_sbom_is_counted() -> None:
    assert kinds(native(b"", symbols=False)) == ["native image of Java without an SBOM"]


@pytest.mark.parametrize("content", [
    native(b"no gzip"), native(gzip.compress(b"{}")), native(gzip.compress(b"[" * 100)),
    native(_PROGRAM, length=1 << 40), native(_PROGRAM, length=0), native(gzip.compress(bytes(64 << 20)))])
def test_sboms_that_lie(content: bytes) -> None:
    assert kinds(content) == ["unreadable program file"]


@given(st.data())
def test_any_change_is_none_or_counted(data: st.DataObject) -> None:
    program = bytearray(_PROGRAM)
    for _ in range(data.draw(st.integers(1, 6))):
        program[data.draw(st.integers(4, len(program) - 1))] = data.draw(st.integers(0, 255))
    kinds(bytes(program[:data.draw(st.integers(0, len(program)))]))


@pytest.mark.peer
def test_syft_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "server").write_bytes(_PROGRAM)
    (tmp_path / "server").chmod(0o755)
    said = subprocess.run([peer("syft"), "-q", f"dir:{tmp_path}", "--override-default-catalogers",
                           "graalvm-native-image-cataloger", "-o", "purls"], check=True, capture_output=True, text=True,
                          env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"})
    assert set(said.stdout.split()) == _PURLS
