"""A second, slow reading of conditions: straight from the syntax tree, for comparison with what is compiled."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from policylang.falco.syntax import tree
from policylang.falco.values import fields

_ENDS = {"fd.ip": ("fd.cip", "fd.sip"), "fd.net": ("fd.cip", "fd.sip"), "fd.port": ("fd.cport", "fd.sport")}


def holds(condition: tree.Condition, event: Mapping[str, Any], macros: Mapping[str, tree.Condition]) -> bool:
    if isinstance(condition, tree.Or):
        return any(holds(part, event, macros) for part in condition.parts)
    if isinstance(condition, tree.And):
        return all(holds(part, event, macros) for part in condition.parts)
    if isinstance(condition, tree.Not):
        return not holds(condition.part, event, macros)
    if isinstance(condition, tree.Macro):
        return holds(macros[condition.name], event, macros)
    assert isinstance(condition.left, tree.Field)
    name = str(condition.left)
    info = fields.lookup("syscall", condition.left.name, condition.left.argument)
    assert info is not None
    value = event.get(name)
    if isinstance(value, bytes):
        return bytes.fromhex(condition.right.value) in value  # type: ignore[union-attr]
    if name in fields.READ_AS:
        value = event.get(fields.READ_AS[name])
    if name in _ENDS and value is None:
        value = [each for each in map(event.get, _ENDS[name]) if each is not None] or None
    if value is None or value == []:
        return False
    if isinstance(condition, tree.Exists):
        return True
    right = condition.right
    texts = [each.value for each in right] if isinstance(right, tuple) else [right.value]  # type: ignore[union-attr]
    op = condition.operator
    if info.shape is fields.Shape.LIST:
        return all(each in texts for each in value) if op == "in" else any(each in texts for each in value)
    values = value if isinstance(value, list) else [value]
    every = info.shape is fields.Shape.ENDS and op == "!="
    found = [_asked(each, op, condition.modifier, texts, info.type) for each in values]
    return all(found) if every else any(found)


def _asked(value: Any, op: str, modifier: str, texts: list[str], type_: fields.Type) -> bool:
    if modifier:
        found = [_one(value, op, text, type_) for text in texts]
        return bool(found) and {"anyof": any(found), "allof": all(found), "oneof": found.count(True) == 1}[modifier]
    if op in ("in", "intersects", "pmatch"):
        return any(_one(value, "=" if op != "pmatch" else op, text, type_) for text in texts)
    return _one(value, op, texts[0], type_)


def _one(value: Any, op: str, text: str, type_: fields.Type) -> bool:
    right: Any = text
    if type_ in (fields.Type.ADDRESS, fields.Type.NETWORK):
        network = ip_network(text, strict=False)
        return (ip_address(value) in network) is (op == "=")
    if type_ is fields.Type.BOOL:
        right = text == "true"
    elif type_ in (fields.Type.SIGNED, fields.Type.UNSIGNED, fields.Type.PORT):
        right = int(text, 0)
    if op in ("=", "!="):
        return (value == right) is (op == "=")
    if op in ("<", "<=", ">", ">="):
        return {"<": value < right, "<=": value <= right, ">": value > right, ">=": value >= right}[op]
    if op == "contains":
        return right in value
    if op == "icontains":
        return right.lower() in value.lower()
    if op == "startswith":
        return str(value).startswith(right)
    if op == "endswith":
        return str(value).endswith(right)
    if op == "glob":
        return fnmatch.fnmatchcase(value, right)
    if op == "iglob":
        return fnmatch.fnmatchcase(value.lower(), right.lower())
    if op == "pmatch":
        prefix = [part for part in right.split("/") if part]
        return [part for part in value.split("/") if part][:len(prefix)] == prefix
    return re.fullmatch(right, value) is not None
