"""What the rules `deny`, `violation` and `warn` of a namespace say of configurations, and its `exception`s."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from custody.errors import CustodyError, MalformedError, UsageError
from custody.services.configurations.functions import combined, functions, value
from policylang.budget import GENEROUS, Meter
from policylang.errors import LanguageError, Shape
from policylang.go.numbers import format_float
from policylang.rego import Policy, SourceError, to_json
from policylang.rego.declare import Context, World
from policylang.rego.run.testing import Runner, tests
from policylang.rego.syntax.lexer import FUTURE, KEYWORDS
from policylang.rego.syntax.tree import Rule, Scalar, Var

_FAILS = re.compile(r"(deny|violation)(_[a-zA-Z0-9]+)*\Z")
_WARNS = re.compile(r"warn(_[a-zA-Z0-9]+)*\Z")
_PREFIX = re.compile(r"(?:violation|deny|warn)(?:_|\Z)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
COMBINED = "Combined"


@dataclass(slots=True)
class Result:
    message: str
    metadata: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    """With `line`: where the rule itself says that it is (`_loc`)."""
    line: Any = None


@dataclass(slots=True)
class CheckResult:
    """Of one configuration, or of all of them together, by one namespace."""

    filename: str
    namespace: str
    successes: int = 0
    skipped: list[Result] = field(default_factory=list)
    warnings: list[Result] = field(default_factory=list)
    failures: list[Result] = field(default_factory=list)
    exceptions: list[Result] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    unread: int = 0
    """Members of rules that are neither a text nor an object: conftest passes over them."""
    complete: dict[str, Shape] = field(default_factory=dict)
    """By the rule, what stands in place of a set or a list: it counts as passed there, whatever it is."""

    @property
    def tests(self) -> int:
        return self.successes + len(self.skipped) + len(self.warnings) + len(self.failures) + len(self.exceptions)


@dataclass(slots=True)
class _Asked:
    """What is asked of one rule in a namespace."""

    name: str
    query: str
    exception_query: str
    rule: Any
    exception: Any


class Checker:
    def __init__(self, modules: Mapping[str, str], data: Mapping[str, Any], *, version: int = 1, strict: bool = False,
                 capabilities: Iterable[str] | None = None, strict_builtins: bool = False, world: World | None = None,
                 environment: Mapping[str, str] | None = None, tested: bool = False) -> None:
        """`modules`: texts by path. `strict_builtins`: an error of a builtin ends everything. `tested`: for `verify`.

        Raises SourceError, UsageError.
        """
        if not modules:
            raise UsageError("--policy: no *.rego file", hint="conftest's policies lie in a folder: --policy policy")
        self.policy = Policy(modules, version=version, strict=strict, capabilities=capabilities, tests=tested,
                             functions=None if capabilities is not None else functions(modules, environment or {}))
        self.policy.check_data(dict(data))
        for module in self.policy.modules:
            for rule in module.rules:
                _refuse_if_without_contains(rule, module.version)
        self._data = data
        self._strict = strict_builtins
        self._world = world
        self._asked: dict[str, tuple[list[_Asked], int]] = {}

    @property
    def namespaces(self) -> list[str]:
        """Names of packages as they are written behind `data.`: `k8s["my-rules"].pods`."""
        return [*dict.fromkeys(map(_namespace, (module.package for module in self.policy.modules)))]

    def check(self, configurations: Mapping[str, Any], namespace: str) -> list[CheckResult]:
        """A result for each configuration. Raises LanguageError, MalformedError."""
        results: list[CheckResult] = []
        for path, configuration in configurations.items():
            result = CheckResult(path, namespace)
            for part in configuration if isinstance(configuration, list) else [configuration]:
                self._judge(value(part, format_float), result)
            results.append(result)
        return results

    def check_combined(self, configurations: Mapping[str, Any], namespace: str) -> CheckResult:
        """All of them as one input: a list of `{"path": …, "contents": …}`, null where nothing is in them."""
        result = CheckResult(COMBINED, namespace)
        self._judge(combined(configurations), result)
        return result

    def _judge(self, given: Any, result: CheckResult) -> None:
        asked, count = self._rules(result.namespace)
        place = os.path.abspath(result.filename)
        data = {**self._data, "conftest": {
            **(inner if isinstance(inner := self._data.get("conftest"), dict) else {}),
            "file": {"name": os.path.basename(place), "dir": os.path.dirname(place)}}}
        said = passed = 0
        for rule in asked:
            exceptions = [Result(rule.exception_query) for _ in self._solutions(rule.exception, data, given, result)]
            results: list[Result] = []
            for solution in self._solutions(rule.rule, data, given, result):
                value = to_json(solution.expressions[0])
                if not isinstance(value, list):
                    result.complete.setdefault(rule.query, Shape(value))
                if not isinstance(value, list) or not value:
                    results.append(Result(""))
                    continue
                for member in value:
                    if isinstance(member, (str, dict)):
                        results.append(_result(member, rule.query))
                    else:
                        result.unread += 1
            result.exceptions += exceptions
            said += len(exceptions)
            if exceptions:
                continue
            against = [statement for statement in results if statement.message]
            passed += len(results) - len(against)
            said += len(against)
            (result.failures if _FAILS.match(rule.name) else result.warnings).extend(against)
        result.successes += max(passed, count - said)

    def _rules(self, namespace: str) -> tuple[list[_Asked], int]:
        """(the rules by their names, how many clauses they have together)."""
        if namespace not in self._asked:
            names = [name for module in self.policy.modules if _namespace(module.package) == namespace
                     for rule in module.rules if (name := _name(rule, module.version))
                     and (_FAILS.match(name) or _WARNS.match(name))]
            asked: dict[str, _Asked] = {}
            for name in names:
                if name.lower() in asked:
                    continue
                suffix = _PREFIX.sub("", name, count=1)
                query, exception = f"data.{namespace}.{name}", f'data.{namespace}.exception[_][_] == "{suffix}"'
                asked[name.lower()] = _Asked(name, query, exception, self.policy.query(query),
                                             self.policy.query(exception))
            self._asked[namespace] = [*asked.values()], len(names)
        return self._asked[namespace]

    def _solutions(self, query: Any, data: Any, given: Any, result: CheckResult) -> Sequence[Any]:
        context = Context(Meter(GENEROUS), self._world)
        try:
            return query(data, given, strict=self._strict, context=context)  # type: ignore[no-any-return]
        finally:
            result.printed += context.printed

    def verify(self, namespaces: Sequence[str] | None = None) -> list[CheckResult]:
        """A result for each test (`test_…`), of those in some namespaces alone. Raises CustodyError for one that ends
        in an error.
        """
        chosen = [test for test in tests(self.policy)
                  if namespaces is None or _namespace(test.package) in namespaces]
        runner = Runner(self.policy, chosen, dict(self._data), world=self._world)
        results: list[CheckResult] = []
        for test in chosen:
            result = CheckResult(test.file, "")
            results.append(result)
            if test.skipped:
                result.skipped.append(Result(test.shown))
                continue
            outcome = runner.run(test)
            if outcome.error is not None:
                raise CustodyError(f"{test.shown}: {outcome.error}")
            if outcome.passed:
                result.successes += 1
            else:
                result.failures.append(Result(test.shown))
        return results


def _namespace(package: Sequence[str]) -> str:
    first, *rest = package
    return first + "".join(f".{part}" if _NAME.match(part) and part not in KEYWORDS | FUTURE else
                           f"[{json.dumps(part, ensure_ascii=False)}]" for part in rest)


def _result(member: str | dict[str, Any], query: str) -> Result:
    """Of what a rule says: a text, or an object with `msg`. Raises MalformedError for one without."""
    if isinstance(member, str):
        return Result(member, {"query": query})
    message = member.get("msg")
    if not isinstance(message, str):
        raise MalformedError(query, got=f"msg: {Shape(message)}", expected="an object with a text as msg")
    place = member.get("_loc")
    file, line = (place.get("file"), place.get("line")) if isinstance(place, dict) else (None, None)
    return Result(message, {name: value for name, value in member.items() if name not in ("msg", "_loc")}
                  | {"query": query}, file if isinstance(file, str) else "",
                  line if type(line) in (int, float) else None)


def _name(rule: Rule, version: int) -> str:
    """Empty for one with dots or brackets in its name."""
    first = rule.path[0]
    single = len(rule.path) == 1 or (version == 0 and len(rule.path) == 2 and not isinstance(rule.path[1], Scalar))
    return first.name if single and isinstance(first, Var) else ""


def _refuse_if_without_contains(rule: Rule, version: int) -> None:
    """`deny[msg] if { … }` makes an object, whose members nobody would see. Raises UsageError."""
    if len(rule.path) < 2 or version == 0 or not isinstance(rule.path[0], Var) or rule.kind != "value":
        return
    name = rule.path[0].name
    if (_FAILS.match(name) or _WARNS.match(name)) and isinstance(rule.value, Scalar) and rule.value.value is True:
        source = rule.module.source
        raise UsageError(f"{source.name}:{source.place(rule.at)[0]}: {name} has 'if' without 'contains'",
                         hint=f"{name} contains msg if {{ … }}, or --rego-version v0")


def reason(wrong: LanguageError) -> str:
    """Of all faults of a policy's text, a line each."""
    faults = [wrong, *wrong.others] if isinstance(wrong, SourceError) else [wrong]
    return "\n".join(str(fault) for fault in faults)
