"""The types of a policy's rules, each found after those of the rules that it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from policylang.rego.check import types
from policylang.rego.check.recursion import Edges, rules_at
from policylang.rego.check.ruletree import Document, Path, Place, ground
from policylang.rego.check.typecheck import Checker, Env
from policylang.rego.check.typetree import TypeNode
from policylang.rego.declare import Builtin
from policylang.rego.syntax.tree import (
    Body,
    Rule,
)
from policylang.source import Faults, Source, SourceError


class RuleTypes:
    """The types of a policy's rules: of each clause, after those that it asks for.

    `graph`: each clause → the clauses that it may ask for.
    """

    def __init__(self, documents: Mapping[Path, Document], root: Place, builtins: Mapping[str, Builtin],
                 graph: Edges) -> None:
        self.documents, self.root, self.builtins, self.graph = documents, root, builtins, graph
        self.tree = TypeNode()
        self.functions: dict[Path, tuple[list[types.Type], types.Type]] = {}
        self._replaced: dict[Path, TypeNode | None] = {}

    def check(self, faults: Faults) -> None:
        """Tell the first thing in each clause that can never succeed."""
        for clause in self._ordered():
            with faults:
                try:
                    self._clause(clause)
                except SourceError:  # what asks for it is not to be blamed
                    path, rest = ground(clause)
                    if not rest:
                        self.tree.put(path, types.ANY)
                    raise

    def check_query(self, body: Body, source: Source) -> None:
        """SourceError at the first thing in a query that can never succeed."""
        Checker(self, source).body(body, {})

    def _ordered(self) -> Iterator[Rule]:
        """The clauses, each after those that it asks for."""
        done: set[Rule] = set()
        for start in sorted(self.graph, key=_place):
            if start in done:
                continue
            done.add(start)
            stack = [(start, iter(_sorted(self.graph[start])))]
            while stack:
                clause, left = stack[-1]
                following = next((asked for asked in left if asked not in done), None)
                if following is None:
                    stack.pop()
                    yield clause
                else:
                    done.add(following)
                    stack.append((following, iter(_sorted(self.graph.get(following, [])))))

    def _clause(self, rule: Rule) -> None:
        """Check a clause, and enter its type."""
        checker = Checker(self, rule.module.source)
        env: Env = {}
        checker.body(rule.body, env)
        for term in (*rule.path[1:], rule.value):
            checker.term(term, env)
        path, rest = ground(rule)
        if rule.args:
            arguments = [checker.type(argument, env) or types.ANY for argument in rule.args]
            value = checker.type(rule.value, env) or types.ANY
            known = self.functions.get(path)
            if known is not None:
                arguments = [types.either(pair) for pair in zip(known[0], arguments, strict=True)]
                value = types.either((known[1], value))
            self.functions[path] = arguments, value
            return
        type_ = checker.type(rule.value, env) or types.ANY
        if rule.kind == "set":
            type_ = types.set_(type_)
        for part in reversed(rest):
            type_ = types.object_((), (checker.type(part, env) or types.ANY, type_))
        self.tree.insert(path, type_)

    # --- what is asked

    def function(self, operator: list[str]) -> tuple[list[types.Type], types.Type] | None:
        """The types of a function's arguments, and of its result."""
        if operator[0] == "data":
            return self.functions.get(tuple(operator[1:]))
        builtin = self.builtins.get(".".join(operator))
        if builtin is None:
            return None
        return [types.declared(parameter) for parameter in builtin.parameters], types.declared(builtin.result)

    def replaced(self, path: Path) -> TypeNode | None:
        """What is known of the rules at `path`, and of all that ask for them, where `with` replaces them: nothing."""
        if path not in self._replaced:
            affected: dict[Rule, None] = {}
            rules_at(self.root, list(path), affected)
            waiting = list(affected)
            while waiting:
                for asking in self._asking.get(waiting.pop(), ()):
                    if asking not in affected:
                        affected[asking] = None
                        waiting.append(asking)
            made = TypeNode()
            for rule in affected:
                made.put(ground(rule)[0], types.ANY)
            self._replaced[path] = made if affected else None
        return self._replaced[path]

    @cached_property
    def _asking(self) -> dict[Rule, list[Rule]]:
        asking: dict[Rule, list[Rule]] = {}
        for rule, targets in self.graph.items():
            for asked in targets:
                asking.setdefault(asked, []).append(rule)
        return asking


def _sorted(rules: list[Rule]) -> list[Rule]:
    return sorted(rules, key=_place) if len(rules) < 100 else rules


def _place(rule: Rule) -> tuple[str, int]:
    return rule.module.source.name, rule.at
