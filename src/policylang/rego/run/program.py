"""A policy: modules that were parsed, resolved and checked together, and the queries that are compiled against them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from policylang.budget import DEFAULT, BudgetExceeded, Limits, Meter
from policylang.errors import InputError
from policylang.rego.builtins import BUILTINS
from policylang.rego.check.policy import check
from policylang.rego.check.resolve import Resolver
from policylang.rego.check.ruletree import Path, check_data, ground, shown
from policylang.rego.compile.generator import Generator, Result, Spot
from policylang.rego.declare import Builtin, Context, Halt, World
from policylang.rego.evaluation.state import EvaluationError, State
from policylang.rego.syntax.parser import parse_module, parse_query
from policylang.rego.syntax.tree import Module, Rule, Scalar, Var
from policylang.rego.values import UNDEFINED, Value, running
from policylang.source import Faults, Source


class Query:
    """A compiled query. `places`: of the expressions in a trace."""

    def __init__(self, run: Callable[..., None], slots: int, policy: Policy, asked: tuple[str, dict[str, Any]],
                 places: list[Spot]) -> None:
        self._run, self._slots, self.policy, self._asked, self.places = run, slots, policy, asked, places

    def __call__(self, data: Value = None, given: Value = UNDEFINED, *, limits: Limits = DEFAULT,
                 world: World | None = None, strict: bool = False, context: Context | None = None) -> list[Result]:
        """All solutions over `data` (an object) and input `given`.

        Raises EvaluationError (conflicts; builtin errors where `strict`) and BudgetExceeded.
        """
        context = context or Context(Meter(limits), world)
        state = State(context.meter, {} if data is None else data, given, self._slots, strict, context.world)
        state.context = context
        results: list[Result] = []
        evaluate(self._run, state, results)
        return results

    def __reduce__(self) -> tuple[Any, ...]:
        return _requery, (self.policy, *self._asked)


def _requery(policy: Policy, text: str, options: dict[str, Any]) -> Query:
    return policy.query(text, **options)


def evaluate(run: Callable[..., Any], state: State, *more: Any) -> Any:
    """Run generated code under the state's budget; what is nested too deeply for Python is a matter of it too."""
    before, running.meter = running.meter, state.meter
    try:
        return run(state, *more)
    except Halt as halt:
        raise EvaluationError(halt.error.code, str(halt.error)) from None
    except RecursionError:
        raise BudgetExceeded("evaluation would nest more deeply than its budget allows") from None
    except (ValueError, OverflowError) as wrong:  # NaN and infinities, which JSON does not have
        raise EvaluationError("eval_internal_error", f"a number that is none: {wrong}") from None
    finally:
        running.meter = before


class Entry:
    """One rule of a policy as a function of input and data."""

    def __init__(self, run: Callable[[State], Value], slots: int, policy: Policy, path: str) -> None:
        self._run, self._slots, self.policy, self.path = run, slots, policy, path

    def __call__(self, given: Value = UNDEFINED, data: Value = None, *, limits: Limits = DEFAULT,
                 world: World | None = None, strict: bool = False, context: Context | None = None) -> Value:
        """The rule's value, or UNDEFINED. Raises as a Query does."""
        state = State(Meter(limits) if context is None else context.meter, {} if data is None else data, given,
                              self._slots, strict, world)
        if context is not None:
            state.context = context
        return evaluate(self._run, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reenter, (self.policy, self.path)


def _reenter(policy: Policy, path: str) -> Entry:
    return policy.entry(path)


class Policy:
    """Modules that are one program. `modules`: name → text. Raises SourceError for what OPA refuses too.

    `version`: 0 or 1. `strict`: unused variables, arguments and imports are errors. `types`: what can never succeed is
    an error. `capabilities`: the only builtins that may be called. `functions`: more builtins, such as Gatekeeper's
    external_data; to pickle, they must be importable. `tests`: rules of one name that begins with `test_` are tests of
    their own, the second of them `test_x#01`, as `opa test` has it.
    """

    def __init__(self, modules: Mapping[str, str], *, version: int = 1, strict: bool = False,
                 types: bool = True, capabilities: Iterable[str] | None = None,
                 functions: Mapping[str, Builtin] | None = None, tests: bool = False) -> None:
        if not isinstance(modules, Mapping):
            raise InputError(f"modules: got {type(modules).__name__}, expected texts by name, such as "
                             '{"policy.rego": "package p …"}')
        self._texts = dict(modules)
        self._options: dict[str, Any] = {"version": version, "strict": strict, "types": types, "functions": functions,
                                         "capabilities": capabilities, "tests": tests}
        self.version = version
        self.builtins: Mapping[str, Builtin] = BUILTINS if capabilities is None else {
            name: BUILTINS[name] for name in capabilities if name in BUILTINS}
        if functions:
            self.builtins = ChainMap(dict(functions), self.builtins)  # type: ignore[arg-type]
        parsed: list[Module] = []
        faults = Faults()
        for name, text in modules.items():
            with faults:
                parsed.append(parse_module(Source(text, name), version))
        faults.stop()
        if tests:
            name_tests(parsed)
        self.modules = parsed
        self.documents = check(parsed, self.builtins, strict=strict, types=types)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._texts, self._options)

    def check_data(self, data: Value) -> None:
        """SourceError where base data stands at a rule's place, as `opa eval` and `opa test` refuse it."""
        check_data(self.documents.root, data)

    def query(self, text: str, *, name: str = "query", package: str | None = None, capture: bool = True,
              traced: bool = False) -> Query:
        """Compile a query. `package`: whose rules it may name; `capture`: an expression of it may be false, as at
        `opa eval`'s command line; `traced`: evaluations fill their context's `steps`.
        """
        source = Source(text, name)
        body = parse_query(source, self.version)
        resolver = Resolver(source, self._names(package), self.builtins, prefix="q")
        body, names = resolver.query(body)
        generator = self._generator(traced)
        run = generator.query(source, body, names, capture)
        options = {"name": name, "package": package, "capture": capture, "traced": traced}
        return Query(run, len(self.documents), self, (text, options), generator.places)

    def _generator(self, traced: bool) -> Generator:
        return Generator(self.modules, self.documents, self.builtins, traced=traced)

    def _names(self, package: str | None) -> dict[str, list[str]]:
        if package is None:
            return {}
        path = package.split(".")
        names = {rule.path[0].name for module in self.modules if module.package == path for rule in module.rules
                 if isinstance(rule.path[0], Var)}
        return {name: ["data", *path, name] for name in sorted(names)}

    def entries(self, paths: Iterable[Path]) -> dict[Path, Entry]:
        """Rules and documents at paths, compiled together: what several of them ask for is compiled once."""
        generator = self._generator(False)
        return {path: Entry(run, len(self.documents), self, shown(path))
                for path, run in generator.entries(dict.fromkeys(paths)).items()}

    def entry(self, path: str) -> Entry:
        """The rule or document at `data.a.b.c`, as a function of input and data. KeyError where no rule has that path,
        nor one that goes on from it.
        """
        place = self.documents.root
        names = path.split(".")[1:]
        for at, name in enumerate(names):
            if name not in place.children:
                raise KeyError(path)
            place = place.children[name]
            document = place.document
            if document is not None:
                keys = tuple(names[at + 1:])
                if document.kind == "function" or (keys and document.kind != "object"):
                    raise KeyError(path)
                return Entry(self._generator(False).entry(document, keys), len(self.documents), self, path)
        return Entry(self._generator(False).document(place.path), len(self.documents), self, path)


def name_tests(modules: Iterable[Module]) -> None:
    """Number the tests of one name, from the second one on."""
    times: dict[Path, int] = {}
    for module in modules:
        for rule in module.rules:
            path = test_path(rule)
            if path is None or not str(path[-1]).startswith("test_"):
                continue
            count = times[path] = times.get(path, -1) + 1
            if count:
                at = len(path) - len(module.package) - 1
                part = rule.path[at]
                name = f"{path[-1]}#{count:02}"
                renamed = Var(part.at, part.end, name) if at == 0 else Scalar(part.at, part.end, name)
                for clause in rule.chain():
                    clause.path = [*clause.path[:at], renamed, *clause.path[at + 1:]]


def test_path(rule: Rule) -> Path | None:
    """The path of the test that a rule is, up to the name that begins with `test_` or `todo_test_`."""
    path, _ = ground(rule)
    for at in range(len(rule.module.package), len(path)):
        if isinstance(path[at], str) and path[at].startswith(("test_", "todo_test_")):
            return path[:at + 1]
    return None


def _again(texts: dict[str, str], options: dict[str, Any]) -> Policy:
    return Policy(texts, **options)
