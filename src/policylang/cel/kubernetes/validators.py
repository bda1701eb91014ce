"""What Kubernetes refuses in programs that check (cel-go cel/validator.go, ext/formatting.go).

Literals that could not be evaluated, lists and maps of several types, formats that do not fit their arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from policylang.cel.syntax.issues import CompileError, Issue
from policylang.cel.syntax.tree import Call, ListNode, Literal, MapNode, Node, children
from policylang.cel.types import DYN, Type, is_optional
from policylang.cel.values.conversions import to_duration, to_timestamp
from policylang.cel.values.errors import without_error
from policylang.go.regex import valid
from policylang.source import Source


def validate(source: Source, root: Node, *, literals: bool = True, homogeneous: bool = True) -> None:
    """CompileError with all issues of a checked tree."""
    issues: list[Issue] = []
    for node, formatted in _walk(root):
        if isinstance(node, Call):
            if literals and node.function in _GOOD and node.args:
                issues += _literal(node)
            if node.function == "format" and node.target is not None and len(node.args) == 1:
                issues += _format(node)
        elif homogeneous and not formatted and isinstance(node, ListNode):
            issues += _list(node)
        elif homogeneous and not formatted and isinstance(node, MapNode):
            issues += _map(node)
    if issues:
        raise CompileError(source, sorted(issues))


def _walk(root: Node) -> Iterator[tuple[Node, bool]]:
    """Every node, and whether it is below a call of format(), where lists may be mixed."""
    stack: list[tuple[Node | None, bool]] = [(root, False)]
    while stack:
        node, formatted = stack.pop()
        if node is None:
            continue
        yield node, formatted
        below = formatted or (isinstance(node, Call) and node.function == "format")
        stack += [(child, below) for child in children(node)]


# ── literals ────────────────────────────────────────────────────────────────────────────────────────────────────────

def _literal(call: Call) -> Iterator[Issue]:
    """The first argument of matches(text, pattern) is the text, and cel-go takes it for the pattern."""
    first = call.args[0]
    if isinstance(first, Literal) and not _GOOD[call.function](first.value):
        yield Issue(first.at, f"invalid {call.function} argument")


_GOOD: dict[str, Callable[[object], bool]] = {
    "duration": without_error(to_duration),
    "timestamp": without_error(to_timestamp),
    "matches": lambda value: not isinstance(value, str) or valid(value),
}


# ── lists and maps of one type ──────────────────────────────────────────────────────────────────────────────────────

def _list(node: ListNode) -> Iterator[Issue]:
    first: Type | None = None
    for at, element in enumerate(node.elements):
        of = _type(element, at in node.optional)
        if first is None:
            first = of
        elif not _same(first, of):
            yield _mixed(element, first, of)
            return


def _map(node: MapNode) -> Iterator[Issue]:
    key: Type | None = None
    value: Type | None = None
    for entry in node.entries:
        assert isinstance(entry.key, Node)
        key_type, value_type = _type(entry.key, False), _type(entry.value, entry.optional)
        if key is None or value is None:
            key, value = key_type, value_type
            continue
        if not _same(key, key_type):
            yield _mixed(entry.key, key, key_type)
        if not _same(value, value_type):
            yield _mixed(entry.value, value, value_type)


def _mixed(node: Node, first: Type, of: Type) -> Issue:
    return Issue(node.at, f"expected type '{first}' but found '{of}'")


def _type(node: Node, optional: bool) -> Type:
    of = node.type or DYN
    return of.params[0] if optional and is_optional(of) else of


def _same(left: Type, right: Type) -> bool:
    """Names of type parameters do not count."""
    if left.kind != right.kind or len(left.params) != len(right.params):
        return False
    return (left.kind == "param" or left.name == right.name) and all(map(_same, left.params, right.params))


# ── format() ────────────────────────────────────────────────────────────────────────────────────────────────────────

_CLAUSE = re.compile(r"(\.[0-9]*)?(.)?", re.DOTALL)
_SHOWN = ("list", "map", "int", "uint", "double", "bool", "string", "timestamp", "bytes", "duration", "type", "null")
_STRING_WORDS = ("string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, "
                 "durations, and timestamps")
_CLAUSES: dict[str, tuple[tuple[str, ...], str]] = {
    "s": (_SHOWN, _STRING_WORDS),
    "d": (("int", "uint"), "decimal clause can only be used on integers"),
    "f": (("double", "string"), "fixed-point clause can only be used on doubles"),
    "e": (("double", "string"), "scientific clause can only be used on doubles"),
    "b": (("int", "uint", "bool"), "only integers and bools can be formatted as binary"),
    **dict.fromkeys("xX", (("int", "uint", "string", "bytes"),
                           "only integers, byte buffers, and strings can be formatted as hex")),
    "o": (("int", "uint"), "octal clause can only be used on integers"),
}


def _format(call: Call) -> Iterator[Issue]:
    target, given = call.target, call.args[0]
    if not isinstance(target, Literal) or not isinstance(target.value, str) or not isinstance(given, ListNode):
        return
    text, at, used = target.value, 0, 0
    while (at := text.find("%", at)) >= 0:
        if text[at + 1:at + 2] == "%":
            at += 2
            continue
        used += 1
        clause = _CLAUSE.match(text, at + 1)
        assert clause is not None
        precision, verb = clause[1], clause[2]
        wrong = _unparsed(text, at, precision, verb)
        if not wrong and used > len(given.elements):
            wrong = f"index {used - 1} out of range"
        if wrong:
            yield Issue(call.at, wrong)
            return
        node = _misfit(given.elements[used - 1], verb)
        if node is not None:
            shown = (node.type or DYN).name
            yield Issue(node.at, f"error during formatting: {_CLAUSES[verb][1]}, was given {shown}")
            return
        at = clause.end()
    if len(given.elements) > used:
        yield Issue(call.at, f"too many arguments supplied to string.format (expected {used}, "
                             f"got {len(given.elements)})")


def _unparsed(text: str, at: int, precision: str | None, verb: str | None) -> str:
    if at + 1 >= len(text):
        return "unexpected end of string"
    said = "could not parse formatting clause: "
    if verb is None:
        return f"{said}error while parsing precision: could not find end of precision specifier"
    if precision == ".":
        return (f'{said}error while parsing precision: error while converting precision to integer: strconv.Atoi: '
                'parsing "": invalid syntax')
    return "" if verb in _CLAUSES else f'{said}unrecognized formatting clause "{verb}"'


def _misfit(node: Node, verb: str) -> Node | None:
    """The part of an argument that its clause does not take."""
    of = node.type or DYN
    if not of.is_dyn and of.kind not in _CLAUSES[verb][0]:
        return node
    if verb != "s":
        return None
    parts: list[Node] = []
    if isinstance(node, ListNode):
        parts = node.elements
    elif isinstance(node, MapNode):
        parts = [part for entry in node.entries for part in (entry.key, entry.value) if isinstance(part, Node)]
    return next((misfit for part in parts if (misfit := _misfit(part, verb)) is not None), None)
