"""The parser of Rego's bodies: their expressions, with negation, `some`, `every`, `with`, and logic in braces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from policylang.rego.syntax.lexer import FUTURE, KEYWORDS, error, lex
from policylang.rego.syntax.termparser import TermParser
from policylang.rego.syntax.tree import Body, Call, Every, Expr, Logic, Ref, Some, SomeIn, Term, Unify, Var, value_name
from policylang.scanner import END
from policylang.source import Source, SourceError

_T = TypeVar("_T")
_CONNECTING = frozenset({"and", "or"})


class BodyParser(TermParser):
    """Bodies, in the syntax of version 0 or 1."""

    def __init__(self, source: Source, version: int) -> None:
        lexed = lex(source)
        super().__init__(source, lexed, KEYWORDS | FUTURE if version else KEYWORDS)
        self.comments = lexed.comments
        self.version = version
        self.features: frozenset[str] = frozenset()

    def use(self, features: frozenset[str]) -> None:
        self.features |= features
        self.keywords |= features - {"not"}

    def body(self, *closing: str) -> Body:
        """Expressions with `;` or a line's end between them, up to the closing sign, which is not taken."""
        body: Body = []
        while True:
            while self.take(";"):
                pass
            if self.token.kind is END or any(map(self.sign, closing)):
                break
            body.append(self.expression())
            if self.token.kind is END or any(map(self.sign, closing)) or self.sign(";"):
                continue
            if self.newline_before():
                continue
            if closing and self.sign(","):
                break
            raise self.unexpected('expected \\n or ; or ' + " or ".join(closing) if closing else "expected \\n or ;")
        if not body:
            raise self.unexpected("expected an expression")
        return body

    def _braced(self) -> Body:
        self.expect("{")
        if self.sign("}"):
            raise error("found empty body", self.source, self.token.start)
        body = self.body("}")
        self.expect("}")
        return body

    def expression(self) -> Expr:
        self.nesting.enter(self.token.start)
        expr = self._logic(("or", "and"), first=True)
        if isinstance(expr.statement, Logic) and expr.statement.operator in ("or", "and"):
            expr = self._with(expr)  # what comes last is for the whole of it
        self.nesting.depth -= 1
        return expr

    def _logic(self, operators: tuple[str, ...], first: bool) -> Expr:
        """`a or b`, of which each side may be `a and b`; a side may be a body in braces."""
        if not operators:
            return self._operand(first)
        operator = operators[0]
        start = self.token.start
        side = self._logic(operators[1:], first)
        if operator not in self.features or not self.word(operator):
            return side
        self._check_first(side, operator)
        sides = [self._side(side)]
        while self.word(operator):
            self.at += 1
            sides.append(self._side(self._logic(operators[1:], first=False)))
        return Expr(start, self.last_end, Logic(operator, [body for body, _ in sides], [braced for _, braced in sides]))

    def _check_first(self, side: Expr, operator: str) -> None:
        """What may not come before `and` and `or`."""
        if isinstance(side.statement, (Some, SomeIn, Every)):
            raise self.unexpected("expected \\n or ; or }")
        if side.withs:
            raise error(f"`with` modifier is not allowed on operand of `{operator}` (hint: Wrap the operand in `(...)` "
                        f"or `{{...}}` to scope, or move `with` after the `{operator}` expression to apply it to the "
                        "whole expression)", self.source, side.at)
        if isinstance(side.statement, (Term, Unify)) and not side.negated and self.source.text[side.at] == "{":
            raise self._brace_led(side.at, operator)

    def _brace_led(self, start: int, operator: str) -> SourceError:
        operand = self.source.text[start:self.last_end]
        if operand == "{}":
            return error("found empty body", self.source, start)
        return error(f"operand of `{operator}` cannot begin with `{{` unless the braces hold a body (hint: wrap the "
                     f"operand to keep the value: `({operand}) {operator} ...`)", self.source, start)

    @staticmethod
    def _side(expr: Expr) -> tuple[Body, bool]:
        """A braced body stands for its expressions."""
        if isinstance(expr.statement, Logic) and expr.statement.operator == "{}" and not expr.negated:
            return expr.statement.bodies[0], True
        if isinstance(expr.statement, Logic) and len(expr.statement.bodies) == 1 and expr.statement.operator == "and":
            return expr.statement.bodies[0], False  # what was in parentheses
        return [expr], False

    def _operand(self, first: bool) -> Expr:
        """`first`: a line begins with it, which may be something else than a side of `and` and `or`."""
        if self.features & _CONNECTING:
            if self.sign("(") and (grouped := self._attempt(self._grouped)) is not None:
                return grouped
            if self.sign("{"):
                block = self._attempt(self._block) if first else self._side_in_braces()
                if block is not None:
                    assert isinstance(block.statement, Logic)
                    self._check_union(block.statement.bodies[0])
                    return block
        return self._literal(first)

    def _side_in_braces(self) -> Expr:
        start, mark, depth = self.token.start, self.at, self.nesting.depth
        operator = self.tokens[self.at - 1].text
        try:
            body = self._braced()
        except SourceError as wrong:
            self.at, self.nesting.depth = mark, depth
            if self._follows("}") or self._attempt(self.infix) is None:
                raise wrong from None
            raise self._brace_led(start, operator) from None
        return Expr(start, self.last_end, Logic("{}", [body], [True]))

    def _check_union(self, body: Body) -> None:
        operand = body[0].statement
        if isinstance(operand, Call) and operand.infix == "|" and self.source.text[body[0].at] != "(":
            union = self.source.text[body[0].at:body[0].end]
            braces = f"{{{union}}}"
            raise error("ambiguous `{ ... | ... }` operand: read as a body holding a set-union expression, not as a "
                        f"comprehension (hint: write `({braces})` for the comprehension, or `{{({union})}}` for the "
                        "set union)", self.source, body[0].at)

    def _follows(self, *signs: str) -> bool:
        """Whether signs come after this token."""
        following = self.tokens[self.at + 1:self.at + 1 + len(signs)]
        return [token.text for token in following] == list(signs)

    def _attempt(self, way: Callable[[], _T | None]) -> _T | None:
        mark, depth = self.at, self.nesting.depth
        try:
            read = way()
        except SourceError:
            read = None
        if read is None:
            self.at, self.nesting.depth = mark, depth
        return read

    def _grouped(self) -> Expr | None:
        """`(a and b)`: parentheses around logic, which no term can be."""
        start = self.next().start
        inner = self.expression()
        if not self.take(")") or not (isinstance(inner.statement, Logic) or inner.negated or inner.withs):
            return None
        if not (self.token.kind is END or self.newline_before() or self._ends()):
            return None
        if isinstance(inner.statement, Logic) and not inner.negated and not inner.withs:
            return inner
        return Expr(start, self.last_end, Logic("and", [[inner]], [False]))

    def _block(self) -> Expr | None:
        """`{ body }` before `and` or `or`."""
        start = self.token.start
        body = self._braced()
        if not (self.word("and") or self.word("or")):
            return None
        return Expr(start, self.last_end, Logic("{}", [body], [True]))

    def _ends(self) -> bool:
        return self.sign("}") or self.sign(")") or self.sign("]") or self.sign(";") or any(
            map(self.word, ("and", "or", "with")))

    def _literal(self, first: bool) -> Expr:
        """A line, or where not `first` a side of `and` and `or`, whose `with` is that of the whole."""
        start = self.token.start
        negated = False
        if self.word("not"):
            self.at += 1
            negated = True
            if "not" in self.features:
                inner = self._negated()
                if inner is not None:
                    literal = Expr(start, self.last_end, inner)
                    return self._with(literal) if first and not self._connects() else literal
        for word in ("some", "every"):
            if self.word(word):
                if negated or not first:
                    raise self.unexpected(f"illegal negation of '{word}'" if negated else "")
                return self._with(Expr(start, self.last_end, self._some() if word == "some" else self._every()))
        left = self.infix()
        statement: Term | Unify = left
        if self.sign("=") or self.sign(":="):
            assign = self.next().text == ":="
            statement = Unify(left, self.infix(), assign)
        if negated and "not" in self.features:
            inner_expr = Expr(left.at, self.last_end, statement)
            expr = Expr(start, self.last_end, Logic("not", [[inner_expr]], [False]))
        else:
            expr = Expr(start, self.last_end, statement, negated)
        return self._with(expr) if first else expr

    def _connects(self) -> bool:
        return self.word("and") or self.word("or")

    def _negated(self) -> Logic | None:
        """What `not` stands before, where it is a body in braces or logic in parentheses."""
        if self.sign("("):
            inner = self._attempt(self._grouped)
            return None if inner is None else Logic("not", [[inner]], [False])
        if not self.sign("{"):
            return None
        mark, depth = self.at, self.nesting.depth
        try:
            return Logic("not", [self._braced()], [True])
        except SourceError as wrong:
            self.at, self.nesting.depth = mark, depth
            value = None if self._follows("}") else self._attempt(self.infix)
            if value is None:
                raise wrong from None
            text = self.source.text[value.at:value.end]
            raise error(f"`{{...}}` in an operand position must contain expression(s), got: {value_name(value)} "
                        f"(hint: write `not ({text})` to negate the value, or `not {{{text}}}` for a body holding it)",
                        self.source, value.at) from None

    def _with(self, expr: Expr) -> Expr:
        expr.end = self.last_end
        while self.word("with"):
            self.at += 1
            target = self.term()
            if isinstance(target, Var):
                target = Ref(target.at, target.end, target, [])
            if not isinstance(target, Ref) or not isinstance(target.head, Var):
                raise error("with keyword target must be a reference", self.source, target.at)
            if not self.word("as"):
                raise self.unexpected("expected as keyword")
            self.at += 1
            expr.withs.append((target, self.infix(pairs=False)))
            expr.end = self.last_end
        return expr

    def _some(self) -> Some | SomeIn:
        start = self.next().start
        if "in" in self.keywords:
            declared = self._attempt(self._some_in)
            if declared is not None:
                return declared
        names: list[Var] = []
        while True:
            if self.token.kind != "name" or self.token.text in self.keywords:
                raise self.unexpected("expected var" if names else "expected var or `in`")
            found_name = self.next()
            names.append(Var(found_name.start, found_name.end, found_name.text))
            if not self.take(","):
                break
        if self.word("in"):
            raise error("expected exactly one or two variables before `in`", self.source, start)
        return Some(names)

    def _some_in(self) -> SomeIn | None:
        first = self._level(1)
        key: Term | None = None
        if self.take(","):
            key, first = first, self._level(1)
        if not self.word("in"):
            return None
        self.at += 1
        return SomeIn(key, first, self._level(0))

    def _every(self) -> Every:
        self.at += 1
        names: list[Var] = []
        while len(names) < 2:
            if self.token.kind != "name" or self.token.text in self.keywords:
                raise self.unexpected("expected var")
            token = self.next()
            names.append(Var(token.start, token.end, token.text))
            if not self.take(","):
                break
        if not self.word("in"):
            raise self.unexpected("expected `x[, y] in xs { ... }` expression")
        self.at += 1
        domain = self._level(0)
        return Every(names[0] if len(names) == 2 else None, names[-1], domain, self._braced())
