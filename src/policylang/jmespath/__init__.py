"""JMESPath as Kyverno has it: go-jmespath's fork, its missing keys, Go's numbers, and Kyverno's functions.

    from policylang import jmespath
    jmespath.compile("containers[?image == 'a'].name")({"containers": […]})
"""

from __future__ import annotations

from functools import lru_cache

from policylang.jmespath.builtins import FUNCTIONS, KYVERNO
from policylang.jmespath.compiler import Emitter, Holes, Mode, writer
from policylang.jmespath.program import Program, traced
from policylang.jmespath.syntax.parser import parse
from policylang.jmespath.syntax.tree import Node, show
from policylang.jmespath.values import Env, QueryError, UnknownKeyError, World, same


@lru_cache(1024)
def compile(text: str, name: str = "<jmespath>") -> Program:  # noqa: A001 - the word of `re` and of go-jmespath
    """Raises SourceError, with line and column, for what is no expression."""
    return Program(text, name)


__all__ = ["FUNCTIONS", "KYVERNO", "Emitter", "Env", "Holes", "Mode", "Node", "Program", "QueryError",
           "UnknownKeyError", "World", "compile", "parse", "same", "show", "traced",
           "writer"]
