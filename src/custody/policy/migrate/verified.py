"""A rule with `verifyImages` and the ImageValidatingPolicies that it becomes: equal verdicts on made-up evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from custody.errors import CustodyError, UnsupportedError
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.equivalent.asking import NOW, message, stance
from custody.policy.kinds import Kinds
from custody.policy.kyverno.autogen import Generated
from custody.policy.load import PolicySet
from custody.policy.migrate import verifying
from custody.policy.migrate.clusters import Cluster
from custody.policy.migrate.equivalence import Difference, requests
from custody.policy.migrate.matching import matched
from custody.policy.migrate.outcome import Migrated, alone, behind, name_of, shown
from custody.policy.migrate.shaping import shaped
from custody.policy.migrate.signatures import DIGEST, Signatures
from custody.policy.model import Context, Request
from custody.policy.scope import WRITTEN
from custody.ports.lookup import Answer, ImageEvidence, PublicKeyAt, Question

_ROUNDS = 8
Document = dict[str, Any]


def rule(document: Document, at: int, made: Sequence[Generated], kinds: Kinds, given: Sequence[Document],
         count: int) -> Migrated:
    """The policies that say the same, or why there are none."""
    policy, name, path = document["metadata"]["name"], document["spec"]["rules"][at]["name"], f"spec.rules[{at}]"
    try:
        documents = verifying.translated(document, at, kinds, made, name_of(document, at))
        comparison = _Comparison(alone(document, at, made), documents, kinds)
        difference = None
        for times in (1, 4):  # more, where the first ones do not bring it to say yes and to say no
            difference = comparison.checked(comparison.requests(path, kinds, given, count * times))
            if difference is not None or (comparison.fine and comparison.against):
                break
    except CustodyError as error:
        return behind(policy, name, error)
    refused: CustodyError | None = None
    if difference is not None:
        refused = UnsupportedError(path, f"the policy says {difference.said}, its translation {difference.says}, of "
                                   f"{shown(difference.request)}")
    elif not comparison.fine or not comparison.against:
        stance = "against" if comparison.fine else "for"
        refused = UnsupportedError(path, f"of {comparison.asked} requests there is none that it is {stance}, so "
                                   "nothing is known of its translation")
    return Migrated(policy, name, documents, refused, difference, comparison.asked,
                    comparison.fine + comparison.against, comparison.against)


class _Comparison:
    def __init__(self, before: Document, after: Sequence[Document], kinds: Kinds) -> None:
        self._before, self._after = PolicySet([before], kinds=kinds), PolicySet(after, kinds=kinds)
        (self._rule,) = before["spec"]["rules"]
        self._entries: list[Document] = self._rule["verifyImages"]
        keys = {key for policies in (self._before, self._after) for key in policies.public_keys()}
        self._signatures = Signatures(self._entries, sorted(key.decode() for key in keys))
        self._cluster = Cluster(kinds, self._rule)
        self.asked = self.fine = self.against = 0

    def checked(self, requests: Iterator[Request]) -> Difference | None:
        """The first counter-example."""
        for request in requests:
            self._signatures.turn()
            self._cluster.turn()
            try:
                said, says = self._said(request, self._before), self._said(request, self._after)
            except CustodyError:
                continue  # a request that nobody can judge
            self.asked += 1
            self.fine += said[0] == "for"
            self.against += said[0] == "against"
            if (said[0], says[0]) == ("nothing", "for") and said[1:3] == says[1:3]:
                continue  # of images that nobody speaks of an ImageValidatingPolicy says pass
            if said[:2] != says[:2] or not jsonpatch.equal(said[2], says[2]):
                return Difference(request, said[0], says[0], (said[3], says[3]))
        return None

    def _said(self, request: Request, policies: PolicySet) -> tuple[str, bool, Any, str]:
        answers: dict[Question, Answer] = {}
        evidence: dict[str, Any] = {}
        decision = decide(request, evidence, policies, Context(now=NOW), answers=answers)
        for _ in range(_ROUNDS):
            new = [question for question in decision.asks.questions if question not in answers]
            images = [image for image in decision.asks.images if image not in evidence]
            if not new and not images:
                break
            answers |= {question: self._answer(question) for question in new}
            evidence |= dict.fromkeys(images, self._signatures.gathered())
            decision = decide(request, evidence, policies, Context(now=NOW), answers=answers)
        patched = jsonpatch.apply(request.object, decision.patch) if decision.patch and decision.allowed else None
        return stance(decision), decision.allowed, patched, message(decision)

    def _answer(self, question: Question) -> Answer:
        if isinstance(question, (ImageEvidence, PublicKeyAt)) or "/secrets/" in str(question):
            return self._signatures.answer(question)
        return self._cluster.answer(question)

    def requests(self, path: str, kinds: Kinds, given: Sequence[Document], count: int) -> Iterator[Request]:
        """Generated requests in which images are such as the rule speaks of, and others."""
        match = matched(self._rule, path, kinds, WRITTEN, "object")
        names = [*_names(self._entries), "registry.example.com/other/app:1"]
        for turn, request in enumerate(requests(self._rule, match.resources, WRITTEN, kinds, count, given)):
            if not isinstance(request.object, dict):
                continue
            made = msgspec.to_builtins(shaped(request.object))
            _named(made, names, turn)
            for entries in (self._rule.get("imageExtractors") or {}).values():
                for entry in entries:
                    _extracted(made, entry, names[turn % len(names)])
            yield msgspec.structs.replace(request, object=made)


def _names(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for glob in (*(entry.get("imageReferences") or ["*"])[:4], *(entry.get("skipImageReferences") or ())[:4]):
            if glob == "*":
                glob = "ghcr.io/org/app*"
            bare = glob.removesuffix("*").rstrip(":@").replace("*", "z").replace("?", "q")
            bare = f"{bare}app" if bare.endswith("/") else bare
            name = bare if ":" in bare.rpartition("/")[2] else f"{bare}:1"
            yield name
            yield f"{name.partition('@')[0]}@{DIGEST}"


def _named(part: Any, names: Sequence[str], turn: int) -> None:
    """Gives containers images."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ("containers", "initContainers", "ephemeralContainers") and isinstance(value, list):
                for at, container in enumerate(value):
                    if isinstance(container, dict):
                        container["image"] = names[(turn * 7 + at * 3 + turn // 5) % len(names)]
            else:
                _named(value, names, turn)


def _extracted(document: Document, entry: Document, image: str) -> None:
    steps = [*entry["path"].strip("/").split("/"), *([entry["value"]] if entry.get("value") else [])]
    holder: Any = document
    for step, following in zip(steps, [*steps[1:], ""], strict=True):
        if step == "*":
            continue
        if not isinstance(holder, dict):
            return
        if not following:
            holder[step] = image
        elif following == "*":
            holder[step] = [{**({entry["key"]: "first"} if entry.get("key") else {})}]
            holder = holder[step][0]
        else:
            holder[step] = holder = holder[step] if isinstance(holder.get(step), dict) else {}
