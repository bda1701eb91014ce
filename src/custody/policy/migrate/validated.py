"""A rule with `validate`: its translation, tried on requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custody.errors import CustodyError
from custody.policy.kinds import Kinds
from custody.policy.kyverno.autogen import Generated
from custody.policy.migrate import outcome
from custody.policy.migrate.equivalence import Comparison, Proof, checked, requests
from custody.policy.migrate.matching import matched
from custody.policy.migrate.validating import migrated
from custody.policy.resources import OPERATIONS


def rule(document: dict[str, Any], at: int, made: Sequence[Generated], kinds: Kinds,
         given: Sequence[dict[str, Any]], count: int) -> outcome.Migrated:
    """One rule as a ValidatingPolicy."""
    written, policy = document["spec"]["rules"][at], document["metadata"]["name"]
    try:
        documents = migrated(document, at, kinds, made, outcome.name_of(document, at))
        proof = _proof(outcome.alone(document, at, made), at, documents, kinds, given, count)
    except CustodyError as error:
        return outcome.behind(policy, written["name"], error)
    return outcome.outcome(policy, written["name"], at, documents, proof, always=_always(written["validate"]))


def _always(validate: dict[str, Any]) -> bool:
    """Whether it denies whatever it is asked about."""
    if "deny" in validate:
        return not (validate["deny"] or {}).get("conditions")
    return "cel" in validate and all(entry.get("expression") == "false" for entry in validate["cel"]["expressions"])


def _proof(alone: dict[str, Any], at: int, documents: list[dict[str, Any]], kinds: Kinds,
           given: Sequence[dict[str, Any]], count: int) -> Proof:
    (written,) = alone["spec"]["rules"]
    comparison = Comparison([alone], documents, kinds, written)
    match = matched(written, f"spec.rules[{at}]", kinds, OPERATIONS, "object")
    difference = None
    for times in (1, 8):  # more, where the first ones do not bring it to say yes and to say no
        difference = checked(comparison, requests(written, match.resources, OPERATIONS, kinds, count * times, given))
        if difference is not None or 0 < comparison.denied < comparison.judged:
            break
    return Proof(difference, comparison.asked, comparison.judged, comparison.denied)
