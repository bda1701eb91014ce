"""Structural schemas, as a ConstraintTemplate gives one of its constraints' parameters.

apiextensions.k8s.io/v1 JSONSchemaProps: validation in the API server's words (k8s.io/apiextensions-apiserver
pkg/apiserver/validation), defaulting and the fields that nobody described (pkg/apiserver/schema/{defaulting,pruning}).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import re2

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from policylang.errors import Shape

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
_NUMBERS = ("integer", "number")
_DEPTH = 64
"""Schemas in each other; more are refused, as is a value that is nested deeper than its schema can be."""
_SAID = 20
"""Faults of a value that are told."""
_WORDS = ("description", "title", "example", "externalDocs", "format", "$schema", "id", "x-kubernetes-list-type",
          "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-embedded-resource")
"""Fields that ask nothing of a value here: words, and how lists are merged. A format is checked by none that is unknown
to the API server, and its few known ones are not what parameters have."""


class Schema:
    """One schema with those in it."""

    def __init__(self, fields: Fields, *, legacy: bool = False, depth: int = 0, structural: bool = True) -> None:
        """`legacy`: whatever is not described may be there too, and nothing must have a type.

        `structural` is false below allOf and its like, whose parts only ask more. Raises MalformedError,
        UnsupportedError.
        """
        if depth > _DEPTH:
            raise MalformedError(fields.where, got=f"schemas nested deeper than {_DEPTH}", expected="fewer")
        self.where = fields.where
        for words in _WORDS:
            fields.any(words)
        self.type = fields.take("type", str) or ""
        self.either = fields.take("x-kubernetes-int-or-string", bool) or False
        self.preserves = fields.take("x-kubernetes-preserve-unknown-fields", bool) or False
        if self.type and self.type not in _TYPES and self.type not in _NUMBERS:
            raise MalformedError(fields.path("type"), got=self.type,
                                 expected=", ".join(sorted([*_TYPES, *_NUMBERS])))
        self.nullable = fields.take("nullable", bool) or False
        self.has_default = "default" in fields.present
        self.default = fields.any("default")
        within = partial(Schema, legacy=legacy, depth=depth + 1, structural=structural)
        described = fields.inner("properties")
        self.properties: dict[str, Schema] = {} if described is None else {
            name: within(described.inner(name) or Fields({}, described.path(name)))
            for name in list(described.present)}
        self.additional = self._additional(fields, within)
        items = fields.any("items")
        if isinstance(items, list):
            raise MalformedError(fields.path("items"), got="a list", expected="one schema for all items")
        self.items = None if items is None else within(Fields(items, fields.path("items")))
        if legacy:
            self._widen(fields)
        self.required = fields.texts("required")
        self.enum = fields.take("enum", list)
        self.pattern = self._pattern(fields)
        self.bounds = {name: fields.any(name) for name in (
            "minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
            "maxProperties")}
        for name, bound in self.bounds.items():
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, float))):
                raise MalformedError(fields.path(name), got=Shape(bound), expected="a number")
        self.excluded = {name: fields.take(name, bool) or False for name in ("exclusiveMinimum", "exclusiveMaximum")}
        self.unique = fields.take("uniqueItems", bool) or False
        apart = partial(Schema, depth=depth + 1, structural=False)
        self.every, self.some, self.single = (
            [apart(part) for part in fields.each(name)] for name in ("allOf", "anyOf", "oneOf"))
        denied = fields.inner("not")
        self.denied = None if denied is None else apart(denied)
        if fields.has("x-kubernetes-validations"):
            raise UnsupportedError(fields.path("x-kubernetes-validations"), "not evaluated by custody yet")
        fields.done()
        if structural and not (self.type or self.either or self.preserves or legacy):
            raise MalformedError(fields.path("type"), got="nothing",
                                 expected="a type: it must not be empty for what a structural schema describes")
        if self.properties and self.additional is not None and structural and not legacy:
            raise MalformedError(fields.path("additionalProperties"), got="both",
                                 expected="properties or additionalProperties, not both")

    def _additional(self, fields: Fields, within: Callable[[Fields], Schema]) -> Schema | bool | None:
        written = fields.any("additionalProperties")
        if written is None or isinstance(written, bool):
            return written
        return within(Fields(written, fields.path("additionalProperties")))

    def _widen(self, fields: Fields) -> None:
        """As Gatekeeper's `legacySchema: true` does."""
        if self.type in ("", "object"):
            self.preserves = True
        elif self.type == "array" and self.items is None:
            self.items = Schema(Fields({"x-kubernetes-preserve-unknown-fields": True}, fields.path("items")))

    def _pattern(self, fields: Fields) -> Any:
        written = fields.take("pattern", str)
        if written is None:
            return None
        try:
            return written, re2.compile(written)
        except re2.error as error:
            raise MalformedError(fields.path("pattern"), got=written, expected=f"a regular expression: {error}"
                                 ) from None

    # ── what is wrong with a value ──────────────────────────────────────────────────────────────────────────────────

    def faults(self, value: Any, path: str) -> list[str]:
        """What is wrong with a value, in the API server's words; [] where nothing is."""
        said: list[str] = []
        for fault in self._faults(value, path):
            said.append(fault)
            if len(said) >= _SAID:
                break
        return said

    def _faults(self, value: Any, path: str) -> Iterator[str]:
        if value is None and (self.nullable or (self.preserves and not self.type)):
            return
        if (wrong := self._type_fault(value, path)) is not None:
            yield wrong
            return
        if self.enum is not None and not any(_same(value, choice) for choice in self.enum):
            yield (f"{path}: Unsupported value: {_shown(value)}: supported values: "
                   f"{', '.join(_shown(choice) for choice in self.enum)}")
        if isinstance(value, str):
            yield from self._text_faults(value, path)
        elif isinstance(value, dict):
            yield from self._map_faults(value, path)
        elif isinstance(value, list):
            yield from self._list_faults(value, path)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from self._number_faults(value, path)
        for part in self.every:
            yield from part._faults(value, path)
        if self.some and not any(part.allows(value, path) for part in self.some):
            yield f'{path}: Invalid value: "": "{path}" must validate at least one schema (anyOf)'
        if self.single and sum(part.allows(value, path) for part in self.single) != 1:
            yield f'{path}: Invalid value: "": "{path}" must validate one and only one schema (oneOf)'
        if self.denied is not None and self.denied.allows(value, path):
            yield f'{path}: Invalid value: "": "{path}" must not validate the schema (not)'

    def allows(self, value: Any, path: str) -> bool:
        return next(self._faults(value, path), None) is None

    def _type_fault(self, value: Any, path: str) -> str | None:
        if self.either:
            fits = isinstance(value, str) or _whole(value)
            expected = "integer,string"
        elif not self.type:
            return None
        elif self.type in _NUMBERS:
            fits = _whole(value) if self.type == "integer" else (
                isinstance(value, (int, float)) and not isinstance(value, bool))
            expected = self.type
        else:
            fits, expected = isinstance(value, _TYPES[self.type]), self.type
        got = _type_of(value)
        return None if fits else f'{path}: Invalid value: "{got}": {path} in body must be of type {expected}: "{got}"'

    def _text_faults(self, value: str, path: str) -> Iterator[str]:
        low, high = self.bounds["minLength"], self.bounds["maxLength"]
        if low is not None and len(value) < low:
            yield f"{path}: Invalid value: {_shown(value)}: {path} in body should be at least {low} chars long"
        if high is not None and len(value) > high:
            yield f"{path}: Too long: may not be more than {high} bytes"
        if self.pattern is not None and not self.pattern[1].search(value):
            yield f"{path}: Invalid value: {_shown(value)}: {path} in body should match '{self.pattern[0]}'"

    def _number_faults(self, value: float, path: str) -> Iterator[str]:
        low, high, step = (self.bounds[name] for name in ("minimum", "maximum", "multipleOf"))
        if low is not None and (value < low or (self.excluded["exclusiveMinimum"] and value == low)):
            sign = "greater than" if self.excluded["exclusiveMinimum"] else "greater than or equal to"
            yield f"{path}: Invalid value: {_shown(value)}: {path} in body should be {sign} {low}"
        if high is not None and (value > high or (self.excluded["exclusiveMaximum"] and value == high)):
            sign = "less than" if self.excluded["exclusiveMaximum"] else "less than or equal to"
            yield f"{path}: Invalid value: {_shown(value)}: {path} in body should be {sign} {high}"
        if step and (not math.isfinite(value) or value % step):
            yield f"{path}: Invalid value: {_shown(value)}: {path} in body should be a multiple of {step}"

    def _list_faults(self, value: Sequence[Any], path: str) -> Iterator[str]:
        low, high = self.bounds["minItems"], self.bounds["maxItems"]
        if low is not None and len(value) < low:
            yield f"{path}: Invalid value: {len(value)}: {path} in body should have at least {low} items"
        if high is not None and len(value) > high:
            yield f"{path}: Too many: {len(value)}: must have at most {high} items"
        if self.unique and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
            yield f'{path}: Invalid value: "array": {path} in body shouldn\'t contain duplicates'
        if self.items is not None:
            for at, item in enumerate(value):
                yield from self.items._faults(item, f"{path}[{at}]")

    def _map_faults(self, value: Mapping[str, Any], path: str) -> Iterator[str]:
        low, high = self.bounds["minProperties"], self.bounds["maxProperties"]
        if low is not None and len(value) < low:
            yield f"{path}: Invalid value: {len(value)}: {path} in body should have at least {low} properties"
        if high is not None and len(value) > high:
            yield f"{path}: Too many: {len(value)}: must have at most {high} items"
        for name in self.required:
            if name not in value:
                yield f"{_below(path, name)}: Required value"
        for name, item in value.items():
            described = self.properties.get(name)
            if described is not None:
                yield from described._faults(item, _below(path, name))
            elif isinstance(self.additional, Schema):
                yield from self.additional._faults(item, _below(path, name))

    # ── what is written into a value, and what nobody described in it ───────────────────────────────────────────────

    def fill(self, value: Any) -> None:
        """Write the defaults into a value that nobody else has."""
        if isinstance(value, dict):
            for name, described in self.properties.items():
                if described.has_default and (name not in value or (value[name] is None and not described.nullable)):
                    value[name] = copy.deepcopy(described.default)
            for name, item in value.items():
                described_by = self.properties.get(name, self.additional)
                if isinstance(described_by, Schema):
                    described_by.fill(item)
        elif isinstance(value, list) and self.items is not None:
            for item in value:
                self.items.fill(item)

    def unknown(self, value: Any, path: str) -> Iterator[str]:
        """Paths of fields that are not described, which the API server would have pruned."""
        if isinstance(value, dict):
            for name, item in value.items():
                described = self.properties.get(name, self.additional)
                if isinstance(described, Schema):
                    yield from described.unknown(item, _below(path, name))
                elif not (self.preserves or described is True):
                    yield _below(path, name)
        elif isinstance(value, list) and self.items is not None:
            for at, item in enumerate(value):
                yield from self.items.unknown(item, f"{path}[{at}]")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _whole(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if _whole(value) else "number"
    return {"str": "string", "dict": "object", "list": "array"}.get(type(value).__name__, "object")


def _same(value: Any, choice: Any) -> bool:
    return _type_of(value) == _type_of(choice) and bool(value == choice)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
