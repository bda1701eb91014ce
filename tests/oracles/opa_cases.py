"""OPA's own conformance cases: modules, data and input → bindings, or an error's code and message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from custody.adapters.world import SystemWorld
from policylang import rego
from policylang.errors import LanguageError
from policylang.rego.declare import Builtin
from policylang.rego.values import UNDEFINED, ordered, text, to_json


def _sleep(duration: str) -> None:
    """test.sleep, a builtin of OPA's test suite alone. The cases are about a clock that stands still meanwhile."""


FUNCTIONS = {"test.sleep": Builtin("test.sleep", _sleep, ("string",), "null")}


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    root = folder / "v1/test/cases/testdata"
    for path in sorted(root.rglob("*.yaml")):
        version = int(path.relative_to(root).parts[0].removeprefix("v"))
        for at, case in enumerate(yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["cases"]):
            yield f"{path.relative_to(root)}#{at} {case['note']}", _miss(case, version)


def _miss(case: dict[str, Any], version: int) -> str | None:
    try:
        found = _evaluate(case, version)
    except rego.EvaluationError as error:
        return _miss_error(case, error.kind, str(error))
    except rego.SourceError as error:
        return _miss_error(case, error.kind, str(error))
    except LanguageError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"crashed: {type(error).__name__}: {error}"
    if "want_result" not in case:
        wanted = case.get("want_error_code") or case.get("want_error")
        return f"expected {wanted}, got {found}" if wanted else None
    wanted = [{name: _keyed(value) for name, value in row.items()} for row in case["want_result"] or []]
    if case.get("sort_bindings"):
        found, wanted = ([{name: ordered(value) if type(value) is list else value for name, value in row.items()}
                          for row in rows] for rows in (found, wanted))
    one, other = ordered(found), ordered(wanted)
    if len(one) != len(other) or not all(rego.equal(left, right) for left, right in zip(one, other, strict=True)):
        return f"expected {text(other)[:300]}, got {text(one)[:300]}"
    return None


def _keyed(value: Any) -> Any:
    """YAML's data as JSON's: names of objects are texts."""
    if isinstance(value, dict):
        return {name if isinstance(name, str) else str(name).lower(): _keyed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_keyed(each) for each in value]
    return value


def _evaluate(case: dict[str, Any], version: int) -> list[Any]:
    modules = {f"test-{at}.rego": module for at, module in enumerate(case.get("modules") or [])}
    policy = rego.Policy(modules, version=version, functions=FUNCTIONS)
    query = policy.query(case["query"], capture=False)
    given = _keyed(case.get("input", UNDEFINED))
    if "input_term" in case:
        given = rego.parse_value(case["input_term"])
    results = query(_keyed(case.get("data") or {}), given, strict=bool(case.get("strict_error")), world=SystemWorld())
    return [{name: to_json(value) for name, value in row.bindings.items()} for row in results]


def _miss_error(case: dict[str, Any], kind: str, message: str) -> str | None:
    code, part = case.get("want_error_code"), case.get("want_error")
    if not code and not part:
        return message
    if code and code != kind:
        return f"expected {code} {part or ''}, got {message}"
    if part and part not in message:
        return f"expected {part!r} in {message}"
    return None
