"""Programs with absurd headers: whatever they say, reading one ends with facts or a named unknown, in bounded work.

    python -m tests.fuzz.programs COUNT [SEED]

Starts from the pieces of `tests/contents` and from ELF, PE and Mach-O files made there; changes headers and bytes.
"""

from __future__ import annotations

import io
import random
import struct
import sys
import time
import zlib

from custody.sbom.catalogers import read
from custody.sbom.limits import Account, FullError
from tests.contents.images import elf, go_program, rust_program
from tests.contents.test_dotnet import NEWTONSOFT, pe
from tests.contents.test_programs import NODE, mach_o, old_go, portable

_SEEDS = (NODE, NEWTONSOFT, pe({}, magic=0x10B), go_program("mod\ta\tv1\ndep\tb\tv1\n"), elf({".rodata": b"x" * 100}),
          rust_program([{"name": "a", "version": "1"}]), mach_o(zlib.compress(b"{}")), portable(zlib.compress(b"{}")),
          old_go(b"go1.15", b"0" * 16 + b"mod\ta\tv1\n" + b"1" * 16))
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1)
_WORK = 64 << 20
_SECONDS = 10


def changed(dice: random.Random) -> bytes:
    content = bytearray(dice.choice(_SEEDS))
    for _ in range(dice.randint(1, 12)):
        place = dice.randrange(min(len(content), dice.choice((64, 512, 1 << 20))))
        shape = dice.choice(("<B", "<H", "<I", "<Q"))
        number = dice.choice((*_NUMBERS, dice.getrandbits(32))) & (1 << 8 * struct.calcsize(shape)) - 1
        data = struct.pack(shape, number)
        content[place:place + len(data)] = data
    return bytes(content[:dice.randint(0, len(content))] if dice.random() < 0.2 else content)


def main(count: int, seed: int) -> None:
    dice = random.Random(seed)
    longest, stopped = 0.0, 0
    for number in range(count):
        content = changed(dice)
        name, path = dice.choice((("program", "bin/node"), (".NET assembly", "a.dll"), ("program", "lib/libc.so.6")))
        account = Account(_WORK, "bytes of work")
        begin = time.monotonic()
        try:
            read(name, path, io.BytesIO(content), spend=account.take)
        except FullError:
            stopped += 1
        except Exception:
            print(f"input {number} of seed {seed}: {content.hex()}", file=sys.stderr)
            raise
        longest = max(longest, time.monotonic() - begin)
        if longest > _SECONDS:
            raise SystemExit(f"input {number} of seed {seed}: {longest:.1f} s")
    print(f"{count} programs, {stopped} stopped by the account of work, the longest took {longest * 1000:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
