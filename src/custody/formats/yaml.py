"""YAML as Kubernetes reads it (sigs.k8s.io/yaml), under limits: bytes in, plain JSON data out."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import yaml

from custody.errors import MalformedError
from custody.formats import yamllines
from policylang.errors import Shape
from policylang.go.yamltext import PlainLoader, plain_scalar

MAX_SIZE = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000


def documents(data: bytes, where: str) -> list[Any]:
    """The YAML documents of a file as plain JSON data; empty ones are left out. Raises MalformedError.

    Scalars are what Kubernetes' YAML reader makes of them (sigs.k8s.io/yaml: YAML 1.1 without dates and base 60). Twice
    the same key, merge keys, other tags, aliases that grow beyond MAX_NODES, and deep nesting are refused.
    """
    if len(data) > MAX_SIZE:
        raise MalformedError(where, got=f"more than {MAX_SIZE} bytes", expected=f"at most {MAX_SIZE} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=str(error)[:100], expected="plain YAML in UTF-8") from None
    return [*yamllines.documents(text)] or any_documents(text, where)


def any_documents(text: str, where: str) -> list[Any]:
    """The same of a text, whatever it is. Raises MalformedError."""
    try:
        _check_events(text)
        nodes = list(yaml.compose_all(text, PlainLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", None) or error)
        raise MalformedError(where, got=problem + place, expected="YAML") from None
    except (RecursionError, UnicodeDecodeError, ValueError) as error:
        raise MalformedError(where, got=str(error)[:100], expected="plain YAML in UTF-8") from None
    plain = _Plain(where)
    return [value for node in nodes if (value := plain.value(node, 0)) is not None]


def dumped(document: Any) -> str:
    """Plain JSON data as YAML: block style, keys in order, as Kubernetes' tools write it; texts of lines in lines."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=True, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """PyYAML quotes a text of several lines, such as a key in PEM, and doubles each line's end."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data.rstrip("\n") else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def _check_events(data: str) -> None:
    """Depth, number and tags, before nodes are made, which recurses in C."""
    depth = values = 0
    for event in yaml.parse(data, PlainLoader):
        if (tag := getattr(event, "tag", None)) is not None:
            raise ValueError(f"the tag {tag}")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            values += 1
            if values > MAX_NODES:
                raise ValueError(f"more than {MAX_NODES} values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nesting deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Plain:
    def __init__(self, where: str) -> None:
        self.where = where
        self.left = MAX_NODES

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            raise MalformedError(self.where, got="aliases that grow too large or too deep",
                                 expected=f"at most {MAX_NODES} values, {MAX_DEPTH} levels")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, depth + 1) for child in node.value]
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and not key_node.style and key_node.value == "<<":
                raise self._wrong(key_node, "a merge key", "keys written out")
            key = self.value(key_node, depth + 1)
            if isinstance(key, (bool, int, float)):
                key = json.dumps(key)
            if not isinstance(key, str):
                raise self._wrong(key_node, Shape(key), "text as a key")
            if key in result:
                raise self._wrong(key_node, f"key {key!r} twice", "each key once")
            result[key] = self.value(value_node, depth + 1)
        return result

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        value = text if node.style else plain_scalar(text)
        if type(value) is float and not isfinite(value):
            raise self._wrong(node, text, "a finite number" if text[-1].isalpha() else "a number of 64 bits")
        return value

    def _wrong(self, node: yaml.Node, got: str | Shape, expected: str) -> MalformedError:
        return MalformedError(f"{self.where} line {node.start_mark.line + 1}", got=got, expected=expected)
