"""The tar walk against Python's tarfile, and against archives that mean harm."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError
from custody.formats.tar.source import Source
from custody.formats.tar.walk import clean, text, walk
from custody.sbom.limits import Limits
from tests.contents.images import tar
from tests.fuzz.tar.__main__ import custody
from tests.fuzz.tar.generate import Generator

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


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../../b", ".."])
def test_a_name_that_climbs_out_is_refused_by_name(name: str) -> None:
    for members in ([(name, b"x")], [("ok", b"x"), ("l", ("link", name))], [("l", ("link", f"/{name}"))]):
        with pytest.raises(MalformedError, match="leaves the image's tree") as caught:
            entries(tar(members))  # type: ignore[arg-type]
        assert name in caught.value.message


@pytest.mark.parametrize(("name", "path"), [
    ("/usr", "usr"), ("/", ""), ("./", ""), (".", ""), ("a/..", ""), ("a/../b", "b"), ("/../b", "b"),
    ("./a//b/.", "a/b"), ("//a", "a"), ("a/./b", "a/b"), ("..a", "..a"), ("a/..b", "a/..b")])
def test_names_are_below_the_root_as_runtimes_clean_them(name: str, path: str) -> None:
    assert entries(tar([(name, b"x")])) == [(path, "file", b"x")]
    assert clean(name.encode(), "t") == path.encode()


def test_two_names_never_become_one() -> None:
    names = (b"\xff", b"\\xff", b"\\\xff", b"\\\\xff", b"\xc3\xbf", "\ufffd".encode(), b"\\x5cxff", b"\\x5c", b"\\x2d",
             b"a\nb", b"a\\nb", b"\xed\xb3\xbf")
    spelled = {text(name) for name in names}
    assert len(spelled) == len(names)
    assert {"\\xff", "\\x2d", "\ufffd"} <= spelled
    for name in spelled:
        name.encode()  # all of them are text


@given(st.lists(st.binary(min_size=1, max_size=12) | st.text("\\x5cfe", max_size=9).map(str.encode), max_size=2,
                min_size=2, unique=True))
def test_bytes_of_names_and_texts_are_one_to_one(names: list[bytes]) -> None:
    assert text(names[0]) != text(names[1])


def test_limits() -> None:
    many = tar([(str(number), b"") for number in range(20)])
    with pytest.raises(MalformedError, match="more than 10 entries"):
        entries(many, limits=Limits(entries=10))
    with pytest.raises(MalformedError, match="a name of 2000 bytes"):
        entries(tar([("x" * 2000, b"")]), limits=Limits(path=1000))


def test_a_changed_header_is_no_header() -> None:
    data = bytearray(tar([("name", b"x")], tarfile.USTAR_FORMAT))
    data[0] ^= 1
    with pytest.raises(MalformedError, match="checksum"):
        entries(bytes(data))


_SITE = "usr/lib/python3/dist-packages/PyYAML-5.3.1.dist-info/METADATA"


def record(key: str, value: str) -> bytes:
    length = len(key) + len(value) + 4
    length += 1 if length > 9 else 0
    return f"{length} {key}={value}\n".encode()


def extended(kind: bytes, data: bytes) -> bytes:
    """A header of that type with its data."""
    return header(b"x", kind, len(data)) + data + bytes(-len(data) % 512)


def header(name: bytes, kind: bytes = b"0", size: int = 0, *, magic: bytes = b"ustar\00000", prefix: bytes = b"",
           stated: bytes | None = None) -> bytes:
    head = bytearray(512)
    head[:len(name)] = name
    head[100:136] = b"0000644\0" + b"0000000\0" * 2 + (stated if stated is not None else b"%011o\0" % size)
    head[136:148] = b"%011o\0" % 0
    head[156:157] = kind
    head[257:265] = magic
    head[345:345 + len(prefix)] = prefix
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


@pytest.mark.parametrize("front", [
    b"", extended(b"L", b""), extended(b"x", record("path", "")),
    extended(b"L", _SITE.encode() + b"\0") + extended(b"x", record("path", "var/tmp/junk")),
    extended(b"x", record("path", "var/tmp/junk")) + extended(b"x", record("comment", "comment")),
    extended(b"x", record("path", "var/tmp/junk")) + extended(b"g", record("comment", "comment"))],
    ids=["plain", "gnu-empty", "pax-empty", "gnu-then-pax", "two-pax", "pax-global"])
def test_tar_names_read_otherwise_than_go(front: bytes) -> None:
    found = [entry for entry in entries(front + header(_SITE.encode()) + bytes(1024)) if entry[1] != "global"]
    assert found == [(_SITE, "file", b"")]


@pytest.mark.parametrize(("data", "names"), [
    (header(b"n", magic=b"\0" * 8, prefix=b"p"), ["n"]),
    (header(b"n", prefix=b"p"), ["p/n"]),
    (header(b"n", magic=b"ustar  \0", prefix=b"p"), ["p/n"]),  # as Go before 1.8 wrote it
    (header(b"n", magic=b"ustar  \0", prefix=b"00000000001\0"), ["n"]),
    (header(b"n", magic=b"ustar  \0", prefix=b"\xff" * 12 + b"p"), ["n"]),
    (header(b"n/", b"\0", 512) + header(b"m"), ["n", "m"]),  # without data, whatever its size
    (header(b"n/", b"0", 512) + header(b"m"), ["n"]),
    (header(b"n", b"5", 512) + header(b"m"), ["n", "m"]),
    (extended(b"x", record("size", "000000")) + header(b"n", b"0", 512) + header(b"m"), ["n", "m"]),
    (extended(b"x", record("path", "pax") * 2) + extended(b"L", b"gnu\0x") + header(b"n"), ["gnu"]),
    (extended(b"L", b"gnu\0") + extended(b"L", b"\0") + header(b"n"), ["n"]),
    (header(b"n") + extended(b"x", record("path", "pax")), ["n"]),
    (header(b"n") + bytes(512), ["n"]),
    (header(b"n") + bytes(1024) + b"anything", ["n"]),
    (header(b"n", stated=b"\x80" + bytes(11)), ["n"]),
    (header(b"n", stated=b"  0 \0 \0 \0 \0 "[:12]), ["n"])])
def test_what_go_reads(data: bytes, names: list[str]) -> None:
    assert [entry[0] for entry in entries(data)] == names


@pytest.mark.parametrize(("data", "reason"), [
    (header(b"n", b"7"), "a type that runtimes unpack"),
    (header(b"n", b"V"), "a type that runtimes unpack"),
    (header(b"n", stated=b"\xff" * 12), "got -1, expected a size"),
    (header(b"n", stated=b"\x80" + b"\xff" * 11), "a huge number"),
    (header(b"n", stated=b"0000000000_1"), "an octal number"),
    (header(b"n", stated=b"+0000000001\0"), "an octal number"),
    (extended(b"x", b"4 a=") + header(b"n"), "LENGTH KEY=VALUE"),
    (extended(b"x", b"11 path=a\0\n") + header(b"n"), "LENGTH KEY=VALUE"),
    (extended(b"x", b"13 path=abcde\n") + header(b"n"), "LENGTH KEY=VALUE"),
    (extended(b"x", b"12 path=abc_") + header(b"n"), "LENGTH KEY=VALUE"),
    (extended(b"x", record("size", "1_0000")) + header(b"n"), "expected a number"),
    (extended(b"x", record("mtime", "1.x")) + header(b"n"), "expected a time"),
    (extended(b"x", record("size", "-1")) + header(b"n"), "expected a size"),
    (extended(b"x", record("GNU.sparse.name", "a\0b") + record("GNU.sparse.map", "0,1")
              + record("GNU.sparse.numblocks", "1") + record("GNU.sparse.size", "1"))
     + header(b"n", size=1) + bytes(512), "NUL in a name"),
    (extended(b"x", record("GNU.sparse.map", "0,1") + record("GNU.sparse.numblocks", "2")) + header(b"n"), "2 regions"),
    (extended(b"x", record("GNU.sparse.offset", "0") * 2) + header(b"n"), "offset and numbytes in turn"),
    (header(b"n", b"S"), "that is not GNU's"),
    (header(b"n" * 100, b"x", 2 << 20), "an extended header of"),
    (bytes(512) + header(b"n"), "after a block of zeros")])
def test_what_is_no_tar_for_go_or_too_much_for_us(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        entries(data)


@pytest.mark.parametrize("records", [
    record("GNU.sparse.size", "12") + record("GNU.sparse.numblocks", "2") + record("GNU.sparse.offset", "2")
    + record("GNU.sparse.numbytes", "3") + record("GNU.sparse.offset", "10") + record("GNU.sparse.numbytes", "2"),
    record("GNU.sparse.size", "12") + record("GNU.sparse.numblocks", "2") + record("GNU.sparse.map", "2,3,10,2"),
    record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.realsize", "12")],
    ids=["0.0", "0.1", "1.0"])
def test_sparse_files_have_their_holes(records: bytes) -> None:
    stored = (b"2\n2\n3\n10\n2\n".ljust(512, b"\0") if b"major" in records else b"") + b"abcde"
    head = extended(b"x", records + record("GNU.sparse.name", "sparse"))
    data = head + header(b"n", size=len(stored)) + stored + bytes(-len(stored) % 512) + header(b"m")
    assert entries(data) == [("sparse", "file", b"\0\0abc" + bytes(5) + b"de"), ("m", "file", b"")]


def test_a_global_header_may_not_rename_everything() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "etc/passwd"}) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    with pytest.raises(MalformedError, match="global header"):
        entries(out.getvalue())


def test_the_end() -> None:
    data = tar([("a", b"x")], tarfile.USTAR_FORMAT)[:1024]
    assert entries(data) == entries(data + bytes(512)) == entries(data + bytes(1024)) == [("a", "file", b"x")]
    assert entries(data[:700]) == [("a", "file", b"x")]  # padding that is cut off is not missed
    for size in (1, 511, 512):
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


def test_generated_archives_end_in_entries_or_in_our_errors() -> None:
    """Beside Go, where it is installed: `python -m tests.fuzz.tar`."""
    generator = Generator(1)
    ends = set()
    for _ in range(400):
        _, error = custody(generator.archive())
        ends.add(bool(error))
    assert ends == {True, False}
