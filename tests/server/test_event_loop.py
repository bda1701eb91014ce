"""The event loop holds no hash, no signature and no file while trust services answer."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.adapters.filesystem import tiles
from custody.trust import ca, ctlog, log, token, tsa
from custody.trust.hashedrekord import HashedRekord
from tests.trust.stack import Stack, serving
from tests.trust.test_hashedrekord import request
from tests.trust.test_tsa import query

KEY = ec.generate_private_key(ec.SECP256R1())
HELD = {"verify an entry": (HashedRekord, "verify"), "read a tile": (tiles.DirectoryReader, "read"),
        "write tiles": (tiles.DirectoryTiles, "stage"), "publish": (tiles.DirectoryTiles, "publish"),
        "swap a checkpoint": (tiles.DirectoryCheckpoint, "swap"),
        "append": (log.MerkleLog, "append"), "find a leaf": (log.MerkleLog, "find"),
        "stamp": (tsa.TimestampAuthority, "stamp"), "prepare a certificate": (ca.SigningAuthority, "_prepare"),
        "cover a precertificate": (ctlog.CtLog, "_covered"), "os.fsync": (os, "fsync")}


@contextlib.contextmanager
def watched() -> Iterator[dict[str, set[str]]]:
    """What of HELD was called, and the threads it was called in."""
    called: dict[str, set[str]] = {}

    def watching(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            called.setdefault(name, set()).add(threading.current_thread().name)
            return function(*given, **named)

        return call

    with contextlib.ExitStack() as stack:
        for name, (owner, attribute) in HELD.items():
            stack.enter_context(mock.patch.object(owner, attribute, watching(name, getattr(owner, attribute))))
        algorithms = {name: mock.Mock(wraps=algorithm, verify=watching("verify a token", algorithm.verify))
                      for name, algorithm in token._ALGORITHMS.items()}
        stack.enter_context(mock.patch.object(token, "_ALGORITHMS", algorithms))
        yield called


def call(base: str, method: str, path: str, body: bytes | None = None,
         kind: str = "application/json") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(base.partition("//")[2].partition("/")[0], timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def certificate_request(stack: Stack) -> bytes:
    identity = stack.people.mint_email("dev@example.com")
    proof = KEY.sign(b"dev@example.com", ec.ECDSA(hashes.SHA256()))
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return json.dumps({"credentials": {"oidcIdentityToken": identity}, "publicKeyRequest": {
        "publicKey": {"algorithm": "ECDSA", "content": pem},
        "proofOfPossession": base64.b64encode(proof).decode()}}).encode()


def test_trust_services_hold_no_event_loop(tmp_path: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with watched() as called, serving(tmp_path) as stack:
        opened = dict(called)  # in the loop's thread, before anything listens
        called.clear()
        base = stack.endpoints.oidc
        entry = json.dumps(request(b"x")).encode()
        assert call(base, "POST", "/api/v2/log/entries", entry)[0] == 201
        assert call(base, "POST", "/api/v2/log/entries", entry)[0] == 409
        assert call(base, "GET", "/api/v2/checkpoint")[0] == 200
        assert call(base, "GET", "/api/v2/tile/0/000.p/1")[0] == 200
        assert call(base, "GET", "/ct/checkpoint")[0] == 200
        assert call(base, "POST", "/api/v1/timestamp", query(digest=hashlib.sha256(b"x").digest()),
                    "application/timestamp-query")[0] == 200
        status, answer = call(base, "POST", "/api/v2/signingCert", certificate_request(stack))
        assert status == 200, answer
        seen = {name: set(threads) for name, threads in called.items()}
    assert opened
    assert set(seen) == {*HELD, "verify a token"}
    loops = {name for threads in seen.values() for name in threads if not name.startswith(("asyncio_", "log-sync"))}
    assert loops - before == set(), {name: threads for name, threads in seen.items() if threads & loops}


@pytest.mark.parametrize(("path", "kind", "limit"), [
    ("/api/v2/log/entries", "application/json", 4 * 1024 * 1024),
    ("/api/v2/signingCert", "application/json", 64 * 1024),
    ("/api/v1/signingCert", "application/json", 64 * 1024),
    ("/api/v1/timestamp", "application/timestamp-query", 16 * 1024),
    ("/api/v1/timestamp", "application/json", 16 * 1024)])
def test_each_route_has_a_limit_and_the_connection_goes_on(path: str, kind: str, limit: int, tmp_path: Path) -> None:
    with serving(tmp_path) as stack:
        connection = http.client.HTTPConnection(stack.endpoints.oidc.partition("//")[2].partition("/")[0], timeout=30)
        for size, too_large in ((limit + 1, True), (limit - 1, False), (6 * 1024 * 1024, True)):
            connection.request("POST", path, b" " * size, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status in (400, 413)
            assert ("more than" in text) == too_large, text
        connection.request("GET", "/api/v2/checkpoint")
        assert connection.getresponse().read().startswith(b"127.0.0.1")
        connection.close()
