"""Programs that try to get out, to run for ever or to fill the memory, in all five languages, and what stops them.

`outcome` says how: refused when compiled, stopped by the budget, failed (an error of the language), or harmless (it has
a value, soon). `bench/languages/breakout.py` measures them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.budget import BudgetExceeded
from policylang.errors import LanguageError
from policylang.source import SourceError


class Case(NamedTuple):
    """`program` runs on `data`; `reason` is a part of what is said, or of the value where it is harmless."""

    language: str
    name: str
    program: Any
    outcome: str
    reason: str
    data: Any = None


class Outcome(NamedTuple):
    outcome: str
    reason: str


def run(case: Case) -> Outcome:
    """Compile and evaluate with the default budget. What is no LanguageError gets through: it is a hole."""
    try:
        program = compiled(case.language, case.program)
    except LanguageError as wrong:
        return Outcome("refused", wrong.message)
    try:
        value = program(case.data)
    except BudgetExceeded as wrong:
        return Outcome("stopped", wrong.message)
    except SourceError as wrong:
        return Outcome("refused", wrong.message)
    except LanguageError as wrong:
        return Outcome("failed", wrong.message)
    return Outcome("harmless", repr(value)[:200])


def compiled(language: str, program: Any) -> Callable[[Any], Any]:
    """A function of the data; a pattern is data itself."""
    return _COMPILERS[language](program)


def _cel(program: str) -> Callable[[Any], Any]:
    from policylang import cel

    compiled = cel.Env(variables={"x": cel.DYN}).compile(program)
    return lambda data: compiled({"x": data})


def _rego(program: str) -> Callable[[Any], Any]:
    from policylang import rego

    entry = rego.Policy({"p.rego": f"package p\n{program}"}).entry("data.p.x")
    return lambda data: entry(data, {})


def _jmespath(program: str) -> Callable[[Any], Any]:
    from policylang import jmespath

    return jmespath.compile(program)


def _pattern(program: Any) -> Callable[[Any], Any]:
    from policylang import kpattern

    return kpattern.matcher(program)


def _falco(program: Any) -> Callable[[Any], Any]:
    from policylang import falco

    if isinstance(program, bytes):
        return falco.load({"rules": program}).compile()
    text = program
    if not text.startswith("- "):
        text = ("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  warn_evttypes: false\n  condition: "
                + json.dumps(text, ensure_ascii=False))
    matcher = falco.load({"rules": text}).compile()
    return lambda data: [alert.rule for alert in matcher("open", data or {})]


_COMPILERS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "cel": _cel, "rego": _rego, "jmespath": _jmespath, "pattern": _pattern, "falco": _falco}
LANGUAGES = tuple(_COMPILERS)
