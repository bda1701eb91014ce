"""A compiled pattern."""

from __future__ import annotations

from typing import Any, NamedTuple

from policylang.code import Code, Compiled
from policylang.go.wildcards import wildcard
from policylang.kpattern.anchors import NEGATION, anchor, checked, wild_tags
from policylang.kpattern.compiler import Compiler
from policylang.kpattern.failures import Failure, skips_rule

_MOST = 256  # expansions of wildcard keys that one pattern keeps


class Mismatch(NamedTuple):
    """Why a resource does not match; `path` is "" where Kyverno calls it an error of the rule."""

    message: str
    path: str
    skip: bool


class Matcher:
    """Call it with a resource: None where it matches. Raises InvalidError for what could never be evaluated."""

    __slots__ = ("_check", "_expanded", "_explain", "pattern", "where")

    def __init__(self, pattern: Any, where: str = "pattern") -> None:
        checked(pattern, where)
        self.pattern, self.where = pattern, where
        self._expanded: dict[tuple[Any, ...], Compiled] = {}
        self._check = self._compiled(pattern, explain=False)
        self._explain: Compiled | None = None

    def __call__(self, resource: Any) -> Mismatch | None:
        if self._check(resource) is None:
            return None
        if self._explain is None:
            self._explain = self._compiled(self.pattern, explain=True)
        seen: dict[str, bool] = {}
        failure: Failure = self._explain(resource, "/", seen)
        if skips_rule(failure):
            return Mismatch(failure.message, "", True)
        missing = any(not here and anchor(key)[0] != NEGATION for key, here in seen.items())
        return Mismatch(failure.message, "" if missing and failure.kind != "negation" else failure.path, False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Matcher, (self.pattern, self.where)

    def _compiled(self, pattern: Any, *, explain: bool, expanded: bool = False) -> Compiled:
        code = Code("pattern")
        compiler = Compiler(code, self._expand_why if explain else self._expand, explain=explain)
        compiler.function("check", pattern, expanded=expanded)
        check: Compiled = code.build()["check"]
        return check

    def _expand(self, pattern: dict[str, Any], value: dict[str, Any]) -> Compiled:
        return self._of(pattern, value, explain=False)

    def _expand_why(self, pattern: dict[str, Any], value: dict[str, Any]) -> Compiled:
        return self._of(pattern, value, explain=True)

    def _of(self, pattern: dict[str, Any], value: dict[str, Any], *, explain: bool) -> Compiled:
        """The function for a map whose `metadata` has labels or annotations with wildcards as keys.

        A key becomes the first one of the resource that fits it; values that are no text are then left out.
        """
        given = value.get("metadata")
        wild = wild_tags(pattern)
        names: list[tuple[str, tuple[str, ...] | None]] = []
        if wild is not None and isinstance(given, dict):
            for tag in wild[1]:
                labels = given.get(anchor(tag)[1])
                names.append((tag, tuple(_expand(name, labels) for name, text in pattern[wild[0]][tag].items()
                                         if isinstance(text, str)) if isinstance(labels, dict) else None))
        key = (id(pattern), explain, *names)
        check = self._expanded.get(key)
        if check is None:
            if wild is not None and names:
                metadata = dict(pattern[wild[0]])
                for tag, expanded in names:
                    if expanded is not None:
                        texts = [text for text in metadata[tag].values() if isinstance(text, str)]
                        metadata[tag] = dict(zip(expanded, texts, strict=True))
                pattern = {**pattern, wild[0]: metadata}
            check = self._compiled(pattern, explain=explain, expanded=True)
            if len(self._expanded) >= _MOST:
                self._expanded.clear()
            self._expanded[key] = check
        return check


def _expand(name: str, labels: dict[str, Any]) -> str:
    if "*" not in name and "?" not in name:
        return name
    kind, bare = anchor(name)
    matches = wildcard(bare)
    label = next((key for key in sorted(labels) if isinstance(labels[key], str) and matches(key)), bare)
    return label if kind is None else f"{kind}({label})"
