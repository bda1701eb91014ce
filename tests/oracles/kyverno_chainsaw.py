"""A row for each of Kyverno's chainsaw tests that needs no public registry and no pods that run: right when it passes.

It takes minutes: `python -m tests.chainsaw -k PART` runs a part of it, and says what is left out and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.chainsaw.shards import results


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    yield from results(folder)
