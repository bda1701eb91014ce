""".NET: deps.json, lock files, and assemblies that nothing else names."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats import portable
from custody.formats.bom import Catalog
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from tests.contents.images import Member, elf, image

SHA = "sha512-" + base64.b64encode(bytes(64)).decode()
DEPS = {
    "runtimeTarget": {"name": ".NETCoreApp,Version=v8.0/linux-x64"},
    "targets": {".NETCoreApp,Version=v8.0": {}, ".NETCoreApp,Version=v8.0/linux-x64": {
        "App/1.0.0": {"dependencies": {"Meta": "2.0.0", "Newtonsoft.Json": "13.0.3"}, "runtime": {"App.dll": {}}},
        "Meta/2.0.0": {"dependencies": {"newtonsoft.json": "13.0.3"}},
        "Newtonsoft.Json/13.0.3": {
            "runtime": {"lib/net6.0/Newtonsoft.Json.dll": {"assemblyVersion": "13.0.0.0"}},
            "resources": {"lib/net6.0/de/Newtonsoft.Json.resources.dll": {"locale": "de"}}},
        "Sqlite/2.1.0": {"runtimeTargets": {"runtimes/linux-x64/native/libe_sqlite3.so": {"rid": "linux-x64"}}},
        "Analyzer/1.0.0": {}, "Placeholder/1.0.0": {"runtime": {"lib/net6.0/_._": {}}},
        "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"native": {"libSystem.Native.so": {}}}}},
    "libraries": {
        "App/1.0.0": {"type": "project", "sha512": ""}, "Meta/2.0.0": {"type": "package", "sha512": "sha512-?"},
        "Newtonsoft.Json/13.0.3": {"type": "package", "sha512": SHA}, "Sqlite/2.1.0": {"type": "package"},
        "Analyzer/1.0.0": {"type": "package"}, "Placeholder/1.0.0": {"type": "package"},
        "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"type": "runtimepack"}}}


def pe(strings: Mapping[str, str], *, assembly: bool = True, magic: int = 0x20B) -> bytes:
    """A PE file with one section in which a version resource is, laid out as linkers do."""
    rows = b""
    for key, value in strings.items():
        row = struct.pack("<HHH", 0, len(value) + 1, 1) + key.encode("utf-16-le") + b"\0\0"
        row += bytes(-len(row) % 4) + value.encode("utf-16-le") + b"\0\0"
        rows += row + bytes(-len(row) % 4)
    version = bytes(8) + rows
    tree = b"".join(bytes(12) + struct.pack("<HHII", 0, 1, number, target)
                    for number, target in ((16, 1 << 31 | 24), (1, 1 << 31 | 48), (0, 72)))
    section = tree + struct.pack("<IIII", 0x2000 + 88, len(version), 0, 0) + version
    directories = bytearray(8 * 16)
    struct.pack_into("<II", directories, 16, 0x2000, len(section))
    if assembly:
        struct.pack_into("<II", directories, 8 * 14, 0x2000, 72)
    optional = struct.pack("<H", magic) + bytes((112 if magic == 0x20B else 96) - 6) + struct.pack("<I", 16)
    optional += bytes(directories)
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", 0, 1, 0, 0, 0, len(optional), 0)
    row = b".rsrc\0\0\0" + struct.pack("<IIII", len(section), 0x2000, len(section), 0x400) + bytes(16)
    return (head + optional + row).ljust(0x400, b"\0") + section


NEWTONSOFT = pe({"ProductVersion": "13.0.3+0a2e291c", "FileVersion": "13.0.3.27908",
                 "InternalName": "Newtonsoft.Json.dll", "CompanyName": "Newtonsoft"})


def _catalog(folder: Path, *members: Member) -> Catalog:
    return catalog(image(folder, members))


def test_what_was_published(tmp_path: Path) -> None:
    library = elf({".text": b"x"})
    found = _catalog(
        tmp_path / "i", ("app/App.deps.json", json.dumps(DEPS).encode()), ("app/Newtonsoft.Json.dll", NEWTONSOFT),
        ("app/de/Newtonsoft.Json.resources.dll", NEWTONSOFT), ("app/App.dll", pe({})),
        ("app/runtimes/linux-x64/native/libe_sqlite3.so", library), ("app/libSystem.Native.so", library))
    packages = {package.purl: package for package in found.packages}
    assert set(packages) == {
        "pkg:nuget/Meta@2.0.0", "pkg:nuget/Newtonsoft.Json@13.0.3", "pkg:nuget/Sqlite@2.1.0",
        "pkg:nuget/Microsoft.NETCore.App.Runtime.linux-x64@8.0.1"}
    assert packages["pkg:nuget/Meta@2.0.0"].requires == ("pkg:nuget/Newtonsoft.Json@13.0.3",)
    assert packages["pkg:nuget/Newtonsoft.Json@13.0.3"].hashes == (("sha512", "00" * 64),)
    assert len(packages["pkg:nuget/Newtonsoft.Json@13.0.3"].locations) == 1
    assert found.unknowns == ()
    assert found.coverage is not None
    assert (found.coverage.programs, found.coverage.identified) == (2, 2)


def test_an_assembly_that_no_file_names(tmp_path: Path) -> None:
    found = _catalog(tmp_path / "i", ("app/Newtonsoft.Json.dll", NEWTONSOFT), ("app/Mine.dll", pe({
        "ProductVersion": "1.0.0", "InternalName": "Mine.dll"})), ("app/Bare.dll", pe({})))
    [package] = found.packages
    assert (package.purl, package.supplier) == ("pkg:nuget/Newtonsoft.Json@13.0.3", "Newtonsoft")
    assert package.locations[0].evidence == "version resource"
    assert {unknown.kind: unknown.count for unknown in found.unknowns} == {".NET assembly": 2}


@pytest.mark.parametrize(("strings", "version"), [
    ({"ProductVersion": "8.0.1-rc.2.5+abc", "InternalName": "A.dll"}, "8.0.1-rc.2.5"),
    ({"ProductVersion": "words", "FileVersion": "4.6.26.1", "OriginalFilename": "A.EXE"}, "4.6.26.1"),
    ({"FileVersion": "4.6.26.1"}, None), ({"ProductVersion": "2.0.0", "InternalName": "a/b.dll"}, None),
    ({"ProductVersion": "0.0.0.0", "InternalName": "A.dll"}, None)])
def test_versions_of_assemblies(strings: dict[str, str], version: str | None) -> None:
    for magic in (0x20B, 0x10B):
        facts = read(".NET assembly", "A.dll", io.BytesIO(pe(strings, magic=magic)))
        assert [fact.version for fact in facts if fact.type == "nuget"] == ([version] if version else [])
        assert len(facts) == 1


def test_a_program_for_windows_is_read_as_one() -> None:
    facts = read(".NET assembly", "bin/node.exe", io.BytesIO(pe({}, assembly=False) + b"node.js/v20.1.0\0"))
    assert [(fact.name, fact.version) for fact in facts] == [("node", "20.1.0")]


def test_a_lock_file_of_nuget() -> None:
    lock = {"version": 1, "dependencies": {"net8.0": {
        "A": {"type": "Direct", "resolved": "1.2.3", "contentHash": SHA.removeprefix("sha512-"),
              "dependencies": {"b": "[1.0.0, )"}},
        "B": {"type": "Transitive", "resolved": "1.0.0"}, "mine": {"type": "Project"}, "bad": 1, "none": {}}}}
    facts = read("NuGet lock", "packages.lock.json", json.dumps(lock).encode())
    assert [(fact.name, fact.version, fact.requires, fact.declared) for fact in facts] == [
        ("A", "1.2.3", ("B",), True), ("B", "1.0.0", (), True)]


@pytest.mark.parametrize("content", [
    b"[]", b"{", b"1", b'{"targets": [], "libraries": 3, "runtimeTarget": {"name": []}}',
    b'{"targets": {"a": {"x/1": {"runtime": {"../../../../etc/passwd": {}}}}}}'])
def test_deps_files_that_are_odd(content: bytes) -> None:
    facts = read(".NET dependencies", "app/a.deps.json", content)
    assert all(fact.type in ("UNKNOWN", "HOLDS") for fact in facts)
    assert all(not path.startswith("..") for fact in facts for path in fact.requires)


@given(st.data())
def test_any_pe_file_is_bounded(data: st.DataObject) -> None:
    content = bytearray(NEWTONSOFT)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[:data.draw(st.integers(0, len(content)))])
    facts = read(".NET assembly", "A.dll", io.BytesIO(cut))
    assert len(facts) <= 1
    try:
        portable.read(io.BytesIO(cut))
    except ValueError:
        assert all(fact.type == "UNKNOWN" for fact in facts)
