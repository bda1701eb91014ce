"""The state of one evaluation: its input, data, budget, and what was evaluated already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from policylang.budget import Meter
from policylang.errors import LanguageError
from policylang.rego.declare import BuiltinError, Context, World
from policylang.rego.values import UNDEFINED, Key, Value, key, solid


class EvaluationError(LanguageError):
    """An evaluation that has no result. `kind` is OPA's code, such as `eval_conflict_error`."""

    code = "evaluation"

    def __init__(self, kind: str, message: str, where: str = "") -> None:
        super().__init__(f"{where + ': ' if where else ''}{kind}: {message}")
        self.kind = kind
        self.reason = message


Path = tuple[Key, ...]


class _Unset:
    __slots__ = ()


UNSET = _Unset()


class State:
    """One evaluation under one input, one data and one set of replacements; `with` makes another."""

    targets: frozenset[Path] = frozenset()  # what `with` replaced under `data`: no rules are at these paths and beneath
    mocks: Mapping[str, Any] = {}

    def __init__(self, meter: Meter, data: Value, given: Value, rules: int, strict: bool,
                 world: World | None = None) -> None:
        self.meter = meter
        self.data = data
        self.input = given
        self.memo: list[Value] = [UNSET] * rules
        self.strict = strict
        self.world = world

    @cached_property
    def parts(self) -> dict[Any, Value]:
        """Parts of objects that were evaluated alone."""
        return {}

    @cached_property
    def context(self) -> Context:
        """Made when a builtin asks for it: most evaluations are shorter than that takes."""
        return Context(self.meter, self.world)

    def replaced(self, changes: Iterable[tuple[str, Any, Value]]) -> State:
        """The state under `with`. Changes: (`input`, path, value), (`data`, path, value), (`mock`, name, function)."""
        self.meter.spend(1)
        state = State(self.meter, self.data, self.input, len(self.memo), self.strict, self.world)
        state.context = self.context
        state.targets, state.mocks = self.targets, self.mocks
        for root, path, value in changes:
            if root == "input":
                state.input = _put(state.input, path, value)
            elif root == "mock":
                state.mocks = {**state.mocks, path: value}
            else:
                state.targets |= {tuple(map(key, path))}
                state.data = _put(state.data, path, value)
        return state

    def unmocked(self) -> State:
        """The state in which a replacing function runs: nothing that it calls is replaced."""
        state = self.replaced(())
        state.mocks = {}
        return state

    def failed(self, error: BuiltinError, name: str, where: str) -> None:
        """A builtin raised: go on, or end the evaluation where that is asked for."""
        if self.strict:
            raise EvaluationError(error.code, f"{name}: {error}", where) from None

    def conflict(self, where: str, message: str) -> EvaluationError:
        return EvaluationError("eval_conflict_error", message, where)

    def replaces(self, path: Path) -> bool:
        """Whether `with` replaced what is at `path`, or what it is part of."""
        return any(path[:length] in self.targets for length in range(len(path) + 1))


def _put(value: Value, path: list[Value], new: Value) -> Value:
    """`value` with `new` at `path`; what is in the way and no object is replaced by one."""
    if not path:
        return new
    value = solid(value)
    old = value if type(value) is dict else {}
    name = key(path[0])
    return {**old, name: _put(old.get(name, UNDEFINED), path[1:], new)}
