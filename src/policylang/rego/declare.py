"""How a builtin is declared: its name, its types in OPA's notation, and the function that computes it.

    @builtin("object.get", "object[any: any]", "any", "any", result="any")
    def object_get(value, path, default): …

A function gets Rego values (see `values`) of the declared types, never others: the compiler's check, and where a type
is only known at run time `OperandError`s raised by the function itself, in OPA's words. It returns a value or
UNDEFINED. A raised BuiltinError makes the call undefined, or ends the evaluation where it is strict.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from policylang.budget import Meter
from policylang.rego.values import Value, type_name


class BuiltinError(Exception):
    """`eval_builtin_error`: the message is what follows `<name>: ` in OPA's."""

    code = "eval_builtin_error"


class OperandError(BuiltinError):
    """`eval_type_error`: `operand 1 must be string but got number`."""

    code = "eval_type_error"

    def __init__(self, position: int, got: Value, *expected: str) -> None:
        one_of = expected[0] if len(expected) == 1 else f"one of {{{', '.join(expected)}}}"
        super().__init__(f"operand {position} must be {one_of} but got {type_name(got)}")


class Halt(Exception):  # noqa: N818 - no error: it carries one
    """A builtin error that ends the evaluation even where builtin errors are not strict."""

    def __init__(self, error: BuiltinError) -> None:
        super().__init__(str(error))
        self.error = error


class World(Protocol):
    """What lies outside a policy. Each may raise BuiltinError; without a World those builtins are refused by name."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""

    def random(self, count: int) -> bytes:
        """Random bytes."""

    def runtime(self) -> Value:
        """What `opa.runtime()` gives."""

    def lookup_ip_addr(self, host: str) -> list[str]:
        """The host's addresses as texts."""

    def http_send(self, request: dict[str, Value]) -> Value:
        """The response object of http.send for a checked request object."""


class Step(NamedTuple):
    """An expression was begun, or was `done`: it held. `place`: its index among `Query.places`; bindings: by name."""

    place: int
    done: bool
    bindings: dict[str, Value]


class Context:
    """One evaluation: its budget, its time, what builtins keep between calls, where `print` goes."""

    now_ns: int | None = None  # the first asking of an evaluation fixes it
    world: World | None = None

    def __init__(self, meter: Meter, world: World | None = None) -> None:
        self.meter = meter
        if world is not None:
            self.world = world

    def ask(self, name: str, missing: str) -> World:
        """The World, for the builtin `name`. Without one the evaluation ends: undefined could allow something."""
        if self.world is None:
            raise Halt(BuiltinError(f"{name}: {missing} is not given"))
        return self.world

    @cached_property
    def cache(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def printed(self) -> list[str]:
        return []

    @cached_property
    def steps(self) -> list[Step]:
        """Of programs that were compiled with trace on."""
        return []

    def note(self, place: int, done: bool, bindings: dict[str, Value]) -> None:
        self.meter.spend(1)
        self.steps.append(Step(place, done, bindings))


class Builtin(NamedTuple):
    """`context`: the function's first argument is the Context. `relation`: it returns a list of results, as `walk`."""

    name: str
    call: Callable[..., Any]
    parameters: tuple[str, ...]
    result: str
    context: bool = False
    relation: bool = False
    nondeterministic: bool = False


BUILTINS: dict[str, Builtin] = {}


def builtin(name: str, *parameters: str, result: str, context: bool = False, relation: bool = False,
            nondeterministic: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the function into BUILTINS."""
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        BUILTINS[name] = Builtin(name, function, parameters, result, context, relation, nondeterministic)
        return function
    return enter
