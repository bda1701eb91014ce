"""Semantic versions as the Go libraries read, order and refuse them.

`parse`, `normalized` and `parse_range` are blang/semver (Kubernetes' and Kyverno's); errors are in its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from policylang.errors import InputError
from policylang.go.numbers import quote

_UINT64_MAX = (1 << 64) - 1
_IDENTIFIER = re.compile(r"[0-9A-Za-z-]*", re.ASCII)


class VersionError(InputError):
    """A text that is no semantic version, or no range of them."""

    code = "semver"


class Version(NamedTuple):
    """`pre` holds an int for each numeric identifier. Compare with `compare`: build metadata has no rank."""

    major: int
    minor: int
    patch: int
    pre: tuple[int | str, ...] = ()
    build: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[object, ...]:
        """Orders as the specification does (semver.org 2.0.0, section 11)."""
        before = tuple((isinstance(identifier, str), identifier) for identifier in self.pre)
        return self.major, self.minor, self.patch, not before, before

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.pre:
            text += "-" + ".".join(map(str, self.pre))
        return f"{text}+{'.'.join(self.build)}" if self.build else text


def compare(first: Version, second: Version) -> int:
    """-1, 0 or 1."""
    left, right = first.rank, second.rank
    return (left > right) - (left < right)


def parse(text: str) -> Version:
    """`major.minor.patch[-pre][+build]`, nothing else."""
    if not text:
        raise VersionError("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise VersionError("No Major.Minor.Patch elements found")
    major = _number(parts[0], "major number", "Major number")
    minor = _number(parts[1], "minor number", "Minor number")
    rest, plus, built = parts[2].partition("+")
    rest, dash, early = rest.partition("-")
    patch = _number(rest, "patch number", "Patch number")
    pre = tuple(map(_identifier, early.split("."))) if dash else ()
    build = tuple(built.split(".")) if plus else ()
    for identifier in build:
        if not identifier:
            raise VersionError("Build meta data is empty")
        if not _IDENTIFIER.fullmatch(identifier):
            raise VersionError(f"Invalid character(s) found in build meta data {quote(identifier)}")
    return Version(major, minor, patch, pre, build)


def normalized(text: str) -> Version:
    """Also `v1.2` and `01.02.03`: Kubernetes' `semver(text, true)`, ParseTolerant without trimming spaces."""
    parts = text.removeprefix("v").split(".", 2)
    for index, part in enumerate(parts):
        if len(part) > 1:
            part = part.lstrip("0")
            parts[index] = part if part and part[0] in "0123456789" else f"0{part}"
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise VersionError("short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return parse(".".join(parts))


def _number(text: str, part: str, name: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise VersionError(f"Invalid character(s) found in {part} {quote(text)}")
    if len(text) > 1 and text[0] == "0":
        raise VersionError(f"{name} must not contain leading zeroes {quote(text)}")
    return _uint(text)


def _identifier(text: str) -> int | str:
    if not text:
        raise VersionError("Prerelease is empty")
    if text.isascii() and text.isdigit():
        if len(text) > 1 and text[0] == "0":
            raise VersionError(f"Numeric PreRelease version must not contain leading zeroes {quote(text)}")
        return _uint(text)
    if not _IDENTIFIER.fullmatch(text):
        raise VersionError(f"Invalid character(s) found in prerelease {quote(text)}")
    return text


def _uint(text: str) -> int:
    """strconv.ParseUint of what is digits only."""
    if not text:
        raise VersionError('strconv.ParseUint: parsing "": invalid syntax')
    if len(text) > 20 or int(text) > _UINT64_MAX:
        raise VersionError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return int(text)


# ── ranges ──────────────────────────────────────────────────────────────────────────────────────────────────────────

Range = Callable[[Version], bool]

_COMPARE: dict[str, Callable[[int], bool]] = {
    "": lambda order: order == 0,
    "=": lambda order: order == 0,
    "==": lambda order: order == 0,
    "!": lambda order: order != 0,
    "!=": lambda order: order != 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
}


def parse_range(text: str) -> Range:
    """`>1.0.0 <2.0.0 || >3.0.0 !4.2.1`, `1.x`: spaces are and, `||` is or. The result says whether a version fits."""
    alternatives = [_all_of(group) for group in _alternatives(_split(text))]
    return lambda version: any(fits(version) for fits in alternatives)


def _all_of(group: list[str]) -> Range:
    tests = [_condition(part) for written in group for part in _without_wildcard(written)]
    return lambda version: all(test(version) for test in tests)


def _condition(text: str) -> Range:
    operator, version = _operator(text)
    try:
        test = _COMPARE.get(operator)
        if test is None:
            raise VersionError(f"Could not parse comparator {quote(operator)} in {quote(operator + version)}")
        try:
            bound = parse(version)
        except VersionError as wrong:
            raise VersionError(f"Could not parse version {quote(version)} in {quote(operator + version)}: "
                               f"{wrong.message}") from None
    except VersionError as wrong:
        raise VersionError(f"Could not parse Range {quote(text)}: {wrong.message}") from None
    return lambda candidate: test(compare(candidate, bound))


def _split(text: str) -> list[str]:
    """At spaces, except after an operator; words of one character are dropped, as the library does."""
    words, start, before = [], 0, ""
    for at, sign in enumerate(text):
        if sign == " " and before not in (">", "<", "="):
            if start < at - 1:
                words.append(text[start:at])
            start = at + 1
        elif sign != " ":
            before = sign
    if start < len(text) - 1:
        words.append(text[start:])
    return [word.replace(" ", "") for word in words]


def _alternatives(words: list[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    start = 0
    for at, word in enumerate(words):
        if word == "||":
            if at == 0:
                raise VersionError("First element in range is '||'")
            groups.append(words[start:at])
            start = at + 1
    if start == len(words):
        raise VersionError("Last element in range is '||'")
    groups.append(words[start:])
    if not all(groups):
        raise VersionError("Nothing between '||' and '||'")
    return groups


def _operator(text: str) -> tuple[str, str]:
    digit = re.search(r"\d", text)
    if digit is None:
        raise VersionError(f"Could not get version from string: {quote(text)}")
    return text[:digit.start()].strip(), text[digit.start():]


def _without_wildcard(text: str) -> list[str]:
    """`1.2.x` as the two bounds that it stands for."""
    if "x" not in text:
        return [text]
    operator, version = _operator(text)
    parts = version.split(".")
    count = len(parts) if parts[-1] == "x" else 0
    flat = version.replace(".x.x", ".x", 1).replace(".x", ".0", 1)
    if flat.count(".") == 1:
        flat += ".0"
    above = _next(flat, {3: 1, 2: 0}.get(count))
    if operator in (">", ">="):
        return [">=" + (above if operator == ">" else flat)]
    if operator in ("<", "<="):
        return ["<" + (above if operator == "<=" else flat)]
    if operator in ("", "=", "=="):
        return [f">={flat}", f"<{above}"]
    if operator in ("!", "!="):
        return [f"<{flat}", f">={above}"]
    return [flat]


def _next(version: str, index: int | None) -> str:
    """`version` with the number at `index` raised by one; empty where there is none to raise."""
    parts = version.split(".")
    if index is None or not parts[index].isdigit():
        return ""
    parts[index] = str(int(parts[index]) + 1)
    return ".".join(parts)
