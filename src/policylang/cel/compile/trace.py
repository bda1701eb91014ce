"""Programs that tell what each part gave, for an explanation."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang.cel.compile.emitter import Emitter, Plan
from policylang.cel.syntax.tree import Literal
from policylang.code import call, load

_Emit = Callable[[Emitter, Any], ast.expr]


def traced(plan: Plan) -> Plan:
    """The plan, with each value but literals noted: the watcher is called with start, end and value."""
    return plan._replace(watched=True, nodes={
        kind: emit if kind is Literal else _noting(emit) for kind, emit in plan.nodes.items()})


def _noting(emit: _Emit) -> _Emit:
    return lambda emitter, node: call(load("w"), ast.Constant(node.start), ast.Constant(node.end), emit(emitter, node))
