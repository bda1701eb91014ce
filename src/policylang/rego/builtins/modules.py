"""Programs as data: `rego.parse_module`."""

from __future__ import annotations

from policylang.rego.builtins.operands import string
from policylang.rego.declare import BuiltinError, builtin
from policylang.rego.syntax.parser import parse_module
from policylang.rego.syntax.treejson import module_json
from policylang.rego.values import Value
from policylang.source import Source, SourceError


@builtin("rego.parse_module", "string", "string", result="object[string: any]")
def rego_parse_module(name: Value, text: Value) -> Value:
    try:
        return module_json(parse_module(Source(string(text, 2, -3), string(name, 1))))
    except SourceError as error:
        raise BuiltinError(f"1 error occurred: {error}") from None
