"""Unit tests in Rego: rules whose names begin with `test_`, each of which must be true. `todo_test_…` is left out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import NamedTuple

from policylang.budget import GENEROUS, Limits, Meter
from policylang.errors import LanguageError
from policylang.rego.check.resolve import type_error
from policylang.rego.check.ruletree import Path, shown
from policylang.rego.declare import Context, World
from policylang.rego.run.coverage import Coverage
from policylang.rego.run.failures import trace
from policylang.rego.run.program import Entry, Policy, test_path
from policylang.rego.syntax.tree import Rule, Var
from policylang.rego.values import UNDEFINED, Value, compact


class Test(NamedTuple):
    """A rule that is a test. `case`: the variable that names its cases, in `test_x[case] if …`."""

    path: Path
    package: tuple[str, ...]
    name: str
    file: str
    row: int
    case: str | None
    rule: Rule

    @property
    def shown(self) -> str:
        return ".".join(("data", *self.package, self.name))

    @property
    def skipped(self) -> bool:
        return str(self.path[-1]).startswith("todo_test_")


class Outcome(NamedTuple):
    """What a test gave. `error`: of an evaluation that ended in one. `cases`: by name, whether each passed.
    `trace`: lines about what failed, where they were asked for.
    """

    test: Test
    passed: bool
    seconds: float
    error: str | None
    cases: dict[str, bool]
    printed: list[str]
    trace: list[str]


def tests(policy: Policy) -> list[Test]:
    """In the order in which they are written. The policy was made with `tests`."""
    by_path: dict[Path, Test] = {}
    for module in policy.modules:
        for rule in module.rules:
            path = test_path(rule)
            if path is None:
                continue
            test = Test(path, tuple(module.package), ".".join(map(str, path[len(module.package):])), module.source.name,
                        module.source.place(rule.at)[0], _case(rule), rule)
            by_path.setdefault(path, test)
    return list(by_path.values())


def _case(rule: Rule) -> str | None:
    last = rule.path[-1]
    return last.name.partition("#")[0] if len(rule.path) > 1 and isinstance(last, Var) else None


class Runner:
    """Evaluates tests of a policy, whose rules are compiled together. `coverage`: their lines are added to it;
    `explained`: the outcomes of tests that fail tell why.
    """

    def __init__(self, policy: Policy, chosen: Iterable[Test], data: Value = None, *, limits: Limits = GENEROUS,
                 world: World | None = None, coverage: Coverage | None = None, explained: bool = False) -> None:
        self.policy, self.data, self.limits, self.world = policy, data, limits, world
        self.coverage, self.explained = coverage, explained
        plain = [test.path for test in chosen if not test.skipped and not self._traced(test) and not test.rule.args]
        self._entries: dict[Path, Entry] = policy.entries(plain)

    def _traced(self, test: Test) -> bool:
        return self.coverage is not None or test.case is not None

    def run(self, test: Test) -> Outcome:
        if test.rule.args:
            error = type_error(f"function {test.shown} used as reference, not called", test.rule.module.source,
                               test.rule.at)
            return Outcome(test, False, 0, error.message, {}, [], [])
        context = Context(Meter(self.limits), self.world)
        begun = time.perf_counter()
        value: Value = UNDEFINED
        error_: str | None = None
        query = None
        if self._traced(test):
            query = self.policy.query(_query(test), traced=True)
            begun = time.perf_counter()
        try:
            if query is None:
                value = self._entries[test.path](UNDEFINED, self.data, context=context)
            else:
                for result in query(self.data, UNDEFINED, context=context):
                    value = result.expressions[0]
        except LanguageError as wrong:
            error_ = wrong.message
        seconds = time.perf_counter() - begun
        if self.coverage is not None and query is not None:
            self.coverage.add(query.places, context.steps)
        cases: dict[str, bool] = {}
        passed = value is True
        if test.case is not None and error_ is None:
            for step in context.steps:
                if test.case in step.bindings:
                    cases.setdefault(_name(step.bindings[test.case]), False)
            for name, held in (value.items() if isinstance(value, dict) else ()):
                cases[_name(name)] = held is True
            cases = dict(sorted(cases.items()))
            passed = bool(cases) and all(cases.values())
        lines = self._explain(test) if self.explained and not passed and error_ is None else []
        return Outcome(test, passed, seconds, error_, cases, context.printed, lines)

    def _explain(self, test: Test) -> list[str]:
        query = self.policy.query(_query(test), traced=True)
        context = Context(Meter(self.limits), self.world)
        try:
            if query(self.data, UNDEFINED, context=context) and test.case is None:
                return []  # it has a value, though not true
        except LanguageError as wrong:
            return [wrong.message]
        return trace(self.policy.modules, shown(test.path), query.places, context.steps)


def _query(test: Test) -> str:
    return "data" + "".join(f"[{json.dumps(name)}]" for name in test.path)


def _name(value: Value) -> str:
    return value if isinstance(value, str) else compact(value)
