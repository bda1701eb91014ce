r"""cel.lib.ext.regex: extract, extractAll and replace; `\1` in a replacement is a group."""

from __future__ import annotations

import re
from typing import Any

from policylang.budget import Meter
from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Function, Library, Overload
from policylang.cel.types import INT, STRING, list_of, optional_of
from policylang.cel.values.errors import CelError
from policylang.cel.values.patterns import compiled
from policylang.cel.values.values import NONE, Optional

_ESCAPE = re.compile(r"\\(\d|\\|.|\Z)", re.DOTALL)


def _one_group(pattern: str) -> Any:
    program = compiled(pattern)
    if program.groups > 1:
        raise CelError(f'regular expression has more than one capturing group: "{pattern[:200]}"')
    return program


def _extract(text: str, pattern: str) -> Optional:
    program = _one_group(pattern)
    match = program.search(text)
    if match is None:
        return NONE
    value = match.group(program.groups)
    return NONE if value is None else Optional(value)


def _extract_all(text: str, pattern: str, meter: Meter) -> list[str]:
    program = _one_group(pattern)
    out: list[str] = []
    for match in program.finditer(text):
        meter.spend(1)
        value = match.group(program.groups)
        if value is None or (program.groups and not value):
            continue
        out.append(value)
    return out


def _template(template: str, groups: int) -> list[str | int]:
    parts: list[str | int] = []
    at = 0
    for escape in _ESCAPE.finditer(template):
        parts.append(template[at:escape.start()])
        at = escape.end()
        if escape[1].isascii() and escape[1].isdigit():
            if int(escape[1]) > groups:
                raise CelError(f"replacement string references group {escape[1]} but regex has only {groups} group(s)")
            parts.append(int(escape[1]))
        elif escape[1] == "\\":
            parts.append("\\")
        else:
            raise CelError(f"invalid replacement string: '{template[:200]}': \\ must be followed by a digit or \\")
    parts.append(template[at:])
    return parts


def _replace(text: str, pattern: str, template: str, count: int, meter: Meter) -> str:
    program = compiled(pattern)
    parts = _template(template, program.groups)
    if count == 0:
        return text
    out: list[str] = []
    at = size = done = 0
    last = -1
    for match in program.finditer(text):
        meter.spend(1)
        start, end = match.span()
        if start == end == last:
            continue
        new = "".join(part if isinstance(part, str) else match.group(part) or "" for part in parts)
        out += (text[at:start], new)
        size += start - at + len(new)
        meter.fit(size)
        at = last = end
        done += 1
        if done == count:
            break
    out.append(text[at:])
    return "".join(out)


def _replace_all(text: str, pattern: str, template: str, meter: Meter) -> str:
    return _replace(text, pattern, template, -1, meter)


LIBRARY = Library("cel.lib.ext.regex", functions=(
    Function("regex.extract", (Overload("regex_extract_string_string", (STRING, STRING), optional_of(STRING),
                                        _extract, CONSTANT),)),
    Function("regex.extractAll", (Overload("regex_extractAll_string_string", (STRING, STRING), list_of(STRING),
                                           _extract_all, CONSTANT, metered=True),)),
    Function("regex.replace", (
        Overload("regex_replace_string_string_string", (STRING, STRING, STRING), STRING, _replace_all, CONSTANT,
                 metered=True),
        Overload("regex_replace_string_string_string_int", (STRING, STRING, STRING, INT), STRING, _replace, CONSTANT,
                 metered=True))),
))
