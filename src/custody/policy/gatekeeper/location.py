"""Locations of mutators: `spec.containers[name: *].image` (Gatekeeper pkg/mutation/path).

    path = part ("." part)*     part = name | name "[" name ":" (name | number | "*") "]"

A name with other characters than letters, digits, `_` and `-`, or that begins with a digit, stands in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from custody.errors import MalformedError
from custody.policy.fields import Fields

_TOKEN = re.compile(r"""\s*(?:(?P<number>[0-9]+)|(?P<name>[A-Za-z_-][A-Za-z0-9_-]*)|(?P<sign>[.\[\]*:])
                        |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))""", re.VERBOSE | re.DOTALL)
_LARGEST = (1 << 63) - 1
_LONGEST = 1024
CONDITIONS = ("MustExist", "MustNotExist")


class Member(NamedTuple):
    """A field of an object."""

    name: str


class Item(NamedTuple):
    """The items of a list whose `key` is `value`; all of them where there is no value."""

    key: str
    value: str | int | None

    @property
    def every(self) -> bool:
        return self.value is None


Location = tuple[Member | Item, ...]


def parse(text: str, where: str) -> Location:
    """Raises MalformedError."""
    if not text or len(text) > _LONGEST:
        raise MalformedError(where, got=text[:60], expected=f"a path of 1 to {_LONGEST} characters")
    tokens, at = _tokens(text, where), 0
    nodes: list[Member | Item] = []

    def take(*kinds: str) -> str | int | None:
        nonlocal at
        kind, value = tokens[at] if at < len(tokens) else ("end", "")
        if kind not in kinds:
            raise MalformedError(where, got=text, expected=f"{' or '.join(kinds)} behind "
                                 f"{''.join(str(part) for _, part in tokens[:at])!r}, not {value!r}")
        at += 1
        return value

    while True:
        nodes.append(Member(str(take("name"))))
        if at < len(tokens) and tokens[at][0] == "[":
            at += 1
            key = str(take("name"))
            take(":")
            value = take("name", "number", "*")
            nodes.append(Item(key, None if tokens[at - 1][0] == "*" else value))
            take("]")
        if at == len(tokens):
            return tuple(nodes)
        take(".")


def _tokens(text: str, where: str) -> list[tuple[str, str | int]]:
    tokens: list[tuple[str, str | int]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise MalformedError(where, got=text, expected=f"a path: {text[at:at + 10]!r} is no part of one")
        if match["number"] is not None:
            number = int(match["number"])
            if number > _LARGEST:
                raise MalformedError(where, got=match["number"], expected=f"at most {_LARGEST}")
            tokens.append(("number", number))
        elif match["name"] is not None:
            tokens.append(("name", match["name"]))
        elif match["quoted"] is not None:
            tokens.append(("name", re.sub(r"\\(.)", r"\1", match["quoted"][1:-1], flags=re.DOTALL)))
        else:
            tokens.append((match["sign"], match["sign"]))
        at = match.end()
    return tokens


class PathTests:
    """`pathTests`: what must be there, or must not, along a location."""

    def __init__(self, tests: Sequence[Fields], location: Location) -> None:
        """Raises MalformedError."""
        self._conditions: dict[int, str] = {}
        for test in tests:
            path, condition = parse(test.need("subPath", str), test.path("subPath")), test.need("condition", str)
            test.done()
            if condition not in CONDITIONS:
                raise MalformedError(test.path("condition"), got=condition, expected=" or ".join(CONDITIONS))
            if path != location[:len(path)]:
                raise MalformedError(test.path("subPath"), got=test.where, expected="the beginning of the location")
            self._take(test, len(path) - 1, condition)
        forbidden = [depth for depth, condition in self._conditions.items() if condition == "MustNotExist"]
        if any(depth > min(forbidden, default=len(location)) and condition == "MustExist"
               for depth, condition in self._conditions.items()):
            raise MalformedError(tests[0].where, got="a part that must exist in one that must not",
                                 expected="tests that can hold together")

    def _take(self, test: Fields, depth: int, condition: str) -> None:
        if self._conditions.setdefault(depth, condition) != condition:
            raise MalformedError(test.where, got="MustExist and MustNotExist of one path", expected="one of them")

    @classmethod
    def absent(cls, location: Location) -> PathTests:
        """Nothing may be there."""
        tests = cls((), location)
        tests._conditions = {len(location) - 1: "MustNotExist"}
        return tests

    def may_be(self, depth: int) -> bool:
        return self._conditions.get(depth) != "MustNotExist"

    def may_lack(self, depth: int) -> bool:
        return self._conditions.get(depth) != "MustExist"
