"""Two values that are computed, compared as the operators of Kyverno's conditions do it.

The types of neither may be known: what a text, a number or a list of them means is asked in the expression itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from custody.policy.migrate.expressions import FALSE, every, literal, negation, some, wildcard
from custody.policy.migrate.said import Said
from policylang.go.durations import parse as duration
from policylang.go.quantities import number as quantity

_DURATION = r"^[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"
_NUMBER = r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_TEXT = r'"([^"\\]|\\.)*"'
_TEXTS = rf"^\s*\[\s*({_TEXT}\s*(,\s*{_TEXT}\s*)*)?\]\s*$"
_JSON = rf"^\s*(true|false|{_TEXT}|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)\s*$"
_NESTED = r"^\s*[\[{]"
_RANGE = r"^[-+|]?[0-9]+(\.[0-9]+)?[A-Za-z]*!?-[-+|]?[0-9]+(\.[0-9]+)?[A-Za-z]*$"
_SIGNS = {"GreaterThan": ">", "GreaterThanOrEquals": ">=", "LessThan": "<", "LessThanOrEquals": "<="}
_NUMBERS = ("int", "number")


def glob(pattern: str, text: str) -> str:
    """Whether a text is what a pattern of `*` and `?` stands for; both are expressions."""
    if (known := _constant(pattern)) is not None:
        return wildcard(known, text)
    written = pattern + r".replace(r'\E', r'\E\\E\Q').replace('*', r'\E.*\Q').replace('?', r'\E.\Q')"
    return rf"{text}.matches(r'(?s)^\Q' + {written} + r'\E$')"


def _constant(text: str) -> str | None:
    """The text of a literal."""
    if len(text) > 1 and text[0] == text[-1] == "'" and not {"'", "\\"} & {*text[1:-1]}:
        return text[1:-1]
    return None


def equal(key: Said, value: Said, *, differs: bool) -> str:
    """`Equals`, or with `differs` `NotEquals`: neither holds for some values."""
    if key.type == value.type and key.type in ("int", "bool", "number"):
        return f"{key.unit} {'!=' if differs else '=='} {value.unit}"
    return _bound(key, value, _differs if differs else _equals)


def ordered(key: Said, value: Said, operator: str) -> str:
    """`GreaterThan` and the like."""
    sign = _SIGNS[operator]
    if key.type in _NUMBERS and value.type in _NUMBERS:
        return f"{_double(key)} {sign} {_double(value)}" if key.type != value.type else (
            f"{key.unit} {sign} {value.unit}")
    return _bound(key, value, lambda left, right: _order(left, right, sign))


def elapsed(key: Said, value: Said, operator: str) -> str:
    """`DurationGreaterThan` and the like."""
    sign = _SIGNS[operator.removeprefix("Duration")]

    def compared(left: Said, right: Said) -> str:
        return _choice(every((_is(left, "time"), _is(right, "time"))),
                       f"{_duration(left)} {sign} {_duration(right)}", FALSE)

    return _bound(key, value, compared)


def member(key: Said, value: Said, operator: str) -> str:
    """`AnyIn`, `AllIn`, `AnyNotIn`, `AllNotIn`, and `In`, `NotIn`, which are deprecated."""
    judge = _old if operator in ("In", "NotIn") else _member
    return _bound(key, value, lambda left, right: judge(left, right, operator))


def _bound(key: Said, value: Said, write: Callable[[Said, Said], str]) -> str:
    """Both by names, where they are more than that."""
    left = key if _short(key) else key._replace(text="key")
    right = value if _short(value) else value._replace(text="value")
    text = write(left, right)
    if right is not value:
        text = f"cel.bind(value, {_dyn(value)}, {text})"
    text = text if left is key else f"cel.bind(key, {_dyn(key)}, {text})"
    return every((*(side.maybe for side in (key, value) if side.maybe), text))


def _short(said: Said) -> bool:
    return said.text.replace(".", "").replace("_", "").isalnum() or (
        said.text[:1] == "'" and said.text[1:].find("'") == len(said.text) - 2)


def _dyn(said: Said) -> str:
    return said.text if said.type else f"dyn({said.text})"


def _choice(test: str, yes: str, no: str) -> str:
    if test == "true" or yes == no:
        return yes
    if test == "false":
        return no
    if yes == "true":
        return some((test, no))
    if no == "false":
        return every((test, yes))
    return f"({test} ? {yes} : {no})"


def _is(said: Said, kind: str) -> str:
    """Whether a value is a text, a number, a list, or one that tells a time: a duration, or a number of seconds."""
    if kind == "text":
        return _known(said, ("text",), f"type({said.text}) == string")
    if kind == "number":
        return _known(said, _NUMBERS, f"(type({said.text}) == int || type({said.text}) == double)")
    if kind == "list":
        return _known(said, ("list",), f"type({said.text}) == list")
    if said.type == "duration":
        return "true"
    return some((_is(said, "number"), _is_duration(said)))


def _known(said: Said, types: tuple[str, ...], test: str) -> str:
    return test if not said.type else "true" if said.type in types else "false"


def _is_duration(said: Said) -> str:
    if said.type == "duration":
        return "true"
    if (known := _constant(said.text)) is not None:
        return literal(duration(known) is not None and known != "0")
    return every((_is(said, "text"), f"{said.unit}.matches(r'{_DURATION}')"))


def _is_number(said: Said) -> str:
    if (known := _constant(said.text)) is not None:
        return literal(re.match(_NUMBER, known) is not None)
    return f"{said.unit}.matches(r'{_NUMBER}')"


def _duration(said: Said) -> str:
    """Of one that is a duration, or a number of seconds."""
    if said.type == "duration":
        return said.unit
    if said.type == "text":
        return f"duration({said.text})"
    number = f"duration(string(int({said.text})) + 's')"
    return number if said.type in _NUMBERS else f"(type({said.text}) == string ? duration({said.text}) : {number})"


def _durations(left: Said, right: Said) -> str:
    """Whether both are compared as durations: one of them is one."""
    return every((some((_is_duration(left), _is_duration(right))), _is(left, "time"), _is(right, "time")))


def _double(said: Said) -> str:
    return f"double({said.text})"


def _quantity(text: str) -> str:
    if (known := _constant(text)) is not None:
        return literal(quantity(known) is not None)
    return f"isQuantity({text})"


def _equals(left: Said, right: Said) -> str:
    sizes = f"quantity({left.text}).compareTo(quantity({right.text})) == 0"
    texts = _choice(_quantity(left.text), every((_quantity(right.text), sizes)), glob(right.unit, left.unit))
    mixed = every((_is(left, "number"), _is(right, "text"), _is_number(right),
                   f"double({right.text}) == double({left.text})"))
    return _choice(_durations(left, right), f"{_duration(left)} == {_duration(right)}", _choice(
        every((_is(left, "text"), _is(right, "text"))), texts,
        some((mixed, every(("true" if left.type else f"{left.unit} != null", f"{left.unit} == {right.unit}"))
              if _same(left, right) else FALSE))))


def _differs(left: Said, right: Said) -> str:
    sizes = f"quantity({left.text}).compareTo(quantity({right.text})) != 0"
    texts = _choice(_quantity(left.text), _choice(_quantity(right.text), sizes, f"{right.unit} == ''"),
                    negation(glob(right.unit, left.unit)))
    mixed = _choice(every((_is(left, "number"), _is(right, "text"))),
                    negation(every((_is_number(right), f"double({right.text}) == double({left.text})"))),
                    every((f"{left.unit} != null" if not left.type else "true",
                           f"{left.unit} != {right.unit}" if _same(left, right) else "true")))
    return _choice(_durations(left, right), f"{_duration(left)} != {_duration(right)}", _choice(
        every((_is(left, "text"), _is(right, "text"))), texts, mixed))


def _same(left: Said, right: Said) -> bool:
    """Whether the types may be the same: CEL refuses to compare those that never are."""
    return not left.type or not right.type or left.type == right.type


def _order(left: Said, right: Said, sign: str) -> str:
    sizes = f"quantity({left.text}).compareTo(quantity({right.text})) {sign} 0"
    versions = every((f"isSemver({left.text})", f"isSemver({right.text})",
                      f"semver({left.text}).compareTo(semver({right.text})) {sign} 0"))
    numbers = f"double({left.text}) {sign} double({right.text})"
    texts = _choice(every((_quantity(left.text), _quantity(right.text))), sizes, _choice(
        _is_number(left), every((_is_number(right), numbers)), versions))
    return _choice(_durations(left, right), f"{_duration(left)} {sign} {_duration(right)}", _choice(
        every((_is(left, "text"), _is(right, "text"))), texts,
        every((_readable(left), _readable(right), numbers))))


def _readable(said: Said) -> str:
    return some((_is(said, "number"), every((_is(said, "text"), _is_number(said)))))


def _member(left: Said, right: Said, operator: str) -> str:
    negative = operator.endswith("NotIn")
    key = left.unit if left.type == "text" else f"string({left.text})"
    listed = _either(key, right.unit)
    within = some((glob(right.unit, key), _listed(right.unit, key)))
    textual = every((negation(within), negation(_strange(right.unit)), negation(_range(right.unit)))) if negative else (
        some((within, _range(right.unit))))
    scalar = _choice(_is(right, "list"), negation(listed) if negative else listed,
                     every((_is(right, "text"), textual)))
    texts = every((negation(_strange(right.unit)), negation(_range(right.unit)), _choice(
        _texts(right.unit), _judged(left.unit, f"json.unmarshal({right.text})", operator),
        _judged(left.unit, f"[{right.text}]", operator))))
    number = _judged(left.unit, f"[string({right.text})]", operator) if operator.startswith("Any") and (
        right.type in ("", "bool", *_NUMBERS)) else FALSE
    lists = _choice(_is(right, "list"), _judged(left.unit, right.unit, operator), _choice(
        _is(right, "text"), texts, every((_scalar(right), number))))
    return _choice(_is(left, "list"), lists, every((_scalar(left), scalar)))


def _old(left: Said, right: Said, operator: str) -> str:
    negative = operator == "NotIn"
    key = left.unit if left.type == "text" else f"string({left.text})"
    listed, inside = _either(key, right.unit), _listed(right.unit, key)
    textual = every((negation(glob(right.unit, key)), _texts(right.unit), negation(inside))) if negative else (
        some((glob(right.unit, key), inside)))
    scalar = _choice(_is(right, "list"), negation(listed) if negative else listed,
                     every((_is(right, "text"), textual)))
    subset = f"{left.unit}.all(element, element in {right.unit})"
    parsed = f"{left.unit}.all(element, element in json.unmarshal({right.text}))"
    lists = _choice(_is(right, "list"), negation(subset) if negative else subset, every((_is(right, "text"), some((
        f"{left.unit} == [{right.text}]", every((_texts(right.unit), negation(parsed) if negative else parsed)))))))
    return _choice(_is(left, "list"), lists, every((_scalar(left), scalar)))


def _judged(keys: str, values: str, operator: str) -> str:
    word = "exists" if operator.startswith("Any") else "all"
    inside = _either("string(part)", values)
    return f"{keys}.{word}(part, {negation(inside) if operator.endswith('NotIn') else inside})"


def _either(key: str, values: str) -> str:
    """Whether a text is one of a list, where either may be a wildcard."""
    written, known = "string(known)", _constant(key)
    if known is not None and not {"*", "?"} & {*known}:
        return f"{values}.exists(known, {key} == {written} || {written}.matches('[*?]') && {glob(written, key)})"
    wild = f"({key} + {written}).matches('[*?]')"
    return (f"{values}.exists(known, {key} == {written} || {wild} && ({glob(written, key)} || "
            f"{glob(key, written)}))")


def _listed(text: str, key: str) -> str:
    """Whether a text is in the list of texts that another text is, as JSON."""
    return every((_texts(text), f"json.unmarshal({text}).exists(known, known == {key})"))


def _texts(text: str) -> str:
    return f"{text}.matches(r'{_TEXTS}')"


def _strange(text: str) -> str:
    """Whether a text is JSON of anything but texts: nothing is in it or outside. An error for what is no JSON."""
    return some((f"{text}.matches(r'{_JSON}')", every((f"{text}.matches(r'{_NESTED}')", negation(_texts(text)),
                                                      f"json.unmarshal({text}) != null"))))


def _range(text: str) -> str:
    """An error for what is a range, which is not said here."""
    return every((f"{text}.matches(r'{_RANGE}')", f"quantity({text}).isInteger()"))


def _scalar(said: Said) -> str:
    return "true" if said.type else some(f"type({said.text}) == {kind}" for kind in ("string", "int", "double", "bool"))
