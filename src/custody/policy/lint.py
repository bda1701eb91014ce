"""What policies will do that their authors may not mean: findings of their engines, in all documents at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from custody.errors import CustodyError, language_errors
from custody.policy.engine import Engine, Unit
from custody.policy.engines import compile_document, engine_of, standing
from custody.policy.exceptions import PolicyException
from custody.policy.exempting import EXPIRES
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet
from custody.policy.rule import Policy


class Finding(NamedTuple):
    policy: str
    path: str
    code: str
    level: str
    """`error` for what does not load, `warning`, or `note` for what is worth knowing and often meant."""
    message: str
    excerpt: str = ""
    """YAML that its author probably meant."""


def lint(document: dict[str, Any], kinds: Kinds | None = None) -> list[Finding]:
    """The findings in one document. Raises CustodyError for one that does not load."""
    _, unit = compile_document(document, 0, "policies[0]")
    return [finding for policy in PolicySet([document], kinds=kinds).policies
            for finding in _findings([unit], policy, kinds or builtin())]


def lint_all(located: Sequence[tuple[str, Any]], kinds: Kinds,
             now: datetime | None = None) -> tuple[list[Finding], int]:
    """The findings in all documents, in their order, and how many load; one that does not is one of level `error`.

    `now` is what tells which exceptions have expired.
    """
    by_document: list[list[Finding]] = [[] for _ in located]
    units: dict[Engine, list[Unit]] = {}
    for at, (where, document) in enumerate(located):
        try:
            engine, unit = compile_document(document, at, where)
        except CustodyError as error:
            by_document[at].append(refused(error, where))
        else:
            units.setdefault(engine, []).append(unit)
    names: set[tuple[str, str]] = set()
    linked: list[Policy] = []
    for engine, compiled in units.items():
        policies, faults = _linked(engine, compiled)
        for unit, fault in faults:
            by_document[unit.at].append(refused(fault, unit.where))
        for policy in sorted(policies, key=lambda policy: policy.parts):
            at = policy.parts[-1]
            where = located[at][0]
            try:
                with standing(where):
                    for rule in policy.rules:
                        rule.scope.check(kinds)
            except CustodyError as error:
                by_document[at].append(refused(error, where))
                continue
            if (policy.name, policy.kind) in names:
                by_document[at].append(Finding(policy.name, "metadata.name", "refused", "error",
                                               f"{where}: got {policy.name} twice, expected each policy once"))
            names.add((policy.name, policy.kind))
            linked.append(policy)
            by_document[at] += _findings([unit for unit in compiled if unit.at in policy.parts], policy, kinds)
    for unit in (unit for compiled in units.values() for unit in compiled):
        if isinstance(unit.compiled, PolicyException):
            by_document[unit.at] += _excepting(unit.compiled, linked, now)
    return ([finding for findings in by_document for finding in findings],
            sum(all(finding.level != "error" for finding in findings) for findings in by_document))


def _linked(engine: Engine, units: Sequence[Unit]) -> tuple[list[Policy], list[tuple[Unit, CustodyError]]]:
    """The policies of those documents that link, and the others with the reason."""
    faults: list[tuple[Unit, CustodyError]] = []
    while units:
        try:
            with language_errors():
                return [*engine.link(units)], faults
        except CustodyError as error:  # of one document, or of none in particular: then of all
            at_fault = [unit for unit in units if unit.where == error.place] or units
            faults += [(unit, error) for unit in at_fault]
            units = [unit for unit in units if unit not in at_fault]
    return [], faults


def _excepting(exception: PolicyException, policies: Sequence[Policy], now: datetime | None) -> Iterator[Finding]:
    """What is odd about an exception among these policies."""
    if policies and not any(exception.covers(rule) for policy in policies for rule in policy.rules):
        yield Finding(exception.name, "spec", "excepts-nothing", "warning",
                      "no policy here has a rule that it names")
    if exception.expires is None:
        yield Finding(exception.name, f"metadata.annotations.{EXPIRES}", "never-expires", "note",
                      "it is one for ever", f"metadata:\n  annotations:\n    {EXPIRES}: 2030-01-01T00:00:00Z\n")
    elif now is not None and exception.expires < now:
        yield Finding(exception.name, f"metadata.annotations.{EXPIRES}", "expired", "warning",
                      "it has expired, and excepts nothing")


def _findings(units: Sequence[Unit], policy: Policy, kinds: Kinds) -> list[Finding]:
    return [Finding(policy.name, *finding)
            for finding in engine_of(units[-1].document).findings(units, policy, kinds)]


def refused(error: CustodyError, where: str) -> Finding:
    """Of what does not load: `policy` is where it stands."""
    text = error.message.removeprefix(f"{where}: ").removeprefix(f"{where} ")  # YAML says the line behind it
    return Finding(where, str(getattr(error, "where", where)), "refused", "error",
                   text + (f" ({error.hint})" if error.hint else ""))
