"""Whether a policy and its translation do the same: objects that they change, make and delete are compared.

Both are asked about generated requests. Where one asks what lies in the cluster, both get the same made-up cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from custody.errors import CustodyError, UnsupportedError
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.equivalent.asking import NOW, answered
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.migrate.clusters import Cluster
from custody.policy.migrate.equivalence import Difference
from custody.policy.migrate.outcome import Migrated, shown
from custody.policy.model import Change, Context, Decision, Outcome, Request
from custody.policy.phases import Course

_LABELS = ("generate.kyverno.io/", "app.kubernetes.io/managed-by")
Effect = tuple[str, Any]
"""What becomes of a request in a word, and what it does."""


class Effects:
    """A rule beside the policies that it became, and what was tried of them."""

    def __init__(self, before: Sequence[Any], after: Sequence[Any], kinds: Kinds, course: Course,
                 cluster: Cluster) -> None:
        """Raises MalformedError, UnsupportedError for what does not load."""
        self._before, self._after = PolicySet(before, kinds=kinds), PolicySet(after, kinds=kinds)
        self._course, self._cluster = course, cluster
        self.asked = self.done = self.untouched = 0
        """Requests; those because of which something was done; and those because of which nothing was."""

    def difference(self, request: Request) -> Difference | None:
        self._cluster.turn()
        said, says = (self._effect(request, policies) for policies in (self._before, self._after))
        self.asked += 1
        self.done += said[0].startswith("done")
        self.untouched += said[0] == "nothing"
        if said[0] == says[0] and jsonpatch.equal(said[1], says[1]):
            return None
        return Difference(request, said[0], says[0], (_text(said[1]), _text(says[1])))

    def checked(self, requests: Iterable[Request]) -> Difference | None:
        """The first counter-example."""
        for request in requests:
            try:
                difference = self.difference(request)
            except CustodyError:
                continue  # a request that nobody can judge
            if difference is not None:
                return difference
        return None

    def _effect(self, request: Request, policies: PolicySet) -> Effect:
        decision = answered(lambda answers: decide(
            request, {}, policies, Context(now=NOW), at=self._course, answers=answers), self._cluster.answer)
        if self._course is Course.MUTATING:
            return _mutated(decision, request)
        return _changed(decision)


def _failed(decision: Decision) -> str:
    return next((result.message for result in decision.results if result.outcome is Outcome.ERROR), "")


def _mutated(decision: Decision, request: Request) -> Effect:
    if not decision.allowed:
        return "denied", None
    document = jsonpatch.apply(request.object, decision.patch) if decision.patch else request.object
    return ("done", document) if decision.patch else ("an error" if _failed(decision) else "nothing", None)


def _changed(decision: Decision) -> Effect:
    failed = _failed(decision)
    made = sorted((_change(change) for change in decision.changes), key=lambda part: json.dumps(part, sort_keys=True))
    if not made:
        return ("an error" if failed else "nothing"), None
    return ("done and an error" if failed else "done"), made


def _change(change: Change) -> dict[str, Any]:
    """Of an object that is made: without the labels by which Kyverno finds again what it made."""
    document = change.object
    if change.verb == "delete":
        metadata = document.get("metadata") or {}
        return {"verb": "delete", "kind": document.get("kind"), "namespace": metadata.get("namespace"),
                "name": metadata.get("name"), "propagation": change.propagation}
    made: dict[str, Any] = {"verb": "patch" if change.verb == "patch" else "apply"}
    if change.verb != "patch":
        metadata = {key: value for key, value in document["metadata"].items() if key != "labels"}
        labels = {key: value for key, value in (document["metadata"].get("labels") or {}).items()
                  if not key.startswith(_LABELS)}
        document = {**document, "metadata": {**metadata, **({"labels": labels} if labels else {})}}
        made |= {"synchronize": change.synchronize, "orphan": change.orphan, "source": change.source,
                 "server_side": change.server_side}
    return {**made, "object": document}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def unequal(at: str, difference: Difference) -> CustodyError:
    """What is said of a counter-example."""
    if difference.said == difference.says:
        return UnsupportedError(
            at, f"the policy and its translation do different things to {shown(difference.request)}")
    return UnsupportedError(at, f"the policy does: {difference.said}, its translation: {difference.says}, for "
                                f"{shown(difference.request)}")


def outcome(policy: str, name: str, path: str, documents: Sequence[dict[str, Any]], effects: Effects,
            difference: Difference | None, doing: str) -> Migrated:
    """Of a translation that was tried; `doing`: what is said of requests because of which something was done."""
    error = None
    if difference is not None:
        error = unequal(path, difference)
    elif not effects.done:
        error = UnsupportedError(path, f"of {effects.asked} requests there is none because of which it does anything, "
                                 "so nothing is known of its translation", hint="give objects with --resource")
    return Migrated(policy, name, documents, error, difference, effects.asked, effects.asked, effects.done, doing)
