"""`python -m tests.fuzz.rpmdb COUNT [SEED]`: RPM databases of which bytes are wrong, pages lead in circles, counts lie
or the end is cut off, read by custody; and whole ones by SQLite's own library.

Prints each for which custody works beyond a bound, or has another row than that library; what is raised ends it.
"""

from __future__ import annotations

import io
import random
import sqlite3
import struct
import sys
from collections.abc import Iterator

from custody.sbom.catalogers import read
from custody.sbom.databases import sqlite
from tests.contents import rpms
from tests.contents.test_rpm import berkeley_db

_UNREADABLE = "unreadable rpm file"
_WORK = 60


def databases(dice: random.Random) -> Iterator[tuple[str, bytes, list[bytes]]]:
    headers = [rpms.header(f"p{number}", release=str(dice.randrange(99)), ARCH="x86_64",
                           files=[f"/usr/bin/f{place}" for place in range(dice.choice((0, 1, 3, 90)))])
               for number in range(dice.randint(0, 30))]
    yield "sqlite", rpms.sqlite(headers, dice.choice((512, 1024, 4096, 65536))), headers
    yield "ndb", rpms.ndb(headers), headers
    yield "berkeley", berkeley_db(dice.choice(("little", "big"))), []


def broken(dice: random.Random, data: bytes) -> bytes:
    mutant = bytearray(data)
    places = [place for place, byte in enumerate(data) if byte] or [0]
    for _ in range(dice.randint(1, 10)):
        place = dice.choice(places)
        kind = dice.randrange(4)
        if kind == 0:
            mutant[place] = dice.randrange(256)
        elif kind == 1:  # a number that lies
            mutant[place:place + 4] = struct.pack(
                dice.choice("<>") + "I", dice.choice((0, 1, 2, 3, 0xFFFF, 0xFFFFFFFF)))
        elif kind == 2:  # a page in another's place
            size = dice.choice((512, 4096))
            here, there = (dice.randrange(max(1, len(mutant) // size)) * size for _ in range(2))
            mutant[here:here + size] = mutant[there:there + size]
        else:
            del mutant[dice.randrange(len(mutant)):]
            break
    return bytes(mutant)


def main(count: int, seed: int) -> int:
    dice, faults, refused, taken = random.Random(seed), 0, 0, 0
    for number in range(count):
        for form, data, headers in databases(dice):
            if form == "sqlite":
                faults += not _agrees(data, headers)
            mutant = broken(dice, data)
            spent = [0]

            def spend(amount: int, spent: list[int] = spent) -> None:
                spent[0] += amount

            told = read("rpm", "var/lib/rpm/x", io.BytesIO(mutant), None, spend)
            unreadable = [fact.name for fact in told] == [_UNREADABLE]
            refused, taken = refused + unreadable, taken + (not unreadable)
            if spent[0] > _WORK * (len(mutant) + 4096):
                faults += 1
                print(f"{number}: {form}: {spent[0]} units of work for {len(mutant)} bytes")
    print(f"{count * 3} databases: {taken} read, {refused} refused, {faults} faults")
    return 1 if faults else 0


def _agrees(data: bytes, headers: list[bytes]) -> bool:
    database = sqlite3.connect(":memory:")
    database.deserialize(data)
    expected = [row for row, in database.execute("SELECT blob FROM Packages ORDER BY hnum")]
    database.close()
    mine = [row[1] for row in sqlite.rows(io.BytesIO(data), "Packages")]
    if mine != expected or mine != headers:
        print(f"{len(mine)} packages, SQLite's library reads {len(expected)}, written were {len(headers)}")
    return mine == expected == headers


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)))
