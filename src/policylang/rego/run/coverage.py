"""Which lines of a policy evaluations came past, from the steps of queries that were compiled with trace on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from policylang.rego.compile.generator import Spot
from policylang.rego.declare import Step
from policylang.rego.run.program import Policy
from policylang.rego.syntax.tree import Rule

Lines = dict[str, set[int]]  # of each module


class Coverage:
    """Add the steps of evaluations; then ask for the report."""

    def __init__(self, policy: Policy) -> None:
        self._all: Lines = {}
        self._passed: Lines = {}
        self._heads: dict[tuple[str, int], list[int]] = {}  # the last expression of a clause → the lines of its head
        for module in policy.modules:
            name = module.source.name
            lines = self._all.setdefault(name, set())
            self._passed.setdefault(name, set())
            for rule in module.rules:
                for clause in rule.chain():
                    self._enter(clause, name, lines)

    def _enter(self, clause: Rule, name: str, lines: set[int]) -> None:
        written = [expr for expr in clause.body if expr.at != expr.end]
        if not written:
            return  # a constant: nothing of it is evaluated
        place = clause.module.source.place
        head = place(clause.at)[0]
        lines.add(head)
        lines.update(place(expr.at)[0] for expr in written)
        self._heads.setdefault((name, max(expr.at for expr in written)), []).append(head)

    def add(self, places: list[Spot], steps: Iterable[Step]) -> None:
        for number, done in {(step.place, step.done) for step in steps}:
            source, at, _ = places[number]
            passed = self._passed.get(source.name)
            if passed is None:
                continue
            passed.add(source.place(at)[0])
            if done:
                passed.update(self._heads.get((source.name, at), ()))

    def report(self) -> dict[str, Any]:
        """As `opa eval --coverage`: covered and not covered ranges of rows, and percentages."""
        files: dict[str, Any] = {}
        total = covered = 0
        for name, lines in sorted(self._all.items()):
            passed = lines & self._passed[name]
            missed = lines - passed
            file: dict[str, Any] = {}
            if passed:
                file |= {"covered": _ranges(passed)}
            if missed:
                file |= {"not_covered": _ranges(missed)}
            if lines:
                file |= {"covered_lines": len(passed)} if passed else {}
                file |= {"not_covered_lines": len(missed)} if missed else {}
                file |= {"coverage": round(100 * len(passed) / len(lines), 2)}
                files[name] = file
            total += len(lines)
            covered += len(passed)
        return {"files": files, "covered_lines": covered, "not_covered_lines": total - covered,
                "coverage": round(100 * covered / total, 2) if total else 0}


def _ranges(lines: set[int]) -> list[dict[str, dict[str, int]]]:
    made: list[list[int]] = []
    for line in sorted(lines):
        if made and made[-1][1] == line - 1:
            made[-1][1] = line
        else:
            made.append([line, line])
    return [{"start": {"row": first}, "end": {"row": last}} for first, last in made]
