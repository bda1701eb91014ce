"""Cases of the regorus interpreter: modules, data and input → the value of a query, or an error of some kind.

Its errors are in words of its own, so a case that wants one is right where custody refuses the program or, with
builtin errors strict, its evaluation. Results mark sets as `{set!: […]}`. Cases do not say of which version they are:
they are read as v1, and as v0 where v1 refuses them. regorus has no check of types, so a case that wants a result is
compiled without ours, and there builtin errors are undefined.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from custody.adapters.world import SystemWorld
from policylang import rego
from policylang.errors import LanguageError


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    root = folder / "tests/interpreter/cases"
    for path in sorted(root.rglob("*.yaml")):
        for at, case in enumerate(yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["cases"]):
            if not case.get("skip"):
                yield f"{path.relative_to(root)}#{at} {case['note']}", _miss(case)


def _miss(case: dict[str, Any]) -> str | None:
    wanted_error = case.get("error")
    try:
        try:
            found = _evaluate(case, 1, strict=bool(wanted_error))
        except rego.SourceError as error:
            if wanted_error and error.kind != "rego_parse_error":
                raise
            found = _evaluate(case, 0, strict=bool(wanted_error))
    except (rego.SourceError, rego.EvaluationError) as error:
        return None if wanted_error else str(error)
    except LanguageError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"crashed: {type(error).__name__}: {error}"
    if wanted_error:
        return f"expected an error ({wanted_error}), got {rego.text(found) if found is not rego.UNDEFINED else found}"
    wanted = _wanted(case.get("want_result"))
    if found is rego.UNDEFINED or not rego.equal(found, wanted):
        shown = "undefined" if found is rego.UNDEFINED else rego.text(found)
        return None if found is rego.UNDEFINED and wanted in (None, "#undefined") else \
            f"expected {rego.text(wanted)[:300]}, got {shown[:300]}"
    return None


def _wanted(value: Any) -> Any:
    if isinstance(value, dict):
        if list(value) == ["set!"]:
            return rego.Set.of(_wanted(each) for each in value["set!"] or [])
        if list(value) == ["object!"]:
            return {rego.key(_wanted(each["key"])): _wanted(each["value"]) for each in value["object!"]}
        return {rego.key(name): _wanted(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_wanted(each) for each in value]
    return value


def _evaluate(case: dict[str, Any], version: int, strict: bool) -> Any:
    modules = {f"case-{at}.rego": module for at, module in enumerate(case["modules"])}
    query = rego.Policy(modules, version=version, types=strict).query(case["query"])
    given = case.get("input", rego.UNDEFINED)
    results = query(case.get("data") or {}, given, strict=strict and case.get("strict", True), world=SystemWorld())
    return results[0].expressions[0] if results else rego.UNDEFINED
