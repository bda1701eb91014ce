"""Programs and libraries that say themselves what they are, and those that nobody answers for."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats.bom import Catalog
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from custody.sbom.catalogers.classes import CLASSES
from custody.sbom.limits import Account, FullError
from tests.contents.images import METADATA, OS_RELEASE, Member, elf, go_program, image

RECORDED = [line.split("\t") for line in (Path(__file__).parent / "versionstrings.tsv").read_text().splitlines()
            if line[0] != "#"]
"""Pieces of real programs: package, version, what their publisher calls it, where from, path, what syft says, bytes."""
NODE = elf({".rodata": b"\0https://node.js/v18.20.4\0"})
_DPKG = b"Package: nodejs\nStatus: install ok installed\nVersion: 18.20.4-1\nArchitecture: amd64\n"


def _catalog(folder: Path, *members: Member) -> Catalog:
    return catalog(image(folder, members))


def _said(found: Catalog) -> dict[str, int]:
    return {unknown.kind: unknown.count for unknown in found.unknowns}


def test_how_many_are_recorded() -> None:
    assert len(RECORDED) >= 60
    assert len({row[0] for row in RECORDED}) >= 60


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_real_programs(row: list[str]) -> None:
    package, version, _, _, path, _, piece = row
    content = elf({".rodata": bytes(300) + base64.b64decode(piece) + bytes(300)})
    facts = [fact for fact in read("program", path, io.BytesIO(content)) if fact.type == "generic"]
    assert (package, version) in [(fact.name, fact.version) for fact in facts]
    assert all(fact.evidence.startswith("version string at 0x") for fact in facts)


def test_a_program_without_a_package_is_one_itself(tmp_path: Path) -> None:
    found = _catalog(tmp_path / "i", ("usr/local/bin/node", NODE))
    [package] = found.packages
    assert package.purl == "pkg:generic/node@18.20.4"
    assert package.cpes == ("cpe:2.3:a:nodejs:node.js:18.20.4:*:*:*:*:*:*:*",)
    place = int(package.locations[0].evidence.removeprefix("version string at "), 16)
    assert NODE[place:place + 7] == b"18.20.4"
    assert found.unknowns == ()


@pytest.mark.parametrize(("path", "listed"), [
    ("usr/bin/node", "/usr/bin/node"), ("usr/bin/node", "/bin/node"), ("bin/node", "/bin/node"),
    ("usr/lib/x86_64-linux-gnu/libnode.so.108", "/usr/lib/x86_64-linux-gnu/libnode.so.108")])
def test_the_distributions_package_says_it_better(tmp_path: Path, path: str, listed: str) -> None:
    found = _catalog(tmp_path / "i", ("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", _DPKG),
                     ("var/lib/dpkg/info/nodejs.list", f"/.\n{listed}\n".encode()), (path, NODE))
    assert [package.type for package in found.packages] == ["deb"]
    assert found.unknowns == ()


def test_a_program_that_was_put_over_the_packages_own_is_another(tmp_path: Path) -> None:
    below: list[Member] = [("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", _DPKG),
                           ("var/lib/dpkg/info/nodejs.list", b"/usr/bin/node\n"), ("usr/bin/node", NODE)]
    newer = elf({".rodata": b"node.js/v22.1.0\0"})
    found = catalog(image(tmp_path / "i", below, [("usr/bin/node", newer)]))
    assert [package.purl for package in found.packages if package.type == "generic"] == ["pkg:generic/node@22.1.0"]


def test_programs_and_libraries_of_nobody_are_counted(tmp_path: Path) -> None:
    found = _catalog(tmp_path / "i", ("opt/a", elf({".text": b"x" * 100})), ("opt/libb.so.1", elf({".text": b"x"})),
                     ("opt/node", elf({".rodata": b"no version"})), ("usr/bin/node", NODE))
    assert _said(found) == {"program without a package": 2, "library without a package": 1}
    assert found.coverage is not None
    assert (found.coverage.programs, found.coverage.identified) == (4, 1)
    assert 0 < found.coverage.share < 1
    assert found.coverage.identified_size == len(NODE)


def test_what_a_package_brought_is_its_own(tmp_path: Path) -> None:
    library = elf({".text": b"x"})
    record = b'f/_c.cpython-311-x86_64-linux-gnu.so,sha256=a,1\n"f/b,c.so",,\n../bin/f,,\nf/a.py,,\n'
    found = _catalog(
        tmp_path / "i", ("s/f.dist-info/METADATA", METADATA), ("s/f.dist-info/RECORD", record),
        ("s/f/_c.cpython-311-x86_64-linux-gnu.so", library), ("s/f/b,c.so", library), ("bin/f", library),
        ("s/g/other.so", library), ("m/node_modules/p/package.json", b'{"name": "p", "version": "1.0.0"}'),
        ("m/node_modules/p/build/Release/p.node", library), ("m/build/q.node", library))
    assert {(unknown.kind, unknown.examples) for unknown in found.unknowns} == {
        ("library without a package", ("m/build/q.node", "s/g/other.so"))}


@pytest.mark.parametrize(("program", "library", "owned"), [
    ("opt/py/bin/python3.11", "opt/py/lib/python3.11/lib-dynload/_ssl.so", True),
    ("opt/py/bin/python3.11", "opt/py/lib/libtcl.so", True),
    ("usr/local/bin/python3.11", "usr/local/lib/python3.11/lib-dynload/_ssl.so", True),
    ("usr/local/bin/python3.11", "usr/local/lib/libx.so", False),
    ("usr/local/bin/python3.11", "usr/local/lib/python3.12/_ssl.so", False),
    ("bin/python3.11", "lib/libx.so", False), ("python3.11", "x.so", False)])
def test_a_prefix_of_its_own_is_the_programs(tmp_path: Path, program: str, library: str, owned: bool) -> None:
    python = elf({".rodata": b"\0" + b"3.11.2\0"})
    found = _catalog(tmp_path / "i", (program, python), (library, elf({".text": b"x"})))
    assert _said(found) == ({} if owned else {"library without a package": 1})


@pytest.mark.parametrize(("path", "content", "package"), [
    ("bin/redis-server", b"valkey\0\x008.0.1\0c11-builtin\0", None),
    ("bin/valkey-server", b"valkey\0\x008.0.1\0c11-builtin\0", ("valkey", "8.0.1")),
    ("bin/openssl", b"\0OpenSSL 1.1.1 (compatible; AWS-LC 1.69.0)\0", ("aws-lc", "1.69.0")),
    ("bin/mysql", b"/mysql-8.0.4/\0", ("mysql", "8.0.4")),
    ("bin/mysql", b"/mysql-8.0.4/\x0010.6.15-MariaDB\0", ("mariadb", "10.6.15")),
    ("bin/ssh", b"\0OpenSSH_6.6*\0\0OpenSSH_9.2p1 Debian\0", ("openssh", "9.2p1")),
    ("bin/node.exe", b"node.js/v20.1.0", ("node", "20.1.0")),
    ("bin/nodemon", b"node.js/v20.1.0", None), ("bin/node", b"node.js/v20.1", None),
    ("bin/python", b"\0" + b"3.12.4\0%.80s (%.80s) %.80s\0", ("python", "3.12.4")),
    ("bin/python3.11", b"\0" + b"3.40.1\0", None)])
def test_what_is_told_apart(path: str, content: bytes, package: tuple[str, str] | None) -> None:
    facts = [(fact.name, fact.version) for fact in CLASSES.read(path, io.BytesIO(content))]
    assert facts == ([package] if package else [])


@given(st.integers(0, 4200))
def test_a_version_over_the_end_of_a_piece_is_seen(distance: int) -> None:
    before = (1 << 20) - 2100 + distance
    facts = list(CLASSES.read("node", io.BytesIO(bytes(before) + b"node.js/v18.20.4\0")))
    assert [fact.evidence for fact in facts] == [f"version string at {before + 9:#x}"]


def test_a_program_full_of_literals_is_bounded() -> None:
    spent: list[int] = []
    content = elf({".rodata": b"node.js/v" * 400_000})
    facts = read("program", "bin/node", io.BytesIO(content), spend=spent.append)
    assert [fact.type for fact in facts] == ["PROGRAM"]
    assert sum(spent) < 20 << 20


def _main(settings: str, version: str = "(devel)") -> tuple[str, str]:
    program = go_program(f"path\tx.org/t/app\nmod\tx.org/t/app\t{version}\t\ndep\tx.org/d\tv1.0.0\t\n{settings}")
    [main] = [fact for fact in read("program", "app", io.BytesIO(program)) if fact.name == "x.org/t/app"]
    return main.version, main.evidence


@pytest.mark.parametrize(("flags", "version"), [
    ("-X main.version=1.2.3", "v1.2.3"), ("\"-s -w -X 'x.org/t/app/ver.AppVersion=v2.0.1-rc1'\"", "v2.0.1-rc1"),
    ("-X=main.gitVersion=v1.29.0+k3s1", "v1.29.0+k3s1"), ("-X other.org/lib.Version=9.9.9", ""),
    ("-X main.version=dev", ""), ("-X main.versionNotes=1.2.3", ""), ("-X main.commit=1.2.3", "")])
def test_the_version_that_the_linker_gave_a_go_program(flags: str, version: str) -> None:
    """Those that Go's own build recorded: syft 1.57 said the same of the first three forms."""
    assert _main(f"build\t-ldflags={flags}\n") == (version, "-ldflags -X" if version else "")
    assert _main(f"build\t-ldflags={flags}\n", "v7.0.0") == ("v7.0.0", "")


def test_the_commit_of_a_go_program() -> None:
    commit = "build\tvcs.revision=" + "0a" * 20 + "\nbuild\tvcs.time=2026-01-02T03:04:05Z\nbuild\tvcs.modified=true\n"
    assert _main(commit)[0] == "v0.0.0-20260102030405-0a0a0a0a0a0a+dirty"
    assert _main("build\tvcs.revision=words\nbuild\tvcs.time=2026-01-02T03:04:05Z\n")[0] == ""


def test_the_go_toolchain_is_a_program_too() -> None:
    facts = read("program", "usr/local/go/bin/go", io.BytesIO(go_program("path\tcmd/go\n", "go1.24.4")))
    assert [(fact.type, fact.name, fact.version) for fact in facts if fact.type != "PROGRAM"] == [
        ("golang", "stdlib", "1.24.4"), ("generic", "go", "1.24.4")]


def old_go(version: bytes, modules: bytes) -> bytes:
    """An ELF file of one segment, in which are the build information of Go 1.13 to 1.17 and what it points to."""
    base, start = 0x400000, 128
    strings = start + 32
    info = b"\xff Go buildinf:\x08\0" + struct.pack("<QQ", base + strings, base + strings + 16)
    texts = strings + 32
    headers = struct.pack("<QQQQ", base + texts, len(version), base + texts + len(version), len(modules))
    body = info + headers + version + modules
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 4, 0, base, base, start + len(body), start + len(body), 0x1000)
    return (head + segment).ljust(start, b"\0") + body


def test_go_programs_from_before_1_18() -> None:
    modules = b"0" * 16 + b"mod\tx.org/a\tv1.1.0\n" + b"1" * 16
    facts = read("program", "a", io.BytesIO(old_go(b"go1.15.15", modules)))
    assert [(fact.name, fact.version) for fact in facts if fact.type == "golang"] == [
        ("stdlib", "1.15.15"), ("x.org/a", "v1.1.0")]
    facts = read("program", "a", io.BytesIO(old_go(b"", b"")))
    assert "Go program from before Go 1.18" in [fact.name for fact in facts]


def test_what_is_packed_is_counted() -> None:
    facts = read("program", "bin/a", io.BytesIO(elf({".text": b"UPX!" + bytes(100)})))
    assert [fact.name for fact in facts if fact.type == "UNKNOWN"] == ["program packed with UPX"]


def portable(section: bytes) -> bytes:
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HHIIIHH", 0, 1, 0, 0, 0, 0, 0)
    row = b".dep-v0\0" + struct.pack("<IIII", len(section), 0x1000, len(section), 0x200) + bytes(16)
    return (head + row).ljust(0x200, b"\0") + section


def mach_o(section: bytes) -> bytes:
    name = b".dep-v0".ljust(16, b"\0") + b"__DATA".ljust(16, b"\0")
    row = name + struct.pack("<QQI", 0, len(section), 0x200) + bytes(28)
    command = struct.pack("<II", 0x19, 72 + len(row)) + bytes(56) + struct.pack("<II", 1, 0) + row
    return (b"\xcf\xfa\xed\xfe" + bytes(12) + struct.pack("<II", 1, len(command)) + bytes(8) + command
            ).ljust(0x200, b"\0") + section


@pytest.mark.parametrize("form", [portable, mach_o])
def test_rust_programs_of_other_formats(form: Callable[[bytes], bytes]) -> None:
    crates = zlib.compress(b'{"packages": [{"name": "a", "version": "1.0.0", "source": "crates.io"}]}')
    facts = read("program", "a", io.BytesIO(form(crates)))
    assert [(fact.type, fact.name, fact.version) for fact in facts] == [("cargo", "a", "1.0.0")]


@given(st.data())
def test_any_program_is_bounded(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([
        old_go(b"go1.15.15", b"0" * 16 + b"mod\ta\tv1\n" + b"1" * 16), NODE, mach_o(zlib.compress(b"{}")),
        portable(zlib.compress(b"{}"))])))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    with contextlib.suppress(FullError):  # what a header asks for is charged before it is read
        facts = read("program", "bin/node", io.BytesIO(content), spend=Account(8 << 20, "bytes of work").take)
        assert len(facts) < 100


def _noted(**more: str) -> bytes:
    note = json.dumps({"type": "rpm", "name": "hello", "version": "2.10-1.fc43", "architecture": "x86_64",
                       "os": "fedora", "osVersion": "43", **more}).encode() + b"\0"
    return elf({".note.package": struct.pack("<III", 4, len(note), 0xCAFE1A7E) + b"FDO\0" + note})


def test_the_package_that_a_program_was_built_for(tmp_path: Path) -> None:
    found = _catalog(tmp_path / "i", ("opt/hello", _noted()), ("opt/other", _noted(type="own", name="x", version="3")),
                     ("opt/odd", _noted(version="")))
    assert [package.purl for package in found.packages] == [
        "pkg:generic/x@3", "pkg:rpm/fedora/hello@2.10-1.fc43?arch=x86_64&distro=fedora-43"]
    assert found.packages[1].locations[0].evidence == "ELF note"
    assert _said(found) == {"program without a package": 1}


def test_a_note_says_no_more_than_the_packages_own_list(tmp_path: Path) -> None:
    found = _catalog(tmp_path / "i", ("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", _DPKG),
                     ("var/lib/dpkg/info/nodejs.list", b"/usr/bin/hello\n"), ("usr/bin/hello", _noted(type="deb")))
    assert [package.name for package in found.packages] == ["nodejs"]
