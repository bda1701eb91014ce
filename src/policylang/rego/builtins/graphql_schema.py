"""What makes a GraphQL schema valid (specification of October 2021, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policylang.rego.builtins.graphql_syntax import (
    Node,
    Parser,
    Token,
    wrong,
)
from policylang.rego.declare import BuiltinError

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
COMPOSITE = frozenset({"OBJECT", "INTERFACE", "UNION"})
INPUT = frozenset({"SCALAR", "ENUM", "INPUT_OBJECT"})
_PARTS = {"OBJECT": "Fields", "INTERFACE": "Fields", "INPUT_OBJECT": "Fields", "ENUM": "EnumValues", "UNION": "Types"}


def named(kind: Node) -> str:
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
            for declared in node.get("OperationTypes", []):
                if declared["Type"] not in self.types:
                    raise self.wrong(f"Schema root {declared['Operation']} refers to a type {declared['Type']} that "
                                     "does not exist.", declared)
                roots[declared["Operation"]] = declared["Type"]
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

    def _checknamed(self, node: Node) -> None:
        if node["Name"].startswith("__"):
            raise self.wrong(f'Name "{node["Name"]}" must not begin with "__", which is reserved by GraphQL '
                             "introspection.", node)

    def _check_type(self, node: Node) -> None:
        kind = node["Kind"]
        self._checknamed(node)
        part = _PARTS.get(kind)
        if part and not node.get(part):
            members = {"Fields": "fields", "EnumValues": "unique enum values", "Types": "unique member types"}[part]
            raise self.wrong(f"{kind} {node['Name']}: must define one or more {members}.", node)
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
        self._checknamed(field)
        field_kind = self._type(named(field["Type"]), field)["Kind"]
        if kind == "INPUT_OBJECT" and field_kind not in INPUT:
            raise self.wrong(f"Field {field['Name']}: type {shown(field['Type'])} is no input type.", field)
        if kind != "INPUT_OBJECT" and field_kind == "INPUT_OBJECT":
            raise self.wrong(f"Field {field['Name']}: type {shown(field['Type'])} is no output type.", field)
        self._check_inputs(field)
        self._check_directives(field, "INPUT_FIELD_DEFINITION" if kind == "INPUT_OBJECT" else "FIELD_DEFINITION")

    def _check_inputs(self, node: Node) -> None:
        for argument in node.get("Arguments", []):
            self._checknamed(argument)
            if self._type(named(argument["Type"]), argument)["Kind"] not in INPUT:
                raise self.wrong(f"Argument {argument['Name']}: type {shown(argument['Type'])} is no input type.",
                                 argument)
            self._check_directives(argument, "ARGUMENT_DEFINITION")

    def _check_directives(self, node: Node, location: str) -> None:
        for directive in node.get("Directives", []):
            definition = self.directives.get(directive["Name"])
            if definition is None:
                raise self.wrong(f"Undefined directive {directive['Name']}.", directive)
            if location not in definition["Locations"]:
                raise self.wrong(f"Directive {directive['Name']} is not applicable on {location}.", directive)
            known = {argument["Name"]: argument for argument in definition.get("Arguments", [])}
            given = {argument["Name"] for argument in directive.get("Arguments", [])}
            for name in given - known.keys():
                raise self.wrong(f"Undefined argument {name} for directive {directive['Name']}.", directive)
            for name, argument in known.items():
                if argument["Type"].get("NonNull") and "DefaultValue" not in argument and name not in given:
                    raise self.wrong(f"Argument {name} for directive {directive['Name']} cannot be null.", directive)

    def _check_interfaces(self, node: Node) -> None:
        own = node.get("Interfaces", [])
        for name in own:
            interface = self._type(name, node)
            if interface["Kind"] != "INTERFACE":
                raise self.wrong(f'{name} is a non interface type {interface["Kind"]}.', node)
            for above in interface.get("Interfaces", []):
                if above not in own:
                    raise self.wrong(f"Type {node['Name']} must implement {above} because it is implemented by {name}.",
                                     node)
            fields = {field["Name"]: field for field in node.get("Fields", [])}
            for field in interface.get("Fields", []):
                self._check_implements(node, name, field, fields.get(field["Name"]))

    def _check_implements(self, node: Node, name: str, promised: Node, field: Node | None) -> None:
        title = f"For {node['Name']} to implement {name}"
        if field is None:
            raise self.wrong(f"{title} it must have a field called {promised['Name']}.", node)
        if not self.covers(promised["Type"], field["Type"]):
            raise self.wrong(f"{title} the field {field['Name']} must have type {shown(promised['Type'])}.", node)
        arguments = {argument["Name"]: argument for argument in field.get("Arguments", [])}
        for argument in promised.get("Arguments", []):
            counterpart = arguments.pop(argument["Name"], None)
            if counterpart is None or shown(counterpart["Type"]) != shown(argument["Type"]):
                raise self.wrong(f"{title} the field {field['Name']} must have the same arguments but it is missing "
                                 f"{argument['Name']}.", node)
        for argument in arguments.values():
            if argument["Type"].get("NonNull") and "DefaultValue" not in argument:
                raise self.wrong(f"{title} any additional argument on {field['Name']} must be optional or have a "
                                 "default value.", node)

    def covers(self, promised: Node, given: Node) -> bool:
        """Whether a field of type `given` may stand where one of type `promised` is."""
        if promised.get("NonNull") and not given.get("NonNull"):
            return False
        if "Elem" in promised or "Elem" in given:
            return "Elem" in promised and "Elem" in given and self.covers(promised["Elem"], given["Elem"])
        return promised["NamedType"] == given["NamedType"] or given["NamedType"] in self.possible(promised["NamedType"])

    def possible(self, name: str) -> set[str]:
        """The types that a composite type may turn out to be, and interfaces below it."""
        node = self.types.get(name, {})
        if node.get("Kind") == "UNION":
            return set(node.get("Types", []))
        if node.get("Kind") == "INTERFACE":
            return {kind["Name"] for kind in self.types.values() if name in kind.get("Interfaces", [])}
        return {name}


def prelude_names(prelude: Node) -> Iterator[str]:
    for node in prelude["Definitions"]:
        yield node["Name"]
