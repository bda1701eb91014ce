"""Types, names and overloads as cel-go's checker decides them, written into the tree (langdef, "Type checking")."""

from __future__ import annotations

from collections.abc import Callable

from policylang.cel import types
from policylang.cel.check.substitution import Substitution
from policylang.cel.declarations import Declarations
from policylang.cel.syntax import tree
from policylang.cel.syntax.issues import CompileError, Issue
from policylang.cel.types import BOOL, DYN, ERROR, INT, Type, is_optional, list_of, map_of, optional_of
from policylang.cel.values.values import type_of
from policylang.source import Source

_CROSS = frozenset(f"{word}_{left}_{right}" for word in ("less", "less_equals", "greater", "greater_equals")
                   for left in ("int64", "uint64", "double") for right in ("int64", "uint64", "double")
                   if left != right)


class Checker:
    """One pass over one tree; `issues` are all that was wrong."""

    def __init__(self, declarations: Declarations, source: Source) -> None:
        self.declarations, self.source = declarations, source
        self.issues: list[Issue] = []
        self.unify = Substitution()
        self.scope: dict[str, Type] = {}

    def check(self, root: tree.Node) -> Type:
        """The type of the whole; CompileError with every issue where there is one."""
        try:
            self._visit(root)
        except RecursionError:
            raise CompileError.one(self.source, 0, "expression is too complex: nested too deeply") from None
        if self.issues:
            raise CompileError(self.source, sorted(self.issues, key=lambda issue: issue.offset))
        stack: list[tree.Node | None] = [root]
        while stack:
            node = stack.pop()
            if node is None:
                continue
            if node.type is not None:
                node.type = self.unify.apply(node.type, to_dyn=True)
            stack.extend(tree.children(node))
        assert root.type is not None
        return root.type

    def _issue(self, node: tree.Node, message: str) -> Type:
        self.issues.append(Issue(node.at, message))
        return ERROR

    def _visit(self, node: tree.Node) -> Type:
        node.type = of = _VISITS[type(node)](self, node)
        return of

    def _shown(self, of: Type) -> str:
        return str(self.unify.apply(of, to_dyn=True))

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ident(self, node: tree.Ident) -> Type:
        if (local := self.scope.get(node.name)) is not None:
            node.reference = tree.Reference(node.name)
            return local
        resolved = self.declarations.resolve(node.name)
        if resolved is None:
            return self._issue(node, f"undeclared reference to '{node.name.removeprefix('.')}' "
                                     f"(in container '{self.declarations.container}')")
        node.reference, of = resolved
        return of

    def _select(self, node: tree.Select) -> Type:
        if not node.test and (name := tree.qualified(node)) is not None and name.split(".", 1)[0] not in self.scope:
            resolved = self.declarations.resolve(name)
            if resolved is not None:
                node.reference, of = resolved
                return of
        of = self._field(node, self._visit(node.operand), node.field)
        return BOOL if node.test else of

    def _field(self, node: tree.Node, operand: Type, field: str) -> Type:
        operand = self.unify.apply(operand)
        if operand.kind == "param":
            self.unify.assignable(DYN, operand)
            return DYN
        if operand.is_dyn:
            return DYN
        if operand.kind == "map":
            return operand.params[1]
        if operand.kind == "message":
            of = self.declarations.field_type(operand.name, field)
            return of if of is not None else self._issue(node, f"undefined field '{field}'")
        if is_optional(operand):
            of = self._field(node, operand.params[0], field)
            return ERROR if of == ERROR else optional_of(of)
        return self._issue(node, f"type '{self._shown(operand)}' does not support field selection")

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, node: tree.Call) -> Type:
        if node.function == "_?._":
            operand = self.unify.apply(self._visit(node.args[0]))
            node.args[1].type = types.STRING
            node.overloads = ("select_optional_field",)
            name = node.args[1]
            assert isinstance(name, tree.Literal)
            of = self._field(node, operand.params[0] if is_optional(operand) else operand, name.value)
            return ERROR if of == ERROR else optional_of(of)
        if node.target is not None and (name_of := tree.qualified(node.target)) is not None \
                and name_of.split(".", 1)[0] not in self.scope:
            name_found = self.declarations.function_name(f"{name_of}.{node.function}")
            if name_found is not None:
                node.function, node.target = name_found, None
        elif node.target is None and (own := self.declarations.function_name(node.function)) is not None:
            node.function = own
        arguments = [self._visit(operand) for operand in node.operands]
        overloads = self.declarations.functions.get(node.function)
        if overloads is None:
            return self._issue(node, f"undeclared reference to '{node.function.removeprefix('.')}' "
                                     f"(in container '{self.declarations.container}')")
        if any(self.unify.apply(argument) == ERROR for argument in arguments):
            return ERROR if node.function not in ("_&&_", "_||_", "!_") else BOOL
        if node.function in ("_&&_", "_||_"):
            for part, given in zip(node.operands, arguments, strict=True):
                if not self.unify.assignable(BOOL, given):
                    self._issue(part, f"expected type 'bool' but found '{self._shown(given)}'")
            node.overloads = ("logical_and" if node.function == "_&&_" else "logical_or",)
            return BOOL
        return self._overload(node, arguments)

    def _overload(self, node: tree.Call, arguments: list[Type]) -> Type:
        result: Type | None = None
        ids: list[str] = []
        member = node.target is not None
        for overload in self.declarations.functions[node.function]:
            if overload.member != member or len(overload.params) != len(arguments) \
                    or (overload.id in _CROSS and not self.declarations.cross_type):
                continue
            params, of = self.unify.instance(overload.params, overload.result)
            if not self.unify.all_assignable(arguments, params):
                continue
            ids.append(overload.id)
            of = self.unify.apply(of)
            if result is None:
                result = of
            elif not result.is_dyn and result != of:
                result = DYN
        if result is None:
            return self._no_match(node, arguments)
        node.overloads = tuple(ids)
        return result

    def _no_match(self, node: tree.Call, arguments: list[Type]) -> Type:
        shown = [self._shown(argument) for argument in arguments]
        applied = f"{shown[0]}.({', '.join(shown[1:])})" if node.target is not None else f"({', '.join(shown)})"
        return self._issue(node, f"found no matching overload for '{node.function}' applied to '{applied}'")

    # ── literals ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _literal(self, node: tree.Literal) -> Type:
        return type_of(node.value)

    def _join(self, node: tree.Node, before: Type | None, now: Type) -> Type:
        if before is None:
            return now
        if self.unify.assignable(before, now):
            return self.unify.most_general(before, now)
        if not self.declarations.homogeneous:
            return DYN
        return self._issue(node, f"expected type '{self._shown(before)}' but found '{self._shown(now)}'")

    def _unwrapped(self, node: tree.Node, of: Type, optional: bool) -> Type:
        if not optional:
            return of
        of = self.unify.apply(of)
        if is_optional(of):
            return of.params[0]
        if of.is_dyn:
            return DYN
        return self._issue(node, f"expected type 'optional_type({self._shown(of)})' but found '{self._shown(of)}'")

    def _list(self, node: tree.ListNode) -> Type:
        element: Type | None = None
        for at, item in enumerate(node.elements):
            of = self._unwrapped(item, self._visit(item), at in node.optional)
            element = self._join(item, element, of)
        return list_of(element if element is not None else self.unify.fresh())

    def _map(self, node: tree.MapNode) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            assert isinstance(entry.key, tree.Node)
            of = self._visit(entry.key)
            # No such key can be; were it part of the type, types could double with each map around another.
            key = self._join(entry.key, key, DYN if any(inner.params for inner in of.params) else of)
            of = self._unwrapped(entry.value, self._visit(entry.value), entry.optional)
            value = self._join(entry.value, value, of)
        if key is None or value is None:
            return map_of(self.unify.fresh(), self.unify.fresh())
        return map_of(key, value)

    def _struct(self, node: tree.Struct) -> Type:
        name = self.declarations.message_name(node.name)
        if name is None:
            for entry in node.entries:
                self._visit(entry.value)
            return self._issue(node, f"undeclared reference to '{node.name.removeprefix('.')}' "
                                     f"(in container '{self.declarations.container}')")
        node.name = name
        for entry in node.entries:
            assert isinstance(entry.key, str)
            of = self._unwrapped(entry.value, self._visit(entry.value), entry.optional)
            declared = self.declarations.field_type(name, entry.key)
            if declared is None:
                self._issue(entry, f"undefined field '{entry.key}'")
            elif not self.unify.assignable(declared, of):
                self._issue(entry, f"expected type of field '{entry.key}' is '{self._shown(declared)}' but provided "
                                   f"type is '{self._shown(of)}'")
        return types.message(name)

    # ── loops and bindings ──────────────────────────────────────────────────────────────────────────────────────────

    def _range(self, node: tree.Comprehension) -> tuple[Type, Type, Type]:
        """What the variables are, and the type of the range."""
        of = self.unify.apply(self._visit(node.source))
        if of.kind == "list":
            return (INT, of.params[0], of) if node.var2 else (of.params[0], DYN, of)
        if of.kind == "map":
            return of.params[0], of.params[1], of
        if of.is_dyn or of.kind == "param":
            self.unify.assignable(DYN, of)
            return DYN, DYN, DYN
        self._issue(node.source, f"expression of type '{self._shown(of)}' cannot be range of a comprehension "
                                 "(must be list, map, or dynamic)")
        return ERROR, ERROR, ERROR

    def _comprehension(self, node: tree.Comprehension) -> Type:
        first, second, of = self._range(node)
        outer = self.scope
        self.scope = {**outer, node.var: first}
        if node.var2:
            self.scope[node.var2] = second
        guard = self._visit(node.guard) if node.guard is not None else BOOL
        step = self._visit(node.step) if node.step is not None else BOOL
        self.scope = outer
        if guard != ERROR and not self.unify.assignable(BOOL, guard):
            self._bad_guard(node, guard, first, step)
        kind = node.kind
        if kind in ("all", "exists", "exists_one"):
            return BOOL
        if kind == "filter":
            return list_of(first)
        if kind in ("map", "transformList"):
            return list_of(step)
        key = INT if of.kind == "list" else first
        if kind == "transformMap":
            return map_of(key, step)
        step = self.unify.apply(step)
        if step.kind == "map" or step.is_dyn:
            return step if step.kind == "map" else map_of(DYN, DYN)
        return self._issue(node, f"found no matching overload for 'cel.@mapInsert' applied to "
                                 f"'(map(dyn, dyn), {self._shown(step)})'")

    def _bad_guard(self, node: tree.Comprehension, of: Type, element: Type, step: Type) -> None:
        shown = self._shown(of)
        if node.kind in ("all", "exists"):
            assert node.guard is not None
            self._issue(node.guard, f"expected type 'bool' but found '{shown}'")
            return
        result = "int" if node.kind == "exists_one" else \
            f"list({self._shown(element if node.step is None else step)})"
        self._issue(node, f"found no matching overload for '_?_:_' applied to '({shown}, {result}, {result})'")

    def _bind(self, node: tree.Bind) -> Type:
        of = self._visit(node.value)
        outer = self.scope
        self.scope = {**outer, node.var: of}
        result = self._visit(node.body)
        self.scope = outer
        return result


_VISITS: dict[type[tree.Node], Callable[..., Type]] = {
    tree.Literal: Checker._literal, tree.Ident: Checker._ident, tree.Select: Checker._select, tree.Call: Checker._call,
    tree.ListNode: Checker._list, tree.MapNode: Checker._map, tree.Struct: Checker._struct, tree.Bind: Checker._bind,
    tree.Comprehension: Checker._comprehension,
}


def check(declarations: Declarations, ast: tree.Ast) -> tree.Ast:
    """The same tree with types and references; CompileError with all issues."""
    ast.result = Checker(declarations, ast.source).check(ast.root)
    for validate in declarations.validators:
        validate(ast.source, ast.root)
    return ast
