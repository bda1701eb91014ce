"""Overloads found by the types that arguments have at run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from policylang.cel.library import Overload
from policylang.cel.types import Type
from policylang.cel.values.values import Duration, Optional, Timestamp, TypeValue, Uint, no_such_overload, type_of

_CLASSES: dict[str, type] = {
    "bool": bool, "int": int, "uint": Uint, "double": float, "string": str, "bytes": bytes, "list": list, "map": dict,
    "timestamp": Timestamp, "duration": Duration, "type": TypeValue, "null": type(None),
}
_MANY = 256  # combinations of classes that one dispatcher remembers


def accepts(of: Type, value: Any) -> bool:
    """Whether a value may be an argument of that type; type parameters are not looked at."""
    kind = of.kind
    if kind == "param" or of.is_dyn:
        return True
    if kind == "wrapper":
        return value is None or accepts(of.params[0], value)
    expected = _CLASSES.get(kind)
    if expected is not None:
        return type(value) is expected or (expected in (list, dict) and isinstance(value, expected))
    if of.name == "optional_type":
        return type(value) is Optional
    return type_of(value).name == of.name


class Dispatcher:
    """One function and the overloads that a call may mean. Where one is `metered`, the meter comes last."""

    __slots__ = ("function", "known", "metered", "overloads", "varies")

    def __init__(self, function: str, overloads: Sequence[Overload]) -> None:
        self.function = function
        self.overloads = tuple(overloads)
        self.metered = any(overload.metered for overload in overloads)
        self.known: dict[tuple[type, ...], Callable[..., Any]] = {}
        # Messages of one Python class are of different types.
        self.varies = any(param.kind in ("message", "enum") for overload in overloads for param in overload.params)

    def find(self, arguments: Sequence[Any]) -> Callable[..., Any]:
        for overload in self.overloads:
            if overload.call is not None and all(map(accepts, overload.params, arguments)):
                return overload.call if overload.metered or not self.metered else _unmetered(overload.call)
        raise no_such_overload(self.function, *arguments)

    def __call__(self, *given: Any) -> Any:
        arguments = given[:-1] if self.metered else given
        classes = tuple(map(type, arguments))
        call = self.known.get(classes)
        if call is None:
            call = self.find(arguments)
            if not self.varies and len(self.known) < _MANY:
                self.known[classes] = call
        return call(*given)

    def __reduce__(self) -> tuple[Any, ...]:
        return Dispatcher, (self.function, self.overloads)


def _unmetered(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: call(*given[:-1])
