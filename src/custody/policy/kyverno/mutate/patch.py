"""One patch of a rule or of a foreach: `patchStrategicMerge` or `patchesJson6902`, its variables filled in."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.kyverno.mutate import jsonpatches, strategic
from custody.policy.kyverno.mutate.nodes import PatchError
from policylang.errors import LanguageError
from policylang.variables import Roots, Value, compile_value, has_variables

_FORMS = ("patchStrategicMerge", "patchesJson6902")
_VARIABLE = re.compile(r"\{\{(?:\{[^{}]*\}|[^{}])*\}\}")
Apply = Callable[[dict[str, Any], dict[str, Any], datetime], dict[str, Any]]
"""(variables, object, now) → the object with the patch. Raises PatchError; LanguageError where a variable fails."""


class Patch:
    """`written` is what stands in the policy, by the field's name."""

    def __init__(self, fields: Fields, roots: Roots, around: dict[str, Any] | None = None) -> None:
        """`around`: what Kyverno fills in with the patch, and what fails with it. Raises MalformedError, PatchError."""
        forms = [form for form in _FORMS if fields.has(form)]
        if len(forms) != 1:
            raise MalformedError(fields.where, got=" and ".join(forms) or "none of them",
                                 expected=f"one of {', '.join(_FORMS)}")
        self.form = forms[0]
        self.where = fields.path(self.form)
        text = fields.need(self.form, str) if self.form == _FORMS[1] else ""
        self.written: Any = text or fields.need(self.form, dict)
        self._inside = around is not None
        # Kyverno goes the way of the rule's fields, and says it in messages.
        document = {self.form: self.written}
        whole = {**(around or {}), "mutate": document} if self._inside else document
        where = self.where.removesuffix(f".{self.form}").removesuffix(".mutate" if self._inside else "")
        self._fill: Value | None = compile_value(whole, where, roots)
        self._fixed: list[jsonpatches.Operation] | None = None
        self._shape: list[Any] | None = None
        if self.form == _FORMS[1]:
            try:
                if not has_variables(text):
                    self._fixed = jsonpatches.read(text)
                else:
                    self._shape = _shape(text)
            except PatchError as error:
                raise MalformedError(self.where, got=error.message, expected="operations of RFC 6902") from None

    def filled(self, data: dict[str, Any], now: datetime) -> Any:
        """The patch for one request. Raises LanguageError."""
        if self._fill is None:
            return self.written
        whole = self._fill(data, now)
        return (whole["mutate"] if self._inside else whole)[self.form]

    def apply(self, filled: Any, resource: dict[str, Any]) -> Any:
        """A resource with what `filled` gave. Raises PatchError."""
        if self.form == _FORMS[0]:
            return strategic.patched(filled, resource)
        operations = self._fixed
        if operations is None:
            operations = jsonpatches.read(str(filled))
            if self._shape is not None and _names(operations) != self._shape:
                raise PatchError("failed to decode patches: the value of a variable is read as operations of its own")
        return jsonpatches.apply(operations, resource)


def _shape(written: str) -> list[Any] | None:
    """The names of the operations, whatever their variables are; None where that cannot be said.

    The values of variables come from the object that is judged: what is written there must not patch it.
    """
    text = written
    while (plain := _VARIABLE.sub("variable", text)) != text:
        text = plain
    try:
        operations = jsonpatches.read(text)
    except (PatchError, LanguageError):
        return None
    return _names(operations)


def _names(operations: list[jsonpatches.Operation]) -> list[Any]:
    return [[operation["op"], *sorted(operation)] for operation in operations]
