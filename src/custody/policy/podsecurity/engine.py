"""Pod Security as the API server's own admission plugin judges it (k8s.io/pod-security-admission, `admission`).

A PodSecurityConfiguration has the defaults and exemptions; the labels of the namespace say the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.policy.engine import Finding, Unit
from custody.policy.kinds import Kinds
from custody.policy.podsecurity.configuration import EVALUATES, MODES, Configuration, read
from custody.policy.podsecurity.rules import LabelsRule, ModeRule
from custody.policy.rule import Policy


class PodSecurity:
    """One PodSecurityConfiguration is one policy, called pod-security."""

    evaluates = EVALUATES

    def compile(self, document: dict[str, Any]) -> Configuration:
        return read(document)

    def again(self, compiled: Any) -> Any:
        return compiled  # a link makes policies of it, and leaves it as it is

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        for unit in units:
            policy = Policy("pod-security", "podsecurity", parts=(unit.at,), kind="PodSecurityConfiguration")
            policy.rules = [*(ModeRule(policy, mode, unit.compiled) for mode in MODES),
                            LabelsRule(policy, unit.compiled)]
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        """Nothing that it says is easily meant otherwise, but that it says nothing."""
        if all(demand.level == "privileged" for demand in units[0].compiled.defaults.values()):
            yield ("defaults", "says-nothing", "note", "namespaces without labels of their own may run "
                   "anything", "defaults:\n  enforce: baseline\n")
