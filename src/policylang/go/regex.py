"""Regular expressions as Go's regexp package has them, run by RE2: linear in the text, whatever the pattern.

RE2 (C++) and Go share syntax and results; errors are put into Go's words, replacement templates into Go's syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import re2

from policylang.errors import InputError

LONGEST = 10_000  # characters of a pattern
_MEMORY = 4 << 20  # bytes of compiled program and cache


class PatternError(InputError):
    """A pattern that Go's regexp.Compile refuses; the message is Go's."""

    code = "pattern"


_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = _MEMORY
_LONGEST = re2.Options()
_LONGEST.log_errors = False
_LONGEST.max_mem = _MEMORY
_LONGEST.longest_match = True
# Beginnings of RE2's messages, and Go's.
_WORDS = (
    ("missing ]", "missing closing ]"),
    ("missing )", "missing closing )"),
    ("unexpected )", "unexpected )"),
    ("no argument for repetition operator", "missing argument to repetition operator"),
    ("bad repetition operator", "invalid nested repetition operator"),
    ("invalid repetition size", "invalid repeat count"),
    ("invalid perl operator", "invalid or unsupported Perl syntax"),
    ("invalid named capture group", "invalid named capture"),
    ("trailing \\ at end of regexp", "trailing backslash at end of expression"),
    ("trailing \\", "trailing backslash at end of expression"),
    ("pattern too large", "expression too large"),
)


_ESCAPE = re.compile(r"\\(?:Q(?:(?!\\E).)*|.)", re.DOTALL)  # RE2 has \C, a byte; Go does not


@lru_cache(4096)
def compiled(pattern: str, longest: bool = False) -> Any:
    """A pattern of the `re2` package: search, match, fullmatch, finditer, groups, groupindex as `re` has them.

    PatternError where Go would refuse it, or where it is longer than LONGEST or larger than 4 MiB once compiled.
    """
    if len(pattern) > LONGEST:
        raise PatternError(f"error parsing regexp: expression too large: {len(pattern)} characters, at most {LONGEST}")
    if "\\C" in pattern and any(escape[0] == "\\C" for escape in _ESCAPE.finditer(pattern)):
        raise PatternError("error parsing regexp: invalid escape sequence: `\\C`")
    try:
        return re2.compile(pattern, _LONGEST if longest else _OPTIONS)
    except re2.error as wrong:
        raise PatternError(_in_go(wrong)) from None
    except UnicodeEncodeError:
        raise PatternError("error parsing regexp: invalid UTF-8") from None


def _in_go(wrong: Exception) -> str:
    text = wrong.args[0] if wrong.args else ""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    for here, there in _WORDS:
        if text.startswith(here):
            rest = text[len(here):].removeprefix(":").strip()
            return f"error parsing regexp: {there}: `{rest}`"
    head, colon, rest = text.partition(": ")
    return f"error parsing regexp: {head}: `{rest}`" if colon else f"error parsing regexp: {text}"


def valid(pattern: str) -> bool:
    try:
        compiled(pattern)
    except PatternError:
        return False
    return True


def quote_meta(text: str) -> str:
    r"""Go's regexp.QuoteMeta: a backslash before each of `\.+*?()|[]{}^$`."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


_TEMPLATE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


@lru_cache(1024)
def expander(pattern: str, template: str) -> Callable[[Any], str]:
    """Go's Regexp.Expand: `$1`, `${1}`, `$name`, `$$`; unknown groups are empty. Takes a match."""
    names = compiled(pattern).groupindex
    count = compiled(pattern).groups
    parts: list[str | int] = []
    at = 0
    for reference in _TEMPLATE.finditer(template):
        parts.append(template[at:reference.start()])
        at = reference.end()
        name = reference[2] or reference[3]
        if reference[1]:
            parts.append("$")
        elif name.isascii() and name.isdigit():
            if len(name) < 10 and int(name) <= count and (name == "0" or name[0] != "0"):
                parts.append(int(name))
        elif name in names:
            parts.append(names[name])
    parts.append(template[at:])
    if all(isinstance(part, str) for part in parts):
        fixed = "".join(map(str, parts))
        return lambda _: fixed
    return lambda match: "".join(part if isinstance(part, str) else match.group(part) or "" for part in parts)


def replace_all(pattern: str, text: str, template: str) -> str:
    """Go's ReplaceAllString."""
    expand = expander(pattern, template)
    return substitute(pattern, text, expand)


def substitute(pattern: str, text: str, expand: Callable[[Any], str]) -> str:
    """ReplaceAllStringFunc: an empty match directly after a match is passed over, as Go does."""
    out: list[str] = []
    at, last_end = 0, -1
    for match in compiled(pattern).finditer(text):
        start, end = match.span()
        if start == end == last_end:
            continue
        out += (text[at:start], expand(match))
        at = last_end = end
    out.append(text[at:])
    return "".join(out)
