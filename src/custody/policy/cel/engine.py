"""ValidatingPolicies as an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.policy.cel.lint import findings
from custody.policy.cel.validating import compile_policy
from custody.policy.engine import Documents, Finding, Unit
from custody.policy.kinds import Kinds
from custody.policy.rule import Policy


class Validating(Documents):
    """One document is one policy. Exceptions are another engine's, and are linked into all of them."""

    evaluates = "policies.kyverno.io/v1 ValidatingPolicy and NamespacedValidatingPolicy"

    def compile(self, document: dict[str, Any]) -> Policy:
        return compile_policy(document)

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from findings(units[-1].document)
