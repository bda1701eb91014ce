"""XML of publishers, element by element: what is not asked for is never kept, and no entity is ever expanded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from custody.errors import MalformedError

_MAX_DEPTH = 64
_MAX_CHILDREN = 2_000_000
_MAX_TEXT = 1 << 20
_PIECE = 1 << 20


@dataclass(slots=True)
class Element:
    tag: str
    """Without its namespace."""
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> Iterator[Element]:
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element:
        """An empty one where there is none."""
        return next(self.all(tag), _NOTHING)

    def below(self, tag: str) -> Iterator[Element]:
        """At any depth, in their order."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.below(tag)


_NOTHING = Element("", {})


def elements(data: bytes, tags: Collection[str], where: str) -> Iterator[Element]:
    """Those of these tags with all that is in them, as they end. Raises MalformedError."""
    ended: list[Element] = []
    stack: list[Element] = []
    depth = count = size = 0
    parser = expat.ParserCreate(namespace_separator=" ")

    def refuse(*_: object) -> None:
        raise MalformedError(where, got="a document type", expected="XML without one")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count, size
        depth += 1
        tag = name.rpartition(" ")[2]
        if depth > _MAX_DEPTH:
            raise MalformedError(where, got="elements in elements", expected=f"at most {_MAX_DEPTH}")
        if stack or tag in tags:
            count += 1
            if count > _MAX_CHILDREN:
                raise MalformedError(f"{where}: {tag}", got="more elements", expected=f"at most {_MAX_CHILDREN}")
            element = Element(tag, {key.rpartition(" ")[2]: value for key, value in attributes.items()})
            if stack:
                stack[-1].children.append(element)
            else:
                count = size = 0
            stack.append(element)

    def said(text: str) -> None:
        nonlocal size
        if stack:
            size += len(text)
            if size > _MAX_TEXT:
                raise MalformedError(f"{where}: {stack[0].tag}", got="more text", expected=f"at most {_MAX_TEXT}")
            stack[-1].text += text

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1
        if stack:
            element = stack.pop()
            element.text = element.text.strip()
            if not stack:
                ended.append(element)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = said
    parser.buffer_text = True
    try:
        for place in range(0, len(data), _PIECE):
            parser.Parse(data[place:place + _PIECE], False)
            yield from ended
            ended.clear()
        parser.Parse(b"", True)
        yield from ended
    except (expat.ExpatError, LookupError, UnicodeError, ValueError) as error:
        raise MalformedError(where, got=str(error), expected="XML") from None
