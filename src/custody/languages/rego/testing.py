"""Unit tests in Rego: rules whose names begin with `test_`, each of which must be true. `todo_test_…` is left out."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from custody.errors import CustodyError
from custody.languages.budget import GENEROUS, Limits, Meter
from custody.languages.rego.coverage import Coverage
from custody.languages.rego.declare import Context, World
from custody.languages.rego.program import Policy
from custody.languages.rego.tree import Rule, Var
from custody.languages.rego.values import UNDEFINED, Value, compact


class Test(NamedTuple):
    """A rule that is a test. `case`: the variable that names its cases, in `test_x[case] if …`."""

    package: tuple[str, ...]
    name: str
    file: str
    row: int
    case: str | None

    @property
    def path(self) -> str:
        return ".".join(("data", *self.package, self.name))

    @property
    def skipped(self) -> bool:
        return self.name.startswith("todo_test_")


class Outcome(NamedTuple):
    """What a test gave. `error`: of an evaluation that ended in one. `cases`: by name, whether each passed."""

    test: Test
    passed: bool
    seconds: float
    error: str | None
    cases: dict[str, bool]
    printed: list[str]


def tests(policy: Policy) -> list[Test]:
    """In the order in which they are written; several clauses of one name are one test."""
    found: dict[tuple[tuple[str, ...], str], Test] = {}
    for module in policy.modules:
        for rule in module.rules:
            head = rule.path[0]
            if not isinstance(head, Var) or not head.name.startswith(("test_", "todo_test_")) or rule.args:
                continue
            test = Test(tuple(module.package), head.name, module.source.name, module.source.place(rule.at)[0],
                        _case(rule))
            found.setdefault((test.package, test.name), test)
    return list(found.values())


def _case(rule: Rule) -> str | None:
    last = rule.path[-1]
    return last.name.partition("#")[0] if len(rule.path) > 1 and isinstance(last, Var) else None


def run(policy: Policy, test: Test, data: Value = None, *, limits: Limits = GENEROUS, world: World | None = None,
        coverage: Coverage | None = None) -> Outcome:
    """Evaluate one test; its lines are added to `coverage`."""
    query = policy.query("data" + "".join(f"[{json.dumps(name)}]" for name in (*test.package, test.name)),
                         traced=coverage is not None or test.case is not None)
    context = Context(Meter(limits), world)
    begun = time.perf_counter()
    value: Value = UNDEFINED
    error = None
    try:
        for result in query(data, UNDEFINED, context=context):
            value = result.expressions[0]
    except CustodyError as wrong:
        error = wrong.message
    seconds = time.perf_counter() - begun
    if coverage is not None:
        coverage.add(query.places, context.steps)
    cases: dict[str, bool] = {}
    if test.case is not None and error is None:
        for step in context.steps:
            if test.case in step.bindings:
                cases.setdefault(_name(step.bindings[test.case]), False)
        for name, passed in (value.items() if isinstance(value, dict) else ()):
            cases[_name(name)] = passed is True
        return Outcome(test, bool(cases) and all(cases.values()), seconds, None, dict(sorted(cases.items())),
                       context.printed)
    return Outcome(test, value is True, seconds, error, {}, context.printed)


def _name(value: Value) -> str:
    return value if isinstance(value, str) else compact(value)
