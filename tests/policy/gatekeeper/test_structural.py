"""Structural schemas: faults in the API server's words, defaults, and what nobody described."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.fields import Fields
from custody.policy.gatekeeper.structural import Schema


def schema(document: dict[str, Any], **options: Any) -> Schema:
    return Schema(Fields(document, "schema"), **options)


@pytest.mark.parametrize(("document", "value", "fault"), [
    ({"type": "string"}, 1, 'must be of type string: "integer"'), ({"type": "integer"}, 1.5, 'of type integer: "number"'),
    ({"type": "integer"}, True, 'of type integer: "boolean"'), ({"type": "number"}, "1", 'of type number: "string"'),
    ({"type": "object"}, [], 'of type object: "array"'), ({"type": "string"}, None, 'of type string: "null"'),
    ({"x-kubernetes-int-or-string": True}, 1.5, "of type integer,string"), ({"type": "string", "enum": ["a"]}, "b", "Unsupported value"),
    ({"type": "string", "pattern": "^a+$"}, "b", "should match '^a+$'"), ({"type": "string", "minLength": 2}, "b", "at least 2 chars"),
    ({"type": "string", "maxLength": 1}, "bb", "Too long"), ({"type": "integer", "minimum": 2}, 1, "greater than or equal to 2"),
    ({"type": "integer", "minimum": 2, "exclusiveMinimum": True}, 2, "greater than 2"), ({"type": "number", "maximum": 2}, 2.5, "less than or equal"),
    ({"type": "integer", "multipleOf": 3}, 4, "multiple of 3"), ({"type": "array", "items": {"type": "string"}}, ["a", 1], "x[1] in body"),
    ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [], "at least 1 items"),
    ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"], "at most 1 items"),
    ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ["a", "a"], "duplicates"),
    ({"type": "object", "required": ["a"]}, {}, "x.a: Required value"),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"k": "v"}, "x.k in body"),
    ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": 1}, "x.a in body"),
    ({"type": "object", "minProperties": 1}, {}, "at least 1 properties"),
    ({"type": "string", "anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]}, "c", "(anyOf)"),
    ({"type": "string", "oneOf": [{"minLength": 1}, {"maxLength": 5}]}, "ab", "(oneOf)"),
    ({"type": "string", "allOf": [{"minLength": 3}]}, "ab", "at least 3"), ({"type": "string", "not": {"enum": ["a"]}}, "a", "(not)")])
def test_faults(document: dict[str, Any], value: Any, fault: str) -> None:
    [said] = schema(document).faults(value, "x")
    assert fault in said


@pytest.mark.parametrize(("document", "value"), [
    ({"type": "integer"}, 2.0), ({"type": "string", "nullable": True}, None), ({"x-kubernetes-int-or-string": True}, "50%"),
    ({"x-kubernetes-preserve-unknown-fields": True}, {"a": [1]}), ({"type": "number"}, 1), ({"type": "object"}, {"any": 1})])
def test_what_is_right(document: dict[str, Any], value: Any) -> None:
    assert schema(document).faults(value, "x") == []


def test_defaults_are_written_where_nothing_is() -> None:
    described = schema({"type": "object", "properties": {
        "a": {"type": "string", "default": "x"}, "b": {"type": "object", "properties": {"c": {"type": "integer", "default": 0}}},
        "l": {"type": "array", "items": {"type": "object", "properties": {"d": {"type": "boolean", "default": False}}}},
        "n": {"type": "string", "nullable": True, "default": "x"}}})
    value: dict[str, Any] = {"b": {}, "l": [{}, {"d": True}], "n": None}
    described.fill(value)
    assert value == {"a": "x", "b": {"c": 0}, "l": [{"d": False}, {"d": True}], "n": None}
    absent: dict[str, Any] = {}
    described.fill(absent)
    assert absent == {"a": "x", "n": "x"}


def test_what_nobody_described_is_named() -> None:
    described = schema({"type": "object", "properties": {
        "a": {"type": "object", "properties": {"b": {"type": "string"}}}, "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "l": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string"}}}}}})
    assert sorted(described.unknown({"a": {"x": 1}, "free": {"y": 1}, "l": [{"z": 1}], "o": 1}, "")) == ["a.x", "l[0].z", "o"]
    assert list(schema({"type": "object"}, legacy=True).unknown({"x": {"y": 1}}, "")) == []


@pytest.mark.parametrize(("document", "reason"), [
    ({}, "must not be empty"), ({"type": "text"}, "array, boolean"), ({"type": "object", "properties": {"a": {}}}, "properties.a.type"),
    ({"type": "array", "items": [{"type": "string"}]}, "one schema for all"), ({"type": "string", "pattern": "("}, "a regular expression"),
    ({"type": "object", "x-kubernetes-validations": [{"rule": "true"}]}, "not evaluated"), ({"type": "string", "minLength": "1"}, "a number"),
    ({"type": "object", "$ref": "#/x"}, "not evaluated"),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}}, "not both")])
def test_schemas_that_are_refused(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        schema(document)


def test_schemas_in_each_other_have_an_end() -> None:
    document: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        document = {"type": "object", "properties": {"a": document}}
    with pytest.raises(CustodyError, match="nested deeper"):
        schema(document)
