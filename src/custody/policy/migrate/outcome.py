"""What becomes of one rule: its translation and what was tried of it, or why it stays behind."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.kyverno import autogen
from custody.policy.migrate.equivalence import Difference, Proof
from custody.policy.model import Request

_SHARED = "ValidatingAdmissionPolicy"


class Migrated(NamedTuple):
    """One rule: its translation, or why there is none."""

    policy: str
    rule: str
    documents: Sequence[dict[str, Any]]
    refused: CustodyError | None
    difference: Difference | None
    asked: int
    """Requests of which both said the same."""
    judged: int
    denied: int
    counted: str = "against"
    """What is said of those that `denied` counts."""
    untried: Sequence[str] = ()
    """Kinds and subresources that both may speak of, and about which nothing was asked."""


class Names:
    """What policies that are made are called: in a cluster the second of one kind and name replaces the first."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str, str], tuple[str, dict[str, Any]]] = {}
        """By kind, namespace and name: what became of it, and as which document."""

    def unlike(self, rule: Migrated) -> Migrated:
        """The rule, refused where another one has become a policy of the same kind and name, and is another policy.

        Without the ValidatingAdmissionPolicy that it shares with one before it, as constraints of a template do.
        """
        if rule.refused is not None:
            return rule
        places = [(str(document["kind"]), str(document["metadata"].get("namespace") or ""),
                   str(document["metadata"]["name"])) for document in rule.documents]
        new = []
        for place, document in zip(places, rule.documents, strict=True):
            whose, standing = self._taken.get(place, ("", None))
            if standing is None:
                new.append(document)
            elif place[0] != _SHARED or document != standing:
                return rule._replace(documents=[], refused=MalformedError(
                    "metadata.name", got=place[2], expected=f"another name: {whose} becomes this {place[0]}"))
        for place, document in zip(places, rule.documents, strict=True):
            self._taken.setdefault(place, (named(rule), document))
        return rule._replace(documents=new)


def named(rule: Migrated) -> str:
    """For people: the policy, and the rule where it is one of several."""
    return f"{rule.policy}/{rule.rule}" if rule.policy != rule.rule else rule.policy


def outcome(policy: str, rule: str, at: int, documents: Sequence[dict[str, Any]], proof: Proof, *,
            always: bool = False) -> Migrated:
    """Of a translation that was tried. It is refused where both said different things, or too little is known.

    With `always`, the rule denies everything that it is asked about, and needs nothing that it is for.
    """
    refused = _unequal(at, proof.difference) if proof.difference is not None else (
        None if always and proof.denied > 0 else _unproven(at, proof))
    return Migrated(policy, rule, documents, refused, *proof)


def behind(policy: str, rule: str, error: CustodyError) -> Migrated:
    """Of a rule that has no translation."""
    return Migrated(policy, rule, [], error, None, 0, 0, 0)


def name_of(document: dict[str, Any], at: int) -> str:
    """What the policy is called that a rule becomes. Raises MalformedError."""
    rules, policy = document["spec"]["rules"], document["metadata"]["name"]
    name = str(policy) if len(rules) == 1 else f"{policy}-{rules[at]['name']}"
    if len(name) > 253:
        raise MalformedError(f"spec.rules[{at}].name", got=name, expected="a name of at most 253 letters")
    return name


def alone(document: dict[str, Any], at: int, made: Sequence[autogen.Generated]) -> dict[str, Any]:
    """The policy with one rule, and the rules that Kyverno makes of that one."""
    single = copy.deepcopy(document)
    single["spec"]["rules"] = [single["spec"]["rules"][at]]
    if not any(generated.at == at for generated in made):
        single["metadata"].setdefault("annotations", {})
        single["metadata"]["annotations"] = {**(single["metadata"]["annotations"] or {}), autogen.ANNOTATION: "none"}
    return single


def _unequal(at: int, difference: Difference) -> CustodyError:
    return UnsupportedError(f"spec.rules[{at}]", f"the policy says {difference.said}, its translation "
                            f"{difference.says}, of {shown(difference.request)}")


def _unproven(at: int, proof: Proof) -> CustodyError | None:
    """Where no request brought the rule to say yes, or none to say no."""
    if 0 < proof.denied < proof.judged:
        return None
    stance = "for" if proof.denied else "against"
    return UnsupportedError(f"spec.rules[{at}]", f"of {proof.asked} requests there is none that it is {stance}, "
                            "so nothing is known of its translation", hint="give objects with --resource")


def shown(request: Request) -> str:
    """A counter-example, in one line."""
    document = request.object if request.object is not None else request.old_object
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"{request.operation} {request.kind.kind} {text}"


__all__ = ["Migrated", "Names", "alone", "behind", "name_of", "named", "outcome", "shown"]
