"""The check of one clause's types: calls, comparisons and references that can never succeed are refused, as by OPA.

Bodies are checked in the order in which they are evaluated. A variable's type is that of what it is first matched with;
what comes from `input` or base data may be anything.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from typing import Protocol

from policylang.rego.check import types
from policylang.rego.check.resolve import type_error
from policylang.rego.check.ruletree import Document, Path
from policylang.rego.check.ruletree import shown as shown_path
from policylang.rego.check.typetree import TypeNode
from policylang.rego.syntax import tree
from policylang.rego.values import Key, key
from policylang.source import Source, SourceError

Env = MutableMapping[str, types.Type]
_EQUAL = frozenset({"equal", "eq"})


class Known(Protocol):
    """What is known of the types of a policy's rules; `ruletypes.RuleTypes` implements it."""

    documents: Mapping[Path, Document]
    functions: dict[Path, tuple[list[types.Type], types.Type]]
    tree: TypeNode

    def function(self, operator: list[str]) -> tuple[list[types.Type], types.Type] | None:
        """The types of a function's arguments, and of its result."""

    def replaced(self, path: Path) -> TypeNode | None:
        """What is known of the rules at `path`, and of all that ask for them, where `with` replaces them: nothing."""


class Checker:
    """Checks the bodies of one clause."""

    def __init__(self, known: Known, source: Source) -> None:
        self.types, self.source = known, source
        self._comprehensions: dict[int, types.Type] = {}  # as they were checked
        self._trees = [known.tree]  # under `with`, what is known of the documents that it replaces comes first

    def body(self, body: tree.Body, env: Env) -> None:
        for expr in body:
            self._expr(expr, env)

    def _expr(self, expr: tree.Expr, env: Env) -> None:
        for _, value in expr.withs:
            if not self._is_function(value):
                self.term(value, env)
        if expr.withs:
            trees, self._trees = self._trees, self._under(expr.withs, env)
            self._expr(tree.Expr(expr.at, expr.end, expr.statement, expr.negated), env)
            self._trees = trees
            return
        if expr.negated:
            env = ChainMap({}, env)
        statement = expr.statement
        if isinstance(statement, tree.Unify):
            self.term(statement.left, env)
            self.term(statement.right, env)
            self._match(statement.left, statement.right, expr.at, env)
        elif isinstance(statement, tree.SomeIn):
            self._some(statement, expr.at, env)
        elif isinstance(statement, tree.Every):
            self.term(statement.domain, env)
            self._references(statement.body, env)
        elif isinstance(statement, tree.Logic):
            for body in statement.bodies:
                self._references(body, env)
        elif isinstance(statement, tree.Call):
            for argument in statement.args:
                self.term(argument, env)
            self._call(statement, env)
        elif isinstance(statement, tree.Term):
            self.term(statement, env)

    def _references(self, body: tree.Body, env: Env) -> None:
        """Of bodies inside an expression OPA checks the references alone."""
        for expr in body:
            statement = expr.statement
            if isinstance(statement, (tree.Every, tree.Logic)):
                self._expr(tree.Expr(expr.at, expr.end, statement), env)
            for term in tree.own_terms(expr):
                for part in tree.inside(term):
                    if isinstance(part, tree.Ref) and not self._is_function(part):
                        self._ref(part, env, check=True)

    def _under(self, withs: list[tuple[tree.Term, tree.Term]], env: Env) -> list[TypeNode]:
        trees = self._trees
        targets = TypeNode()
        for target, value in withs:
            assert isinstance(target, tree.Ref)
            path = tuple(key(tree.constant(part)) for part in target.path)
            if not (isinstance(target.head, tree.Var) and target.head.name == "data"):
                continue
            replaced = self.types.replaced(path)
            if replaced is not None:
                trees = [replaced, *trees]
            if path not in self.types.documents or self.types.documents[path].kind != "function":
                made = self.type(value, env)
                before = self._ref(target, env, check=False) or types.ANY
                targets.put(path, types.ANY if made is None else types.either((before, made)))
        return [targets, *trees] if targets.children or targets.value is not None else trees

    def _some(self, some: tree.SomeIn, at: int, env: Env) -> None:
        self.term(some.domain, env)
        if isinstance(some.domain, tree.Ref):  # it goes on with the key
            key_ = some.key or tree.Var(at, at, f"_#some {at}")
            ref = some.domain
            self._ref(tree.Ref(ref.at, ref.end, ref.head, [*ref.path, key_]), env, check=True)
        domain = self.type(some.domain, env) or types.ANY
        if types.keys(domain) is None and not (
                _is_empty(domain) or isinstance(some.domain, (tree.Scalar, tree.Ref))):
            raise self._undefined(some.domain, domain)
        for pattern, type_ in ((some.key, types.keys(domain)), (some.value, types.members(domain))):
            if pattern is not None and type_ is not None and not self._fit(pattern, type_, env):
                raise self._mismatch(self.type(pattern, env), type_, at)

    # --- calls and matches

    def _match(self, left: tree.Term, right: tree.Term, at: int, env: Env) -> None:
        left_type, right_type = self.type(left, env), self.type(right, env)
        if left_type is None and right_type is None:
            matched = self._both(left, right, env)
        elif left_type is None:
            matched = not isinstance(left, tree.Ref) and self._fit(left, right_type or types.ANY, env)
        elif right_type is None:
            matched = not isinstance(right, tree.Ref) and self._fit(right, left_type, env)
        else:
            matched = types.meet(left_type, right_type)
        if not matched:
            raise self._mismatch(left_type, right_type, at)

    def _mismatch(self, left: types.Type | None, right: types.Type | None, at: int) -> SourceError:
        return type_error(f"match error\n\tleft  : {types.shown(left)}\n\tright : {types.shown(right)}",
                          self.source, at)

    def _both(self, left: tree.Term, right: tree.Term, env: Env) -> bool:
        """Two patterns of which neither's type is known."""
        if isinstance(left, tree.Array) and isinstance(right, tree.Array):
            if len(left.items) != len(right.items):
                return False
            for left_part, right_part in zip(left.items, right.items, strict=True):
                self._match(left_part, right_part, left_part.at, env)
        return True

    def _fit(self, term: tree.Term, type_: types.Type, env: Env) -> bool:
        """Whether a term may be of a type; the variables in it that have none yet get theirs."""
        if isinstance(term, tree.Var):
            known = env.get(term.name)
            if known is None:
                env[term.name] = type_
                return True
            return types.meet(known, type_)
        if isinstance(term, tree.Array) and term.items:
            return self._fit_array(term, type_, env)
        if isinstance(term, tree.Object) and term.pairs:
            return self._fit_object(term, type_, env)
        if isinstance(term, tree.SetOf) and term.items:
            if type_[0] == "any":
                return not type_[1] or any(self._fit(term, choice, env) for choice in type_[1])
            return type_[0] == "set" and all(self._fit(item, type_[1], env) for item in term.items)
        return types.meet(self.type(term, env) or types.ANY, type_)

    def _fit_array(self, term: tree.Array, type_: types.Type, env: Env) -> bool:
        if type_[0] == "any":
            if not type_[1]:
                return all(self._fit(item, types.ANY, env) for item in term.items)
            return any(self._fit(term, choice, env) for choice in type_[1])
        if type_[0] != "array" or (type_[2] is None and len(type_[1]) != len(term.items)):
            return False
        items = [(item, types.member(type_, at)) for at, item in enumerate(term.items)]
        return all(choice is not None and self._fit(item, choice, env) for item, choice in items)

    def _fit_object(self, term: tree.Object, type_: types.Type, env: Env) -> bool:
        if type_[0] == "any":
            if not type_[1]:
                return all(self._fit(value, types.ANY, env) for _, value in term.pairs)
            return any(self._fit(term, choice, env) for choice in type_[1])
        if type_[0] != "object" or (type_[2] is None and len(type_[1]) != len(term.pairs)):
            return False
        fits = []
        for name, value in term.pairs:
            if isinstance(name, tree.Scalar):
                below = types.member(type_, name.value)
            else:
                keys = types.keys(type_)
                below = types.members(type_) if types.meet(self.type(name, env) or types.ANY, keys) else None
            fits.append(below is not None and self._fit(value, below, env))
        return all(fits)

    def _call(self, call: tree.Call, env: Env) -> None:
        name = ".".join(call.operator)
        if name in _EQUAL and len(call.args) == 2:
            self._match(call.args[0], call.args[1], call.at, env)
            return
        if name.startswith("internal.member_"):
            *of, domain = call.args
            collection = self.type(domain, env) or types.ANY
            for part, held in zip(reversed(of), (types.members(collection), types.keys(collection)), strict=False):
                if held is not None and not self._fit(part, held, env):
                    raise self._mismatch(self.type(part, env), held, call.at)
            return
        signature = self.types.function(call.operator)
        if signature is None or name == "print":
            return
        parameters, result = signature
        expected = [*parameters, result]
        if all(self._fit(argument, type_, env) for argument, type_ in zip(call.args, expected, strict=False)):
            return
        have = [types.shown(self.type(argument, env)) for argument in call.args]
        have += ["???"] * (len(expected) - len(have))
        raise type_error(f"{name}: invalid argument(s)\n\thave: ({', '.join(have)})\n\t"
                         f"want: ({', '.join(map(types.shown, expected))})", self.source, call.at)

    # --- terms

    def term(self, term: tree.Term, env: Env) -> None:
        """Check the calls and references in a term."""
        if isinstance(term, tree.Comprehension):
            self._comprehensions[id(term)] = self._comprehension(term, env)
            return
        if isinstance(term, tree.Template):
            for inner in term.parts:
                if isinstance(inner, tree.Comprehension):
                    self.term(inner, env)
            return
        for part in tree.children(term):
            self.term(part, env)
        if isinstance(term, tree.Call):
            self._call(term, env)
        elif isinstance(term, tree.Ref):
            self._ref(term, env, check=True)

    def type(self, term: tree.Term, env: Env) -> types.Type | None:
        """A term's type; None where a variable in it has none yet."""
        if isinstance(term, tree.Scalar):
            return types.of_scalar(term.value)
        if isinstance(term, tree.Var):
            return env.get(term.name)
        if isinstance(term, tree.Ref):
            return self._ref(term, env, check=False)
        if isinstance(term, tree.Call):
            signature = self.types.function(term.operator)
            return types.ANY if signature is None else signature[1]
        if isinstance(term, tree.Template):
            return types.STRING
        if isinstance(term, tree.Comprehension):
            return self._comprehensions.get(id(term), types.ANY)
        if isinstance(term, tree.Object):
            return self._object(term, env)
        assert isinstance(term, (tree.Array, tree.SetOf))
        items = [self.type(item, env) for item in term.items]
        known = [item for item in items if item is not None]
        if len(known) < len(items):
            return None
        if isinstance(term, tree.Array):
            return types.array(known)
        return types.set_(types.either(known) if known else types.ANY)

    def _object(self, term: tree.Object, env: Env) -> types.Type | None:
        static, dynamic = [], []
        for name, value in term.pairs:
            below, above = self.type(value, env), self.type(name, env)
            if below is None or above is None:
                return None
            if isinstance(name, tree.Scalar):
                static.append((name.value, below))
            else:
                dynamic.append((above, below))
        if not dynamic:
            return types.object_(static)
        names, values = zip(*dynamic, strict=True)
        return types.object_(static, (types.either(names), types.either(values)))

    def _comprehension(self, term: tree.Comprehension, env: Env) -> types.Type:
        inner: Env = ChainMap({}, env)
        self.body(term.body, inner)
        for part in (term.key, term.value):
            if part is not None:
                self.term(part, inner)
        value = self.type(term.value, inner) or types.ANY
        if term.kind == "object":
            assert term.key is not None
            return types.object_((), (self.type(term.key, inner) or types.ANY, value))
        return types.array((), value) if term.kind == "array" else types.set_(value)

    def _ref(self, term: tree.Ref, env: Env, *, check: bool) -> types.Type | None:
        """A reference's type; with `check`, SourceError where nothing can be there, and its variables get types."""
        head, path = term.head, term.path
        if not isinstance(head, tree.Var):
            type_ = self.type(head, env)
        elif head.name == "data":
            if check:
                self._check_place(term, env)
            type_, path = self._document(path, whole=not check)
        else:
            type_ = types.ANY if head.name == "input" else env.get(head.name)
        for part in path:
            if type_ is None:
                return types.ANY
            if _is_empty(type_):
                if check and isinstance(part, tree.Scalar):
                    raise self._undefined(term, type_)
                return types.ANY
            if isinstance(part, tree.Scalar):
                below = types.member(type_, part.value)
            else:
                below = types.members(type_)
                above = types.keys(type_)
                if check and above is not None and not self._fit(part, above, env):
                    below = None
            if below is None:
                if check:
                    raise self._undefined(term, type_)
                return None if isinstance(head, tree.Var) and head.name == "data" else types.ANY
            type_ = below
        return type_

    def _document(self, path: list[tree.Term], *, whole: bool) -> tuple[types.Type, list[tree.Term]]:
        """The type that is known at the start of a reference under `data`, and the parts that are left from there."""
        for rules in self._trees:
            if rules.children or rules.value is not None:
                node, at = rules.walk(path, whole=whole)
                if node.value is not None or at == len(path) or tree.constant(path[at]) is tree.NOTHING:
                    return node.extent(), path[at:]
        return types.ANY, []

    def _is_function(self, term: tree.Term) -> bool:
        if not (isinstance(term, tree.Ref) and isinstance(term.head, tree.Var) and term.head.name == "data"):
            return False
        path: list[Key] = []
        for name in map(tree.constant, term.path):
            if name is tree.NOTHING:
                return False
            path.append(key(name))
            if tuple(path) in self.types.functions:
                return True
        return False

    def _check_place(self, term: tree.Ref, env: Env) -> None:
        """Packages and rules have names; a variable there is one of those that are known, or of base data."""
        path = term.path
        if self._is_function(term):
            raise type_error(f"function {shown_path((), term.path)} used as reference, not called",
                             self.source, term.at)
        for rules in self._trees:
            if not rules.children:
                continue
            node, at = rules.walk(path, whole=False)
            for part in path[:min(at + (node.value is None), 2)]:
                if not isinstance(part, (tree.Var, tree.Ref, tree.Call)) and not isinstance(tree.constant(part), str):
                    raise self._undefined(term, node.extent())
            if node.value is not None or at == len(path):
                return
            if isinstance(path[at], tree.Var) and not self._fit(path[at], types.keys(node.extent()) or types.ANY, env):
                raise self._undefined(term, node.extent())

    def _undefined(self, term: tree.Term, type_: types.Type) -> SourceError:
        written = self.source.text[term.at:term.end]
        if isinstance(term, tree.Ref) and isinstance(term.head, tree.Var) and not any(
                isinstance(part, (tree.Ref, tree.Call)) for part in term.path):
            written = term.head.name.partition("#")[0] + shown_path((), term.path).removeprefix("data")
        return type_error(f"undefined ref: {written}\n\thave: {types.shown(type_)}", self.source, term.at)


def _is_empty(type_: types.Type) -> bool:
    """Whether it is a collection's that holds nothing."""
    return type_[0] in ("array", "object") and not type_[1] and type_[2] is None
