"""What modules read of their input, as far as that is written down: the fields behind `input`.

Followed are names that are given to it (`review := input.review`), functions of the modules that are called with it,
and `object.get`. Whatever else is done with a value reads all of it; where it is followed, that it is there counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence

from policylang.rego.builtins import BUILTINS
from policylang.rego.syntax.tree import (
    Array,
    Call,
    Expr,
    FunctionName,
    Module,
    Ref,
    Rule,
    Scalar,
    Term,
    Unify,
    Var,
    walk_rule,
)

_STEADY = frozenset((
    "array.concat", "concat", "graph.reachable", "graph.reachable_paths", "internal.template_string", "json.marshal",
    "json.marshal_with_options", "json.patch", "json.unmarshal", "net.cidr_contains_matches", "net.cidr_expand",
    "net.cidr_merge", "numbers.range", "numbers.range_step", "object.union_n", "product",
    "regex.find_all_string_submatch_n", "regex.find_n", "regex.globs_match", "regex.replace", "regex.split", "replace",
    "sort", "split", "sprintf",
    "strings.any_prefix_match", "strings.any_suffix_match", "strings.render_template", "strings.replace_n", "sum",
    "walk", "yaml.is_valid", "yaml.marshal", "yaml.unmarshal"))
"""Of the builtins that are given who evaluates, those that only count their work there."""
_MOST = 10_000
"""Clauses that are looked through for a name."""

_Path = tuple[str, ...]


def input_paths(modules: Sequence[Module]) -> set[_Path] | None:
    """Each use of `input` with the longest chain of names behind it, what it ends in being read whole.

    `{("review", "object", "spec")}`; `()` where `input` itself is used. None where the modules depend on more than
    their input and data, or print: on the time, chance, the network, functions of who evaluates, a document in the
    place of another (`with`).
    """
    clauses = [clause for module in modules for rule in module.rules for clause in rule.chain()]
    renamed = {imported.alias for module in modules for imported in module.imports if imported.alias}
    reading = _Reading(clauses, renamed)
    for clause in clauses:
        for node in walk_rule(clause):
            if isinstance(node, Expr) and node.withs:
                return None
            if isinstance(node, FunctionName) or (isinstance(node, Call) and not reading.knows(node)):
                return None
    return reading.of("input")


class _Reading:
    def __init__(self, clauses: list[Rule], renamed: Container[str]) -> None:
        self._clauses, self._renamed = clauses, renamed
        self._functions: dict[str, list[Rule]] = defaultdict(list)
        """By the last part of their names: what is called by another's name is looked through beside it."""
        for clause in clauses:
            if clause.kind == "function" and isinstance(clause.path[-1], (Scalar, Var)):
                name = clause.path[-1]
                self._functions[str(name.value if isinstance(name, Scalar) else name.name)].append(clause)
        self._read: set[_Path] = set()
        self._followed: set[_Path] = set()
        """What stands there is read elsewhere, or not at all: but a line fails where nothing does."""
        self._waiting: list[tuple[Rule, str, _Path]] = []
        self._noted: set[tuple[int, str, _Path]] = set()

    def of(self, name: str) -> set[_Path] | None:
        for clause in self._clauses:
            self._note(clause, name, ())
        while self._waiting:
            if len(self._noted) > _MOST:
                return None
            self._look(*self._waiting.pop())
        return self._read | {path for path in self._followed if not any(
            read[:len(path)] == path for read in self._read)}  # behind a path that is read, its beginning is

    def knows(self, call: Call) -> bool:
        """Whether what it gives is decided by its arguments: a steady builtin, or a function of the modules."""
        builtin = BUILTINS.get(".".join(call.operator))
        if builtin is None:
            return call.operator[-1] in self._functions or (
                len(call.operator) == 1 and call.operator[0] in self._renamed)
        return not builtin.nondeterministic and (not builtin.context or builtin.name in _STEADY)

    def _note(self, clause: Rule, name: str, path: _Path) -> None:
        """In this clause the name stands for what is there in the input."""
        noted = (id(clause), name, path)
        if noted not in self._noted:
            self._noted.add(noted)
            self._waiting.append((clause, name, path))

    def _look(self, clause: Rule, name: str, path: _Path) -> None:
        settled = {id(parameter) for parameter in clause.args}
        """Nodes that are no use of the name, or one that is followed."""
        for node in walk_rule(clause):
            if isinstance(node, Expr):
                statement = node.statement
                if isinstance(statement, Unify) and statement.assign and isinstance(statement.left, Var):
                    if statement.left.name == name:
                        settled.add(id(statement.left))
                    self._follow(clause, statement, name, path, settled)
            elif isinstance(node, Call):
                self._called(node, name, path, settled)
            elif isinstance(node, Ref):
                if isinstance(node.head, Var) and node.head.name == name:
                    if id(node) not in settled:
                        self._read.add(path + _names(node))
                    settled.add(id(node.head))
            elif isinstance(node, Var) and node.name == name and id(node) not in settled:
                self._read.add(path)

    def _follow(self, clause: Rule, statement: Unify, name: str, path: _Path, settled: set[int]) -> None:
        behind = _whole_chain(statement.right, name)
        if behind is not None and isinstance(statement.left, Var):
            settled.add(id(statement.right))
            self._followed.add(path + behind)
            self._note(clause, statement.left.name, path + behind)

    def _called(self, call: Call, name: str, path: _Path, settled: set[int]) -> None:
        if call.operator == ["object", "get"] and len(call.args) == 3:
            behind, keys = _whole_chain(call.args[0], name), _keys(call.args[1])
            if behind is not None and keys:
                settled.add(id(call.args[0]))
                self._read.add(path + behind + keys)
            return
        functions = self._functions.get(call.operator[-1], [])
        if not functions or ".".join(call.operator) in BUILTINS or (
                len(call.operator) == 1 and call.operator[0] in self._renamed):
            return
        for at, argument in enumerate(call.args):
            behind = _whole_chain(argument, name)
            if behind is None:
                continue
            parameters = [clause.args[at] if at < len(clause.args) else None for clause in functions]
            if all(isinstance(parameter, Var) for parameter in parameters):
                settled.add(id(argument))
                self._followed.add(path + behind)
                for clause, parameter in zip(functions, parameters, strict=True):
                    if isinstance(parameter, Var):
                        self._note(clause, parameter.name, path + behind)


def _names(ref: Ref) -> _Path:
    names: list[str] = []
    for part in ref.path:
        if not isinstance(part, Scalar) or not isinstance(part.value, str):
            break
        names.append(part.value)
    return tuple(names)


def _whole_chain(term: Term, name: str) -> _Path | None:
    """The names behind that one where a term is nothing else."""
    if isinstance(term, Var):
        return () if term.name == name else None
    if isinstance(term, Ref) and isinstance(term.head, Var) and term.head.name == name:
        names = _names(term)
        return names if len(names) == len(term.path) else None
    return None


def _keys(term: Term) -> _Path:
    """Of `object.get`: one name or a list of them; () where they are computed."""
    parts = term.items if isinstance(term, Array) else [term]
    names = [part.value for part in parts if isinstance(part, Scalar) and isinstance(part.value, str)]
    return tuple(names) if len(names) == len(parts) else ()
