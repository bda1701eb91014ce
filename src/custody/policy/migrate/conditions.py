"""`preconditions` and `deny.conditions` as CEL: operators as Kyverno means them, wildcards and quantities included."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from custody.errors import UnsupportedError
from custody.policy.migrate import comparisons
from custody.policy.migrate.expressions import FALSE, TRUE, every, is_unit, literal, negation, quoted, some, wildcard
from custody.policy.migrate.queries import query, text_of, whole
from custody.policy.migrate.said import Names, Said
from custody.policy.migrate.scalars import holds
from custody.policy.resources import OPERATIONS
from policylang.conditions.operators import OPERATORS
from policylang.go.durations import parse as duration
from policylang.go.quantities import number as quantity
from policylang.kpattern import operator as sign_of
from policylang.variables import has_variables

_ORDERS = {"GreaterThan": ">", "GreaterThanOrEquals": ">=", "LessThan": "<", "LessThanOrEquals": "<="}
_STRICT = re.compile(r"\b(?:object|oldObject|element[0-9]*)\.(?!metadata\b|kind\b|apiVersion\b|spec\.\?)[A-Za-z]")
_KNOWN = frozenset(literal(operation) for operation in OPERATIONS)
LOOKUPS = ("resource.", "globalContext.", "image.Get")
"""How what is looked up begins, in CEL."""
_PARTIAL = ("size([dyn(", ".contains(", ".split(", "Ascii()", "json.", "timestamp(", "double(", ".join(")
"""Words of CEL that are errors of values of other types."""
_IN = ("AnyIn", "AllIn", "AnyNotIn", "AllNotIn", "In", "NotIn")


def compiled(block: Any, where: str, names: Names) -> str:
    """Whether they hold. Raises UnsupportedError."""
    if isinstance(block, list):
        if block and all(isinstance(part, dict) and "key" in part for part in block):
            return in_order([_condition(part, f"{where}[{at}]", names) for at, part in enumerate(block)])
        return in_order([compiled(part, f"{where}[{at}]", names) for at, part in enumerate(block)])
    parts = [in_order([_condition(part, f"{where}.all[{at}]", names)
                       for at, part in enumerate(block.get("all") or [])])]
    if "any" in block:
        parts.insert(0, in_order([_condition(part, f"{where}.any[{at}]", names)
                                  for at, part in enumerate(block["any"])], every_=False))
    return in_order(parts)


def in_order(parts: Sequence[str], *, every_: bool = True) -> str:
    """All of them, or one. What comes after one that may fail is not asked: `&&` and `||` would hide the failure."""
    failing = next((at for at, part in enumerate(parts[:-1]) if fails(part)), None)
    if failing is None:
        return every(parts) if every_ else some(parts)
    first, rest = parts[failing], in_order(parts[failing + 1:], every_=every_)
    if rest == (TRUE if every_ else FALSE):
        chain = first
    else:
        first, rest = _apart(first), _apart(rest)
        chain = f"({first} ? {rest} : false)" if every_ else f"({first} ? true : {rest})"
    before = parts[:failing]
    return every([*before, chain]) if every_ else some([*before, chain])


def fails(text: str) -> bool:
    """Whether an expression may end with an error: what it speaks of may not be there, or not be had."""
    return any(word in text for word in (*LOOKUPS, *_PARTIAL)) or _STRICT.search(text) is not None


def _apart(text: str) -> str:
    return text if is_unit(text) else f"({text})"


def _condition(condition: dict[str, Any], where: str, names: Names) -> str:
    """Kyverno makes both sides before it compares them: what can fail is asked for also where it would not matter."""
    text, value = _judged(condition, where, names)
    lookups = [names.beside[name] for name in names.whole if any(word in names.beside[name] for word in LOOKUPS)]
    parts = [part for part in dict.fromkeys((*lookups, *(names.pasted or ()))) if part in text]
    if value is not None and not value.startswith(("request.", "'")):
        parts.append(value)
    asked = [part for part in dict.fromkeys(parts) if not text.startswith(part) and not _safe(part) and not any(
        more.startswith(f"{part}.") for more in parts)]
    if not asked:
        return text
    # && would take no notice of an error beside what is false.
    return f"(size([{', '.join(f'dyn({part})' for part in asked)}]) == {len(asked)} ? {_apart(text)} : false)"


def _safe(text: str) -> bool:
    """Whether it is always there."""
    return (text.endswith(("metadata.name", ".orValue('')", ".orValue([])", ".orValue(null)", ".orValue({})")) and not (
        any(word in text for word in LOOKUPS))) or text.startswith("request.")


def _judged(condition: dict[str, Any], where: str, names: Names) -> tuple[str, str | None]:
    """Whether it holds, and its value where that is computed."""
    key, name, value = condition["key"], condition["operator"], condition.get("value")
    said = _key(key, f"{where}.key", names)
    if has_variables(value):
        computed = _computed(value, f"{where}.value", names).single
        return _compared(said, computed, name, where), computed.text
    return _with(said, name, value, where), None


def _with(said: Said, name: str, value: Any, where: str) -> str:
    """Of a value that is written."""
    if said.over and name not in _IN:
        said = said.single
    if said.text in _KNOWN and name in OPERATORS:
        return TRUE if OPERATORS[name](said.text.strip("'"), value) else FALSE
    if name in ("Equals", "Equal", "NotEquals", "NotEqual"):
        if isinstance(value, str) and (duration(value) is not None or said.type in ("duration", "timestamp")):
            return _compared(said, Said(literal(value), "text"), name, where)
        return _equality(said, value, f"{where}.value", differs=name.startswith("Not"))
    if name in _IN:
        return _membership(said, name, value, where)
    if name in _ORDERS and isinstance(value, int) and not isinstance(value, bool) and said.type == "int":
        return f"{said.unit} {_ORDERS[name]} {value}"
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return _compared(said, _written(value), name, where)
    raise UnsupportedError(f"{where}.value", f"{name} of a list or a map never holds")


def _written(value: Any) -> Said:
    kinds = {bool: "bool", int: "int", float: "number", str: "text", list: "list", dict: "map"}
    return Said(literal(value), kinds.get(type(value), ""))


def _compared(key: Said, value: Said, name: str, where: str) -> str:
    """Of values that are not known before."""
    key, value = key.single, value.single
    if name in ("Equals", "Equal", "NotEquals", "NotEqual"):
        return comparisons.equal(key, value, differs=name.startswith("Not"))
    if name in _IN:
        return comparisons.member(key, value, name)
    if name in _ORDERS:
        return comparisons.ordered(key, value, name)
    if name.removeprefix("Duration") in _ORDERS:
        return comparisons.elapsed(key, value, name)
    raise UnsupportedError(f"{where}.operator", f"{name} is not known")


def _key(key: Any, where: str, names: Names) -> Said:
    if isinstance(key, dict) or (isinstance(key, list) and any(isinstance(part, (dict, list)) for part in key)):
        raise UnsupportedError(where, "a key that is written as a map, or a list of them")
    return _computed(key, where, names) if has_variables(key) else _written(key)


def _computed(value: Any, where: str, names: Names) -> Said:
    if isinstance(value, list):
        parts = [_computed(part, f"{where}[{at}]", names) if has_variables(part) else _written(part)
                 for at, part in enumerate(value)]
        if any(part.type == "list" for part in parts):
            raise UnsupportedError(where, "a list that is computed in a list")
        return Said(f"[{', '.join(f'dyn({part.text})' for part in parts)}]", "list")
    if not isinstance(value, str):
        raise UnsupportedError(where, "a map that is computed")
    expression = whole(value)
    return Said(text_of(value, where, names), "text") if expression is None else query(expression, where, names)


def _equality(key: Said, value: Any, where: str, *, differs: bool) -> str:
    if value is None or isinstance(value, dict):
        raise UnsupportedError(where, "nothing equals null, and maps of numbers differ by where they stand")
    if not isinstance(value, str):
        same = f"{key.unit} == {literal(value)}"
        return f"{key.unit} != {literal(value)}" if differs else same
    if key.type in ("int", "bool") and not differs and quantity(value) is None:
        return FALSE
    if quantity(value) is not None:
        text = f"string({key.text})"
        same = f"isQuantity({text}) && quantity({text}).compareTo(quantity({quoted(value)})) == 0"
        return negation(same) if differs else same
    text = key.unit if key.type == "text" or ("*" not in value and "?" not in value) else f"string({key.text})"
    same = wildcard(value, text)
    if not differs:
        wild = "*" in value or "?" in value
        return every((same, f"!isQuantity(string({key.text}))")) if wild and not key.sure else same
    unequal = f"{text} != {quoted(value)}" if "*" not in value and "?" not in value else negation(same)
    # A quantity is neither equal to such a text nor unequal.
    return unequal if key.sure or value == "" else every((unequal, f"!isQuantity(string({key.text}))"))


def _membership(key: Said, name: str, value: Any, where: str) -> str:
    single = False
    if key.over and fails(key.text):
        key = key.single
    if isinstance(value, str):
        if sign_of(value) == "-":
            return _ranged(key.single, name, value, where)
        if value[:1] in ("[", "{", '"') or value in ("null", "true", "false") or quantity(value) is not None:
            return _compared(key, Said(literal(value), "text"), name, where)
        value, single = [value], True
    if isinstance(value, (bool, int)) or name in ("In", "NotIn"):
        return _compared(key, _written(value), name, where)
    if not isinstance(value, list) or not all(isinstance(text, (str, int)) for text in value):
        raise UnsupportedError(f"{where}.value", "only texts and lists of texts and whole numbers have words in CEL")
    texts = [literal(text) if isinstance(text, bool) else str(text) for text in value]
    negative = name.endswith("NotIn")
    if key.type != "list":
        if key.type not in ("text", "int"):
            element, scalar = "word", _inside(Said("word"), texts)
            several = {"AnyIn": f"{{}}.exists({element}, {scalar})", "AllIn": f"{{}}.all({element}, {scalar})",
                       "AnyNotIn": f"{{}}.exists({element}, {negation(scalar)})",
                       "AllNotIn": f"{{}}.all({element}, {negation(scalar)})"}
            if name not in several:
                raise UnsupportedError(f"{where}.operator", f"{name} of what may be a list has no words in CEL")
            inside = _inside(key, texts, either=not single)
            return (f"type({key.text}) == list ? {several[name].format(key.unit)} : "
                    f"{key.unit} != null && {_bracketed(negation(inside) if negative else inside)}")
        inside = _inside(key, texts, either=not single)
        return negation(inside) if negative else inside
    inside = _inside(Said("word"), texts)
    if name == "AnyIn":
        return key.holds("exists", "word", inside)
    there = key.maybe or TRUE
    if name == "AllIn":
        return every((there, key.holds("all", "word", inside)))
    if name == "AnyNotIn":
        return key.holds("exists", "word", negation(inside))
    if name == "AllNotIn":
        return every((there, key.holds("all", "word", negation(inside))))
    raise UnsupportedError(f"{where}.operator", f"{name} of a list has no words in CEL: it is deprecated")


def _ranged(key: Said, name: str, value: str, where: str) -> str:
    """Of a range such as `1-5`."""
    negative = name.endswith("NotIn")
    beside = value.replace("-", "!-", 1)
    inside = holds(value, "word", f"{where}.value")
    several = {"AnyIn": f"{{}}.exists(word, {inside})", "AllIn": f"{{}}.all(word, {inside})",
               "AnyNotIn": f"{{}}.exists(word, {holds(beside, 'word', f'{where}.value')})",
               "AllNotIn": f"!{{}}.exists(word, {inside})"}
    if name not in several:
        raise UnsupportedError(f"{where}.operator", f"{name} of a range")
    listed = several[name].format(key.unit)  # the range itself is what it is, before it is a range
    listed = (every((f"{key.unit} != [{quoted(value)}]", listed)) if negative else
              some((f"{key.unit} == [{quoted(value)}]", listed)))
    if key.type == "list":
        return listed
    same = FALSE if key.type in ("int", "number") else f"{key.unit} == {quoted(value)}"
    single = some((same, holds(value, key.unit, f"{where}.value")))
    single = negation(single) if negative else single
    if key.type:
        return single
    return (f"type({key.text}) == list ? {_apart(listed)} : "
            f"type({key.text}) != map && {key.unit} != null && {_bracketed(single)}")


def _bracketed(part: str) -> str:
    return f"({part})" if "||" in part else part


def _inside(key: Said, texts: list[str], *, either: bool = True) -> str:
    """Whether one of the texts is the key, with `either` also where the key is the wildcard."""
    text = key.text if key.type == "text" else f"string({key.text})"
    plain = [word for word in texts if "*" not in word and "?" not in word]
    tests = [f"{text} in {literal(plain)}"] if len(plain) > 1 else [f"{text} == {quoted(word)}" for word in plain]
    tests += [wildcard(word, text) for word in texts if word not in plain]
    if not key.plain and either:
        expression = (r"'^\\Q' + " + text + r".replace('*', '\\E.*\\Q').replace('?', '\\E.\\Q') + '\\E$'")
        tests.append(every((f"{text}.matches('[*?]')", f"{literal(texts)}.exists(known, known.matches({expression}))")))
    return TRUE if TRUE in tests else some(tests)
