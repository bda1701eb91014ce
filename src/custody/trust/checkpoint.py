"""Checkpoints: a log's signed size and root, as a signed note (C2SP tlog-checkpoint, signed-note).

    origin            the log's name: for Rekor v2 the host name of its base URL
    size              decimal
    root              base64, 32 bytes
                      (extension lines are signed and otherwise not read)

    — name base64(key hash, 4 bytes ‖ signature)
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from custody.errors import MalformedError, VerificationError
from custody.formats.protojson import decode_base64
from custody.trust.keys import spki, verifies

LogPublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
LogPrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
_SHARD = re.compile(r".+ - [0-9]+")
_MAX_NOTE = 64 * 1024
_MAX_SIGNATURES = 100


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint as it was read; not verified."""

    origin: str
    size: int
    root: bytes
    text: bytes
    """What the signatures cover."""
    signatures: tuple[tuple[str, bytes], ...]
    """Name of the key, and 4 bytes of key hash with the signature behind them."""
    note: bytes
    """All of it as it was read."""


def parse_checkpoint(note: bytes) -> Checkpoint:
    """Read a signed note whose text is a checkpoint. Raises MalformedError."""
    where = "checkpoint"
    if len(note) > _MAX_NOTE:
        raise MalformedError(where, got=f"{len(note)} bytes", expected=f"at most {_MAX_NOTE} bytes")
    text, blank, tail = note.rpartition(b"\n\n")
    if not blank or not tail.endswith(b"\n"):
        raise MalformedError(where, got=note[-40:], expected="text, an empty line, and signature lines")
    text += b"\n"
    try:
        lines, signed = text.decode().split("\n")[:-1], tail.decode().split("\n")[:-1]
    except UnicodeDecodeError:
        raise MalformedError(where, got=note[:40], expected="UTF-8") from None
    if len(lines) < 3 or not lines[0] or len(signed) > _MAX_SIGNATURES:
        raise MalformedError(where, got=f"{len(lines)} lines, {len(signed)} signatures",
                             expected=f"origin, size and root, and at most {_MAX_SIGNATURES} signatures")
    size = lines[1]
    if not (size.isascii() and size.isdigit() and len(size) <= 18 and str(int(size)) == size):
        raise MalformedError(f"{where} size", got=size, expected="a decimal number")
    root = decode_base64(lines[2], f"{where} root")
    if len(root) != 32:
        raise MalformedError(f"{where} root", got=f"{len(root)} bytes", expected="32 bytes")
    signatures = []
    for line in signed:
        dash, name, *rest = line.split(" ") if line.count(" ") == 2 else ("", "")
        if dash != "—" or not name:
            raise MalformedError(f"{where} signature", got=line, expected="`— name base64`")
        signature = decode_base64(rest[0], f"{where} signature")
        if len(signature) < 5:
            raise MalformedError(f"{where} signature", got=f"{len(signature)} bytes", expected="more than 4 bytes")
        signatures.append((name, signature))
    return Checkpoint(lines[0], int(size), root, text, tuple(signatures), note)


@dataclass(frozen=True, slots=True)
class LogVerifier:
    """A log's name and public key."""

    name: str
    key: LogPublicKey

    @property
    def log_id(self) -> bytes:
        """32 bytes; the first 4 are the note's key hash (signed-note; for ECDSA as Rekor does, SHA-256 of the SPKI)."""
        if isinstance(self.key, ed25519.Ed25519PublicKey):
            return hashlib.sha256(self.name.encode() + b"\n\x01" + self.key.public_bytes_raw()).digest()
        return hashlib.sha256(spki(self.key)).digest()

    @property
    def host(self) -> str:
        """The name without a tree's number: a shard of Rekor v1 is called `host - number`, and signs as the host."""
        return self.name.rpartition(" - ")[0] if _SHARD.fullmatch(self.name) else self.name

    def verify(self, note: bytes) -> Checkpoint:
        """The checkpoint, if this log signed it. Raises MalformedError, VerificationError."""
        checkpoint = parse_checkpoint(note)
        if checkpoint.origin != self.name:
            raise VerificationError(f"checkpoint origin: got {checkpoint.origin!r}, expected {self.name!r}")
        hint = self.log_id[:4]
        for name, signature in checkpoint.signatures:
            if name not in (self.name, self.host) or signature[:4] != hint:
                continue
            if not verifies(self.key, signature[4:], checkpoint.text, hashes.SHA256()):
                raise VerificationError(f"checkpoint: the signature of {name} does not verify")
            return checkpoint
        raise VerificationError(f"checkpoint: no signature of {self.name} with key hash {hint.hex()}")


@dataclass(frozen=True, slots=True)
class LogSigner:
    """A log's name and private key."""

    name: str
    key: LogPrivateKey

    @property
    def verifier(self) -> LogVerifier:
        return LogVerifier(self.name, self.key.public_key())

    def sign(self, size: int, root: bytes) -> bytes:
        """The signed note of a checkpoint."""
        text = f"{self.name}\n{size}\n{base64.b64encode(root).decode()}\n".encode()
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            signature = self.key.sign(text)
        else:
            signature = self.key.sign(text, ec.ECDSA(hashes.SHA256()))
        line = base64.b64encode(self.verifier.log_id[:4] + signature).decode()
        return text + f"\n— {self.name} {line}\n".encode()
