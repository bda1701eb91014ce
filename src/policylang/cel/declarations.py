"""What a program may name, and what the names stand for: libraries, variables and types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from policylang.cel import types
from policylang.cel.cost.units import CONSTANT, Cost
from policylang.cel.dispatch import Dispatcher
from policylang.cel.libraries.optional import OPTIONAL
from policylang.cel.libraries.standard import STANDARD
from policylang.cel.library import Constant, Function, Library, Overload
from policylang.cel.protobuf.descriptors import Descriptors
from policylang.cel.syntax.expander import Macro
from policylang.cel.syntax.tree import Node, Reference
from policylang.cel.types import Type
from policylang.cel.values.values import TypeValue
from policylang.errors import InputError
from policylang.source import Source

# Overloads that the compiler may write out; others are looked for and called.
KNOWN = frozenset(overload.id for library in (STANDARD, OPTIONAL) for function in library.functions
                  for overload in function.overloads)


class TypeProvider(Protocol):
    """Messages and enums by full name: a descriptor set, or the schemas of Kubernetes' resources."""

    def has_type(self, name: str) -> bool: ...

    def field_type(self, name: str, field: str) -> Type | None:
        """None where the message has no such field."""
        ...

    def enum_value(self, name: str) -> tuple[Type, Any] | None:
        """The value of a full name such as `pkg.Enum.VALUE`."""
        ...

    def functions(self) -> Iterable[Function]:
        """Functions that the types bring along."""
        ...

    def new(self, name: str, fields: dict[str, Any]) -> Any:
        """The message that `name{field: value}` makes."""
        ...


class Declarations:
    """`variables`: names, qualified ones too, and their types. `container`: the namespace that names are looked up in.

    `cross_type`: `1 < 1.5` passes the checker. `homogeneous`: elements of literals must be of one type. `optionals`:
    whether `a.?b` is accepted, by default where the optional library is given. `validators`: what a dialect refuses in
    programs that check, each by a CompileError.
    """

    def __init__(self, libraries: Sequence[Library] = (), variables: Mapping[str, Type] | None = None,
                 container: str = "", descriptors: TypeProvider | None = None, *, cross_type: bool = False,
                 homogeneous: bool = False, optionals: bool | None = None, macros: bool = True,
                 standard: Library = STANDARD, validators: Sequence[Callable[[Source, Node], None]] = ()) -> None:
        self._given = descriptors, macros, standard
        self.libraries = tuple(libraries)
        self.descriptors = descriptors if descriptors is not None else _well_known()
        self.variables = dict(variables or {})
        self.container, self.cross_type, self.homogeneous = container, cross_type, homogeneous
        self.optionals = optionals if optionals is not None else any(
            library.name == "cel.lib.optional" for library in libraries)
        self.validators = tuple(validators)
        self.functions: dict[str, tuple[Overload, ...]] = {}
        self.foreign: set[str] = set()
        self.constants: dict[str, Constant] = {}
        self.macros: dict[tuple[str, int, bool], Macro] = {}
        for library in (standard, *libraries):
            self._add(library)
        for function in self.descriptors.functions():
            self._add_function(function)
        if not macros:
            self.macros = {}
        self._dispatchers: dict[tuple[Any, ...], Dispatcher] = {}

    def _add(self, library: Library) -> None:
        for function in library.functions:
            self._add_function(function)
        for constant in library.constants:
            self.constants[constant.name] = constant
        for of in library.types:
            self.constants.setdefault(of.name, Constant(of.name, types.type_of(of), TypeValue(of.name)))
        for macro in library.macros:
            self.macros[macro.name, macro.arity, macro.member] = macro

    def _add_function(self, function: Function) -> None:
        """Overloads join those of the same function; one with the same id takes the other's place."""
        ids = {overload.id for overload in function.overloads}
        if not ids <= KNOWN:
            self.foreign.add(function.name)
        before = tuple(overload for overload in self.functions.get(function.name, ()) if overload.id not in ids)
        for overload in function.overloads:
            for known in before:  # cel-go refuses it too: which of them is called would be left to chance
                if (known.member, known.params) == (overload.member, overload.params):
                    raise InputError(f"function {function.name}: got overload {overload.id} with the parameters of "
                                     f"{known.id}, expected others, or that one's id to take its place")
        self.functions[function.name] = before + function.overloads

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def candidates(self, name: str) -> list[str]:
        """The full names that a name may stand for, innermost first."""
        if name.startswith("."):
            return [name[1:]]
        prefix = self.container
        names: list[str] = []
        while prefix:
            names.append(f"{prefix}.{name}")
            prefix = prefix.rpartition(".")[0]
        return [*names, name]

    def resolve(self, name: str) -> tuple[Reference, Type] | None:
        """What a qualified name stands for: a variable, a constant, a type or an enum's value."""
        for full in self.candidates(name):
            if (of := self.variables.get(full)) is not None:
                return Reference(full), of
            if (constant := self.constants.get(full)) is not None:
                return Reference(full, True, constant.value), constant.type
            if (known := types.WELL_KNOWN.get(full)) is not None:
                return Reference(full, True, TypeValue(full)), types.type_of(known)
            if self.descriptors.has_type(full):
                return Reference(full, True, TypeValue(full)), types.type_of(types.message(full))
            if (member := self.descriptors.enum_value(full)) is not None:
                return Reference(full, True, member[1]), member[0]
        return None

    def function_name(self, name: str) -> str | None:
        return next((full for full in self.candidates(name) if full in self.functions), None)

    def message_name(self, name: str) -> str | None:
        for full in self.candidates(name):
            if self.descriptors.has_type(full):
                return full
        return None

    def field_type(self, message: str, field: str) -> Type | None:
        return self.descriptors.field_type(message, field)

    def writes_out(self, function: str, ids: tuple[str, ...] | None) -> bool:
        """Whether a call can mean nothing but what the standard and the optional library have."""
        return function not in self.foreign or (ids is not None and KNOWN.issuperset(ids))

    def overloads(self, function: str, member: bool, count: int, ids: tuple[str, ...] | None) -> list[Overload]:
        """Those that a call may mean; `ids` are those that the checker left over, None where it was not asked."""
        return [overload for overload in self.functions.get(function, ()) if overload.member == member
                and len(overload.params) == count and (ids is None or overload.id in ids)]

    def cost_of(self, function: str, overload: str) -> Cost:
        """What an overload declares; 1 for what only the expansion of loops calls."""
        return next((known.cost for known in self.functions.get(function, ()) if known.id == overload), CONSTANT)

    def dispatcher(self, function: str, member: bool, count: int, ids: tuple[str, ...] | None) -> Dispatcher:
        """What finds the overload at run time."""
        key = function, member, count, ids
        dispatcher = self._dispatchers.get(key)
        if dispatcher is None:
            dispatcher = self._dispatchers[key] = Dispatcher(function, self.overloads(function, member, count, ids))
        return dispatcher


@cache
def _well_known() -> TypeProvider:
    return Descriptors()
