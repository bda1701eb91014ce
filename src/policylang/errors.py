"""Every exception that the languages raise on purpose.

    LanguageError
    ├── InputError                  a program, pattern or text that is not accepted
    │   ├── InvalidError            it is not what its syntax says: field, got, expected
    │   ├── NotEvaluatedError       well formed, and known not to be evaluated; never accepted and ignored
    │   └── SourceError (source)    a program with an error at a place in it
    ├── CelError, EvaluationError (Rego), QueryError (JMESPath)     evaluating it failed
    └── BudgetExceeded (budget)     it asked for more steps or bytes than it was given

A message says what was got and what was expected; `hint` is the next thing to try.
"""

from __future__ import annotations

from typing import Any


class LanguageError(Exception):
    """A program or its evaluation failed."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(LanguageError):
    """A program, a pattern or a text is not accepted as it was written."""


class InvalidError(InputError):
    """Text that is not what its syntax says. `where` is the path of the field."""

    def __init__(self, where: str, *, got: object, expected: str, hint: str | None = None) -> None:
        super().__init__(f"{where}: got {shown(got)}, expected {expected}", hint=hint)
        self.where = where
        self.got, self.expected = got, expected


class NotEvaluatedError(InputError):
    """Something well formed that is not evaluated here. `where` is the path of the field."""

    def __init__(self, where: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{where}: {reason}", hint=hint)
        self.where = where
        self.reason = reason


class Shape:
    """What a value of JSON or YAML is, in their words, where an error does not show the value itself.

    >>> print(Shape([1]), Shape(None), Shape({}))
    a list null a map
    """

    def __init__(self, value: Any) -> None:
        self._word = ("null" if value is None else "a boolean" if isinstance(value, bool) else
                      "a string" if isinstance(value, str) else "a number" if isinstance(value, (int, float)) else
                      "a list" if isinstance(value, (list, tuple)) else "a map" if isinstance(value, dict) else
                      "bytes" if isinstance(value, bytes) else "something else than JSON")

    def __str__(self) -> str:
        return self._word


def shown(got: object) -> str:
    """What an error says that it got, in at most 120 characters: texts in quotes, the rest as JSON has it."""
    if isinstance(got, (str, bytes)):
        text = repr(got[:120])
    else:
        text = {None: "null", True: "true", False: "false"}[got] if got is None or isinstance(got, bool) else str(got)
    return text if len(text) <= 120 else text[:117] + "..."
