"""The expressions of one policy: compiled in one environment, each variable declared for those after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from custody.errors import MalformedError
from custody.policy.evidencecontents import KINDS
from custody.policy.fields import Fields
from policylang.cel import BOOL, INT, NULL, STRING
from policylang.cel.compile.program import Program
from policylang.cel.cost.tally import CostModel
from policylang.cel.kubernetes.environment import KubernetesEnv
from policylang.cel.libraries import evidence
from policylang.cel.syntax.issues import CompileError
from policylang.cel.syntax.paths import paths
from policylang.cel.syntax.tree import Call, Ident, ListNode, Literal, MapNode, Node, Select, children
from policylang.cel.types import DYN, Type


class Condition:
    """One of matchConditions."""

    __slots__ = ("name", "program")

    def __init__(self, name: str, program: Program) -> None:
        self.name, self.program = name, program


class Expressions:
    """What compiles a policy's expressions. `variables` are in the order in which they are written.

    `reads` are the names of the environment that any of them uses, and `texts` the expressions.
    """

    def __init__(self, env: KubernetesEnv, *, cost: CostModel | None = None) -> None:
        self.env = env
        self.cost = cost
        self.variables: dict[str, Program] = {}
        self.selected: dict[str, frozenset[str]] = {}
        """By variable, the names that its expression uses, and `evidence` where it asks for that; of others
        `variables.NAME`, or `variables` where it says more of them than a name."""
        self.reads: set[str] = set()
        self.paths: set[tuple[str, ...]] = set()
        """Each use of a name with the fields behind it, of all expressions."""
        self.repeats = True
        """Whether all of them give the same for the same variables: none asks another, or for the time or chance."""
        self.texts: list[str] = []
        self._asks = False
        self._anything = False
        """Whether a kind of evidence may be named by what no expression has: parameters, an object's own fields."""
        self._written: set[str] = set()
        """Variables that are a map whose keys are written out."""
        self._words: set[str] = set()
        self._selected = frozenset[str]()
        self._spells = False
        self._confined = _CONFINED if env.namespace else frozenset[str]()

    @property
    def kinds(self) -> Sequence[str]:
        """Of evidence, that any of them may ask for: those that are named; all where none is, or where a name is no
        literal. () without evidence.
        """
        if not self._asks:
            return ()
        if self._anything:
            return KINDS
        return [kind for kind in KINDS if kind in self._words] or KINDS

    def program(self, text: str, where: str, *types: Type) -> Program:
        """Of one of these types, or of any. Raises MalformedError with the path and the compiler's words."""
        try:
            checked = self.env.check(text)
            if types and checked.result not in types:
                wanted = " or ".join(map(str, types))
                raise MalformedError(where, got=f"{text!r}, which is {checked.result}",
                                     expected=f"an expression of type {wanted}")
            used = set(_names(checked.root, constant=True))
            if self._confined & used:
                raise MalformedError(where, got=f"{min(self._confined & used)}.*",
                                     expected="none of it in a policy of a namespace")
            program = self.env.compile(checked, cost=self.cost)
        except CompileError as error:
            raise MalformedError(where, got=text, expected=f"an expression of CEL: {error.brief}") from None
        self.reads |= set(_names(checked.root))
        self.paths |= set(paths(checked.root))
        self._words |= _words(checked.root)
        called = _called(checked.root)
        self.repeats = self.repeats and not (called & _VARYING or used & _ELSEWHERE)
        asked = {evidence.NAME} & called
        self._asks = self._asks or bool(asked)
        self._anything = self._anything or any(
            not self._spelt(node.operands[1]) if node.function == evidence.NAME and len(node.operands) > 1
            else _computed(node) for node in _all(checked.root) if isinstance(node, Call))
        self._spells = self._spelt(checked.root)
        self._selected = frozenset((*_selected(checked.root), *asked))
        self.texts.append(text)
        return program

    def _spelt(self, node: Node) -> bool:
        """Whether it is a map whose keys an expression has as literals."""
        if isinstance(node, Select) and isinstance(node.operand, Ident) and node.operand.name == _VARIABLES:
            return node.field in self._written
        return isinstance(node, MapNode) and all(isinstance(entry.key, Literal) for entry in node.entries)

    def variable(self, name: str, text: str, where: str) -> None:
        """Declare `variables.NAME`. Raises MalformedError."""
        if name in self.variables:
            raise MalformedError(where, got=f"{name} twice", expected="each variable once")
        program = self.program(text, where)
        self.env.declare(name, program.result or DYN)
        self.variables[name] = program
        self.selected[name] = self._selected
        if self._spells:
            self._written.add(name)

    def declare(self, fields: Fields, name: str = "variables") -> None:
        """All of a policy's `variables`. Raises MalformedError."""
        for entry in fields.each(name):
            variable, text = entry.need("name", str), entry.need("expression", str)
            entry.done()
            self.variable(variable, text, entry.path("expression"))

    def conditions(self, fields: Fields, name: str = "matchConditions") -> list[Condition]:
        """Raises MalformedError."""
        compiled = []
        for entry in fields.each(name):
            condition, text = entry.need("name", str), entry.need("expression", str)
            entry.done()
            compiled.append(Condition(condition, self.program(text, entry.path("expression"), BOOL)))
        return compiled

    def truth(self, text: str, where: str) -> Program:
        return self.program(text, where, BOOL)

    def text(self, text: str, where: str) -> Program:
        return self.program(text, where, STRING)

    def text_or_null(self, text: str, where: str) -> Program:
        return self.program(text, where, STRING, NULL)


_VARIABLES = "variables"
_VARYING = frozenset(("random", "time.now"))
_ELSEWHERE = frozenset(("generator", "globalContext", "http", "image", "resource"))


def _all(root: Node) -> Iterator[Node]:
    waiting: list[Node | None] = [root]
    while waiting:
        node = waiting.pop()
        if node is not None:
            yield node
            waiting.extend(children(node))


def _called(root: Node) -> set[str]:
    return {node.function for node in _all(root) if isinstance(node, Call)}


def _computed(call: Call) -> bool:
    """Whether a map may be asked for a key that is no literal."""
    if call.function in ("_[_]", "_[?_]"):
        return not isinstance(call.args[1], Literal) and call.args[1].type != INT
    return call.function == "@in" and not isinstance(call.args[0], Literal) and not isinstance(call.args[1], ListNode)


def _words(root: Node) -> set[str]:
    """Fields and texts that an expression has."""
    return {node.field if isinstance(node, Select) else node.value for node in _all(root)
            if isinstance(node, Select) or (isinstance(node, Literal) and isinstance(node.value, str))}


_CONFINED = frozenset(("globalContext", "http"))
"""What a policy of a namespace does not ask: other servers, and what was gathered of the whole cluster."""


def _names(root: Node, *, constant: bool = False) -> Iterator[str]:
    """The environment's variables, or its constants, that an expression uses."""
    waiting: list[Node | None] = [root]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if isinstance(node, (Ident, Select)) and node.reference is not None:
            if bool(node.reference.constant) is constant:
                yield node.reference.name
            continue
        waiting.extend(children(node))


def _selected(root: Node) -> Iterator[str]:
    waiting: list[Node | None] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Select) and isinstance(node.operand, Ident) and node.operand.name == _VARIABLES:
            yield f"{_VARIABLES}.{node.field}"
        elif isinstance(node, Ident):
            yield node.name
        elif node is not None:
            waiting.extend(children(node))
