"""What makes a GraphQL query valid for a schema (specification of October 2021, section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from policylang.rego.builtins import graphql_syntax as syntax
from policylang.rego.builtins.graphql_schema import COMPOSITE, INPUT, Schema, named, shown
from policylang.rego.builtins.graphql_syntax import Node, Token, wrong
from policylang.rego.declare import BuiltinError


class Query:
    """Checks a query against a schema."""

    def __init__(self, schema: Schema, document: Node, places: dict[int, Token]) -> None:
        self.schema, self.places = schema, places
        self.document = document
        self.fragments: dict[str, Node] = {}
        self.used: set[str] = set()
        self.variables: dict[str, Node] = {}
        self.seen_variables: set[str] = set()

    def wrong(self, message: str, node: Any) -> BuiltinError:
        return wrong(message, self.places.get(id(node)))

    def check(self) -> None:
        for node in self.document.get("Fragments", []):
            if node["Name"] in self.fragments:
                raise self.wrong(f'There can be only one fragment named "{node["Name"]}".', node)
            self.fragments[node["Name"]] = node
        for node in self.fragments.values():
            self._check_fragment(node)
        names: set[str] = set()
        operations = self.document.get("Operations", [])
        for node in operations:
            if not node["Name"] and len(operations) > 1:
                raise self.wrong("This anonymous operation must be the only defined operation.", node)
            if node["Name"] in names:
                raise self.wrong(f'There can be only one operation named "{node["Name"]}".', node)
            names.add(node["Name"])
            self._check_operation(node)
        for name, node in self.fragments.items():
            if name not in self.used:
                raise self.wrong(f'Fragment "{name}" is never used.', node)

    def _check_fragment(self, node: Node) -> None:
        self._composite(node["TypeCondition"], f'Fragment "{node["Name"]}"', node)
        seen: set[str] = set()
        todo = list(_spreads(node))
        while todo:
            spread = todo.pop()
            if spread["Name"] == node["Name"]:
                raise self.wrong(f'Cannot spread fragment "{node["Name"]}" within itself.', spread)
            if spread["Name"] in self.fragments and spread["Name"] not in seen:
                seen.add(spread["Name"])
                todo += _spreads(self.fragments[spread["Name"]])

    def _composite(self, name: str, subject: str, node: Node) -> None:
        definition = self.schema.types.get(name)
        if definition is None:
            raise self.wrong(f'Unknown type "{name}".', node)
        if definition["Kind"] not in COMPOSITE:
            raise self.wrong(f'{subject} cannot condition on non composite type "{name}".', node)

    def _check_operation(self, node: Node) -> None:
        root = self.schema.roots.get(node["Operation"])
        if root is None:
            raise self.wrong(f"Schema does not support operation type \"{node['Operation']}\"", node)
        self.variables, self.seen_variables = {}, set()
        for definition in node.get("VariableDefinitions", []):
            if definition["Variable"] in self.variables:
                raise self.wrong(f'There can be only one variable named "${definition["Variable"]}".', definition)
            kind = self.schema.types.get(named(definition["Type"]))
            if kind is None:
                raise self.wrong(f'Unknown type "{named(definition["Type"])}".', definition)
            if kind["Kind"] not in INPUT:
                raise self.wrong(f'Variable "${definition["Variable"]}" cannot be non-input type '
                                 f'"{shown(definition["Type"])}".', definition)
            self.variables[definition["Variable"]] = definition
            if "DefaultValue" in definition:
                self._value(definition["DefaultValue"], definition["Type"], False)
        self._directives(node, node["Operation"].upper())
        self._selections(node.get("SelectionSet", []), root, set())
        if node["Operation"] == "subscription" and len(node.get("SelectionSet", [])) > 1:
            raise self.wrong(f'Subscription "{node["Name"]}" must select only one top level field.', node)
        for name, definition in self.variables.items():
            if name not in self.seen_variables:
                where = f' in operation "{node["Name"]}"' if node["Name"] else ""
                raise self.wrong(f'Variable "${name}" is never used{where}.', definition)

    def _selections(self, selections: list[Node], parent: str, inside: set[str]) -> None:
        answers: dict[str, tuple[str, str]] = {}
        for node in selections:
            if "Alias" in node:
                self._field(node, parent, inside)
                same = (node["Name"], repr(_plain(node.get("Arguments", []))))
                if answers.setdefault(node["Alias"], same) != same:
                    raise self.wrong(f'Fields "{node["Alias"]}" conflict because they have differing arguments or '
                                     "names. Use different aliases on the fields to fetch both if this was "
                                     "intentional.", node)
            elif "TypeCondition" in node:
                self._directives(node, "INLINE_FRAGMENT")
                kind = node["TypeCondition"] or parent
                self._composite(kind, "Fragment", node)
                self._overlap(parent, kind, "Fragment", node)
                self._selections(node.get("SelectionSet", []), kind, inside)
            else:
                self._spread(node, parent, inside)

    def _overlap(self, parent: str, kind: str, subject: str, node: Node) -> None:
        if not (self.schema.possible(parent) | {parent}) & (self.schema.possible(kind) | {kind}):
            raise self.wrong(f'{subject} cannot be spread here as objects of type "{parent}" can never be of type '
                             f'"{kind}".', node)

    def _spread(self, node: Node, parent: str, inside: set[str]) -> None:
        self._directives(node, "FRAGMENT_SPREAD")
        fragment = self.fragments.get(node["Name"])
        if fragment is None:
            raise self.wrong(f'Unknown fragment "{node["Name"]}".', node)
        self.used.add(node["Name"])
        self._overlap(parent, fragment["TypeCondition"], f'Fragment "{node["Name"]}"', node)
        if node["Name"] not in inside:
            self._directives(fragment, "FRAGMENT_DEFINITION")
            self._selections(fragment.get("SelectionSet", []), fragment["TypeCondition"], inside | {node["Name"]})

    def _field(self, node: Node, parent: str, inside: set[str]) -> None:
        self._directives(node, "FIELD")
        name = node["Name"]
        fields = {field["Name"]: field for field in self.schema.types[parent].get("Fields", [])}
        if name == "__typename":
            return
        if parent == self.schema.roots.get("query"):
            fields |= _INTROSPECTION
        field = fields.get(name)
        if field is None:
            raise self.wrong(f'Cannot query field "{name}" on type "{parent}".', node)
        self._arguments(node, field, f'Field "{name}"', f'field "{parent}.{name}"')
        kind = self.schema.types[named(field["Type"])]
        if kind["Kind"] in COMPOSITE:
            if not node.get("SelectionSet"):
                raise self.wrong(f'Field "{name}" of type "{shown(field["Type"])}" must have a selection of subfields. '
                                 f'Did you mean "{name} {{ ... }}"?', node)
            self._selections(node["SelectionSet"], kind["Name"], inside)
        elif node.get("SelectionSet"):
            raise self.wrong(f'Field "{name}" must not have a selection since type "{shown(field["Type"])}" has no '
                             "subfields.", node)

    def _arguments(self, node: Node, definition: Node, subject: str, of: str) -> None:
        known = {argument["Name"]: argument for argument in definition.get("Arguments", [])}
        given: set[str] = set()
        for passed in node.get("Arguments", []):
            if passed["Name"] in given:
                raise self.wrong(f'There can be only one argument named "{passed["Name"]}".', passed)
            given.add(passed["Name"])
            argument = known.get(passed["Name"])
            if argument is None:
                raise self.wrong(f'Unknown argument "{passed["Name"]}" on {of}.', passed)
            self._value(passed["Value"], argument["Type"], "DefaultValue" in argument)
        for name, argument in known.items():
            if argument["Type"].get("NonNull") and "DefaultValue" not in argument and name not in given:
                raise self.wrong(f'{subject} argument "{name}" of type "{shown(argument["Type"])}" is required, but it '
                                 "was not provided", node)

    def _directives(self, node: Node, location: str) -> None:
        seen: set[str] = set()
        for directive in node.get("Directives", []):
            definition = self.schema.directives.get(directive["Name"])
            if definition is None:
                raise self.wrong(f'Unknown directive "@{directive["Name"]}".', directive)
            if location not in definition["Locations"]:
                raise self.wrong(f'Directive "@{directive["Name"]}" may not be used on {location}.', directive)
            if directive["Name"] in seen and not definition.get("IsRepeatable"):
                raise self.wrong(f'The directive "@{directive["Name"]}" can only be used once at this location.',
                                 directive)
            seen.add(directive["Name"])
            self._arguments(directive, definition, f'Directive "@{directive["Name"]}"',
                            f'directive "@{directive["Name"]}"')

    def _value(self, value: Node, kind: Node, has_default: bool) -> None:
        if value["Kind"] == syntax.VARIABLE:
            self._variable(value, kind, has_default)
            return
        if value["Kind"] == syntax.NULL:
            if kind.get("NonNull"):
                raise self.wrong(f'Expected value of type "{shown(kind)}", found null.', value)
            return
        if "Elem" in kind:
            for child in value.get("Children", []) if value["Kind"] == syntax.LIST else [{"Value": value}]:
                self._value(child["Value"], kind["Elem"], False)
            return
        definition = self.schema.types[kind["NamedType"]]
        if definition["Kind"] == "INPUT_OBJECT" and value["Kind"] == syntax.OBJECT:
            self._input(value, definition)
        elif definition["Kind"] == "ENUM":
            names = {member["Name"] for member in definition.get("EnumValues", [])}
            if value["Kind"] != syntax.ENUM or value["Raw"] not in names:
                raise self.wrong(f'Value "{value["Raw"]}" does not exist in "{definition["Name"]}" enum.', value)
        elif definition["Kind"] != "SCALAR" or not _fits(value["Kind"], value["Raw"], definition["Name"]):
            raise self.wrong(f'Expected value of type "{shown(kind)}", found {_raw(value)}.', value)

    def _input(self, value: Node, kind: Node) -> None:
        fields = {field["Name"]: field for field in kind.get("Fields", [])}
        given: set[str] = set()
        for child in value.get("Children", []):
            if child["Name"] in given:
                raise self.wrong(f'There can be only one input field named "{child["Name"]}".', child)
            given.add(child["Name"])
            field = fields.get(child["Name"])
            if field is None:
                raise self.wrong(f'Field "{child["Name"]}" is not defined by type "{kind["Name"]}".', child)
            self._value(child["Value"], field["Type"], "DefaultValue" in field)
        for name, field in fields.items():
            if field["Type"].get("NonNull") and "DefaultValue" not in field and name not in given:
                raise self.wrong(f'Field "{kind["Name"]}.{name}" of required type "{shown(field["Type"])}" was not '
                                 "provided.", value)

    def _variable(self, value: Node, kind: Node, has_default: bool) -> None:
        name = value["Raw"]
        variable = self.variables.get(name)
        if variable is None:
            raise self.wrong(f'Variable "${name}" is not defined.', value)
        self.seen_variables.add(name)
        given = variable["Type"]
        default = variable.get("DefaultValue", {"Kind": syntax.NULL})["Kind"] != syntax.NULL
        expected = {**kind, "NonNull": False} if default or has_default else kind
        if not _allowed(expected, given):
            raise self.wrong(f'Variable "${name}" of type "{shown(given)}" used in position expecting type '
                             f'"{shown(kind)}".', value)


def _allowed(expected: Node, given: Node) -> bool:
    if expected.get("NonNull") and not given.get("NonNull"):
        return False
    if "Elem" in expected or "Elem" in given:
        return "Elem" in expected and "Elem" in given and _allowed(expected["Elem"], given["Elem"])
    return bool(expected["NamedType"] == given["NamedType"])


def _fits(kind: int, raw: str, scalar: str) -> bool:
    match scalar:
        case "Int":
            return kind == 1 and re.fullmatch("-?[0-9]{1,10}", raw) is not None and -(1 << 31) <= int(raw) < 1 << 31
        case "Float":
            return kind in (1, 2)
        case "String":
            return kind in (3, 4)
        case "Boolean":
            return kind == syntax.BOOLEAN
        case "ID":
            return kind in (1, 3, 4)
    return True


def _raw(value: Node) -> str:
    return f'"{value["Raw"]}"' if value["Kind"] in (3, 4) else str(value["Raw"])


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(member) for member in node]
    return sorted((name, _plain(member)) for name, member in node.items()) if isinstance(node, dict) else node


def _spreads(node: Node) -> Iterator[Node]:
    todo = list(node.get("SelectionSet", []))
    while todo:
        selection = todo.pop()
        if "Alias" not in selection and "TypeCondition" not in selection:
            yield selection
        todo += selection.get("SelectionSet", [])


_INTROSPECTION: dict[str, Node] = {
    "__schema": {"Name": "__schema", "Type": {"NamedType": "__Schema", "NonNull": True}},
    "__type": {"Name": "__type", "Type": {"NamedType": "__Type"},
               "Arguments": [{"Name": "name", "Type": {"NamedType": "String", "NonNull": True}}]}}
