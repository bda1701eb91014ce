"""What is known of the generated images and namespaces: evidence, and the labels that a cluster would tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from custody.evidence.model import EvidenceSet, Rejected, State, Verified
from custody.formats import reference
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Absent, Answer, Answered, Failed, Lookup, NamespaceLabels, Question
from tests.policy.test_images import SIGN, VULN, statement

DIGESTS = {letter: "sha256:" + letter * 64 for letter in "abcde"}
_TAGS = {"1": "a", "2": "b", "3": "c", "4": "d", "5": "e"}
NAMESPACES: dict[str, Answer] = {
    "default": Answered({"team": "blue"}), "shop": Answered({"pod-security.kubernetes.io/enforce": "restricted"}),
    "lab": Answered({"pod-security.kubernetes.io/enforce": "privileged", "pod-security.kubernetes.io/warn": "none"}),
    "old": Answered({"pod-security.kubernetes.io/enforce": "baseline",
                     "pod-security.kubernetes.io/enforce-version": "v1.24"}),
    "gone": Absent(), "far": Failed("the cluster does not answer"), "exempt": Answered({})}


def _statements(letter: str) -> EvidenceSet:
    """a: signed and attested by the right one. b: by another. c: by nobody. d: with a key. e: nobody can say."""
    verified: dict[str, tuple[Verified, ...]] = {
        "a": (statement(SIGN), statement(VULN, {"ok": True})), "b": (statement(SIGN, subject="https://other"),),
        "d": (statement(SIGN, key=True), statement(VULN, {"ok": False}))}
    rejected = {"c": (Rejected(subject=DIGESTS["c"], evidence=None, source="tag", state=State.FAILED,
                               reason="its signature is not valid"),),
                "e": (Rejected(subject=DIGESTS["e"], evidence=None, source="referrers", state=State.UNVERIFIABLE,
                               reason="the registry answered 503"),)}
    return EvidenceSet(subject=DIGESTS[letter], verified=verified.get(letter, ()), rejected=rejected.get(letter, ()))


_KNOWN = {letter: _statements(letter) for letter in DIGESTS}
_MISSING = EvidenceSet(subject="", rejected=(Rejected(subject="", evidence=None, source="registry",
                                                      state=State.MISSING, reason="no such tag"),))


@lru_cache(4096)
def evidence(image: str) -> EvidenceSet | None:
    """As a registry has it: what a tag means, no tag `latest`; None for `nothing`, of which nobody says anything."""
    named = reference.parse(image)
    if named.tag == "nothing" and not named.digest:
        return None
    letter = named.digest[7] if named.digest else _TAGS.get(named.tag or "")
    return _MISSING if letter is None else _KNOWN.get(letter, _MISSING)


class Registry:
    """The Gatherer of `check`, and of the webhook."""

    async def gather(self, images: Iterable[str], keys: Iterable[bytes] = (), **_: Any) -> dict[str, EvidenceSet]:
        return {image: about for image in images if (about := evidence(image)) is not None}

    async def for_webhook(self, snapshot: Snapshot, images: list[str]) -> Mapping[str, EvidenceSet]:
        return await self.gather(dict.fromkeys(images, snapshot.predicate_types), snapshot.keys)


class Cluster(Lookup):
    """The Lookup."""

    async def answer(self, question: Question) -> Answer:
        if isinstance(question, NamespaceLabels):
            return NAMESPACES.get(question.namespace, Absent())
        return Failed("there is nobody to ask")
