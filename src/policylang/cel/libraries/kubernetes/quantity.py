"""kubernetes.quantity: resource quantities, `quantity("1.5Gi")`, which are policylang.go.quantities' own."""

from __future__ import annotations

from typing import Any, ClassVar

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kubernetes.prices import READ
from policylang.cel.library import Function, Library, Overload, function
from policylang.cel.types import BOOL, DOUBLE, INT, STRING, Type, message
from policylang.cel.values.errors import CelError, without_error
from policylang.go import quantities

QUANTITY = message("kubernetes.Quantity")


class Quantity(quantities.Quantity):
    """Equal to what is as much."""

    __slots__ = ()
    cel_type: ClassVar[Type] = QUANTITY

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantity):
            raise CelError("no such overload")
        return self.compared(other) == 0

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"quantity({str(self)!r})"


def parse(text: str) -> Quantity:
    """CelError in Go's words where `text` is no quantity."""
    try:
        return Quantity(*quantities.parse(text))
    except quantities.QuantityError as wrong:
        raise CelError(wrong.message) from None


def _as_integer(of: Quantity) -> int:
    value = of.integer()
    if value is None:
        raise CelError("cannot convert value to integer")
    return value


def _sum(left: Quantity, right: quantities.Quantity) -> Quantity:
    return Quantity(*left.plus(right))


def _member(name: str, *overloads: tuple[str, tuple[Type, ...], Type, Any]) -> Function:
    return function(name, *(Overload(*overload, CONSTANT, member=True) for overload in overloads))


_TWO = (QUANTITY, QUANTITY)

LIBRARY = Library("kubernetes.quantity", types=(QUANTITY,), functions=(
    function("quantity", Overload("string_to_quantity", (STRING,), QUANTITY, parse, READ)),
    function("isQuantity", Overload("is_quantity_string", (STRING,), BOOL, without_error(parse), READ)),
    # Kubernetes declares sign as a plain function, so `q.sign()` does not compile there.
    function("sign", Overload("quantity_sign", (QUANTITY,), INT, lambda of: (of.digits > 0) - (of.digits < 0),
                              CONSTANT)),
    _member("isGreaterThan", ("quantity_is_greater_than", _TWO, BOOL, lambda left, right: left.compared(right) > 0)),
    _member("isLessThan", ("quantity_is_less_than", _TWO, BOOL, lambda left, right: left.compared(right) < 0)),
    _member("compareTo", ("quantity_compare_to", _TWO, INT, Quantity.compared)),
    _member("asApproximateFloat", ("quantity_get_float", (QUANTITY,), DOUBLE, Quantity.approximate)),
    _member("asInteger", ("quantity_get_int", (QUANTITY,), INT, _as_integer)),
    _member("isInteger", ("quantity_is_integer", (QUANTITY,), BOOL, lambda of: of.integer() is not None)),
    _member("add", ("quantity_add", _TWO, QUANTITY, _sum),
            ("quantity_add_int", (QUANTITY, INT), QUANTITY, lambda of, by: _sum(of, quantities.of_integer(by)))),
    _member("sub", ("quantity_sub", _TWO, QUANTITY, lambda left, right: _sum(left, right.negative())),
            ("quantity_sub_int", (QUANTITY, INT), QUANTITY, lambda of, by: _sum(of, quantities.of_integer(-by)))),
))
