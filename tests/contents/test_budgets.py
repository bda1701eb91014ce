"""Images that mean to take all memory: what they take is bounded before it is taken, and what is left out is said."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.adapters.sqlite.layercache import SqliteLayerCache
from custody.errors import MalformedError
from custody.registry.image import open_layout
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import CATALOGERS, binaries, dpkg, python, read
from custody.sbom.catalogers.cataloger import Wanted
from custody.sbom.catalogers.counted import COUNTED
from custody.sbom.catalogers.fact import UNKNOWN, Fact
from custody.sbom.catalogers.listed import Telling
from custody.sbom.catalogers.stanza import stanzas
from custody.sbom.limits import Account, Limits
from tests.contents.images import ZSTD, elf, go_program, image, layout, tar
from tests.contents.test_tarwalk import extended, header, record

_MIB = 300
_LIMITED = r"""
import re, sys
from pathlib import Path
from custody.errors import CustodyError
from custody.registry.image import open_layout
from custody.sbom.catalog import catalog
try:
    found = catalog(open_layout(Path(sys.argv[1])))
    print(len(found.packages), *(unknown.kind for unknown in found.unknowns), sep="; ")
except CustodyError as error:
    print(error)
# Not getrusage: there the memory of whoever started this process counts too.
print(int(re.search(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1]) >> 10)
"""


def _apk() -> list[bytes]:
    return [tar([("lib/apk/db/installed", b"P:a\nV:1\nF:" + b"d" * 400_000 + b"\n" + b"R:x\n" * 3000)])]


def _apk_stanzas() -> list[bytes]:
    stanza = b"P:a\nV:1\nF:bin/" + b"d" * 3000 + b"\n" + b"R:x\n" * 4000
    return [tar([("lib/apk/db/installed", b"\n\n".join([stanza] * 100))])]


def _deep() -> list[bytes]:
    return [tar([(f"{place:05d}/" + "a/" * 1000 + "package.json", b'{"name":"n","version":"1"}')
                 for place in range(400)]), tar([("z", b"")])]


def _rust() -> list[bytes]:
    packages = {"packages": [{"name": "n" * 200_000, "version": "1"},
                             {"name": "b", "version": "1", "dependencies": [0] * 4000}]}
    return [tar([("usr/bin/r", elf({".dep-v0": zlib.compress(json.dumps(packages).encode())}))])]


def _list() -> list[bytes]:
    return [tar([("var/lib/dpkg/info/a.list", b"/bin/x\n" * 2_000_000)])]


def _modules() -> list[bytes]:
    return [tar([("usr/bin/g", go_program("".join(f"mod\tm{place}\tv1\n" for place in range(10_000))
                                          + "".join(f"dep\td{place}\tv1\n" for place in range(10_000))))])]


def _sections() -> list[bytes]:
    size, count = 4 << 20, 65_535
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 40, 64)
    struct.pack_into("<HHH", head, 58, 64, count, 0)
    row = struct.pack("<II8x8xQQ", 1, 1, 64 + 64 * count, size).ljust(64, b"\0")
    return [tar([("usr/bin/x", bytes(head) + row * count + b"a" * size)])]


def _depends() -> list[bytes]:
    return [tar([("var/lib/dpkg/status", b"".join(
        b"Package: ab%d\nStatus: install ok installed\nVersion: 1\nDepends: " % place + b"ab," * 340_000 + b"\n\n"
        for place in range(5)))])]


@pytest.mark.parametrize(("layers", "answer"), [
    (_apk, "0; unreadable apk file"), (_apk_stanzas, "0; unreadable apk file"),
    (_deep, "1; file beyond the image's 67108864 bytes of folders and symbolic links"),
    (_rust, "0; program file beyond the image's 100663296 bytes of facts"),
    (_list, "0; unreadable dpkg files file"), (_modules, "20001"), (_sections, "0"),
    (_depends, "0; dpkg file beyond the image's 100663296 bytes of facts")])
def test_facts_multiply_memory(tmp_path: Path, layers: Callable[[], list[bytes]], answer: str) -> None:
    folder = layout(tmp_path / "i", layers())
    done = subprocess.run([sys.executable, "-c", _LIMITED, folder], text=True, capture_output=True, check=True)
    said, memory = done.stdout.strip().split("\n")
    assert answer in said
    assert int(memory) < _MIB


def test_json_bomb_file(tmp_path: Path) -> None:
    content = b'{"name":"n","version":"1","a":[' + b"[]," * 2_000_000 + b"0]}"
    found = catalog(image(tmp_path / "i", [("package.json", content)]))
    assert [unknown.kind for unknown in found.unknowns] == ["npm file of more than 4096 KiB"]
    for values in (b"[]," * 400_000 + b"0", b"[" * 2000 + b"]" * 2000):
        [fact] = read("npm", "package.json", b'{"name":"n","version":"1","a":[' + values + b"]}")
        assert (fact.type, fact.name) == (UNKNOWN, "unreadable npm file")


def test_metadata_regexp_hangs_scan() -> None:
    content = (b"Name: x\nVersion: 1\nRequires-Dist: a" + b"; extra " * 400_000
               + b"\nRequires-Dist: b ; extra == 't'\n\n")
    [fact] = python.read("x-1.dist-info/METADATA", content)
    assert fact.requires == ("a",)


def test_metadata_of_all_layers_has_one_limit(tmp_path: Path) -> None:
    layers = [[(f"{place}/package.json", b'{"name":"n","version":"1"}' + b" " * 900)] for place in range(6)]
    stored = image(tmp_path / "i", *layers)
    assert len(catalog(stored).packages[0].locations) == 6
    for limits, kind, left in ((Limits(parsed=2000), "npm file beyond the image's 2000 bytes of metadata", 2),
                               (Limits(kept=1700), "npm file beyond the image's 1700 bytes of facts", 2),
                               (Limits(tree=1000), "file beyond the image's 1000 bytes of folders and symbolic links",
                                1),
                               (Limits(packages=0), "package beyond the image's 0 packages", 0)):
        cut = catalog(stored, limits=limits)
        assert [len(package.locations) for package in cut.packages] == [left] * bool(left)
        [beyond] = cut.unknowns
        assert (beyond.kind, beyond.count) == (kind, 6 - left)
    with pytest.raises(MalformedError, match="more than 100 bytes of names"):
        catalog(stored, limits=Limits(names=100))
    with pytest.raises(MalformedError, match="layers: got 6, expected at most 5"):
        catalog(stored, limits=Limits(layers=5))


def test_links_that_there_is_no_room_for_end_it(tmp_path: Path) -> None:
    """Nobody would know where the names behind them lead."""
    stored = image(tmp_path / "i", [(f"l{place}", ("symlink", "a" * 100)) for place in range(10)])
    assert not catalog(stored).packages
    with pytest.raises(MalformedError, match="more than 1000 bytes of folders and symbolic links"):
        catalog(stored, limits=Limits(tree=1000))


def test_of_unread_files_some_are_counted(tmp_path: Path) -> None:
    stored = image(tmp_path / "i", [(f"{place}/package.json", b'{"name":"n","version":"1"}') for place in range(9)])
    for limits in (Limits(parsed=0, unread=4), Limits(tree=0, unread=4)):
        cut = catalog(stored, limits=limits)
        assert (cut.packages, [unknown.count for unknown in cut.unknowns]) == ((), [4])


def test_replacing_a_file_in_every_layer_costs_one(tmp_path: Path) -> None:
    stored = image(tmp_path / "i", *[[("a/package.json", b'{"name":"n","version":"1"}')]] * 20)
    assert len(catalog(stored, limits=Limits(tree=1000)).packages) == 1


def test_a_program_that_is_too_large_is_said(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [("x", go_program("mod\ta\tv1\n"))]), limits=Limits(file=100))
    assert [unknown.kind for unknown in found.unknowns] == ["program of more than 0 MiB"]


def test_holes_of_sparse_programs_are_counted(tmp_path: Path) -> None:
    program = go_program("mod\ta\tv1\n")
    records = (record("GNU.sparse.map", f"0,{len(program)}") + record("GNU.sparse.numblocks", "1")
               + record("GNU.sparse.size", "9000000"))
    data = (extended(b"x", records) + header(b"usr/bin/a", size=len(program)) + program
            + bytes(-len(program) % 512) + bytes(1024))
    stored = open_layout(layout(tmp_path / "i", [data]))
    assert {package.name for package in catalog(stored).packages} == {"a", "stdlib"}
    cut = catalog(stored, limits=Limits(holes=8_000_000))
    [beyond] = cut.unknowns
    assert beyond.kind == "program file beyond the image's 8000000 bytes of holes in programs"


def test_large_windows_are_read_one_at_a_time(tmp_path: Path) -> None:
    import zstandard

    data = tar([("package.json", b'{"name":"n","version":"1"}'), ("pad", bytes(9 << 20))])
    for log, fits in ((22, True), (27, True), (28, False)):
        wide = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(3, window_log=log)).compressobj()
        folder = tmp_path / str(log)
        layout(folder, [data], ZSTD)
        packed = wide.compress(data) + wide.flush()
        stored = _with_blob(folder, packed)
        if fits:
            assert len(catalog(open_layout(stored)).packages) == 1
        else:
            with pytest.raises(MalformedError, match="too much memory"):
                catalog(open_layout(stored))


def _with_blob(folder: Path, packed: bytes) -> Path:
    """The layout with its only layer's blob replaced, and all digests right again."""
    from custody.kit.digest import sha256

    def put(body: bytes) -> dict[str, object]:
        (folder / "blobs/sha256" / sha256(body)[7:]).write_bytes(body)
        return {"digest": sha256(body), "size": len(body)}

    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((folder / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
    manifest["layers"][0].update(put(packed))
    index["manifests"][0].update(put(json.dumps(manifest).encode()))
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_stanzas_are_bounded() -> None:
    assert list(stanzas(b"\n\na: b\nc\n\n\n\nd\n\n\ne")) == ["a: b\nc", "d", "\ne"]
    with pytest.raises(ValueError, match="a stanza of 11 bytes"):
        list(stanzas(b"a\n\n" + b"b" * 11, 10))


def test_lists_are_read_line_by_line_or_at_once_alike() -> None:
    lines = ["/usr/bin/a", "/.", "/usr", "/usr/bin", "/opt/x.jar", "/opt/bin/y/z", "/b.so",
             "/usr/lib/a.dist-info/METADATA", "/x/METADATA/y", "/x/specifications/y/specifications/z",
             "/lib/libc.so", ""]
    rows: tuple[Wanted, ...] = (*CATALOGERS, *COUNTED)
    lists = dpkg.Lists(Telling("|".join(row.listed for row in rows if row.listed)))
    for ending in ("", "\n"):
        [fact] = lists.read("var/lib/dpkg/info/a.list", ("\n".join(lines) + ending).encode())
        telling = [line for line in lines if lists.telling.expression.search(line)]
        assert [name.rpartition("/")[2] for name in fact.requires] == [line.rpartition("/")[2] for line in telling]
        assert len(telling) == 6


def test_an_account_says_what_of_and_where() -> None:
    account = Account(10, "apples")
    account.charge(7, "w")
    account.charge(-7, "w")
    account.charge(10, "w")
    with pytest.raises(MalformedError, match=r"^w: got 'an image with more than 10 apples'"):
        account.charge(1, "w")


def test_only_the_first_main_module_requires_the_others() -> None:
    import io

    program = go_program("mod\ta\tv1\nmod\tb\tv1\ndep\tc\tv1\n")
    assert {fact.name: len(fact.requires) for fact in binaries.read(io.BytesIO(program))} == {
        "stdlib": 0, "a": 2, "b": 0, "c": 0}
    assert all(isinstance(fact, Fact) for fact in binaries.read(io.BytesIO(program)))


def test_what_is_cut_off_is_no_answer_for_other_images(tmp_path: Path) -> None:
    cache = SqliteLayerCache(tmp_path / "cache.db")
    stored = image(tmp_path / "i", [("package.json", b'{"name":"n","version":"1"}')])
    assert not catalog(stored, cache, limits=Limits(parsed=10)).packages
    assert len(catalog(stored, cache).packages) == 1
