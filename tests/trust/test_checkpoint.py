"""Checkpoints: signed notes that a stranger may have written."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, VerificationError
from custody.trust.checkpoint import LogPrivateKey, LogSigner, parse_checkpoint

KEYS: list[LogPrivateKey] = [ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
                             ec.generate_private_key(ec.SECP256R1())]
NOTE = LogSigner("log.example", KEYS[0]).sign(7, bytes(range(32)))


@pytest.mark.parametrize("key", KEYS)
@given(st.integers(0, 10**17), st.binary(min_size=32, max_size=32))
def test_checkpoints_round_trip(key: LogPrivateKey, size: int, root: bytes) -> None:
    signer = LogSigner("log.example", key)
    note = signer.sign(size, root)
    found = signer.verifier.verify(note)
    assert (found.origin, found.size, found.root, found.note) == ("log.example", size, root, note)


def test_the_key_hash_is_the_signed_note_s() -> None:
    """signed-note: SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key), here of the all-zero seed's key."""
    key_id = LogSigner("example.com/log", KEYS[0]).verifier.log_id
    raw = bytes.fromhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29")
    assert key_id == hashlib.sha256(b"example.com/log\n\x01" + raw).digest()


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_a_changed_byte_never_verifies(place: int, change: int) -> None:
    broken = NOTE[:place] + bytes([NOTE[place] ^ change]) + NOTE[place + 1:]
    with pytest.raises(CustodyError):
        LogSigner("log.example", KEYS[0]).verifier.verify(broken)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_checkpoint(data)


def test_other_signatures_are_passed_over() -> None:
    witness = "— witness.example " + base64.b64encode(bytes(100)).decode() + "\n"
    text, _, mine = NOTE.decode().partition("\n\n")
    LogSigner("log.example", KEYS[0]).verifier.verify(f"{text}\n\n{witness}{mine}".encode())


@pytest.mark.parametrize(("note", "reason"), [
    (NOTE.replace(b"\n7\n", b"\n07\n"), "checkpoint size: got '07'"),
    (NOTE.replace(b"\n7\n", b"\n-7\n"), "checkpoint size: got '-7'"),
    (NOTE.replace(b"\n7\n", b"\n" + b"9" * 30 + b"\n"), "checkpoint size: got '999"),
    (NOTE.replace("—".encode(), b"-"), "expected `— name base64`"),
    (NOTE[:-1], "an empty line, and signature lines"),
    (NOTE + b"x" * 70_000, "at most 65536 bytes"),
    (NOTE.replace(b"AAECAw", b""), "checkpoint root: got"),
    (NOTE.replace(b"log.example\n7", b"7"), "got '2 lines"),
    (NOTE.partition(b"\n\n")[0] + b"\n\n", "an empty line, and signature lines"),
])
def test_broken_notes(note: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse_checkpoint(note)


def test_what_is_verified() -> None:
    verifier = LogSigner("log.example", KEYS[0]).verifier
    with pytest.raises(VerificationError, match=r"the signature of log\.example does not verify"):
        verifier.verify(NOTE.replace(b"\n7\n", b"\n8\n"))
    with pytest.raises(VerificationError, match="origin: got 'evil"):
        verifier.verify(LogSigner("evil.example", KEYS[0]).sign(7, bytes(32)))
    with pytest.raises(VerificationError, match=r"no signature of log\.example with key hash"):
        verifier.verify(LogSigner("log.example", KEYS[1]).sign(7, bytes(32)))
