"""Which statement of a signer speaks."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

from custody.evidence.model import KeylessSigner, KeySigner, Signer, Verified
from custody.evidence.newest import newest

ANN = KeylessSigner(subject="ann@example.com", issuer="https://one.example")
KEY = KeySigner(fingerprint="sha256:aa")


def statement(name: str, day: int | None, signer: Signer = ANN, kind: str = "https://example.com/scan",
              signature: str = "") -> Verified:
    return Verified(subject="sha256:s", evidence=name, source=name, kind="attestation", predicate_type=kind,
                    predicate={}, signer=signer, log=None, signature=signature,
                    signed_at=None if day is None else datetime(2026, 11, day, tzinfo=UTC))


def names(statements: list[Verified]) -> set[str]:
    return {found.evidence for found in statements}


def test_the_newest_speaks_in_any_order() -> None:
    statements = [statement("old", 1), statement("new", 3), statement("older", 2)]
    for order in permutations(statements):
        speaking, superseded = newest(order)
        assert names(speaking) == {"new"}
        assert names(superseded) == {"old", "older"}


def test_others_are_not_superseded() -> None:
    other_issuer = KeylessSigner(subject=ANN.subject, issuer="https://two.example")
    claims = KeylessSigner(subject=ANN.subject, issuer=ANN.issuer, claims={"sourceRepositoryRef": "refs/heads/x"})
    found = newest([statement("new", 9), statement("issuer", 1, other_issuer), statement("type", 1, kind="https://x"),
                    statement("key", 1, KEY), statement("same person", 1, claims)])
    assert names(found.speaking) == {"new", "issuer", "type", "key"}
    assert names(found.superseded) == {"same person"}


def test_without_an_attested_time_nothing_is_superseded() -> None:
    found = newest([statement("undated", None, KEY), statement("old", 1, KEY), statement("new", 2, KEY)])
    assert names(found.speaking) == {"undated", "new"}
    assert names(newest([statement("a", None), statement("b", None)]).speaking) == {"a", "b"}


def test_the_same_moment_speaks_twice_and_order_is_kept() -> None:
    found = newest([statement("b", 2), statement("x", 1), statement("a", 2)])
    assert [one.evidence for one in found.speaking] == ["b", "a"]
    assert newest([]) == ([], [])


def test_a_copy_is_as_old_as_the_oldest() -> None:
    """Whoever may push can have an old signature attested anew, or leave out what attests its time."""
    good, bad = statement("good", 1, KEY, signature="g"), statement("bad", 2, KEY, signature="b")
    later, undated = statement("later", 3, KEY, signature="g"), statement("undated", None, KEY, signature="g")
    for order in permutations([good, bad, later, undated]):
        assert names(newest(order).speaking) == {"bad"}
    other = statement("other", 3, ANN, signature="g")
    assert names(newest([good, bad, other]).speaking) == {"bad", "other"}
