"""Rekor v2's write API (rekor-tiles api/proto) and the tiles of any log, over a Sequencer."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from custody.formats.bundle import InclusionProof, LogEntry
from custody.ports.tiles import TileReader
from custody.server.rpcstatus import answering, body, status_answer
from custody.trust.hashedrekord import MAX_REQUEST, parse_request
from custody.trust.log import Logged, Sequencer

_TILE = re.compile(r"(?:[0-9]|[1-5][0-9]|6[0-3]|entries)/(?:x\d{3}/){0,6}\d{3}(\.p/[1-9]\d{0,2})?")


def routes(sequencer: Sequencer, reader: TileReader) -> list[Route]:
    """The log's API below /api/v2."""
    log_id = sequencer.log.signer.verifier.log_id

    async def create(request: Request) -> Response:
        canonical_body = await asyncio.to_thread(_verified, await body(request, MAX_REQUEST))
        logged = await sequencer.add(canonical_body)
        return JSONResponse(_answer(logged, log_id, canonical_body), 201)

    return [Route("/api/v2/log/entries", answering(create), methods=["POST"]), *tile_routes("/api/v2", reader)]


def tile_routes(prefix: str, reader: TileReader) -> list[Route]:
    """`prefix`/checkpoint and `prefix`/tile/… (C2SP tlog-tiles); also for the CT log, below /ct."""

    async def checkpoint(_: Request) -> Response:
        note = await asyncio.to_thread(reader.read, "checkpoint")
        if note is None:
            return status_answer(5, 404, "Not Found")
        return Response(note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})

    async def tile(request: Request) -> Response:
        match = _TILE.fullmatch(request.path_params["path"])
        data = await asyncio.to_thread(reader.read, f"tile/{match[0]}") if match else None
        if data is None:
            return status_answer(5, 404, "Not Found")
        return Response(data, media_type="application/octet-stream",
                        headers={"Cache-Control": "public, max-age=31536000, immutable"})

    return [Route(f"{prefix}/checkpoint", checkpoint, methods=["GET"]),
            Route(f"{prefix}/tile/{{path:path}}", tile, methods=["GET"])]


def _verified(data: bytes) -> bytes:
    """The canonical body of an entry that verifies. An RSA key of 4,096 bits takes a millisecond."""
    entry = parse_request(data)
    entry.verify()
    return entry.canonical_body()


def _answer(logged: Logged, log_id: bytes, body: bytes) -> dict[str, Any]:
    """A TransparencyLogEntry (sigstore_rekor.proto) as JSON; Rekor v2 attests no time, so integratedTime is 0."""
    proof = InclusionProof(logged.index, logged.root, logged.size, logged.proof, logged.checkpoint.decode())
    entry = LogEntry(logged.index, log_id, "hashedrekord", "0.0.2", 0, None, proof, body)
    return {"integratedTime": "0", "inclusionPromise": None, **entry.to_json()}
