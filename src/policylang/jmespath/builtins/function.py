"""How a function is declared: types of its arguments, what it returns, and what runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.go.numbers import quote
from policylang.go.printing import sprint
from policylang.jmespath.values import QueryError


class Function(NamedTuple):
    """`arguments`: for each the types that it may have; None where all that is given is ignored.

    Types are string, number, array, object, array[string], array[number], expref and any. `asks` names what of the
    world the function needs: clock, network or random.
    """

    name: str
    arguments: tuple[tuple[str, ...], ...] | None
    returns: tuple[str, ...]
    handler: Callable[..., Any]
    note: str = ""
    takes_env: bool = False
    variadic: bool = False
    asks: str = ""
    fixed: int = 0
    prepare: Callable[[Any], Callable[..., Any] | None] | None = None
    """Where argument number `fixed` is written in the expression: a function of the others, or None."""

    @property
    def signature(self) -> str:
        arguments = ", ".join("|".join(types) for types in self.arguments or ())
        return f"{self.name}({arguments}) {','.join(self.returns)}"


def declare(name: str, arguments: str | None, returns: str, handler: Callable[..., Any], note: str = "", *,
            env: bool = False, variadic: bool = False, asks: str = "", fixed: int = 0,
            prepare: Callable[[Any], Callable[..., Any] | None] | None = None) -> Function:
    """`arguments` as in `object|array, string`. A handler pays for what it makes through `env`."""
    types = None if arguments is None else tuple(tuple(types.split("|")) for types in arguments.split(", "))
    return Function(name, types, (returns,), handler, note, env, variadic, asks, fixed, prepare)


def invalid(value: Any, types: tuple[str, ...]) -> QueryError:
    """What go-jmespath says of an argument of another type."""
    return QueryError(f"Invalid type for: {sprint(value)}, expected: []jmespath.JpType{{"
                      + ", ".join(map(quote, types)) + "}")


def failed(function: str, message: str) -> QueryError:
    return QueryError(f"JMESPath function '{function}': {message}")
