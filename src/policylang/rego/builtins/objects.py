"""Objects, and JSON documents by path: `json.filter`, `json.remove`, `json.patch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policylang.rego.builtins.operands import OperandFault, array, mapping
from policylang.rego.declare import BuiltinError, Context, OperandError, builtin
from policylang.rego.values import UNDEFINED, Key, Set, Value, equal, key, pay, text, type_name, unkey
from policylang.rego.values.numbers import KINDS, plain_integer

_ANY_OBJECT = "object[any: any]"
_KEYS = "any<array[any], object[any: any], set[any]>"
_PATHS = "any<array[any<string, array[any]>], set[any<string, array[any]>]>"


@builtin("object.get", _ANY_OBJECT, "any", "any", result="any")
def get(value: Value, path: Value, default: Value) -> Value:
    """`path` is a key, or an array of keys to follow."""
    if type(value) is not dict:
        raise OperandError(1, value, "object")
    if type(path) is str:
        return value.get(path, default)
    name = key(path)
    if name in value:
        return value[name]
    if type(path) is not list:
        return default
    inner: Value = value
    for step in path:
        inner = _below(inner, step)
        if inner is UNDEFINED:
            return default
    return inner


def _below(value: Value, step: Value) -> Value:
    kind = type(value)
    if kind is dict:
        return value.get(key(step), UNDEFINED)
    if kind is list:
        at = plain_integer(step) if type(step) in KINDS else None
        return UNDEFINED if at is None or not 0 <= at < len(value) else value[at]
    return value.items.get(key(step), UNDEFINED) if kind is Set else UNDEFINED


@builtin("object.keys", _ANY_OBJECT, result="set[any]")
def keys(value: Value) -> Set:
    return Set({name: unkey(name) for name in mapping(value, 1)})


def _wanted(value: Value) -> set[Key] | dict[Key, Value]:
    if type(value) is dict:
        return value
    if type(value) is Set:
        return value.items
    if type(value) is list:
        return set(map(key, value))
    raise OperandError(2, value, "object", "set", "array")


@builtin("object.filter", _ANY_OBJECT, _KEYS, result=_ANY_OBJECT)
def keep(value: Value, kept: Value) -> dict[Key, Value]:
    members, names = mapping(value, 1), _wanted(kept)
    return {name: member for name, member in members.items() if name in names}


@builtin("object.remove", _ANY_OBJECT, _KEYS, result=_ANY_OBJECT)
def remove(value: Value, unwanted: Value) -> dict[Key, Value]:
    members, names = mapping(value, 1), _wanted(unwanted)
    return {name: member for name, member in members.items() if name not in names}


@builtin("object.union", _ANY_OBJECT, _ANY_OBJECT, result=_ANY_OBJECT)
def union(left: Value, right: Value) -> dict[Key, Value]:
    """Objects below the same key are merged too; else the second wins."""
    return _merged(mapping(left, 1), mapping(right, 2))


def _merged(left: dict[Key, Value], right: dict[Key, Value]) -> dict[Key, Value]:
    made = dict(left)
    for name, value in right.items():
        old = made.get(name)
        made[name] = _merged(old, value) if type(old) is dict and type(value) is dict else value
    return made


@builtin("object.union_n", "array[object[any: any]]", result=_ANY_OBJECT, context=True)
def union_n(context: Context, values: Value) -> dict[Key, Value]:
    made: dict[Key, Value] = {}
    for member in array(values, 1):
        if type(member) is not dict:
            raise OperandFault(1, f"must be array of objects but got array containing {type_name(member)}")
        context.meter.spend(len(made) >> 3)
        made = _merged(made, member)
    return made


class _Misfit(BuiltinError):  # noqa: N818 - beside OperandError
    code = "eval_type_error"


@builtin("object.subset", _KEYS, _KEYS, result="boolean")
def subset(whole: Value, part: Value) -> bool:
    kinds = type(whole), type(part)
    if kinds == (dict, dict):
        return _within(whole, part)
    if kinds == (Set, Set):
        return bool(part.items.keys() <= whole.items.keys())
    if kinds == (list, list):
        return _run(whole, part)
    if kinds == (list, Set):
        return _among(whole, part)
    raise _Misfit("both arguments object.subset must be of the same type or array and set")


def _within(whole: dict[Key, Value], part: dict[Key, Value]) -> bool:
    for name, value in part.items():
        if name not in whole:
            return False
        old = whole[name]
        kinds = type(old), type(value)
        if kinds == (dict, dict):
            good = _within(old, value)
        elif kinds == (Set, Set):
            good = value.items.keys() <= old.items.keys()
        elif kinds == (list, list):
            good = _run(old, value)
        else:
            good = equal(old, value)
        if not good:
            return False
    return True


def _run(whole: list[Value], part: list[Value]) -> bool:
    """Whether the members of `part` follow each other somewhere in `whole`."""
    pay(len(whole) * len(part) >> 4)
    return any(all(equal(whole[at + n], value) for n, value in enumerate(part))
               for at in range(len(whole) - len(part) + 1))


def _among(whole: list[Value], part: Set) -> bool:
    """OPA counts the members of `whole` that are in `part`, also those that it has twice; an empty one has none."""
    return bool(whole) and sum(key(member) in part.items for member in whole) >= len(part.items)


# --- paths

def _paths(value: Value) -> list[list[Value]]:
    if type(value) is list:
        paths = value
    elif type(value) is Set:
        paths = value.ordered()
    else:
        raise OperandError(2, value, "set", "array")
    return [_path(path) for path in paths]


def _path(value: Value) -> list[Value]:
    if type(value) is list:
        return value
    if type(value) is str:
        return [_unescaped(part) for part in value.lstrip("/").split("/")] if value else []
    raise OperandFault(2, "must be one of {set, array} containing string paths or array of path segments but got "
                       + type_name(value))


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~") if "~" in part else part


_LEAF = None  # ends a path in a tree of them
_Tree = dict[Key, Any]


def _tree(paths: list[list[Value]]) -> _Tree:
    root: _Tree = {}
    for path in paths:
        node: _Tree | None = root if path else _LEAF
        for step in path[:-1]:
            assert node is not None
            node = node.setdefault(key(step), {})
            if node is _LEAF:
                break
        if node is not _LEAF:
            node[key(path[-1])] = _LEAF
    return root


@builtin("json.filter", _ANY_OBJECT, _PATHS, result=_ANY_OBJECT)
def filter_paths(value: Value, paths: Value) -> Value:
    return _filtered(mapping(value, 1), _tree(_paths(paths)))


def _filtered(value: Value, tree: _Tree | None) -> Value:
    if tree is _LEAF:
        return value
    kind = type(value)
    if kind is dict:
        return {name: _filtered(member, tree[name]) for name, member in value.items() if name in tree}
    if kind is list:
        return [_filtered(member, tree[str(at)]) for at, member in enumerate(value) if str(at) in tree]
    if kind is Set:
        return Set.of(_filtered(member, tree[text(member)]) for member in value if text(member) in tree)
    return value


@builtin("json.remove", _ANY_OBJECT, _PATHS, result=_ANY_OBJECT)
def remove_paths(value: Value, paths: Value) -> Value:
    return _without(mapping(value, 1), _tree(_paths(paths)))


def _without(value: Value, tree: _Tree) -> Value:
    kind = type(value)
    if kind is dict:
        below = ((name, member, tree.get(name, UNDEFINED)) for name, member in value.items())
        return {name: _cut(member, rest) for name, member, rest in below if rest is not _LEAF}
    if kind is list:
        parts = ((member, tree.get(str(at), UNDEFINED)) for at, member in enumerate(value))
        return [_cut(member, rest) for member, rest in parts if rest is not _LEAF]
    if kind is Set:
        parts = ((member, tree.get(key(member), UNDEFINED)) for member in value)
        return Set.of(_cut(member, rest) for member, rest in parts if rest is not _LEAF)
    return value


def _cut(value: Value, tree: Any) -> Value:
    return value if tree is UNDEFINED else _without(value, tree)


# --- patches (RFC 6902, with paths that may be arrays, and sets that a path may lead through)

@builtin("json.patch", "any", "array[object<op: string, path: any>[any: any]]", result="any", context=True)
def patch(context: Context, value: Value, operations: Value) -> Value:
    for operation in array(operations, 2):
        if type(operation) is not dict:
            raise BuiltinError("must be an array of JSON-Patch objects, but at least one element is not an object")
    for operation in operations:
        context.meter.spend(1)
        value = _patched(value, operation)
    return value


def _attribute(operation: dict[Key, Value], name: str) -> Value:
    if name not in operation:
        raise BuiltinError(f"missing required attribute '{name}'")
    return operation[name]


def _patched(value: Value, operation: dict[Key, Value]) -> Value:
    op = _attribute(operation, "op")
    if type(op) is not str:
        raise BuiltinError(f"attribute 'op' must be a string but found: {type_name(op)}")
    path = _path(_attribute(operation, "path"))
    match op:
        case "add":
            return _added(value, path, _attribute(operation, "value"))
        case "remove":
            return _removed(value, path)
        case "replace":
            new = _attribute(operation, "value")
            return new if not path else _replaced(value, path, new)
        case "move":
            source = _path(_attribute(operation, "from"))
            return _added(_removed(value, source), path, _found(value, source))
        case "copy":
            return _added(value, path, _found(value, _path(_attribute(operation, "from"))))
        case "test":
            present, expected = _found(value, path), _attribute(operation, "value")
            if not equal(present, expected):
                raise BuiltinError("value from EditTree != patch value.\n\n"
                                   f"Expected: {text(expected)}\n\nFound: {text(present)}")
            return value
    raise BuiltinError(f"unrecognized op: '{op}'")


def _index(value: list[Value], step: Value, action: str = "access", *, append: bool = False) -> int:
    if append and step == "-":
        return len(value)
    if type(step) is str:
        if not (step.isascii() and step.isdigit() and len(step) < 10):
            raise BuiltinError("invalid string for indexing")
        if step[0] == "0" and len(step) > 1:
            raise BuiltinError("leading zeros are not allowed in JSON paths")
        step = int(step)
    if type(step) is not int:
        raise BuiltinError("invalid type for indexing")
    if not 0 <= step < len(value) + append:
        raise BuiltinError(f"index for array {action} out of bounds")
    return step


def _found(value: Value, path: list[Value]) -> Value:
    for at, step in enumerate(path):
        below = value[_index(value, step)] if type(value) is list else _below(value, step)
        if below is UNDEFINED:
            raise _nowhere(value, path[at:])
        value = below
    return value


def _nowhere(value: Value, path: list[Value]) -> BuiltinError:
    return BuiltinError(f"path {text(path[0])} does not exist in {type_name(value)} term {text(value)}")


def _at(value: Value, path: list[Value], change: Callable[[Value, Value], Value]) -> Value:
    """`value` with `change(container, last step)` in the place of the container of `path`."""
    kind = type(value)
    if kind not in (dict, list, Set):
        raise BuiltinError(f"expected composite type, found value: {text(value)} "
                           f"(type: ast.{type_name(value).capitalize()})")
    if len(path) == 1:
        return change(value, path[0])
    step, rest = path[0], path[1:]
    if kind is list:
        at = _index(value, step)
        return [*value[:at], _at(value[at], rest, change), *value[at + 1:]]
    name = key(step)
    if name not in (value if kind is dict else value.items):
        raise _nowhere(value, path)
    if kind is dict:
        return {**value, name: _at(value[name], rest, change)}
    made = _at(value.items[name], rest, change)
    return Set({**_rest(value.items, name), key(made): made})


def _rest(items: dict[Key, Value], name: Key) -> dict[Key, Value]:
    return {member_name: value for member_name, value in items.items() if member_name != name}


def _added(value: Value, path: list[Value], new: Value) -> Value:
    def change(into: Value, step: Value) -> Value:
        if type(into) is dict:
            return {**into, key(step): new}
        if type(into) is list:
            at = _index(into, step, "insertion", append=True)
            return [*into[:at], new, *into[at:]]
        if not equal(step, new):
            raise BuiltinError(f"set key {text(step)} does not equal value to be inserted {text(new)}")
        return Set({**into.items, key(new): new})
    return _at(value, path, change) if path else new


def _removed(value: Value, path: list[Value]) -> Value:
    def change(out_of: Value, step: Value) -> Value:
        if type(out_of) is list:
            at = _index(out_of, step, "delete")
            return [*out_of[:at], *out_of[at + 1:]]
        items = out_of if type(out_of) is dict else out_of.items
        if key(step) not in items:
            raise BuiltinError(f"cannot delete child key {text(step)} that does not exist")
        kept = _rest(items, key(step))
        return kept if type(out_of) is dict else Set(kept)
    return _at(value, path, change) if path else UNDEFINED


def _replaced(value: Value, path: list[Value], new: Value) -> Value:
    removed = _removed(value, path)
    if path and type(_found(value, path[:-1])) is Set:
        path = [*path[:-1], new]
    return _added(removed, path, new)
