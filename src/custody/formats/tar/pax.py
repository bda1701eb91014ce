"""Extended headers of tar archives, and what they say in place of the header (POSIX.1-2024, utility pax)."""

from __future__ import annotations

from custody.errors import MalformedError
from custody.formats.tar import sparse
from custody.formats.tar.header import integer

_DIGITS = b"0123456789"
_NAMES = frozenset((b"path", b"linkpath", b"uname", b"gname"))
_TIMES = frozenset((b"atime", b"mtime", b"ctime"))
_NUMBERS = frozenset((b"uid", b"gid", b"size"))


def parse(data: bytes, where: str) -> tuple[dict[bytes, bytes], int]:
    """The records of a PAX header, `LENGTH KEY=VALUE\\n` each, and how many there are."""
    pax: dict[bytes, bytes] = {}
    regions: list[bytes] = []
    place = count = 0
    while place < len(data):
        count += 1
        space = data.find(b" ", place, place + 24)
        if space < 0:  # a longer number has zeros in front
            space = data.find(b" ", place)
        digits = data[place:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() and len(digits) < 8 else integer(digits)
        end = place + (length or 0)
        key, equals, value = data[space + 1:end - 1].partition(b"=")
        if (length is None or length < 5 or space + 1 >= end or end > len(data) or data[end - 1] != 10 or not equals
                or not key or b"\0" in (value if key in _NAMES else key)):
            raise MalformedError(f"{where}: extended header", got=data[place:place + 40], expected="LENGTH KEY=VALUE")
        place = end
        if key in sparse.PARTS:  # the oldest form: one record for each number
            if key != sparse.PARTS[len(regions) % 2] or b"," in value:
                raise MalformedError(f"{where}: extended header", got=key, expected="offset and numbytes in turn")
            regions.append(value)
        else:
            pax[key] = value
    if regions:
        pax[sparse.MAP] = b",".join(regions)
    return pax, count


def merge(pax: dict[bytes, bytes], name: bytes, link: bytes, size: int, where: str) -> tuple[bytes, bytes, int]:
    """What the records say in place of the header. An empty value says nothing."""
    for key, value in pax.items():
        if not value:
            continue
        if key in _TIMES:
            seconds, _, fraction = value.partition(b".")
            if ((not seconds.isdigit() or len(seconds) > 18) and integer(seconds) is None) or fraction.strip(_DIGITS):
                raise MalformedError(f"{where}: extended header {key.decode()}", got=value[:40], expected="a time")
        elif key in _NUMBERS and integer(value) is None:
            raise MalformedError(f"{where}: extended header {key.decode()}", got=value[:40], expected="a number")
    if stated := pax.get(b"size"):
        size = integer(stated) or 0
    return pax.get(b"path") or name, pax.get(b"linkpath") or link, size


def check_global(pax: dict[bytes, bytes], where: str) -> None:
    """Other readers obey what a global header says of names and sizes; Go does not."""
    for key in pax:
        if key in (b"path", b"linkpath", b"size") or key.startswith(b"GNU.sparse."):
            raise MalformedError(f"{where}: global header", got=key, expected="no names or sizes for all entries")
