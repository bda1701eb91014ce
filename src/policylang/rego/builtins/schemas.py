"""JSON Schema (drafts 4, 6 and 7) with the errors of xeipuuv/gojsonschema, which OPA uses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from policylang.go import calendar, regex, times
from policylang.rego.builtins.documents import read_json
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.values import Value, compact, key, pairs, to_json
from policylang.rego.values.numbers import number_text

_ROOT = "(Root)"
_TYPES = ("array", "boolean", "integer", "number", "null", "object", "string")
_DEEPEST = 200
_ERRORS = "array[object<desc: string, error: string, field: string, type: string>]"


class _Fault(NamedTuple):
    field: str
    type: str
    text: str


def _document(value: Value) -> Any:
    if type(value) is str:
        try:
            return read_json(value)
        except BuiltinError:
            raise BuiltinError("invalid JSON string") from None
    if type(value) not in (dict, list):
        raise BuiltinError("wrong type, expected string or object")
    return to_json(value)


@builtin("json.match_schema", "any<string, object[any: any]>", "any<string, object[any: any]>",
         result=f"array<boolean, {_ERRORS}>", context=True, nondeterministic=True)
def match_schema(context: Context, document: Value, schema: Value) -> list[Value]:
    """[matches, errors]."""
    given, expected = _document(document), _document(schema)
    faults = _Validator(context, _checked(expected)).faults(given)
    return [not faults, [{"desc": fault.text, "error": f"{fault.field}: {fault.text}", "field": fault.field,
                          "type": fault.type} for fault in faults]]


@builtin("json.verify_schema", "any<string, object[any: any]>", result="array<boolean, any<null, string>>",
         nondeterministic=True)
def verify_schema(schema: Value) -> list[Value]:
    """[valid, null or why not]."""
    try:
        _checked(_document(schema))
    except BuiltinError as wrong:
        return [False, f"jsonschema: {wrong}"]
    return [True, None]


# --- what is a schema

_SCHEMAS = ("additionalItems", "additionalProperties", "contains", "else", "if", "not", "propertyNames", "then")
_LISTS = ("allOf", "anyOf", "oneOf")
_MAPS = ("definitions", "patternProperties", "properties")
_COUNTS = ("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties")


def _checked(schema: Any) -> Any:
    stack: list[tuple[Any, int]] = [(schema, 0)]
    while stack:
        subschema, depth = stack.pop()
        if depth > _DEEPEST:
            raise BuiltinError("schema nested too deeply")
        if isinstance(subschema, bool):
            continue
        if not isinstance(subschema, dict):
            raise BuiltinError("schema is invalid")
        _check_words(schema, subschema)
        below = [subschema[name] for name in _SCHEMAS if name in subschema]
        for name in _LISTS:
            if name in subschema:
                if not isinstance(subschema[name], list):
                    raise BuiltinError(f"{name} must be of an array")
                below += subschema[name]
        for name in _MAPS:
            if name in subschema:
                if not isinstance(subschema[name], dict):
                    raise BuiltinError(f"{name[0].upper()}{name[1:]} must be of type object")
                below += subschema[name].values()
        items = subschema.get("items", True)
        if not isinstance(items, (list, dict, bool)):
            raise BuiltinError("Invalid type. Expected: Valid Schema/Array Of Schemas, given: items")
        below += items if isinstance(items, list) else [items]
        stack += [(inner, depth + 1) for inner in below]
    return schema


def _check_words(root: Any, words: dict[str, Any]) -> None:
    kinds = words.get("type", [])
    if not isinstance(kinds, (str, list)) or not all(isinstance(kind, str) for kind in kinds):
        raise BuiltinError("Invalid type. Expected: type, given: string/Array Of Strings")
    for name in ("multipleOf", "minimum", "maximum"):
        if name in words and type(words[name]) not in (int, float):
            raise BuiltinError("Invalid type. Expected: number, given: multipleOf" if name == "multipleOf" else
                               f"{name} must be of a Number")
    for limit in ("minimum", "maximum"):
        name = f"exclusive{limit.capitalize()}"
        if isinstance(words.get(name), bool) and limit not in words:
            raise BuiltinError(f"{name} cannot be used without {limit}")
        if name in words and type(words[name]) not in (bool, int, float):
            raise BuiltinError(f"Invalid type. Expected: boolean/number, given: {name}")
    if words.get("multipleOf", 1) <= 0:
        raise BuiltinError("multipleOf must be strictly greater than 0")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            raise BuiltinError(f"has a primitive type that is NOT VALID -- given: /{kind}/ Expected valid values are:"
                               f"[{' '.join(_TYPES)}]")
    if "$ref" in words:
        _resolve(root, words["$ref"])
    for name in _COUNTS:
        if name in words and (type(words[name]) is not int or not 0 <= words[name] < 1 << 63):
            raise BuiltinError(f"{name} must be of an integer" if type(words[name]) is not int or words[name] > 0
                               else f"{name} must be greater than or equal to 0")
    for name in ("Items", "Length", "Properties"):
        if words.get(f"min{name}", 0) > words.get(f"max{name}", 1 << 62):
            raise BuiltinError(f"min{name} cannot be greater than max{name}")
    for pattern in [*([words["pattern"]] if "pattern" in words else []), *(words.get("patternProperties") or {})]:
        if not isinstance(pattern, str) or not regex.valid(pattern):
            raise BuiltinError("pattern must be a valid regex")
    if "required" in words and not (isinstance(words["required"], list)
                                    and all(isinstance(required, str) for required in words["required"])):
        raise BuiltinError("required must be of an array")
    if "enum" in words and not isinstance(words["enum"], list):
        raise BuiltinError("enum must be of an array")


_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")


def _resolve(root: Any, reference: Any) -> Any:
    """What a `$ref` inside the schema points at; none leads out of it."""
    if not isinstance(reference, str):
        raise BuiltinError("$ref must be a string")
    if not reference:
        return root
    if not reference.startswith("#"):
        if not _SCHEME.match(reference):
            shown = reference if reference.startswith("/") else f"/{reference}"
            raise BuiltinError(f"Reference {shown} must be canonical")
        raise BuiltinError(f"remote reference loading disabled: {reference}")
    target = root
    for part in filter(None, reference[1:].split("/")):
        name = part.replace("~1", "/").replace("~0", "~").replace("%25", "%")
        if isinstance(target, dict) and name in target:
            target = target[name]
        elif isinstance(target, list) and name.isascii() and name.isdigit() and int(name) < len(target):
            target = target[int(name)]
        else:
            raise BuiltinError(f"Object has no key '{name}'")
    return target


# --- validation

def _listed(kinds: list[str]) -> str:
    return kinds[0] if len(kinds) == 1 else f"[{','.join(kinds)}]"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value == value // 1):
        return "integer"
    return {float: "number", str: "string", list: "array", dict: "object"}[type(value)]


class _Validator:
    def __init__(self, context: Context, root: Any) -> None:
        self.meter, self.root = context.meter, root

    def faults(self, value: Any) -> list[_Fault]:
        return list(self.check(self.root, value, _ROOT, 0))

    def good(self, schema: Any, value: Any, where: str, depth: int) -> bool:
        return next(self.check(schema, value, where, depth), None) is None

    def check(self, schema: Any, value: Any, where: str, depth: int) -> Iterator[_Fault]:
        self.meter.spend(1)
        if depth > _DEEPEST:
            raise BuiltinError("schema nested too deeply")
        if schema is True:
            return
        if schema is False:
            yield _Fault(where, "false", "False always fails validation")
            return
        if "$ref" in schema:
            yield from self.check(_resolve(self.root, schema["$ref"]), value, where, depth + 1)
            return
        kind = _kind(value)
        kinds = schema.get("type", [])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if kinds and kind not in kinds and not (kind == "integer" and "number" in kinds):
            yield _Fault(where, "invalid_type",
                         f"Invalid type. Expected: {_listed(kinds)}, given: {kind}")
            return
        yield from self._combined(schema, value, where, depth)
        yield from self._fixed(schema, value, where)
        if kind == "object":
            yield from self._object(schema, value, where, depth)
        elif kind == "array":
            yield from self._array(schema, value, where, depth)
        elif kind == "string":
            yield from _string(schema, value, where)
        elif kind in ("integer", "number"):
            yield from _number(schema, value, where)

    def _combined(self, schema: Any, value: Any, where: str, depth: int) -> Iterator[_Fault]:
        if schema.get("anyOf") and not any(self.good(choice, value, where, depth + 1) for choice in schema["anyOf"]):
            yield _Fault(where, "number_any_of", "Must validate at least one schema (anyOf)")
            yield from self._best(schema["anyOf"], value, where, depth)
        if schema.get("oneOf"):
            count = sum(self.good(choice, value, where, depth + 1) for choice in schema["oneOf"])
            if count != 1:
                yield _Fault(where, "number_one_of", "Must validate one and only one schema (oneOf)")
                if count == 0:
                    yield from self._best(schema["oneOf"], value, where, depth)
        if "allOf" in schema:
            wrong = [list(self.check(part, value, where, depth + 1)) for part in schema["allOf"]]
            for faults in wrong:
                yield from faults
            if any(wrong):
                yield _Fault(where, "number_all_of", "Must validate all the schemas (allOf)")
        if "not" in schema and self.good(schema["not"], value, where, depth + 1):
            yield _Fault(where, "number_not", "Must not validate the schema (not)")
        if "if" in schema:
            good = self.good(schema["if"], value, where, depth + 1)
            name = "then" if good else "else"
            faults = list(self.check(schema.get(name, True), value, where, depth + 1))
            if faults:
                state = "valid" if good else "not valid"
                yield _Fault(where, f"condition_{name}", f'Must validate "{name}" as "if" was {state}')
                yield from faults

    def _best(self, schemas: list[Any], value: Any, where: str, depth: int) -> Iterator[_Fault]:
        """Of alternatives that all fail, the errors of the one with the fewest."""
        faults = [list(self.check(alternative, value, where, depth + 1)) for alternative in schemas]
        yield from min(faults, key=len)

    def _fixed(self, schema: Any, value: Any, where: str) -> Iterator[_Fault]:
        field = where
        if "const" in schema and key(schema["const"]) != key(value):
            yield _Fault(where, "const", f"{field} does not match: {compact(schema['const'])}")
        if "enum" in schema and all(key(constant) != key(value) for constant in schema["enum"]):
            allowed = ", ".join(compact(constant) for constant in schema["enum"])
            yield _Fault(where, "enum", f"{field} must be one of the following: {allowed}")

    def _object(self, schema: Any, value: dict[str, Any], where: str, depth: int) -> Iterator[_Fault]:
        for name in schema.get("required", []):
            if name not in value:
                yield _Fault(where, "required", f"{name} is required")
        if len(value) < schema.get("minProperties", 0):
            yield _Fault(where, "array_min_properties", f"Must have at least {schema['minProperties']} properties")
        if len(value) > schema.get("maxProperties", len(value)):
            yield _Fault(where, "array_max_properties", f"Must have at most {schema['maxProperties']} properties")
        for name, dependency in pairs(schema.get("dependencies", {})):
            if name in value:
                if isinstance(dependency, list):
                    for companion in dependency:
                        if companion not in value:
                            yield _Fault(where, "missing_dependency", f"Has a dependency on {companion}")
                else:
                    yield from self.check(dependency, value, where, depth + 1)
        properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        additional = schema.get("additionalProperties", True)
        below_here: list[_Fault] = []
        for name, member in pairs(value):
            below = name if where == _ROOT else f"{where}.{name}"
            known = False
            wrong = list(self.check(schema.get("propertyNames", True), name, where, depth + 1))
            if wrong:
                yield _Fault(where, "invalid_property_name", f'Property name of "{name}" does not match')
                yield from wrong
            if name in properties:
                known = True
                below_here += self.check(properties[name], member, below, depth + 1)
            for pattern, subschema in pairs(patterns):
                if regex.compiled(pattern).search(name):
                    known = True
                    below_here += self.check(subschema, member, below, depth + 1)
            if not known and additional is False:
                yield _Fault(where, "additional_property_not_allowed", f"Additional property {name} is not allowed")
            elif not known:
                below_here += self.check(additional, member, below, depth + 1)
        yield from below_here

    def _array(self, schema: Any, value: list[Any], where: str, depth: int) -> Iterator[_Fault]:
        def below(at: int) -> str:
            return str(at) if where == _ROOT else f"{where}.{at}"
        items = schema.get("items", True)
        if isinstance(items, list):
            for at, (subschema, member) in enumerate(zip(items, value, strict=False)):
                yield from self.check(subschema, member, below(at), depth + 1)
            additional = schema.get("additionalItems", True)
            if additional is False and len(value) > len(items):
                yield _Fault(where, "array_no_additional_items", "No additional items allowed on array")
            elif additional is not False:
                for at in range(len(items), len(value)):
                    yield from self.check(additional, value[at], below(at), depth + 1)
        else:
            for at, member in enumerate(value):
                yield from self.check(items, member, below(at), depth + 1)
        if len(value) < schema.get("minItems", 0):
            yield _Fault(where, "array_min_items", f"Array must have at least {schema['minItems']} items")
        if len(value) > schema.get("maxItems", len(value)):
            yield _Fault(where, "array_max_items", f"Array must have at most {schema['maxItems']} items")
        if schema.get("uniqueItems"):
            seen: dict[Any, int] = {}
            for at, member in enumerate(value):
                first = seen.setdefault(key(member), at)
                if first != at:
                    yield _Fault(where, "unique", f"array items[{first},{at}] must be unique")
        if "contains" in schema:
            first_faults: list[_Fault] = []
            for at, member in enumerate(value):
                faults = list(self.check(schema["contains"], member, below(at), depth + 1))
                if not faults:
                    return
                first_faults = first_faults or faults
            yield _Fault(where, "contains", "At least one of the items must match")
            yield from first_faults


def _string(schema: Any, value: str, where: str) -> Iterator[_Fault]:
    if len(value) < schema.get("minLength", 0):
        yield _Fault(where, "string_gte", f"String length must be greater than or equal to {schema['minLength']}")
    if len(value) > schema.get("maxLength", len(value)):
        yield _Fault(where, "string_lte", f"String length must be less than or equal to {schema['maxLength']}")
    if "pattern" in schema and not regex.compiled(schema["pattern"]).search(value):
        yield _Fault(where, "pattern", f"Does not match pattern '{schema['pattern']}'")
    test = _FORMATS.get(schema.get("format", ""))
    if test is not None and not test(value):
        yield _Fault(where, "format", f"Does not match format '{schema['format']}'")


def _number(schema: Any, value: float, where: str) -> Iterator[_Fault]:
    exact = Fraction(value)
    if "multipleOf" in schema and exact % Fraction(str(schema["multipleOf"])):
        yield _Fault(where, "multiple_of", f"Must be a multiple of {number_text(schema['multipleOf'])}")
    for limit, side, than in (("maximum", "l", "less than"), ("minimum", "g", "greater than")):
        inclusive, exclusive = schema.get(limit), schema.get(f"exclusive{limit.capitalize()}")
        if isinstance(exclusive, bool):  # draft 4
            inclusive, exclusive = (None, inclusive) if exclusive else (inclusive, None)
        sign = 1 if side == "l" else -1
        if inclusive is not None and (value - inclusive) * sign > 0:
            yield _Fault(where, f"number_{side}te", f"Must be {than} or equal to {number_text(inclusive)}")
        if exclusive is not None and (value - exclusive) * sign >= 0:
            yield _Fault(where, f"number_{side}t", f"Must be {than} {number_text(exclusive)}")


# --- formats

def _time(layout: str) -> Callable[[str], bool]:
    def test(value: str) -> bool:
        try:
            times.parse_time(layout, value)
        except calendar.TimeError:
            return False
        return True
    return test


def _address(kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> Callable[[str], bool]:
    def test(value: str) -> bool:
        try:
            kind(value)
        except ValueError:
            return False
        return True
    return test


def _pattern(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _time("2006-01-02"), "time": lambda value: any(
        _time(layout)(value) for layout in ("15:04:05", "15:04:05Z07:00")),
    "date-time": lambda value: any(_time(layout)(value) for layout in (
        "15:04:05", "15:04:05Z07:00", "2006-01-02", times.RFC3339, times.RFC3339_NANO)),
    "ipv4": _address(ipaddress.IPv4Address), "ipv6": _address(ipaddress.IPv6Address),
    "hostname": _pattern(r"([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])"
                         r"(\.([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]{0,61}[a-zA-Z0-9]))*"),
    "email": _pattern(r"[^@\s<>]+@[^@\s<>]+"), "idn-email": _pattern(r"[^@\s<>]+@[^@\s<>]+"),
    "uri": _pattern(r"[a-zA-Z][a-zA-Z0-9+.-]*:[^\s\\]*"), "iri": _pattern(r"[a-zA-Z][a-zA-Z0-9+.-]*:[^\s\\]*"),
    "uri-reference": _pattern(r"[^\s\\]*"), "iri-reference": _pattern(r"[^\s\\]*"),
    "uuid": _pattern(r"[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12}"),
    "regex": regex.valid, "json-pointer": _pattern(r"(/([^/~]|~[01])*)*"),
    "relative-json-pointer": _pattern(r"(0|[1-9][0-9]*)(#|(/([^/~]|~[01])*)*)"),
}
