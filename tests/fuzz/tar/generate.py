"""Small archives of all kinds of headers, most of them right, many with something wrong in them."""

from __future__ import annotations

import random

_BLOCK = 512
_MAGICS = (b"\0" * 8, b"ustar\00000", b"ustar\00000", b"ustar\00000", b"ustar  \0", b"ustar  \0", b"ustar\0  ",
           b"ustar 00", b"ustarXYZ")
_GNU = b"ustar  \0"
_TYPES = b"00000000000001122345566\0\0\0\0xxxxxxxxggLLLKKSA7"
_PARTS = (*(bytes([letter]) for letter in b"abcde"), b"usr", b"lib", b"bin", b"var", b"..", b".", b"", b".wh.x",
          b"\xff\xfe", "é".encode(), b"x" * 40, b"\\xff", b"n\nl", b"METADATA", b" ", b"status")
_FRONTS = (b"",) * 9 + (b"/", b"/", b"./", b"./", b"../")
_ENDS = (b"", b"", b"", b"/", b"//", b"\0more")
_USUAL = (b"path", b"path", b"path", b"path", b"comment", b"comment", b"mtime")
_KEYS = (*_USUAL, b"linkpath", b"size", b"size", b"uid", b"gid", b"mtime", b"atime", b"ctime", b"uname", b"gname",
         b"comment", b"SCHILY.xattr.user.a", b"", b"k=", b"k\0", b"GNU.sparse.major", b"GNU.sparse.minor",
         b"GNU.sparse.map", b"GNU.sparse.numblocks", b"GNU.sparse.size", b"GNU.sparse.realsize", b"GNU.sparse.name",
         b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_VALUES = (b"0", b"1", b"5", b"512", b"", b"+3", b"-1", b"1.5", b"1.x", b"-1.25", b"0,1", b"0,1,2,3", b"9" * 19,
           b"9223372036854775807", b"0" * 30 + b"1", b"1_0", b" 1")


class Generator:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.headers = 0

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def archive(self) -> bytes:
        out = b"".join(self.member() for _ in range(self.random.choice((1, 1, 2, 2, 3, 4, 6))))
        out += self.random.choice((b"", bytes(512), *[bytes(1024)] * 9, bytes(2048), bytes(1024) + b"junk"))
        if self.chance(0.03):
            out += self.random.choice((bytes(300), b"x" * 512, bytes(700), b"junk"))
        if self.chance(0.05):
            out = out[:self.random.randrange(len(out) + 1)]
        if self.chance(0.05) and out:
            place = self.random.randrange(len(out))
            out = out[:place] + self.random.randbytes(1) + out[place + 1:]
        return out

    def name(self) -> bytes:
        if self.chance(0.03):
            return self.random.randbytes(self.random.randrange(20))
        parts = [self.random.choice(_PARTS) for _ in range(self.random.choice((1, 1, 1, 2, 2, 3, 9)))]
        return self.random.choice(_FRONTS) + b"/".join(parts) + self.random.choice(_ENDS)

    def member(self) -> bytes:
        kind = self.random.choice(_TYPES)
        if self.chance(0.12):
            return self.sparse()
        if kind in b"xg":
            data = self.pax()
        elif kind in b"LK":
            data = self.name() * self.random.choice((1, 1, 1, 5)) + self.random.choice((b"\0", b"\0", b"", b"\0\0rest"))
            data = b"" if self.chance(0.1) else data
        elif kind in b"0\0S7AVM":
            data = self.random.choice((b"", b"x", b"data\n" * 9, bytes(512), bytes(600)))
        else:
            data = self.random.choice((b"", b"", b"", bytes(512)))
        return self.header(kind, len(data)) + data + bytes(self.padding(len(data)))

    def padding(self, size: int) -> int:
        return -size % _BLOCK if not self.chance(0.01) else self.random.randrange(600)

    def numeric(self, value: int, size: int) -> bytes:
        style = self.random.randrange(250)
        if style == 0:
            return bytes([0x80]) + value.to_bytes(size - 1, "big", signed=False)
        if style == 1:
            return (-value - self.random.randrange(2)).to_bytes(size, "big", signed=True)
        if style == 2:
            return self.random.randbytes(size)
        if style == 3:
            return (b"%o" % value).rjust(size)[-size:]
        if style == 4:
            return (b" %o \0" % value).ljust(size, b"\0")[:size]
        if style == 5:
            return bytes(size)
        if style == 6:
            return (b"%o\0 9" % value).ljust(size, b"\0")[:size]
        if style == 7:
            return self.random.choice((b"0o7", b"+7", b"-1", b"1_0", b"8", b"7 7", b"\0\x007")).ljust(size, b"\0")
        if style == 8:
            return (b"%0*o" % (size, value))[-size:]
        return b"%0*o\0" % (size - 1, value)

    def header(self, kind: int, size: int, *, magic: bytes | None = None, name: bytes | None = None) -> bytes:
        self.headers += 1
        field = bytearray(_BLOCK)
        name = (self.name() if name is None else name)[:100]
        field[:len(name)] = name
        for place, width, value in ((100, 8, 0o644), (108, 8, 0), (116, 8, 1000), (124, 12, size), (136, 12, 1 << 30)):
            field[place:place + width] = self.numeric(value, width)
        field[156] = kind
        if kind in b"12" or self.chance(0.1):
            link = self.name()[:100]
            field[157:157 + len(link)] = link
        if magic is None:
            magic = _GNU if kind == ord("S") and self.chance(0.9) else self.random.choice(_MAGICS)
        field[257:265] = magic
        if self.chance(0.3):
            field[329:337] = self.numeric(0, 8)
            field[337:345] = self.numeric(7, 8)
        style = self.random.randrange(12)
        if style < 3:
            prefix = self.name()[:155]
            field[345:345 + len(prefix)] = prefix
        elif style == 3:
            field[345:357] = self.numeric(1 << 30, 12)
            field[357:369] = self.numeric(1 << 30, 12)
        elif style == 4:
            field[508:512] = b"tar\0"
            field[476:488] = self.numeric(1 << 30, 12)
        if kind == ord("S"):
            regions = [(offset, 1) for offset in range(0, 8, 2)][:self.random.randrange(5)]
            for place, (offset, length) in enumerate(regions):
                field[386 + 24 * place:410 + 24 * place] = self.numeric(offset, 12) + self.numeric(length, 12)
            field[483:495] = self.numeric(self.random.choice((8, 8, size, 100)), 12)
            field[482] = self.random.choice((0, 0, 0, 1))
        return self.sealed(field)

    def sealed(self, field: bytearray) -> bytes:
        field[148:156] = b" " * 8
        total = sum(field)
        style = self.random.randrange(150)
        if style == 0:
            total = sum(byte - 256 if byte > 127 else byte for byte in field)
        elif style == 1:
            total += self.random.choice((1, -1, 65521, 256))
        total = max(total, 0)
        form = self.random.choice((b"%06o\0 ", b"%06o\0 ", b"%06o \0", b"%07o\0", b" %o\0\0"))
        field[148:156] = form % total if total < 1 << 18 else b"%06o\0 " % total
        return bytes(field[:_BLOCK])

    def record(self, key: bytes, value: bytes) -> bytes:
        length = len(key) + len(value) + 3
        while length != len(b"%d" % length) + len(key) + len(value) + 3:
            length = len(b"%d" % length) + len(key) + len(value) + 3
        stated = b"%d" % (length if not self.chance(0.02) else length + self.random.choice((-1, 1, 5)))
        if self.chance(0.02):
            stated = self.random.choice((b"+%d" % (length + 1), b"0%d" % (length + 1), b"-5", b"", b"9" * 30))
        return stated + b" " + key + b"=" + value + (b"\n" if not self.chance(0.01) else b"x")

    def pax(self) -> bytes:
        out = b""
        for _ in range(self.random.choice((0, 1, 1, 2, 2, 3, 5))):
            key = self.random.choice(_KEYS if self.chance(0.3) else _USUAL)
            if key in (b"path", b"linkpath", b"GNU.sparse.name", b"uname"):
                value = self.name()
                value = value.replace(b"\0", b"") if self.chance(0.8) else value
            elif key in (b"size", b"uid", b"gid", b"mtime", b"atime", b"ctime") and self.chance(0.9):
                value = self.random.choice((b"0", b"0", b"1", b"5", b"512", b"+3"))
            else:
                value = self.random.choice(_VALUES)
            out += self.record(key, b"" if self.chance(0.05) else value)
        return out

    def sparse(self) -> bytes:
        """A sparse file in one of the PAX forms, or GNU's own with blocks behind its header."""
        version = self.random.choice(("0.0", "0.1", "1.0", "old"))
        count = self.random.choice((0, 1, 2, 3, 30))
        numbers = [number for place in range(count) for number in (place * 10, self.random.choice((1, 10, 0)))]
        if self.chance(0.1) and numbers:
            numbers[self.random.randrange(len(numbers))] = self.random.choice((-1, 10**18, 5, 10**30))
        stored = b"D" * max(min(sum(numbers[1::2]), 5000), 0)
        size = 10 * count + self.random.choice((0, 0, 7))
        if self.chance(0.05):
            stored += b"more"
        if version == "old":
            head = bytearray(self.header(ord("S"), len(stored), magic=_GNU))
            table = b"".join(b"%011o\0" % min(max(number, 0), 8**11 - 1) for number in numbers).ljust(24 * 25, b"\0")
            head[386:482], rest = table[:96], table[96:]
            blocks = []
            while rest.strip(b"\0"):
                blocks.append(rest[:504].ljust(504, b"\0") + b"\1" + bytes(7))
                rest = rest[504:]
            if blocks:
                blocks[-1] = blocks[-1][:504] + bytes(8)
            head[482] = bool(blocks)
            head[483:495] = self.numeric(size, 12)
            return self.sealed(head) + b"".join(blocks) + stored + bytes(self.padding(len(stored)))
        records = b""
        if version == "0.0":
            records = self.record(b"GNU.sparse.size", b"%d" % size)
            records += self.record(b"GNU.sparse.numblocks", b"%d" % count)
            for place, number in enumerate(numbers):
                key = b"GNU.sparse.numbytes" if place % 2 else b"GNU.sparse.offset"
                records += self.record(key, b"%d" % number)
        elif version == "0.1":
            records = self.record(b"GNU.sparse.map", b",".join(b"%d" % number for number in numbers))
            records += self.record(b"GNU.sparse.size", b"%d" % size)
            records += self.record(b"GNU.sparse.numblocks", b"%d" % count)
        else:
            lines = b"".join(b"%d\n" % number for number in (count, *numbers))
            stored = lines + bytes(-len(lines) % _BLOCK) + stored
            records = self.record(b"GNU.sparse.major", b"1") + self.record(b"GNU.sparse.minor", b"0")
            records += self.record(b"GNU.sparse.realsize", b"%d" % size)
        if self.chance(0.5):
            records += self.record(b"GNU.sparse.name", b"sparse/name")
        kind = ord(self.random.choice("000000000\x00\x0057"))
        return (self.header(ord("x"), len(records)) + records + bytes(self.padding(len(records)))
                + self.header(kind, len(stored)) + stored + bytes(self.padding(len(stored))))
