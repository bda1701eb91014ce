"""Which expressions of a test failed, from the steps of its evaluation, as `opa test -v` shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from policylang.rego.check.ruletree import ground, shown
from policylang.rego.compile.generator import Spot
from policylang.rego.declare import Step
from policylang.rego.syntax import tree
from policylang.rego.values import text

_MOST = 10_000  # lines of one test


class Line(NamedTuple):
    where: str
    depth: int
    text: str


@dataclass
class _Frame:
    """A clause that is being evaluated, and the expressions in it that were begun. `told`: there is a line of it."""

    clause: tree.Rule
    open: list[Spot] = field(default_factory=list)
    told: bool = False


def trace(modules: Iterable[tree.Module], path: str, places: list[Spot], steps: list[Step]) -> list[str]:
    """The lines of a failing test: the rules that were entered, and in them the expressions that did not hold."""
    evaluation = _Evaluation(modules)
    for step in steps:
        evaluation.step(places[step.place], done=step.done)
        if len(evaluation.lines) > _MOST:
            break
    evaluation.leave(0)
    lines = [Line("query:1", 0, f"Enter {path} = _"), *evaluation.lines, Line("query:1", 1, f"Fail {path} = _")]
    width = max(len(line.where) for line in lines) + 7
    return [f"{line.where:{width}}{'| ' * line.depth}{line.text}  " for line in lines]


def _holds(outer: Spot, inner: Spot) -> bool:
    return outer.at <= inner.at and inner.end <= outer.end and outer != inner


class _Evaluation:
    """The clauses that are evaluated at a step, each called by the one before it."""

    def __init__(self, modules: Iterable[tree.Module]) -> None:
        self._frames: list[_Frame] = []
        self._expressions: dict[tuple[str, int, int], tuple[tree.Rule, tree.Expr]] = {}
        self.lines: list[Line] = []
        for module in modules:
            for rule in module.rules:
                for clause in rule.chain():
                    for part in tree.walk_rule(clause):
                        if isinstance(part, tree.Expr):
                            self._expressions[module.source.name, part.at, part.end] = clause, part

    def step(self, spot: Spot, *, done: bool) -> None:
        expression = self._expressions.get((spot.source.name, spot.at, spot.end))
        if expression is None:
            return  # the query's
        clause, _ = expression
        at = next((at for at, frame in enumerate(self._frames) if frame.clause is clause), None)
        if at is None:
            self._frames.append(_Frame(clause))
        else:
            self.leave(at + 1)
        opened = self._frames[-1].open
        while opened and opened[-1] != spot and not _holds(opened[-1], spot) and (not done or opened[-1].at > spot.at):
            self._fail(opened.pop())
        if not done:
            opened.append(spot)
        elif opened and opened[-1] == spot:
            opened.pop()

    def leave(self, depth: int) -> None:
        """Clauses that were called are left; what is not done in them did not hold."""
        while len(self._frames) > depth:
            opened = self._frames[-1].open
            while opened:
                self._fail(opened.pop())
            self._frames.pop()

    def _fail(self, spot: Spot) -> None:
        for depth, frame in enumerate(self._frames, 1):
            if not frame.told:
                source = frame.clause.module.source
                self.lines.append(Line(f"{source.name}:{source.place(frame.clause.at)[0]}", depth,
                                       f"Enter {shown(*ground(frame.clause))}"))
                frame.told = True
        _, expr = self._expressions[spot.source.name, spot.at, spot.end]
        depth = len(self._frames) + 1 + len(self._frames[-1].open)
        self.lines.append(Line(f"{spot.source.name}:{spot.source.place(spot.at)[0]}", depth,
                               f"Fail {_expression(expr, spot.source.text[spot.at:spot.end])}"))


def _expression(expr: tree.Expr, written: str) -> str:
    """An expression as OPA's compiler left it: `==` unifies, signs are calls, names are paths."""
    statement = expr.statement
    if isinstance(statement, tree.Unify):
        made = f"{_term(statement.left)} = {_term(statement.right)}"
    elif isinstance(statement, tree.Call) and statement.operator in (["equal"], ["eq"]) and len(statement.args) == 2:
        made = f"{_term(statement.args[0])} = {_term(statement.args[1])}"
    elif isinstance(statement, tree.SomeIn):
        key = "_" if statement.key is None else _term(statement.key)
        made = f"{_term(statement.value)} = {_term(statement.domain)}[{key}]"
    elif isinstance(statement, tree.Term):
        made = _term(statement)
    elif isinstance(statement, tree.Every):
        return " ".join(written.split())
    else:
        return " ".join(written.split())
    for target, value in expr.withs:
        made += f" with {_term(target)} as {_term(value)}"
    return f"not {made}" if expr.negated else made


def _term(term: tree.Term) -> str:
    fixed = tree.constant(term)
    if fixed is not tree.NOTHING:
        return text(fixed)
    if isinstance(term, tree.Var):
        return term.name.partition("#")[0]
    if isinstance(term, tree.Ref):
        head = _term(term.head)
        return head + shown((), term.path).removeprefix("data")
    if isinstance(term, tree.Call):
        return f"{'.'.join(term.operator)}({', '.join(map(_term, term.args))})"
    if isinstance(term, tree.Array):
        return f"[{', '.join(map(_term, term.items))}]"
    if isinstance(term, tree.SetOf):
        return "{" + ", ".join(map(_term, term.items)) + "}"
    if isinstance(term, tree.Object):
        return "{" + ", ".join(f"{_term(name)}: {_term(value)}" for name, value in term.pairs) + "}"
    return "…"
