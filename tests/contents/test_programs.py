"""Programs and libraries that say themselves what they are, and those that nobody answers for."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats.bom import Catalog
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from custody.sbom.catalogers.classes import CLASSES
from tests.contents.images import METADATA, OS_RELEASE, Member, elf, image

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
