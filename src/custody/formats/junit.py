"""JUnit's XML of test results: suites of cases, each passed or failed with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr


class Case(NamedTuple):
    classname: str
    name: str
    failure: str | None
    """Why it failed; None where it passed."""
    text: str
    """What else is said of it, on lines of its own."""


def document(suites: Sequence[tuple[str, Sequence[Case]]]) -> str:
    """Of (name, cases). Characters that XML cannot have become U+FFFD."""
    tests = sum(len(cases) for _, cases in suites)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>',
             f'<testsuites tests="{tests}" failures="{sum(_failures(cases) for _, cases in suites)}">']
    for name, cases in suites:
        lines.append(f" <testsuite name={attribute(name)} tests=\"{len(cases)}\" failures=\"{_failures(cases)}\">")
        for case in cases:
            lines.append(f"  <testcase classname={attribute(case.classname)} name={attribute(case.name)}>")
            tag = "system-out" if case.failure is None else f"failure message={attribute(case.failure)}"
            lines += [f"   <{tag}>", escape(plain(case.text)), f"   </{tag.partition(' ')[0]}>", "  </testcase>"]
        lines.append(" </testsuite>")
    return "\n".join([*lines, "</testsuites>"])


def _failures(cases: Sequence[Case]) -> int:
    return sum(case.failure is not None for case in cases)


def attribute(text: str) -> str:
    """In quotes."""
    return quoteattr(plain(text))


def plain(text: str) -> str:
    """Without what XML cannot have."""
    return "".join(letter if letter in "\t\n" or " " <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd"
                   or letter >= "\U00010000" else "\ufffd" for letter in text)
