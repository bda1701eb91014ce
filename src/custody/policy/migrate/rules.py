"""A kyverno.io policy, rule by rule, as policies of policies.kyverno.io, and what stands in the way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.kinds import Kinds
from custody.policy.kyverno import autogen
from custody.policy.migrate import validating
from custody.policy.migrate.equivalence import Comparison, Difference, Proof, checked, requests
from custody.policy.migrate.matching import matched
from custody.policy.resources import OPERATIONS

SAMPLES = 300
"""Generated objects of each kind."""


class Form(NamedTuple):
    """How a rule of one form is translated, and how its translation is tried."""

    translate: Callable[[dict[str, Any], int, Kinds, Sequence[autogen.Generated], str], list[dict[str, Any]]]
    """`(document, at, kinds, made, name)`: the policies that the rule becomes, by this name; `made` are the rules that
    Kyverno makes of it. Raises UnsupportedError."""
    prove: Callable[[dict[str, Any], int, list[dict[str, Any]], Kinds, Sequence[dict[str, Any]], int], Proof]
    """`(alone, at, documents, kinds, given, count)`: `alone` is the policy with nothing but this rule, which stood at
    `at`."""


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


def migrate(document: dict[str, Any], kinds: Kinds, given: Sequence[dict[str, Any]] = (),
            count: int = SAMPLES) -> list[Migrated]:
    """Each rule of a ClusterPolicy or Policy. Raises MalformedError, UnsupportedError for what is none that loads."""
    group, kind = str(document.get("apiVersion", "")).partition("/")[0], str(document.get("kind"))
    if group == "kyverno.io" and kind in WHOLE:
        return WHOLE[kind](document, kinds, given, count)
    if group != "kyverno.io" or kind not in ("ClusterPolicy", "Policy"):
        name = f"{document.get('apiVersion')} {document.get('kind')}"
        raise UnsupportedError("kind", f"{name} is not migrated by custody yet",
                               hint="kyverno.io ClusterPolicy and Policy are")
    Comparison([document], [], kinds)
    rules = document["spec"]["rules"]
    made = autogen.generated(document)
    return [_rule(document, at, made, kinds, given, count) for at in range(len(rules))]


def _rule(document: dict[str, Any], at: int, made: Sequence[autogen.Generated], kinds: Kinds,
          given: Sequence[dict[str, Any]], count: int) -> Migrated:
    rule, policy = document["spec"]["rules"][at], document["metadata"]["name"]
    form = next((form for form in ("validate", "mutate", "generate", "verifyImages") if rule.get(form)), "")
    try:
        if form not in FORMS:
            raise UnsupportedError(f"spec.rules[{at}].{form}", "not migrated by custody yet")
        name = policy if len(document["spec"]["rules"]) == 1 else f"{policy}-{rule['name']}"
        if len(name) > 253:
            raise MalformedError(f"spec.rules[{at}].name", got=name, expected="a name of at most 253 letters")
        documents = FORMS[form].translate(document, at, kinds, made, name)
        proof = FORMS[form].prove(_alone(document, at, made), at, documents, kinds, given, count)
    except CustodyError as error:
        return Migrated(policy, rule["name"], [], error, None, 0, 0, 0)
    refused = _unequal(at, proof.difference) if proof.difference is not None else _unproven(at, proof)
    return Migrated(policy, rule["name"], documents, refused, *proof)


def _validated(alone: dict[str, Any], at: int, documents: list[dict[str, Any]], kinds: Kinds,
               given: Sequence[dict[str, Any]], count: int) -> Proof:
    comparison = Comparison([alone], documents, kinds)
    (rule,) = alone["spec"]["rules"]
    match = matched(rule, f"spec.rules[{at}]", kinds, OPERATIONS, "object")
    difference = None
    for times in (1, 8):  # more, where the first ones do not bring it to say yes and to say no
        difference = checked(comparison, requests(rule, match.resources, OPERATIONS, kinds, count * times, given))
        if difference is not None or 0 < comparison.denied < comparison.judged:
            break
    return Proof(difference, comparison.asked, comparison.judged, comparison.denied)


def _unequal(at: int, difference: Difference) -> CustodyError:
    return UnsupportedError(f"spec.rules[{at}]", f"the policy says {difference.said}, its translation "
                            f"{difference.says}, of {shown(difference)}")


def _unproven(at: int, proof: Proof) -> CustodyError | None:
    """Where no request brought the rule to say yes, or none to say no."""
    if 0 < proof.denied < proof.judged:
        return None
    stance = "for" if proof.denied else "against"
    return UnsupportedError(f"spec.rules[{at}]", f"of {proof.asked} requests there is none that it is {stance}, "
                            "so nothing is known of its translation", hint="give objects with --resource")


def _alone(document: dict[str, Any], at: int, made: Sequence[autogen.Generated]) -> dict[str, Any]:
    """The policy with one rule, and the rules that Kyverno makes of that one."""
    alone = copy.deepcopy(document)
    alone["spec"]["rules"] = [alone["spec"]["rules"][at]]
    if not any(generated.at == at for generated in made):
        alone["metadata"].setdefault("annotations", {})
        alone["metadata"]["annotations"] = {**(alone["metadata"]["annotations"] or {}), autogen.ANNOTATION: "none"}
    return alone


def shown(difference: Difference) -> str:
    """The request of a counter-example, in one line."""
    request = difference.request
    document = request.object if request.object is not None else request.old_object
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"{request.operation} {request.kind.kind} {text}"


FORMS: Mapping[str, Form] = {"validate": Form(validating.migrated, _validated)}
"""By the field of a rule that says what it does."""
WHOLE: Mapping[str, Callable[[dict[str, Any], Kinds, Sequence[dict[str, Any]], int], list[Migrated]]] = {}
"""Kinds of kyverno.io whose documents have no rules."""


__all__ = ["Migrated", "migrate", "shown"]
