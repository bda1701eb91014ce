"""Flow logs that mean harm: real lines of five recorders, mutated, cut, and put into each other.

usage: python -m tests.fuzz.flows [COUNT] [SEED]

Every reader must give a flow, a reason why a line is none, or MalformedError with a field, for each line of any file;
a flow's addresses are addresses and its port is one. Then COUNT / 100 random worlds with policies of all kinds: each
connection, told as a line, is simulated and judged naively. Prints how many did what.
"""

from __future__ import annotations

import gzip
import ipaddress
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from custody.errors import CustodyError
from custody.formats.flows import recognition
from custody.formats.flows.record import Flow
from custody.network.simulation import Verdict
from tests.network import flowlines
from tests.network.test_simulated_naively import simulated

SEEDS = (flowlines.hubble(), flowlines.calico(), flowlines.gcp(), flowlines.ESTABLISHED, flowlines.DATAGRAM,
         flowlines.SYN_SENT, flowlines.PROC_SIX, flowlines.AWS,
         b"version srcaddr dstaddr srcport dstport protocol action log-status tcp-flags")
_HOSTILE: tuple[Any, ...] = (
    None, -1, 0, 65536, 1 << 70, 1e308, "", "\u0000", "\u202eevil", "::1", "10.0.0.0/8", "::ffff:1.2.3.4",
    "fe80::1%eth0", "9" * 5000, [], {}, [[[[]]]], True, "\ud800", "٣", "2026-13-45T99:99:99Z", "::add-mask::x")


def mutate(line: bytes, chance: random.Random) -> bytes:
    if line[:1] == b"{" and chance.random() < 0.7:
        document = json.loads(line)
        for _ in range(chance.randint(1, 3)):
            room = document
            while True:
                name = chance.choice(list(room))
                if isinstance(room[name], dict) and room[name] and chance.random() < 0.8:
                    room = room[name]
                    continue
                break
            room[name] = chance.choice(_HOSTILE)
        return json.dumps(document).encode("utf-8", "surrogatepass")
    changed = bytearray(line)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(changed) or 1)
        kind = chance.randrange(4)
        if kind == 0 and changed:
            changed[at] = chance.randrange(256)
        elif kind == 1:
            del changed[at:at + chance.randint(1, 40)]
        elif kind == 2:
            changed[at:at] = chance.choice(SEEDS)[:chance.randint(0, 200)]
        else:
            changed[at:at] = chance.choice((b" ", b"\t", b"=", b"src=", b"[", b"-", b"\xff", b"9" * 400, b"\xd9\xa3"))
    return bytes(changed)


def files(count: int, chance: random.Random) -> Iterator[tuple[bytes, str]]:
    """Each of some lines, often of one recorder."""
    for _ in range(count):
        seed = chance.choice(SEEDS)
        parts = [mutate(seed if chance.random() < 0.8 else chance.choice(SEEDS), chance) for _ in range(3)]
        data = b"\n".join([seed, *parts] if chance.random() < 0.5 else parts)
        if chance.random() < 0.1:
            packed = bytearray(gzip.compress(data))
            if chance.random() < 0.5:
                packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
            data = bytes(packed)
        yield data, chance.choice(("", "", *recognition.FORMATS))


def main(count: int, seed: int) -> int:
    chance, did = random.Random(seed), Counter[str]()
    for data, form in files(count, chance):
        try:
            for _, said in recognition.read([data], "flows", form):
                did[type(said).__name__] += 1
                if isinstance(said, Flow):
                    for side in (said.source, said.destination):
                        assert side.address == "" or ipaddress.ip_address(side.address)
                    assert 0 <= said.port <= 65535, data
                    assert said.count >= 0, data
                    assert said.first >= 0, data
        except CustodyError as error:
            did[f"file: {type(error).__name__}"] += 1
        except Exception:
            print(f"seed {seed}: {form!r} {data!r}", file=sys.stderr)
            raise
    print(", ".join(f"{number} {name}" for name, number in sorted(did.items())))
    verdicts = sum((simulated(seed * 1_000_000 + at) for at in range(count // 100)), Counter[Verdict]())
    print(", ".join(f"{number} {verdict.value}" for verdict, number in verdicts.items()), "as the naive judge says")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in [*sys.argv[1:3], *("20000", "1")[len(sys.argv) - 1:]])))
