"""The matrix itself: nothing is left out without a reason, and what is wrong fails.

Some of its pairs are run here, all of them by `python -m tests.interop`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.interop.bench import STRANGER, Bench, Done, custody_up
from tests.interop.clients import CUSTODY, FILE, FORMS, KEY, KEYLESS, PEER_CLIENTS, WAYS, Asked, Client
from tests.interop.matrix import Pair, judge, pairs

WRONG = "expected 'somebody else'"


class Fake(Client):
    """Signs, and accepts what it is told to."""

    refuses: ClassVar[dict[str, str]] = {KEYLESS: WRONG, KEY: WRONG}

    def __init__(self, *, signs: bool = True, everybody: bool = False, everything: bool = False, said: str = WRONG
                 ) -> None:
        self.name = "fake"  # type: ignore[misc]
        self.signs, self.everybody, self.everything, self.said = signs, everybody, everything, said

    def sign(self, asked: Asked) -> Done:
        return Done(0 if self.signs else 1, "no token")

    def lacks(self, form: str, way: str, *, signs: bool) -> str:
        return ""

    def verify(self, asked: Asked) -> Done:
        somebody_else = asked.who == STRANGER or asked.public != "cosign.pub"
        wrong = (somebody_else and not self.everybody) or (asked.file == "other" and not self.everything)
        return Done(1 if wrong else 0, self.said)


class Folder(Bench):
    """One without services."""

    def __init__(self) -> None:
        self.name, self._count = "nothing", 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("client", "verdict", "said"), [
    (Fake(), "ok", "another file: refused"), (Fake(signs=False), "FAILED", "signing: exit code 1, no token"),
    (Fake(everybody=True), "FAILED", "another (identity|key): exit code 0"),
    (Fake(everything=True), "FAILED", "accepted for another file"),
    (Fake(said="no such host"), "FAILED", "another (identity|key): exit code 1, no such host")])
def test_what_is_wrong_fails(client: Client, way: str, verdict: str, said: str) -> None:
    outcome = judge(Pair(client, client, FILE, way), Folder())
    assert outcome.verdict == verdict
    assert re.search(said, outcome.said)


@pytest.mark.parametrize(("own", "verdict"), [(0, "FAILED"), (1, "theirs")])
def test_whose_fault_it_is(monkeypatch: pytest.MonkeyPatch, own: int, verdict: str) -> None:
    """A signature that its own signer refuses, too, is the signer's fault."""
    signer, verifier = Fake(), Fake()
    monkeypatch.setattr(signer, "verify", lambda asked: Done(own, "hashed messages don't match"))
    monkeypatch.setattr(verifier, "verify", lambda asked: Done(4, "timestamp: mismatch"))
    outcome = judge(Pair(signer, verifier, FILE, KEYLESS), Folder())
    assert outcome.verdict == verdict
    assert ("hashed messages" if own else "timestamp: mismatch") in outcome.said


def test_every_pair_is_there_or_says_why_not() -> None:
    listed = list(pairs())
    assert len(listed) == len(PEER_CLIENTS) * len(FORMS) * len(WAYS) * 2
    assert {(pair.signer.name, pair.verifier.name) for pair in listed} == {
        pair for peer in PEER_CLIENTS for pair in ((peer.name, "custody"), ("custody", peer.name))}
    reasons = {pair.without() for pair in listed} - {""}
    assert reasons == {
        "sigstore-python knows no images", "sigstore-python knows no keys",
        "sigstore-js knows no images"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with custody_up(Path(tmp_path_factory.mktemp("bench"))) as made:
        yield made


@pytest.mark.peer
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", PEER_CLIENTS, ids=lambda client: client.name)
def test_files_both_ways(bench: Bench, peer: Client, way: str) -> None:
    for pair in (Pair(peer, CUSTODY, FILE, way), Pair(CUSTODY, peer, FILE, way)):
        outcome = judge(pair, bench)
        if outcome.verdict in ("none", "skipped"):
            pytest.skip(outcome.said)
        assert outcome.verdict == "ok", outcome.said
