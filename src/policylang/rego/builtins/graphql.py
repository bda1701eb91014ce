"""GraphQL queries and schemas, as texts or as the objects that parsing gives."""

from __future__ import annotations

from policylang.rego.builtins.graphql_query import Query
from policylang.rego.builtins.graphql_schema import Schema
from policylang.rego.builtins.graphql_syntax import Document, Parser
from policylang.rego.builtins.operands import string
from policylang.rego.declare import BuiltinError, OperandError, builtin
from policylang.rego.values import Value

_EITHER = "any<string, object[any: any]>"
_OBJECT = "object[any: any]"


def _query(value: Value, position: int = 1) -> Document:
    if type(value) is dict:
        return Document(value, {})
    if type(value) is not str:
        raise OperandError(position, value, "string", "object")
    return Parser(value).query()


def _schema(value: Value, position: int) -> Document:
    if type(value) is dict:
        return Document(value, {})
    if type(value) is not str:
        raise OperandError(position, value, "string", "object")
    return Parser(value).schema()


def _verified(query: Value, schema: Value) -> tuple[Document, Document]:
    asked, described = _query(query), _schema(schema, 2)
    try:
        Query(Schema(*described), *asked).check()
    except (KeyError, TypeError, AttributeError) as wrong:
        raise BuiltinError(f"not a GraphQL document: {wrong}") from None
    return asked, described


@builtin("graphql.parse_query", "string", result=_OBJECT)
def parse_query(value: Value) -> Value:
    return Parser(string(value, 1, -4)).query().node


@builtin("graphql.parse_schema", "string", result=_OBJECT)
def parse_schema(value: Value) -> Value:
    return Parser(string(value, 1, -4)).schema().node


@builtin("graphql.parse", _EITHER, _EITHER, result=f"array<{_OBJECT}, {_OBJECT}>")
def parse(query: Value, schema: Value) -> list[Value]:
    asked, described = _verified(query, schema)
    return [asked.node, described.node]


@builtin("graphql.parse_and_verify", _EITHER, _EITHER, result=f"array<boolean, {_OBJECT}, {_OBJECT}>")
def parse_and_verify(query: Value, schema: Value) -> list[Value]:
    """[true, query, schema], or [false, {}, {}]."""
    try:
        asked, described = _verified(query, schema)
    except OperandError:
        raise
    except BuiltinError:
        return [False, {}, {}]
    return [True, asked.node, described.node]


@builtin("graphql.is_valid", _EITHER, _EITHER, result="boolean")
def is_valid(query: Value, schema: Value) -> bool:
    try:
        _verified(query, schema)
    except BuiltinError:
        return False
    return True


@builtin("graphql.schema_is_valid", _EITHER, result="boolean")
def schema_is_valid(value: Value) -> bool:
    try:
        Schema(*_schema(value, 1))
    except (BuiltinError, KeyError, TypeError, AttributeError):
        return False
    return True
