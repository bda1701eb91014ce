"""A Rekor v1 log in memory that can be told to misbehave (rekor openapi.yaml: POST and GET /api/v1/log/entries)."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from custody.kit import merkle
from custody.kit.canonical import canonical
from custody.trust.checkpoint import LogSigner
from custody.trust.roots import TransparencyLog, Validity
from tests.sign.authority import ALWAYS, new_key, spki


@dataclass
class Rekor1:
    key: Any = field(default_factory=new_key)
    bodies: list[bytes] = field(default_factory=list)
    promise: bool = True
    """Whether answers have a signed entry timestamp."""
    location: str | None = None
    """Of every 409, instead of the right one."""
    wrong: int | None = None
    """The index whose entry GET answers with, instead of the right one."""
    forget: bool = False
    """Whether the first POST of an entry is answered 500 although it was kept."""

    def __post_init__(self) -> None:
        self.signer = LogSigner("log1.example", self.key)

    def trusted(self, url: str, valid: Validity = ALWAYS) -> TransparencyLog:
        return TransparencyLog(url, spki(self.key), "PKIX_ECDSA_P256_SHA_256", self.signer.verifier.log_id, valid)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/v1/log/entries", self._create, methods=["POST"]),
                                 Route("/api/v1/log/entries", self._at, methods=["GET"]),
                                 Route("/api/v1/log/entries/{uuid}", self._read)])

    async def _create(self, request: Request) -> Response:
        body = canonical(_kept(json.loads(await request.body())))
        if body in self.bodies:
            place = self.location or f"/api/v1/log/entries/{merkle.leaf_hash(body).hex()}"
            return JSONResponse({"code": 409, "message": "an equivalent entry already exists in the transparency log"},
                                409, {"Location": place})
        self.bodies.append(body)
        if self.forget:
            return JSONResponse({"code": 500, "message": "lost"}, 500)
        return JSONResponse(self._answer(len(self.bodies) - 1), 201)

    async def _at(self, request: Request) -> Response:
        index = int(request.query_params["logIndex"])
        if not 0 <= index < len(self.bodies):
            return JSONResponse({"code": 404, "message": "no such entry"}, 404)
        return JSONResponse(self._answer(index if self.wrong is None else self.wrong))

    async def _read(self, request: Request) -> Response:
        leaves = [merkle.leaf_hash(body).hex() for body in self.bodies]
        uuid = request.path_params["uuid"][-64:]
        if uuid not in leaves:
            return JSONResponse({"code": 404, "message": "no such entry"}, 404)
        return JSONResponse(self._answer(leaves.index(uuid) if self.wrong is None else self.wrong))

    def _answer(self, index: int) -> dict[str, Any]:
        leaves = [merkle.leaf_hash(body) for body in self.bodies]
        root = merkle.root_hash(leaves)
        body, moment = base64.b64encode(self.bodies[index]).decode(), int(time.time())
        log_id = self.signer.verifier.log_id.hex()
        signed = canonical({"body": body, "integratedTime": moment, "logID": log_id, "logIndex": index})
        verification: dict[str, Any] = {"inclusionProof": {
            "checkpoint": self.signer.sign(len(leaves), root).decode(), "logIndex": index, "rootHash": root.hex(),
            "treeSize": len(leaves), "hashes": [item.hex() for item in merkle.inclusion_proof(leaves, index)]}}
        if self.promise:
            verification["signedEntryTimestamp"] = base64.b64encode(
                self.key.sign(signed, ec.ECDSA(hashes.SHA256()))).decode()
        return {f"{'0' * 16}{leaves[index].hex()}": {"body": body, "integratedTime": moment, "logID": log_id,
                                                     "logIndex": index, "verification": verification}}


def _kept(request: dict[str, Any]) -> dict[str, Any]:
    """A proposed entry as Rekor writes it into the tree."""
    if request["kind"] == "hashedrekord":
        return request
    proposed = request["spec"]["proposedContent"]
    envelope = json.loads(proposed["envelope"])
    payload = base64.b64decode(envelope["payload"])
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(proposed["envelope"].encode()).hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
        "signatures": [{"signature": envelope["signatures"][0]["sig"], "verifier": proposed["verifiers"][0]}]}}
