"""What is read at once of a tar, because nearly every writer writes it so, is what is read of it field by field."""

from __future__ import annotations

import io
import random
import tarfile

import pytest

from custody.errors import MalformedError
from custody.formats.tar import header
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk
from custody.sbom.limits import Limits

_Read = list[tuple[str, str, int, int, str]] | str


def _tar(form: int, chance: random.Random) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for place in range(8):
            info = tarfile.TarInfo(chance.choice(("a", "b/c", "./d", "long/" * 25, "ü", "e//f", ".")) + str(place))
            info.mtime = chance.choice((0, 1_700_000_000, 1_700_000_000.25))
            info.mode = chance.choice((0o644, 0o4755))
            info.type = chance.choice((tarfile.REGTYPE, tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE,
                                       tarfile.SYMTYPE, tarfile.LNKTYPE))
            info.linkname = "a0" if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            content = chance.randbytes(chance.choice((0, 3, 512, 700))) if info.isreg() else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _read(data: bytes, size: int, limits: Limits) -> _Read:
    chunks = [data[start:start + size] for start in range(0, len(data), size)]
    try:
        return [(entry.path, entry.kind, entry.mode, entry.size, entry.target) for entry in
                walk(Source(chunks, "tar"), limits)]
    except MalformedError as error:
        return str(error)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("seed", range(40))
def test_both_ways_say_the_same(seed: int, form: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    try:
        whole = _tar(form, chance)
    except (ValueError, UnicodeEncodeError):  # what this format cannot say
        return
    archives = [whole]
    for _ in range(30):
        changed = bytearray(whole)
        place = chance.randrange(len(whole))
        changed[place] = chance.choice((0, 32, 48, 49, 53, 57, 120, 255, changed[place] ^ 1))
        archives.append(bytes(changed))
    limits = Limits(entries=chance.choice((7, 12, 100)), path=chance.choice((4, 4096)))
    short = [_read(data, 1 << 20, limits) for data in archives]
    pieces = [_read(data, 700, limits) for data in archives]
    monkeypatch.setattr(header, "usual", lambda _chunk, _at: None)
    assert short == [_read(data, 1 << 20, limits) for data in archives] == pieces


def test_most_entries_are_read_at_once() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("usr/bin/x")
        info.mtime, info.size = 1_700_000_000.25, 5
        archive.addfile(info, io.BytesIO(b"hello"))
        archive.addfile(tarfile.TarInfo("y"))
    data = out.getvalue()
    assert header.usual(data, 0) == (1536, b"usr/bin/x", ord("0"), 5, 1)
    assert header.usual(data, 2048) == (2560, b"y", ord("0"), 0, 0)


@pytest.mark.parametrize("place", [148, 512, 1024 + 148, 1024 + 124])
def test_a_checksum_or_length_that_is_wrong_is_seen(place: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.mtime = 1_700_000_000.25
        archive.addfile(info)
    data = bytearray(out.getvalue())
    data[place] += 1
    assert header.usual(bytes(data), 0) is None
    with pytest.raises(MalformedError, match=r"checksum|extended header"):
        list(walk(Source([bytes(data)], "tar"), Limits()))
