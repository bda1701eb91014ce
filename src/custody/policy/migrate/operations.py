"""JSON Patches as CEL: operations that are done where something holds, once or for each element of lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from custody.policy.migrate.expressions import TRUE, every, quoted


class Loop(NamedTuple):
    """Over a list, by the index of its elements."""

    of: str
    at: str
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


def plain(listed: str) -> str:
    """A list as it is where it has elements: without what is said of its not being there."""
    bare = listed.removesuffix(".orValue([])").removesuffix(".orValue(null)")
    return listed if bare == listed else bare.replace(".?", ".").replace("[?", "[")


def pointer(steps: Iterable[str]) -> str:
    """The way to a place as CEL that makes a text; each step is CEL of a text, as `step` and `index` give it."""
    parts: list[str] = []
    text = ""
    for step in steps:
        text += "/"
        if step.startswith("'") and step.endswith("'"):
            text += step[1:-1]
        else:
            parts += [f"'{text}'", step]
            text = ""
    return " + ".join([*parts, f"'{text}'"] if text else parts)


def step(key: str) -> str:
    """A key that is written there."""
    text = key.replace("~", "~0").replace("/", "~1")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def index(name: str) -> str:
    return f"string({name})"


def patch(operations: Sequence[Operation]) -> str:
    """All of them in order, as an expression that gives a list of JSONPatch."""
    groups = [[*group] for _, group in groupby(operations, lambda operation: (operation.outer, operation.loops))]
    parts = [part for group in groups for part in _group(group)]
    return " +\n".join(_where(*part, alone=len(parts) == 1) for part in parts) or "[]"


def _group(group: Sequence[Operation]) -> list[tuple[str, str]]:
    """(condition, list) of operations that are done in the same loops."""
    first = group[0]
    guarded = [(guard, [*part]) for guard, part in groupby(group, lambda operation: operation.guard)]
    if not first.loops:
        return [(every((first.outer, guard)), _listed(part)) for guard, part in guarded]
    (guard, part), nested = guarded[0], len(group) > 1
    if len(guarded) == 1:
        inner = _listed(part) if nested else part[0].text
    else:
        guard, inner = TRUE, " + ".join(_where(test, _listed(texts), alone=False) for test, texts in guarded)
    for at, loop in reversed([*enumerate(first.loops)]):
        test = every((loop.test, guard)) if at == len(first.loops) - 1 else loop.test
        of = f"lists.range(size({loop.of}))" + (".reverse()" if loop.backwards else "")
        if test != TRUE:
            of += f".filter({loop.at}, {test})"
        inner = f"{of}.map({loop.at}, {inner})" + (".flatten()" if nested else "")
        nested = True
    return [(first.outer, inner)]


def _listed(operations: Sequence[Operation]) -> str:
    return f"[{', '.join(operation.text for operation in operations)}]"


def _where(guard: str, listed: str, *, alone: bool) -> str:
    if guard == TRUE:
        return listed
    return f"{guard} ? {listed} : []" if alone else f"({guard} ? {listed} : [])"
