"""The parser of Rego's bodies: their expressions, with negation, `some`, `every`, `with`, and logic in braces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from custody.languages.rego.lexer import FUTURE, KEYWORDS, LATER, error, lex
from custody.languages.rego.terms import Terms
from custody.languages.rego.tree import Body, Every, Expr, Logic, Ref, Some, SomeIn, Term, Unify, Var
from custody.languages.scanner import END
from custody.languages.source import Source, SourceError

_T = TypeVar("_T")


class Lines(Terms):
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
        expr = self._logic(("or", "and"))
        self.nesting.depth -= 1
        return expr

    def _logic(self, operators: tuple[str, ...]) -> Expr:
        """`a or b`, of which each side may be `a and b`; a side may be a body in braces."""
        if not operators:
            return self._operand()
        operator = operators[0]
        start = self.token.start
        first = self._logic(operators[1:])
        if operator not in self.features or not self.word(operator):
            return first
        sides = [self._side(first)]
        while self.word(operator):
            self.at += 1
            sides.append(self._side(self._logic(operators[1:])))
        return Expr(start, self.last_end, Logic(operator, [body for body, _ in sides], [braced for _, braced in sides]))

    @staticmethod
    def _side(expr: Expr) -> tuple[Body, bool]:
        """A braced body stands for its expressions."""
        if isinstance(expr.what, Logic) and expr.what.operator == "{}" and not expr.negated:
            return expr.what.bodies[0], True
        if isinstance(expr.what, Logic) and len(expr.what.bodies) == 1 and expr.what.operator == "and":
            return expr.what.bodies[0], False  # what was in parentheses
        return [expr], False

    def _operand(self) -> Expr:
        if self.features & LATER:
            if self.sign("(") and (found := self._attempt(self._grouped)) is not None:
                return found
            if self.sign("{") and (found := self._attempt(self._block)) is not None:
                return found
        return self._literal()

    def _attempt(self, way: Callable[[], _T | None]) -> _T | None:
        mark, depth = self.at, self.nesting.depth
        try:
            found = way()
        except SourceError:
            found = None
        if found is None:
            self.at, self.nesting.depth = mark, depth
        return found

    def _grouped(self) -> Expr | None:
        """`(a and b)`: parentheses around logic, which no term can be."""
        start = self.next().start
        inner = self.expression()
        if not self.take(")") or not (isinstance(inner.what, Logic) or inner.negated or inner.withs):
            return None
        if not (self.token.kind is END or self.newline_before() or self._ends()):
            return None
        if isinstance(inner.what, Logic) and not inner.negated:
            return inner
        return Expr(start, self.last_end, Logic("and", [[inner]], [False]))

    def _block(self) -> Expr | None:
        """`{ body }` as a side of `and` or `or`."""
        start = self.token.start
        body = self._braced()
        if not (self.word("and") or self.word("or") or self._side_follows()):
            return None
        return Expr(start, self.last_end, Logic("{}", [body], [True]))

    def _side_follows(self) -> bool:
        before = self.at - 1
        depth = 0
        while before >= 0:  # back to the opening brace: what stands before it?
            token = self.tokens[before]
            if token.kind == "sign":
                depth += {"}": 1, "{": -1}.get(token.text, 0)
                if depth == 0:
                    break
            before -= 1
        word = self.tokens[before - 1].text if before else ""
        return word in ("and", "or") and (self.token.kind is END or self.newline_before() or self._ends())

    def _ends(self) -> bool:
        return self.sign("}") or self.sign(")") or self.sign("]") or self.sign(";") or any(
            map(self.word, ("and", "or", "with")))

    def _literal(self) -> Expr:
        start = self.token.start
        negated = False
        if self.word("not"):
            self.at += 1
            negated = True
            if "not" in self.features and self.sign("{"):
                found = self._attempt(self._not_block)
                if found is not None:
                    return self._with(Expr(start, self.last_end, found))
            if self.features & LATER and self.sign("("):
                inner = self._attempt(self._grouped)
                if inner is not None:
                    return self._with(Expr(start, self.last_end, Logic("not", [[inner]], [False])))
        if self.word("some"):
            if negated:
                raise self.unexpected("illegal negation of 'some'")
            return self._with(Expr(start, self.last_end, self._some()))
        if self.word("every"):
            if negated:
                raise self.unexpected("illegal negation of 'every'")
            return self._with(Expr(start, self.last_end, self._every()))
        left = self.infix()
        what: Term | Unify = left
        if self.sign("=") or self.sign(":="):
            assign = self.next().text == ":="
            if assign and negated:
                raise SourceError("rego_compile_error: cannot assign vars inside negated expression", self.source, start,
                                  kind="rego_compile_error")
            what = Unify(left, self.infix(), assign)
        if negated and "not" in self.features:
            inner = self._with(Expr(left.at, self.last_end, what))
            withs, inner.withs = inner.withs, []
            return Expr(start, self.last_end, Logic("not", [[inner]], [False]), withs=withs)
        return self._with(Expr(start, self.last_end, what, negated))

    def _not_block(self) -> Logic | None:
        body = self._braced()
        if not (self.token.kind is END or self.newline_before() or self._ends()):
            return None
        return Logic("not", [body], [True])

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
            found = self._attempt(self._some_in)
            if found is not None:
                return found
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
            found = self.next()
            names.append(Var(found.start, found.end, found.text))
            if not self.take(","):
                break
        if not self.word("in"):
            raise self.unexpected("expected `x[, y] in xs { ... }` expression")
        self.at += 1
        domain = self._level(0)
        return Every(names[0] if len(names) == 2 else None, names[-1], domain, self._braced())
