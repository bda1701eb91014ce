"""Kyverno's policies as an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.policy.engine import Documents, Unit
from custody.policy.kinds import Kinds
from custody.policy.kyverno.guarded import Found
from custody.policy.kyverno.lint import findings
from custody.policy.kyverno.policy import compile_policy
from custody.policy.rule import Policy


class Kyverno(Documents):
    """One document is one policy: there is nothing yet to link it with."""

    evaluates = "kyverno.io/v1 ClusterPolicy and Policy"

    def compile(self, document: dict[str, Any]) -> Policy:
        return compile_policy(document)

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Found]:
        return findings(units[0].document, policy, kinds)
