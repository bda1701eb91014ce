"""The parser of Rego's terms and expressions."""

from __future__ import annotations

from abc import ABC, abstractmethod

from policylang.rego.syntax import tree
from policylang.rego.syntax.lexer import DEEPEST, Lexed, error, lex, number, string, template_parts
from policylang.scanner import END, Token
from policylang.source import Nesting, Source, SourceError

_RELATIONS = {"==": "equal", "!=": "neq", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_LEVELS: tuple[dict[str, str], ...] = (
    _RELATIONS, {"|": "or"}, {"&": "and"}, {"+": "plus", "-": "minus"}, {"*": "mul", "/": "div", "%": "rem"})
_OPERATORS = {sign: (level, name) for level, operators in enumerate(_LEVELS) for sign, name in operators.items()}
_NONE = (-1, "")
_SIGNS = _RELATIONS | {sign: name for level in _LEVELS[1:] for sign, name in level.items()} | {
    "=": "eq", ":=": "assign", "|": "or", "&": "and"}  # as errors call them
LONGEST_NAME = 200  # parts of a package's name, of a rule's or of a reference
_CONSTANTS = {"null": None, "true": True, "false": False}


class TermParser(ABC):
    """A recursive descent over a list of tokens. Binding, from loose to tight: in, relations, |, &, + -, * / %."""

    version: int  # of the language, 0 or 1

    def __init__(self, source: Source, lexed: Lexed, keywords: frozenset[str]) -> None:
        self.source = source
        self.tokens = lexed.tokens
        self.keywords = keywords
        self.at = 0
        self._terms: dict[int, tuple[tree.Term | SourceError, int]] = {}  # first token → the term, the token after it
        self.nesting = Nesting(source, DEEPEST, "rego_parse_error: expression nested too deeply")

    # --- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        token = self.tokens[self.at]
        if token.kind is not END:
            self.at += 1
        return token

    def sign(self, text: str) -> bool:
        token = self.tokens[self.at]
        return token.text == text and token.kind == "sign"

    def word(self, text: str) -> bool:
        """Whether a keyword comes next. One that is followed by a dot is a name: `in.foo`."""
        token = self.tokens[self.at]
        return token.text == text and token.kind == "name" and text in self.keywords and not self._names_a_ref()

    def _names_a_ref(self, signs: str = ".") -> bool:
        """Whether a keyword is a name here, since one of the signs follows it at once; `contains(` is a call."""
        after = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else None
        return (after is not None and after.kind == "sign" and after.start == self.token.end
                and (after.text in signs or (after.text == "(" and self.token.text == "contains")))

    def take(self, text: str) -> bool:
        if self.sign(text):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> Token:
        if not self.sign(text):
            raise self.unexpected(f'expected "{text}"')
        return self.next()

    def unexpected(self, expected: str = "") -> SourceError:
        token = self.token
        name = {"": "eof", **_SIGNS}.get(token.text, token.text if token.kind == "sign" else token.kind)
        if token.kind == "name":
            name = f"{token.text} keyword" if token.text in self.keywords else "identifier token"
        else:
            name += " token"
        return error(f"unexpected {name}" + (f": {expected}" if expected else ""), self.source, token.start)

    def newline_before(self) -> bool:
        """Whether a line ends between the last token and the next."""
        return self.at == 0 or "\n" in self.source.text[self.tokens[self.at - 1].end:self.token.start]

    def adjacent(self) -> bool:
        return self.at > 0 and self.tokens[self.at - 1].end == self.token.start

    @property
    def last_end(self) -> int:
        return self.tokens[self.at - 1].end if self.at else 0

    # --- expressions

    def infix(self, pairs: bool = True) -> tree.Term:
        """A term with operators. `pairs`: `key, value in xs` may be meant, which a list's commas rule out."""
        self.nesting.enter(self.token.start)
        start = self.token.start
        left = self._level(0)
        if pairs and self.sign(",") and "in" in self.keywords:
            mark = self.at
            self.at += 1
            try:
                second = self._level(0)
            except SourceError:
                second = None
            if second is not None and self.word("in"):
                self.at += 1
                left = tree.Call(start, self.last_end, ["internal", "member_3"], [left, second, self._level(0)], "in")
                left.end = self.last_end
            else:
                self.at = mark
        while self.word("in"):
            self.at += 1
            right = self._level(0)
            left = tree.Call(start, self.last_end, ["internal", "member_2"], [left, right], "in")
        self.nesting.depth -= 1
        return left

    def _level(self, lowest: int) -> tree.Term:
        """Terms with the operators between them that bind at least as strongly as those of the level `lowest`."""
        start = self.token.start
        left = self.term()
        height = 0
        while True:
            token = self.tokens[self.at]
            level, operator = _OPERATORS.get(token.text, _NONE) if token.kind == "sign" else _NONE
            if level < lowest:
                return left
            if height == 2 * DEEPEST:
                raise error("expression nested too deeply", self.source, token.start)
            height += 1
            self.at += 1
            right = self._level(level + 1)
            left = tree.Call(start, self.last_end, [operator], [left, right], token.text)

    def term(self) -> tree.Term:
        """A term, which is read once: where a bracket before it turns out to open something else, it is taken as it is.
        """
        at = self.at
        known = self._terms.get(at)
        if known is None:
            self.nesting.enter(self.tokens[at].start)
            try:
                known = self._term(), self.at
            except SourceError as wrong:
                self._terms[at] = wrong, at
                raise
            self.nesting.depth -= 1
            self._terms[at] = known
        term, self.at = known
        if isinstance(term, SourceError):
            raise term
        return term

    def _term(self) -> tree.Term:
        token = self.token
        start = token.start
        term: tree.Term
        match token.kind, token.text:
            case "sign", "-":
                self.at += 1
                if self.token.kind != "number":
                    raise self.unexpected("expected number")
                digits = self.next()
                term = tree.Scalar(start, digits.end, number(digits, self.source, negative=True))
            case "number", _:
                self.at += 1
                term = tree.Scalar(start, token.end, number(token, self.source))
            case "string", _:
                self.at += 1
                term = tree.Scalar(start, token.end, string(token.text, self.source, start))
            case "raw", _:
                self.at += 1
                term = tree.Scalar(start, token.end, token.text[1:-1])
            case "template", _:
                if not self.version:
                    raise error("template strings are not supported by current capabilities", self.source, start)
                self.at += 1
                term = self._template(token)
            case "name", text if text in _CONSTANTS and not self._names_a_ref():
                self.at += 1
                term = tree.Scalar(start, token.end, _CONSTANTS[text])
            case "name", text if text not in self.keywords or self._names_a_ref():
                self.at += 1
                term = tree.Var(start, token.end, text)
            case "sign", "[":
                term = self._array()
            case "sign", "{":
                term = self._braces()
            case "sign", "(":
                self.at += 1
                term = self.infix()
                if not self.take(")"):
                    raise error("non-terminated expression", self.source, self.token.start)
            case _:
                raise self.unexpected()
        return self._path(term, start)

    def _path(self, head: tree.Term, start: int, *, rule: bool = False) -> tree.Term:
        """What follows a term without a space: `.name`, `[term]`, `(arguments)`. `rule`: it is a rule's reference,
        whose arguments may come after a variable.
        """
        path: list[tree.Term] = []
        while self.adjacent() and self.token.kind == "sign":
            if self.sign("."):
                self.at += 1
                if self.token.kind != "name" or not self.adjacent():
                    raise self.unexpected("expected identifier")
                token = self.next()
                path.append(tree.Scalar(token.start, token.end, token.text))
            elif self.sign("["):
                self.at += 1
                path.append(self.infix())
                self.expect("]")
            elif self.sign("("):
                name = _name_of(head, path)
                if name is None and rule:
                    break
                if name is None:
                    raise SourceError(f"rego_type_error: undefined function {self.source.text[start:self.last_end]}",
                                      self.source, start, kind="rego_type_error")
                self.at += 1
                args = self.list_until(")")
                head, path = tree.Call(start, self.last_end, name, args), []
                if name == ["set"] and not args:
                    head = tree.SetOf(start, self.last_end, [])
            else:
                break
        if len(path) > LONGEST_NAME:
            raise error(f"reference of {len(path)} parts, expected at most {LONGEST_NAME}", self.source, start)
        if path and isinstance(head, tree.Scalar):
            raise error(f"illegal ref (head cannot be {tree.value_name(head)})", self.source, start)
        if path and isinstance(head, tree.Ref) and head.end == path[0].at - 1:
            return tree.Ref(start, self.last_end, head.head, head.path + path)
        return tree.Ref(start, self.last_end, head, path) if path else head

    def list_until(self, closing: str) -> list[tree.Term]:
        """`term, term,` up to and with the closing sign."""
        items: list[tree.Term] = []
        while not self.take(closing):
            items.append(self.infix(pairs=False))
            if not self.take(",") and not self.sign(closing):
                raise self.unexpected(f'expected "," or "{closing}"')
        return items

    def _array(self) -> tree.Term:
        start = self.next().start
        if self.take("]"):
            return tree.Array(start, self.last_end, [])
        self.take(",")
        made = self._comprehension(start, "array", "]")
        if made is not None:
            return made
        items = self.list_until("]")
        return tree.Array(start, self.last_end, items)

    def _braces(self) -> tree.Term:
        start = self.next().start
        if self.take("}"):
            return tree.Object(start, self.last_end, [])
        self.take(",")
        mark = self.at
        first = self.term()
        if self.sign(":"):
            return self._object(start, first)
        if self.sign("|"):
            self.at = mark
            made = self._comprehension(start, "set", "}")
            if made is not None:
                return made
        self.at = mark
        first = self.infix(pairs=False)
        if self.sign(":"):
            return self._object(start, first)
        items = [first]
        if self.take(","):
            items += self.list_until("}")
        else:
            self.expect("}")
        return tree.SetOf(start, self.last_end, items)

    def _object(self, start: int, key: tree.Term) -> tree.Term:
        self.expect(":")
        mark = self.at
        value = self.term()
        if self.sign("|"):
            after = self.at
            self.at += 1
            body = self._body_or_none("}")
            if body is not None:
                return tree.Comprehension(start, self.last_end, "object", key, value, body)
            self.at = after
        self.at = mark
        pairs = [(key, self.infix(pairs=False))]
        while not self.take("}"):
            if not self.take(","):
                raise self.unexpected('expected "," or "}"')
            if self.take("}"):
                break
            key = self.infix(pairs=False)
            self.expect(":")
            pairs.append((key, self.infix(pairs=False)))
        return tree.Object(start, self.last_end, pairs)

    def _comprehension(self, start: int, kind: str, closing: str) -> tree.Term | None:
        """`term | body` up to the closing sign; None, with nothing taken, where it is no comprehension."""
        mark = self.at
        value = self.term()
        if self.take("|"):
            body = self._body_or_none(closing)
            if body is not None:
                return tree.Comprehension(start, self.last_end, kind, None, value, body)
        self.at = mark
        return None

    def _body_or_none(self, closing: str) -> tree.Body | None:
        """The body of a comprehension; None where a union of sets, `{a | b, c}`, must be meant."""
        depth = self.nesting.depth
        body = self.body(closing)
        self.nesting.depth = depth
        return body if self.take(closing) else None

    @abstractmethod
    def body(self, *closing: str) -> tree.Body: ...

    def _template(self, token: Token) -> tree.Term:
        quote = token.text[1]
        parts: list[str | tree.Comprehension] = []
        for start, end, expression in template_parts(self.source, token.start + 2, token.end, quote):
            if expression:
                parts.append(self._template_expression(start, end))
            elif end > start:
                written = self.source.text[start:end].replace("\\{", "{")
                parts.append(string(f'"{written}"', self.source, start) if quote == '"' else written)
        return tree.Template(token.start, token.end, parts, quote == "`")

    def _template_expression(self, start: int, end: int) -> tree.Comprehension:
        outer, self.tokens, self.at = (self.tokens, self.at, self._terms), lex(self.source, start, end).tokens, 0
        self._terms = {}
        if self.token.kind is END:
            raise error("invalid template string expression: expected an expression", self.source, start)
        expr = self.expression()
        if self.token.kind is not END:
            raise self.unexpected("in template string expression")
        self.tokens, self.at, self._terms = outer
        if not isinstance(expr.statement, tree.Term) or expr.negated:
            raise error("unexpected expression in template string: only terms and calls are allowed",
                        self.source, start)
        value = tree.Var(start, end, f"$value{start}")
        body = [tree.Expr(start, end, tree.Unify(value, expr.statement), withs=expr.withs)]
        return tree.Comprehension(start, end, "set", None, value, body)

    @abstractmethod
    def expression(self) -> tree.Expr: ...


def _name_of(head: tree.Term, path: list[tree.Term]) -> list[str] | None:
    if not isinstance(head, tree.Var):
        return None
    names = [head.name]
    for part in path:
        if not isinstance(part, tree.Scalar) or not isinstance(part.value, str):
            return None
        names.append(part.value)
    return names
