"""Operators and functions that are written out where the checker knows enough; None means: call the function."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang import code as build
from policylang.cel.compile.emitter import Emitter, mark_boolean
from policylang.cel.syntax.tree import Call, ListNode, Literal, Node
from policylang.cel.values import arithmetic, containers, equality, errors, metering, patterns
from policylang.cel.values.values import INT_MAX, INT_MIN
from policylang.code import call, choose, load, walrus
from policylang.go import regex

_IS, _IS_NOT, _IN, _EQ, _NE = ast.Is(), ast.IsNot(), ast.In(), ast.Eq(), ast.NotEq()
_TRUE, _FALSE, _NONE = ast.Constant(True), ast.Constant(False), ast.Constant(None)
_SAME = frozenset({"int", "uint", "string", "bytes", "bool", "double", "timestamp", "duration"})
_EXACT = 1 << 53
_SHORT = 64  # elements, and
_LONG = 4096  # characters, that a loop looks through for nothing
_MANY = 8  # elements from which on a set is quicker than a tuple

_Operator = Callable[[Emitter, Call], ast.expr | None]


def _same_kind(emitter: Emitter, node: Call) -> str:
    """The kind that both operands are known to be of, or nothing."""
    left, right = (emitter.type_of(operand).kind for operand in node.args)
    return left if left == right and left in _SAME else ""


def _equality(same: bool) -> _Operator:
    operator = _EQ if same else _NE

    def emit(emitter: Emitter, node: Call) -> ast.expr:
        kind = _same_kind(emitter, node)
        if kind and not (emitter.sharing and kind in ("string", "bytes")):
            left, right = emitter.emit_all(node.args)
            return build.compare(left, operator, right)
        left_node, right_node = node.args
        if isinstance(left_node, Literal) and not isinstance(right_node, Literal):
            left_node, right_node = right_node, left_node
        if isinstance(right_node, Literal):
            made = _with_constant(emitter, left_node, right_node.value, same)
            if made is not None:
                return made
        left, right = emitter.emit_all(node.args)
        if emitter.sharing:
            within = equality.equal_within if same else equality.unequal_within
            return mark_boolean(emitter.call(within, left, right, emitter.meter()))
        helper = equality.equal if same else equality.unequal
        return mark_boolean(emitter.call(helper, left, right))

    return emit


def _with_constant(emitter: Emitter, node: Node, value: Any, same: bool) -> ast.expr | None:
    single = value is None or value is True or value is False
    if not single and type(value) not in (str, bytes) and not (
            type(value) is int and abs(value) < _EXACT and value not in (0, 1)):
        return None
    given = emitter.emit(node)
    if isinstance(given, ast.Constant):
        return ast.Constant(equality.equal(given.value, value) is same)
    if single:
        return build.compare(given, _IS if same else _IS_NOT, ast.Constant(value))
    return build.compare(given, _EQ if same else _NE, ast.Constant(value))


def _order(operator: ast.cmpop, helper: Callable[..., bool]) -> _Operator:
    def emit(emitter: Emitter, node: Call) -> ast.expr:
        same = _same_kind(emitter, node)
        left, right = emitter.emit_all(node.args)
        if same:
            return build.compare(left, operator, right)
        emitter.failing = True
        return mark_boolean(emitter.call(helper, left, right))

    return emit


def _arithmetic(operator: ast.operator, helper: Callable[..., object]) -> _Operator:
    def emit(emitter: Emitter, node: Call) -> ast.expr | None:
        same = _same_kind(emitter, node)
        if same == "double" and emitter.type_of(node).kind == "double":
            left, right = emitter.emit_all(node.args)
            return ast.BinOp(left, operator, right)
        if same == "int":
            left, right = emitter.emit_all(node.args)
            emitter.failing = True
            name = emitter.code.fresh()
            inside = ast.Compare(ast.Constant(INT_MIN), [ast.LtE(), ast.LtE()],
                                 [walrus(name, ast.BinOp(left, operator, right)), ast.Constant(INT_MAX)])
            return choose(inside, load(name), emitter.call(errors.overflow))
        emitter.failing = True
        left, right = emitter.emit_all(node.args)
        if helper is arithmetic.add and emitter.sharing:
            return emitter.call(metering.add_within, left, right, emitter.meter())
        if helper is arithmetic.add:
            return emitter.call(helper, left, right, ast.Constant(emitter.limits.size))
        return emitter.call(helper, left, right)

    return emit


def _direct(helper: Callable[..., object]) -> _Operator:
    """The helper does all types; there is no need to look for an overload."""
    def emit(emitter: Emitter, node: Call) -> ast.expr:
        arguments = emitter.emit_all(node.operands)
        emitter.failing = True
        return emitter.call(helper, *arguments)

    return emit


def _not(emitter: Emitter, node: Call) -> ast.expr:
    operand = emitter.emit(node.args[0])
    return build.negate(emitter.truth(node.args[0], operand))


def _minus(emitter: Emitter, node: Call) -> ast.expr:
    operand = emitter.emit(node.args[0])
    if emitter.type_of(node.args[0]).kind == "double":
        return ast.UnaryOp(ast.USub(), operand)
    emitter.failing = True
    return emitter.call(arithmetic.negate, operand)


def _index(emitter: Emitter, node: Call) -> ast.expr:
    container, key = node.args
    arguments = emitter.emit_all(node.args)
    emitter.failing = True
    if isinstance(key, Literal) and type(key.value) is str and emitter.type_of(container).kind in ("dyn", "map", "any"):
        return emitter.field(arguments[0], key.value)
    return emitter.call(containers.index, *arguments)


def _member(emitter: Emitter, node: Call) -> ast.expr:
    value, container = node.args
    if isinstance(container, ListNode) and not container.optional and container.elements \
            and all(isinstance(element, Literal) and type(element.value) is str for element in container.elements):
        texts = tuple(literal.value for literal in container.elements)  # type: ignore[attr-defined]
        known = emitter.type_of(value).kind == "string"
        many: object = frozenset(texts) if known and len(texts) > _MANY else texts
        return build.compare(emitter.emit(value), _IN, emitter.code.hoist(many))
    first, second = emitter.emit_all(node.args)
    emitter.failing = True
    helper: ast.expr
    if emitter.sharing:
        helper = emitter.code.hoist(equality.contains_within, "f")
        rest: tuple[ast.expr, ...] = (emitter.meter(),)
    else:
        helper, rest = emitter.code.hoist(equality.contains, "f"), ()
    if emitter.type_of(value).kind == "string" and emitter.type_of(container).kind in ("map", "list"):
        expected = dict if emitter.type_of(container).kind == "map" else list
        item, held = emitter.named(first), emitter.named(second)
        quick: ast.expr = build.compare(emitter.call(type, held), _IS, emitter.code.hoist(expected, "f"))
        if emitter.sharing and expected is list:
            quick = build.both(quick, build.compare(emitter.call(len, held), ast.Lt(), ast.Constant(_SHORT)))
        return choose(quick, build.compare(item, _IN, held), mark_boolean(call(helper, item, held, *rest)))
    return mark_boolean(call(helper, first, second, *rest))


def _size(emitter: Emitter, node: Call) -> ast.expr | None:
    if len(node.operands) != 1:
        return None
    kind = emitter.type_of(node.operands[0]).kind
    if kind in ("list", "map", "string", "bytes"):
        return emitter.call(len, emitter.emit(node.operands[0]))
    emitter.failing = True
    return emitter.call(containers.size, emitter.emit(node.operands[0]))


def _is_text(emitter: Emitter, nodes: list[Node], values: list[ast.expr]) -> tuple[ast.expr | None, list[ast.expr]]:
    """A test that all values are strings, None where the checker knows it, and names for the values."""
    unknown = [at for at, node in enumerate(nodes) if emitter.type_of(node).kind != "string"]
    if not unknown:
        return None, values
    values = [emitter.named(value) for value in values]
    tests = [build.compare(emitter.call(type, values[at]), _IS, emitter.code.hoist(str, "f")) for at in unknown]
    return build.both(*tests), values


def _text_method(name: str) -> _Operator:
    def emit(emitter: Emitter, node: Call) -> ast.expr | None:
        kinds = {emitter.type_of(operand).kind for operand in node.operands}
        if node.target is None or len(node.args) != 1 or not kinds <= {"string", "dyn"} \
                or isinstance(node.target, Literal):
            return None
        test, (text, part) = _is_text(emitter, node.operands, emitter.emit_all(node.operands))
        if name == "contains":
            made: ast.expr = build.compare(part, _IN, _scanned(emitter, text))
        else:
            made = mark_boolean(call(build.attribute(text, name), part))
        return made if test is None else _else_overload(emitter, test, made)

    return emit


def _else_overload(emitter: Emitter, test: ast.expr, made: ast.expr) -> ast.expr:
    emitter.failing = True
    return mark_boolean(choose(test, made, emitter.call(errors.overload)))


def _scanned(emitter: Emitter, text: ast.expr) -> ast.expr:
    """In a loop, long texts are paid for."""
    if not emitter.looping or isinstance(text, ast.Constant):
        return text
    name = emitter.code.fresh()
    short = build.compare(emitter.call(len, walrus(name, text)), ast.Lt(), ast.Constant(_LONG))
    return choose(short, load(name), emitter.call(metering.scanned, emitter.meter(), load(name)))


def _matches(emitter: Emitter, node: Call) -> ast.expr | None:
    if len(node.operands) != 2:
        return None
    text, pattern = node.operands
    search = None
    if isinstance(pattern, Literal) and type(pattern.value) is str and not isinstance(text, Literal):
        try:
            search = regex.compiled(pattern.value).search
        except regex.PatternError:
            search = None  # an error of each evaluation
    if search is None or emitter.type_of(text).kind not in ("string", "dyn"):
        values = emitter.emit_all(node.operands)
        emitter.failing = True
        return mark_boolean(emitter.call(patterns.matches, *values, emitter.meter()))
    test, (value,) = _is_text(emitter, [text], [emitter.emit(text)])
    matched = build.compare(call(emitter.code.hoist(search), _scanned(emitter, value)), _IS_NOT, _NONE)
    return matched if test is None else _else_overload(emitter, test, matched)


def _dyn(emitter: Emitter, node: Call) -> ast.expr | None:
    return emitter.emit(node.args[0]) if node.target is None and len(node.args) == 1 else None


TABLE: dict[str, _Operator] = {
    "_==_": _equality(True), "_!=_": _equality(False),
    "_<_": _order(ast.Lt(), arithmetic.less), "_<=_": _order(ast.LtE(), arithmetic.less_equal),
    "_>_": _order(ast.Gt(), arithmetic.greater), "_>=_": _order(ast.GtE(), arithmetic.greater_equal),
    "_+_": _arithmetic(ast.Add(), arithmetic.add), "_-_": _arithmetic(ast.Sub(), arithmetic.subtract),
    "_*_": _arithmetic(ast.Mult(), arithmetic.multiply), "_/_": _direct(arithmetic.divide),
    "_%_": _direct(arithmetic.remainder), "-_": _minus, "!_": _not, "_[_]": _index, "@in": _member, "size": _size,
    "contains": _text_method("contains"), "startsWith": _text_method("startswith"),
    "endsWith": _text_method("endswith"), "matches": _matches, "dyn": _dyn,
    "_[?_]": _direct(containers.optional_index),
}
