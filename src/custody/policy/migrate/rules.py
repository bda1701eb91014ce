"""A kyverno.io policy, rule by rule, as policies of policies.kyverno.io, and what stands in the way."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from custody.errors import UnsupportedError
from custody.policy.kinds import Kinds
from custody.policy.kyverno import autogen
from custody.policy.load import PolicySet
from custody.policy.migrate.forms import DOCUMENTS, RULES
from custody.policy.migrate.outcome import Migrated, behind, shown
from custody.policy.resources import type_of

SAMPLES = 300
"""Generated objects of each kind."""

_KINDS = ("ClusterPolicy", "Policy", *DOCUMENTS, "PolicyException")


def migrate(document: dict[str, Any], kinds: Kinds, given: Sequence[dict[str, Any]] = (),
            count: int = SAMPLES) -> list[Migrated]:
    """Each rule of a ClusterPolicy or Policy. Raises MalformedError, UnsupportedError for what is none that loads."""
    group, kind = str(document.get("apiVersion", "")).partition("/")[0], str(document.get("kind"))
    if group == "kyverno.io" and kind in DOCUMENTS:
        return DOCUMENTS[kind](document, kinds, given, count)
    if group != "kyverno.io" or kind not in ("ClusterPolicy", "Policy"):
        raise UnsupportedError("kind", f"{type_of(document)} is not migrated by custody",
                               hint=_hint(document, group, kind))
    kinds = kinds.unchecked()
    PolicySet([document], kinds=kinds)
    made = autogen.generated(document)
    rules = []
    for at, rule in enumerate(document["spec"]["rules"]):
        form = next((form for form in ("validate", "mutate", "generate", "verifyImages") if rule.get(form)), "")
        if form in RULES:
            rules.append(RULES[form](document, at, made, kinds, given, count))
        else:
            rules.append(behind(document["metadata"]["name"], rule["name"], UnsupportedError(
                f"spec.rules[{at}].{form}", "not migrated by custody yet")))
    return rules


def _hint(document: dict[str, Any], group: str, kind: str) -> str:
    if group == "policy.sigstore.dev" or (not group and {"application", "validators"} & document.keys()):
        return "`custody policy import` reads it"
    close = difflib.get_close_matches(kind, _KINDS, 1, 0.8) if group == "kyverno.io" else []
    return f"did you mean {close[0]}?" if close else (
        f"{', '.join(_KINDS)} of kyverno.io are, and constraints of Gatekeeper")


__all__ = ["SAMPLES", "Migrated", "migrate", "shown"]
