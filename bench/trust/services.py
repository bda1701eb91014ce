"""Closed-loop load on the log, the CA and the timestamp authority: `python -m bench.trust.services [seconds]`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.trust.stack import serving

KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PEERS = {  # (service, clients) → requests a second, p50 ms, p99 ms; another run, same kind of machine
    ("log", 1): (1, 1001, 1001), ("log", 16): (16, 1000, 1006), ("log", 64): (64, 1001, 1013),
    ("ca", 1): (612, 1.5, 3.2), ("ca", 16): (1162, 10.8, 34.6), ("tsa", 1): (1726, 0.5, 1.6),
    ("tsa", 16): (3830, 4.3, 9.7)}
NAMES = {"log": "log (rekor-tiles, checkpoint 100 ms)", "ca": "CA (fulcio with a CT log in Python)",
         "tsa": "timestamps (timestamp-server)"}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    parent, child = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(child,), daemon=True)
    server.start()
    base, token = parent.recv()
    host, port = base.removeprefix("http://").split(":")
    makers: dict[str, Callable[[int], dict[str, object] | bytes]] = {
        "log": log_body, "ca": lambda _: ca_body(token), "tsa": lambda _: tsa_body()}
    paths = {"log": "/api/v2/log/entries", "ca": "/api/v2/signingCert", "tsa": "/api/v1/timestamp"}
    print(f"{'service (peer)':40} {'clients':>7} {'/s':>7} {'p50 ms':>7} {'p99 ms':>7} {'CPU':>5}   peer: /s, p50, p99")
    number = 0
    for service, path in paths.items():
        for clients in (1, 16, 64):
            count = max(200, int(seconds * (150 if service == "log" and clients == 1 else 1500)))
            bodies = [request(path, makers[service](number + offset), service == "tsa") for offset in range(count)]
            number += count
            before = cpu(server.pid)
            started = time.perf_counter()
            times = asyncio.run(drive(host, int(port), iter(bodies), clients, seconds))
            took = time.perf_counter() - started
            used = (cpu(server.pid) - before) / took
            times.sort()
            peer = PEERS.get((service, clients))
            print(f"{NAMES[service]:40} {clients:7} {len(times) / took:7.0f} {times[len(times) // 2] * 1000:7.1f} "
                  f"{times[int(len(times) * 0.99)] * 1000:7.1f} {used:5.2f}   "
                  + (", ".join(f"{value:g}" for value in peer) if peer else "-"), flush=True)
    server.terminate()


def serve(pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as stack:
        pipe.send((stack.endpoints.ca, stack.people.mint_email("dev@example.com")))
        while True:
            time.sleep(60)


def log_body(number: int) -> dict[str, object]:
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    signature = KEY.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    return {"hashedRekordRequestV002": {"digest": b64(digest), "signature": {"content": b64(signature), "verifier": {
        "publicKey": {"rawBytes": b64(SPKI)}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}}}}


def ca_body(token: str) -> dict[str, object]:
    proof = KEY.sign(b"dev@example.com", ec.ECDSA(hashes.SHA256()))
    return {"credentials": {"oidcIdentityToken": token},
            "publicKeyRequest": {"publicKey": {"algorithm": "ECDSA", "content": PEM}, "proofOfPossession": b64(proof)}}


def tsa_body() -> bytes:
    from asn1crypto import tsp

    return bytes(tsp.TimeStampReq({"version": "v1", "cert_req": True, "nonce": 123456789, "message_imprint": {
        "hash_algorithm": {"algorithm": "sha256"}, "hashed_message": os.urandom(32)}}).dump())


def request(path: str, body: dict[str, object] | bytes, der: bool) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/timestamp-query" if der else "application/json"
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
            ).encode() + data


async def drive(host: str, port: int, bodies: Iterator[bytes], clients: int, seconds: float) -> list[float]:
    times: list[float] = []
    deadline = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for body in bodies:
            started = time.perf_counter()
            if started > deadline:
                break
            writer.write(body)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            if status not in (200, 201):
                raise SystemExit(f"got status {status}: {answer[:200]!r}")
            times.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return times


def cpu(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


b64: Callable[[bytes], str] = lambda data: base64.b64encode(data).decode()  # noqa: E731

if __name__ == "__main__":
    main()
