"""Base64, hexadecimal, URLs, JSON and YAML."""

from __future__ import annotations

import base64
import json
import math
import re
from decimal import Decimal
from typing import Any
from urllib.parse import SplitResult, quote_plus, urlsplit
from urllib.parse import quote as quote_url

import yaml

from custody.languages.go.numbers import quote
from custody.languages.rego.builtins.hashes import utf8
from custody.languages.rego.builtins.operands import OperandFault, mapping, string
from custody.languages.rego.declare import BuiltinError, Context, OperandError, builtin
from custody.languages.rego.values import Set, Value, compact, key, number_text, ordered, to_json, type_name

_MARK = "'"
_STANDARD = re.compile(rb"[A-Za-z0-9+/]*", re.ASCII)
_URL = re.compile(rb"[A-Za-z0-9_-]*", re.ASCII)


def _text(data: bytes) -> str:
    """Bytes as OPA's strings hold them and JSON prints them: what is no UTF-8 becomes U+FFFD."""
    return data.decode("utf-8", "replace")


# --- base64

def decode64(value: str, url: bool = False, padded: bool = True) -> bytes:
    """Go's encoding/base64: line ends are skipped; its error names the first byte that is wrong."""
    data = value.encode("utf-8", "surrogateescape").replace(b"\r", b"").replace(b"\n", b"")
    alphabet = _URL if url else _STANDARD
    found = alphabet.match(data)
    length = found.end() if found else 0
    if padded:
        wrong = _padding(data, length)
        if wrong is not None:
            raise BuiltinError(f"illegal base64 data at input byte {wrong}")
    elif length != len(data):
        raise BuiltinError(f"illegal base64 data at input byte {length}")
    elif length % 4 == 1:
        raise BuiltinError(f"illegal base64 data at input byte {length - 1}")
    body = data[:length]
    decode = base64.urlsafe_b64decode if url else base64.b64decode
    return decode(body + b"=" * (-len(body) % 4))


def _padding(data: bytes, length: int) -> int | None:
    """Where padded base64 is wrong; None where it is right."""
    rest, over = data[length:], length % 4
    if not rest:
        return None if over == 0 else length - over
    if rest[:1] != b"=":
        return length
    if over < 2:
        return length
    if over == 2:
        if len(rest) < 2:
            return len(data)
        if rest[1:2] != b"=":
            return length + 1
    used = 2 if over == 2 else 1
    return None if len(rest) == used else length + used


@builtin("base64.encode", "string", result="string")
def base64_encode(value: Value) -> str:
    return base64.b64encode(utf8(value, 1)).decode()


@builtin("base64.decode", "string", result="string")
def base64_decode(value: Value) -> str:
    return _text(decode64(string(value, 1)))


@builtin("base64.is_valid", "string", result="boolean")
def base64_is_valid(value: Value) -> bool:
    if type(value) is not str:
        return False
    try:
        decode64(value)
    except BuiltinError:
        return False
    return True


@builtin("base64url.encode", "string", result="string")
def base64url_encode(value: Value) -> str:
    return base64.urlsafe_b64encode(utf8(value, 1)).decode()


@builtin("base64url.encode_no_pad", "string", result="string")
def base64url_encode_no_pad(value: Value) -> str:
    return base64.urlsafe_b64encode(utf8(value, 1)).decode().rstrip("=")


@builtin("base64url.decode", "string", result="string")
def base64url_decode(value: Value) -> str:
    return _text(decode64_url(string(value, 1)))


def decode64_url(value: str) -> bytes:
    """Base64url with or without its padding."""
    padding = -len(value) % 4
    if not value.endswith("=") and padding:
        if padding == 3:
            raise BuiltinError(f"illegal base64url string: {value}")
        value += "=" * padding
    return decode64(value, url=True)


@builtin("hex.encode", "string", result="string")
def hex_encode(value: Value) -> str:
    return utf8(value, 1).hex()


@builtin("hex.decode", "string", result="string")
def hex_decode(value: Value) -> str:
    data = utf8(value, 1)
    for byte in data[:len(data) // 2 * 2]:
        if chr(byte) not in "0123456789abcdefABCDEF":
            raise BuiltinError(_bad_hex(byte))
    if len(data) % 2:
        last = data[-1]
        bad = chr(last) not in "0123456789abcdefABCDEF"
        raise BuiltinError(_bad_hex(last) if bad else "encoding/hex: odd length hex string")
    return _text(bytes.fromhex(data.decode()))


def _bad_hex(byte: int) -> str:
    return f"encoding/hex: invalid byte: U+{byte:04X} {quote(chr(byte), mark=chr(39))}"


# --- URLs

@builtin("urlquery.encode", "string", result="string")
def urlquery_encode(value: Value) -> str:
    return _escaped(string(value, 1))


def _escaped(value: str) -> str:
    return quote_plus(value, safe="-_.~", errors="surrogateescape")


@builtin("urlquery.decode", "string", result="string")
def urlquery_decode(value: Value) -> str:
    return _unescaped(string(value, 1))


def _unescaped(value: str) -> str:
    for found in re.finditer("%(.{0,2})", value, re.DOTALL):
        if not re.fullmatch("[0-9a-fA-F]{2}", found[1]):
            raise BuiltinError(f"invalid URL escape {quote(found[0])}")
    data = re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode()), value.replace("+", " ").encode())
    return _text(data)


@builtin("urlquery.encode_object", "object[string: any<string, array[string], set[string]>]", result="string")
def urlquery_encode_object(value: Value) -> str:
    pairs: list[str] = []
    found = mapping(value, 1)
    for name in ordered(found):
        each = found[key(name)]
        if type(name) is not str:
            raise OperandError(1, name, "string")
        if type(each) is str:
            values = [each]
        elif type(each) in (list, Set):
            values = each if type(each) is list else each.ordered()
        else:
            raise OperandFault(1, "values must be string, array[string], or set[string]")
        for member in values:
            if type(member) is not str:
                raise OperandFault(1, "values must be string, array[string], or set[string]")
            pairs.append(f"{_escaped(name)}={_escaped(member)}")
    return "&".join(pairs)


@builtin("urlquery.decode_object", "string", result="object[string: array[string]]")
def urlquery_decode_object(value: Value) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for pair in string(value, 1).split("&"):
        if ";" in pair:
            raise BuiltinError("invalid semicolon separator in query")
        if pair:
            name, _, member = pair.partition("=")
            made.setdefault(_unescaped(name), []).append(_unescaped(member))
    return made


def _url(value: str) -> SplitResult:
    for sign in value:
        if sign < " " or sign == "\x7f":
            raise BuiltinError(f"parse {quote(value)}: net/url: invalid control character in URL")
    scheme, colon, _ = value.partition(":")
    if colon and not scheme:
        raise BuiltinError(f"parse {quote(value)}: missing protocol scheme")
    if colon and not re.fullmatch("[a-zA-Z][a-zA-Z0-9+.-]*", scheme) and "/" not in scheme:
        raise BuiltinError(f"parse {quote(value)}: first path segment in URL cannot contain colon")
    for found in re.finditer("%(.{0,2})", value.partition("?")[0], re.DOTALL):
        if not re.fullmatch("[0-9a-fA-F]{2}", found[1]):
            raise BuiltinError(f"parse {quote(value)}: invalid URL escape {quote(found[0])}")
    try:
        split = urlsplit(value)
    except ValueError:
        raise BuiltinError(f"parse {quote(value)}: missing ']' in host") from None
    host = split.netloc.rpartition("@")[2]
    port = host.rpartition("]")[2].partition(":")[2]
    if port and not (port.isascii() and port.isdigit()):
        raise BuiltinError(f"parse {quote(value)}: invalid port {quote(':' + port)} after host")
    if " " in host:
        raise BuiltinError(f"parse {quote(value)}: invalid character {quote(' ')} in host name")
    return split


@builtin("uri.is_valid", "string", result="boolean")
def uri_is_valid(value: Value) -> bool:
    if type(value) is not str or not value:
        return False
    try:
        _url(value)
    except BuiltinError:
        return False
    return True


@builtin("uri.parse", "string", result="object[string: string]")
def uri_parse(value: Value) -> dict[str, str]:
    """The parts that are there."""
    shown = string(value, 1)
    split = _url(shown)
    host = split.netloc.rpartition("@")[2]
    head, bracket, tail = host.rpartition("]")
    name, _, port = (tail if bracket else host).partition(":")
    name = head.removeprefix("[") if bracket else name
    opaque = bool(split.scheme) and not split.netloc and not split.path.startswith("/") and bool(split.path)
    decoded = _text(_percent(split.path))
    raw = decoded if quote_url(decoded, safe="/$&+,:;=@-_.~") == split.path else split.path
    parts = {"scheme": split.scheme, "hostname": name, "port": port,
             "path": "" if opaque else decoded, "raw_path": "" if opaque else raw,
             "raw_query": split.query, "fragment": _text(_percent(split.fragment))}
    return {each: part for each, part in parts.items() if part}


def _percent(value: str) -> bytes:
    return re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode()), value.encode())


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
    for name, each in sorted(mapping(options, 2).items(), key=str):
        if name == "pretty":
            if type(each) is not bool:
                raise OperandFault(2, 'key "pretty" failed cast to bool')
        elif name in ("indent", "prefix"):
            if type(each) is not str:
                raise OperandFault(2, f'key "{name}" failed cast to string: '
                                   f"operand 0 must be string but got {type_name(each)}")
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
        for at, each in enumerate(value):
            below = _pretty(each, margin + indent, indent)
            lines += [margin + indent + below[0], *below[1:]]
            lines[-1] += "," if at < len(value) - 1 else ""
        return [*lines, margin + "]"]
    if type(value) is dict and value:
        lines = ["{"]
        members = [(name if type(name) is str else compact(name), each) for name, each in value.items()]
        for at, (name, each) in enumerate(sorted(members)):
            below = _pretty(each, margin + indent, indent)
            lines += [f"{margin}{indent}{compact(name)}: {below[0]}", *below[1:]]
            lines[-1] += "," if at < len(value) - 1 else ""
        return [*lines, margin + "}"]
    return [compact(value)]


def _integer(written: str) -> int:
    if len(written) > 4_000:
        raise ValueError("number of too many digits")
    return int(written)


def _float(written: str) -> int | float:
    value = float(written)
    if math.isinf(value):
        exact = Decimal(written)
        if exact.adjusted() > 4_000:
            raise ValueError("number of too many digits")
        return int(exact)
    return value


def _constant(written: str) -> Any:
    raise ValueError(f"invalid character {written[0]!r} looking for beginning of value")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant)


def read_json(value: str) -> Value:
    """A JSON text's value. BuiltinError in Go's words."""
    try:
        return _DECODER.decode(value)
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
    for sign, wanted in zip(rest, literal, strict=False):
        if sign != wanted:
            return f"invalid character {quote(sign, mark=_MARK)} in literal {literal} (expecting '{wanted}')"
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
    context.meter.spend(len(string(value, 1)) >> 8)
    return read_json(value)


@builtin("json.is_valid", "string", result="boolean")
def json_is_valid(value: Value) -> bool:
    if type(value) is not str:
        return False
    try:
        read_json(value)
    except BuiltinError:
        return False
    return True


# --- YAML

class _Loader(yaml.CSafeLoader):
    """YAML as go-yaml v3 reads it into JSON: the scalars of YAML 1.2, and the numbers of 1.1; keys are texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        del deep
        self.flatten_mapping(node)
        made: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = self.construct_object(name_node, deep=True)
            if isinstance(name, (dict, list)):
                raise yaml.constructor.ConstructorError(None, None, "unsupported map key", name_node.start_mark)
            made[name if isinstance(name, str) else compact(name)] = self.construct_object(value_node, deep=True)
        return made

    def number(self, node: yaml.ScalarNode) -> int | float:
        shown = node.value.replace("_", "")
        if re.fullmatch("[+-]?[0-9]+", shown) and len(shown.lstrip("+-0")) == len(shown.lstrip("+-")):
            return _integer(shown)
        if shown.lower().lstrip("+-") in (".inf", ".nan"):
            raise ValueError("a number that JSON does not have")
        try:
            if len(shown) < 100:
                return int(shown, 0) if not re.fullmatch("[+-]?0[0-7]+", shown) else int(shown, 8)
        except ValueError:
            pass
        return _float(shown)


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
_MOST_ALIASES = 1_000


def read_yaml(value: str) -> Value:
    """The first document; the others must be YAML too."""
    if sum(1 for _ in re.finditer(r"(?:^|[\s\[{,:-])\*\w", value)) > _MOST_ALIASES:
        raise BuiltinError("yaml: document contains excessive aliasing")
    try:
        documents = list(yaml.load_all(value, _Loader))
        return _json_like(documents[0]) if documents else None
    except yaml.MarkedYAMLError as wrong:
        raise BuiltinError(f"yaml: {_line(wrong)}{wrong.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:
        raise BuiltinError(f"yaml: {wrong}") from None


def _line(wrong: yaml.MarkedYAMLError) -> str:
    """`line N: ` as go-yaml counts: from 0 in the parser, and not at all in the first line of a text."""
    line = next((mark.line for mark in (wrong.context_mark, wrong.problem_mark) if mark is not None and mark.line), 0)
    scanned = isinstance(wrong, yaml.scanner.ScannerError)
    if not line and not scanned and wrong.problem_mark is not None and wrong.problem_mark.line:
        line = wrong.problem_mark.line
    return f"line {line + scanned}: " if line else ""


def _json_like(value: Any) -> Value:
    if isinstance(value, dict):
        return {name: _json_like(each) for name, each in value.items()}
    if isinstance(value, (list, set)):
        return [_json_like(each) for each in value]
    if isinstance(value, bytes):
        return _text(value)
    return value


@builtin("yaml.unmarshal", "string", result="any", context=True)
def yaml_unmarshal(context: Context, value: Value) -> Value:
    context.meter.spend(len(string(value, 1)) >> 6)
    return read_yaml(value)


@builtin("yaml.is_valid", "string", result="boolean", context=True)
def yaml_is_valid(context: Context, value: Value) -> bool:
    if type(value) is not str:
        return False
    try:
        yaml_unmarshal(context, value)
    except BuiltinError:
        return False
    return True


class _Dumper(yaml.SafeDumper):
    """YAML as go-yaml v3 writes it: texts in double quotes where they would be no text without, lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _resolve(dumper: Any, value: str) -> str:
    return str(dumper.resolve(yaml.ScalarNode, value, (True, False)))


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if "\n" in value:
        style = "|"
    elif _resolve(dumper, value) != _TAG + "str" or value in ("y", "Y", "n", "N"):
        style = '"'
    return dumper.represent_scalar(_TAG + "str", value, style=style)


def _represent_number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TAG + "float", number_text(value))


_Dumper.add_representer(str, _represent)
_Dumper.add_representer(float, _represent_number)


@builtin("yaml.marshal", "any", result="string", context=True)
def yaml_marshal(context: Context, value: Value) -> str:
    made: str = yaml.dump(to_json(value), Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=1 << 20)
    context.meter.fit(len(made))
    return made.removesuffix("...\n")
