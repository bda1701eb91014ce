"""What a library gives to an environment: functions, constants, types and macros."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.cel.cost.units import Cost
from policylang.cel.syntax.expander import Macro
from policylang.cel.types import Type


class Overload(NamedTuple):
    """One signature of a function. With `member`, the first of `params` stands before the dot.

    `call` gets Python values and returns one; it raises CelError for an error value, whose text is shown as it is.
    `cost`: what calls cost; there is no default, so that CONSTANT is a statement. With `metered` it gets the
    evaluation's `budget.Meter` as its last argument: for what makes large values or loops. `strict` is False where
    errors of arguments are values to the function; only the standard library has such. `fold`: where all arguments are
    constants it may be called once, while compiling; never set it on what asks a clock or the world.
    """

    id: str
    params: tuple[Type, ...]
    result: Type
    call: Callable[..., Any] | None
    cost: Cost
    member: bool = False
    strict: bool = True
    metered: bool = False
    fold: bool = False


class Function(NamedTuple):
    name: str
    overloads: tuple[Overload, ...]


class Constant(NamedTuple):
    """A name with a value that programs may use without being given it."""

    name: str
    type: Type
    value: Any


class Library(NamedTuple):
    """Named as the environment that enables it names it, e.g. `cel.lib.ext.strings`.

    `source`: where another process finds it, as module, name and, where the name is a function, its arguments.
    Libraries at the top of their module, alone or in a tuple, are found without it.
    """

    name: str
    version: int = 0
    functions: tuple[Function, ...] = ()
    macros: tuple[Macro, ...] = ()
    constants: tuple[Constant, ...] = ()
    types: tuple[Type, ...] = ()
    source: tuple[str, str, tuple[Any, ...] | None] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.source is not None:
            return _named, self.source
        for module, holder in list(sys.modules.items()):
            if module.startswith("policylang.cel"):
                for name, value in vars(holder).items():
                    if value is self:
                        return _named, (module, name, None)
                    if isinstance(value, tuple) and type(value) is tuple and any(library is self for library in value):
                        return _within, (module, name, next(at for at, library in enumerate(value) if library is self))
        return Library, tuple(self)


def _named(module: str, name: str, arguments: tuple[Any, ...] | None) -> Library:
    held = getattr(importlib.import_module(module), name)
    library: Library = held if arguments is None else held(*arguments)
    return library


def _within(module: str, name: str, at: int) -> Library:
    library: Library = getattr(importlib.import_module(module), name)[at]
    return library


def function(name: str, *overloads: Overload) -> Function:
    return Function(name, overloads)
