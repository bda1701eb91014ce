"""GraphQL documents (specification of October 2021) as the JSON that OPA gives of them.

Nodes are dicts with the members that OPA names; those that are null or empty lists are left out, empty texts are kept.
`places` says where a node, by its id, begins in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.rego.declare import BuiltinError

Node = dict[str, Any]
_DEEPEST = 100
_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n,\ufeff]+|\#[^\r\n]*)|(?P<name>[_A-Za-z][_0-9A-Za-z]*)"""
    r"""|(?P<float>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))|(?P<int>-?(?:0|[1-9][0-9]*))"""
    r'''|(?P<block>"""(?:[^"\\]|\\"""|\\|"(?!""))*""")|(?P<string>"(?!"")(?:[^"\\\r\n]|\\.)*"|""(?!"))'''
    r"""|(?P<sign>\.\.\.|[!$&():=@\[\]{|}])""")
_BAD_ESCAPE = re.compile(r'"[^"\\]*+(?:\\(?:u[0-9a-fA-F]{4}|[ntrbf"\\/])[^"\\]*+)*\\(?!u[0-9a-fA-F]{4}|[ntrbf"\\/])')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_KINDS = {"int": 1, "float": 2, "string": 3, "block": 4}
VARIABLE, BOOLEAN, NULL, ENUM, LIST, OBJECT = 0, 5, 6, 7, 8, 9
LOCATIONS = frozenset({
    "QUERY", "MUTATION", "SUBSCRIPTION", "FIELD", "FRAGMENT_DEFINITION", "FRAGMENT_SPREAD", "INLINE_FRAGMENT",
    "VARIABLE_DEFINITION", "SCHEMA", "SCALAR", "OBJECT", "FIELD_DEFINITION", "ARGUMENT_DEFINITION", "INTERFACE",
    "UNION", "ENUM", "ENUM_VALUE", "INPUT_OBJECT", "INPUT_FIELD_DEFINITION"})


class Token(NamedTuple):
    kind: str
    text: str
    line: int
    column: int


class Document(NamedTuple):
    node: Node
    places: dict[int, Token]


def wrong(message: str, at: Token | None) -> BuiltinError:
    line, column = (at.line, at.column) if at is not None else (0, 0)
    return BuiltinError(f"{message} in GraphQL string at location {line}:{column}")


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at, line, start = 0, 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            broken = len(text) if text.startswith('"', at) else at
            breaks = list(re.finditer(r"\r\n|\r|\n", text[:broken]))
            line, start = len(breaks) + 1, (breaks[-1].end() if breaks else 0)
            tokens.append(Token("<Invalid>", "", line, broken - start + 1))
            return tokens
        kind, shown = match.lastgroup or "", match[0]
        if kind == "string" and (strange := _BAD_ESCAPE.match(shown)) is not None:
            tokens.append(Token("<Invalid>", "", line, at - start + strange.end() + 1))
            return tokens
        if kind != "skip":
            value = (_unescaped(shown[1:-1]) if kind == "string" else _block(shown[3:-3]) if kind == "block" else shown)
            # gqlparser counts a string from behind its quote
            tokens.append(Token(kind, value, line, at - start + 1 + (kind == "string") + 3 * (kind == "block")))
        for newline in re.finditer(r"\r\n|\r|\n", shown):
            line, start = line + 1, at + newline.end()
        at = match.end()
    tokens.append(Token("<EOF>", "", line, len(text) - start + 1))
    return tokens


def _unescaped(shown: str) -> str:
    def character(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if match[1] else _ESCAPES.get(match[2], match[2])
    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", character, shown) if "\\" in shown else shown


def _block(shown: str) -> str:
    """A block string's text: without common indentation and empty lines around it."""
    lines = re.split(r"\r\n|\r|\n", shown.replace('\\"""', '"""'))
    margins = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip(" \t")]  # gqlparser's first counts
    margin = min(margins, default=0)
    lines = [lines[0], *(line[margin:] for line in lines[1:])]
    while lines and not lines[0].strip(" \t"):
        lines.pop(0)
    while lines and not lines[-1].strip(" \t"):
        lines.pop()
    return "\n".join(lines)


class Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.places: dict[int, Token] = {}

    # --- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def unexpected(self) -> BuiltinError:
        return wrong(f"Unexpected {_named(self.token)}", self.token)

    def next(self) -> Token:
        token = self.tokens[self.at]
        if token.kind == "<Invalid>":
            raise self.unexpected()
        self.at += self.at < len(self.tokens) - 1
        return token

    def sign(self, text: str) -> bool:
        return self.token.kind == "sign" and self.token.text == text

    def take(self, text: str) -> bool:
        taken = self.sign(text)
        self.at += taken
        return taken

    def expect(self, text: str) -> Token:
        if not self.sign(text):
            raise wrong(f"Expected {text}, found {_shown(self.token)}", self.token)
        return self.next()

    def name(self) -> str:
        if self.token.kind != "name":
            raise wrong(f"Expected Name, found {_shown(self.token)}", self.token)
        return self.next().text

    def word(self, text: str) -> bool:
        return self.token.kind == "name" and self.token.text == text

    def placed(self, node: Node, at: Token) -> Node:
        kept = {name: value for name, value in node.items() if value is not None and value != []}
        self.places[id(kept)] = at
        return kept

    def many(self, opening: str, item: Callable[[], Any], closing: str, *, some: bool = False) -> list[Any]:
        """`( item* )`, or nothing where the opening sign is not there."""
        if not self.take(opening):
            return []
        self.depth += 1
        if self.depth > _DEEPEST:
            raise wrong("document nested too deeply", self.token)
        nodes: list[Any] = []
        while not self.sign(closing):
            if self.token.kind in ("<EOF>", "<Invalid>"):
                raise self.unexpected() if self.token.kind == "<Invalid>" else wrong(
                    f"Expected {closing}, found <EOF>" if not nodes else "Expected Name, found <EOF>", self.token)
            nodes.append(item())
        if some and not nodes:
            raise wrong(f"expected at least one definition, found {_shown(self.token)}", self.token)
        self.next()
        self.depth -= 1
        return nodes

    # --- what queries and schemas share

    def value(self, constant: bool) -> Node:
        at = self.token
        node: Node = {"ExpectedTypeHasDefault": False}
        if self.take("$"):
            if constant:
                raise wrong(f"Unexpected {_named(at)}", at)
            return self.placed({**node, "Kind": VARIABLE, "Raw": self.name()}, at)
        if self.sign("["):
            children = self.many("[", lambda: self._child("", constant), "]")
            return self.placed({**node, "Kind": LIST, "Raw": "", "Children": children}, at)
        if self.sign("{"):
            children = self.many("{", lambda: self._child(None, constant), "}")
            return self.placed({**node, "Kind": OBJECT, "Raw": "", "Children": children}, at)
        if at.kind == "name":
            kind = {"true": BOOLEAN, "false": BOOLEAN, "null": NULL}.get(at.text, ENUM)
        elif at.kind in _KINDS:
            kind = _KINDS[at.kind]
        else:
            raise self.unexpected()
        return self.placed({**node, "Kind": kind, "Raw": self.next().text}, at)

    def _child(self, name: str | None, constant: bool) -> Node:
        at = self.token
        if name is None:
            name = self.name()
            self.expect(":")
        return self.placed({"Name": name, "Value": self.value(constant)}, at)

    def type(self) -> Node:
        at = self.token
        node: Node
        if self.take("["):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise wrong("document nested too deeply", self.token)
            node = {"NamedType": "", "Elem": self.type()}
            self.depth -= 1
            self.expect("]")
        else:
            node = {"NamedType": self.name()}
        return self.placed({**node, "NonNull": self.take("!")}, at)

    def directives(self, constant: bool) -> list[Node]:
        nodes = []
        while self.sign("@"):
            at = self.next()
            nodes.append(self.placed({"Name": self.name(), "Arguments": self.arguments(constant), "Location": ""}, at))
        return nodes

    def arguments(self, constant: bool) -> list[Node]:
        return self.many("(", lambda: self._child(None, constant), ")", some=True)

    # --- queries

    def query(self) -> Document:
        operations: list[Node] = []
        fragments: list[Node] = []
        while self.token.kind != "<EOF>":
            if self.word("fragment"):
                fragments.append(self._fragment())
            else:
                operations.append(self._operation())
        return Document(self.placed({"Operations": operations, "Fragments": fragments}, self.token), self.places)

    def _operation(self) -> Node:
        at = self.token
        if self.sign("{"):
            return self.placed({"Operation": "query", "Name": "", "SelectionSet": self._selections()}, at)
        if at.kind != "name" or at.text not in ("query", "mutation", "subscription"):
            raise self.unexpected()
        kind = self.next().text
        name = self.name() if self.token.kind == "name" else ""
        variables = self.many("(", self._variable, ")", some=True)
        return self.placed({"Operation": kind, "Name": name, "VariableDefinitions": variables,
                            "Directives": self.directives(False), "SelectionSet": self._selections(required=True)}, at)

    def _variable(self) -> Node:
        at = self.expect("$")
        name = self.name()
        self.expect(":")
        kind = self.type()
        default = self.value(True) if self.take("=") else None
        return self.placed({"Variable": name, "Type": kind, "DefaultValue": default,
                            "Directives": self.directives(True), "Used": False}, at)

    def _selections(self, required: bool = False) -> list[Node]:
        if required and not self.sign("{"):
            raise wrong(f"Expected {{, found {_shown(self.token)}", self.token)
        return self.many("{", self._selection, "}", some=True)

    def _selection(self) -> Node:
        at = self.token
        if not self.take("..."):
            alias = name = self.name()
            if self.take(":"):
                name = self.name()
            return self.placed({"Alias": alias, "Name": name, "Arguments": self.arguments(False),
                                "Directives": self.directives(False), "SelectionSet": self._selections()}, at)
        if self.token.kind == "name" and not self.word("on"):
            return self.placed({"Name": self.name(), "Directives": self.directives(False)}, at)
        condition = ""
        if self.word("on"):
            self.next()
            condition = self.name()
        return self.placed({"TypeCondition": condition, "Directives": self.directives(False),
                            "SelectionSet": self._selections(required=True)}, at)

    def _fragment(self) -> Node:
        at = self.next()
        if self.word("on"):
            raise self.unexpected()
        name = self.name()
        if not self.word("on"):
            raise wrong(f'Expected "on", found {_shown(self.token)}', self.token)
        self.next()
        return self.placed({"Name": name, "TypeCondition": self.name(), "Directives": self.directives(False),
                            "SelectionSet": self._selections(required=True)}, at)

    # --- schemas

    def schema(self) -> Document:
        sections: dict[str, list[Node]] = {name: [] for name in (
            "Schema", "SchemaExtension", "Directives", "Definitions", "Extensions")}
        while self.token.kind != "<EOF>":
            described = self.token
            description = self._description()
            extension = self.word("extend")
            if extension:
                if described is not self.token:
                    raise wrong(f"Unexpected {_named(described)}", described)
                self.next()
            into, node = self._definition(description, extension)
            sections[into].append(node)
        return Document(self.placed(dict(sections), self.token), self.places)

    def _description(self) -> str:
        return self.next().text if self.token.kind in ("string", "block") else ""

    def _definition(self, description: str, extension: bool) -> tuple[str, Node]:
        at = self.token
        if at.kind != "name":
            raise self.unexpected()
        if at.text == "schema":
            self.next()
            node: Node = {"Description": description, "Directives": self.directives(True)}
            node["OperationTypes"] = self.many("{", self._root, "}", some=True)
            self._not_empty(extension, node, "Directives", "OperationTypes")
            return ("SchemaExtension" if extension else "Schema"), self.placed(node, at)
        if at.text == "directive" and not extension:
            return "Directives", self._directive(description)
        if at.text not in _DEFINITIONS:
            raise self.unexpected()
        self.next()
        kind = _DEFINITIONS[at.text]
        node = {"Kind": kind, "Description": description, "Name": self.name(), "BuiltIn": False}
        if kind in ("OBJECT", "INTERFACE"):
            node["Interfaces"] = self._interfaces()
        node["Directives"] = self.directives(True)
        if kind in ("OBJECT", "INTERFACE"):
            node["Fields"] = self.many("{", self._field, "}", some=True)
        elif kind == "INPUT_OBJECT":
            node["Fields"] = self.many("{", self._input, "}", some=True)
        elif kind == "ENUM":
            node["EnumValues"] = self.many("{", self._enum_value, "}", some=True)
        elif kind == "UNION":
            node["Types"] = self._union()
        self._not_empty(extension, node, "Interfaces", "Directives", "Fields", "EnumValues", "Types")
        return ("Extensions" if extension else "Definitions"), self.placed(node, at)

    def _not_empty(self, extension: bool, node: Node, *names: str) -> None:
        if extension and not any(node.get(name) for name in names):
            raise self.unexpected()

    def _root(self) -> Node:
        at = self.token
        operation = self.name()
        if operation not in ("query", "mutation", "subscription"):
            raise wrong(f"Unexpected {_named(at)}", at)
        self.expect(":")
        return self.placed({"Operation": operation, "Type": self.name()}, at)

    def _interfaces(self) -> list[str]:
        if not self.word("implements"):
            return []
        self.next()
        self.take("&")
        names = [self.name()]
        while self.take("&"):
            names.append(self.name())
        return names

    def _field(self) -> Node:
        description, at = self._description(), self.token
        name = self.name()
        arguments = self.many("(", self._input, ")", some=True)
        self.expect(":")
        return self.placed({"Description": description, "Name": name, "Arguments": arguments, "Type": self.type(),
                            "Directives": self.directives(True)}, at)

    def _input(self) -> Node:
        description, at = self._description(), self.token
        name = self.name()
        self.expect(":")
        kind = self.type()
        default = self.value(True) if self.take("=") else None
        return self.placed({"Description": description, "Name": name, "DefaultValue": default, "Type": kind,
                            "Directives": self.directives(True)}, at)

    def _enum_value(self) -> Node:
        description, at = self._description(), self.token
        return self.placed({"Description": description, "Name": self.name(), "Directives": self.directives(True)}, at)

    def _union(self) -> list[str]:
        if not self.take("="):
            return []
        self.take("|")
        names = [self.name()]
        while self.take("|"):
            names.append(self.name())
        return names

    def _directive(self, description: str) -> Node:
        at = self.next()
        self.expect("@")
        name = self.name()
        arguments = self.many("(", self._input, ")", some=True)
        repeatable = self.word("repeatable")
        if repeatable:
            self.next()
        if not self.word("on"):
            raise wrong(f'Expected "on", found {_shown(self.token)}', self.token)
        self.next()
        self.take("|")
        places = [self._location()]
        while self.take("|"):
            places.append(self._location())
        return self.placed({"Description": description, "Name": name, "Arguments": arguments, "Locations": places,
                            "IsRepeatable": repeatable}, at)

    def _location(self) -> str:
        at = self.token
        location = self.name()
        if location not in LOCATIONS:
            raise wrong(f"Unexpected {_named(at)}", at)
        return location


_DEFINITIONS = {"scalar": "SCALAR", "type": "OBJECT", "interface": "INTERFACE", "union": "UNION", "enum": "ENUM",
                "input": "INPUT_OBJECT"}
_SHOWN = {"name": "Name", "string": "String", "block": "BlockString", "int": "Int", "float": "Float"}


def _shown(token: Token) -> str:
    return token.text if token.kind == "sign" else _SHOWN.get(token.kind, token.kind)


def _named(token: Token) -> str:
    return f'{_SHOWN[token.kind]} "{token.text}"' if token.kind in _SHOWN else _shown(token)
