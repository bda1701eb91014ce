"""YAML as sigs.k8s.io/yaml reads it into JSON: YAML 1.1 by go-yaml v2, without dates and base 60."""

from __future__ import annotations

import re
from math import isfinite, isnan
from typing import Any, ClassVar

import yaml

from policylang.go.printing import json_number

DEEPEST = 100
MOST = 20_000  # values behind aliases, counted each time: the rest are no more than the text has characters
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"([-+]?)(?:(0[xX])([0-9a-fA-F]+)|(0[bB])([01]+)|(0[oO]?)([0-7]+)|(0|[1-9][0-9]*))\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_BINARY = "tag:yaml.org,2002:binary"


class YAMLError(ValueError):
    """A text that is no YAML, or that JSON has no words for."""


class PlainLoader(yaml.CSafeLoader):
    """Leaves scalars without quotes as text, for `plain_scalar`."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


def weight(text: str) -> int:
    """Steps that reading costs, known before it begins: a scalar takes as long as eight, and none stands without a
    sign beside it."""
    return 8 * sum(map(text.count, "\n,:[{&*")) + (len(text) >> 6)


def decode_yaml(text: str) -> Any:
    """The first document as plain data; None for an empty text. Raises YAMLError. Whoever calls it pays `weight`."""
    try:
        depth = 0
        for event in yaml.parse(text, PlainLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise YAMLError(f"yaml: nested deeper than {DEEPEST} levels")
            if isinstance(event, yaml.DocumentEndEvent):
                break
        loader = PlainLoader(text)
        try:
            node = loader.get_node() if loader.check_node() else None
        finally:
            loader.dispose()
    except yaml.YAMLError as wrong:
        marks = [getattr(wrong, name, None) for name in ("problem_mark", "context_mark")]
        line = next((mark.line + (at == 0 and isinstance(wrong, yaml.scanner.ScannerError))
                     for at, mark in enumerate(marks) if mark and mark.line), 0)  # counted as go-yaml does
        place = f"line {line}: " if line else ""
        raise YAMLError(f"yaml: {place}{getattr(wrong, 'problem', None) or wrong}") from None
    except (ValueError, RecursionError) as wrong:
        raise wrong if isinstance(wrong, YAMLError) else YAMLError(f"yaml: {wrong}") from None
    return None if node is None else _Reader().value(node, 0)


def plain_scalar(text: str) -> Any:
    """What a scalar without quotes stands for. A number too large for a float is infinite, which Go keeps as text."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text in _NULL:
        return None
    bare = text.replace("_", "") if text[:1].isdigit() or text[:1] in "+-" else text
    if found := _INTEGER.match(bare):
        sign, *groups = found.groups()
        digits, base = next((digits, base) for digits, base in (
            (groups[1], 16), (groups[3], 2), (groups[5], 8), (groups[6], 10)) if digits is not None)
        number = int(digits, base) if len(digits) <= 64 else 2**65
        number = -number if sign == "-" else number
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.match(bare) and len(bare) <= 400:
        return float(bare)
    return float(text.replace(".", "")) if _NOT_FINITE.match(text) else text


class _Reader:
    def __init__(self) -> None:
        self.left = MOST
        self.seen: set[int] = set()  # ids of nodes

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.left -= id(node) in self.seen
        self.seen.add(id(node))
        if self.left < 0 or depth > DEEPEST:
            raise YAMLError("yaml: document contains excessive aliasing")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, depth + 1) for child in node.value]
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and not key_node.style and key_node.value == "<<":
                merged = self._merged(value_node, depth) | merged
                continue
            found[self._key(key_node, depth)] = self.value(value_node, depth + 1)
        return merged | found if merged else found

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for one in nodes:
            value = self.value(one, depth + 1)
            if not isinstance(value, dict):
                raise YAMLError("yaml: map merge requires map or sequence of maps as the value")
            merged = value | merged
        return merged

    def _key(self, node: yaml.Node, depth: int) -> str:
        key = self.value(node, depth + 1)
        if isinstance(key, str):
            return key
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, (int, float)):
            return json_number(key)
        kind = "nil" if key is None else "slice" if isinstance(key, list) else "map"
        raise YAMLError(f"unsupported map key of type: {kind}")

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if node.tag == _BINARY:
            raise YAMLError("yaml: !!binary has no place in JSON")
        value = text if node.style else plain_scalar(text)
        if type(value) is not float or isfinite(value):
            return value
        if not text[-1].isalpha():
            return text
        raise YAMLError("json: unsupported value: " + ("NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"))
