"""JMESPath as Kyverno has it: go-jmespath's fork, its missing keys, Go's numbers, and Kyverno's functions.

    from policylang import jmespath
    jmespath.compile("containers[?image == 'a'].name")({"containers": […]})
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from policylang.code import Code
from policylang.jmespath.builtins import FUNCTIONS, KYVERNO
from policylang.jmespath.compiler import Emitter, Holes, Mode, writer
from policylang.jmespath.syntax.parser import parse
from policylang.jmespath.syntax.tree import Node, show
from policylang.jmespath.values import Env, QueryError, UnknownKeyError, World, same
from policylang.source import Source
from policylang.trace import Trace

__all__ = ["FUNCTIONS", "KYVERNO", "Emitter", "Env", "Holes", "Mode", "Node", "Program", "QueryError",
           "UnknownKeyError", "World", "compile", "parse", "same", "show", "traced", "writer"]


class Program:
    """Call it with data, and an `Env` where the time, the budget or the world matter; it raises QueryError.

    `problems` are calls that can only fail, (message, offset): unknown functions, wrong numbers of arguments.
    `asks` names what of the world it may ask for: clock, network, random.
    """

    __slots__ = ("_run", "asks", "name", "problems", "text")

    def __init__(self, text: str, name: str = "<jmespath>") -> None:
        self.text, self.name = text, name
        code = Code(name)
        emitter = writer(code)
        emitter.function("query", parse(text, name))
        self._run = code.build()["query"]
        self.problems = tuple(emitter.problems)
        self.asks = frozenset(emitter.needs)

    def __call__(self, data: Any, env: Env | None = None) -> Any:
        return self._run(data, Env() if env is None else env)

    def __reduce__(self) -> tuple[Any, ...]:
        return Program, (self.text, self.name)

    def __repr__(self) -> str:
        return f"Program({self.text!r})"


@lru_cache(1024)
def compile(text: str, name: str = "<jmespath>") -> Program:  # noqa: A001 - the word of `re` and of go-jmespath
    """Raises SourceError, with line and column, for what is no expression."""
    return Program(text, name)


def traced(text: str, data: Any, env: Env | None = None, name: str = "<jmespath>") -> tuple[Any, Trace]:
    """The value, and which part of the expression gave which value."""
    trace = Trace(Source(text, name))
    code = Code(name)
    writer(code, note=trace.note).function("query", parse(text, name))
    return code.build()["query"](data, Env() if env is None else env), trace
