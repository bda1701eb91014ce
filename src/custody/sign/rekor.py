"""The client of a transparency log: a signature goes in, its entry comes back, also where it was there already.

Rekor v2 (rekor-tiles api/proto): `hashedrekord` 0.0.2, answered with a TransparencyLogEntry. Rekor v1 (openapi.yaml):
`hashedrekord` 0.0.1 for a message's signature, `dsse` 0.0.1 for an envelope's, answered with {UUID: entry}. A log that
has the entry answers 409: v1 names its place in Location, v2 its index in X-Log-Index, and it is read from there.

Nothing of an answer is believed here, whichever way it came: the signer verifies the finished bundle.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass

from custody.errors import ConflictError, MalformedError, NetworkError, UnsupportedError
from custody.formats.bundle import InclusionProof, LogEntry, read_log_entry, read_proof
from custody.formats.cosign import certificate_pem
from custody.formats.dsse import Envelope
from custody.formats.protojson import Message, decode_base64, encode_base64
from custody.kit import strictjson
from custody.ports.http import Http
from custody.sign.authorities import MAX_ANSWER, Refusal, post_json
from custody.sign.keys import PublicKey
from custody.trust.hashedrekord import HashedRekord
from custody.trust.keys import hash_of, key_details
from custody.trust.roots import Service, TrustedRoot

_UUID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{80}")
_MAX_TILE = 256 * (2 + 0xFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is to be logged."""

    message: bytes
    """The bytes that were signed."""
    hash_name: str
    """`sha256`, `sha384` or `sha512`: of the signature."""
    signature: bytes
    key: PublicKey
    certificate: bytes | None
    """DER, in keyless signatures."""
    envelope: Envelope | None
    """The DSSE envelope that `message` is the encoding of."""


async def request_log_entry(http: Http, log: Service, record: Record, root: TrustedRoot | None) -> LogEntry:
    """Record a signature. Raises NetworkError, MalformedError, UnsupportedError."""
    if log.major_api_version == 1:
        return await _version_1(http, log.url.rstrip("/"), record)
    return await _version_2(http, log.url.rstrip("/"), record, root)


async def _version_2(http: Http, url: str, record: Record, root: TrustedRoot | None) -> LogEntry:
    details = key_details(record.key.key)
    if details is None:
        raise UnsupportedError("key", "logs take RSA keys of 2048, 3072 and 4096 bits only")
    if record.hash_name != hash_of(record.key.key).name:
        raise UnsupportedError("key", f"a log of API version 2 takes {details}, and this signature is over "
                               f"{record.hash_name}")
    digest = hashlib.new(record.hash_name, record.message).digest()
    entry = HashedRekord(digest, record.signature, details, record.certificate,
                         None if record.certificate else record.key.der)
    answer = await post_json(http, url + "/api/v2/log/entries", entry.to_request(), "transparency log", accept=(409,))
    if not isinstance(answer, Refusal):
        return read_log_entry(answer)
    index = answer.headers.get("x-log-index", "")
    if not re.fullmatch("[0-9]{1,18}", index) or root is None:
        raise ConflictError(answer.words)
    body = entry.canonical_body()
    result = await asyncio.to_thread(_from_tiles, _Tiles(http, url + "/api/v2"), root, int(index))
    if result.body != body:
        raise NetworkError(f"transparency log {url}: answered 409 and index {index}, where another entry is")
    return result


class _Tiles:
    """Implements ports.tiles.TileReader for a thread beside a running loop, which does the asking."""

    def __init__(self, http: Http, base: str) -> None:
        self._http, self._base = http, base
        self._loop = asyncio.get_running_loop()

    def read(self, path: str) -> bytes | None:
        return asyncio.run_coroutine_threadsafe(self._get(f"{self._base}/{path}"), self._loop).result()

    async def _get(self, url: str) -> bytes | None:
        async with await self._http.request("GET", url) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise NetworkError(f"GET {url}: got status {answer.status}, expected 200")
            return await answer.read(_MAX_TILE)


def _from_tiles(reader: _Tiles, root: TrustedRoot, index: int) -> LogEntry:
    from custody.trust import audit

    verifier = audit.verifier_for(reader, root)
    checkpoint = audit.read_checkpoint(reader, verifier)
    body, proof = audit.read_entry(reader, checkpoint, index)
    log_id = next(log.log_id for log in root.tlogs if log.log_id[:4] == verifier.log_id[:4])
    return LogEntry(index, log_id, "hashedrekord", "0.0.2", 0, None,
                    InclusionProof(index, checkpoint.root, checkpoint.size, tuple(proof), checkpoint.note.decode()),
                    body)


async def _version_1(http: Http, url: str, record: Record) -> LogEntry:
    pem = certificate_pem(record.certificate) if record.certificate else record.key.pem
    request: dict[str, object]
    if record.envelope is not None:
        request = {"kind": "dsse", "apiVersion": "0.0.1", "spec": {"proposedContent": {
            "envelope": record.envelope.to_bytes().decode(), "verifiers": [encode_base64(pem)]}}}
    else:
        digest = hashlib.new(record.hash_name, record.message).hexdigest()
        request = {"kind": "hashedrekord", "apiVersion": "0.0.1", "spec": {
            "data": {"hash": {"algorithm": record.hash_name, "value": digest}},
            "signature": {"content": encode_base64(record.signature), "publicKey": {"content": encode_base64(pem)}}}}
    answer = await post_json(http, url + "/api/v1/log/entries", request, "transparency log", accept=(409,))
    if not isinstance(answer, Refusal):
        return read_answer(answer)
    # Only the identifier is taken from Location: the same log is asked, whatever else stands in it.
    uuid = answer.headers.get("location", "").partition("?")[0].rpartition("/")[2]
    if not _UUID.fullmatch(uuid):
        raise ConflictError(answer.words)
    where = f"{url}/api/v1/log/entries/{uuid}"
    async with await http.request("GET", where, headers={"Accept": "application/json"}) as reply:
        data = await reply.read(MAX_ANSWER)
        if reply.status != 200:
            raise NetworkError(f"GET {where}: got status {reply.status}, expected the entry that the log says it has")
    return read_answer(Message(strictjson.loads(data, "transparency log", max_size=MAX_ANSWER, max_depth=32),
                                   "transparency log"))


async def request_proof(http: Http, url: str, entry: LogEntry) -> LogEntry:
    """An entry of Rekor v1 with its proof of inclusion, which the log is asked for by the entry's index.

    Raises NetworkError and MalformedError, the latter also where another entry comes back.
    """
    where = f"{url.rstrip('/')}/api/v1/log/entries?logIndex={entry.log_index}"
    async with await http.request("GET", where, headers={"Accept": "application/json"}) as reply:
        data = await reply.read(MAX_ANSWER)
        if reply.status != 200:
            raise NetworkError(f"GET {where}: got status {reply.status}, expected the entry")
    got = read_answer(Message(strictjson.loads(data, "transparency log", max_size=MAX_ANSWER, max_depth=32),
                                  "transparency log"))
    if (got.body, got.log_id, got.log_index) != (entry.body, entry.log_id, entry.log_index):
        raise MalformedError("transparency log", got=f"another entry at index {entry.log_index}",
                             expected="the one in the bundle")
    if got.proof is None:
        raise MalformedError("transparency log", got="an entry without a proof", expected="its proof of inclusion")
    return LogEntry(entry.log_index, entry.log_id, entry.kind, entry.version, entry.integrated_time, entry.promise,
                    got.proof, entry.body)


def read_answer(answer: Message) -> LogEntry:
    """The one entry of an answer of Rekor v1 (LogEntry in openapi.yaml), as bundles have it. Raises MalformedError."""
    if len(answer.names) != 1:
        raise MalformedError("transparency log", got=f"{len(answer.names)} entries", expected="one, by its UUID")
    entry = answer.message(answer.names[0])
    verification = entry.message("verification")
    body = decode_base64(entry.raw("body"), f"{entry.where}.body")
    shape = Message(strictjson.loads(body, "log entry", max_size=MAX_ANSWER, max_depth=16), "log entry")
    proof = verification.optional("inclusionProof")
    promise = verification.raw("signedEntryTimestamp")
    return LogEntry(entry.integer("logIndex"), entry.hex("logID"), shape.text("kind"), shape.text("apiVersion"),
                    entry.integer("integratedTime"),
                    decode_base64(promise, f"{verification.where}.signedEntryTimestamp") if promise else None,
                    read_proof(proof, Message.hex, proof.text("checkpoint", "")) if proof else None, body)
