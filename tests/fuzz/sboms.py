"""SBOMs that mean harm: cycles, depth, lying types, XML with declarations, truncations and mutations of real documents.

usage: python -m tests.fuzz.sboms [SECONDS] [SEED] [FILE…]

Every format is written from a catalog, or FILEs are taken; bytes and values are changed; readers must give a catalog,
or an error of ours, in bounded time, and what it gave must be written in every format. Prints how many did what.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.formats import sbom
from custody.services.documents import SPELLINGS
from tests.contents.test_formats import CATALOG, FORMATS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLOW = 5.0
"""Seconds for one small document: more is a fault."""


def seeds(files: list[str]) -> list[bytes]:
    return [Path(file).read_bytes() for file in files] or [SPELLINGS[form].write(CATALOG, NOW) for form in FORMATS]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Another document: as JSON where it is JSON, else by its bytes."""
    if data[:1] == b"{" and chance.random() < 0.7:
        document = json.loads(data)
        for _ in range(chance.randint(1, 4)):
            _change(document, chance)
        return json.dumps(document).encode()
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(changed))
        kind = chance.randrange(5)
        if kind == 0:
            changed[place] = chance.randrange(256)
        elif kind == 1:
            del changed[place:place + chance.randint(1, 200)]
        elif kind == 2:
            changed[place:place] = changed[place:place + chance.randint(1, 300)]
        elif kind == 3:
            changed[place:place] = chance.choice((b"<!DOCTYPE a>", b"&a;", b"<text>", b"</text>", b"\n\n", b"<a>" * 200,
                                                  b"\x00", b"\xff", b"]]>", b"PackageName: x\n"))
        else:
            del changed[place:]
        if not changed:
            return b""
    return bytes(changed)


def _change(document: Any, chance: random.Random) -> None:
    """One value anywhere in it."""
    node = document
    while isinstance(node, (dict, list)) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = chance.choice(keys)
        below = node[key]
        if not isinstance(below, (dict, list)) or not below or chance.random() < 0.15:
            node[key] = chance.choice((None, 7, "", "x" * 5000, [], {}, [[]], {"a": []}, "pkg:npm/a@1", "pkg:", below,
                                       [below, below], "y", True, -1e300, "\ud7ff\x00"))
            return
        node = below


def main(seconds: float, seed: int, files: list[str]) -> int:
    chance = random.Random(seed)
    known = seeds(files)
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(chance.choice(known), chance)
        start = time.monotonic()
        try:
            found = sbom.read(data)
            counts["no format" if found is None else "read"] += 1
            if found is not None:
                SPELLINGS[chance.choice(FORMATS)].write(found, NOW)
        except CustodyError:
            counts["refused"] += 1
        except Exception as error:
            Path("failed-sbom").write_bytes(data)
            print(f"seed {seed}: {type(error).__name__}: {error}; the document is in failed-sbom", file=sys.stderr)
            raise
        if time.monotonic() - start > SLOW:
            Path("failed-sbom").write_bytes(data)
            print(f"seed {seed}: more than {SLOW:g} s; the document is in failed-sbom", file=sys.stderr)
            return 1
    print(", ".join(f"{count} {what}" for what, count in counts.most_common()))
    return 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(float(arguments[0]) if arguments else 60, int(arguments[1]) if len(arguments) > 1 else 1,
                  arguments[2:]))
