"""`validate.foreach`: blocks that are judged for each element of lists (Kyverno validate_resource.go)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.kyverno.context import Context, compile_context
from custody.policy.kyverno.judgement import Judge, Judgement, Subject
from custody.policy.model import Outcome
from policylang.conditions import Conditions, compile_conditions
from policylang.errors import LanguageError
from policylang.jmespath import QueryError, UnknownKeyError
from policylang.variables import Roots, compile_query

_DEEPEST = 8
_MOST = 10_000
"""Elements of one list."""
_NAMES: dict[type, str] = {str: "string", bool: "bool", int: "float64", float: "float64", list: "[]interface {}",
                           type(None): "<nil>"}
Body = Callable[[Fields, Roots, int], Judge]
"""Compiles the block that one element is judged by; the number is how deep in other lists it stands."""


def element_roots(roots: Roots, depth: int) -> Roots:
    """With the names of an element, and of its place, at one depth."""
    names = ("element", "elementIndex", f"element{depth}", f"elementIndex{depth}")
    return roots.extended(names)


class List:
    """A `list`: a JMESPath expression."""

    def __init__(self, text: str, where: str, roots: Roots) -> None:
        """Raises InputError for what is no expression, NotEvaluatedError for names that there are not."""
        self._query = compile_query(text.strip(), where, roots)

    def __call__(self, values: dict[str, Any], now: datetime) -> Sequence[Any]:
        """Its elements; one, where it yields no list. Raises QueryError."""
        found = self._query(values, now)
        return found if isinstance(found, list) else [found]


class _Loop(NamedTuple):
    elements: List
    context: Context
    scoped: bool | None
    preconditions: Conditions | None
    judge: Judge
    depth: int


def compile_foreach(loops: Sequence[Fields], roots: Roots, depth: int, body: Body, namespace: str = "") -> Judge:
    """The judgement of all lists of one `foreach`. Raises MalformedError, UnsupportedError and InputError."""
    if depth > _DEEPEST:
        raise MalformedError(loops[0].where, got=f"{depth} lists in each other", expected=f"at most {_DEEPEST}")
    compiled = [_loop(fields, roots, depth, body, namespace) for fields in loops]

    def judge(subject: Subject) -> Judgement | None:
        counted = [0] if subject.counted is None else subject.counted
        subject = subject._replace(counted=counted)
        applied, failure = 0, ""
        for loop in compiled:
            try:
                elements = loop.elements(subject.values, subject.now)
            except UnknownKeyError:  # a field that is not there is no list
                continue
            except QueryError as error:
                failure = f"JMESPath query failed: {error.message}"
                continue
            counted[0] += len(elements)
            if counted[0] > _MOST:  # of nested lists, in each round of the outer one
                return Judgement(Outcome.ERROR, f"the lists of foreach have more than {_MOST} elements together")
            said, count = _judged(loop, elements, subject)
            if said is not None:
                return said
            applied += count
        if applied:
            return Judgement(Outcome.PASS, "rule passed")
        return Judgement(Outcome.ERROR, f"failed to evaluate list: {failure}") if failure else None

    return judge


def _loop(fields: Fields, roots: Roots, depth: int, body: Body, namespace: str) -> _Loop:
    inner = element_roots(roots, depth)
    elements = List(fields.need("list", str), fields.path("list"), roots)
    context, inner = compile_context(fields.each("context"), inner, namespace)
    scoped = fields.take("elementScope", bool)
    block = fields.any("preconditions")
    conditions = None if block is None else compile_conditions(
        block, fields.path("preconditions"), inner, plain=True)
    return _Loop(elements, context, scoped, conditions, body(fields, inner, depth + 1), depth)


def _judged(loop: _Loop, elements: Sequence[Any], subject: Subject) -> tuple[Judgement | None, int]:
    """(what is against an element, or None; how many elements passed)."""
    applied = 0
    opens = bool(loop.context) or subject.given.context.simulated is not None
    for at, element in enumerate(elements):
        if element is None:
            continue
        scoped = isinstance(element, dict) if loop.scoped is None else loop.scoped
        if scoped and not isinstance(element, dict):
            return Judgement(Outcome.ERROR, "failed to process foreach: cannot use elementScope=true foreach rules for "
                             f"elements that are not maps, expected type=map got type={_NAMES[type(element)]}"), applied
        values = {**subject.values, "element": element, f"element{loop.depth}": element, "elementIndex": at,
                  f"elementIndex{loop.depth}": at}
        if opens:
            values = loop.context.opened(values, subject.given)
        inner = Subject(subject.given, values, element if scoped else subject.element, subject.counted)
        if loop.preconditions is not None:
            try:
                if not loop.preconditions(values, subject.now)[0]:
                    continue
            except LanguageError:  # Kyverno passes such an element over; what could not be looked up it does not
                continue
        said = loop.judge(inner)
        if said is None or said.outcome is Outcome.SKIP:
            continue
        if said.outcome is not Outcome.PASS:
            if said.outcome is Outcome.ERROR and "failed to evaluate preconditions" in said.message:
                continue
            return Judgement(said.outcome, f"validation failure: {said.message}"), applied
        applied += 1
    return None, applied
