"""`patchStrategicMerge` as an apply configuration: of maps, values, and elements of lists that have names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from custody.errors import UnsupportedError
from custody.formats.kubernetes import schema
from custody.policy.kyverno.mutate.anchors import anchored
from custody.policy.migrate.expressions import member
from custody.policy.migrate.queries import Names
from custody.policy.migrate.strategic import OBJECT
from custody.policy.migrate.values import written
from policylang.kpattern import anchor
from policylang.kpattern.anchors import CONDITION, GLOBAL
from policylang.variables import has_variables

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_WORDS = frozenset(("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
                    "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"))


def applied(patch: dict[str, Any], where: str, names: Names, kinds: Sequence[tuple[str, str]]) -> str | None:
    """The expression; None for what is not plain enough, or of kinds whose schema is not known.

    Conditions that stand in maps are the caller's (`strategic.merged`).
    """
    known = [schema.builtin().kind(*kind) for kind in kinds]
    if not known or any(kind is None for kind in known):
        return None
    try:
        return _Apply(names).map(patch, "Object", OBJECT, where)
    except (_LabouredError, UnsupportedError):
        return None


class _LabouredError(Exception):
    """What an apply configuration does not say, or not plainly."""


class _Apply:
    def __init__(self, names: Names) -> None:
        self._names = names

    def map(self, patch: dict[str, Any], of: str, value: str, where: str, name: str = "") -> str:
        """`of`: the type, as `Object.spec`; `value`: what is there; `name`: of an element."""
        plain = {key: part for key, part in patch.items() if anchor(key)[0] not in (CONDITION, GLOBAL)}
        if any(anchor(key)[0] is not None or has_variables(key) or key.startswith("$") for key in plain):
            raise _LabouredError
        if not all(_IDENTIFIER.match(key) and key not in _WORDS for key in plain):
            if name or any(isinstance(part, (dict, list)) or part is None for part in plain.values()):
                raise _LabouredError
            return written(plain, where, self._names)
        fields = [f"name: {name}"] if name else []
        for key, part in plain.items():
            path = f"{where}.{key}"
            if isinstance(part, dict):
                if (inner := self.inner(part, f"{of}.{key}", member(value, key), path)) is not None:
                    fields.append(f"{key}: {inner}")
            elif isinstance(part, list):
                fields.append(f"{key}: {self.list(part, f'{of}.{key}', member(value, key), path)}")
            elif part is None:
                raise _LabouredError
            else:
                fields.append(f"{key}: {written(part, path, self._names)}")
        if not fields:
            raise _LabouredError
        return f"{of}{{{', '.join(fields)}}}"

    def inner(self, patch: dict[str, Any], of: str, value: str, where: str) -> str | None:
        if patch and all(anchor(key)[0] in (CONDITION, GLOBAL) for key in patch):
            return None  # nothing but conditions
        return self.map(patch, of, value, where)

    def list(self, patch: list[Any], of: str, value: str, where: str) -> str:
        (part,) = patch if len(patch) == 1 else (None,)
        holder = value.removesuffix(".containers").removeprefix(f"{OBJECT}.")
        if not isinstance(part, dict) or not anchored(part) or holder not in self._names.certain:
            if all(isinstance(word, str) and not has_variables(word) for word in patch) and patch:
                return written(patch, where, self._names)
            raise _LabouredError
        if any(anchor(key)[0] == GLOBAL for key in part) or part.get("(name)") not in ("?*", "*"):
            raise _LabouredError
        if any(anchor(key)[0] is not None and key != "(name)" for key in part):
            raise _LabouredError
        rest = {key: inner for key, inner in part.items() if key != "(name)"}
        return f"{value}.map(element, {self.map(rest, of, 'element', where, 'element.name')})"


__all__ = ["applied"]
