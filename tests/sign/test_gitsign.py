"""gitsign's signatures of git objects: what verifies, and one reason for each thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from custody.errors import Check, CustodyError, VerificationError
from custody.evidence.model import KeylessSigner, Verified
from custody.formats import cms
from custody.sign.gitsign import verify_object
from custody.sign.verify import Trust
from custody.trust.roots import TrustedRoot, Validity
from tests.sign import gitsigning as made
from tests.sign.authority import NOW, Usage, World, new_key
from tests.sign.gitsigning import Gitsign, armored, attribute, der, later, oid
from tests.sign.notary.materials import key_of

WORLD = World()
COMMIT = (b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor Ann <ann@example.com> 1780315200 +0000\n"
          b"committer Ann <ann@example.com> 1780315200 +0000\n\nA shop\n")
TAG = (b"object 1111111111111111111111111111111111111111\ntype commit\ntag v1\n"
       b"tagger Ann <ann@example.com> 1780315200 +0000\n\nfirst\n")
RSA_SHA256 = "1.2.840.113549.1.1.11"
GOOD = Gitsign(WORLD)
GOOD_DER = GOOD.der(COMMIT)


def verify(armor: str, payload: bytes = COMMIT, root: TrustedRoot | None = None, **trust: bool) -> Verified:
    return verify_object(payload, armor, Trust(root or WORLD.trusted_root(), **trust), later(24 * 60))


def refused(armor: str, words: str, check: Check | None = None, payload: bytes = COMMIT,
            root: TrustedRoot | None = None) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(armor, payload, root)
    assert words in caught.value.message
    if check is not None:
        assert caught.value.check is check


@pytest.mark.parametrize("payload", [COMMIT, TAG])
def test_a_commit_and_a_tag(payload: bytes) -> None:
    verified = verify(GOOD.sign(payload), payload)
    assert isinstance(verified.signer, KeylessSigner)
    assert (verified.signer.subject, verified.signer.issuer) == (made.IDENTITY, made.ISSUER)
    assert verified.signed_at == NOW
    assert verified.log is not None
    assert (verified.log.index, verified.format) == (1, "gitsign")
    assert verify(replace(GOOD, body=True).sign(payload), payload).log == verified.log


def test_a_timestamp_beside_the_entry() -> None:
    refused(replace(GOOD, stamped_at=later(30)).sign(COMMIT), "not valid at", Check.CERTIFICATE)
    refused(replace(GOOD, stamped_at=NOW, stamp_of=b"another").sign(COMMIT), "timestamp", Check.TIME)
    refused(replace(GOOD, more_unsigned=(attribute(made.TIMESTAMP, der(0x30)),)).sign(COMMIT), "timestamp", Check.TIME)
    assert verify(replace(GOOD, stamped_at=NOW).sign(COMMIT)).signed_at == NOW


def _with_proof(**changes: str) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry["inclusionProof"].update(changes)


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.pop(name)


def _foreign(entry: dict[str, Any]) -> None:
    entry["logId"]["keyId"] = made.base64.b64encode(b"\7" * 32).decode()


@pytest.mark.parametrize(("change", "words", "check"), [
    ({"with_entry": False}, "log entry: there is none in the signature; with rekorMode online", Check.LOGGED),
    ({"edit": _foreign}, "is not in the trusted root", Check.LOG),
    ({"edit": _without("inclusionProof")}, "has no inclusion proof", Check.LOG),
    ({"edit": _without("inclusionPromise")}, "nothing attests when the signature was made", Check.TIME),
    ({"edit": _with_proof(rootHash="AAAA")}, "and the checkpoint is of 3 with root", Check.LOG),
    ({"edit": _with_proof(logIndex="0")}, "inclusion", Check.LOG),
    ({"edit": lambda entry: entry["inclusionProof"].update(hashes=["AAAA"] * 65)},
     "log entry: a proof of 65 hashes, expected at most 64", Check.FORMAT),
    ({"edit": lambda entry: entry["inclusionProof"].update(hashes=["AAAA"] * 64)}, "inclusion", Check.LOG),
    ({"algorithm": RSA_SHA256}, "signature: it says rsa, and the certificate's key is ECDSA", Check.SIGNATURE),
    ({"certificate": WORLD.leaf(key_of("RSA-2048"), identity=made.IDENTITY, issuer=made.ISSUER)},
     "signature: it says ecdsa, and the certificate's key is RSA", Check.SIGNATURE),
    ({"edit": lambda entry: entry.update(integratedTime="1")}, "signed entry timestamp: not signed", Check.LOG),
    ({"entry_of": b"another commit"}, "signed entry timestamp: not signed by the log's key", Check.LOG),
    ({"entry_of": b"another commit", "body": True}, "its digest is not the one of this signature", Check.LOG),
    ({"kind_version": "0.0.9"}, "hashedrekord 0.0.9 without a body", Check.FORMAT),
    ({"log_at": later(11)}, "certificate: not valid at", Check.CERTIFICATE),
    ({"log_at": later(-2)}, "certificate: not valid at", Check.CERTIFICATE),
    ({"signing_time": later(60)}, "time: the signer says", Check.TIME),
    ({"signing_time": later(-60)}, "time: the signer says", Check.TIME),
    ({"leaf": {"sct": "none"}}, "SCT: the certificate has none", Check.SCT),
    ({"leaf": {"sct": "foreign"}}, "SCT: by no CT log", Check.SCT),
    ({"leaf": {"sct": "broken"}}, "SCT", Check.SCT),
    ({"leaf": {"usages": [Usage.TIME_STAMPING]}}, "extended key usage is not codeSigning", Check.CERTIFICATE),
    ({"leaf": {"signed_by": (WORLD.tsa_root, WORLD.tsa_root_key)}}, "no trusted authority issued it",
     Check.CERTIFICATE),
    ({"certificate": WORLD.leaf(new_key(), identity=made.IDENTITY, issuer=made.ISSUER)},
     "the signature is not this key's over these bytes", Check.SIGNATURE),
    ({"signers": 2}, "more than one; each would have to be somebody who is expected", Check.FORMAT),
    ({"signers": 0}, "signers: got 'none'", Check.FORMAT),
    ({"content": der(0xa0, der(4, COMMIT))}, "got 'content in the signature'", Check.FORMAT),
    ({"content_type": made.SIGNED_DATA}, "as the content is", Check.FORMAT),
    ({"more_signed": (attribute("1.2.3.4", der(5)),)}, "signed attribute: 1.2.3.4 is not evaluated", Check.FORMAT),
    ({"more_signed": (attribute(made.MESSAGE_DIGEST, der(4, bytes(32))),)}, "got 'it twice'", Check.FORMAT),
    ({"more_unsigned": (attribute("1.2.3.4", der(5)),)}, "the attribute 1.2.3.4 is not evaluated", Check.FORMAT),
    ({"more_unsigned": (attribute(made.LOG_ENTRY, der(4)),)}, "got 'it twice'", Check.FORMAT),
    ({"more_unsigned": (attribute("1.2.3.4", der(5), der(5)),)}, "got 'several values'", Check.FORMAT),
    ({"ordered": False, "more_signed": (attribute(made.CONTENT_TYPE, oid(made.DATA)),)}, "another order or one twice",
     Check.FORMAT),
])
def test_what_is_wrong_is_named(change: dict[str, Any], words: str, check: Check) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(replace(GOOD, **change).sign(COMMIT))
    assert words in caught.value.message
    assert caught.value.check is check


def test_of_another_object() -> None:
    refused(GOOD.sign(COMMIT), "it is of an object with sha256", Check.SUBJECT, COMMIT.replace(b"A shop", b"A shot"))
    refused(GOOD.sign(TAG), "it is of an object with sha256", Check.SUBJECT, TAG.replace(b"1111", b"2222", 1))


def test_bytes_behind_it() -> None:
    refused(armored(GOOD_DER + b"\0"), "got '1 more bytes', expected nothing more", Check.FORMAT)
    refused(armored(GOOD_DER) + "more\n", "one PEM block of type SIGNED MESSAGE, and nothing else", Check.FORMAT)
    refused(armored(GOOD_DER) * 2, "one PEM block of type SIGNED MESSAGE, and nothing else", Check.FORMAT)
    refused(armored(GOOD_DER).replace("SIGNED MESSAGE", "PKCS7"), "one PEM block of type SIGNED MESSAGE", Check.FORMAT)


def test_lengths_that_are_no_der() -> None:
    long = b"\x30\x84" + (len(GOOD_DER) - 4).to_bytes(4, "big") + GOOD_DER[4:]
    refused(armored(long), "a definite length in its shortest form", Check.FORMAT)
    refused(armored(b"\x30\x80" + GOOD_DER[4:] + b"\0\0"), "a definite length in its shortest form", Check.FORMAT)


def test_roots_that_end() -> None:
    ended = Validity(NOW - 30 * made.timedelta(days=1), NOW - made.timedelta(days=1))
    armor = armored(GOOD_DER)
    refused(armor, "is trusted from", Check.CERTIFICATE, root=WORLD.trusted_root(ca=ended))
    refused(armor, "is trusted from", Check.LOG, root=WORLD.trusted_root(log1=ended))
    refused(armor, "is trusted", Check.SCT, root=WORLD.trusted_root(ct=ended))
    refused(armor, "is not in the trusted root", Check.LOG, root=World().trusted_root())
    refused(armored(Gitsign(World()).der(COMMIT)), "is not in the trusted root", Check.LOG)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(GOOD_DER) - 1), st.integers(0, 255))
def test_no_mutated_signature_counts_or_crashes(at: int, value: int) -> None:
    mutated = GOOD_DER[:at] + bytes([value]) + GOOD_DER[at + 1:]
    # The name before a checkpoint's signature is no part of what is signed: the key's ID beside it says whose it is.
    assume(mutated != GOOD_DER and not 0 <= at - GOOD_DER.rindex(b"log1.example") < len("log1.example"))
    with pytest.raises(VerificationError):
        verify(armored(mutated))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CustodyError):
        cms.parse(data, "test")
    with pytest.raises(VerificationError):
        verify(armored(data))
