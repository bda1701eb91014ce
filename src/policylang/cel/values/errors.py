"""Errors while a program runs: which Python exceptions are error values, and what each says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from policylang.errors import LanguageError


class CelError(LanguageError):
    """An evaluation that ends in an error value; the message is cel-go's."""

    code = "cel"
    http_status = 422


class MissingError(Exception):
    """A variable that was not given; the program is run again in its careful form, where only its use is an error."""


# What generated code catches: CelError, and what Python raises where a value is not of the kind that was expected.
FAULTS = (CelError, KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, RecursionError)


def error_of(fault: BaseException, fields: tuple[str, ...] = ()) -> CelError:
    """The error value that one of FAULTS stands for. `fields` of the program: see compile.emitter.Emitter.field."""
    if isinstance(fault, CelError):
        return fault
    if isinstance(fault, KeyError):
        return CelError(f"no such key: {key_text(fault.args[0])}" if fault.args else "no such key")
    if isinstance(fault, TypeError) and (field := _field_of(fault, fields)) is not None:
        if str(fault).startswith("list"):
            return CelError("unsupported index type 'string' in list")
        return CelError(f"no such key: {field}")
    if isinstance(fault, IndexError):
        return CelError("index out of bounds")
    if isinstance(fault, RecursionError):
        return CelError("value nested too deeply")
    if isinstance(fault, OverflowError):
        return CelError("range error")
    return CelError("no such overload")


def _field_of(fault: BaseException, fields: tuple[str, ...]) -> str | None:
    """The field that was asked of a value that has none: the line in generated code says which."""
    place = fault.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or place.tb_frame.f_code.co_filename != "<cel>" or place.tb_lineno < 2:
        return None
    return fields[place.tb_lineno - 2] if place.tb_lineno - 2 < len(fields) else None


def key_text(key: Any) -> str:
    if key is True or key is False:
        return str(key).lower()
    return str(key)


def without_error(read: Callable[..., object]) -> Callable[..., bool]:
    """Whether `read` takes what it is given."""
    def test(*arguments: Any) -> bool:
        try:
            read(*arguments)
        except CelError:
            return False
        return True
    return test


def missing() -> NoReturn:
    raise MissingError


def fail(message: str) -> NoReturn:
    raise CelError(message)


def rethrow(fault: BaseException) -> NoReturn:
    raise fault


def overload(*_: Any) -> NoReturn:
    raise CelError("no such overload")


def overflow() -> NoReturn:
    raise CelError("integer overflow")
