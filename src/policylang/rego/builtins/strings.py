"""Strings. Offsets and lengths are in characters."""

from __future__ import annotations

import re
from functools import lru_cache
from math import isinf
from typing import Any

from policylang.go.numbers import format_float
from policylang.go.spaces import SPACE
from policylang.go.verbs import sprintf as go_sprintf
from policylang.rego.builtins.operands import OperandFault, array, integer, mapping, string, strings
from policylang.rego.declare import BuiltinError, Context, OperandError, builtin
from policylang.rego.values import Set, Value, pay, printable, text, type_name, unkey
from policylang.rego.values.numbers import KINDS, number_text

_STRINGS = "any<string, array[string], set[string]>"


@builtin("startswith", "string", "string", result="boolean")
def startswith(value: Value, prefix: Value) -> bool:
    if type(value) is str and type(prefix) is str:
        return value.startswith(prefix)
    raise _misfit(value, prefix)


@builtin("endswith", "string", "string", result="boolean")
def endswith(value: Value, suffix: Value) -> bool:
    if type(value) is str and type(suffix) is str:
        return value.endswith(suffix)
    raise _misfit(value, suffix)


@builtin("contains", "string", "string", result="boolean")
def contains(value: Value, search: Value) -> bool:
    if type(value) is str and type(search) is str:
        if len(value) > 512:
            pay(len(value) >> 9)
        return search in value
    raise _misfit(value, search)


def _misfit(*values: Value) -> OperandError:
    """The error for the first that is no string."""
    return next(OperandError(at, value, "string") for at, value in enumerate(values, 1) if type(value) is not str)


@builtin("concat", "string", "any<array[string], set[string]>", result="string", context=True)
def concat(context: Context, separator: Value, values: Value) -> str:
    between, parts = string(separator, 1), strings(values, 2)
    if len(parts) > 50 or len(between) > 50:
        context.meter.spend(len(parts))
        context.meter.fit(sum(map(len, parts)) + len(between) * len(parts))
    made = between.join(parts)
    if len(made) > context.meter.size:  # of few parts: none of them is larger than the budget allows
        context.meter.fit(len(made))
    return made


@builtin("sprintf", "string", "array[any]", result="string", context=True)
def sprintf(context: Context, form: Value, values: Value) -> str:
    if type(form) is not str or type(values) is not list:
        string(form, 1)
        array(values, 2)
    template, count, texts = _plain(form)
    if template is not None and len(values) == count and not (
            texts and any(type(operand) is not str for operand in values)):
        made = template % tuple([operand if type(operand) is str else _shown(operand) for operand in values])
    else:
        context.meter.fit(_widths(form) + (_stars(values) if "*" in form else 0))
        made = go_sprintf(form, [_go_value(operand) for operand in values])
    if len(made) > context.meter.size:
        context.meter.fit(len(made))
    return made


@lru_cache(4096)
def _plain(form: str) -> tuple[str | None, int, bool]:
    """A format that has only %v, %s and %%, as one for Python's `%`; how many values it takes, whether texts only."""
    parts = [part.replace("%v", "%s") for part in form.split("%%")]
    count = sum(part.count("%s") for part in parts)
    if sum(part.count("%") for part in parts) != count:
        return None, 0, False
    return "%%".join(parts), count, "%s" in form


def _shown(value: Value) -> str:
    value = _go_value(value)
    return format_float(value) if type(value) is float else str(value)


def _go_value(value: Value) -> int | float | str:
    """What OPA hands to fmt.Sprintf: a number with a point or an exponent as a float64, where it is one."""
    if type(value) is str or type(value) is int:
        return value
    if type(value) not in KINDS:
        return text(value)
    shown = number_text(value)
    if set(shown).isdisjoint(".eE"):
        return int(shown)
    nearest = float(shown)
    return shown if isinf(nearest) else nearest


@lru_cache(1024)
def _widths(form: str) -> int:
    """What the widths and precisions written in a format may add to its text."""
    return sum(int(digits[:7]) for digits in re.findall(r"[1-9][0-9]{2,}", form))


def _stars(values: list[Any]) -> int:
    return sum(min(abs(operand), 1_000_000) for operand in values if type(operand) is int)


@builtin("internal.template_string", "array[any]", result="string", context=True)
def template_string(context: Context, parts: Value) -> str:
    """What `$"…"` is made of: texts, and a set for each expression, empty where it is undefined."""
    out: list[str] = []
    for part in array(parts, 1):
        if type(part) is Set:
            if len(part) > 1:
                raise BuiltinError("template-strings must not produce multiple outputs")
            part = next(iter(part)) if part.items else "<undefined>"
        out.append(part if type(part) is str else text(part))
    context.meter.fit(sum(map(len, out)))
    return "".join(out)


@builtin("lower", "string", result="string")
def lower(value: Value) -> str:
    shown = string(value, 1)
    return shown.lower() if shown.isascii() else "".join(map(_lower, shown))


@builtin("upper", "string", result="string")
def upper(value: Value) -> str:
    shown = string(value, 1)
    return shown.upper() if shown.isascii() else "".join(map(_upper, shown))


def _lower(sign: str) -> str:
    made = sign.lower()
    return made if len(made) == 1 else made[0]


def _upper(sign: str) -> str:
    """Go maps rune by rune: where Unicode's full mapping has more characters, its simple one is the title case."""
    made = sign.upper()
    if len(made) > 1:
        made = sign.title()
    return made if len(made) == 1 else sign


@builtin("replace", "string", "string", "string", result="string", context=True)
def replace(context: Context, value: Value, old: Value, new: Value) -> str:
    shown, search, put = string(value, 1), string(old, 2), string(new, 3)
    if len(put) > len(search):
        context.meter.fit(len(shown) + (shown.count(search) if search else len(shown) + 1) * (len(put) - len(search)))
    if search:
        return shown.replace(search, put)
    return _by_bytes({b"": put}, shown)


def _by_bytes(patterns: dict[bytes, str], value: str) -> str:
    """With an empty pattern Go goes from byte to byte, into characters too."""
    made = re.sub(b"|".join(map(re.escape, sorted(patterns))),
                  lambda match: patterns[match[0]].encode("utf-8", "surrogateescape"),
                  value.encode("utf-8", "surrogateescape"))
    return made.decode("utf-8", "surrogateescape")


@builtin("strings.replace_n", "object[string: string]", "string", result="string", context=True)
def replace_n(context: Context, patterns: Value, value: Value) -> str:
    """At each place the first pattern, in the order of the patterns, that is there."""
    replacements = mapping(patterns, 1)
    for sought, put in replacements.items():
        if type(sought) is not str:
            raise OperandFault(1, "non-string key found in pattern object")
        if type(put) is not str:
            raise OperandFault(1, "non-string value found in pattern object")
    shown = string(value, 2)
    if not replacements:
        return shown
    context.meter.spend(len(replacements))
    if "" in replacements:
        context.meter.fit((4 * len(shown) + 1) * max(1, *map(len, replacements.values())))
        made = _by_bytes({name.encode("utf-8", "surrogateescape"): put for name, put in replacements.items()}, shown)
    else:
        made = re.sub("|".join(map(re.escape, sorted(replacements))), lambda match: replacements[match[0]], shown)
    context.meter.fit(len(made))
    return made


@builtin("split", "string", "string", result="array[string]", context=True)
def split(context: Context, value: Value, separator: Value) -> list[str]:
    shown, between = string(value, 1), string(separator, 2)
    if len(shown) > 1000:
        parts = shown.count(between) + 1 if between else len(shown)
        context.meter.fit(parts)
        context.meter.spend(parts)
    return shown.split(between) if between else list(shown)


@builtin("strings.split_n", "string", "string", "number", result="array[string]")
def split_n(value: Value, separator: Value, most: Value) -> list[str]:
    """The first `most` parts, or the last ones where it is negative."""
    shown, between, parts = string(value, 1), string(separator, 2), integer(most, 3)
    made = shown.split(between) if between else list(shown)
    return made[:parts] if parts >= 0 else made[parts:]


@builtin("substring", "string", "number", "number", result="string")
def substring(value: Value, offset: Value, length: Value) -> str:
    shown, start, most = string(value, 1), integer(offset, 2), integer(length, 3)
    if start < 0:
        raise BuiltinError("negative offset")
    return shown[start:] if most < 0 else shown[start:start + most]


@builtin("indexof", "string", "string", result="number")
def indexof(value: Value, search: Value) -> int:
    shown, sought = string(value, 1), string(search, 2)
    if not sought:
        raise BuiltinError("empty search character")
    return shown.find(sought)


@builtin("indexof_n", "string", "string", result="array[number]")
def indexof_n(value: Value, search: Value) -> list[int]:
    shown, sought = string(value, 1), string(search, 2)
    if not sought:
        raise BuiltinError("empty search character")
    at, places = shown.find(sought), []
    while at >= 0:
        places.append(at)
        at = shown.find(sought, at + 1)
    return places


@builtin("strings.count", "string", "string", result="number")
def count(value: Value, search: Value) -> int:
    return string(value, 1).count(string(search, 2))


@builtin("strings.reverse", "string", result="string")
def reverse(value: Value) -> str:
    return string(value, 1)[::-1]


@builtin("trim", "string", "string", result="string")
def trim(value: Value, cutset: Value) -> str:
    return string(value, 1).strip(string(cutset, 2))


@builtin("trim_left", "string", "string", result="string")
def trim_left(value: Value, cutset: Value) -> str:
    return string(value, 1).lstrip(string(cutset, 2))


@builtin("trim_right", "string", "string", result="string")
def trim_right(value: Value, cutset: Value) -> str:
    return string(value, 1).rstrip(string(cutset, 2))


@builtin("trim_prefix", "string", "string", result="string")
def trim_prefix(value: Value, prefix: Value) -> str:
    return string(value, 1).removeprefix(string(prefix, 2))


@builtin("trim_suffix", "string", "string", result="string")
def trim_suffix(value: Value, suffix: Value) -> str:
    return string(value, 1).removesuffix(string(suffix, 2))


@builtin("trim_space", "string", result="string")
def trim_space(value: Value) -> str:
    return string(value, 1).strip(SPACE)


def _texts(value: Value, position: int) -> tuple[str, ...]:
    if type(value) is str:
        return (value,)
    if type(value) not in (list, Set):
        raise OperandError(position, value, "string", "set", "array")
    kind = type_name(value)
    for member in value:
        if type(member) is not str:
            raise OperandFault(position, f"must be {kind} of strings but got {kind} containing {type_name(member)}")
    return tuple(value)


@builtin("strings.any_prefix_match", _STRINGS, _STRINGS, result="boolean", context=True)
def any_prefix_match(context: Context, values: Value, prefixes: Value) -> bool:
    texts, starts = _texts(values, 1), _texts(prefixes, 2)
    context.meter.spend(len(texts) * (1 + len(starts) // 16))
    return any(shown.startswith(starts) for shown in texts)


@builtin("strings.any_suffix_match", _STRINGS, _STRINGS, result="boolean", context=True)
def any_suffix_match(context: Context, values: Value, suffixes: Value) -> bool:
    texts, ends = _texts(values, 1), _texts(suffixes, 2)
    context.meter.spend(len(texts) * (1 + len(ends) // 16))
    return any(shown.endswith(ends) for shown in texts)


def plain(value: Value) -> str:
    """A value as `print` shows it: strings without quotes."""
    return printable(value) if type(value) is str else text(unkey(value))
