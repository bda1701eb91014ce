"""What makes a GraphQL schema valid, and a query valid for one (specification of October 2021, sections 3 and 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.languages.rego.builtins.graphql_syntax import (
    BOOLEAN,
    ENUM,
    LIST,
    NULL,
    OBJECT,
    VARIABLE,
    Node,
    Parser,
    Token,
    wrong,
)
from custody.languages.rego.declare import BuiltinError

_PRELUDE = """
scalar Int scalar Float scalar String scalar Boolean scalar ID
directive @include(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
directive @skip(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
directive @deprecated(reason: String = "No longer supported")
  on FIELD_DEFINITION | ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION | ENUM_VALUE
directive @specifiedBy(url: String!) on SCALAR
directive @defer(if: Boolean = true, label: String) on FRAGMENT_SPREAD | INLINE_FRAGMENT
directive @oneOf on INPUT_OBJECT
type __Schema { description: String types: [__Type!]! queryType: __Type! mutationType: __Type
  subscriptionType: __Type directives: [__Directive!]! }
type __Type { kind: __TypeKind! name: String description: String fields(includeDeprecated: Boolean = false): [__Field!]
  interfaces: [__Type!] possibleTypes: [__Type!] enumValues(includeDeprecated: Boolean = false): [__EnumValue!]
  inputFields(includeDeprecated: Boolean = false): [__InputValue!] ofType: __Type specifiedByURL: String }
type __Field { name: String! description: String args(includeDeprecated: Boolean = false): [__InputValue!]!
  type: __Type! isDeprecated: Boolean! deprecationReason: String }
type __InputValue { name: String! description: String type: __Type! defaultValue: String }
type __EnumValue { name: String! description: String isDeprecated: Boolean! deprecationReason: String }
enum __TypeKind { SCALAR OBJECT INTERFACE UNION ENUM INPUT_OBJECT LIST NON_NULL }
type __Directive { name: String! description: String locations: [__DirectiveLocation!]! args: [__InputValue!]!
  isRepeatable: Boolean! }
enum __DirectiveLocation { QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD INLINE_FRAGMENT
  VARIABLE_DEFINITION SCHEMA SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM ENUM_VALUE
  INPUT_OBJECT INPUT_FIELD_DEFINITION }
"""
_COMPOSITE = frozenset({"OBJECT", "INTERFACE", "UNION"})
_INPUT = frozenset({"SCALAR", "ENUM", "INPUT_OBJECT"})
_PARTS = {"OBJECT": "Fields", "INTERFACE": "Fields", "INPUT_OBJECT": "Fields", "ENUM": "EnumValues", "UNION": "Types"}


def _name(kind: Node) -> str:
    while "Elem" in kind:
        kind = kind["Elem"]
    return str(kind["NamedType"])


def shown(kind: Node) -> str:
    inner = f"[{shown(kind['Elem'])}]" if "Elem" in kind else kind["NamedType"]
    return f"{inner}{'!' if kind.get('NonNull') else ''}"


class Schema:
    """A schema whose extensions are merged in. Raises BuiltinError for the first rule it breaks."""

    def __init__(self, document: Node, places: dict[int, Token]) -> None:
        self.places = places
        self.types: dict[str, Node] = {}
        self.directives: dict[str, Node] = {}
        prelude = Parser(_PRELUDE).schema().node
        own = {node["Name"] for node in document.get("Directives", [])}
        for part in (prelude, document):
            for node in part.get("Definitions", []):
                if node["Name"] in self.types:
                    raise self.wrong(f"Cannot redeclare type {node['Name']}.", node)
                self.types[node["Name"]] = dict(node)
            for node in part.get("Directives", []):
                if node["Name"] in self.directives and (part is document and not (
                        node["Name"] in own and self.directives[node["Name"]] in prelude["Directives"])):
                    raise self.wrong(f"Cannot redeclare directive {node['Name']}.", node)
                self.directives[node["Name"]] = node
        for node in document.get("Extensions", []):
            self._extend(node)
        self.roots = self._roots(document)
        self._check(set(prelude_names(prelude)))

    def wrong(self, message: str, node: Any) -> BuiltinError:
        return wrong(message, self.places.get(id(node)))

    def _extend(self, node: Node) -> None:
        base = self.types.get(node["Name"])
        if base is None:
            self.types[node["Name"]] = dict(node)
            return
        if base["Kind"] != node["Kind"]:
            raise self.wrong(f"Cannot extend type {node['Name']} because the base type is a {base['Kind']}, "
                             f"not {node['Kind']}.", node)
        for part in ("Directives", "Interfaces", "Fields", "Types", "EnumValues"):
            if part in node:
                base[part] = [*base.get(part, []), *node[part]]

    def _roots(self, document: Node) -> dict[str, str]:
        schemas = document.get("Schema", [])
        if len(schemas) > 1:
            raise self.wrong("Cannot have multiple schema entry points, consider schema extensions instead.",
                             schemas[1])
        roots: dict[str, str] = {}
        for node in [*schemas, *document.get("SchemaExtension", [])]:
            for each in node.get("OperationTypes", []):
                if each["Type"] not in self.types:
                    raise self.wrong(f"Schema root {each['Operation']} refers to a type {each['Type']} that does not "
                                     "exist.", each)
                roots[each["Operation"]] = each["Type"]
            self._check_directives(node, "SCHEMA")
        if not schemas:
            for operation, name in (("query", "Query"), ("mutation", "Mutation"), ("subscription", "Subscription")):
                if name in self.types:
                    roots.setdefault(operation, name)
        return roots

    # --- definitions

    def _check(self, known: set[str]) -> None:
        for node in self.directives.values():
            self._check_inputs(node)
        for name, node in self.types.items():
            if name not in known:
                self._check_type(node)

    def _check_name(self, node: Node) -> None:
        if node["Name"].startswith("__"):
            raise self.wrong(f'Name "{node["Name"]}" must not begin with "__", which is reserved by GraphQL '
                             "introspection.", node)

    def _check_type(self, node: Node) -> None:
        kind = node["Kind"]
        self._check_name(node)
        part = _PARTS.get(kind)
        if part and not node.get(part):
            what = {"Fields": "fields", "EnumValues": "unique enum values", "Types": "unique member types"}[part]
            raise self.wrong(f"{kind} {node['Name']}: must define one or more {what}.", node)
        self._check_directives(node, kind)
        seen: set[str] = set()
        for field in node.get("Fields", []):
            if field["Name"] in seen:
                raise self.wrong(f"Field {node['Name']}.{field['Name']} can only be defined once.", field)
            seen.add(field["Name"])
            self._check_field(field, kind)
        for value in node.get("EnumValues", []):
            if value["Name"] in ("true", "false", "null") or value["Name"] in seen:
                raise self.wrong(f"{kind} {node['Name']}: must not define {value['Name']}.", value)
            seen.add(value["Name"])
            self._check_directives(value, "ENUM_VALUE")
        for name in node.get("Types", []):
            if self._type(name, node)["Kind"] != "OBJECT":
                raise self.wrong(f"{kind} type {name} must be OBJECT.", node)
        self._check_interfaces(node)

    def _type(self, name: str, node: Node) -> Node:
        if name not in self.types:
            raise self.wrong(f"Undefined type {name}.", node)
        return self.types[name]

    def _check_field(self, field: Node, kind: str) -> None:
        self._check_name(field)
        found = self._type(_name(field["Type"]), field)["Kind"]
        if kind == "INPUT_OBJECT" and found not in _INPUT:
            raise self.wrong(f"Field {field['Name']}: type {shown(field['Type'])} is no input type.", field)
        if kind != "INPUT_OBJECT" and found == "INPUT_OBJECT":
            raise self.wrong(f"Field {field['Name']}: type {shown(field['Type'])} is no output type.", field)
        self._check_inputs(field)
        self._check_directives(field, "INPUT_FIELD_DEFINITION" if kind == "INPUT_OBJECT" else "FIELD_DEFINITION")

    def _check_inputs(self, node: Node) -> None:
        for argument in node.get("Arguments", []):
            self._check_name(argument)
            if self._type(_name(argument["Type"]), argument)["Kind"] not in _INPUT:
                raise self.wrong(f"Argument {argument['Name']}: type {shown(argument['Type'])} is no input type.",
                                 argument)
            self._check_directives(argument, "ARGUMENT_DEFINITION")

    def _check_directives(self, node: Node, location: str) -> None:
        for each in node.get("Directives", []):
            found = self.directives.get(each["Name"])
            if found is None:
                raise self.wrong(f"Undefined directive {each['Name']}.", each)
            if location not in found["Locations"]:
                raise self.wrong(f"Directive {each['Name']} is not applicable on {location}.", each)
            known = {argument["Name"]: argument for argument in found.get("Arguments", [])}
            given = {argument["Name"] for argument in each.get("Arguments", [])}
            for name in given - known.keys():
                raise self.wrong(f"Undefined argument {name} for directive {each['Name']}.", each)
            for name, argument in known.items():
                if argument["Type"].get("NonNull") and "DefaultValue" not in argument and name not in given:
                    raise self.wrong(f"Argument {name} for directive {each['Name']} cannot be null.", each)

    def _check_interfaces(self, node: Node) -> None:
        own = node.get("Interfaces", [])
        for name in own:
            found = self._type(name, node)
            if found["Kind"] != "INTERFACE":
                raise self.wrong(f'{name} is a non interface type {found["Kind"]}.', node)
            for above in found.get("Interfaces", []):
                if above not in own:
                    raise self.wrong(f"Type {node['Name']} must implement {above} because it is implemented by {name}.",
                                     node)
            fields = {field["Name"]: field for field in node.get("Fields", [])}
            for field in found.get("Fields", []):
                self._check_implements(node, name, field, fields.get(field["Name"]))

    def _check_implements(self, node: Node, name: str, wanted: Node, field: Node | None) -> None:
        title = f"For {node['Name']} to implement {name}"
        if field is None:
            raise self.wrong(f"{title} it must have a field called {wanted['Name']}.", node)
        if not self.covers(wanted["Type"], field["Type"]):
            raise self.wrong(f"{title} the field {field['Name']} must have type {shown(wanted['Type'])}.", node)
        arguments = {argument["Name"]: argument for argument in field.get("Arguments", [])}
        for argument in wanted.get("Arguments", []):
            other = arguments.pop(argument["Name"], None)
            if other is None or shown(other["Type"]) != shown(argument["Type"]):
                raise self.wrong(f"{title} the field {field['Name']} must have the same arguments but it is missing "
                                 f"{argument['Name']}.", node)
        for argument in arguments.values():
            if argument["Type"].get("NonNull") and "DefaultValue" not in argument:
                raise self.wrong(f"{title} any additional argument on {field['Name']} must be optional or have a "
                                 "default value.", node)

    def covers(self, wanted: Node, found: Node) -> bool:
        """Whether a field of type `found` may stand where `wanted` is promised."""
        if wanted.get("NonNull") and not found.get("NonNull"):
            return False
        if "Elem" in wanted or "Elem" in found:
            return "Elem" in wanted and "Elem" in found and self.covers(wanted["Elem"], found["Elem"])
        return wanted["NamedType"] == found["NamedType"] or found["NamedType"] in self.possible(wanted["NamedType"])

    def possible(self, name: str) -> set[str]:
        """The types that a composite type may turn out to be, and interfaces below it."""
        node = self.types.get(name, {})
        if node.get("Kind") == "UNION":
            return set(node.get("Types", []))
        if node.get("Kind") == "INTERFACE":
            return {each["Name"] for each in self.types.values() if name in each.get("Interfaces", [])}
        return {name}


def prelude_names(prelude: Node) -> Iterator[str]:
    for node in prelude["Definitions"]:
        yield node["Name"]


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
            each = todo.pop()
            if each["Name"] == node["Name"]:
                raise self.wrong(f'Cannot spread fragment "{node["Name"]}" within itself.', each)
            if each["Name"] in self.fragments and each["Name"] not in seen:
                seen.add(each["Name"])
                todo += _spreads(self.fragments[each["Name"]])

    def _composite(self, name: str, what: str, node: Node) -> None:
        found = self.schema.types.get(name)
        if found is None:
            raise self.wrong(f'Unknown type "{name}".', node)
        if found["Kind"] not in _COMPOSITE:
            raise self.wrong(f'{what} cannot condition on non composite type "{name}".', node)

    def _check_operation(self, node: Node) -> None:
        root = self.schema.roots.get(node["Operation"])
        if root is None:
            raise self.wrong(f"Schema does not support operation type \"{node['Operation']}\"", node)
        self.variables, self.seen_variables = {}, set()
        for each in node.get("VariableDefinitions", []):
            if each["Variable"] in self.variables:
                raise self.wrong(f'There can be only one variable named "${each["Variable"]}".', each)
            kind = self.schema.types.get(_name(each["Type"]))
            if kind is None:
                raise self.wrong(f'Unknown type "{_name(each["Type"])}".', each)
            if kind["Kind"] not in _INPUT:
                raise self.wrong(f'Variable "${each["Variable"]}" cannot be non-input type '
                                 f'"{shown(each["Type"])}".', each)
            self.variables[each["Variable"]] = each
            if "DefaultValue" in each:
                self._value(each["DefaultValue"], each["Type"], False)
        self._directives(node, node["Operation"].upper())
        self._selections(node.get("SelectionSet", []), root, set())
        if node["Operation"] == "subscription" and len(node.get("SelectionSet", [])) > 1:
            raise self.wrong(f'Subscription "{node["Name"]}" must select only one top level field.', node)
        for name, each in self.variables.items():
            if name not in self.seen_variables:
                where = f' in operation "{node["Name"]}"' if node["Name"] else ""
                raise self.wrong(f'Variable "${name}" is never used{where}.', each)

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

    def _overlap(self, parent: str, kind: str, what: str, node: Node) -> None:
        if not (self.schema.possible(parent) | {parent}) & (self.schema.possible(kind) | {kind}):
            raise self.wrong(f'{what} cannot be spread here as objects of type "{parent}" can never be of type '
                             f'"{kind}".', node)

    def _spread(self, node: Node, parent: str, inside: set[str]) -> None:
        self._directives(node, "FRAGMENT_SPREAD")
        found = self.fragments.get(node["Name"])
        if found is None:
            raise self.wrong(f'Unknown fragment "{node["Name"]}".', node)
        self.used.add(node["Name"])
        self._overlap(parent, found["TypeCondition"], f'Fragment "{node["Name"]}"', node)
        if node["Name"] not in inside:
            self._directives(found, "FRAGMENT_DEFINITION")
            self._selections(found.get("SelectionSet", []), found["TypeCondition"], inside | {node["Name"]})

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
        kind = self.schema.types[_name(field["Type"])]
        if kind["Kind"] in _COMPOSITE:
            if not node.get("SelectionSet"):
                raise self.wrong(f'Field "{name}" of type "{shown(field["Type"])}" must have a selection of subfields. '
                                 f'Did you mean "{name} {{ ... }}"?', node)
            self._selections(node["SelectionSet"], kind["Name"], inside)
        elif node.get("SelectionSet"):
            raise self.wrong(f'Field "{name}" must not have a selection since type "{shown(field["Type"])}" has no '
                             "subfields.", node)

    def _arguments(self, node: Node, definition: Node, what: str, of: str) -> None:
        known = {argument["Name"]: argument for argument in definition.get("Arguments", [])}
        given: set[str] = set()
        for each in node.get("Arguments", []):
            if each["Name"] in given:
                raise self.wrong(f'There can be only one argument named "{each["Name"]}".', each)
            given.add(each["Name"])
            argument = known.get(each["Name"])
            if argument is None:
                raise self.wrong(f'Unknown argument "{each["Name"]}" on {of}.', each)
            self._value(each["Value"], argument["Type"], "DefaultValue" in argument)
        for name, argument in known.items():
            if argument["Type"].get("NonNull") and "DefaultValue" not in argument and name not in given:
                raise self.wrong(f'{what} argument "{name}" of type "{shown(argument["Type"])}" is required, but it '
                                 "was not provided", node)

    def _directives(self, node: Node, location: str) -> None:
        seen: set[str] = set()
        for each in node.get("Directives", []):
            found = self.schema.directives.get(each["Name"])
            if found is None:
                raise self.wrong(f'Unknown directive "@{each["Name"]}".', each)
            if location not in found["Locations"]:
                raise self.wrong(f'Directive "@{each["Name"]}" may not be used on {location}.', each)
            if each["Name"] in seen and not found.get("IsRepeatable"):
                raise self.wrong(f'The directive "@{each["Name"]}" can only be used once at this location.', each)
            seen.add(each["Name"])
            self._arguments(each, found, f'Directive "@{each["Name"]}"', f'directive "@{each["Name"]}"')

    def _value(self, value: Node, kind: Node, has_default: bool) -> None:
        if value["Kind"] == VARIABLE:
            self._variable(value, kind, has_default)
            return
        if value["Kind"] == NULL:
            if kind.get("NonNull"):
                raise self.wrong(f'Expected value of type "{shown(kind)}", found null.', value)
            return
        if "Elem" in kind:
            for each in value.get("Children", []) if value["Kind"] == LIST else [{"Value": value}]:
                self._value(each["Value"], kind["Elem"], False)
            return
        found = self.schema.types[kind["NamedType"]]
        if found["Kind"] == "INPUT_OBJECT" and value["Kind"] == OBJECT:
            self._input(value, found)
        elif found["Kind"] == "ENUM":
            names = {each["Name"] for each in found.get("EnumValues", [])}
            if value["Kind"] != ENUM or value["Raw"] not in names:
                raise self.wrong(f'Value "{value["Raw"]}" does not exist in "{found["Name"]}" enum.', value)
        elif found["Kind"] != "SCALAR" or not _fits(value["Kind"], value["Raw"], found["Name"]):
            raise self.wrong(f'Expected value of type "{shown(kind)}", found {_raw(value)}.', value)

    def _input(self, value: Node, found: Node) -> None:
        fields = {field["Name"]: field for field in found.get("Fields", [])}
        given: set[str] = set()
        for each in value.get("Children", []):
            if each["Name"] in given:
                raise self.wrong(f'There can be only one input field named "{each["Name"]}".', each)
            given.add(each["Name"])
            field = fields.get(each["Name"])
            if field is None:
                raise self.wrong(f'Field "{each["Name"]}" is not defined by type "{found["Name"]}".', each)
            self._value(each["Value"], field["Type"], "DefaultValue" in field)
        for name, field in fields.items():
            if field["Type"].get("NonNull") and "DefaultValue" not in field and name not in given:
                raise self.wrong(f'Field "{found["Name"]}.{name}" of required type "{shown(field["Type"])}" was not '
                                 "provided.", value)

    def _variable(self, value: Node, kind: Node, has_default: bool) -> None:
        name = value["Raw"]
        variable = self.variables.get(name)
        if variable is None:
            raise self.wrong(f'Variable "${name}" is not defined.', value)
        self.seen_variables.add(name)
        given = variable["Type"]
        default = variable.get("DefaultValue", {"Kind": NULL})["Kind"] != NULL
        wanted = {**kind, "NonNull": False} if default or has_default else kind
        if not _allowed(wanted, given):
            raise self.wrong(f'Variable "${name}" of type "{shown(given)}" used in position expecting type '
                             f'"{shown(kind)}".', value)


def _allowed(wanted: Node, given: Node) -> bool:
    if wanted.get("NonNull") and not given.get("NonNull"):
        return False
    if "Elem" in wanted or "Elem" in given:
        return "Elem" in wanted and "Elem" in given and _allowed(wanted["Elem"], given["Elem"])
    return bool(wanted["NamedType"] == given["NamedType"])


def _fits(kind: int, raw: str, scalar: str) -> bool:
    match scalar:
        case "Int":
            return kind == 1 and re.fullmatch("-?[0-9]{1,10}", raw) is not None and -(1 << 31) <= int(raw) < 1 << 31
        case "Float":
            return kind in (1, 2)
        case "String":
            return kind in (3, 4)
        case "Boolean":
            return kind == BOOLEAN
        case "ID":
            return kind in (1, 3, 4)
    return True


def _raw(value: Node) -> str:
    return f'"{value["Raw"]}"' if value["Kind"] in (3, 4) else str(value["Raw"])


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(each) for each in node]
    return sorted((name, _plain(each)) for name, each in node.items()) if isinstance(node, dict) else node


def _spreads(node: Node) -> Iterator[Node]:
    todo = list(node.get("SelectionSet", []))
    while todo:
        each = todo.pop()
        if "Alias" not in each and "TypeCondition" not in each:
            yield each
        todo += each.get("SelectionSet", [])


_INTROSPECTION: dict[str, Node] = {
    "__schema": {"Name": "__schema", "Type": {"NamedType": "__Schema", "NonNull": True}},
    "__type": {"Name": "__type", "Type": {"NamedType": "__Type"},
               "Arguments": [{"Name": "name", "Type": {"NamedType": "String", "NonNull": True}}]}}
