"""Advisories in one signed file, from a machine that has a network to one that has none.

    CUSTODY-ADVISORIES 1\\n
    a DSSE envelope on one line: what is in the file, its SHA-256, how many records of which publisher, and when
    a zstandard stream of msgpack, each value behind its length in four bytes (big-endian)

The signature is over the envelope's payload, the payload has the digest of all that follows. Nothing is taken before
both are checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, groupby
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard

from custody.errors import MalformedError, UnsupportedError, UsageError, VerificationError
from custody.formats import zstd
from custody.formats.dsse import Envelope, parse_envelope
from custody.formats.epss import EpssScores
from custody.formats.kev import ExploitedCatalogue
from custody.formats.osv import Advisory
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.pae import pae
from custody.ports.advisories import AdvisoryStore, Feed
from custody.ports.javaarchives import JavaArchiveStore
from custody.sign.keys import signed
from custody.trust.keys import AnyPublicKey
from custody.vulns import javaindex
from custody.vulns.javaindex import Archives, Projects

PAYLOAD_TYPE = "application/vnd.custody.advisories+json"
MEDIA_TYPE = "application/vnd.custody.advisories.v1"
_MAGIC = b"CUSTODY-ADVISORIES 1\n"
_LONGEST_HEAD = 1 << 20
_LONGEST = 64 << 20
_WINDOW = 128 << 20
_PIECE = 1 << 20
_EVENTS, _RANGES = ("introduced", "fixed", "last_affected", "limit", "after"), ("SEMVER", "ECOSYSTEM", "UNREAD")
_Value = Advisory | ExploitedCatalogue | EpssScores | Projects | Archives
_KINDS: dict[bytes, type[Any]] = {b"A": Advisory, b"K": ExploitedCatalogue, b"E": EpssScores, b"P": Projects,
                                  b"J": Archives}
_DECODERS = {kind: msgspec.msgpack.Decoder(type_) for kind, type_ in _KINDS.items()}
_ARCHIVE = "archive"
"""The feed that says how new the archive was that was imported last."""


class Contents(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the signature is of."""

    format: int
    created: str
    sha256: str
    records: int
    sources: dict[str, int]
    java_archives: int = 0


def write(store: AdvisoryStore, path: Path, sign: Callable[[bytes], bytes] | None, now: datetime,
          java: JavaArchiveStore | None = None) -> Contents:
    """All that the store has, and the index of Java archives, signed by `sign`.

    Raises UsageError where there is nothing, or the file cannot be written.
    """
    counts: dict[str, int] = {}
    archives = 0
    digest = hashlib.sha256()
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as content:
            temporary = Path(content.name)
            with zstandard.ZstdCompressor(level=10).stream_writer(content, closefd=False) as stream:
                for kind, source, value in chain(_values(store), _index(java)):
                    if isinstance(value, Archives):
                        archives += len(value.rows)
                    elif source:
                        counts[source] = counts.get(source, 0) + 1
                    data = kind + msgspec.msgpack.encode(value)
                    stream.write(len(data).to_bytes(4, "big") + data)
        try:
            if not counts and not archives:
                raise UsageError("the advisory database is empty: there is nothing to export",
                                 hint="custody db update, or custody db import PATH")
            with temporary.open("rb") as content:
                while piece := content.read(_PIECE):
                    digest.update(piece)
            contents = Contents(format=1, created=format_rfc3339(now), sha256=digest.hexdigest(),
                                records=sum(counts.values()), sources=counts, java_archives=archives)
            payload = msgspec.json.encode(contents)
            signatures = (("", sign(pae(PAYLOAD_TYPE, payload))),) if sign else ()
            head = json.dumps(Envelope(PAYLOAD_TYPE, payload, signatures).to_json(), separators=(",", ":"))
            whole = temporary.with_name(temporary.name + ".whole")
            with whole.open("wb") as file, temporary.open("rb") as content:
                file.write(_MAGIC + head.encode() + b"\n")
                while piece := content.read(_PIECE):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            whole.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return contents


def is_archive(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read(store: AdvisoryStore, path: Path, keys: Sequence[AnyPublicKey], now: datetime, *, unsigned: bool = False,
         older: bool = False, java: Callable[[], JavaArchiveStore] | None = None) -> tuple[Contents, int]:
    """Take what it says in place of what there is of the same publishers, and of the index of Java archives where it
    has one (`java`: called only then); also how many records were new.

    Raises VerificationError where none of the keys signed it (`unsigned`: that does not matter), it is not what was
    signed, or it is older than the archive that was imported last (`older`: that does not matter); MalformedError.
    """
    feed = store.feed(_ARCHIVE)
    try:
        with path.open("rb") as file:
            contents = _head(file, str(path), keys, unsigned=unsigned)
            begin = file.tell()
            for _ in _checked(file, str(path), contents):  # nothing is decoded that is not what was signed
                pass
            if feed.cursor and parse_rfc3339(contents.created) < parse_rfc3339(feed.cursor) and not older:
                raise VerificationError(f"{path}: got an archive of {contents.created}, expected none older than that "
                                        f"of {feed.cursor}, which is imported",
                                        hint="--allow-older, if that is meant")
            file.seek(begin)
            with store.together():
                values = _index_last(_read_values(_checked(file, str(path), contents), str(path)), str(path))
                added = _take(store, values, now, f"{path.name} of {contents.created}", java)
                store.keep(Feed(address=_ARCHIVE, cursor=contents.created, checked=format_rfc3339(now)))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return contents, added


def _checked(file: IO[bytes], where: str, contents: Contents) -> Iterator[bytes]:
    """What follows, in pieces; raises VerificationError at its end where it is not what was signed: what was taken
    until then is taken back.
    """
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
        yield piece
    if digest.hexdigest() != contents.sha256:
        raise VerificationError(f"{where}: got content with SHA-256 {digest.hexdigest()}, expected {contents.sha256}, "
                                "which is signed")


def _values(store: AdvisoryStore) -> Iterator[tuple[bytes, str, _Value]]:
    for advisory in store.records():
        yield b"A", advisory.source, advisory
    if (catalogue := store.catalogue()) is not None:
        yield b"K", "kev", catalogue
    if (scores := store.all_scores()) is not None:
        yield b"E", "epss", scores


def _index(java: JavaArchiveStore | None) -> Iterator[tuple[bytes, str, _Value]]:
    for value in javaindex.values(java) if java is not None else ():
        yield b"P" if isinstance(value, Projects) else b"J", "", value


def _index_last(values: Iterator[_Value], where: str) -> Iterator[_Value]:
    """The index replaces the one before when all that it was read from is; nothing can be wrong behind it."""
    begun = False
    for value in values:
        if begun and not isinstance(value, Projects | Archives):
            raise MalformedError(where, got=f"{type(value).__name__.lower()} behind the index of Java archives",
                                 expected="that as the last")
        begun = begun or isinstance(value, Projects | Archives)
        yield value


def _head(file: IO[bytes], where: str, keys: Sequence[AnyPublicKey], *, unsigned: bool) -> Contents:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise MalformedError(where, got="another beginning", expected="a file of custody db export")
    line = file.readline(_LONGEST_HEAD)
    if not line.endswith(b"\n"):
        raise MalformedError(where, got="no end of the head", expected=f"a line of at most {_LONGEST_HEAD} bytes")
    if unsigned:
        payload = _payload(line, where)
    else:
        envelope = _envelope(line, where)
        if not any(signed(key, signature, envelope.signed_bytes) for key in keys for _, signature in
                   envelope.signatures):
            raise VerificationError(f"{where}: got no signature of the keys that were given, expected one",
                                    hint="--key the public key of whoever exported it")
        payload = envelope.payload
    try:
        contents = msgspec.json.decode(payload, type=Contents)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(where, got=str(error), expected="what an export states") from None
    if contents.format != 1:
        raise MalformedError(f"{where}: format", got=contents.format, expected="1")
    parse_rfc3339(contents.created, f"{where}: created")
    return contents


def _envelope(line: bytes, where: str) -> Envelope:
    head = strictjson.loads(line, where, max_size=_LONGEST_HEAD, max_depth=8)
    if not isinstance(head, dict) or not head.get("signatures"):
        raise VerificationError(f"{where}: is not signed", hint="custody db export --key FILE signs; "
                                                                 "--insecure-unsigned takes it as it is")
    envelope = parse_envelope(line, where)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise VerificationError(f"{where}: got a signed {envelope.payload_type}, expected {PAYLOAD_TYPE}")
    return envelope


def _payload(line: bytes, where: str) -> bytes:
    import base64
    import binascii

    head = strictjson.loads(line, where, max_size=_LONGEST_HEAD, max_depth=8)
    try:
        return base64.b64decode(head["payload"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise MalformedError(f"{where}: payload", got="none", expected="base64") from None


def _read_values(pieces: Iterator[bytes], where: str) -> Iterator[_Value]:
    left = bytearray()
    try:
        for piece in zstd.decompress(pieces, where, _WINDOW):
            left += piece
            place = 0
            while len(left) - place >= 4:
                size = int.from_bytes(left[place:place + 4], "big")
                if not 1 <= size <= _LONGEST:
                    raise MalformedError(where, got=f"a value of {size} bytes", expected=f"1 to {_LONGEST}")
                if len(left) - place - 4 < size:
                    break
                yield _value(bytes(left[place + 4:place + 4 + size]), where)
                place += 4 + size
            del left[:place]
    except zstandard.ZstdError as error:
        raise MalformedError(where, got=str(error), expected="a zstandard stream") from None
    if left:
        raise MalformedError(where, got="half a value at the end", expected="whole ones")


def _value(data: bytes, where: str) -> _Value:
    decoder = _DECODERS.get(data[:1])
    if decoder is None:
        raise MalformedError(where, got=f"a value of kind {data[:1]!r}", expected="records, a catalogue, scores, or "
                             "an index of Java archives")
    try:
        value: _Value = decoder.decode(data[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(where, got=str(error), expected="a record") from None
    if isinstance(value, Advisory):
        parse_rfc3339(value.modified, f"{where}: {value.id}")
        if any(span.kind not in _RANGES or any(kind not in _EVENTS for kind, _ in span.events)
               for entry in value.affected for span in entry.ranges):
            raise MalformedError(f"{where}: {value.id}", got="a range of no kind that is known", expected="OSV's")
    return value


def _take(store: AdvisoryStore, values: Iterable[_Value], now: datetime, origin: str,
          java: Callable[[], JavaArchiveStore] | None) -> int:
    added = 0
    for part, group in groupby(values, lambda value: (value.source, value.part) if isinstance(value, Advisory)
                               else None):
        if part is not None:
            added += store.replace(*part, (value for value in group if isinstance(value, Advisory)), now, origin)
            continue
        rest = iter(group)
        for value in rest:
            if isinstance(value, ExploitedCatalogue):
                added += len(value.entries) * store.add_exploited(value, now)
            elif isinstance(value, EpssScores):
                added += len(value.entries) * store.add_scores(value, now)
            elif java is None:
                raise UnsupportedError(origin, "has an index of Java archives, of which none is kept here")
            else:
                javaindex.take(chain([value], rest), java(), origin)
    return added
