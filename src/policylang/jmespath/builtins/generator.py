"""Random texts that a regular expression matches: literals, classes, groups, alternatives and repetitions."""

from __future__ import annotations

import string
from collections.abc import Callable

from policylang.go import regex
from policylang.jmespath.values import QueryError

_MOST = 10  # repetitions of `*` and `+`
_LONGEST = 10_000
_DEEPEST = 50
_ANY = string.ascii_letters + string.digits + string.punctuation + " "
_CLASSES = {"d": string.digits, "w": string.ascii_letters + string.digits + "_", "s": " \t\n\r\f"}
_NAMED = {"alnum": string.ascii_letters + string.digits, "alpha": string.ascii_letters, "digit": string.digits,
          "lower": string.ascii_lowercase, "upper": string.ascii_uppercase, "punct": string.punctuation,
          "xdigit": string.hexdigits, "word": _CLASSES["w"], "space": _CLASSES["s"], "blank": " \t"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}

Below = Callable[[int], int]
Maker = Callable[[], str]


def generate(pattern: str, below: Below) -> str:
    """`below(n)` gives a number from 0 to n - 1. Raises QueryError for patterns that are no, or no such, expression."""
    try:
        regex.compiled(pattern)
    except regex.PatternError as wrong:
        raise QueryError(wrong.message) from None
    made = _Reader(pattern, below).alternatives(0)()
    if len(made) > _LONGEST:
        raise QueryError(f"random: a text of {len(made)} characters, expected at most {_LONGEST}")
    return made


class _Reader:
    def __init__(self, pattern: str, below: Below) -> None:
        self.pattern, self.below, self.at = pattern, below, 0

    def peek(self) -> str:
        return self.pattern[self.at:self.at + 1]

    def take(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1:self.at]

    def alternatives(self, depth: int) -> Maker:
        if depth > _DEEPEST:
            raise QueryError("random: pattern nested too deeply")
        choices = [self.sequence(depth)]
        while self.peek() == "|":
            self.at += 1
            choices.append(self.sequence(depth))
        return choices[0] if len(choices) == 1 else lambda: choices[self.below(len(choices))]()

    def sequence(self, depth: int) -> Maker:
        parts: list[Maker] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom(depth)))
        return lambda: "".join(part() for part in parts)

    def atom(self, depth: int) -> Maker:
        char = self.take()
        if char == "(":
            if self.pattern.startswith("?:", self.at):
                self.at += 2
            elif self.pattern.startswith(("?P<", "?<"), self.at):
                self.at = self.pattern.index(">", self.at) + 1
            elif self.peek() == "?":
                raise QueryError("random: flags in a pattern are not supported")
            inner = self.alternatives(depth + 1)
            self.at += 1
            return inner
        if char == "[":
            return self.one_of(self.characters())
        if char == ".":
            return self.one_of(_ANY)
        if char in "^$":
            return lambda: ""
        return self.one_of(self.escape()) if char == "\\" else lambda: char

    def one_of(self, characters: str) -> Maker:
        if not characters:
            raise QueryError("random: a class without characters")
        return lambda: characters[self.below(len(characters))]

    def escape(self) -> str:
        char = self.take()
        if char in _CLASSES:
            return _CLASSES[char]
        if char in ("D", "W", "S"):
            return "".join(letter for letter in _ANY if letter not in _CLASSES[char.lower()])
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char.isalnum():
            raise QueryError(f"random: \\{char} is not supported")
        return char

    def characters(self) -> str:
        negated = self.peek() == "^"
        self.at += negated
        sets: list[str] = []
        while not (self.peek() == "]" and sets):
            if self.pattern.startswith("[:", self.at):
                end = self.pattern.index(":]", self.at)
                sets.append(_NAMED.get(self.pattern[self.at + 2:end], ""))
                self.at = end + 2
                continue
            char = self.take()
            some = self.escape() if char == "\\" else char
            if len(some) == 1 and self.peek() == "-" and self.pattern[self.at + 1:self.at + 2] not in ("]", ""):
                self.at += 1
                last = self.take()
                last = self.escape() if last == "\\" else last
                if ord(last) - ord(some) > 4096:
                    raise QueryError("random: a range of more than 4096 characters")
                some = "".join(map(chr, range(ord(some), ord(last) + 1)))
            sets.append(some)
        self.at += 1
        inside = "".join(sets)
        return "".join(letter for letter in _ANY if letter not in inside) if negated else inside

    def repeated(self, part: Maker) -> Maker:
        least, most = 1, 1
        char = self.peek()
        if char in ("?", "*", "+"):
            self.at += 1
            least, most = (0 if char in "?*" else 1), (1 if char == "?" else _MOST)
        elif char == "{" and (end := self.pattern.find("}", self.at)) > 0:
            low, comma, high = self.pattern[self.at + 1:end].partition(",")
            if not low.isdigit() or (high and not high.isdigit()):
                return part
            self.at = end + 1
            least = int(low)
            most = int(high) if high else least + _MOST if comma else least
        else:
            return part
        if self.peek() == "?":
            self.at += 1
        return lambda: "".join(part() for _ in range(least + self.below(most - least + 1)))
