"""The tar walk against Python's tarfile, and against archives that mean harm."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError
from custody.sbom.tarwalk import Limits, Source, walk
from tests.contents.images import tar

_NAMES = st.lists(
    st.text("abcäöß .-_x", min_size=1, max_size=60).filter(lambda part: part.strip(".") and part[0] != "."),
    min_size=1,
    max_size=5,
).map("/".join)
_FILES = st.lists(st.tuples(_NAMES, st.one_of(st.none(), st.binary(max_size=1500))), max_size=8)


def entries(data: bytes, size: int = 700, limits: Limits | None = None) -> list[tuple[str, str, bytes]]:
    chunks = [data[place:place + size] for place in range(0, len(data), size)]
    return [
        (entry.path, entry.kind, b"".join(entry.pieces())) for entry in walk(Source(chunks, "t"), limits or Limits())
    ]


@given(_FILES, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.integers(1, 5000))
def test_says_what_tarfile_says(files: list[tuple[str, bytes | None]], form: int, size: int) -> None:
    data = tar(files, form)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(member.name, "directory" if member.isdir() else "file",
                     b"" if member.isdir() else archive.extractfile(member).read())  # type: ignore[union-attr]
                    for member in archive]
    assert entries(data, size) == expected


def test_long_names_links_and_base_256_sizes() -> None:
    long = "d/" * 120 + "name"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert [e[0] for e in entries(tar([(long, b"x"), ("l", ("link", long))], form))] == [long, "l"]
    header = bytearray(tar([("big", b"abc")], tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + (3).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    assert entries(bytes(header)) == [("big", "file", b"abc")]


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../../b", "/etc/passwd", "a/.."])
def test_a_name_that_climbs_out_is_refused_by_name(name: str) -> None:
    for members in ([(name, b"x")], [("ok", b"x"), ("l", ("link", name))]):
        with pytest.raises(MalformedError, match="leaves the image's tree") as caught:
            entries(tar(members))  # type: ignore[arg-type]
        assert name in caught.value.message


def test_limits() -> None:
    many = tar([(str(number), b"") for number in range(20)])
    with pytest.raises(MalformedError, match="more than 10 entries"):
        entries(many, limits=Limits(entries=10))
    with pytest.raises(MalformedError, match="a name of 2000 characters"):
        entries(tar([("x" * 2000, b"")]), limits=Limits(path=1000))


def test_a_changed_header_is_no_header() -> None:
    data = bytearray(tar([("name", b"x")], tarfile.USTAR_FORMAT))
    data[0] ^= 1
    with pytest.raises(MalformedError, match="checksum"):
        entries(bytes(data))


def test_a_global_header_may_not_rename_everything() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "etc/passwd"}) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    with pytest.raises(MalformedError, match="global header"):
        entries(out.getvalue())


def test_the_end() -> None:
    data = tar([("a", b"x")], tarfile.USTAR_FORMAT)[:1024]
    assert entries(data) == entries(data + bytes(512)) == entries(data + bytes(1024)) == [("a", "file", b"x")]
    for size in (1, 511, 700, 1023):
        with pytest.raises(MalformedError, match="the end in the middle"):
            entries(data[:size])
    assert entries(b"") == []
    with pytest.raises(MalformedError, match="after a block of zeros"):
        entries(data + bytes(512) + data)


@given(_FILES, st.data())
def test_mutated_archives_raise_only_our_errors(files: list[tuple[str, bytes | None]], data: st.DataObject) -> None:
    archive = bytearray(tar(files))
    for _ in range(data.draw(st.integers(1, 10))):
        archive[data.draw(st.integers(0, min(len(archive), 4096) - 1))] = data.draw(st.integers(0, 255))
    try:
        entries(bytes(archive[:data.draw(st.integers(0, len(archive)))]))
    except CustodyError:
        pass
