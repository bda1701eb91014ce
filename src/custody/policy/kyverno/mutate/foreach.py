"""`foreach`: patches for each element of a list (Kyverno pkg/engine/handlers/mutation/common.go)."""

from __future__ import annotations

from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.context import compile_context
from custody.policy.kyverno.mutate.nodes import PatchError, size
from custody.policy.kyverno.mutate.patch import Patch
from custody.policy.lookup import UnansweredError
from custody.policy.model import Outcome
from policylang.conditions import Conditions, compile_conditions
from policylang.errors import LanguageError
from policylang.jmespath import QueryError
from policylang.variables import NotMadeError, Roots, Value, compile_query

_ORDERS = ("Ascending", "Descending")
_DEEPEST = 8
MAX_ELEMENTS = 10_000
"""Elements that all lists of a rule may have together, those of nested ones in each round of the outer."""
MAX_VALUES = 4_000_000
"""Values that may be copied for all elements of a rule together: each patch copies the object, however large."""
_WEIGHED = 32  # patches between which an object is weighed anew


class ForEachError(PatchError):
    """The rule is an error with this message."""


def element_names(nesting: int) -> tuple[str, ...]:
    return "element", "elementIndex", f"element{nesting}", f"elementIndex{nesting}"


def with_element(data: dict[str, Any], element: Any, index: int, nesting: int) -> dict[str, Any]:
    """Variables beside those of an element."""
    return {**data, "element": element, "elementIndex": index, f"element{nesting}": element,
            f"elementIndex{nesting}": index}


def elements_of(listed: Value, data: dict[str, Any], given: Given) -> list[Any]:
    """What a `list` finds; a single value is a list of one. Raises QueryError."""
    found = listed(data, given.context.now)
    return found if isinstance(found, list) else [found]


class _Left:
    """What a rule may still do for one request."""

    def __init__(self) -> None:
        self._elements = MAX_ELEMENTS
        self._values = MAX_VALUES
        self._patches = 0
        self._size = 0

    def take(self, elements: int) -> None:
        """Raises ForEachError."""
        self._elements -= elements
        if self._elements < 0:
            raise ForEachError(f"the lists of foreach have more than {MAX_ELEMENTS} elements together")

    def copy(self, resource: Any) -> None:
        """Raises ForEachError."""
        if self._patches % _WEIGHED == 0:
            self._size = size(resource)
        self._patches += 1
        self._values -= self._size
        if self._values < 0:
            raise ForEachError(f"foreach copies more than {MAX_VALUES} values: its patches are too many for an object "
                               f"of {self._size}")


class _Loop:
    """One entry of a `foreach`."""

    def __init__(self, fields: Fields, roots: Roots, nesting: int, namespace: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        if nesting > _DEEPEST:
            raise MalformedError(fields.where, got=f"more than {_DEEPEST} loops in each other", expected="fewer")
        self.nesting = nesting
        self.listed = fields.need("list", str)
        self.elements = compile_query(self.listed, fields.path("list"), roots)
        inner = roots.extended(element_names(nesting))
        self.context, inner = compile_context(fields.each("context"), inner, namespace)
        order = fields.take("order", str)
        if order not in (None, *_ORDERS):
            raise MalformedError(fields.path("order"), got=order, expected=" or ".join(_ORDERS))
        block = fields.any("preconditions")
        self.preconditions: Conditions | None = None if block is None else compile_conditions(
            block, fields.path("preconditions"), inner)
        loops = fields.each("foreach")
        self.inner: ForEach | None = None
        self.patch: Patch | None = None
        if loops:
            self.inner = ForEach(loops, inner, nesting + 1, namespace)
        else:
            self.patch = Patch(fields, inner.extended((), current=inner.current, skipped=2) if inner.current else inner)
        fields.done()
        # Merging puts what a patch has first, so the last element is patched first.
        strategic = self.patch is not None and self.patch.form == "patchStrategicMerge"
        self.reverse = order == "Descending" if order else strategic


class ForEach:
    """All loops of one level, in order; each sees what those before it patched."""

    def __init__(self, loops: list[Fields], roots: Roots, nesting: int = 0, namespace: str = "") -> None:
        self._loops = [_Loop(fields, roots, nesting, namespace) for fields in loops]

    def patched(self, resource: dict[str, Any], data: dict[str, Any], given: Given) -> tuple[Outcome, str, Any]:
        """(outcome, message, resource). Raises ForEachError; UnansweredError."""
        return self._patched(resource, data, given, _Left())

    def _patched(self, resource: Any, data: dict[str, Any], given: Given, left: _Left) -> tuple[Outcome, str, Any]:
        applied = 0
        for loop in self._loops:
            try:
                elements = elements_of(loop.elements, data, given)
            except QueryError as error:
                reason = error.message if isinstance(error, NotMadeError) else f"JMESPath query failed: {error.message}"
                raise ForEachError(f"failed to evaluate list {loop.listed}: {reason}: {reason}") from None
            left.take(len(elements))
            try:
                after = self._of_loop(loop, elements, resource, data, given, left)
            except ForEachError as error:
                raise ForEachError(f"failed to mutate elements: {error.message}") from None
            if after != resource:
                applied += 1
                resource = after
                data = {**data, "request": {**data["request"], "object": resource}}
        outcome = Outcome.PASS if applied else Outcome.SKIP
        return outcome, f"{applied} elements processed", resource

    def _of_loop(self, loop: _Loop, elements: list[Any], resource: Any, data: dict[str, Any], given: Given,
                 left: _Left) -> Any:
        indexed = list(enumerate(elements))
        for index, element in reversed(indexed) if loop.reverse else indexed:
            if element is None:
                continue
            own = loop.context.opened(with_element(data, element, index, loop.nesting), given)
            try:
                if loop.preconditions is not None and not loop.preconditions(own, given.context.now)[0]:
                    continue
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                raise ForEachError(f"failed to evaluate mutate.foreach[{index}].preconditions: {error.message}"
                                   ) from None
            if loop.inner is not None:
                resource = loop.inner._patched(resource, own, given, left)[2]
            elif loop.patch is not None:
                left.copy(resource)
                resource = patched(loop.patch, resource, own, given)
        return resource


def patched(patch: Patch, resource: Any, data: dict[str, Any], given: Given) -> Any:
    """A resource with a patch. Raises ForEachError, whose message is the result's."""
    try:
        filled = patch.filled(data, given.context.now)
    except LanguageError as error:
        raise ForEachError(f"variable substitution failed: {error.message}") from None
    try:
        return patch.apply(filled, resource)
    except PatchError as error:
        raise ForEachError(f"failed to patch resource: {error.message}") from None


