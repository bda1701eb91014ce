"""Baselines of connections, kept: read when a watch begins, written while it learns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from custody.errors import CustodyError
from custody.kit import strictjson
from custody.kit.guarded import guard, unguard
from custody.ports.drift import BaselineStore
from custody.runtime.egress import Baseline, Baselines, of_json, to_json

_LOG = logging.getLogger(__name__)
_MOMENT = 5.0
"""Seconds between two writings."""


def read_all(store: BaselineStore) -> dict[str, Baseline]:
    """By digest. One that a disk changed is left out, and said. Raises StorageError."""
    kept: dict[str, Baseline] = {}
    for digest, guarded in store.baselines().items():
        try:
            data = unguard(guarded)
            if data is None:
                raise CustodyError("its bytes are not those that were kept")
            kept[digest] = of_json(strictjson.loads(data, f"baseline {digest}"), f"baseline {digest}")
        except CustodyError as error:
            _LOG.warning("the baseline of %s does not count: %s", digest, error.message)
    return kept


def write(baselines: Iterable[Baseline], store: BaselineStore) -> None:
    """In place of what is kept. Raises StorageError."""
    store.keep_baselines({baseline.digest: guard(msgspec.json.encode(to_json(baseline))) for baseline in baselines})


async def keeping(baselines: Baselines, store: BaselineStore) -> None:
    """Write what was learned, until cancelled, and what is left then. A full disk is said, and tried again."""
    try:
        while True:
            await asyncio.sleep(_MOMENT)
            await asyncio.to_thread(flush, baselines, store)
    finally:
        flush(baselines, store)


def flush(baselines: Baselines, store: BaselineStore) -> None:
    changed, baselines.changed = baselines.changed, set()
    if not changed:
        return
    try:
        kept = read_all(store)
        for digest in changed & kept.keys():
            _join(baselines, kept[digest])
        write([baseline for digest in changed if (baseline := baselines.get(digest)) is not None], store)
    except CustodyError as error:
        baselines.changed |= changed
        _LOG.warning("%d baselines are not kept: %s", len(changed), error.message)


def _join(baselines: Baselines, kept: Baseline) -> None:
    """Another watch learns too, or somebody declared a baseline meanwhile: neither is written over by this one."""
    ours = baselines.get(kept.digest)
    if ours is None or ours.state == "declared":
        return
    if kept.state == "declared":
        baselines.adopt(kept)
    else:
        ours.destinations |= kept.destinations
        ours.carried |= kept.carried
