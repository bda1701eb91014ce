"""What exceptions do: whether a rule is left out for a request, and the result that says so."""

from __future__ import annotations

from collections.abc import Sequence

from custody.errors import CustodyError
from custody.kit.clock import format_rfc3339
from custody.policy.exceptions import PODSECURITY, PolicyException
from custody.policy.given import Given
from custody.policy.lookup import UnansweredError
from custody.policy.model import Outcome, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Rule, Spoken
from policylang.errors import LanguageError


def attach(policies: Sequence[Policy], exceptions: Sequence[PolicyException]) -> None:
    """Give each rule the exceptions that name it."""
    for policy in policies:
        for rule in policy.rules:
            rule.exceptions = tuple(exception for exception in exceptions if exception.covers(rule))
        policy.excepted = tuple(sorted({exception.at for rule in policy.rules for exception in rule.exceptions}))


def excepted(rule: Rule, given: Given) -> Spoken | None:
    """The result of a rule that is excepted from a request; None where it is to be asked.

    `given.exceptions` are then those that leave a part of it to the rule. Raises UnansweredError.
    """
    given.exceptions = ()
    if not rule.exceptions:
        return None
    holding: list[PolicyException] = []
    whole = False
    for exception in rule.exceptions:
        if not exception.stands(given.context.now, existing=given.request.existing):
            continue
        try:
            if not exception.holds(given):
                continue
        except UnansweredError:
            raise
        except (CustodyError, LanguageError) as error:
            if exception.strict and not whole and rule.policy.failure_policy != "Ignore":
                return Spoken([rule.unexcepted(given, error.message)])
            continue
        holding.append(exception)
        whole = whole or not exception.parts & rule.partly
    if not whole:
        given.exceptions = tuple(holding)
        return None
    first = max(holding, key=lambda exception: exception.priority)
    said = rule.excepted(given, holding, first.outcome)
    return Spoken([said or result(rule, given, holding, first.outcome, name=rule.name, message=words(rule, holding))])


def result(rule: Rule, given: Given, holding: Sequence[PolicyException], outcome: Outcome, *, name: str,
           message: str) -> RuleResult:
    """The result of a rule that exceptions leave out; their names, and what they say of themselves, are properties."""
    return RuleResult(policy=rule.policy.name, kind=rule.policy.kind, rule=name, outcome=outcome, message=message,
                      resource=given.resource, enforce=False, warns=False, properties=excused(holding))


def excused(holding: Sequence[PolicyException]) -> dict[str, str]:
    """Properties of such a result."""
    properties: dict[str, str] = {"exceptions": ",".join(exception.name.rpartition("/")[2] for exception in holding)}
    for exception in reversed(holding):
        properties |= {f"exception-{key}": value for key, value in exception.why.items()}
    ends = [exception.expires for exception in holding if exception.expires is not None]
    if ends:
        properties["exception-expires"] = format_rfc3339(min(ends))
    return properties


def words(rule: Rule, holding: Sequence[PolicyException]) -> str:
    """Kyverno's, which differ by what a rule does, and lack a space where it validates or mutates."""
    if PODSECURITY in rule.partly:
        whole = next(exception for exception in holding if not exception.parts & rule.partly)
        return f"rule is skipped due to policy exception {whole.name}"
    names = ", ".join(exception.name for exception in holding)
    if rule.phase is Phase.GENERATE:
        return f"rule is skipped due to policy exception {names}"
    return f"rule is skipped due to policy exceptions{names}"


def allowed(given: Given) -> dict[str, list[str]]:
    """The variable `exceptions` of CEL: the images and values that exceptions leave to the expressions."""
    if not given.exceptions:
        return _NOTHING
    return {"allowedImages": [image for exception in given.exceptions for image in exception.images],
            "allowedValues": [value for exception in given.exceptions for value in exception.values]}


_NOTHING: dict[str, list[str]] = {"allowedImages": [], "allowedValues": []}
