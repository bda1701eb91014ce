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
        shown = repr(got) if isinstance(got, (str, bytes)) else str(got)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{where}: got {shown}, expected {expected}", hint=hint)
        self.where = where
        self.got, self.expected = got, expected


class NotEvaluatedError(InputError):
    """Something well formed that is not evaluated here. `where` is the path of the field."""

    def __init__(self, where: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{where}: {reason}", hint=hint)
        self.where = where
        self.reason = reason
