"""The checks of a policy before it is compiled: rules by path, conflicts, safety, recursion, calls.

The classes of the errors are OPA's: rego_compile_error, rego_type_error, rego_unsafe_var_error, rego_recursion_error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from policylang.rego.check import recursion
from policylang.rego.check.resolve import ROOTS, Resolver, compile_error, module_names, type_error
from policylang.rego.check.ruletree import Document, Path, Place, gather, plant
from policylang.rego.check.ruletypes import RuleTypes
from policylang.rego.check.safety import Arity, Unsafe, check_head, order, vars_in
from policylang.rego.declare import Builtin
from policylang.rego.syntax.tree import Call, Expr, Module, Ref, Rule, Term, Var, constant, walk_rule
from policylang.rego.values import key
from policylang.source import Faults, Source, SourceError

_DEPRECATED = frozenset({"all", "any", "cast_array", "cast_boolean", "cast_null", "cast_object", "cast_set",
                         "cast_string", "net.cidr_overlap", "re_match", "set_diff"})  # not to be called in v1


class Changes(NamedTuple):
    """What is changed for more than one expression: the functions and the paths under `data` that some `with` replaces,
    and whether `print` tells in which order all is evaluated.
    """

    functions: frozenset[str]
    paths: tuple[Path, ...]
    printed: bool

    def with_those_of(self, parts: Iterable[Term | Expr], documents: Documents) -> Changes:
        """Those of some terms and expressions, too. `parts`: those inside are among them."""
        functions, paths, printed = set(self.functions), list(self.paths), self.printed
        for part in parts:
            if isinstance(part, Call) and part.operator == ["print"]:
                printed = True
            for target, _ in part.withs if isinstance(part, Expr) else ():
                assert isinstance(target, Ref)
                assert isinstance(target.head, Var)
                function = documents.replaced_function(target)
                if function is not None:
                    functions.add(function)
                elif target.head.name == "data":
                    paths.append(tuple(key(constant(name)) for name in target.path))
        return Changes(frozenset(functions), tuple(paths), printed)


class Documents(dict[Path, Document]):
    """The documents and functions of a policy by path, the tree that they stand in, and all that is in each clause."""

    def __init__(self, root: Place, documents: Mapping[Path, Document],
                 parts: Mapping[Rule, Sequence[Term | Expr]]) -> None:
        super().__init__(documents)
        self.root, self.parts = root, parts
        self.types: RuleTypes | None = None

    @cached_property
    def changes(self) -> Changes:
        """Of all clauses."""
        return Changes(frozenset(), (), False).with_those_of(
            (part for document in self.values() for rule in document.rules for clause in rule.chain()
             for part in self.parts[clause]), self)

    def function(self, operator: Sequence[str]) -> Document | None:
        """The document of the function `data.…`."""
        document = self.get(tuple(operator[1:]))
        return document if document is not None and document.kind == "function" else None

    def replaced_function(self, target: Ref) -> str | None:
        """The name of the function that a `with` replaces, or None where its target is a document."""
        assert isinstance(target.head, Var)
        root = target.head.name
        operator = [root, *(str(constant(part)) for part in target.path)]
        if root == "input" or (root == "data" and self.function(operator) is None):
            return None
        return ".".join(operator)

    def arity(self, builtins: Mapping[str, Builtin]) -> Arity:
        def arity(term: Call) -> int | None:
            if term.operator == ["print"]:
                return len(term.args)  # any number, and none of them is for its result
            if term.operator[0] == "data":
                document = self.function(term.operator)
                return document.arity if document is not None else None
            builtin = builtins.get(".".join(term.operator))
            return len(builtin.parameters) if builtin is not None else None
        return arity


def check(modules: list[Module], builtins: Mapping[str, Builtin], *, strict: bool = False,
          types: bool = True) -> Documents:
    """Resolve and check all modules, in place. `types`: what can never succeed is an error, as in OPA."""
    faults = Faults()
    names: dict[Path, dict[str, None]] = {}
    for module in modules:
        own = names.setdefault(tuple(module.package), {})
        for rule in module.rules:
            assert isinstance(rule.path[0], Var)
            own[rule.path[0].name] = None
    for at, module in enumerate(modules):
        resolver = Resolver(module.source, module_names(module, names[tuple(module.package)]), builtins,
                            strict=strict, version=module.version, prefix=f"{at}_")
        if strict or module.version:
            with faults:
                _check_imports(module)
        for rule in module.rules:
            with faults:
                resolver.rule(rule)
        faults.minor += resolver.unused
        if strict:
            with faults:
                _check_used(module, resolver)
    faults.stop()
    root = plant(modules)
    parts = {clause: list(walk_rule(clause)) for module in modules for rule in module.rules for clause in rule.chain()}
    for clause, inside in parts.items():
        with faults:
            check_withs(clause.module.source, inside, root, builtins)
    faults.stop()
    documents = Documents(root, gather(root, modules, faults), parts)
    arity = documents.arity(builtins)
    graph = recursion.edges((rule for document in documents.values() for rule in document.all), root)
    recursion.find_circles(documents, graph)
    for module in modules:
        with faults:
            _check_roots(module, strict)
    faults.stop()
    clauses = [alternative for document in documents.values() for rule in document.all
               for alternative in rule.chain()]
    for alternative in clauses:
        with faults:
            _check_rule(alternative, documents, builtins, arity, strict)
    faults.stop()
    recursion.check(graph, faults)
    faults.stop()
    if types:
        documents.types = RuleTypes(documents, root, builtins, graph)
        documents.types.check(faults)
    faults.finish()
    return documents


def _check_imports(module: Module) -> None:
    seen: set[str] = set()
    for imported in module.imports:
        name = ".".join(imported.path) if imported.path[0] in ("future", "rego") else imported.name
        if name in seen:
            raise compile_error(f"import must not shadow import {'.'.join(imported.path)}", module.source, imported.at)
        seen.add(name)


def _check_roots(module: Module, strict: bool) -> None:
    for rule in module.rules:
        assert isinstance(rule.path[0], Var)
        if rule.path[0].name in ROOTS and (strict or module.version):
            name = rule.path[0].name
            raise compile_error(f"rules must not shadow {name} (use a different rule name)", module.source, rule.at)


def _check_used(module: Module, resolver: Resolver) -> None:
    for imported in module.imports:
        if imported.path[0] not in ("future", "rego") and imported.name not in resolver.used:
            alias = f" as {imported.alias}" if imported.alias else ""
            raise compile_error(f"import {'.'.join(imported.path)}{alias} unused", module.source, imported.at)


# --- with

def check_withs(source: Source, parts: Iterable[Term | Expr], root: Place, builtins: Mapping[str, Builtin]) -> None:
    """Only documents of input and data and functions are replaced, and no part of what a rule makes."""
    for expr in parts:
        for target, _ in expr.withs if isinstance(expr, Expr) else ():
            assert isinstance(target, Ref)
            assert isinstance(target.head, Var)
            names = [constant(part) for part in target.path]
            if target.head.name == "data":
                place: Place | None = root
                for name in names[:-1]:
                    place = place.children.get(name) if place is not None else None
                    if place is not None and place.rules:
                        raise compile_error("with keyword cannot partially replace virtual document(s)", source,
                                            target.at)
            elif target.head.name != "input":
                _check_replaced(".".join([target.head.name, *map(str, names)]), source, target.at, builtins)


def _check_replaced(name: str, source: Source, at: int, builtins: Mapping[str, Builtin]) -> None:
    builtin = builtins.get(name)
    if builtin is None:
        raise type_error("with keyword target must reference existing input, data, or a function", source, at)
    problem = ""
    if name in ("eq", "rego.metadata.chain", "rego.metadata.rule"):
        problem = f'replacement of "{name}" invalid'
    elif name.startswith("internal."):
        problem = f'replacement of internal function "{name}" invalid'
    elif builtin.relation:
        problem = "target must not be a relation"
    elif name == "print":
        problem = "target must not be a void function"
    if problem:
        raise compile_error(f"with keyword replacing built-in function: {problem}", source, at)


# --- one rule

def _check_rule(rule: Rule, documents: Documents, builtins: Mapping[str, Builtin], arity: Arity,
                strict: bool) -> None:
    source = rule.module.source
    bound = {var.name for argument in rule.args for var in vars_in(argument)}
    parts = documents.parts[rule]
    check_calls(source, parts, documents, builtins)
    if rule.module.version or strict:
        for term in parts:
            if isinstance(term, Call) and ".".join(term.operator) in _DEPRECATED:
                raise type_error(f"deprecated built-in function calls in expression: {'.'.join(term.operator)}",
                                 source, term.at)
    try:
        rule.body, have = order(rule.body, bound, arity)
        for term in (*rule.path[1:], rule.value):
            have |= check_head(term, have, arity)
    except Unsafe as unsafe:
        raise unsafe_error(unsafe, source) from None


def unsafe_error(unsafe: Unsafe, source: Source) -> SourceError:
    name, at = unsafe.names[0] if unsafe.names else ("_", 0)
    shown = name.partition("#")[0]
    return SourceError(f"rego_unsafe_var_error: var {shown} is unsafe", source, at, kind="rego_unsafe_var_error")


def check_calls(source: Source, parts: Sequence[Term | Expr], documents: Documents,
                builtins: Mapping[str, Builtin]) -> None:
    """Every function that is called is there, and gets as many arguments as it takes. `parts`: those inside, too."""
    statements = {id(part.statement) for part in parts if isinstance(part, Expr) and isinstance(part.statement, Call)}
    arity = documents.arity(builtins)
    for term in parts:
        if not isinstance(term, Call) or term.operator == ["print"]:
            continue
        count = arity(term)
        name = ".".join(term.operator)
        if count is None:
            raise type_error(f"undefined function {name}", source, term.at)
        given = len(term.args)
        if given != count and not (given == count + 1 and id(term) in statements):
            raise type_error(f"{name}: arity mismatch: have {given} arguments, want {count}", source, term.at)
