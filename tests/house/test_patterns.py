"""Regular expressions mean the same in every Python that custody runs on.

Python 3.11.0 to 3.11.4, Debian 12's among them, match possessive and atomic groups wrongly where something in them can
go back (CPython issue 106052). Of a single character or class `++`, `*+` and `?+` are right there too.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COLLECTED = """
import importlib, json, pkgutil, re, sys
from re import _compiler
patterns = {}
made = _compiler.compile
def noted(pattern, flags=0):
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith(("re.", "re", "functools")):
        frame = frame.f_back
    if isinstance(pattern, (str, bytes)):
        patterns[repr(pattern), int(flags)] = frame.f_globals.get("__name__", "")
    return made(pattern, flags)
_compiler.compile = noted
import custody, policylang
for package in (custody, policylang):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(json.dumps([[pattern, flags, where] for (pattern, flags), where in patterns.items()
                  if where.startswith(("custody", "policylang"))]))
"""


def parts(parsed: object) -> object:
    """(operation, argument) of all levels of `re._parser.parse`'s answer."""
    waiting = [parsed]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple) and len(part) == 2 and type(part[0]).__name__ == "_NamedIntConstant":
            yield part
        if isinstance(part, (tuple, list)) or type(part).__name__ == "SubPattern":
            waiting += [*part]


def group_is_possessive(pattern: str | bytes, flags: int = 0) -> bool:
    from re import _parser

    for operation, argument in parts(_parser.parse(pattern, flags)):
        if str(operation) == "ATOMIC_GROUP":
            return True
        if str(operation) == "POSSESSIVE_REPEAT":
            [*repeated] = argument[2]
            if len(repeated) != 1 or str(repeated[0][0]) not in ("IN", "LITERAL", "NOT_LITERAL", "ANY"):
                return True
    return False


@pytest.mark.parametrize(("pattern", "expected"), [
    (r"[a-z]*+b", False), (r"a++", False), (r".?+", False), (r"(?:ab)*", False), (r"(?:ab|b)*+", True),
    (r"(?>a|b)", True),
    (r"x(?:y(?:ab)++)", True), (rb"(?:[^x]|xx)*+", True)])
def test_the_test_sees_them(pattern: str | bytes, expected: bool) -> None:
    assert group_is_possessive(pattern) is expected


def test_no_group_is_possessive() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True, check=True)
    patterns = json.loads(done.stdout)
    assert len(patterns) > 500
    assert [(where, pattern) for pattern, flags, where in patterns
            if group_is_possessive(eval(pattern), flags)] == []
