"""A Pratt parser with the grammar and the errors of Kyverno's go-jmespath, its leniencies included.

Those are: commas between arguments and between the pairs of a hash may be missing, an argument list may end in a comma,
and an index that breaks off gives a node that fails when it is evaluated.
"""

from __future__ import annotations

from policylang.go.numbers import NumError, parse_int
from policylang.jmespath.syntax import lexer
from policylang.jmespath.syntax.tree import COMPARATORS, Node
from policylang.scanner import Token
from policylang.source import Nesting, Source, SourceError, checked

LONGEST = 16_384  # characters of an expression
DEEPEST = 120  # levels of a tree
_POWERS = {"tPipe": 1, "tOr": 2, "tAnd": 3, **dict.fromkeys(COMPARATORS.values(), 5), "tFlatten": 9, "tStar": 20,
           "tFilter": 21, "tDot": 40, "tNot": 45, "tLbrace": 50, "tLbracket": 55, "tLparen": 60}
_NAMES = ("tUnquotedIdentifier", "tQuotedIdentifier")
_BINARY = {"tPipe": "Pipe", "tOr": "OrExpression", "tAnd": "AndExpression"}
_OPERATORS = {name: sign for sign, name in COMPARATORS.items()}


def parse(text: str, name: str = "<jmespath>") -> Node:
    """The tree of an expression. Raises SourceError in the words of `kyverno jp`."""
    source = checked(Source(text, name), limit=LONGEST)
    return _Parser(source).parse()


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = lexer.tokens(source)
        self.at = 0
        self.nesting = Nesting(source, DEEPEST, "SyntaxError: expression nested too deeply")

    def parse(self) -> Node:
        node = self.expression(0)
        if self.kind != "tEOF":
            raise self.wrong(f"Unexpected token at the end of the expression: {self.kind}")
        return node

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    def wrong(self, message: str, token: Token | None = None) -> SourceError:
        return SourceError(f"SyntaxError: {message}", self.source, (token or self.tokens[self.at]).start)

    def match(self, kind: str) -> None:
        if self.kind != kind:
            raise self.wrong(f"Expected {kind}, received: {self.kind}")
        self.at += 1

    def node(self, kind: str, value: object, children: tuple[Node, ...], start: int) -> Node:
        made = Node(kind, value, children, start, self.tokens[max(0, self.at - 1)].end)
        if made.depth > DEEPEST:
            raise SourceError(f"SyntaxError: expression nested too deeply: more than {DEEPEST} levels", self.source,
                              start)
        return made

    def expression(self, power: int) -> Node:
        token = self.tokens[self.at]
        self.nesting.enter(token.start)
        self.at = min(self.at + 1, len(self.tokens) - 1)
        left = self.prefix(token)
        while power < _POWERS.get(self.kind, 0):
            operator = self.tokens[self.at]
            self.at += 1
            left = self.infix(operator, left)
        self.nesting.depth -= 1
        return left

    def prefix(self, token: Token) -> Node:
        kind, start = token.kind, token.start
        if kind == "tUnquotedIdentifier":
            return Node("Field", token.text, (), start, token.end)
        if kind == "tQuotedIdentifier":
            if self.kind == "tLparen":
                raise self.wrong("Can't have quoted identifier as function Name.", token)
            return Node("Field", token.text, (), start, token.end)
        if kind == "tStringLiteral":
            return Node("Literal", lexer.string(token), (), start, token.end)
        if kind == "tJSONLiteral":
            return Node("Literal", lexer.literal(token, self.source), (), start, token.end)
        if kind == "tCurrent":
            return Node("CurrentNode", None, (), start, token.end)
        if kind == "tStar":
            right = Node("Identity") if self.kind == "tRbracket" else self.projected("tStar")
            return self.node("ValueProjection", None, (Node("Identity"), right), start)
        if kind == "tFilter":
            return self.filter(Node("Identity"), start)
        if kind == "tLbrace":
            return self.hash(start)
        if kind == "tFlatten":
            return self.flatten(Node("Identity"), start)
        if kind == "tLbracket":
            return self.bracket(start)
        if kind == "tExpref":
            return self.node("ExpRef", None, (self.expression(0),), start)
        if kind == "tNot":
            return self.node("NotExpression", None, (self.expression(_POWERS["tNot"]),), start)
        if kind == "tLparen":
            inner = self.expression(0)
            self.match("tRparen")
            return inner
        if kind == "tEOF":
            raise self.wrong("Incomplete expression", token)
        raise self.wrong(f"Invalid token: {kind}", token)

    def infix(self, operator: Token, left: Node) -> Node:
        kind, start = operator.kind, left.start
        if kind == "tDot":
            if self.kind != "tStar":
                return self.node("Subexpression", None, (left, self.after_dot("tDot")), start)
            self.at += 1
            return self.node("ValueProjection", None, (left, self.projected("tDot")), start)
        if kind in _BINARY:
            return self.node(_BINARY[kind], None, (left, self.expression(_POWERS[kind])), start)
        if kind in _OPERATORS:
            return self.node("Comparator", _OPERATORS[kind], (left, self.expression(_POWERS[kind])), start)
        if kind == "tLparen":
            arguments = []
            while self.kind != "tRparen":
                arguments.append(self.expression(0))
                if self.kind == "tComma":
                    self.at += 1
            self.at += 1
            return self.node("FunctionExpression", left.value, tuple(arguments), start)
        if kind == "tFilter":
            return self.filter(left, start)
        if kind == "tFlatten":
            return self.flatten(left, start)
        if kind == "tLbracket":
            if self.kind in ("tNumber", "tColon"):
                return self.sliced(left, self.index(), start)
            self.match("tStar")
            self.match("tRbracket")
            return self.node("Projection", None, (left, self.projected("tStar")), start)
        raise self.wrong(f"Unexpected token: {kind}")

    def bracket(self, start: int) -> Node:
        """What begins with `[`: an index, a slice, a projection or a multi-select list."""
        if self.kind in ("tNumber", "tColon"):
            try:
                index = self.index()
            except SourceError:
                return Node("Empty", None, (), start, self.tokens[self.at].end)
            return self.sliced(Node("Identity"), index, start)
        if self.kind == "tStar" and self.tokens[self.at + 1].kind == "tRbracket":
            self.at += 2
            return self.node("Projection", None, (Node("Identity"), self.projected("tStar")), start)
        return self.list(start)

    def index(self) -> Node:
        start = self.tokens[self.at].start
        if self.kind == "tColon" or self.tokens[self.at + 1].kind == "tColon":
            return self.slice(start)
        number = self.number()
        self.at += 1
        self.match("tRbracket")
        return self.node("Index", number, (), start)

    def number(self) -> int:
        token = self.tokens[self.at]
        try:
            return parse_int(token.text)
        except NumError as wrong:
            raise SourceError(f"strconv.Atoi: {wrong}", self.source, token.start) from None

    def slice(self, start: int) -> Node:
        parts: list[int | None] = [None, None, None]
        which = 0
        while self.kind != "tRbracket" and which < 3:
            if self.kind == "tColon":
                which += 1
            elif self.kind == "tNumber":
                parts[which] = self.number()
            else:
                raise self.wrong(f"Expected tColon or tNumber, received: {self.kind}")
            self.at += 1
        self.match("tRbracket")
        return self.node("Slice", parts, (), start)

    def sliced(self, left: Node, index: Node, start: int) -> Node:
        made = self.node("IndexExpression", None, (left, index), start)
        if index.kind != "Slice":
            return made
        return self.node("Projection", None, (made, self.projected("tStar")), start)

    def flatten(self, left: Node, start: int) -> Node:
        flat = self.node("Flatten", None, (left,), start)
        return self.node("Projection", None, (flat, self.projected("tFlatten")), start)

    def filter(self, left: Node, start: int) -> Node:
        condition = self.expression(0)
        self.match("tRbracket")
        right = Node("Identity") if self.kind == "tFlatten" else self.projected("tFilter")
        return self.node("FilterProjection", None, (left, right, condition), start)

    def list(self, start: int) -> Node:
        parts = [self.expression(0)]
        while self.kind != "tRbracket":
            self.match("tComma")
            parts.append(self.expression(0))
        self.at += 1
        return self.node("MultiSelectList", None, tuple(parts), start)

    def hash(self, start: int) -> Node:
        pairs = []
        while True:
            token = self.tokens[self.at]
            if token.kind not in _NAMES:
                raise self.wrong("Expected tQuotedIdentifier or tUnquotedIdentifier")
            self.at += 1
            self.match("tColon")
            value = self.expression(0)
            pairs.append(self.node("KeyValPair", token.text, (value,), token.start))
            if self.kind == "tComma":
                self.at += 1
            elif self.kind == "tRbrace":
                self.at += 1
                return self.node("MultiSelectHash", None, tuple(pairs), start)

    def after_dot(self, power: str) -> Node:
        start = self.tokens[self.at].start
        if self.kind in (*_NAMES, "tStar"):
            return self.expression(_POWERS[power])
        if self.kind == "tLbracket":
            self.at += 1
            return self.list(start)
        if self.kind == "tLbrace":
            self.at += 1
            return self.hash(start)
        raise self.wrong("Expected identifier, lbracket, or lbrace")

    def projected(self, power: str) -> Node:
        """What a projection applies to each element."""
        if _POWERS.get(self.kind, 0) < 10:
            return Node("Identity")
        if self.kind in ("tLbracket", "tFilter"):
            return self.expression(_POWERS[power])
        if self.kind == "tDot":
            self.at += 1
            return self.after_dot(power)
        raise self.wrong("Error")
