"""Broken lock files, manifests and packages of languages: each is read or counted, in bounded time, and never a crash.

    python -m tests.fuzz.lockfiles [ROUNDS] [SEED]

Prints how many were read and counted, and the slowest. What went wrong is a test in tests/contents/test_languages.py.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from custody.sbom import catalogers
from tests.contents.lockfiles import SAMPLES

_SIGNS = (b"\n", b"{", b"}", b"[", b"]", b'"', b"'", b":", b"  ", b"\\", b"\xff", b"- ", b"@", b"==", b"\0", b"null",
          b"#")


def broken(content: bytes, chosen: random.Random) -> bytes:
    """The bytes with a few pieces taken out, doubled, moved or replaced."""
    for _ in range(chosen.randint(1, 6)):
        start = chosen.randint(0, len(content))
        end = min(len(content), start + chosen.choice((0, 1, 3, 20, 200)))
        piece = content[start:end]
        place = chosen.choice((b"", piece * chosen.choice((2, 50)), chosen.choice(_SIGNS) * chosen.choice((1, 3, 300)),
                               content[chosen.randint(0, len(content)):][:30]))
        content = content[:start] + place + content[end:]
    return content


def main(rounds: int, seed: int) -> None:
    chosen, counts, slowest = random.Random(seed), Counter[str](), (0.0, "")
    for number in range(rounds):
        name = chosen.choice(list(SAMPLES))
        path, text = SAMPLES[name]
        content = broken(text.encode(), chosen)
        started = time.perf_counter()
        facts = catalogers.read(name, path, content)
        slowest = max(slowest, (time.perf_counter() - started, f"{name} in round {number}"))
        counts["counted" if any(fact.type == "UNKNOWN" for fact in facts) else "read" if facts else "silent"] += 1
    print(f"seed {seed}: {dict(counts)}; slowest {slowest[0] * 1000:.1f} ms, {slowest[1]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
