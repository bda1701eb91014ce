"""Entries of a `context` that are made of others: `variable`; and how all of them read their texts."""

from __future__ import annotations

from typing import Any

from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.worlds import JMESPATH
from policylang.errors import InvalidError, NotEvaluatedError
from policylang.go.printing import sprint
from policylang.jmespath import Env, QueryError
from policylang.jmespath import compile as compile_jmespath
from policylang.source import SourceError
from policylang.variables import NotMadeError, Roots, compile_query, compile_value


class Filled:
    """A part of an entry with its variables."""

    def __init__(self, written: Any, where: str, roots: Roots, failed: str) -> None:
        """`failed` is what a message says before the reason."""
        self.written = written
        self._fill = compile_value(written, where, roots)
        self._failed = failed

    @property
    def fixed(self) -> bool:
        """Whether it has no variables."""
        return self._fill is None

    def __call__(self, data: dict[str, Any], given: Given) -> Any:
        """Raises NotMadeError."""
        if self._fill is None:
            return self.written
        try:
            return self._fill(data, given.context.now)
        except QueryError as error:
            raise NotMadeError(f"{self._failed}: {error.message}") from None


class Path:
    """A `jmesPath` that is applied to a value; it may have variables itself."""

    def __init__(self, written: str, where: str, roots: Roots, name: str) -> None:
        """Raises NotEvaluatedError, InvalidError."""
        self.written = written
        self.text = Filled(written, where, roots, f"failed to substitute variables in context entry {name} {written}")
        self._name = name
        if self.text.fixed:
            try:
                asked = compile_jmespath(written).asks - roots.asks
            except SourceError as error:
                raise InvalidError(where, got=written, expected=f"a JMESPath expression ({error.reason})") from None
            if asked:
                raise NotEvaluatedError(where, f"a function that asks for {min(asked)} is not evaluated here")

    def filled(self, data: dict[str, Any], given: Given) -> str:
        """The expression. Raises NotMadeError."""
        text = self.text(data, given)
        if not isinstance(text, str):
            raise NotMadeError(f"jmespath value must be a string {self._name} {self.written}: <nil>")
        return text


def search(text: str, value: Any, given: Given) -> Any:
    """What an expression finds in a value. Raises QueryError."""
    try:
        program = compile_jmespath(text)
    except SourceError as error:
        raise QueryError(f"failed to compile JMESPath: {text}, error: {error.message}") from None
    return program(value, Env(given.context.now, world=JMESPATH))


class Variable:
    """`value`, `jmesPath` of it or of the context, and `default` where these give nothing."""

    replaces = True

    def __init__(self, fields: Fields, name: str, roots: Roots) -> None:
        self._name = name
        self._where = fields.path("jmesPath")
        self._default = self._filled(fields, "default", roots)
        self._value = self._filled(fields, "value", roots)
        path = fields.take("jmesPath", str)
        self._path = Path(path, self._where, roots, name) if path else None
        self._open = Roots(None, None, roots.asks, deferred=roots.deferred, world=roots.world)
        fields.done()

    def _filled(self, fields: Fields, part: str, roots: Roots) -> Filled | None:
        written = fields.any(part)
        return None if written is None else Filled(
            written, fields.path(part), roots,
            f"failed to substitute variables in context entry {self._name} {sprint(written)}")

    def value(self, data: dict[str, Any], given: Given) -> Any:
        text = self._path.filled(data, given) if self._path is not None else ""
        made = default = self._default(data, given) if self._default is not None else None
        if self._value is not None:
            made = self._value(data, given)
        if text:
            try:
                if self._value is not None:
                    made = search(text, made, given)
                else:
                    queried = compile_query(text, self._where, self._open)(data, given.context.now)
                    made = default if queried is None else queried
            except QueryError as error:
                if default is None:
                    head = "" if self._value is not None or isinstance(error, NotMadeError) else (
                        "JMESPath query failed: ")
                    raise NotMadeError(f"failed to apply jmespath {text} to variable <nil>: {head}{error.message}"
                                       ) from None
                made = default
        if made is None:
            raise NotMadeError(f"failed to add context entry for variable {self._name} since it evaluated to nil")
        return made
