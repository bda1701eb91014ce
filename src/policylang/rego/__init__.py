"""Rego, the language of OPA and Gatekeeper, v0 and v1, compiled to Python functions.

    policy = rego.Policy({"policy.rego": text})
    deny = policy.entry("data.main.deny")
    deny({"user": "ann"}, {"roles": {}})          a value, or UNDEFINED
    policy.query("data.main.deny[x]")(data, given)  all solutions
"""

from __future__ import annotations

from policylang.rego.compile.generator import Result
from policylang.rego.declare import World
from policylang.rego.evaluation.state import EvaluationError
from policylang.rego.run.program import Entry, Policy, Query
from policylang.rego.syntax.parser import parse_module, parse_query
from policylang.rego.syntax.tree import NOTHING, Term, constant
from policylang.rego.values import UNDEFINED, Set, Value, equal, key, text, to_json
from policylang.source import Source, SourceError

__all__ = ["UNDEFINED", "Entry", "EvaluationError", "Policy", "Query", "Result", "Set", "Source", "SourceError",
           "Value", "World", "equal", "key", "parse_module", "parse_query", "parse_value", "text", "to_json"]


def parse_value(written: str) -> Value:
    """A ground term, such as `{1, "a", [true]}`. SourceError where it is none."""
    [expr] = parse_query(Source(written, "term"))
    value = constant(expr.statement) if isinstance(expr.statement, Term) else NOTHING
    if value is NOTHING:
        raise SourceError("expected a value", Source(written, "term"), 0)
    return value
