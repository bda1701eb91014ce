"""The answers that a decision has, and the questions that it met and had no answer to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody.errors import CustodyError
from custody.ports.lookup import Absent, Answer, Answered, Disabled, Question


class UnansweredError(CustodyError):
    """Nobody has been asked yet. The decision ends with the question; whoever made it may ask, and decide again."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"not known yet: {question}")


class LookupFailedError(CustodyError):
    """The question was asked, and its answer could not be had."""

    def __init__(self, question: Question, reason: str) -> None:
        super().__init__(f"could not be had: {question}: {reason}")


class Together:
    """Asks several things before it raises for the first that nobody was asked yet, so that all are asked in one round.

        together = Together()
        for part in parts:
            with together:
                …
        together.done()
    """

    def __init__(self) -> None:
        self._unanswered: UnansweredError | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, UnansweredError):
            return False
        self._unanswered = self._unanswered or error
        return True

    def done(self) -> None:
        """Raises UnansweredError where one of the parts did."""
        if self._unanswered is not None:
            raise self._unanswered


class Answers:
    """`given` is what is known. `asked` is what was asked for beside it, in order."""

    def __init__(self, given: Mapping[Question, Answer]) -> None:
        self._given = given
        self.asked: dict[Question, None] = {}
        self.consulted = 0
        """How often anything was asked."""
        self.missed = 0
        """How often a question had no answer, also one that was asked before; `last` is the last of them."""
        self.last: Question
        self.images: dict[str, None] = {}
        """Canonical names of images whose evidence was asked for and not given."""

    def value(self, question: Question) -> Any:
        """The answer; None where there is no such thing. Raises UnansweredError, LookupFailedError."""
        self.consulted += 1
        answer = self._given.get(question)
        if isinstance(answer, Answered):
            return answer.value
        if isinstance(answer, Absent):
            return None
        if answer is None:
            self.asked[question] = None
            self.missed += 1
            self.last = question
            raise UnansweredError(question)
        if isinstance(answer, Disabled):
            raise LookupFailedError(question, "nobody is asked where policies are tried out")
        raise LookupFailedError(question, answer.reason)

    def disabled(self, question: Question) -> bool:
        """Whether nobody is to be asked this: what would load it is left out, as if it had not been written."""
        self.consulted += 1
        return isinstance(self._given.get(question), Disabled)
