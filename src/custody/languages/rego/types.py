"""The check of types: calls, comparisons and references that can never succeed are refused, as by OPA.

Bodies are checked in the order in which they are evaluated. A variable's type is that of what it is first matched with;
what comes from `input` or base data may be anything.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping

from custody.languages.rego.declare import Builtin
from custody.languages.rego.documents import Document, Path
from custody.languages.rego.kinds import (
    ANY,
    STRING,
    Type,
    array,
    declared,
    either,
    keys,
    meet,
    member,
    members,
    object_,
    of_scalar,
    set_,
    shown,
)
from custody.languages.rego.resolve import type_error
from custody.languages.rego.tree import (
    Array,
    Body,
    Call,
    Comprehension,
    Every,
    Expr,
    Logic,
    Object,
    Ref,
    Rule,
    Scalar,
    SetOf,
    SomeIn,
    Template,
    Term,
    Unify,
    Var,
    children,
)
from custody.languages.source import Source, SourceError

Env = MutableMapping[str, Type]
_EQUAL = frozenset({"equal", "eq"})


class Types:
    """The types of a policy's rules, found as they are asked for."""

    def __init__(self, documents: Mapping[Path, Document], builtins: Mapping[str, Builtin]) -> None:
        self.documents, self.builtins = documents, builtins
        self._rules: dict[int, Type] = {}  # of rules' values and functions' results
        self._arguments: dict[int, list[Type]] = {}

    def check(self, rule: Rule) -> None:
        """Raise SourceError at the first thing in a clause that can never succeed."""
        self._clause(rule)

    # --- rules

    def _clause(self, rule: Rule) -> tuple[list[Type], Type]:
        """The types of a clause's arguments and of its value."""
        checker = _Checker(self, rule.module.source)
        env: Env = {}
        checker.body(rule.body, env)
        for term in (*rule.path[1:], rule.value):
            checker.term(term, env)
        arguments = [checker.type(argument, env) or ANY for argument in rule.args]
        return arguments, checker.type(rule.value, env) or ANY

    def _document(self, document: Document) -> tuple[list[Type], Type]:
        if document.slot not in self._rules:
            self._rules[document.slot], self._arguments[document.slot] = ANY, [ANY] * document.arity
            found = []
            for clause in document.all:
                for rule in clause.chain():
                    try:
                        found.append(self._clause(rule))
                    except SourceError:  # it is told where that clause is checked
                        return [ANY] * document.arity, ANY
            self._rules[document.slot] = either(value for _, value in found)
            self._arguments[document.slot] = [either(column) for column in
                                           zip(*(arguments for arguments, _ in found), strict=True)]
        return self._arguments[document.slot], self._rules[document.slot]

    def value(self, document: Document) -> Type:
        if document.kind == "object":
            return object_((), (ANY, ANY))
        found = self._document(document)[1]
        return set_(found) if document.kind == "set" else found

    def function(self, operator: list[str]) -> tuple[list[Type], Type] | None:
        """The types of a function's arguments, and of its result."""
        if operator[0] == "data":
            document = self.documents.get(tuple(operator[1:]))
            return None if document is None else self._document(document)
        found = self.builtins.get(".".join(operator))
        if found is None:
            return None
        result = declared(found.result)
        return [declared(each) for each in found.parameters], (members(result) or ANY) if found.relation else result


class _Checker:
    """Checks the bodies of one clause."""

    def __init__(self, types: Types, source: Source) -> None:
        self.types, self.source = types, source
        self._comprehensions: dict[int, Type] = {}  # as they were checked

    def body(self, body: Body, env: Env) -> None:
        for expr in body:
            self._expr(expr, env)

    def _expr(self, expr: Expr, env: Env) -> None:
        for _, value in expr.withs:
            self.term(value, env)
        if expr.negated:
            env = ChainMap({}, env)
        what = expr.what
        if isinstance(what, Unify):
            self.term(what.left, env)
            self.term(what.right, env)
            self._match(what.left, what.right, expr.at, env)
        elif isinstance(what, SomeIn):
            self._some(what, expr.at, env)
        elif isinstance(what, Every):
            self.term(what.domain, env)
            # OPA does not check the types in the body of an every.
        elif isinstance(what, Logic):
            for body in what.bodies:
                self.body(body, ChainMap({}, env))
        elif isinstance(what, Call):
            for argument in what.args:
                self.term(argument, env)
            self._call(what, env)
        elif isinstance(what, Term):
            self.term(what, env)

    def _some(self, what: SomeIn, at: int, env: Env) -> None:
        self.term(what.domain, env)
        domain = self.type(what.domain, env) or ANY
        for pattern, found in ((what.key, keys(domain)), (what.value, members(domain))):
            if pattern is not None and found is not None and not self._fit(pattern, found, env):
                raise type_error(f"match error\n\tleft  : {shown(self.type(pattern, env))}\n\tright : {shown(found)}",
                                 self.source, at)

    # --- calls and matches

    def _match(self, left: Term, right: Term, at: int, env: Env) -> None:
        one, other = self.type(left, env), self.type(right, env)
        if one is None and other is None:
            matched = self._both(left, right, env)
        elif one is None:
            matched = self._fit(left, other or ANY, env)
        elif other is None:
            matched = self._fit(right, one, env)
        else:
            matched = meet(one, other)
        if not matched:
            raise type_error(f"match error\n\tleft  : {shown(one)}\n\tright : {shown(other)}", self.source, at)

    def _both(self, left: Term, right: Term, env: Env) -> bool:
        """Two patterns of which neither's type is known."""
        if isinstance(left, Array) and isinstance(right, Array):
            if len(left.items) != len(right.items):
                return False
            for one, other in zip(left.items, right.items, strict=True):
                self._match(one, other, one.at, env)
        return True

    def _fit(self, term: Term, wanted: Type, env: Env) -> bool:
        """Whether a term may be of a type; the variables in it that have none yet get theirs."""
        if isinstance(term, Var):
            known = env.get(term.name)
            if known is None:
                env[term.name] = wanted
                return True
            return meet(known, wanted)
        if isinstance(term, Array) and term.items:
            return self._fit_array(term, wanted, env)
        if isinstance(term, Object) and term.pairs:
            return self._fit_object(term, wanted, env)
        if isinstance(term, SetOf) and term.items:
            if wanted[0] == "any":
                return not wanted[1] or any(self._fit(term, each, env) for each in wanted[1])
            return wanted[0] == "set" and all(self._fit(item, wanted[1], env) for item in term.items)
        return meet(self.type(term, env) or ANY, wanted)

    def _fit_array(self, term: Array, wanted: Type, env: Env) -> bool:
        if wanted[0] == "any":
            if not wanted[1]:
                return all(self._fit(item, ANY, env) for item in term.items)
            return any(self._fit(term, each, env) for each in wanted[1])
        if wanted[0] != "array" or (wanted[2] is None and len(wanted[1]) != len(term.items)):
            return False
        found = [(item, member(wanted, at)) for at, item in enumerate(term.items)]
        return all(each is not None and self._fit(item, each, env) for item, each in found)

    def _fit_object(self, term: Object, wanted: Type, env: Env) -> bool:
        if wanted[0] == "any":
            if not wanted[1]:
                return all(self._fit(value, ANY, env) for _, value in term.pairs)
            return any(self._fit(term, each, env) for each in wanted[1])
        if wanted[0] != "object" or (wanted[2] is None and len(wanted[1]) != len(term.pairs)):
            return False
        fits = []
        for name, value in term.pairs:
            below = member(wanted, name.value) if isinstance(name, Scalar) else members(wanted)
            fits.append(below is not None and self._fit(value, below, env))
        return all(fits)

    def _call(self, call: Call, env: Env) -> None:
        name = ".".join(call.operator)
        if name in _EQUAL and len(call.args) == 2:
            self._match(call.args[0], call.args[1], call.at, env)
            return
        if name.startswith("internal.member_"):
            *of, domain = call.args
            found = self.type(domain, env) or ANY
            for part, inside in zip(reversed(of), (members(found), keys(found)), strict=False):
                if inside is not None and not self._fit(part, inside, env):
                    raise type_error(f"match error\n\tleft  : {shown(self.type(part, env))}\n\tright : {shown(inside)}",
                                     self.source, call.at)
            return
        signature = self.types.function(call.operator)
        if signature is None or name == "print":
            return
        parameters, result = signature
        wanted = [*parameters, result]
        if all(self._fit(argument, each, env) for argument, each in zip(call.args, wanted, strict=False)):
            return
        have = [shown(self.type(argument, env)) for argument in call.args]
        have += ["???"] * (len(wanted) - len(have))
        raise type_error(f"{name}: invalid argument(s)\n\thave: ({', '.join(have)})\n\t"
                         f"want: ({', '.join(map(shown, wanted))})", self.source, call.at)

    # --- terms

    def term(self, term: Term, env: Env) -> None:
        """Check the calls and references in a term."""
        if isinstance(term, Comprehension):
            self._comprehensions[id(term)] = self._comprehension(term, env)
            return
        if isinstance(term, Template):
            for each in term.parts:
                if isinstance(each, Comprehension):
                    self.term(each, env)
            return
        for part in children(term):
            self.term(part, env)
        if isinstance(term, Call):
            self._call(term, env)
        elif isinstance(term, Ref):
            self._ref(term, env, check=True)

    def type(self, term: Term, env: Env) -> Type | None:
        """A term's type; None where a variable in it has none yet."""
        if isinstance(term, Scalar):
            return of_scalar(term.value)
        if isinstance(term, Var):
            return env.get(term.name)
        if isinstance(term, Ref):
            return self._ref(term, env, check=False)
        if isinstance(term, Call):
            signature = self.types.function(term.operator)
            return ANY if signature is None else signature[1]
        if isinstance(term, Template):
            return STRING
        if isinstance(term, Comprehension):
            return self._comprehensions.get(id(term), ANY)
        if isinstance(term, Object):
            return self._object(term, env)
        assert isinstance(term, (Array, SetOf))
        items = [self.type(item, env) for item in term.items]
        known = [item for item in items if item is not None]
        if len(known) < len(items):
            return None
        return array(known) if isinstance(term, Array) else set_(either(known) if known else ANY)

    def _object(self, term: Object, env: Env) -> Type | None:
        static, dynamic = [], []
        for name, value in term.pairs:
            below, above = self.type(value, env), self.type(name, env)
            if below is None or above is None:
                return None
            if isinstance(name, Scalar):
                static.append((name.value, below))
            else:
                dynamic.append((above, below))
        found = (either(one for one, _ in dynamic), either(other for _, other in dynamic)) if dynamic else None
        return object_(static, found)

    def _comprehension(self, term: Comprehension, env: Env) -> Type:
        inner: Env = ChainMap({}, env)
        self.body(term.body, inner)
        for part in (term.key, term.value):
            if part is not None:
                self.term(part, inner)
        value = self.type(term.value, inner) or ANY
        if term.kind == "object":
            assert term.key is not None
            return object_((), (self.type(term.key, inner) or ANY, value))
        return array((), value) if term.kind == "array" else set_(value)

    def _ref(self, term: Ref, env: Env, *, check: bool) -> Type | None:
        """A reference's type; with `check`, SourceError where nothing can be there, and its variables get types."""
        found, path = self._head(term, env)
        for part in path:
            if found is None:
                return ANY
            if isinstance(part, Scalar):
                below = member(found, part.value)
            else:
                below = members(found)
                above = keys(found)
                if check and above is not None and not self._fit(part, above, env):
                    below = None
            if below is None:
                if check:
                    raise type_error(f"undefined ref: {self.source.text[term.at:term.end]}\n\thave: {shown(found)}",
                                     self.source, term.at)
                return ANY
            found = below
        return found

    def _head(self, term: Ref, env: Env) -> tuple[Type | None, list[Term]]:
        """The type that is known at a reference's start, and the path from there on."""
        head = term.head
        if not isinstance(head, Var):
            return self.type(head, env), term.path
        if head.name != "data":
            return (ANY if head.name == "input" else env.get(head.name)), term.path
        names: list[str] = []
        for at, part in enumerate(term.path):
            if not (isinstance(part, Scalar) and isinstance(part.value, str)):
                break
            names.append(part.value)
            document = self.types.documents.get(tuple(names))
            if document is not None and document.kind != "function":
                return self.types.value(document), term.path[at + 1:]
        return ANY, term.path
