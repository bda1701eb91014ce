"""What the rules of a ClusterPolicy have in common: when they are asked, and the results that they give."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.exceptions import excepted
from custody.policy.given import Given
from custody.policy.kyverno.validate import Judgement
from custody.policy.kyverno.variables import variables
from custody.policy.model import Outcome, RuleResult
from custody.policy.rule import Policy, Rule, Spoken
from custody.policy.scope import Scope
from policylang.conditions import Conditions
from policylang.errors import LanguageError

_EXPRESSION = re.compile(r"\{\{((?:\{[^{}]*\}|[^{}])*)\}\}")
_WHO_ASKS = re.compile(r"\b(request\.(?:userInfo|roles|clusterRoles)|serviceAccountName(?:space)?)\b")
_HOW = re.compile(r"\b(request\.(?:operation|oldObject|dryRun))\b")


class Head(NamedTuple):
    """What a rule says beside its `validate` or `verifyImages`."""

    policy: Policy
    name: str
    where: str
    match_where: str
    scope: Scope
    preconditions: Conditions | None
    written: dict[str, Any]
    """Its blocks as they were written."""
    enforce: bool
    """Whether the policy's failures deny, where the rule says nothing else."""


class KyvernoRule(Rule):
    excepts_itself = True  # preconditions come before its exceptions

    def __init__(self, head: Head) -> None:
        self.policy = head.policy
        self.name = head.name
        self.scope = head.scope
        self.preconditions = head.preconditions
        self.needs_request = _needs_request(head.written) or ("subjects" if any(
            "subjects" in part.chosen for block in (head.scope.match, head.scope.exclude) if block is not None
            for part in block.filters) else "")

    def evaluate(self, given: Given) -> Spoken:
        if self.preconditions is not None:
            try:
                holds, message = self.preconditions(variables(given), given.context.now)
            except (CustodyError, LanguageError) as error:
                judgement = Judgement(Outcome.ERROR, f"failed to evaluate preconditions: {error.message}")
                return Spoken([self.result(given, judgement)])
            if not holds:
                said = "; ".join(filter(None, ["preconditions not met", message]))
                return Spoken([self.result(given, Judgement(Outcome.SKIP, said))])
        return excepted(self, given) or self.judged(given)

    @abstractmethod
    def judged(self, given: Given) -> Spoken:
        """What it says where its preconditions hold."""

    def result(self, given: Given, judgement: Judgement, *, image: str | None = None, enforce: bool | None = None,
               evidence: tuple[str, ...] = ()) -> RuleResult:
        enforce = self.enforce if enforce is None else enforce
        if judgement.outcome is Outcome.ERROR and self.policy.failure_policy == "Ignore":
            enforce = False
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name,
                          outcome=judgement.outcome, message=judgement.message, resource=given.resource, image=image,
                          evidence=evidence, remedy=judgement.remedy, enforce=enforce)


def need_pods(head: Head) -> None:
    """Raises UnsupportedError for a rule that is evaluated on pods and names other kinds."""
    if any(selector.kind != "Pod" or selector.subresource not in ("", "ephemeralcontainers")
           for selector in head.scope.selectors):
        raise UnsupportedError(head.match_where, "verifyImages and podSecurity are evaluated on Pods only",
                               hint="the pods of a Deployment are judged when it creates them")


def enforced(text: str | None, where: str) -> bool | None:
    """Whether a failure denies; None where it is not said. Raises MalformedError."""
    if text is None:
        return None
    if text.lower() not in ("enforce", "audit"):
        raise MalformedError(where, got=text, expected="Enforce or Audit")
    return text.lower() == "enforce"


def _needs_request(written: Any) -> str:
    """What a rule's expressions read of who asks, or of how, where they have no `||` for its absence."""
    for expression in _expressions(written):
        if read := _WHO_ASKS.search(expression) or ("||" not in expression and _HOW.search(expression)):
            return str(read[1])
    return ""


def _expressions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key != "message":
                yield from _expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _expressions(value)
    elif isinstance(part, str):
        yield from _EXPRESSION.findall(part)
