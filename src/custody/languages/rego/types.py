"""What kinds of values terms can have, as far as that is known without running: `count(5)` and `1 == "a"` are refused.

A type is the set of kinds a value may be of; what is inside arrays, objects and sets is not followed. The classes and
first lines of errors are OPA's (rego_type_error).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from custody.languages.rego.declare import Builtin
from custody.languages.rego.resolve import type_error
from custody.languages.rego.rules import Group
from custody.languages.rego.safety import never
from custody.languages.rego.tree import (
    Array,
    Body,
    Call,
    Comprehension,
    Expr,
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
    walk,
)
from custody.languages.rego.values import type_name
from custody.languages.source import Source

Kinds = frozenset[str]
ANY: Kinds = frozenset({"null", "boolean", "number", "string", "array", "object", "set"})
_WORD = re.compile(r"any<|[a-z]+|[<>\[\](){},:]")


@lru_cache(1024)
def declared(written: str) -> Kinds:
    """The kinds of a type in OPA's notation: `any<array[any], string>`, `set[number]`, `any`."""
    words = _WORD.findall(written)
    if not words or words == ["any"]:
        return ANY
    if words[0] != "any<":
        return frozenset({words[0]}) if words[0] in ANY else ANY
    kinds: set[str] = set()
    depth, first = 0, True
    for word in words[1:-1]:
        if depth == 0 and first and word[0].isalpha():
            if word not in ANY:
                return ANY
            kinds.add(word)
            first = False
        depth += {"[": 1, "<": 1, "any<": 1, "{": 1, "(": 1, "]": -1, ">": -1, "}": -1, ")": -1}.get(word, 0)
        if depth == 0 and word == ",":
            first = True
    return frozenset(kinds) or ANY


def shown(kinds: Kinds) -> str:
    if kinds == ANY:
        return "any"
    if len(kinds) == 1:
        return next(iter(kinds))
    return f"any<{', '.join(sorted(kinds))}>"


class Types:
    """The kinds of a policy's rules, found as they are asked for."""

    def __init__(self, groups: Mapping[tuple[str, ...], Group], builtins: Mapping[str, Builtin]) -> None:
        self.groups, self.builtins = groups, builtins
        self._known: dict[int, Kinds] = {}

    def check(self, rule: Rule) -> None:
        """Raise SourceError at the first call or comparison in a clause that can never succeed."""
        found = self._variables(rule.body)
        self._body(rule.module.source, rule.body, found)
        for term in (*rule.path[1:], rule.value):
            for each in walk(term):
                if isinstance(each, Call):
                    self._call(rule.module.source, each, found)

    def _body(self, source: Source, body: Body, found: dict[str, Kinds]) -> None:
        for each in walk(*body):
            if isinstance(each, Expr):
                if isinstance(each.what, Unify):
                    self._match(source, each.what.left, each.what.right, each.at, found)
                elif isinstance(each.what, SomeIn):
                    self._member(source, each.what, each.at)
            elif isinstance(each, Call):
                self._call(source, each, found)

    def _match(self, source: Source, left: Term, right: Term, at: int, found: dict[str, Kinds]) -> None:
        one, other = self.kinds(left, found), self.kinds(right, found)
        if not one & other:
            raise type_error(f"match error\n\tleft  : {shown(one)}\n\tright : {shown(other)}", source, at)

    def _member(self, source: Source, what: SomeIn, at: int) -> None:
        """`some [x] in [[1, 2]]`: no member that is written there can match."""
        domain = what.domain
        if not isinstance(domain, (Array, SetOf)) or not domain.items:
            return
        if all(never(what.value, item) for item in domain.items):
            raise type_error("match error: the pattern fits no member", source, at)

    def _call(self, source: Source, call: Call, found: dict[str, Kinds]) -> None:
        name = ".".join(call.operator)
        if name == "equal" and len(call.args) == 2:
            self._match(source, call.args[0], call.args[1], call.at, found)
        function = self.builtins.get(name) if call.operator[0] != "data" else None
        if function is None or name == "print":
            return
        have = [self.kinds(argument, found) for argument in call.args]
        want = [declared(each) for each in (*function.parameters, function.result)]
        if all(one & other for one, other in zip(have, want, strict=False)):
            return
        parts = [shown(each) for each in have] + ["???"] * (len(want) - len(have))
        raise type_error(f"{name}: invalid argument(s)\n\thave: ({', '.join(parts)})\n\twant: "
                         f"({', '.join((*function.parameters, function.result))})", source, call.at)

    # --- kinds of terms

    def _variables(self, body: Body) -> dict[str, Kinds]:
        """The kinds of the variables that one `:=` or `=` gives a value; the others may be anything."""
        found: dict[str, Kinds] = {}
        again: set[str] = set()
        for each in walk(*body):
            if isinstance(each, Expr) and isinstance(each.what, Unify):
                for var, value in ((each.what.left, each.what.right), (each.what.right, each.what.left)):
                    if isinstance(var, Var) and not isinstance(value, Var):
                        if var.name in found:
                            again.add(var.name)
                        elif "#" in var.name and each.what.assign:
                            found[var.name] = self.kinds(value, found)
        return {name: kinds for name, kinds in found.items() if name not in again}

    def kinds(self, term: Term, found: Mapping[str, Kinds]) -> Kinds:
        if isinstance(term, Scalar):
            return frozenset({type_name(term.value)})
        if isinstance(term, Var):
            return found.get(term.name, ANY)
        if isinstance(term, Array):
            return frozenset({"array"})
        if isinstance(term, Object):
            return frozenset({"object"})
        if isinstance(term, SetOf):
            return frozenset({"set"})
        if isinstance(term, Template):
            return frozenset({"string"})
        if isinstance(term, Comprehension):
            return frozenset({term.kind})
        if isinstance(term, Call):
            if term.operator[0] == "data":
                return self._group(self.groups.get(tuple(term.operator[1:])))
            function = self.builtins.get(".".join(term.operator))
            return ANY if function is None or function.relation else declared(function.result)
        assert isinstance(term, Ref)
        return self._ref(term)

    def _ref(self, term: Ref) -> Kinds:
        if not (isinstance(term.head, Var) and term.head.name == "data"):
            return ANY
        names: list[str] = []
        for part in term.path:
            if not (isinstance(part, Scalar) and isinstance(part.value, str)):
                return ANY
            names.append(part.value)
        return self._group(self.groups.get(tuple(names)))

    def _group(self, group: Group | None) -> Kinds:
        if group is None:
            return ANY
        known = self._known.get(group.slot)
        if known is None:
            self._known[group.slot] = ANY
            if group.kind in ("value", "function"):
                known = frozenset().union(*(self.kinds(each.value, self._variables(each.body))
                                            for rule in group.all for each in rule.chain()))
            else:
                known = frozenset({"set" if group.kind == "set" else "object"})
            self._known[group.slot] = known
        return known

