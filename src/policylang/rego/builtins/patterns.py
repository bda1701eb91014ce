"""Regular expressions (RE2) and globs (gobwas/glob)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import re2

from policylang.budget import too_large
from policylang.go import regex
from policylang.rego.builtins.operands import OperandFault, integer, string
from policylang.rego.declare import BuiltinError, Context, OperandError, builtin
from policylang.rego.values import Value, pay, printable, type_name


def _compiled(pattern: str) -> Any:
    if len(pattern) > 64:
        pay(len(pattern) >> 2)
    try:
        return regex.compiled(pattern)
    except regex.PatternError as wrong:
        raise BuiltinError(wrong.message) from None


@lru_cache(4096)
def _tester(pattern: str, whole: bool = False) -> Callable[[str], bool]:
    """Whether it matches, without the package's match objects, which cost eight times as much."""
    look = _compiled(pattern)._regexp.Match
    anchor = re2._re2.RE2.Anchor.ANCHOR_BOTH if whole else re2._re2.RE2.Anchor.UNANCHORED

    def test(text: str) -> bool:
        if len(text) > 64:
            pay(len(text) >> 5)
        data = text.encode("utf-8", "surrogateescape")
        return bool(look(anchor, data, 0, len(data))[0][0] >= 0)
    return test


@builtin("re_match", "string", "string", result="boolean")
@builtin("regex.match", "string", "string", result="boolean")
def match(pattern: Value, value: Value) -> bool:
    if type(pattern) is not str or type(value) is not str:
        string(pattern, 1)
        string(value, 2)
    return _tester(pattern)(value)


@builtin("regex.is_valid", "string", result="boolean")
def is_valid(pattern: Value) -> bool:
    return type(pattern) is str and regex.valid(pattern)


def _matches(context: Context, pattern: Value, value: Value, most: Value) -> list[Any]:
    """The first `most` matches, all where it is negative; an empty one directly after another is no match in Go."""
    written, shown, count = string(pattern, 1), printable(string(value, 2)), integer(most, 3)
    pay(len(shown) >> 5)
    compiled = _compiled(written)
    made: list[Any] = []
    last = -1
    for match in compiled.finditer(shown):
        if count >= 0 and len(made) >= count:
            break
        start, end = match.span()
        if not start == end == last:
            made.append(match)
        last = end
    context.meter.spend(len(made))
    return made


@builtin("regex.find_n", "string", "string", "number", result="array[string]", context=True)
def find_n(context: Context, pattern: Value, value: Value, most: Value) -> list[str]:
    return [match.group() for match in _matches(context, pattern, value, most)]


@builtin("regex.find_all_string_submatch_n", "string", "string", "number", result="array[array[string]]", context=True)
def find_all_string_submatch_n(context: Context, pattern: Value, value: Value, most: Value) -> list[list[str]]:
    return [[match.group(), *(part or "" for part in match.groups())]
            for match in _matches(context, pattern, value, most)]


@builtin("regex.split", "string", "string", result="array[string]", context=True)
def split(context: Context, pattern: Value, value: Value) -> list[str]:
    shown = string(value, 2)
    if string(pattern, 1) and not shown:
        _compiled(pattern)
        return [""]
    parts: list[str] = []
    begin = end = 0
    for match in _matches(context, pattern, value, -1):
        start, stop = match.span()
        end = start
        if stop:
            parts.append(shown[begin:end])
        begin = stop
    if end != len(shown):
        parts.append(shown[begin:])
    return parts


@builtin("regex.replace", "string", "string", "string", result="string", context=True)
def replace(context: Context, value: Value, pattern: Value, template: Value) -> str:
    shown, written, put = printable(string(value, 1)), string(pattern, 2), string(template, 3)
    _compiled(written)
    pay(len(shown) >> 5)
    expand = regex.expander(written, put)
    size = 0

    def replacement(match: Any) -> str:
        nonlocal size
        made = expand(match)
        size += len(made)
        context.meter.fit(size)
        return made
    made = regex.substitute(written, shown, replacement)
    context.meter.spend(len(shown) >> 8)
    return made


@builtin("regex.template_match", "string", "string", "string", "string", result="boolean")
def template_match(template: Value, value: Value, left: Value, right: Value) -> bool:
    """A template whose parts between the delimiters are patterns, and whose rest is text."""
    shown, given, opening, closing = string(template, 1), string(value, 2), string(left, 3), string(right, 4)
    for delimiter, position in ((opening, 3), (closing, 4)):
        if len(delimiter.encode()) != 1:
            raise BuiltinError(f"{'start' if position == 3 else 'end'} delimiter has to be exactly one character "
                               f"long but is {len(opening.encode())} long")
    return _tester(_template(shown, opening, closing))(given)


@lru_cache(256)
def _template(template: str, opening: str, closing: str) -> str:
    out, level, begin, at = ["^"], 0, 0, 0
    for place, sign in enumerate(template):
        if sign == opening:
            level += 1
            if level == 1:
                begin = place
        elif sign == closing:
            level -= 1
            if level == 0:
                out += (regex.quote_meta(template[at:begin]), "(", template[begin + 1:place], ")")
                at = place + 1
            elif level < 0:
                raise BuiltinError(f"unbalanced braces in {template!r}".replace("'", '"'))
    if level:
        raise BuiltinError(f"unbalanced braces in {template!r}".replace("'", '"'))
    out += (regex.quote_meta(template[at:]), "$")
    return "".join(out)


# --- globs

@builtin("glob.quote_meta", "string", result="string")
def quote_meta(value: Value) -> str:
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", string(value, 1))


@builtin("glob.match", "string", "any<null, array[string]>", "string", result="boolean")
def glob_match(pattern: Value, delimiters: Value, value: Value) -> bool:
    """Without delimiters, where they are null; with `.`, where they are an empty array."""
    shown = string(pattern, 1)
    if delimiters is None:
        signs = ""
    elif type(delimiters) is list:
        if not delimiters:
            signs = "."
        else:
            for delimiter in delimiters:
                if type(delimiter) is not str:
                    raise OperandFault(2, f"must be array of strings but got array containing {type_name(delimiter)}")
                if len(delimiter) != 1:
                    raise OperandFault(2, "must be array of runes but got array containing string")
            signs = "".join(delimiters)
    else:
        raise OperandError(2, delimiters, "array", "null")
    given = string(value, 3)
    return glob(shown, signs)(given)


def _hexed(signs: Iterable[str]) -> str:
    return "".join(f"\\x{{{ord(sign):x}}}" for sign in signs)


class _Glob:
    """gobwas/glob into a regular expression. `separators`: what `*` and `?` do not match."""

    def __init__(self, pattern: str, separators: str) -> None:
        self.pattern, self.at = pattern, 0
        inside = _hexed(separators)
        self.any = f"[^{inside}]" if inside else "."
        self.depth = 0

    def read(self, closing: str = "") -> str:
        out: list[str] = []
        pattern = self.pattern
        while self.at < len(pattern):
            sign = pattern[self.at]
            if closing and sign in closing:
                return "".join(out)
            self.at += 1
            if sign == "\\":
                if self.at >= len(pattern):
                    raise self.wrong("trailing backslash")
                out.append(regex.quote_meta(pattern[self.at]))
                self.at += 1
            elif sign == "*":
                if pattern[self.at:self.at + 1] == "*":
                    self.at += 1
                    out.append(".*")
                else:
                    out.append(self.any + "*")
            elif sign == "?":
                out.append(self.any)
            elif sign == "[":
                out.append(self.range())
            elif sign == "{":
                out.append(self.alternatives())
            else:
                out.append(regex.quote_meta(sign))
        if closing:
            raise self.wrong("unclosed `{`")
        return "".join(out)

    def wrong(self, reason: str) -> BuiltinError:
        return BuiltinError(f"glob: syntax error at {len(self.pattern[:self.at].encode())}: {reason}")

    def alternatives(self) -> str:
        self.depth += 1
        if self.depth > 50:
            raise self.wrong("nested too deeply")
        choices = []
        while True:
            choices.append(self.read(",}"))
            sign = self.pattern[self.at]
            self.at += 1
            if sign == "}":
                break
        self.depth -= 1
        return "(?:" + "|".join(choices) + ")"

    def range(self) -> str:
        pattern, stop = self.pattern, len(self.pattern)
        negated = pattern[self.at:self.at + 1] == "!"
        self.at += negated
        mark = "^" if negated else ""
        if pattern[self.at + 1:self.at + 2] == "-":
            low, high = pattern[self.at], pattern[self.at + 2:self.at + 3]
            self.at += 3
            if not high or self.at >= stop:
                raise self.wrong("unexpected end of input")
            if pattern[self.at] != "]":
                self.at += 1
                raise self.wrong("expected close range character")
            self.at += 1
            if high < low:
                raise self.wrong("range hi character is less than lo")
            return f"[{mark}\\x{{{ord(low):x}}}-\\x{{{ord(high):x}}}]"
        signs: list[str] = []
        while self.at < stop and pattern[self.at] != "]":
            if pattern[self.at] == "\\":
                self.at += 1
                if self.at >= stop:
                    raise self.wrong("trailing backslash")
            signs.append(pattern[self.at])
            self.at += 1
        if self.at >= stop:
            raise self.wrong("unexpected end of input")
        self.at += 1
        if not signs:
            raise self.wrong("could not parse range")
        return f"[{mark}{_hexed(signs)}]"


@lru_cache(4096)
def glob(pattern: str, separators: str = "") -> Callable[[str], bool]:
    """A glob as gobwas/glob reads it; `separators` are what `*` and `?` do not match. Raises BuiltinError."""
    return _tester("(?s)" + _Glob(pattern, separators).read(), whole=True)


# --- the intersection of two patterns

_Piece = tuple[frozenset[str] | None, str]  # the signs it matches, None for any; "" or "*": x+ is read as xx*


@builtin("regex.globs_match", "string", "string", result="boolean", context=True)
def globs_match(context: Context, pattern: Value, pattern2: Value) -> bool:
    """Whether some text, not empty, matches both; of patterns there are only `.`, classes, `+` and `*`."""
    first, second = _pieces(string(pattern, 1)), _pieces(string(pattern2, 2))
    if not first or not second:
        return not first and not second
    todo, seen = [(0, 0, False)], set()
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        context.meter.spend(1)
        at, to, some = state
        if some and _ends(first, at) and _ends(second, to):
            return True
        for here, left in _steps(first, at):
            for there, right in _steps(second, to):
                if here[0] is None or there[0] is None or here[0] & there[0]:
                    todo += [(a, b, True) for a in left for b in right]
    return False


def _ends(pieces: list[_Piece], at: int) -> bool:
    return all(often == "*" for _, often in pieces[at:])


def _steps(pieces: list[_Piece], at: int) -> list[tuple[_Piece, list[int]]]:
    """Pieces that may take the next sign, and where the pattern is afterwards."""
    steps = []
    while at < len(pieces):
        often = pieces[at][1]
        steps.append((pieces[at], [at] if often else [at + 1]))
        if not often:
            break
        at += 1
    return steps


def _pieces(pattern: str) -> list[_Piece]:
    made: list[_Piece] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign in "+*":
            if not made or made[-1][1]:
                raise BuiltinError(f"input:{pattern}, pos:{at}, flag '{sign}' must be preceded by a non-flag: "
                                   "the input provided is invalid")
            signs, _ = made.pop()
            made += [(signs, "")] if sign == "+" else []
            made.append((signs, "*"))
        elif sign == "[":
            signs, at = _class(pattern, at)
            made.append((signs, ""))
        elif sign == "]":
            raise BuiltinError(f"input:{pattern}, pos:{at}, set-close ']' with no preceding '[': "
                               "the input provided is invalid")
        elif sign == ".":
            made.append((None, ""))
        elif sign == "\\":
            if at >= len(pattern):
                raise _unreadable(pattern, at - 1, "input ends with a \\ (escape) character")
            made.append((frozenset(pattern[at]), ""))
            at += 1
        else:
            made.append((frozenset(sign), ""))
    return made


def _class(pattern: str, at: int) -> tuple[frozenset[str], int]:
    signs = set[str]()
    before: str | None = None  # what a range may begin with
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "]":
            return frozenset(signs), at
        if sign == "-":
            if before is None:
                raise _unreadable(pattern, at, "range character '-' must be preceded by a Unicode character")
            if at >= len(pattern) - 1:
                raise _unreadable(pattern, at, "range character '-' must be followed by a Unicode character")
            high = pattern[at]
            at += 1
            if high == "\\":
                high = pattern[at]
                at += 1
            elif high in "]-":
                raise _unreadable(pattern, at, "range character '-' cannot be followed by a special symbol")
            if high < before:
                raise _unreadable(pattern, at, f"range is out of order: '{high}' comes before '{before}' in Unicode")
            if ord(high) - ord(before) > _WIDEST:
                raise too_large(ord(high) - ord(before), _WIDEST)
            signs |= set(map(chr, range(ord(before), ord(high) + 1)))
            before = None
            continue
        if sign == "\\":
            if at >= len(pattern):
                raise _unreadable(pattern, at - 1, "input ends with a \\ (escape) character")
            sign = pattern[at]
            at += 1
        signs.add(sign)
        before = sign
    raise _unreadable(pattern, len(pattern), "found [ without matching ]")


_WIDEST = 70_000  # signs of one range


def _unreadable(pattern: str, at: int, reason: str) -> BuiltinError:
    return BuiltinError(f"input:{pattern}, pos:{at}, {reason}: the input provided is invalid")
