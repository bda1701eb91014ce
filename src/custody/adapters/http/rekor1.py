"""A Rekor v1 log, entry by entry (sigstore/rekor openapi.yaml): it keeps trees in a database, and no tiles.

A log that was sharded has a tree for each shard. Its indexes count through all of them; proofs and checkpoints are of
one. Nothing that it answers is believed here: whoever reads makes the tree of the entries and compares its root.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from custody.errors import MalformedError, NetworkError, VerificationError
from custody.formats.protojson import Message, decode_base64
from custody.kit import strictjson
from custody.kit.concurrency import together
from custody.kit.merkle import Frontier, leaf_hash, left_siblings
from custody.ports.http import Http
from custody.sign.rekor import read_answer
from custody.trust.checkpoint import parse_checkpoint

_BATCH, _AT_ONCE = 10, 4
"""Entries that the API gives at once, and how many such questions are asked at the same time."""
_MAX_ANSWER = 32 << 20
_MAX_SHARDS = 1000


class Rekor1:
    """Blocking; not for use inside a running event loop. `base` is the log's URL."""

    def __init__(self, http: Http, base: str) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._runner = asyncio.Runner()

    def shards(self) -> list[Rekor1Shard]:
        """Its trees, the oldest first; only the last one grows. Raises NetworkError and MalformedError."""
        state = self._runner.run(self._ask("GET", "/api/v1/log"))
        where = f"{self._base}/api/v1/log"
        root = Message(state, where)
        shards, first = [], 0
        for message in (*root.messages("inactiveShards", _MAX_SHARDS), root):
            note = message.text("signedTreeHead").encode()
            shards.append(Rekor1Shard(self, note, first))
            # Where the next shard begins is believed of the log, as are all indexes of Rekor v1's.
            first += parse_checkpoint(note).size
        return shards

    def entries(self, first: int, stop: int) -> Iterator[bytes]:
        """The bodies of those from index `first` on, before `stop`."""
        step = _BATCH * _AT_ONCE
        for start in range(first, stop, step):
            yield from self._runner.run(self._several(start, min(stop, start + step)))

    async def _several(self, first: int, stop: int) -> list[bytes]:
        batches = await together(self._retrieve(start, min(stop, start + _BATCH))
                                 for start in range(first, stop, _BATCH))
        return [body for batch in batches for body in batch]

    async def _retrieve(self, first: int, stop: int) -> list[bytes]:
        path = "/api/v1/log/entries/retrieve"
        listed = await self._ask("POST", path, {"logIndexes": [*range(first, stop)]})
        if not isinstance(listed, list):
            raise MalformedError(f"{self._base}{path}", got=type(listed).__name__, expected="an array of entries")
        bodies: dict[int, bytes] = {}
        for position, answered in enumerate(listed):
            by_uuid = Message(answered, f"{path}: [{position}]")
            for uuid in by_uuid.names:
                entry = by_uuid.message(uuid)
                bodies[entry.integer("logIndex")] = decode_base64(entry.raw("body"), f"{entry.where}.body")
        try:
            return [bodies[index] for index in range(first, stop)]
        except KeyError as missing:
            raise VerificationError(f"log: entry {missing} is missing from what {self._base} answers") from None

    def proof(self, index: int) -> tuple[bytes, int, Sequence[bytes]]:
        """An entry's body, the size of the tree that its proof is for, and the proof. `index` as the log counts."""
        path = f"/api/v1/log/entries?logIndex={index}"
        entry = read_answer(Message(self._runner.run(self._ask("GET", path)), f"{self._base}{path}"))
        if entry.proof is None or entry.log_index != index:
            raise MalformedError(f"{self._base}{path}", got="an entry without a proof, or another one",
                                 expected="it, with its proof of inclusion")
        return entry.body, entry.proof.tree_size, entry.proof.hashes

    async def _ask(self, method: str, path: str, question: dict[str, Any] | None = None) -> Any:
        url = f"{self._base}{path}"
        headers = {"Accept": "application/json"}
        body = None
        if question is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(question).encode()
        async with await self._http.request(method, url, headers=headers, body=body) as answer:
            data = await answer.read(_MAX_ANSWER)
            if answer.status != 200:
                raise NetworkError(f"{method} {url}: got status {answer.status}, expected 200")
        return strictjson.loads(data, url, max_size=_MAX_ANSWER, max_depth=32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._runner.run(self._http.close())
        self._runner.close()


@dataclass(frozen=True, slots=True)
class Rekor1Shard:
    """Implements ports.tiles.LogReader."""

    log: Rekor1
    note: bytes
    first: int

    def read(self, path: str) -> bytes | None:
        """The checkpoint; there are no tiles."""
        return self.note if path == "checkpoint" else None

    def entries(self, start: int, size: int) -> Iterator[bytes]:
        return self.log.entries(self.first + start, self.first + size)

    def frontier(self, index: int, _size: int, /) -> Sequence[bytes]:
        """Of the proof of the entry before: what stands on its left are the complete trees of those before it."""
        if index == 0:
            return []
        body, tree_size, proof = self.log.proof(self.first + index - 1)
        edge = Frontier(index - 1, left_siblings(index - 1, tree_size, proof))
        edge.push(leaf_hash(body))
        return edge.hashes
