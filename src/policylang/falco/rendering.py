"""Formulas as the text of a condition, for people who read what decided."""

from __future__ import annotations

from typing import Any

from policylang.falco.check.formula import Formula, Read


def rendered(formula: Formula) -> tuple[str, list[tuple[int, int]]]:
    """A formula as a condition, and where each comparison stands in it, in order."""
    out: list[str] = []
    spans: list[tuple[int, int]] = []
    size = 0

    def put(text: str) -> None:
        nonlocal size
        out.append(text)
        size += len(text)

    def render(part: Formula, above: str) -> None:
        if isinstance(part, bool):
            put("always true" if part else "never true")
        elif part.kind == "test":
            start = size
            put(_test(*part.parts))
            spans.append((start, size))
        elif part.kind == "not":
            put("not ")
            render(part.parts[0], "not")
        else:
            put("(" if above else "")
            for number, inner in enumerate(part.parts):
                put(f" {part.kind} " if number else "")
                render(inner, part.kind)
            put(")" if above else "")

    render(formula, "")
    return "".join(out), spans


def _test(read: Read, op: str, modifier: str, right: Any) -> str:
    if op == "exists":
        return f"{read.name} exists"
    head = f"{read.name} {op} {modifier}{' ' if modifier else ''}"
    if isinstance(right, Read):
        return f"{head}val({right.name})" if right.kind == "field" else head + right.name
    if isinstance(right, frozenset) or (isinstance(right, tuple) and not hasattr(right, "_fields")):
        values = sorted(map(_value, right)) if isinstance(right, frozenset) else list(map(_value, right))
        more = f", … {len(values)} in all" if len(values) > 8 else ""
        return f"{head}({', '.join(values[:8])}{more})"
    return head + _value(right)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value and not set(value) & set(" \t\n()\"'=,") else '"' + value.replace("\\", "\\\\").replace(
            '"', '\\"') + '"'
    if isinstance(value, tuple):
        from ipaddress import ip_address

        text = str(ip_address(value[1]))
        return f"{text}/{value[2].bit_count()}" if len(value) == 3 else text
    return str(value)
