"""XML as a tree of elements: no document types, no entities, bounded depth and number (CWE-776, CWE-611)."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from custody.errors import MalformedError

_DEEPEST = 128
_MOST = 4_000_000


@dataclass(slots=True)
class Element:
    name: str
    """Without its namespace."""
    namespace: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""
    """Of the element itself, stripped."""

    def child(self, name: str) -> Element | None:
        return next((child for child in self.children if child.name == name), None)

    def value(self, name: str) -> str:
        """The text of the first child of that name; empty where there is none."""
        child = self.child(name)
        return "" if child is None else child.text


def parse(data: bytes, where: str) -> Element:
    """Raises MalformedError; for a document type, before anything in it is looked at."""
    parser = expat.ParserCreate(namespace_separator=" ")
    stack: list[Element] = []
    roots: list[Element] = []
    texts: list[list[str]] = []
    names: dict[str, tuple[str, str]] = {}
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) >= _DEEPEST or count > _MOST:
            raise MalformedError(where, got=f"XML of more than {_DEEPEST} levels or {_MOST} elements",
                                 expected="less of both")
        known = names.get(name)
        if known is None:
            namespace, _, local = name.rpartition(" ")
            known = names[name] = local, namespace
        element = Element(*known, {key.rpartition(" ")[2]: value for key, value in attributes.items()}
                          if attributes else attributes)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)
        texts.append([])

    def end(_name: str) -> None:
        element, parts = stack.pop(), texts.pop()
        if parts:
            element.text = "".join(parts).strip()

    def characters(text: str) -> None:
        texts[-1].append(text)

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    read(parser, data, where)
    return roots[0]


def read(parser: expat.XMLParserType, data: bytes, where: str) -> None:
    """Raises MalformedError; for a document type or an entity, before anything in it is looked at."""
    def refused(*_declaration: object) -> int:
        raise MalformedError(where, got="a document type or an entity", expected="XML without declarations")

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refused
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise MalformedError(where, got=f"{expat.ErrorString(error.code)} at line {error.lineno}",
                             expected="one XML document") from None
    except (LookupError, ValueError, UnicodeError) as error:  # an encoding that nobody knows
        raise MalformedError(where, got=str(error)[:100], expected="one XML document") from None
