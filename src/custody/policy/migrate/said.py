"""A value as an expression of CEL, with what is known of its type, and what such an expression may speak of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from custody.errors import UnsupportedError
from custody.policy.migrate.expressions import is_unit
from policylang.cel.syntax.lexer import LONGEST


class Said(NamedTuple):
    """A CEL expression of a value."""

    text: str
    type: str = ""
    """list, map, bool, int, number, text, timestamp or duration, where it is known."""
    plain: bool = False
    """Whether it is a text without wildcards."""
    sure: bool = False
    """Whether it is a word, and neither a quantity nor a duration."""
    over: tuple[tuple[str, str], ...] = ()
    """Of a list that is made of one list for each element: those, and the names of their elements."""
    elements: str = ""
    """Of a list: the type of what it has."""
    maybe: str = ""
    """Of a list that is empty where there is none: whether there is one."""
    spare: str = ""
    """Of a list that something else stands for where it is empty: the list."""

    def holds(self, word: str, name: str, test: str) -> str:
        """Of a list: `all` or `exists`."""
        text = f"{self.unit}.{word}({name}, {test})"
        for of, element in reversed(self.over):
            text = f"{of}.{word}({element}, {text})"
        return text

    @property
    def size(self) -> str:
        text = f"size({self.text})"
        for of, element in reversed(self.over):
            text = f"{of}.map({element}, {text}).sum()"
        return text

    @property
    def single(self) -> Said:
        """With all lists in one."""
        text = self.text
        for of, element in reversed(self.over):
            text = f"{of}.map({element}, {text}).flatten()"
        return self._replace(text=text, over=())

    @property
    def unit(self) -> str:
        return self.text if is_unit(self.text) else f"({self.text})"


class Names(NamedTuple):
    """What an expression may speak of."""

    object: str = "object"
    old: str = "oldObject"
    certain: tuple[str, ...] = ("metadata", "kind", "apiVersion")
    beside: Mapping[str, str] = {}
    """Elements of lists and entries of the context, by their names."""
    operation: str = "request.operation"
    typed: bool = True
    """Whether the objects are of kinds whose values have their types, as the API server decodes them."""
    forms: Mapping[str, str] = {}
    """What stands behind names of `beside`, by their text: configMap, apiCall and the like."""
    whole: Mapping[str, Said] = {}
    """What is known of entries of the context, by their names."""
    pasted: list[str] | None = None
    """What stands in literals of expressions, in their place: of all names that came of the same ones."""
    home: str = ""
    """The namespace of a policy that has one."""
    pods: str = "spec"
    """Where the pod is in the object, for `images`; empty where there is none."""


def bounded(text: str, where: str) -> str:
    """The expression. Entries of a context that speak of each other double it with each: no more is made than CEL
    reads. Raises UnsupportedError.
    """
    if len(text) > LONGEST:
        raise UnsupportedError(where, f"in CEL it has {len(text)} characters or more, and an expression at most "
                               f"{LONGEST}")
    return text


def element_names(names: Names, /, **beside: str) -> Names:
    return names._replace(beside={**names.beside, **beside})


__all__ = ["Names", "Said", "bounded", "element_names"]
