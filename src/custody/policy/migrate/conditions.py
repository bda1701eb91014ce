"""`preconditions` and `deny.conditions` as CEL: operators as Kyverno means them, wildcards and quantities included."""

from __future__ import annotations

from typing import Any

from custody.errors import UnsupportedError
from custody.policy.migrate.expressions import FALSE, TRUE, every, literal, negation, quoted, some, wildcard
from custody.policy.migrate.queries import Names, Said, query, whole
from custody.policy.resources import OPERATIONS
from policylang.conditions.operators import OPERATORS
from policylang.go.durations import parse as duration
from policylang.go.quantities import number as quantity
from policylang.kpattern import operator as sign_of
from policylang.variables import has_variables

_ORDERS = {"GreaterThan": ">", "GreaterThanOrEquals": ">=", "LessThan": "<", "LessThanOrEquals": "<="}
_KNOWN = frozenset(literal(operation) for operation in OPERATIONS)
_IN = ("AnyIn", "AllIn", "AnyNotIn", "AllNotIn", "In", "NotIn")


def compiled(block: Any, where: str, names: Names) -> str:
    """Whether they hold. Raises UnsupportedError."""
    if isinstance(block, list):
        if block and all(isinstance(part, dict) and "key" in part for part in block):
            return every(_condition(part, f"{where}[{at}]", names) for at, part in enumerate(block))
        return every(compiled(part, f"{where}[{at}]", names) for at, part in enumerate(block))
    parts = [every(_condition(part, f"{where}.all[{at}]", names) for at, part in enumerate(block.get("all") or []))]
    if "any" in block:
        parts.insert(0, some(_condition(part, f"{where}.any[{at}]", names) for at, part in enumerate(block["any"])))
    return every(parts)


def _condition(condition: dict[str, Any], where: str, names: Names) -> str:
    key, name, value = condition["key"], condition["operator"], condition.get("value")
    said = _key(key, f"{where}.key", names)
    if has_variables(value) and name in ("Equals", "NotEquals") and isinstance(value, str) and whole(value):
        computed = query(whole(value) or "", f"{where}.value", names)
        if said.type == computed.type and said.type in ("int", "bool"):
            return f"{said.unit} {'==' if name == 'Equals' else '!='} {computed.unit}"
    if has_variables(value):
        raise UnsupportedError(f"{where}.value",
                               "a value that is computed may be a wildcard, which has no words in CEL")
    if said.over and name not in _IN:
        raise UnsupportedError(f"{where}.key", "a list of lists has no words in CEL here")
    if said.text in _KNOWN and name in OPERATORS:
        return TRUE if OPERATORS[name](said.text.strip("'"), value) else FALSE
    if name in ("Equals", "Equal", "NotEquals", "NotEqual"):
        return _equality(said, value, f"{where}.value", differs=name.startswith("Not"))
    if name in _IN:
        return _membership(said, name, value, where)
    if name in _ORDERS:
        if isinstance(value, bool) or not isinstance(value, int) or said.type != "int":
            raise UnsupportedError(f"{where}.operator", f"{name} of what may be a text, a duration or a quantity has "
                                   "no words in CEL")
        return f"{said.unit} {_ORDERS[name]} {value}"
    raise UnsupportedError(f"{where}.operator", f"{name} has no words in CEL yet")


def _key(key: Any, where: str, names: Names) -> Said:
    if not has_variables(key):
        if isinstance(key, (dict, list)):
            raise UnsupportedError(where, "a key that is written as a list or a map")
        return Said(literal(key), {bool: "bool", int: "int", str: "text"}.get(type(key), ""))
    expression = whole(key) if isinstance(key, str) else None
    if expression is None:
        raise UnsupportedError(where, "a text with several expressions has no words in CEL yet")
    return query(expression, where, names)


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
    if duration(value) is not None:
        raise UnsupportedError(where, f"{value!r}: a duration has no words in CEL for what may be none")
    text = key.unit if key.type == "text" or ("*" not in value and "?" not in value) else f"string({key.text})"
    same = wildcard(value, text)
    if not differs:
        wild = "*" in value or "?" in value
        return every((same, f"!isQuantity(string({key.text}))")) if wild and not key.sure else same
    unequal = f"{text} != {quoted(value)}" if "*" not in value and "?" not in value else negation(same)
    # A quantity is neither equal to such a text nor unequal.
    return unequal if key.sure or value == "" else every((unequal, f"!isQuantity(string({key.text}))"))


def _membership(key: Said, name: str, value: Any, where: str) -> str:
    if isinstance(value, str):
        if sign_of(value) == "-" or value[:1] in ("[", "{", '"') or value in ("null", "true", "false") or (
                quantity(value) is not None):
            raise UnsupportedError(f"{where}.value", f"{value!r}: ranges and texts of JSON have no words in CEL yet")
        value = [value]
    if not isinstance(value, list) or not all(isinstance(text, (str, int)) and not isinstance(text, bool)
                                              for text in value):
        raise UnsupportedError(f"{where}.value", "only texts and lists of texts and whole numbers have words in CEL")
    texts = [str(text) for text in value]
    negative = name.endswith("NotIn")
    if key.type != "list":
        if key.type not in ("text", "int"):
            element, scalar = "word", _inside(Said("word"), texts)
            several = {"AnyIn": f"{{}}.exists({element}, {scalar})", "AllIn": f"{{}}.all({element}, {scalar})",
                       "AnyNotIn": f"{{}}.exists({element}, {negation(scalar)})",
                       "AllNotIn": f"{{}}.all({element}, {negation(scalar)})"}
            if name not in several:
                raise UnsupportedError(f"{where}.operator", f"{name} of what may be a list has no words in CEL")
            inside = _inside(key, texts)
            return (f"type({key.text}) == list ? {several[name].format(key.unit)} : "
                    f"{key.unit} != null && {_bracketed(negation(inside) if negative else inside)}")
        inside = _inside(key, texts)
        return negation(inside) if negative else inside
    inside = _inside(Said("word"), texts)
    if name == "AnyIn":
        return key.holds("exists", "word", inside)
    if name == "AllIn":
        return key.holds("all", "word", inside)
    if name == "AnyNotIn":
        return key.holds("exists", "word", negation(inside))
    if name == "AllNotIn":
        return key.holds("all", "word", negation(inside))
    raise UnsupportedError(f"{where}.operator", f"{name} of a list has no words in CEL yet: it is deprecated")


def _bracketed(part: str) -> str:
    return f"({part})" if "||" in part else part


def _inside(key: Said, texts: list[str]) -> str:
    """Whether one of the texts is the key, either of them taken for a wildcard."""
    text = key.text if key.type == "text" else f"string({key.text})"
    plain = [word for word in texts if "*" not in word and "?" not in word]
    tests = [f"{text} in {literal(plain)}"] if len(plain) > 1 else [f"{text} == {quoted(word)}" for word in plain]
    tests += [wildcard(word, text) for word in texts if word not in plain]
    if not key.plain:
        expression = (r"'^\\Q' + " + text + r".replace('*', '\\E.*\\Q').replace('?', '\\E.\\Q') + '\\E$'")
        tests.append(every((f"{text}.matches('[*?]')", f"{literal(texts)}.exists(known, known.matches({expression}))")))
    return TRUE if TRUE in tests else some(tests)
