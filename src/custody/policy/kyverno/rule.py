"""What the rules of a ClusterPolicy have in common: when they are asked, and the results that they give."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from custody.errors import CustodyError, UnsupportedError
from custody.policy.excepting import excepted
from custody.policy.given import Given
from custody.policy.kyverno.action import Action
from custody.policy.kyverno.context import Context
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.match import WHO
from custody.policy.kyverno.simulated import of_rule
from custody.policy.kyverno.variables import ROOTS, leave, variables, with_roles, within
from custody.policy.model import Outcome, RuleResult
from custody.policy.podfields import HOLDERS
from custody.policy.rule import Policy, Rule, Spoken
from custody.policy.scope import Scope
from custody.policy.worlds import asking
from policylang.conditions import Conditions
from policylang.errors import LanguageError
from policylang.variables import Roots, Value

_EXPRESSION = re.compile(r"\{\{((?:\{[^{}]*\}|[^{}])*)\}\}")
_WHO_ASKS = re.compile(r"\b(request\.(?:userInfo|roles|clusterRoles)|serviceAccountName(?:space)?)\b")
_RANDOM = re.compile(r"\brandom\b")
_ROLES = re.compile(r"\brequest\.(?:roles|clusterRoles)\b")
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
    action: Action
    """What the policy says of failures, where the rule says nothing else."""
    properties: Mapping[str, str] = {}
    """What reports say beside the message, as it is written: `reportProperties`."""
    fill: Value | None = None
    """Fills in the variables of `properties`, where they have any."""
    order: int = 0
    """The rule's place in its policy."""
    first_only: bool = False
    """Whether no rule is asked after one of its policy passed or failed: `applyRules: One`."""
    context: Context = Context()
    roots: Roots = ROOTS
    """What its expressions may speak of: also the entries of its context."""
    namespace: str = ""
    """Of a Policy; empty for a ClusterPolicy."""


class KyvernoRule(Rule):
    excepts_itself = True  # preconditions come before its exceptions

    def __init__(self, head: Head) -> None:
        self.policy = head.policy
        self.name = head.name
        self.scope = head.scope
        self.context = head.context
        self.preconditions = head.preconditions
        self.action = head.action
        self.enforce = head.action.may_enforce
        self._head = head
        self._reads_roles = bool(_ROLES.search(str(head.written)) or _ROLES.search(str(head.properties)))
        self._draws = bool(_RANDOM.search(str(head.written)) or _RANDOM.search(str(head.properties)))
        self.needs_request = _needs_request(head.written) or next((
            field for block in (head.scope.match, head.scope.exclude) if block is not None
            for part in block.filters for field in WHO if field in part.chosen), "")

    def evaluate(self, given: Given) -> Spoken:
        if not self._head.first_only:
            if not self.context and not self._reads_roles and not self._draws and given.context.simulated is None:
                return self._spoken(given)
            return self._evaluated(given)
        if self._applied_before(given):
            return Spoken([])
        said = self._evaluated(given)
        if any(result.outcome in (Outcome.PASS, Outcome.FAIL) for result in said.results):
            given.memo.setdefault((self.policy, self.phase), self._head.order)
        return said

    def _applied_before(self, given: Given) -> bool:
        """Whether a rule of the policy and the phase that stands before this one has passed or failed."""
        at: Given | None = given
        while at is not None:
            if at.memo.get((self.policy, self.phase), self._head.order) < self._head.order:
                return True
            at = at.before
        return False

    def entered(self, given: Given) -> Given:
        """The request with the entries of the rule's context among its variables."""
        if not self.context and not self._reads_roles and given.context.simulated is None:
            return given
        inner = within(given)
        known = with_roles(variables(given), given) if self._reads_roles else variables(given)
        known = of_rule(known, inner, self.policy.name, self.name)
        inner.memo[variables] = self.context.opened(known, inner)
        return inner

    def _evaluated(self, given: Given) -> Spoken:
        if not self._draws:
            return self._within(given)
        with asking(given, self):
            return self._within(given)

    def _within(self, given: Given) -> Spoken:
        inner = self.entered(given)
        said = self._spoken(inner)
        if inner is not given:
            leave(given, inner)
        return said

    def _spoken(self, given: Given) -> Spoken:
        if self.preconditions is not None:
            try:
                holds, message = self.preconditions(variables(given), given.context.now)
            except (CustodyError, LanguageError) as error:
                judgement = Judgement(Outcome.ERROR, f"failed to evaluate preconditions: {error.message}")
                return Spoken([self.result(given, judgement)])
            if not holds:
                said = "; ".join(filter(None, ["preconditions not met", message]))
                return Spoken([self.result(given, Judgement(Outcome.SKIP, said))])
        if self.exceptions:
            return excepted(self, given) or self.judged(given)
        given.exceptions = ()
        return self.judged(given)

    @abstractmethod
    def judged(self, given: Given) -> Spoken:
        """What it says where its preconditions hold."""

    def result(self, given: Given, judgement: Judgement, *, image: str | None = None, enforce: bool | None = None,
               evidence: tuple[str, ...] = ()) -> RuleResult:
        if enforce is None:
            enforce = self.action.always
        if enforce is None:
            enforce = self.action.enforces(given.request, given.answers)
        if judgement.outcome is Outcome.ERROR and self.policy.failure_policy == "Ignore":
            enforce = False
        policy = self.policy
        properties = self._properties(given) if self._head.properties else {}
        if judgement.properties:
            properties = {**properties, **judgement.properties}
        return RuleResult(policy=policy.name, kind=policy.kind, rule=self.name, outcome=judgement.outcome,
                          message=judgement.message, resource=given.resource, image=image, evidence=evidence,
                          remedy=judgement.remedy, enforce=enforce, properties=properties)

    def _properties(self, given: Given) -> dict[str, str]:
        """As they are written where a variable has no value."""
        properties = self._head.properties
        if self._head.fill is not None:
            with suppress(CustodyError, LanguageError):
                properties = self._head.fill(variables(given), given.context.now)
        return {name: str(value) for name, value in properties.items()}

    def failed(self, given: Given, message: str) -> RuleResult:
        try:
            enforce = self.action.enforces(given.request, given.answers)
        except CustodyError:  # a namespace whose labels cannot be had may be one where it denies
            enforce = self.enforce
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=Outcome.ERROR,
                          message=message, resource=given.resource,
                          enforce=enforce and self.policy.failure_policy != "Ignore")


def need_pods(head: Head) -> None:
    """Raises UnsupportedError for a rule that is evaluated on pods and pod controllers, and names other kinds."""
    if any(selector.kind not in HOLDERS or selector.subresource not in ("", "ephemeralcontainers")
           for selector in head.scope.selectors):
        raise UnsupportedError(head.match_where, "verifyImages is evaluated on Pods and on what makes them only")


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
