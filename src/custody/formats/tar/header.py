"""The 512 bytes in front of an entry of a tar: Unix version 7, POSIX's ustar, GNU and Schily's (tar(5))."""

from __future__ import annotations

import re
import zlib

from custody.errors import MalformedError

_LAST = (1 << 63) - 1
# mode, uid, gid, size and mtime as nearly every writer writes them; else they are looked at one by one.
_PLAIN = re.compile(rb"[0-7]{7}\0[0-7]{7}\0[0-7]{7}\0[0-7]{11}\0[0-7]{11}\0")
_DEVICES = re.compile(rb"\0{16}|[0-7]{7}\0[0-7]{7}\0")
_NUMBERS = ((100, 108), (108, 116), (116, 124), (124, 136), (136, 148))
_OCTAL, _DIGITS = b"01234567", b"0123456789"
_REST = (rb"[0-7]{7}\0[0-7]{7}\0[0-7]{7}\0([0-7]{11})\0[0-7]{11}\0([0-7]{6})\0 %b.{100}"
         rb"ustar\x0000.{64}(?:\0{16}|[0-7]{7}\0[0-7]{7}\0)\0.{166}")
# All of a POSIX header behind its name, without a prefix, as nearly every writer writes it: numbers and checksum in
# octal digits, version 00, no device numbers or plain ones.
_POSIX = re.compile(_REST % b".", re.DOTALL)
# Such headers of a file or folder and, in front of it, as most writers have it, an extended one with nothing but its
# time, which nobody asks for.
_USUAL = re.compile(rb"(?:.{100}%b(?=(([1-9][0-9]) mtime=[0-9]{1,18}(?:\.[0-9]*)?\n)).{512})?"
                    rb"(?=([^\0]{1,100})).{100}%b" % (_REST % b"x", _REST % b"([05])"), re.DOTALL)
_BLOCK = 512


def usual(chunk: bytes, at: int) -> tuple[int, bytes, int, int, int] | None:
    """Of what begins there, where it is written as usual: behind its headers, name, type, size, and the records of its
    extended header. None for what is to be looked at field by field.
    """
    match = _USUAL.match(chunk, at)
    if match is None:
        return None
    extended, told, time, length, name, size, checksum, kind = match.groups()
    end = match.end()
    if extended is None:
        return (end, name, kind[0], int(size, 8), 0) if _adds_up(chunk[at:end], checksum) else None
    if int(length) == int(extended, 8) == len(time) and _adds_up(
            chunk[at:at + _BLOCK], told) and _adds_up(chunk[end - _BLOCK:end], checksum):
        return end, name, kind[0], int(size, 8), 1
    return None


def _adds_up(header: bytes, checksum: bytes) -> bool:
    """Whether a POSIX header of ASCII, and not Schily's, has this sum; as in `check`, and ASCII bytes add up to less
    than Adler-32's modulus.
    """
    return header.isascii() and header[508:] != b"tar\0" and int(checksum, 8) == (
        (zlib.adler32(header) & 0xFFFF) - (zlib.adler32(header[148:156]) & 0xFFFF) + 8 * 32)


def read(header: bytes, where: str) -> tuple[bytes, bytes, int]:
    """`check` and `fields`."""
    if (match := _POSIX.match(header, 100)) and _adds_up(header, match[2]):
        link = b"" if not header[157] else header[157:257].partition(b"\0")[0]
        return header[:100].partition(b"\0")[0], link, int(match[1], 8)
    check(header, where)
    return fields(header, where)


def check(header: bytes, where: str) -> None:
    """The header's checksum: the sum of its bytes with its own as spaces; old writers' bytes have signs."""
    # Adler-32's low half is one more than the sum of the bytes, as long as that is below its modulus.
    if header.count(b"\0") > 256:
        total = zlib.adler32(header) & 0xFFFF
    else:
        total = (zlib.adler32(header[:256]) & 0xFFFF) + (zlib.adler32(header[256:]) & 0xFFFF) - 1
    total += 8 * 32 - (zlib.adler32(header[148:156]) & 0xFFFF)
    digits = header[148:156].strip(b" \0").partition(b"\0")[0]
    stated = -1 if digits.strip(_OCTAL) else int(digits or b"0", 8)
    if stated != total:
        rest = header[:148] + header[156:]
        signed = total - 256 * (len(rest) - len(rest.translate(None, bytes(range(128, 256)))))
        if stated != signed or stated < 0:
            raise MalformedError(where, got=f"a header whose checksum is {header[148:156]!r}",
                                 expected=f"{total:o} (is it a tar?)")


def fields(header: bytes, where: str) -> tuple[bytes, bytes, int]:
    """Name, link and size; all other numbers are only looked at."""
    name = header[:100].partition(b"\0")[0]
    link = header[157:257].partition(b"\0")[0]
    if _PLAIN.match(header, 100):
        size = int(header[124:135], 8)
    else:
        _, _, _, size, _ = (number(header[start:end], where) for start, end in _NUMBERS)
    magic = header[257:263]
    if magic not in (b"ustar\0", b"ustar ") or (magic == b"ustar " and header[263:265] != b" \0"):
        return name, link, size  # as in Unix version 7
    if not _DEVICES.match(header, 329):
        number(header[329:337], where)
        number(header[337:345], where)
    prefix = b""
    if magic == b"ustar ":
        if header[345:369].strip(b"\0"):
            prefix = _old_prefix(header)
    elif header[508:] == b"tar\0":  # Schily's
        prefix = header[345:476].partition(b"\0")[0]
        number(header[476:488], where)
        number(header[488:500], where)
    elif header[345]:
        prefix = header[345:500].partition(b"\0")[0]
    return (prefix + b"/" + name if prefix else name), link, size


def _old_prefix(header: bytes) -> bytes:
    """Go before 1.8 wrote a prefix over the times of GNU headers; where they are no times, it is one."""
    try:
        for start in (345, 357):
            if header[start]:
                number(header[start:start + 12], "")
    except MalformedError:
        prefix = header[345:500].partition(b"\0")[0]
        return prefix if prefix.isascii() else b""
    return b""


def number(field: bytes, where: str) -> int:
    """Octal text, or base 256 where the first bit is set (tar(5), "Numeric extensions")."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value = ((1 << (8 * len(field) - 1)) - 1) ^ value
        if value > _LAST:
            raise MalformedError(where, got="a huge number in a header", expected="one of 64 bits")
        return -value - 1 if field[0] & 0x40 else value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if digits.strip(_OCTAL):
        raise MalformedError(where, got=field, expected="an octal number in the header (is it a tar?)")
    return int(digits, 8) if digits else 0


def integer(digits: bytes) -> int | None:
    """A decimal number of 64 bits as Go's strconv.ParseInt reads it; None for anything else."""
    bare = digits[1:] if digits[:1] in (b"+", b"-") else digits
    if not bare or bare.strip(_DIGITS) or len(bare.lstrip(b"0")) > 19:
        return None
    value = int(bare.lstrip(b"0") or b"0") * (-1 if digits[:1] == b"-" else 1)
    return value if -_LAST - 1 <= value <= _LAST else None
