"""Archives of Java that lie, burst or never end: a counted unknown in bounded time and memory, never silence."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats.zip import Archive, Member
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import Fact, read
from custody.sbom.limits import FullError
from tests.contents.images import image
from tests.contents.jars import jar, library, project, properties

_CORE = library("org.apache.logging.log4j", "log4j-core", "2.14.1")


def facts(content: bytes, path: str = "a/b.jar", spend: Callable[[int], None] = lambda _: None) -> tuple[Fact, ...]:
    return read("Java archive", path, io.BytesIO(content), spend=spend)


def kinds(content: bytes) -> list[str]:
    return sorted(fact.name for fact in facts(content) if fact.type == "UNKNOWN")


def names(content: bytes) -> set[str]:
    return {f"{fact.name}@{fact.version}" for fact in facts(content) if fact.type == "maven"}


def patched(content: bytes, signature: bytes, place: int, value: bytes) -> bytes:
    """With other bytes at this place of the last record that begins so."""
    start = content.rindex(signature) + place
    return content[:start] + value + content[start + len(value):]


@pytest.mark.parametrize("content", [
    b"", b"PK", b"PK\5\6" + bytes(10), b"no archive at all" * 100, _CORE[:-30], _CORE[:40],
    patched(_CORE, b"PK\5\6", 10, struct.pack("<H", 7)),  # more members than there are
    patched(_CORE, b"PK\5\6", 10, struct.pack("<H", 0)),  # fewer
    patched(_CORE, b"PK\5\6", 12, struct.pack("<I", 0x7FFFFFF0)),  # a directory beyond the file
    patched(_CORE, b"PK\5\6", 16, struct.pack("<I", 0x7FFFFFF0)),  # a directory that begins behind the file
    patched(_CORE, b"PK\5\6", 12, struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF)),  # a large archive without its record
    patched(_CORE, b"PK\1\2", 28, struct.pack("<H", 0xFFFF)),  # a name beyond the directory
], ids=range(12))
def test_directories_that_lie(content: bytes) -> None:
    assert facts(content) == (Fact(type="UNKNOWN", name="unreadable Java archive file"),)


@pytest.mark.parametrize(("place", "value"), [
    (8, struct.pack("<H", 1)),  # encrypted
    (10, struct.pack("<H", 14)),  # LZMA
    (16, struct.pack("<I", 1)),  # another checksum
    (20, struct.pack("<I", 0x7FFFFFF)),  # packed bytes beyond the archive
    (24, struct.pack("<I", 1)),  # fewer bytes than there are
    (24, struct.pack("<I", 5000)),  # more
    (24, struct.pack("<I", 0x7FFFFFFF)),  # two gigabytes
    (42, struct.pack("<I", 3))])  # a local header that is none
def test_members_that_lie(place: int, value: bytes) -> None:
    assert "unreadable pom.properties in a Java archive" in kinds(patched(_CORE, b"PK\1\2", place, value))


def test_a_nested_archive_that_lies_hides_no_other() -> None:
    content = jar({"lib/broken.jar": _CORE[:-30], "lib/log4j-core-2.14.1.jar": _CORE, "lib/empty.jar": b"",
                   **properties("g", "b", "1")})
    assert names(content) == {"g/b@1", "org.apache.logging.log4j/log4j-core@2.14.1"}
    assert kinds(content) == ["unreadable Java archive in another"] * 2


@pytest.mark.parametrize("packed", [True, False])
def test_twenty_deep(packed: bool) -> None:
    content = _CORE
    for _ in range(20):
        content = jar({"inner.jar": content}, packed=packed, classes="")
    assert kinds(content) == ["Java archive more than 10 deep in others"]
    assert names(content) == set()


def test_a_bomb() -> None:
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb.jar", "w") as member:
        for _ in range(48):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    found = kinds(zeros.getvalue())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == ["unreadable Java archive in another"]
    assert peak < 4 << 20


def test_many_archives_of_the_same_bytes() -> None:
    """Entries that overlap: 30 in each of 3 depths would be 27,000 archives."""
    content = _CORE
    for _ in range(3):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a0.jar", content)
        whole = out.getvalue()
        start, end = whole.rindex(b"PK\1\2"), whole.rindex(b"PK\5\6")
        directory = b"".join(whole[start:end].replace(b"a0.jar", b"a%d.jar" % place) for place in range(10)) * 3
        content = whole[:start] + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 30, 30, len(directory), start, 0)
    spent = 0

    def spend(amount: int) -> None:
        nonlocal spent
        spent += amount
        if spent > 2 << 20:
            raise FullError("enough")

    with pytest.raises(FullError):
        facts(content, spend=spend)
    found = facts(content)
    assert Fact(type="UNKNOWN", name="unreadable Java archive in another") in found
    assert len(found) < 50_000


def test_more_projects_than_any_archive_has() -> None:
    members: dict[str, str] = {}
    for place in range(6000):
        members |= properties("g", f"a{place}", "1")
    content = jar(members)
    found = facts(content)
    assert Fact(type="UNKNOWN", name="unreadable pom.properties in a Java archive") in found
    assert sum(fact.type == "maven" for fact in found) == 5000


@pytest.mark.parametrize("value", ["${project.version}", "@version@", "1 2", "", "unspecified", "a" * 300, "../../x"])
def test_no_coordinates_are_made_of_what_was_not_filled_in(value: str) -> None:
    assert names(jar(properties("g", "a", value) | project("g", "b", value))) == set()


@pytest.mark.parametrize("size", [256 << 10, *range((256 << 10) + 21, (256 << 10) + 300, 40), 1 << 20])
def test_what_inflates_beyond_a_piece_is_read_to_its_end(size: int) -> None:
    """Of one byte again and again, whose last bytes zlib still holds when it has taken all that it is given."""
    archive = Archive(io.BytesIO(jar({"a": bytes(size)}, classes="")))
    (member,) = archive.members(lambda _: True)
    assert archive.content(member, size) == bytes(size)


def test_a_place_beyond_all_files() -> None:
    """A 64-bit offset is more than a file can be sought to."""
    content = jar({"a": b"b"}, packed=False, classes="")
    extra = struct.pack("<HHQ", 1, 8, (1 << 64) - 1)
    entry = content.index(b"PK\1\2")
    wide = bytearray(content[:entry + 46] + b"a" + extra + content[entry + 47:])
    wide[entry + 30:entry + 32] = struct.pack("<H", len(extra))
    wide[entry + 42:entry + 46] = b"\xff" * 4
    wide = bytearray(patched(bytes(wide), b"PK\5\6", 12, struct.pack("<I", 47 + len(extra))))
    archive = Archive(io.BytesIO(bytes(wide)))
    (member,) = archive.members(lambda _: True)
    with pytest.raises(ValueError, match="without a local header"):
        archive.content(member, 10)


def test_large_archives() -> None:
    """ZIP64: a directory whose end has no room for its numbers."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("x.class", "w", force_zip64=True) as member:
        member.write(b"x")
    with zipfile.ZipFile(out, "a") as archive:
        for name, text in properties("g", "b", "1").items():
            archive.writestr(name, text)
    content = out.getvalue()
    assert names(content) == {"g/b@1"}
    end = content.rindex(b"PK\5\6")
    count, size, offset = struct.unpack_from("<HII", content, end + 10)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    wide = content[:end] + record + struct.pack("<4sIQI", b"PK\6\7", 0, end, 1) + struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert names(wide) == {"g/b@1"}
    assert names(b"#!/bin/sh\n" * 9 + wide) == {"g/b@1"}


def test_a_name_in_an_image_is_never_an_error(tmp_path: Path) -> None:
    """What the members say of themselves becomes a package URL: any text must."""
    odd = "groupId=g\\u0000\\u202e%/..@\\ud800\nartifactId=\\ud83d\nversion=1\n"
    content = jar({"META-INF/maven/a/b/pom.properties": odd,
                   "META-INF/maven/a/b/pom.xml": "<project>&#xD800;</project>"},
                  manifest={"Bundle-Vendor": "\u202e", "Group-Id": "..", "Short-Name": "/", "Plugin-Version": "1"})
    bom = catalog(image(tmp_path, [("opt/%2e%2f@1.jar", content), ("opt/\u202e-1.jar", content)]))
    assert {package.type for package in bom.packages} <= {"generic"}


_PARTS = st.sampled_from([b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", bytes(8), b"\xff" * 4, b"META-INF/",
                          b"pom.xml", b".jar", b"\x08\x00"])


@given(st.one_of(st.binary(max_size=400), st.lists(_PARTS, max_size=40).map(b"".join)))
def test_any_bytes(content: bytes) -> None:
    facts(content)


@given(st.data())
def test_any_change_of_a_real_archive(data: st.DataObject) -> None:
    whole = bytearray(jar({"lib/log4j-core-2.14.1.jar": _CORE, **properties("g", "a", "1"), **project("g", "a", "1")},
                          manifest={"Bundle-Vendor": "x"}, packed=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    found = facts(bytes(whole[:data.draw(st.integers(0, len(whole)))]))
    assert all(fact.type in ("maven", "generic", "UNKNOWN") for fact in found)


@given(st.dictionaries(st.text("abcü/.", min_size=1, max_size=12), st.binary(max_size=200), max_size=8), st.booleans())
def test_the_reader_reads_what_zipfile_writes(members: dict[str, bytes], packed: bool) -> None:
    content = jar(members, packed=packed, classes="")
    archive = Archive(io.BytesIO(b"in front" + content), 0, None)
    rows: list[Member] = list(archive.members(lambda _: True))
    assert {row.name: archive.content(row, 1 << 20) for row in rows} == members
    assert archive.count == len(members)
