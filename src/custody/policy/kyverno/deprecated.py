"""Findings about fields that Kyverno is to drop, each with what it has instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.policy.kyverno.guarded import Found

_SPEC = {
    "validationFailureAction": "failureAction in each rule's validate or verifyImages",
    "validationFailureActionOverrides": "failureActionOverrides in each rule's validate",
    "failurePolicy": "webhookConfiguration.failurePolicy",
    "webhookTimeoutSeconds": "webhookConfiguration.timeoutSeconds",
    "generateExisting": "generateExisting in each rule's generate",
    "generateExistingOnPolicyUpdate": "generateExisting in each rule's generate",
    "mutateExistingOnPolicyUpdate": "mutateExistingOnPolicyUpdate in each rule's mutate",
    "schemaValidation": "nothing: it has no effect",
}
_OPERATORS = {"In": "AnyIn or AllIn", "NotIn": "AnyNotIn or AllNotIn"}
_OUTDATED = re.compile(r"v[0-9]+(alpha|beta)[0-9]+\Z")


def deprecated(document: dict[str, Any]) -> Iterator[Found]:
    """Of one policy that loads, in the order of its fields."""
    version = str(document["apiVersion"]).rpartition("/")[2]
    if _OUTDATED.match(version):
        yield _found("apiVersion", f"{version} is no stable version", "v1 (v2 of PolicyException and CleanupPolicy)")
    spec = document["spec"]
    for name, better in _SPEC.items():
        if name in spec:
            yield _found(f"spec.{name}", f"{name} is deprecated", better)
    for at, rule in enumerate(spec.get("rules") or []):
        where = f"spec.rules[{at}]"
        for block in ("match", "exclude"):
            if "resources" in (rule.get(block) or {}):
                yield _found(f"{where}.{block}.resources", "resources beside any and all is deprecated",
                             f"{block}.any with one filter")
        for path, operator in _operators(rule, where):
            yield _found(path, f"the operator {operator} is deprecated", _OPERATORS[operator])
        for n, entry in enumerate(rule.get("verifyImages") or []):
            for m, attestation in enumerate(entry.get("attestations") or []):
                if "predicateType" in attestation:
                    yield _found(f"{where}.verifyImages[{n}].attestations[{m}].predicateType",
                                 "predicateType is deprecated", "type")


def _operators(part: Any, where: str) -> Iterator[tuple[str, str]]:
    """Conditions with an operator that is deprecated; `matchExpressions` of labels have operators of their own."""
    if isinstance(part, dict):
        if "key" in part and part.get("operator") in _OPERATORS and "value" in part:
            yield f"{where}.operator", part["operator"]
        for name, inner in part.items():
            yield from _operators(inner, f"{where}.{name}")
    elif isinstance(part, list):
        for at, inner in enumerate(part):
            yield from _operators(inner, f"{where}[{at}]")


def _found(path: str, says: str, better: str) -> Found:
    return path, "deprecated", "note", f"{says}; instead: {better}", ""
