"""What a watch saw of running images, kept while it goes on; read again by whoever attests it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import msgspec
import zstandard

from custody.errors import CustodyError, MalformedError
from custody.kit.clock import Clock, format_rfc3339
from custody.kit.guarded import guard, unguard
from custody.ports.drift import WitnessStore
from custody.runtime.runtrace import Kept
from custody.runtime.witness import Witness

_LOG = logging.getLogger(__name__)
_MOMENT = 30.0
"""Seconds between two writings: what is seen in the last of them may be lost with the process."""
_LARGEST = 512 << 20
_DAYS = 400
"""For which what ended watches saw is kept."""


class Witnessing:
    """Writes what one watch sees under its own name: its node, and when it began."""

    def __init__(self, witness: Witness, store: WitnessStore, clock: Clock, node: str,
                 losses: Callable[[], Mapping[str, int]] = dict) -> None:
        self._witness, self._store, self._clock, self._node = witness, store, clock, node
        self.losses = losses
        """What inputs lost, by kind, since the watch began."""
        self.name = f"{node}/{format_rfc3339(witness.since)}"

    async def run(self) -> None:
        """Until cancelled, and once more then. What older watches saw is let go of first."""
        try:
            self._store.forget_witnesses(self._clock() - timedelta(days=_DAYS))
        except CustodyError as error:
            _LOG.warning("what was seen long ago is kept: %s", error.message)
        try:
            while True:
                await asyncio.sleep(_MOMENT)
                self.flush()
        finally:
            self.flush()

    def flush(self) -> None:
        """A full disk is said; what was seen stays in memory, and is written the next time."""
        try:
            self._store.keep_witness(self.name, encoded(self.kept()))
        except CustodyError as error:
            _LOG.warning("what was seen of running images is not kept: %s", error.message)

    def kept(self) -> Kept:
        losses = dict(self._witness.losses)
        for kind, count in self.losses().items():
            losses[kind] = losses.get(kind, 0) + count
        return Kept(node=self._node, since=format_rfc3339(self._witness.since), until=format_rfc3339(self._clock()),
                    covers=tuple(sorted(self._witness.covers)), losses={kind: count for kind, count in losses.items()
                                                                       if count}, images=self._witness.images)


def encoded(kept: Kept) -> bytes:
    return guard(zstandard.compress(msgspec.msgpack.encode(kept), 3))


def decoded(data: bytes, where: str) -> Kept:
    """Raises MalformedError: what a disk changed would be a loss that nobody knows of."""
    packed = unguard(data)
    if packed is None:
        raise MalformedError(where, got="bytes that were changed", expected="what a watch wrote")
    try:
        return msgspec.msgpack.decode(
            zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST), type=Kept)
    except (msgspec.MsgspecError, zstandard.ZstdError, UnicodeDecodeError) as error:
        raise MalformedError(where, got=str(error)[:200], expected="what a watch wrote") from None


def read_all(store: WitnessStore) -> Sequence[Kept]:
    """All that is kept here. Raises StorageError, MalformedError."""
    return [decoded(data, f"witness {name}") for name, data in store.witnesses().items()]
