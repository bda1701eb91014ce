"""YAML as sigs.k8s.io/yaml reads it into JSON: YAML 1.1 by go-yaml v2, without dates and base 60."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite, isnan
from typing import Any, ClassVar

import yaml

from policylang.go.printing import json_number

DEEPEST = 100
MOST = 20_000  # values behind aliases, counted each time: the rest are no more than the text has characters
TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"([-+]?)(?:(0[xX])([0-9a-fA-F]+)|(0[bB])([01]+)|(0[oO]?)([0-7]+)|(0|[1-9][0-9]*))\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_BINARY, _STRING = "tag:yaml.org,2002:binary", "tag:yaml.org,2002:str"


class YAMLError(ValueError):
    """A text that is no YAML, or that JSON has no words for."""


class PlainLoader(yaml.CSafeLoader):
    """Leaves scalars without quotes as text, for `plain_scalar`."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


class _Composer(PlainLoader):
    """Its scalars have the tag that they were written with, or none."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        return "" if kind is yaml.ScalarNode else str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]


def weight(text: str) -> int:
    """Steps that reading costs, known before it begins: a scalar takes as long as eight, and none stands without a
    sign beside it."""
    return 8 * sum(map(text.count, "\n,:[{&*")) + (len(text) >> 6)


def compose(text: str) -> Iterator[yaml.Node]:
    """The node of each document, as it is asked for; scalars without quotes are text, for `plain_scalar`.

    YAMLError in go-yaml's words for what is no YAML or is nested deeper than 100 levels.
    """
    loader: PlainLoader | None = None
    try:
        loader = _Composer(text)
        depth = 0
        for event in yaml.parse(text, PlainLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise YAMLError(f"yaml: nested deeper than {DEEPEST} levels")
            if not isinstance(event, yaml.DocumentEndEvent):
                continue
            node = loader.get_node() if loader.check_node() else None
            if node is not None:
                yield node
    except yaml.YAMLError as wrong:
        raise YAMLError(f"yaml: {place(wrong)}{getattr(wrong, 'problem', None) or wrong}") from None
    except (ValueError, RecursionError) as wrong:
        raise wrong if isinstance(wrong, YAMLError) else YAMLError(f"yaml: {wrong}") from None
    finally:
        if loader is not None:
            loader.dispose()


def place(wrong: yaml.YAMLError) -> str:
    """`line N: ` as go-yaml counts: from 0 in the parser, and not at all in the first line of a text."""
    marks = [getattr(wrong, name, None) for name in ("problem_mark", "context_mark")]
    line = next((mark.line + (at == 0 and isinstance(wrong, yaml.scanner.ScannerError))
                 for at, mark in enumerate(marks) if mark and mark.line), 0)
    return f"line {line}: " if line else ""


def decode_yaml(text: str) -> Any:
    """The first document as plain data; None for an empty text. Raises YAMLError. Whoever calls it pays `weight`."""
    node = next(compose(text), None)
    return None if node is None else Reader().value(node)


def plain_scalar(text: str) -> Any:
    """What a scalar without quotes stands for. A number too large for a float is infinite, which Go keeps as text."""
    if text in TRUE or text in FALSE:
        return text in TRUE
    if text in NULL:
        return None
    bare = text.replace("_", "") if text[:1].isdigit() or text[:1] in "+-" else text
    if integer := _INTEGER.match(bare):
        sign, *groups = integer.groups()
        digits, base = next((digits, base) for digits, base in (
            (groups[1], 16), (groups[3], 2), (groups[5], 8), (groups[6], 10)) if digits is not None)
        number = int(digits, base) if len(digits) <= 64 else 2**65
        number = -number if sign == "-" else number
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.match(bare) and len(bare) <= 400:
        return float(bare)
    return float(text.replace(".", "")) if _NOT_FINITE.match(text) else text


class Reader:
    """What nodes stand for. Another dialect of YAML overrides `scalar`."""

    def __init__(self) -> None:
        self.left = MOST
        self.seen: set[int] = set()  # ids of nodes

    def value(self, node: yaml.Node, depth: int = 0) -> Any:
        self.left -= id(node) in self.seen
        self.seen.add(id(node))
        if self.left < 0 or depth > DEEPEST:
            raise YAMLError("yaml: document contains excessive aliasing")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, depth + 1) for child in node.value]
        members: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and not key_node.style and key_node.value == "<<":
                merged = self._merged(value_node, depth) | merged
                continue
            members[self._key(key_node, depth)] = self.value(value_node, depth + 1)
        return merged | members if merged else members

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for mapping in nodes:
            value = self.value(mapping, depth + 1)
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

    def scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if node.tag == _BINARY:
            raise YAMLError("yaml: !!binary has no place in JSON")
        value = text if node.style or node.tag == _STRING else plain_scalar(text)
        if type(value) is not float or isfinite(value):
            return value
        if not text[-1].isalpha():
            return text
        raise YAMLError("json: unsupported value: " + ("NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"))
