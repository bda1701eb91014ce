"""Bodies and terms of Rego as Python statements."""

from __future__ import annotations

import ast
from typing import Any

from policylang.code import assign, both, call, compare, item, load, negate, store, when
from policylang.rego import runtime
from policylang.rego.blocks import V
from policylang.rego.calls import Calls
from policylang.rego.constants import NOTHING, constant, holds_set
from policylang.rego.safety import asked_of_input, needed
from policylang.rego.state import State
from policylang.rego.tree import (
    Array,
    Body,
    Call,
    Comprehension,
    Every,
    Expr,
    Logic,
    Object,
    Ref,
    Scalar,
    SetOf,
    SomeIn,
    Template,
    Term,
    Unify,
    Var,
)
from policylang.rego.values import Set, key, text


class Bodies(Calls):
    """The compiler of one function's bodies."""

    rest: Body = []  # noqa: RUF012 - the expressions that follow the one that is written

    # --- expressions

    def exprs(self, body: Body) -> None:
        outer = self.rest
        for at, expr in enumerate(body):
            self.rest = body[at + 1:] if not expr.withs else []
            self.expr(expr)
        self.rest = outer

    def before_loop(self) -> None:
        """What the rest of a body asks of the input is asked before a loop: where it is not there, no turn succeeds."""
        rest, self.rest = self.rest, []
        if not self.program.told:
            for expr in rest:
                for ref in asked_of_input(expr):
                    self.ref(ref)

    def expr(self, expr: Expr) -> None:
        self.program.note(self, expr, done=False)
        if not expr.withs:
            self._expr(expr)
            self.program.note(self, expr, done=True)
            return
        changes = [self.program.replacement(self, target, value) for target, value in expr.withs]
        before, known = self.state, self.known
        name = self.code.fresh("s")
        self.add(assign(name, call(ast.Attribute(load(self.state), "replaced", ast.Load()),
                                   ast.Tuple(changes, ast.Load()))))
        self.state, self.known = name, {}
        self._expr(expr)
        self.state, self.known = before, known
        self.program.note(self, expr, done=True)

    def _expr(self, expr: Expr) -> None:
        what = expr.what
        if expr.negated:
            what = self.settled(what)
            flag = self.collect("flag", ast.Constant(False))
            with self.closed(flag):
                self._expr(Expr(expr.at, expr.end, what))
                self.decide(flag)
            self.assigned.remove(flag)
            self.fail_if(load(flag))
        elif isinstance(what, Unify):
            self.unify_terms(what.left, what.right)
        elif isinstance(what, SomeIn):
            self._some_in(what)
        elif isinstance(what, Every):
            self._every(what)
        elif isinstance(what, Logic):
            self._logic(what)
        elif isinstance(what, Call):
            self._statement(what)
        else:
            assert isinstance(what, Term)
            if isinstance(what, Scalar) and what.value is not False:
                return
            found = self.value(what)
            if not isinstance(what, (Array, Object, SetOf, Comprehension, Template)):
                self.fail_if(self.is_false(found.node))

    def exists(self, body: Body) -> str:
        """The name of a flag that is True where the body has a solution."""
        flag = self.collect("flag", ast.Constant(False))
        with self.closed(flag):
            self.in_order = self.program.told
            self.exprs(body)
            self.decide(flag)
        self.assigned.remove(flag)
        return flag

    def _logic(self, what: Logic) -> None:
        if what.operator == "not":
            self.fail_if(load(self.exists(what.bodies[0])))
        elif what.operator == "and":
            for body in what.bodies:
                self.unless(load(self.exists(body)))
        else:
            flag = self.collect("either", ast.Constant(False))
            for body in what.bodies:
                test = when(negate(load(flag)), [])
                assert isinstance(test, ast.If)
                self.add(test)
                outer, self.block = self.block, test.body
                known, self.known = self.known, dict(self.known)
                found = self.exists(body)
                self.add(assign(flag, load(found)))
                self.block, self.known = outer, known
            self.assigned.remove(flag)
            self.unless(load(flag))

    def _some_in(self, what: SomeIn) -> None:
        domain = self.ref(what.domain) if isinstance(what.domain, Ref) else self.value(what.domain)
        kind = "doc" if domain.kind == "doc" else _inside(domain)
        value = self.code.fresh("v")
        if what.key is None:
            self.loop(store(value), self.call(self.members(), load(self.state), domain.node))
        else:
            name = self.code.fresh("n")
            self.loop(ast.Tuple([store(name), store(value)], ast.Store()),
                      self.call(self.entries(), load(self.state), domain.node))
            self.unify(what.key, V(load(name), _inside(domain)))
        self.unify(what.value, self.whole(V(load(value), kind)))

    def _every(self, what: Every) -> None:
        domain = self.value(what.domain)
        kind = _inside(domain)
        self.unless(compare(self.call(type, domain.node), ast.In(),
                            self.code.hoist(frozenset({list, dict, Set}), "collections")))
        failed = self.collect("failed", ast.Constant(False))
        with self.closed(failed):
            value, name = self.code.fresh("v"), self.code.fresh("n")
            if what.key is None:
                self.loop(store(value), self.call(self.members(), load(self.state), domain.node))
            else:
                self.loop(ast.Tuple([store(name), store(value)], ast.Store()),
                          self.call(self.entries(), load(self.state), domain.node))
                self.env[what.key.name] = V(load(name), kind)
            self.env[what.value.name] = V(load(value), kind)
            found = self.exists(what.body)
            self.add(when(negate(load(found)), [assign(failed, ast.Constant(True)), ast.Break()]))
        self.assigned.remove(failed)
        self.fail_if(load(failed))

    # --- unification

    def bound(self, term: Term) -> bool:
        """Whether no variable in the pattern is still free."""
        if isinstance(term, Var):
            return term.name in self.env
        if isinstance(term, Array):
            return all(map(self.bound, term.items))
        if isinstance(term, Object):
            return all(self.bound(value) for _, value in term.pairs)
        return True

    def unify_terms(self, left: Term, right: Term) -> None:
        if self.bound(left) and self.bound(right):
            self._same(left, right)
        elif isinstance(left, Var) and left.name not in self.env:
            self.unify(left, self.value(right))
        elif isinstance(right, Var) and right.name not in self.env:
            self.unify(right, self.value(left))
        elif self.bound(right):
            self.unify(left, self.value(right))
        elif self.bound(left):
            self.unify(right, self.value(left))
        else:
            self._piecewise(left, right)

    def _piecewise(self, left: Term, right: Term) -> None:
        """Two patterns with free variables on both sides."""
        if isinstance(left, Array) and isinstance(right, Array):
            if len(left.items) != len(right.items):
                self.add(self.fail())
                return
            waiting = list(zip(left.items, right.items, strict=True))
        elif isinstance(left, Object) and isinstance(right, Object):
            theirs = {repr(constant(name)): value for name, value in right.pairs}
            names = {repr(constant(name)) for name, _ in left.pairs}
            if names != set(theirs):
                self.add(self.fail())
                return
            waiting = [(value, theirs[repr(constant(name))]) for name, value in left.pairs]
        else:
            self.add(self.fail())
            return
        while waiting:
            later = []
            for one, other in waiting:
                if self.bound(one) or self.bound(other) or not (isinstance(one, Var) or isinstance(other, Var)):
                    self.unify_terms(one, other)
                else:
                    later.append((one, other))
            assert len(later) < len(waiting), "the safety check lets no free variables meet"
            waiting = later

    def _same(self, left: Term, right: Term) -> None:
        if isinstance(left, Scalar):
            left, right = right, left
        first = self.value(left)
        if isinstance(right, Scalar):
            self.unless(self.equals(first.node, right.value))
            return
        first = V(self.temp(first.node), first.kind)
        second = self.value(right)
        self.unless(self.equal(first.node, second.node))

    def unify(self, term: Term, value: V) -> None:
        """Match a pattern against a value that is there."""
        if isinstance(term, Var):
            known = self.env.get(term.name)
            if known is None:
                self.env[term.name] = V(self.temp(value.node), value.kind)
            else:
                self.unless(self.equal(known.node, value.node))
        elif isinstance(term, Scalar):
            self.unless(self.equals(value.node, term.value))
        elif isinstance(term, Array) and not self._known_constant(term):
            node = self.temp(value.node)
            self.unless(both(compare(self.call(type, node), ast.Is(), self.code.hoist(list)),
                             compare(self.call(len, node), ast.Eq(), ast.Constant(len(term.items)))))
            for at, part in enumerate(term.items):
                self.unify(part, V(self._part(part, item(node, ast.Constant(at))), value.kind))
        elif isinstance(term, Object) and not self._known_constant(term):
            node = self.temp(value.node)
            self.unless(both(compare(self.call(type, node), ast.Is(), self.code.hoist(dict)),
                             compare(self.call(len, node), ast.Eq(), ast.Constant(len(term.pairs)))))
            for name, part in term.pairs:
                found = self.defined(self.call(runtime.ref, node, self.value(name).node))
                self.unify(part, V(found, value.kind))
        else:
            node = self.temp(value.node)
            self.unless(self.equal(self.value(term).node, node))

    def _part(self, pattern: Term, node: ast.expr) -> ast.expr:
        return node if isinstance(pattern, (Var, Scalar)) else self.temp(node)

    @staticmethod
    def _known_constant(term: Term) -> bool:
        return constant(term) is not NOTHING

    # --- terms

    def value(self, term: Term) -> V:
        """The value of a term; where it has none, the statement fails. Free variables in its references are bound."""
        if isinstance(term, Var):
            return self.env[term.name]
        fixed = constant(term)
        if fixed is not NOTHING:
            return V(self.code.constant(fixed, "k"), "json" if not holds_set(fixed) else "any")
        if isinstance(term, Ref):
            return self.whole(self.ref(term))
        if isinstance(term, Call):
            return self._call(term)
        if isinstance(term, Array):
            return V(ast.List(self.values(term.items), ast.Load()))
        if isinstance(term, SetOf):
            nodes = self.values(term.items)
            return V(self.temp(self.call(Set.of, ast.List(nodes, ast.Load()))))
        if isinstance(term, Object):
            return self._object(term)
        if isinstance(term, Template):
            return self._template(term)
        assert isinstance(term, Comprehension)
        return self._comprehension(term)

    def values(self, terms: list[Term]) -> list[ast.expr]:
        """Names or constants of several terms' values; those whose variables another one binds come after it."""
        nodes: dict[int, ast.expr] = {}
        waiting = list(enumerate(terms))
        while waiting:
            later = []
            for at, term in waiting:
                if needed(term) <= self.env.keys():
                    nodes[at] = self.temp(self.value(term).node)
                else:
                    later.append((at, term))
            assert len(later) < len(waiting), "the safety check lets no variables be without a value"
            waiting = later
        return [nodes[at] for at in range(len(terms))]

    def whole(self, found: V) -> V:
        if found.kind == "base":
            return V(found.node, "json")
        if found.kind != "doc":
            return found
        return V(self.defined(self.call(runtime.whole, found.node)))

    def _object(self, term: Object) -> V:
        found = self.values([part for pair in term.pairs for part in pair])
        names = [node if isinstance(node, ast.Constant) and isinstance(node.value, str) else
                 self.temp(self.call(key, node)) for node in found[::2]]
        return V(ast.Dict(list(names), found[1::2]))

    def _comprehension(self, term: Comprehension) -> V:
        start: ast.expr = ast.List([], ast.Load()) if term.kind == "array" else ast.Dict([], [])
        out = self.collect("out", start)
        with self.closed():
            self.in_order = self.program.told or term.kind == "array"
            self.exprs(term.body)
            if term.kind == "array":
                found = self.value(term.value)
                self.add(ast.Expr(call(ast.Attribute(load(out), "append", ast.Load()), found.node)))
            elif term.kind == "set":
                self.into_set(out, self.value(term.value).node)
            else:
                assert term.key is not None
                name = self.temp(self.value(term.key).node)
                found = self.value(term.value)
                self.add(ast.Expr(self.call(runtime.enter, load(self.state), load(out), name, found.node,
                                            ast.Constant(self.where(term.at)))))
        self.assigned.remove(out)
        return V(self.temp(self.call(Set, load(out))) if term.kind == "set" else load(out))

    def into_set(self, out: str, node: ast.expr) -> None:
        node = self.temp(node)
        self.add(ast.Assign([ast.Subscript(load(out), self.call(key, node), ast.Store())], node))

    def _template(self, term: Template) -> V:
        parts: list[ast.expr] = []
        for part in term.parts:
            if isinstance(part, str):
                parts.append(ast.Constant(part))
            else:
                found = self._comprehension(part)
                parts.append(self.call(runtime_template, load(self.state), found.node,
                                       ast.Constant(self.where(part.at))))
        return V(self.temp(self.call(runtime_join, load(self.state), ast.List(parts, ast.Load()))), "json")

    # --- references

    def ref(self, term: Ref) -> V:
        path = term.path
        if isinstance(term.head, Var) and term.head.name == "input":
            found, used = self.input(), 0
        elif isinstance(term.head, Var) and term.head.name == "data":
            found, used = self.program.data_ref(self, path)
        else:
            found, used = self.value(term.head), 0
        for part in path[used:]:
            found = self.step(found, part)
        return found

    def input(self) -> V:
        found = self.known.get((self.state, "input"))
        if found is None:
            node = self.defined(ast.Attribute(load(self.state), "input", ast.Load()), "input")
            found = self.known[self.state, "input"] = V(node, "json")
        return found

    def step(self, base: V, part: Term) -> V:
        """`base[part]`."""
        below = "any" if base.kind == "any" else base.kind
        node = self.temp(base.node)
        fixed = constant(part)
        if fixed is not NOTHING and isinstance(node, ast.Name):
            seen = (node.id, type(fixed), text(fixed))
            known = self.known.get(seen)
            if known is None:
                known = self.known[seen] = V(self._fixed_step(node, base.kind, fixed), below)
            return known
        if isinstance(part, Var) and part.name not in self.env:
            name, found = self.code.fresh("n"), self.code.fresh("v")
            if part.name.startswith("_#") and base.kind != "doc":
                self.loop(store(found), self.call(self.members(), load(self.state), node))
            else:
                self.loop(ast.Tuple([store(name), store(found)], ast.Store()),
                          self.call(self.entries(), load(self.state), node))
                self.env[part.name] = V(load(name), _inside(base))
            return V(load(found), below)
        if not self.bound(part):
            name, found = self.code.fresh("n"), self.code.fresh("v")
            self.loop(ast.Tuple([store(name), store(found)], ast.Store()),
                      self.call(self.entries(), load(self.state), node))
            self.unify(part, V(load(name)))
            return V(load(found), below)
        at = self.value(part)
        get = runtime.base_ref if base.kind == "base" else runtime.ref
        if isinstance(at.node, ast.Name):
            seen = (getattr(node, "id", ""), ast.Name, at.node.id)
            known = self.known.get(seen)
            if known is None:
                known = self.known[seen] = V(self.defined(self.call(get, node, at.node)), below)
            return known
        return V(self.defined(self.call(get, node, at.node)), below)

    def _fixed_step(self, node: ast.expr, kind: str, fixed: Any) -> ast.expr:
        name = self.code.fresh("t")
        if isinstance(fixed, str) and (kind == "json" or (kind == "base" and not fixed.isdigit())):
            member = call(ast.Attribute(node, "get", ast.Load()), ast.Constant(fixed), self.undefined())
            self.add(when(ast.BoolOp(ast.Or(), [
                compare(self.call(type, node), ast.IsNot(), self.code.hoist(dict)),
                self.is_undefined(ast.NamedExpr(store(name), member))]), [self.fail()]))
            return load(name)
        get = runtime.base_ref if kind == "base" else runtime.ref
        return self.defined(self.call(get, node, self.code.constant(fixed)))


def _inside(collection: V) -> str:
    """The kind of the keys and members of a collection."""
    return "json" if collection.kind in ("json", "base") else "any"


def runtime_template(state: State, found: Set, where: str) -> str:
    """The text of a template's expression: `<undefined>` where it has no value."""
    if not found.items:
        return "<undefined>"
    if len(found.items) > 1:
        raise state.conflict(where, "template string expression must not produce multiple outputs")
    [value] = found.items.values()
    return value if type(value) is str else text(value)


def runtime_join(state: State, parts: list[str]) -> str:
    state.meter.fit(sum(map(len, parts)))
    return "".join(parts)
