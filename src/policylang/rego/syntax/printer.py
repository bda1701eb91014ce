"""Bodies and terms in the style of `opa fmt`, with the comments between them."""

from __future__ import annotations

from collections.abc import Sequence

from policylang.rego.syntax import tree
from policylang.rego.syntax.lexer import FUTURE, KEYWORDS
from policylang.source import Source, SourceError

RESERVED = KEYWORDS | FUTURE
_RELATIONS = ("==", "!=", "<", "<=", ">", ">=")


class Printer:
    """Takes the comments one after the other, as it comes past them."""

    def __init__(self, source: Source, comments: list[tree.Comment]) -> None:
        self.source, self.comments = source, comments
        self.next = 0
        self._last_comment = 0
        self.depth = 0
        self.lines: list[str] = []

    def row(self, offset: int) -> int:
        return self.source.place(offset)[0]

    # --- lines and comments

    def blank(self) -> None:
        if self.lines and self.lines[-1] != "":
            self.lines.append("")

    def write(self, text: str) -> None:
        self.lines.append("\t" * self.depth + text if text else "")

    def before(self, offset: int) -> list[str]:
        """The comments that begin before an offset, a line each, with the blank lines between them."""
        lines: list[str] = []
        last = 0
        while self.next < len(self.comments) and self.comments[self.next].at < offset:
            comment = self.comments[self.next]
            row = self.row(comment.at)
            if last and row > last + 1:
                lines.append("")
            lines.append("#" + comment.text.rstrip())
            last = row
            self.next += 1
        self._last_comment = last
        return lines

    def comment_lines(self, offset: int) -> None:
        """Write the comments before an offset, and the blank line that may be between them and it."""
        comments = self.before(offset)
        for comment in comments:
            self.write(comment)
        if comments and self.row(offset) > self._last_comment + 1:
            self.blank()

    def trailing(self, offset: int) -> str:
        """The comment behind what ends at an offset, on the same line."""
        if self.next < len(self.comments):
            comment = self.comments[self.next]
            if comment.at >= offset and self.row(comment.at) == self.row(offset):
                self.next += 1
                return " #" + comment.text.rstrip()
        return ""

    def trailing_in(self, offset: int) -> str:
        """A comment behind an opening brace, before the first thing inside."""
        if self.next < len(self.comments):
            comment = self.comments[self.next]
            line = self.source.line(self.row(comment.at))
            if comment.at < offset and line.lstrip()[:1] != "#":
                self.next += 1
                return " #" + comment.text.rstrip()
        return ""

    # --- bodies

    def body(self, body: tree.Body) -> None:
        last = 0
        for expr in body:
            comments = self.before(expr.at)
            if last and self.row(expr.at) > last + 1 + sum(map(bool, comments)):
                self.blank()
            for comment in comments:
                self.write(comment)
            if comments and self.row(expr.at) > self._last_comment + 1:
                self.blank()
            self.write(self.expr(expr))
            if self.next < len(self.comments) and self.comments[self.next].at < expr.end:
                raise SourceError("formatting would move a comment", self.source, self.comments[self.next].at)
            self.lines[-1] += self.trailing(expr.end)
            last = self.row(expr.end)

    def expr(self, expr: tree.Expr) -> str:
        statement = expr.statement
        text = "not " if expr.negated else ""
        if isinstance(statement, tree.Unify):
            text += f"{self.term(statement.left)} {':=' if statement.assign else '='} {self.term(statement.right)}"
        elif isinstance(statement, tree.Some):
            text += "some " + ", ".join(var.name for var in statement.names)
        elif isinstance(statement, tree.SomeIn):
            names = f"{self.term(statement.key)}, " if statement.key is not None else ""
            text += f"some {names}{self.term(statement.value)} in {self.term(statement.domain)}"
        elif isinstance(statement, tree.Every):
            names = f"{statement.key.name}, " if statement.key is not None else ""
            text += f"every {names}{statement.value.name} in {self.term(statement.domain)} "
            text += self.braces(statement.body, expr)
        elif isinstance(statement, tree.Logic):
            text += self._logic(statement)
        else:
            text += self.term(statement, True)
        return text + self._withs(expr)

    def _withs(self, expr: tree.Expr) -> str:
        text = ""
        for target, value in expr.withs:
            before = self.source.text[:self.source.text.rfind("with", 0, target.at)].rstrip(" \t\r")
            own_line = before.endswith("\n")
            self.depth += own_line
            text += (self.newline() if own_line else " ") + f"with {self.term(target)} as {self.term(value)}"
            self.depth -= own_line
        return text

    def newline(self) -> str:
        return "\n" + "\t" * self.depth

    def braces(self, body: tree.Body, around: tree.Expr) -> str:
        """`{ … }` of an every: on one line where it was."""
        if len(body) == 1 and self.row(body[0].at) == self.row(around.at):
            return f"{{ {self.expr(body[0])} }}"
        return "{" + self.inner(body, around.end - 1) + "}"

    def inner(self, body: tree.Body, end: int) -> str:
        """A body a line each, between braces or brackets."""
        outer, self.lines = self.lines, [""]
        self.lines[-1] += self.trailing_in(body[0].at)
        first = self.lines[-1]
        self.lines = []
        self.depth += 1
        self.body(body)
        for comment in self.before(end):
            self.write(comment)
        self.depth -= 1
        written, self.lines = self.lines, outer
        return first + "".join("\n" + comment for comment in written) + self.newline()

    # --- terms

    def term(self, term: tree.Term, bare: bool = False) -> str:
        """`bare`: it is a whole expression."""
        if isinstance(term, tree.Scalar):
            return self.source.text[term.at:term.end] or "true"
        if isinstance(term, tree.Template):
            return self._template(term)
        if isinstance(term, tree.Var):
            return term.name
        if isinstance(term, tree.Ref):
            return self._ref(term)
        if isinstance(term, tree.Call):
            return self._call(term, bare)
        if isinstance(term, tree.Array):
            return "[" + self.sequence(term.items, term.at, term.end - 1) + "]"
        if isinstance(term, tree.SetOf):
            return "{" + self.sequence(term.items, term.at, term.end - 1) + "}" if term.items else "set()"
        if isinstance(term, tree.Object):
            return "{" + self.sequence(term.pairs, term.at, term.end - 1) + "}"
        assert isinstance(term, tree.Comprehension)
        return self._comprehension(term)

    def _ref(self, term: tree.Ref) -> str:
        head = self.term(term.head, bare=True)
        if isinstance(term.head, tree.Call) and term.head.infix:
            head = f"({head})"
        return head + "".join(map(self.step, term.path))

    def step(self, part: tree.Term) -> str:
        if isinstance(part, tree.Scalar) and isinstance(part.value, str):
            if part.value.isascii() and part.value.isidentifier() and (
                    part.value not in RESERVED or self.source.text[part.at - 1] == "."):
                return "." + part.value
            if part.at == part.end:
                return "." + part.value
        return f"[{self.term(part)}]"

    def _call(self, term: tree.Call, bare: bool) -> str:
        if not term.infix:
            name = ".".join(term.operator)
            closing = term.end - 1
            opening = self.opening(term.args, "(")
            return f"{name}({self.sequence(term.args, opening, closing)})"
        if term.infix == "in":
            *left, right = term.args
            first = self.operand(left[0]) if len(left) == 1 else ", ".join(map(self._member, left))
            text = f"{first} in {self._member(right)}"
            return f"({text})" if len(left) > 1 and not bare else text
        before, after = term.args
        write = self.term if bare and term.infix in _RELATIONS else self.operand
        return f"{write(before)} {term.infix} {write(after)}"

    def operand(self, term: tree.Term) -> str:
        """A term beside a sign: an operation among them stands in parentheses, whatever binds more."""
        text = self.term(term)
        return f"({text})" if isinstance(term, tree.Call) and term.infix not in ("", "in") else text

    def _member(self, term: tree.Term) -> str:
        """An operand of `in` that would be read otherwise without its parentheses, as OPA prints it."""
        text = self.operand(term)
        return f"({text})" if isinstance(term, tree.Call) and term.infix == "in" and len(term.args) == 2 else text

    def _template(self, term: tree.Template) -> str:
        """The texts as they are, the expressions in the one style."""
        out: list[str] = []
        at = term.at
        for part in term.parts:
            if isinstance(part, tree.Comprehension):
                [expr] = part.body
                assert isinstance(expr.statement, tree.Unify)
                value = expr.statement.right
                out += (self.source.text[at:part.at], self.term(value), self._withs(expr))
                at = part.end
        return "".join(out) + self.source.text[at:term.end]

    def _logic(self, logic: tree.Logic) -> str:
        sides = [self._side(body, braced, logic.operator if at == 0 else "")
                 for at, (body, braced) in enumerate(zip(logic.bodies, logic.braced, strict=True))]
        return "not " + sides[0] if logic.operator == "not" else f" {logic.operator} ".join(sides)

    def _side(self, body: tree.Body, braced: bool, chained: str) -> str:
        """`chained`: the operator whose chain the first side goes on with, in parentheses or not."""
        text = self.source.text
        before = text[:body[0].at].rstrip()
        if braced:
            around = tree.Expr(len(before) - 1, text.find("}", body[-1].end) + 1, body[0].statement)
            if all(self.row(expr.end) == self.row(around.at) for expr in body):
                return f"{{ {'; '.join(map(self.expr, body))} }}"
            return self.braces(body, around)
        written = self.expr(body[0])
        if body[0].withs:
            return f"({written})"
        if before[-1:] == "(" and isinstance(body[0].statement, tree.Logic) and body[0].statement.operator != chained:
            return f"({written})"
        return written

    def sequence(self, items: Sequence[tree.Term | tuple[tree.Term, tree.Term]], opening: int, closing: int) -> str:
        """What is in a list: items that begin on one line stay together, and each other line is one of its own."""
        if not items:
            return ""
        lines: list[list[tree.Term | tuple[tree.Term, tree.Term]]] = [[]]
        row = self.row(opening)
        apart = self.row(_at(items[0])) > row
        for item in items:
            if self.row(_at(item)) > row and lines[-1]:
                lines.append([])
            lines[-1].append(item)
            row = self.row(_at(item))
        if len(lines) == 1 and not apart:
            return ", ".join(self._item(item) for item in items)
        self.depth += 1
        out = [self.trailing(opening) if apart else ""]
        for line in lines:
            out += self.before(_at(line[0]))
            out.append(", ".join(map(self._item, line)) + "," + self.trailing(_end(line[-1])))
        out += self.before(closing)
        head, *rest = out
        text = head + "".join(self.newline() + item if item else "\n" for item in rest)
        self.depth -= 1
        return text + self.newline()

    def _item(self, item: tree.Term | tuple[tree.Term, tree.Term]) -> str:
        if isinstance(item, tuple):
            return f"{self.term(item[0])}: {self.term(item[1])}"
        return self.term(item)

    def _comprehension(self, term: tree.Comprehension) -> str:
        opening, closing = ("[", "]") if term.kind == "array" else ("{", "}")
        head = (f"{self.term(term.key)}: " if term.key is not None else "") + self.term(term.value)
        if all(self.row(expr.at) == self.row(term.at) for expr in term.body):
            return f"{opening}{head} | {'; '.join(map(self.expr, term.body))}{closing}"
        return f"{opening}{head} |{self.inner(term.body, term.end - 1)}{closing}"

    def opening(self, terms: Sequence[tree.Term], sign: str) -> int:
        """The offset of the sign that opens a list before its first term."""
        return self.source.text.rfind(sign, 0, terms[0].at) if terms else 0

    def closing_of(self, terms: Sequence[tree.Term], sign: str) -> int:
        return self.source.text.find(sign, terms[-1].end) if terms else 0


def _at(item: tree.Term | tuple[tree.Term, tree.Term]) -> int:
    return item[0].at if isinstance(item, tuple) else item.at


def _end(item: tree.Term | tuple[tree.Term, tree.Term]) -> int:
    return item[1].end if isinstance(item, tuple) else item.end
