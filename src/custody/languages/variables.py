"""`{{ expressions }}` in a policy's texts, compiled when the policy is loaded (Kyverno's variables).

A text that is one expression takes the expression's value and type; elsewhere values are written into the text. What an
expression yields is never read as an expression again, and an expression inside another one's quotes, as in
`{{ time_since('', '{{ metadata.scanFinishedOn }}', '') }}`, is a value there and cannot end the quotes. Kyverno
substitutes text in both cases, which lets the data that is judged write into the policy.
"""

# ruff: noqa: ARG005 - all compiled functions have one signature
from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from custody.errors import CustodyError, UnsupportedError
from custody.languages.go.printing import marshal
from custody.languages.jmespath import Env, Query, QueryError, compile_tree, parse

_VARIABLE = re.compile(r"(?<!\\)\{\{((?:\{[^{}]*\}|[^{}])*)\}\}")
_REFERENCE = re.compile(r"(?:^|[^\\])\$\(.[^ ]*\)")
_HOLE = re.compile("\ue000(\\d+)\ue001")

Value = Callable[[Any, datetime], Any]


class Roots:
    """What expressions may begin with: names of the context, and below `request` the fields that are there."""

    def __init__(self, names: Collection[str] | None, request: Collection[str]) -> None:
        self.names = names
        self.request = request


def has_variables(document: Any) -> bool:
    if isinstance(document, dict):
        return any(has_variables(key) or has_variables(value) for key, value in document.items())
    if isinstance(document, list):
        return any(map(has_variables, document))
    return isinstance(document, str) and _VARIABLE.search(document) is not None


def compile_value(document: Any, where: str, roots: Roots) -> Value | None:
    """A function that fills in a document's variables, or None where there are none and the document stands as it is.

    Raises MalformedError, UnsupportedError with the path of the text.
    """
    if isinstance(document, dict):
        for key in document:
            if has_variables(key):
                raise UnsupportedError(f"{where}.{key}", "a variable in a key is not evaluated by custody yet")
        parts = {key: compile_value(value, f"{where}.{key}", roots) for key, value in document.items()}
        if all(part is None for part in parts.values()):
            return None
        return lambda data, now: {key: part(data, now) if part else document[key] for key, part in parts.items()}
    if isinstance(document, list):
        each = [compile_value(value, f"{where}[{at}]", roots) for at, value in enumerate(document)]
        if all(part is None for part in each):
            return None
        pairs = list(zip(each, document, strict=True))
        return lambda data, now: [part(data, now) if part else value for part, value in pairs]
    return _text(document, where, roots) if isinstance(document, str) else None


def _text(text: str, where: str, roots: Roots) -> Value | None:
    if _REFERENCE.search(text):
        raise UnsupportedError(where, "a relative reference $(…) is not evaluated by custody yet")
    if "\ue000" in text or "\ue001" in text:
        raise UnsupportedError(where, "the private-use characters U+E000 and U+E001 are not accepted in policies")
    queries: list[Query] = []

    def fill(pattern: str) -> Value | None:
        """The text around holes, as a function; None without holes."""
        pieces = _HOLE.split(pattern)
        if len(pieces) == 1:
            return None
        literals, holes = pieces[::2], [queries[int(number)] for number in pieces[1::2]]

        def value(data: Any, now: datetime) -> str:
            out = [literals[0]]
            for query, literal in zip(holes, literals[1:], strict=True):
                got = query(data, Env(now, data))
                out += [got if isinstance(got, str) else marshal(got), literal]
            return "".join(out)

        return value

    # Innermost first, as Kyverno does; each leaves a numbered hole behind.
    while (found := _VARIABLE.search(text)) is not None:
        queries.append(_query(found[1], where, roots, fill))
        text = f"{text[:found.start()]}\ue000{len(queries) - 1}\ue001{text[found.end():]}"
    if whole := _HOLE.fullmatch(text):
        return _value(queries[int(whole[1])])
    text = text.replace("\\{{", "{{")
    return fill(text) if queries else None if "{{" not in text else (lambda data, now: text)


def _query(expression: str, where: str, roots: Roots, fill: Callable[[str], Value | None]) -> Query:
    expression = expression.strip().removeprefix("-").strip()
    if expression.startswith("@"):
        raise UnsupportedError(where, "{{@}} is not evaluated by custody yet")
    outside = re.sub(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", "", expression)
    if _HOLE.search(outside):
        raise UnsupportedError(where, "a variable inside another one's expression, outside quotes, is not evaluated "
                                      "by custody yet", hint="put it in quotes: labels.\"{{ name }}\"")
    tree = parse(expression, where)
    for chain in _chains(tree):
        if roots.names is not None and chain[0] not in roots.names:
            raise UnsupportedError(where, f"variable {chain[0]!r} is not evaluated by custody yet",
                                   hint="these are: " + ", ".join(sorted(roots.names)))
        if chain[0] == "request" and len(chain) > 1 and chain[1] not in roots.request:
            raise UnsupportedError(where, f"variable request.{chain[1]} is not evaluated by custody yet",
                                   hint="these are: " + ", ".join(f"request.{name}" for name in sorted(roots.request)))

    def at_root(text: str) -> Query | None:
        inner = fill(text)
        return inner and (lambda data, env: inner(env.root, env.now))

    query = compile_tree(tree, where, at_root)

    def run(data: Any, env: Env) -> Any:
        try:
            return query(data, env)
        except CustodyError as error:
            raise QueryError(f"failed to resolve {expression}: {error.message}") from None

    return run


def _value(query: Query) -> Value:
    return lambda data, now: query(data, Env(now, data))


def _chains(tree: dict[str, Any]) -> list[list[str]]:
    """The first one or two names of every path that starts at the context's root."""
    kind, children = tree["type"], tree["children"]
    if kind == "field":
        return [[tree["value"]]]
    if kind in ("subexpression", "index_expression"):
        names = [child["value"] for child in children[:2] if child["type"] == "field"]
        return [names[:2]] if children[0]["type"] == "field" else _chains(children[0])
    if kind in ("projection", "value_projection", "filter_projection", "flatten", "pipe"):
        return _chains(children[0])
    return [chain for child in children if isinstance(child, dict) for chain in _chains(child)]
