"""`patchesJson6902` as JSON Patches in CEL: what Kyverno makes on the way of `add`, and that it forgives `remove`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kyverno.mutate import jsonpatches
from custody.policy.kyverno.mutate.nodes import PatchError
from custody.policy.migrate.expressions import TRUE, member, negation
from custody.policy.migrate.operations import Loop, Operation, index, plain, pointer, step
from custody.policy.migrate.queries import Names, query, text_of
from custody.policy.migrate.strategic import OBJECT
from custody.policy.migrate.values import Quoted, written

_VARIABLE = re.compile(r"\{\{((?:\{[^{}]*\}|[^{}])*)\}\}")
_NUMBER = 700_000_000  # where a variable stands, while the text is read: a number without quotes, a text within
_INDEX = re.compile(r"elementIndex[0-9]*")
_PLACE = re.compile(r"7000[0-9]{5}")


class _Step(NamedTuple):
    """One step of a path."""

    pointer: str
    """CEL of a text."""
    soft: str
    """CEL of what is there, as an optional value."""
    there: str
    """That all the way to it is there."""
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
        steps = _Patches(variables, f"{where}[{at}]", names, loops).of(operation)
        # What is made on the way is made once, before anything is put into it for each element.
        ways = steps[:-1] if loops and operation["op"] == "add" else []
        made += [ways, steps[len(ways):]] if ways else [steps]
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
            return [self._made("remove", steps, guard=steps[-1].there)]
        if op in ("move", "copy"):
            source = self._path(operation["from"])
            return [self._made(op, steps, source=pointer(entry.pointer for entry in source))]
        value = self._value(operation["value"], f"{self._where}.value")
        if op == "replace":
            # What is not there is an error, which to the API server's library only the removal of it is.
            return [self._made("remove", steps), self._made("add", steps, value)]
        return self._add(steps, value)

    def _add(self, steps: list[_Step], value: str) -> list[Operation]:
        """What is missing on the way is made first."""
        made = []
        for at, (entry, following) in enumerate(pairwise(steps)):
            if entry.there != TRUE:
                empty = "{}" if following.position is None else f"[{', '.join(['null'] * following.position)}]"
                made.append(self._made("add", steps[:at + 1], empty, guard=negation(entry.there)))
        return [*made, self._made("add", steps, value)]

    def _made(self, op: str, steps: Sequence[_Step], value: str = "", *, source: str = "",
              guard: str = TRUE) -> Operation:
        return Operation(op, pointer(entry.pointer for entry in steps), value, source, guard, self._loops)

    def _path(self, text: str) -> list[_Step]:
        root, made = OBJECT, list[_Step]()
        soft, strict = root, root
        for part in text.split("/")[1:]:
            position: int | None = None
            if _PLACE.search(part) and (at := self._index(part)) is not None:
                if self._loops and strict == plain(self._loops[-1].of) and at == self._loops[-1].at:
                    made = [entry._replace(there=TRUE) for entry in made]
                    soft = strict = f"{strict}[{at}]"
                    made.append(_Step(index(at), soft, TRUE, None))
                    continue
                pointed, soft, strict = index(at), f"{soft}[?{at}]", f"{strict}[{at}]"
            elif _PLACE.search(part):
                pointed, key = self._numbered(part)
                soft, strict = f"{soft}[?{key}]", f"{strict}[{key}]"
            elif part == "-":
                pointed, position = step("-"), 0
            elif part.startswith("-"):
                raise UnsupportedError(f"{self._where}.path", "a negative index")
            elif re.fullmatch(r"[0-9]{1,6}", part):
                position, pointed = int(part), step(part)
                soft, strict = f"{soft}[?{part}]", f"{strict}[{part}]"
            else:
                key = part.replace("~1", "/").replace("~0", "~")
                pointed, strict = step(key), member(strict, key)
                certain = strict.removeprefix(f"{root}.") in self._names.certain
                soft = strict if certain else member(soft, key, optional=True)
            there = TRUE if soft == strict else f"{soft}.hasValue()"
            made.append(_Step(pointed, soft, there, position))
        return made

    def _index(self, text: str) -> str | None:
        """The index of an element that a step is; None where it is another text."""
        match = _VARIABLE.fullmatch(self._filled(text))
        if match is None or not _INDEX.fullmatch(match[1].strip()):
            return None
        return query(match[1].strip(), f"{self._where}.path", self._names).text

    def _numbered(self, text: str) -> tuple[str, str]:
        """(step, key) of a text with indices in it."""
        filled = self._filled(text)
        if not all(_INDEX.fullmatch(name.strip()) for name in _VARIABLE.findall(filled)):
            raise UnsupportedError(f"{self._where}.path",
                                   f"{filled}: a key that is computed may lead into another place")
        where = f"{self._where}.path"
        return (text_of(filled, where, self._names),
                text_of(filled.replace("~1", "/").replace("~0", "~"), where, self._names))

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
