"""A case for each expression and pattern of Kyverno's policies: right when it compiles."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from policylang import jmespath, kpattern
from policylang.errors import LanguageError
from policylang.variables import Roots, compile_value
from tests.languages.kyverno_expressions import jmespath_expressions, patterns

ANY = Roots(None, None, asks=("clock", "network", "random"), current="target")


def problem(text: Any, *, pattern: bool) -> str | None:
    try:
        if pattern:
            compile_value(text, "pattern", ANY)
            kpattern.matcher(text)
        elif "{{" in text or "$(" in text:
            compile_value(text, "text", ANY)
        else:
            jmespath.compile(text)
    except (CustodyError, LanguageError) as wrong:
        return wrong.message
    return None


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for file, path, text in jmespath_expressions(folder):
        if "$(" in text:
            continue  # relative to the pattern that it is in, and compiled with that
        yield f"{file}{path}", problem(text, pattern=False)
    for file, path, pattern in patterns(folder):
        yield f"{file}{path}", problem(pattern, pattern=True)
    if importlib.util.find_spec("tests.languages.expressions") is not None:
        yield from _cel(folder)


def _cel(folder: Path) -> Iterator[tuple[str, str | None]]:
    from tests.languages.expressions import cel_expressions
    for found in cel_expressions(folder):
        try:
            found.env.check(found.expression)
        except (CustodyError, LanguageError) as wrong:
            yield f"{found.file.relative_to(folder)}:{found.path}", wrong.message
        else:
            yield f"{found.file.relative_to(folder)}:{found.path}", None
