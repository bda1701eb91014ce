"""JSON Patches as CEL: operations that are done where something holds, once or for each element of lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from custody.policy.migrate.expressions import TRUE, every, quoted


class Loop(NamedTuple):
    """Over a list, by the index of its elements."""

    list: str
    index: str
    test: str = TRUE
    backwards: bool = False


class Operation(NamedTuple):
    """One operation of RFC 6902."""

    op: str
    path: str
    value: str = ""
    """CEL; empty where the operation has none."""
    source: str = ""
    guard: str = TRUE
    """Asked in the innermost loop."""
    loops: tuple[Loop, ...] = ()
    outer: str = TRUE
    """Asked before the first loop."""

    @property
    def text(self) -> str:
        fields = [f"op: {quoted(self.op)}", f"path: {self.path}"]
        if self.source:
            fields.append(f"from: {self.source}")
        if self.value:
            fields.append(f"value: {self.value}")
        return f"JSONPatch{{{', '.join(fields)}}}"


def pointer(steps: Iterable[str]) -> str:
    """The way to a place as CEL that makes a text; each step is CEL of a text, as `step` and `index` give it."""
    parts: list[str] = []
    for step in steps:
        _add(parts, "/")
        if step.startswith("'") and step.endswith("'") and len(step) > 1:
            _add(parts, step[1:-1])
        else:
            parts.append(step)
    return " + ".join(part if not part.startswith("'") else f"{part}'" for part in parts)


def _add(parts: list[str], text: str) -> None:
    if parts and parts[-1].startswith("'"):
        parts[-1] += text
    else:
        parts.append(f"'{text}")


def step(key: str) -> str:
    """A key that is written there."""
    text = key.replace("~", "~0").replace("/", "~1")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def index(name: str) -> str:
    return f"string({name})"


def patch(operations: Sequence[Operation]) -> str:
    """All of them in order, as an expression that gives a list of JSONPatch."""
    groups: list[list[Operation]] = []
    for operation in operations:
        if groups and groups[-1][0][4:] == operation[4:]:
            groups[-1].append(operation)
        else:
            groups.append([operation])
    return " + ".join(_group(group, alone=len(groups) == 1) for group in groups) or "[]"


def _group(group: Sequence[Operation], *, alone: bool) -> str:
    first = group[0]
    texts = [operation.text for operation in group]
    if not first.loops:
        return _where(every((first.outer, first.guard)), f"[{', '.join(texts)}]", alone=alone)
    inner = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    nested = len(texts) > 1
    for at, loop in reversed([*enumerate(first.loops)]):
        test = every((loop.test, first.guard)) if at == len(first.loops) - 1 else loop.test
        of = f"lists.range(size({loop.list}))" + (".reverse()" if loop.backwards else "")
        if test != TRUE:
            of += f".filter({loop.index}, {test})"
        inner = f"{of}.map({loop.index}, {inner})" + (".flatten()" if nested else "")
        nested = True
    return _where(first.outer, inner, alone=alone)


def _where(guard: str, listed: str, *, alone: bool) -> str:
    if guard == TRUE:
        return listed
    return f"{guard} ? {listed} : []" if alone else f"({guard} ? {listed} : [])"
