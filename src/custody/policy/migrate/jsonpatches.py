"""`patchesJson6902` as JSON Patches in CEL: Kyverno makes what is missing on the way of `add`, and forgives `remove`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kyverno.mutate import jsonpatches
from custody.policy.kyverno.mutate.nodes import PatchError
from custody.policy.migrate.expressions import TRUE, every, literal, member, negation, present
from custody.policy.migrate.operations import Loop, Operation, index, pointer, step
from custody.policy.migrate.queries import Names, query, text_of
from custody.policy.migrate.values import Quoted, written

_VARIABLE = re.compile(r"\{\{((?:\{[^{}]*\}|[^{}])*)\}\}")
_NUMBER = 700_000_000  # where a variable stands, while the text is read: a number without quotes, a text within
_PLACE = re.compile(r"7000[0-9]{5}")


class _Step(NamedTuple):
    """One step of a path."""

    pointer: str
    """CEL of a text."""
    value: str
    """CEL of what is there."""
    there: str
    """That it is there, where what holds it is."""
    position: int | None
    """In a list; None for a key."""


def operations(text: str, where: str, names: Names, loops: tuple[Loop, ...] = ()) -> list[list[Operation]]:
    """Each operation as a step, which sees what those before it left. Raises UnsupportedError."""
    variables: list[str] = []

    def kept(match: re.Match[str]) -> str:
        variables.append(match[0])
        return str(_NUMBER + len(variables) - 1)

    try:
        read = jsonpatches.read(_VARIABLE.sub(kept, text))
    except PatchError as error:
        raise UnsupportedError(where, error.message) from None
    made = []
    for at, operation in enumerate(read):
        path = f"{where}[{at}]"
        made.append(_Patches(variables, path, names, loops).of(operation))
    return made


class _Patches:
    def __init__(self, variables: Sequence[str], where: str, names: Names, loops: tuple[Loop, ...]) -> None:
        self._variables, self._where, self._names, self._loops = variables, where, names, loops

    def of(self, operation: dict[str, Any]) -> list[Operation]:
        op = operation["op"]
        if op == "test":
            raise UnsupportedError(self._where, "a test that fails is an error there, and nothing in a MutatingPolicy")
        steps = self._path(operation["path"])
        if not steps:
            raise UnsupportedError(f"{self._where}.path", "the whole object")
        if op == "remove":
            guard = every(entry.there for entry in steps)
            return [self._made("remove", steps, guard=guard)]
        if op in ("move", "copy"):
            source = self._path(operation["from"])
            return [self._made(op, steps, source=pointer(entry.pointer for entry in source))]
        value = self._value(operation["value"], f"{self._where}.value")
        if op == "replace":
            return [self._made("replace", steps, value)]
        return self._add(steps, value)

    def _add(self, steps: list[_Step], value: str) -> list[Operation]:
        made = []
        for at in range(len(steps) - 1):
            if steps[at].there == TRUE:
                continue
            guard = every([*(entry.there for entry in steps[:at]), negation(steps[at].there)])
            made.append(self._made("add", steps[:at + 1], _nested(steps[at + 1:], value), guard=guard))
        made.append(self._made("add", steps, value, guard=every(entry.there for entry in steps[:-1])))
        return made

    def _made(self, op: str, steps: Sequence[_Step], value: str = "", *, source: str = "",
              guard: str = TRUE) -> Operation:
        return Operation(op, pointer(entry.pointer for entry in steps), value, source, guard, self._loops)

    def _path(self, text: str) -> list[_Step]:
        root, certain = self._names.object, self._names.certain
        value, made = root, []
        for written_step in text.split("/")[1:]:
            if _PLACE.search(written_step):
                entry = self._computed(written_step, value)
            elif re.fullmatch(r"[0-9]{1,6}", written_step):
                at = int(written_step)
                entry = _Step(step(written_step), f"{value}[{at}]", f"size({value}) > {at}", at)
            elif written_step == "-":
                entry = _Step(step("-"), "", "", 0)
            elif written_step.startswith("-"):
                raise UnsupportedError(f"{self._where}.path", "a negative index")
            else:
                key = written_step.replace("~1", "/").replace("~0", "~")
                there = TRUE if value == root and key in certain else present(value, key)
                entry = _Step(step(key), member(value, key), there, None)
            made.append(entry)
            value = entry.value
        return made

    def _computed(self, text: str, value: str) -> _Step:
        filled = self._filled(text)
        whole = _VARIABLE.fullmatch(filled)
        name = whole[1].strip() if whole else ""
        if re.fullmatch(r"elementIndex[0-9]*", name):
            at = query(name, f"{self._where}.path", self._names).text
            return _Step(index(at), f"{value}[{at}]", f"size({value}) > {at}", None)
        key = text_of(filled.replace("~1", "/").replace("~0", "~"), f"{self._where}.path", self._names)
        if not all(re.fullmatch(r"elementIndex[0-9]*", part.strip()) for part in _VARIABLE.findall(filled)):
            raise UnsupportedError(f"{self._where}.path", "a key that is computed may lead into another place")
        return _Step(text_of(filled, f"{self._where}.path", self._names), f"{value}[{key}]", f"{key} in {value}", None)

    def _filled(self, text: str) -> str:
        return _PLACE.sub(lambda match: self._variables[int(match[0]) - _NUMBER], text)

    def _value(self, value: Any, where: str) -> str:
        return written(self._restored(value, where), where, self._names)

    def _restored(self, value: Any, where: str) -> Any:
        """With variables in the place of numbers. One within quotes is a text, whatever it is of."""
        if isinstance(value, dict):
            return {self._key(key, where): self._restored(inner, where) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._restored(inner, where) for inner in value]
        if isinstance(value, str) and _PLACE.search(value):
            filled = self._filled(value)
            return Quoted(filled) if _VARIABLE.fullmatch(filled) else filled
        if isinstance(value, int) and not isinstance(value, bool) and _NUMBER <= value < _NUMBER + len(self._variables):
            filled = self._variables[value - _NUMBER]
            said = query(filled[2:-2].strip(), where, self._names)
            if said.type not in ("int", "bool"):
                raise UnsupportedError(where, f"{filled} without quotes is read as YAML, whatever it is")
            return filled
        return value

    def _key(self, key: str, where: str) -> str:
        if _PLACE.search(key):
            raise UnsupportedError(where, "a key that is computed")
        return key


def _nested(steps: Sequence[_Step], value: str) -> str:
    for entry in reversed(steps):
        if entry.position is not None:
            padding = ["dyn(null)"] * entry.position
            value = f"[{', '.join([*padding, f'dyn({value})' if padding else value])}]"
        else:
            value = f"{{{entry.pointer if not entry.pointer.startswith(chr(39)) else _key_of(entry)}: {value}}}"
    return value


def _key_of(entry: _Step) -> str:
    text = entry.pointer[1:-1].replace("~1", "/").replace("~0", "~")
    return literal(text.replace("\\'", "'"))
