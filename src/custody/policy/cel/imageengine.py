"""ImageValidatingPolicies as an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.policy.cel.imagevalidating import ImageRule, compile_policy
from custody.policy.cel.lint import findings
from custody.policy.engine import Finding, Unit
from custody.policy.kinds import Kinds
from custody.policy.rule import Policy, copied


class ImageValidating:
    """One document is one policy; what one verified of an image counts for all."""

    evaluates = "policies.kyverno.io/v1 ImageValidatingPolicy and NamespacedImageValidatingPolicy"

    def compile(self, document: dict[str, Any]) -> Policy:
        return compile_policy(document)

    def again(self, compiled: Policy) -> Policy:
        return copied(compiled)

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        rules = [rule for unit in units for rule in unit.compiled.rules if isinstance(rule, ImageRule)]
        for unit in units:
            policy: Policy = unit.compiled
            policy.parts = (unit.at,)
            for rule in policy.rules:
                if isinstance(rule, ImageRule):
                    rule.beside = rules
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from findings(units[-1].document)
