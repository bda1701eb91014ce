"""JSON, YAML and modules: texts and the values they stand for."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

import yaml

from policylang.budget import GENEROUS, Meter
from policylang.go.jsontext import without_surrogates
from policylang.go.numbers import format_float, quote
from policylang.go.yamltext import weight
from policylang.rego.builtins.encoding import lenient
from policylang.rego.builtins.operands import OperandFault, mapping, readable, string
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.syntax.parser import parse_module
from policylang.rego.syntax.treejson import module_json
from policylang.rego.values import Set, Value, compact, pay, printable, running, sorted_names, to_json, type_name
from policylang.rego.values.numbers import Number, number_text, read
from policylang.source import Source, SourceError

_MARK = "'"

# --- JSON

@builtin("json.marshal", "any", result="string", context=True)
def json_marshal(context: Context, value: Value) -> str:
    made = compact(value)
    context.meter.fit(len(made))
    context.meter.spend(len(made) >> 8)
    return made


@builtin("json.marshal_with_options", "any",
         "object<indent: string, prefix: string, pretty: boolean>[string: any]", result="string", context=True)
def json_marshal_with_options(context: Context, value: Value, options: Value) -> str:
    indent, prefix, pretty = "\t", "", False
    for name, option in sorted(mapping(options, 2).items(), key=str):
        if name == "pretty":
            if type(option) is not bool:
                raise OperandFault(2, 'key "pretty" failed cast to bool')
        elif name in ("indent", "prefix"):
            if type(option) is not str:
                raise OperandFault(2, f'key "{name}" failed cast to string: '
                                   f"operand 0 must be string but got {type_name(option)}")
        else:
            raise OperandFault(2, f'object contained unknown key "{name}"')
    if {"indent", "prefix"} & options.keys():
        pretty = True
    pretty = options.get("pretty", pretty)
    indent, prefix = options.get("indent", indent), options.get("prefix", prefix)
    if not pretty:
        return str(json_marshal(context, value))
    made: str = prefix + "\n".join(_pretty(value, prefix, indent))
    context.meter.fit(len(made))
    return made


def _pretty(value: Value, margin: str, indent: str) -> list[str]:
    """json.MarshalIndent, a line each; the first without its margin."""
    value = value.ordered() if type(value) is Set else value
    if type(value) is list and value:
        lines = ["["]
        for at, member in enumerate(value):
            below = _pretty(member, margin + indent, indent)
            lines += [margin + indent + below[0], *below[1:]]
            lines[-1] += "," if at < len(value) - 1 else ""
        return [*lines, margin + "]"]
    if type(value) is dict and value:
        lines = ["{"]
        members = sorted_names(value)
        for at, (name, member) in enumerate(members):
            below = _pretty(member, margin + indent, indent)
            lines += [f"{margin}{indent}{compact(name)}: {below[0]}", *below[1:]]
            lines[-1] += "," if at < len(value) - 1 else ""
        return [*lines, margin + "}"]
    return [compact(value)]


def _constant(written: str) -> Any:
    raise ValueError(f"invalid character {written[0]!r} looking for beginning of value")


_DECODER = json.JSONDecoder(parse_int=read, parse_float=read, parse_constant=_constant)


def read_json(value: str) -> Value:
    """A JSON text's value. BuiltinError in Go's words."""
    try:
        decoded = _DECODER.decode(printable(value))
        return without_surrogates(decoded) if "\\u" in value else decoded
    except json.JSONDecodeError as wrong:
        raise BuiltinError(_in_go(value, wrong)) from None
    except ValueError as wrong:
        raise BuiltinError(str(wrong)) from None
    except RecursionError:
        raise BuiltinError("exceeded max depth") from None


def _in_go(value: str, wrong: json.JSONDecodeError) -> str:
    at = wrong.pos
    while at < len(value) and value[at] in " \t\r\n":
        at += 1
    if at >= len(value) or wrong.msg.startswith("Unterminated"):
        return "unexpected EOF" if value.strip() else "EOF"
    for literal in ("true", "false", "null"):
        if literal[0] == value[at]:
            return _in_literal(value[at:], literal)
    shown = quote(value[at], mark="'")
    if wrong.msg.startswith("Extra data"):
        return f"error: invalid character {shown} after top-level value"
    if "property name" in wrong.msg:
        return f"invalid character {shown} looking for beginning of object key string"
    if "',' delimiter" in wrong.msg:
        where = "array element" if _in_array(value[:at]) else "object key:value pair"
        return f"invalid character {shown} after {where}"
    if "':' delimiter" in wrong.msg:
        return f"invalid character {shown} after object key"
    return f"invalid character {shown} looking for beginning of value"


def _in_literal(rest: str, literal: str) -> str:
    """Where `rest` leaves a literal that it began."""
    for sign, expected in zip(rest, literal, strict=False):
        if sign != expected:
            return f"invalid character {quote(sign, mark=_MARK)} in literal {literal} (expecting '{expected}')"
    return "unexpected EOF"


def _in_array(before: str) -> bool:
    stack: list[str] = []
    for sign in re.sub(r'"(?:[^"\\]|\\.)*"', "", before):
        if sign in "[{":
            stack.append(sign)
        elif sign in "]}" and stack:
            stack.pop()
    return stack[-1:] == ["["]


@builtin("json.unmarshal", "string", result="any", context=True)
def json_unmarshal(context: Context, value: Value) -> Value:
    context.meter.spend(len(string(value, 1)) >> 6)
    return read_json(value)


@builtin("json.is_valid", "string", result="boolean")
def json_is_valid(value: Value) -> bool:
    return readable(value, lambda shown: read_json(string(shown, 1, 6)))


# --- YAML

def _float64(value: float) -> str:
    """As Go's encoding/json writes one: the fewest digits, and zeros after them."""
    shown = number_text(value)
    return format(Decimal(repr(value)), "f") if abs(value) >= 1 << 63 and "e" not in shown else shown


class _Loader(yaml.CSafeLoader):
    """YAML as go-yaml v3 reads it into JSON: the scalars of YAML 1.2, and the numbers of 1.1; keys are texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        del deep
        self.flatten_mapping(node)
        made: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = self.construct_object(name_node, deep=True)
            if isinstance(name, (dict, list)) or name is None:
                raise yaml.constructor.ConstructorError(None, None, "unsupported map key", name_node.start_mark)
            made[name if isinstance(name, str) else compact(name)] = self.construct_object(value_node, deep=True)
        return made

    def number(self, node: yaml.ScalarNode) -> Number | str:
        """A float64, or an integer of 64 bits; what is too large for both is a text."""
        shown = node.value.replace("_", "")
        if shown.lower().lstrip("+-") in (".inf", ".nan"):
            raise ValueError("a number that JSON does not have")
        try:
            if len(shown) < 100:
                octal = re.fullmatch("[+-]?0[0-7]+", shown)
                value = int(shown, 8) if octal else int(shown, 0 if not re.fullmatch("[+-]?0[0-9]+", shown) else 10)
                if -1 << 63 <= value < 1 << 64:
                    return value
                shown = str(value)
        except ValueError:
            pass
        nearest = float(shown)
        return node.value if math.isinf(nearest) else read(_float64(nearest))

    def any_tag(self, node: yaml.Node) -> Any:
        """What go-yaml makes of tags that it does not know: texts, lists, mappings."""
        if isinstance(node, yaml.ScalarNode):
            return node.value
        if isinstance(node, yaml.SequenceNode):
            return [self.construct_object(item, deep=True) for item in node.value]
        return self.construct_mapping(node) if isinstance(node, yaml.MappingNode) else None

    def null(self, node: yaml.ScalarNode) -> None:
        if node.value not in ("", "~", "null", "Null", "NULL"):
            raise yaml.constructor.ConstructorError(None, None, f"cannot decode !!str `{node.value}` as a !!null",
                                                    node.start_mark)

    def boolean(self, node: yaml.ScalarNode) -> bool:
        if node.value.lower() not in ("true", "false"):
            raise yaml.constructor.ConstructorError(None, None, f"cannot decode !!str `{node.value}` as a !!bool",
                                                    node.start_mark)
        return bool(node.value.lower() == "true")

    def timestamp(self, node: yaml.ScalarNode) -> str:
        try:
            moment = self.construct_yaml_timestamp(node)
        except (ValueError, AttributeError):
            raise yaml.constructor.ConstructorError(None, None, f"cannot decode !!str `{node.value}` as a !!timestamp",
                                                    node.start_mark) from None
        shown = re.sub(r"(\.[0-9]*[1-9])0+", r"\1", moment.isoformat()) if isinstance(moment, datetime) else \
            f"{moment.isoformat()}T00:00:00"
        return shown.replace("+00:00", "Z") if "+" in shown[10:] or "-" in shown[10:] else f"{shown}Z"


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag in (_TAG + "null", _TAG + "merge")]
    for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(_TAG + "bool", re.compile("(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    _TAG + "float", re.compile(r"(?:[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+"
                               r"|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)"
                               r"(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))$"), list("-+0123456789."))
for _kind in ("int", "float"):
    _Loader.add_constructor(_TAG + _kind, _Loader.number)
_Loader.add_constructor(_TAG + "map", _Loader.construct_mapping)
_Loader.add_constructor(_TAG + "null", _Loader.null)
_Loader.add_constructor(_TAG + "bool", _Loader.boolean)
_Loader.add_constructor(_TAG + "timestamp", _Loader.timestamp)
for _kind in ("set", "omap", "pairs"):
    _Loader.add_constructor(_TAG + _kind, _Loader.any_tag)
_Loader.add_constructor(None, _Loader.any_tag)
_DIRECTIVE = re.compile(r"\A(?:[ \t]*(?:#[^\n]*)?\n)*%YAML[ \t]+(?!1\.1\b)")
_MOST_ALIASES = 1_000


def read_yaml(value: str) -> Value:
    """The first document; the others must be YAML too."""
    if sum(1 for _ in re.finditer(r"(?:^|[\s\[{,:-])\*\w", value)) > _MOST_ALIASES:
        raise BuiltinError("yaml: document contains excessive aliasing")
    if value[:200].lstrip().startswith(("%", "#")) and _DIRECTIVE.match(value):
        raise BuiltinError("yaml: found incompatible YAML document")
    before, running.meter = running.meter, running.meter or Meter(GENEROUS)
    try:
        documents = list(yaml.load_all(value, _Loader))
        return _json_like(documents[0]) if documents else None
    except yaml.MarkedYAMLError as wrong:
        raise BuiltinError(f"yaml: {_line(wrong)}{wrong.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:
        raise BuiltinError(f"yaml: {wrong}") from None
    finally:
        running.meter = before


def _line(wrong: yaml.MarkedYAMLError) -> str:
    """`line N: ` as go-yaml counts: from 0 in the parser, and not at all in the first line of a text."""
    line = next((mark.line for mark in (wrong.context_mark, wrong.problem_mark) if mark is not None and mark.line), 0)
    scanned = isinstance(wrong, yaml.scanner.ScannerError)
    if not line and not scanned and wrong.problem_mark is not None and wrong.problem_mark.line:
        line = wrong.problem_mark.line
    return f"line {line + scanned}: " if line else ""


def _json_like(value: Any) -> Value:
    """Plain data, in which what aliases name stands each time: it is paid for, since nine lines can be a million."""
    if isinstance(value, (dict, list, set)):
        pay(2 * len(value) + 2)
    if isinstance(value, dict):
        return {name: _json_like(member) for name, member in value.items()}
    if isinstance(value, (list, set)):
        return [_json_like(member) for member in value]
    if isinstance(value, bytes):
        return lenient(value)
    return value


@builtin("yaml.unmarshal", "string", result="any", context=True)
def yaml_unmarshal(context: Context, value: Value) -> Value:
    context.meter.spend(weight(string(value, 1)))
    return read_yaml(value)


@builtin("yaml.is_valid", "string", result="boolean", context=True)
def yaml_is_valid(context: Context, value: Value) -> bool:
    return readable(value, lambda shown: yaml_unmarshal(context, shown))


class _Dumper(yaml.SafeDumper):
    """YAML as go-yaml v3 writes it: texts in double quotes where they would be no text without, lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)

    def check_simple_key(self) -> bool:
        if isinstance(self.event, yaml.ScalarEvent) and not self.event.value:
            return True  # to PyYAML an empty key is none
        return bool(super().check_simple_key())

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _resolve(dumper: Any, value: str) -> str:
    return str(dumper.resolve(yaml.ScalarNode, value, (True, False)))


_TEXTS = frozenset({_TAG + "str", _TAG + "yaml", _TAG + "value"})  # the latter two are `*` and `=`


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if not value.isascii() and any(sign > "\uffff" for sign in value):
        style = '"'
    elif "\n" in value:
        style = "|"
    elif _resolve(dumper, value) not in _TEXTS or value in ("y", "Y", "n", "N"):
        style = '"'
    return dumper.represent_scalar(_TAG + "str", value, style=style)


def _represent_number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    if type(value) is int:
        whole = -1 << 63 <= value < 1 << 64 or abs(value) >= _LARGEST
        shown = str(value) if whole else format_float(float(value))
    else:
        shown = format_float(value)
    return dumper.represent_scalar(_resolve(dumper, shown), shown)


_Dumper.add_representer(str, _represent)
_Dumper.add_representer(int, _represent_number)
_Dumper.add_representer(float, _represent_number)


_LARGEST = 1 << 1024  # no float64


def _in_order(value: Any) -> Any:
    """Mappings in go-yaml's order: signs before letters, and digits as the numbers that they are."""
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value, key=cmp_to_key(_natural))}
    return list(map(_in_order, value)) if isinstance(value, list) else value


def _natural(first: str, second: str) -> int:
    after_digit = False
    for at, (left, right) in enumerate(zip(first, second, strict=False)):
        if left == right:
            after_digit = left.isdecimal()
            continue
        if left.isalpha() and right.isalpha():
            return -1 if left < right else 1
        if left.isalpha() or right.isalpha():
            return -1 if left.isalpha() == after_digit else 1
        lead = ""
        if "0" in (left, right):
            before = re.search("[0-9]*$", first[:at])
            lead = "1" if before and before[0].strip("0") else ""
        digits = [re.match("[0-9]*", text[at:at + 19]) for text in (first, second)]
        runs = [match[0] if match else "" for match in digits]
        ranks = [(int(lead + run or "0"), len(run)) for run in runs]
        if ranks[0] != ranks[1]:
            return -1 if ranks[0] < ranks[1] else 1
        return -1 if left < right else 1
    return len(first) - len(second)


_CONTROL = re.compile("[\x7f-\x84\x86-\x9f\ufffe\uffff]")


def _folded(value: Value) -> Value:
    """OPA reads the value's JSON as YAML, where a text's next-line characters are line ends that are folded."""
    kind = type(value)
    if kind is str:
        return re.sub("[ \t]*(?:\x85[ \t]*)+", lambda ends: "\n" * (ends[0].count("\x85") - 1) or " ", value)
    if kind is list or kind is Set:
        return [_folded(member) for member in (value if kind is list else value.ordered())]
    if kind is dict:
        return {_folded(name) if type(name) is str else name: _folded(member) for name, member in value.items()}
    return value


@builtin("yaml.marshal", "any", result="string", context=True)
def yaml_marshal(context: Context, value: Value) -> str:
    given = compact(value)
    context.meter.spend(len(given) >> 6)
    if not given.isascii() or "\x7f" in given:
        if _CONTROL.search(given):
            raise BuiltinError("yaml: control characters are not allowed")
        value = _folded(value) if "\x85" in given else value
    value = _in_order(to_json(value))
    made: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=1 << 20,
                          sort_keys=False)
    context.meter.fit(len(made))
    return made.removesuffix("...\n")


# --- modules, as JSON

@builtin("rego.parse_module", "string", "string", result="object[string: any]")
def rego_parse_module(name: Value, text: Value) -> Value:
    try:
        return module_json(parse_module(Source(string(text, 2, -3), string(name, 1))))
    except SourceError as error:
        raise BuiltinError(f"1 error occurred: {error}") from None
