"""Types and sizes from structural schemas, as rules of custom resources see them.

Facts from k8s.io/apiserver pkg/cel/common/schemas.go and pkg/cel/limits.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from policylang.cel import types
from policylang.cel.cost.units import ENDLESS, Estimate, Sized
from policylang.cel.kubernetes.objects import Fields

Schema = Mapping[str, Any]

REQUEST_SIZE: Final = 3 * 1024 * 1024  # bytes
_RESERVED = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
})
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


@dataclass(slots=True)
class Declaration:
    """A schema's type. `most`: elements or characters at most; `least`: bytes of the shortest value in JSON."""

    type: types.Type
    most: int = 0
    least: int = 2
    fields: dict[str, Declaration] = field(default_factory=dict)
    key: Declaration | None = None
    element: Declaration | None = None

    def types(self) -> dict[str, Fields]:
        """Every object type in it by name, for an environment."""
        objects: dict[str, Fields] = {}
        stack = [self]
        while stack:
            declaration = stack.pop()
            stack += [*declaration.fields.values(), *([declaration.element] if declaration.element else [])]
            if declaration.type.kind == "message":
                objects[declaration.type.name] = {name: of.type for name, of in declaration.fields.items()}
        return objects


def escape(name: str) -> str | None:
    """A property's name as expressions write it: `__namespace__`, `a__dot__b`; None where they cannot."""
    if not name or name[0].isdigit():
        return None
    if name in _RESERVED:
        return f"__{name}__"
    if re.search(r"[^a-zA-Z0-9_./-]", name):
        return None
    return re.sub(r"__|[-./]", lambda match: _ESCAPES[match[0]], name)


def declare(schema: Schema, *, root: bool = False, name: str = "selfType") -> Declaration | None:
    """None where a schema has no type that expressions can see. `root`: of a whole resource, which has metadata."""
    if schema.get("x-kubernetes-int-or-string"):
        return Declaration(types.DYN, _longest(schema), 1)
    if root:
        schema = _resource(schema)
    make = _MAKERS.get(schema.get("type", ""))
    return make(schema, name) if make else None


def _embedded(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-embedded-resource"))


def _resource(schema: Schema) -> Schema:
    text = {"type": "string"}
    return {**schema, "properties": {
        **schema.get("properties", {}), "kind": text, "apiVersion": text,
        "metadata": {"type": "object", "properties": {"name": text, "generateName": text}},
    }}


def _array(schema: Schema, name: str) -> Declaration | None:
    items = schema.get("items")
    of = declare(items, root=_embedded(items), name=f"{name}.@idx") if isinstance(items, Mapping) else None
    if of is None:
        return None
    most = _limit(schema, "maxItems", (REQUEST_SIZE - 2) // (of.least + 1))
    return Declaration(types.list_of(of.type), most, element=of)


def _object(schema: Schema, name: str) -> Declaration | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        of = declare(additional, root=_embedded(additional), name=f"{name}.@elem")
        if of is None:
            return None
        most = _limit(schema, "maxProperties", (REQUEST_SIZE - 2) // (of.least + 6))
        return Declaration(types.map_of(types.STRING, of.type), most, key=Declaration(types.STRING), element=of)
    required = schema.get("required", ())
    made = Declaration(types.message(name))
    for word, property_schema in schema.get("properties", {}).items():
        shown = escape(word)
        inner = declare(property_schema, root=_embedded(property_schema), name=f"{name}.{shown}")
        if inner is None:
            continue
        if shown is not None:
            made.fields[shown] = inner
        if word in required and property_schema.get("default") is None:
            made.least += len(word.encode()) + inner.least + 4
    return made


def _text(schema: Schema, _: str) -> Declaration:
    form = schema.get("format")
    if form in _FORMATS:
        return Declaration(*_FORMATS[form])
    if form == "byte":
        return Declaration(types.BYTES, _limit(schema, "maxLength", REQUEST_SIZE - 2))
    if schema.get("maxLength") is None and schema.get("enum"):
        return Declaration(types.STRING, max(len(value.encode()) for value in schema["enum"] if isinstance(value, str)))
    return Declaration(types.STRING, _longest(schema))


_FORMATS: dict[Any, tuple[types.Type, int, int]] = {
    "duration": (types.DURATION, 32, 3), "date": (types.TIMESTAMP, 12, 12), "date-time": (types.TIMESTAMP, 32, 21),
}
_Maker = Callable[[Schema, str], "Declaration | None"]

_MAKERS: dict[str, _Maker] = {
    "array": _array, "object": _object, "string": _text,
    "boolean": lambda schema, name: Declaration(types.BOOL, 0, 4),  # noqa: ARG005 - as the others
    "number": lambda schema, name: Declaration(types.DOUBLE, 0, 1),  # noqa: ARG005
    "integer": lambda schema, name: Declaration(types.INT, 0, 1),  # noqa: ARG005
}


def _limit(schema: Schema, name: str, otherwise: int) -> int:
    limit = schema.get(name)
    return otherwise if limit is None else max(0, int(limit))


def _longest(schema: Schema) -> int:
    """In bytes, of which a character may have four."""
    return _limit(schema, "maxLength", -1) * 4 if schema.get("maxLength") is not None else REQUEST_SIZE - 2


class SchemaSizes:
    """Sizes of `self` and `oldSelf` and what is in them."""

    def __init__(self, root: Declaration) -> None:
        self.root = root

    def size(self, of: Sized) -> Estimate | None:
        if not of.path:
            return None
        at: Declaration | None = self.root
        for name in of.path[1:]:
            assert at is not None
            at = {"@items": at.element, "@values": at.element, "@keys": at.key}.get(name, at.fields.get(name))
            if at is None:
                return None
        assert at is not None
        return Estimate(0, at.most & ENDLESS)
