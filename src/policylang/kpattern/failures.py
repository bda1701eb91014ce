"""Why a resource does not match, put together while a pattern is evaluated."""

from __future__ import annotations

from typing import Any, NamedTuple

from policylang.go.printing import sprint


class Failure(NamedTuple):
    """Why it does not match. `kind`: `direct` and `wrapped` skip the rule, `negation` and "" fail it."""

    message: str
    path: str
    kind: str = ""


FAIL, WRAPPED, DIRECT = Failure("", ""), Failure("", "", "wrapped"), Failure("", "", "direct")
BY_KIND = {"": FAIL, "negation": FAIL, "wrapped": WRAPPED, "direct": DIRECT}


def skips_rule(failure: Failure) -> bool:
    return failure.kind in ("direct", "wrapped")


def note(seen: dict[str, bool], key: str, here: bool) -> None:
    """Whether an anchor's key was met anywhere."""
    if not seen.get(key):
        seen[key] = here


def anchor_mismatch(word: str, failure: Failure) -> Failure:
    return Failure(f"{word} anchor mismatch: {failure.message}", failure.path, "direct")


def combined(skipped: list[Failure], path: str) -> Failure:
    return Failure("; ".join(failure.message for failure in skipped), path, "wrapped")


def shown(value: Any) -> str:
    """`%v` of what Kubernetes decodes: whole numbers stay whole."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return "[" + " ".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{shown(value[key])}" for key in sorted(value)) + "]"
    return sprint(value)


def go_type(value: Any) -> str:
    return {type(None): "<nil>", str: "string", bool: "bool", int: "int64", float: "float64",
            list: "[]interface {}"}.get(type(value), "map[string]interface {}")
