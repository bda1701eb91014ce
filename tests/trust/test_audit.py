"""A log whose operator lies: each lie is found, and named for what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from custody.cli.run import run
from custody.errors import MissingEvidenceError, VerificationError
from custody.kit.merkle import leaf_hash, root_hash
from custody.trust.audit import read_checkpoint, read_entry, verifier_for, verify_log
from custody.trust.checkpoint import LogSigner
from custody.trust.keys import spki
from custody.trust.log import MerkleLog
from custody.trust.roots import TransparencyLog, TrustedRoot, Validity
from custody.trust.tiles import encode_entries
from tests.trust.stack import SettableClock, build, serving
from tests.trust.test_log import SIGNER, MemoryLog

ENTRIES = [f"entry {number}".encode() for number in range(600)]


@pytest.fixture
def store() -> MemoryLog:
    made = MemoryLog()
    MerkleLog(made, made, SIGNER).append(ENTRIES)
    return made


def rebuilt(entries: list[bytes], signer: LogSigner = SIGNER) -> MemoryLog:
    """The operator builds the log anew, and signs it."""
    made = MemoryLog()
    MerkleLog(made, made, signer).append(entries)
    return made


def bundle(store: MemoryLog, entries: list[bytes]) -> None:
    store.files["tile/entries/001"] = encode_entries(entries)


def test_an_honest_log(store: MemoryLog) -> None:
    report = verify_log(store, SIGNER.verifier, old=rebuilt(ENTRIES[:300]).truth, held={7: ENTRIES[7]})
    assert (report.size, report.old_size, report.root) == (600, 300, root_hash([leaf_hash(e) for e in ENTRIES]))
    assert read_entry(store, read_checkpoint(store, SIGNER.verifier), 599)[0] == ENTRIES[599]


@pytest.mark.parametrize(("change", "reason"), [
    (lambda e: e[:40] + e[41:], "entry 296 was dropped: entry 297 stands in its place"),
    (lambda e: e[:255], "entry 511 is missing: its bundle has 255 entries and its tile 256 hashes, expected 256"),
    (lambda e: [*e[:10], b"forged", *e[11:]], "entry 266 was changed: it hashes to"),
    (lambda e: [*e[:10], e[20], *e[11:20], e[10], *e[21:]], "entries are out of order: at 266 stands entry 276"),
])
def test_entries_that_are_not_the_ones_in_their_tile(store: MemoryLog, change: object, reason: str) -> None:
    bundle(store, change(ENTRIES[256:512]))  # type: ignore[operator]
    with pytest.raises(VerificationError, match=reason):
        verify_log(store, SIGNER.verifier)


def test_entries_and_tiles_rewritten_without_the_key(store: MemoryLog) -> None:
    forged = rebuilt(ENTRIES[:5] + ENTRIES[6:] + [b"filler"])
    store.files = forged.files
    with pytest.raises(VerificationError, match="rewritten: 600 entries hash to root"):
        verify_log(store, SIGNER.verifier)


def test_a_tile_above_the_first_level(store: MemoryLog) -> None:
    store.files["tile/1/000.p/2"] = bytes(64)
    with pytest.raises(VerificationError, match=r"tile/1/000\.p/2 is not the hash of the tiles below"):
        verify_log(store, SIGNER.verifier)


def test_a_log_that_drops_an_entry_and_signs_anew(store: MemoryLog) -> None:
    old = store.truth
    shorter = rebuilt(ENTRIES[:5] + ENTRIES[6:])
    verify_log(shorter, SIGNER.verifier)  # in itself it is whole
    with pytest.raises(VerificationError, match="shrunken: it had 600 entries and now has 599"):
        verify_log(shorter, SIGNER.verifier, old=old)
    refilled = rebuilt(ENTRIES[:5] + ENTRIES[6:] + [b"filler"])
    with pytest.raises(VerificationError, match="forked: two roots are signed for 600 entries"):
        verify_log(refilled, SIGNER.verifier, old=old)
    longer = rebuilt(ENTRIES[:5] + ENTRIES[6:] + [b"filler", b"more"])
    with pytest.raises(VerificationError, match=r"forked: its first 600 entries hash to .*: an entry was dropped"):
        verify_log(longer, SIGNER.verifier, old=old)
    with pytest.raises(VerificationError, match="entry 5, of which a signer holds a proof, is not there"):
        verify_log(longer, SIGNER.verifier, held={5: ENTRIES[5]})


def test_another_log_s_checkpoint(store: MemoryLog) -> None:
    stranger = LogSigner("log.example", ed25519.Ed25519PrivateKey.generate())
    store.truth = rebuilt(ENTRIES, stranger).truth
    with pytest.raises(VerificationError, match=r"no signature of log\.example with key hash"):
        verify_log(store, SIGNER.verifier)
    broken = TransparencyLog("https://log.example", b"no key", "PKIX_ED25519", b"x" * 32, Validity())
    root = TrustedRoot(tlogs=(broken,))
    with pytest.raises(VerificationError, match="none of its checkpoint's signatures is by a log of the trusted root"):
        verifier_for(store, root)
    other = LogSigner("other.example", SIGNER.key).verifier  # the same key, trusted for another log
    root = TrustedRoot(tlogs=(TransparencyLog("https://other.example", spki(SIGNER.key.public_key()),
                                              "PKIX_ED25519", other.log_id, Validity()),))
    with pytest.raises(VerificationError, match="none of its checkpoint's signatures is by a log of the trusted root"):
        verifier_for(store, root)
    store.truth = None
    with pytest.raises(MissingEvidenceError, match="it has no checkpoint"):
        verify_log(store, SIGNER.verifier)


def test_an_entry_read_alone_is_proven_or_refused(store: MemoryLog) -> None:
    checkpoint = read_checkpoint(store, SIGNER.verifier)
    bundle(store, [b"forged", *ENTRIES[257:512]])
    with pytest.raises(VerificationError, match="inclusion proof: got root"):
        read_entry(store, checkpoint, 256)
    with pytest.raises(MissingEvidenceError, match="entry 600 is not in a log of 600 entries"):
        read_entry(store, checkpoint, 600)


def test_the_command_reads_directories_and_urls(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path) as stack:
        for number in range(3):
            stack.log.log.append([b'{"number":%d}' % number])
        root = tmp_path / "trusted_root.json"
        root.write_bytes(stack.material.trusted_root(stack.endpoints).to_json())
        old = tmp_path / "old.note"
        for place in (str(tmp_path / "log"), stack.endpoints.log, f"{stack.endpoints.log}/api/v2"):
            shared = ["--log", place, "--trusted-root", str(root)]
            assert run(["log", "info", "-o", "note", *shared]) == 0
            old.write_text(capfd.readouterr().out)
            stack.log.log.append([place.encode()])
            assert run(["log", "verify", "--old", str(old), *shared]) == 0
            assert "still its first" in capfd.readouterr().out
            assert run(["log", "entry", "1", *shared]) == 0
            assert json.loads(capfd.readouterr().out) == {"number": 1}
        assert run(["--offline", "log", "info", "--log", stack.endpoints.log, "--trusted-root", str(root)]) == 6
        assert run(["log", "info", "-o", "json", "--log", str(tmp_path / "ctlog"), "--trusted-root", str(root)]) == 0
        assert json.loads(capfd.readouterr().out)["origin"] == "127.0.0.1/ct"
    old.write_bytes(stack.material.log_signer(stack.endpoints).sign(9, bytes(32)))
    assert run(["log", "verify", "--log", str(tmp_path / "log"), "--trusted-root", str(root), "--old", str(old)]) == 4
    assert "shrunken: it had 9 entries and now has 6" in capfd.readouterr().err
    assert run(["log", "verify", "--log", str(tmp_path / "nowhere"), "--trusted-root", str(root)]) == 4
    assert "no log is here" in capfd.readouterr().err


def test_the_services_come_back_with_the_same_keys_and_entries(tmp_path: Path) -> None:
    clock = SettableClock()
    stack = build(tmp_path, clock=clock)
    root = stack.material.trusted_root(stack.endpoints)
    stack.log.log.append([b"kept"])
    stack.close()
    again = build(tmp_path, clock=clock)
    assert again.material.trusted_root(again.endpoints) == root
    assert again.log.log.find(b"kept") == 0
    again.close()
