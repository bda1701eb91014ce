"""XML as plain data: attributes as `-name`, elements of one name as a list, text as `#content` beside them."""

from __future__ import annotations

import unicodedata
from typing import Any
from xml.parsers import expat

from custody.errors import MalformedError
from custody.formats import xmltree

_DEEPEST = 128
_MOST = 100_000


def parse(data: bytes, where: str) -> Any:
    """As goxml2json has it: names without their prefixes, values as texts, of several texts of an element the last.

    Document types and entities are refused. Raises MalformedError.
    """
    parser = expat.ParserCreate()
    stack: list[_Element] = [_Element("")]
    count = 0
    parts: list[str] = []

    def flush(*_: object) -> None:
        if parts:
            stack[-1].text = _graphic("".join(parts))
            parts.clear()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        flush()
        count += 1 + len(attributes)
        if len(stack) > _DEEPEST or count > _MOST:
            raise MalformedError(where, got=f"XML of more than {_DEEPEST} levels or {_MOST} elements and attributes",
                                 expected="less of both")
        element = _Element(_local(name))
        for attribute, value in attributes.items():
            element.children.setdefault(f"-{_local(attribute)}", []).append(value)
        stack.append(element)

    def end(_name: str) -> None:
        flush()
        element = stack.pop()
        stack[-1].children.setdefault(element.name, []).append(element.value)

    parser.buffer_text = True
    parser.ordered_attributes = False
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = parts.append
    parser.CommentHandler = parser.ProcessingInstructionHandler = flush
    parser.StartCdataSectionHandler = parser.EndCdataSectionHandler = flush
    xmltree.read(parser, data, where)
    return stack[0].value


class _Element:
    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: dict[str, list[Any]] = {}

    @property
    def value(self) -> Any:
        if not self.children:
            return self.text
        members = {name: values[0] if len(values) == 1 else values for name, values in self.children.items()}
        return {"#content": self.text} | members if self.text else members


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _graphic(text: str) -> str:
    """From the first to the last letter, mark, number, sign or punctuation."""
    at = [index for index, letter in enumerate(text) if unicodedata.category(letter)[0] in "LMNPS"]
    return text[at[0]:at[-1] + 1] if at else ""
