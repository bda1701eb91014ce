"""A tree becomes one Python function of (data, env): `EMIT` has what is written for each kind of node."""

from __future__ import annotations

from policylang.code import Code
from policylang.jmespath.compiler.access import ACCESS
from policylang.jmespath.compiler.calls import CALLS
from policylang.jmespath.compiler.emitter import Emit, Emitter, Holes, Mode, Note
from policylang.jmespath.compiler.logic import LOGIC
from policylang.jmespath.compiler.projections import PROJECTIONS

EMIT: dict[str, Emit] = ACCESS | LOGIC | PROJECTIONS | CALLS


def writer(code: Code, holes: Holes = lambda _: None, note: Note | None = None) -> Emitter:
    """Writes into `code`. `holes` fills texts that depend on the data, `note` is told what each part gave."""
    return Emitter(code, EMIT, holes, note)


__all__ = ["EMIT", "Emitter", "Holes", "Mode", "writer"]
