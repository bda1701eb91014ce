"""On which terms evidence counts, and that code asks for the check that failed, never for its words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.errors import Check
from custody.evidence.model import Evidence, KeySigner, Rejected, State, Verified
from custody.formats import intoto
from custody.kit.pae import pae
from custody.services.verify import Terms, Unlogged, judge, judge_all
from custody.sign.identity import Identity, not_by_key
from custody.sign.keys import generate_key
from custody.sign.listing import PREDICATE_TYPE
from custody.sign.referrers import Gathered
from custody.sign.verify import Trust
from tests.sign.authority import DAY, IDENTITY, IMAGE, ISSUER, NOW, World, b64, evidence

WORLD = World()
ROOT = WORLD.trusted_root()
KEY = generate_key()


def keyless(log: str = "good", **arguments: Any) -> Evidence:
    """`log`: good, none, or another's."""
    document = WORLD.keyless(**arguments)
    if log != "good":
        document["verificationMaterial"]["tlogEntries"] = [] if log == "none" else WORLD.keyless()[
            "verificationMaterial"]["tlogEntries"]
    return evidence(document)


def by_key(log: str) -> Evidence:
    payload = intoto.statement(IMAGE, intoto.COSIGN_SIGN, {}).to_bytes()
    entries = [] if log == "none" else WORLD.keyless()["verificationMaterial"]["tlogEntries"]
    return evidence({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                     "verificationMaterial": {"publicKey": {"hint": KEY.public.hint}, "tlogEntries": entries},
                     "dsseEnvelope": {"payload": b64(payload), "payloadType": intoto.PAYLOAD_TYPE, "signatures": [
                         {"sig": b64(KEY.sign(pae(intoto.PAYLOAD_TYPE, payload)))}]}})


@pytest.mark.parametrize(("unlogged", "who", "log", "check"), [
    (Unlogged.NOBODY, keyless, "none", Check.LOGGED), (Unlogged.NOBODY, by_key, "none", Check.LOGGED),
    (Unlogged.NOBODY, keyless, "another's", Check.LOG), (Unlogged.NOBODY, by_key, "another's", Check.LOG),
    (Unlogged.KEYS, keyless, "none", Check.LOGGED), (Unlogged.KEYS, by_key, "none", None),
    (Unlogged.KEYS, keyless, "another's", Check.LOG), (Unlogged.KEYS, by_key, "another's", None),
    (Unlogged.ANYBODY, keyless, "none", None), (Unlogged.ANYBODY, by_key, "none", None),
    (Unlogged.ANYBODY, keyless, "another's", Check.LOG), (Unlogged.ANYBODY, by_key, "another's", Check.LOG)])
def test_who_may_be_in_no_log(unlogged: Unlogged, who: Any, log: str, check: Check | None) -> None:
    judged = judge(who(log), Terms(Trust(ROOT, (KEY.public,)), unlogged=unlogged), NOW)
    if isinstance(judged, Verified):
        assert (check, judged.log) == (None, None)
    else:
        assert judged.check is check


def test_a_key_s_signature_counts_without_a_root() -> None:
    terms = Terms(Trust(None, (KEY.public,)), unlogged=Unlogged.KEYS)
    assert isinstance(judge(by_key("another's"), terms, NOW), Verified)


def test_the_first_reason_is_told() -> None:
    """Trying again without a log would say that nothing attests a time; the log does, and the certificate fails."""
    late = keyless(kind="dsse", cert=WORLD.leaf(KEY.key, at=NOW - DAY), key=KEY.key)
    rejected = judge(late, Terms(Trust(ROOT, (KEY.public,)), unlogged=Unlogged.KEYS), NOW)
    assert isinstance(rejected, Rejected)
    assert rejected.check is Check.CERTIFICATE
    assert rejected.reason.startswith("certificate: not valid at 2026-06-01T12:00:00Z")


def test_what_was_expected_and_what_was_not_read() -> None:
    unread = Rejected(subject=IMAGE, evidence=None, source="referrer x", state=State.MISSING, reason="404")
    broken = evidence(b"{}", annotations={PREDICATE_TYPE: "https://example.com/claimed"})
    gathered = Gathered((keyless(), keyless(identity="eve@example.com"), broken, by_key("none")), (unread,))
    judged = judge_all(IMAGE, gathered, Terms(Trust(ROOT), Identity(IDENTITY, issuer=ISSUER).mismatch), NOW)
    assert [verified.signer for verified in judged.verified] == [
        verified.signer for verified in judge_all(IMAGE, Gathered(gathered.evidence[:1], ()), Terms(Trust(ROOT)),
                                                  NOW).verified]
    assert [(rejected.check, rejected.predicate_type) for rejected in judged.rejected] == [
        (Check.IDENTITY, intoto.COSIGN_SIGN), (Check.FORMAT, "https://example.com/claimed"), (Check.KEY, None),
        (None, None)]


def test_a_certificate_is_not_the_key() -> None:
    terms = Terms(Trust(ROOT, (KEY.public,)), not_by_key, Unlogged.ANYBODY)
    rejected = judge(keyless(), terms, NOW)
    assert isinstance(rejected, Rejected)
    assert (rejected.check, rejected.reason) == (Check.IDENTITY, f"signer: got {IDENTITY} ({ISSUER}), expected the key")
    verified = judge(by_key("none"), terms, NOW)
    assert isinstance(verified, Verified)
    assert verified.signer == KeySigner(fingerprint=KEY.public.signer.fingerprint)


FOREIGN = {"archive.py"}  # tarfile tells its errors apart by words only


def _asked_for_words(tree: ast.AST) -> Iterator[int]:
    """Lines that compare or search the text of an exception that they caught."""
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None:
            continue
        texts = (f"{handler.name}.message", f"{handler.name}.args[0]", f"str({handler.name})")
        for node in (node for statement in handler.body for node in ast.walk(statement)):
            if isinstance(node, ast.Compare):
                asked = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                asked = [node.func.value] if node.func.attr in ("startswith", "endswith", "find", "index") else []
            else:
                continue
            if any(ast.unparse(operand) in texts for operand in asked):
                yield node.lineno


def test_no_code_asks_for_an_error_s_words() -> None:
    root = Path(custody.__file__).parent
    found = {f"{path.relative_to(root)}:{line}" for path in sorted(root.rglob("*.py")) if path.name not in FOREIGN
             for line in _asked_for_words(ast.parse(path.read_text()))}
    assert found == set()
