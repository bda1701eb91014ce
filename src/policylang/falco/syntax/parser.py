"""Conditions to syntax trees (grammar: libsinsp filter/parser.h; modifiers and transformers as of engine 0.63)."""

from __future__ import annotations

from collections.abc import Callable

from policylang.falco.syntax import lexer, tree
from policylang.source import Nesting, Source

DEEPEST = 100  # brackets within brackets
TRANSFORMERS = ("tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt")
_CALLS = tuple(f"{name}(" for name in TRANSFORMERS)


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_WITH_VAL = _listed(("val", *TRANSFORMERS))


def parse(source: Source) -> tree.Condition:
    """SourceError, of kind LOAD_ERR_COMPILE_CONDITION, where the text is no condition."""
    parser = _Parser(source)
    if not source.text:
        raise parser.cursor.error("filter input string is empty")
    condition = parser.either()
    if parser.cursor.at != len(source.text):
        raise parser.cursor.error(f"unexpected token after '{parser.cursor.last}', expecting 'or', 'and'")
    return condition


def operand(cursor: lexer.Cursor) -> tree.Operand | None:
    """A field or a transformer at the cursor, or None: what an output's `%` may stand before."""
    parser = _Parser(cursor.source, cursor)
    if (name := parser.call()) is not None:
        return parser.transform(name, cursor.at - len(name) - 1)
    return parser.field()


class _Parser:
    def __init__(self, source: Source, cursor: lexer.Cursor | None = None) -> None:
        self.cursor = cursor or lexer.Cursor(source)
        self.nesting = Nesting(source, DEEPEST, "exceeded max depth limit")

    # OrExpr ::= AndExpr ('or' ' ' AndExpr | 'or(' Expr ')')*
    def either(self) -> tree.Condition:
        parts = self.chain("or", self.both)
        return parts[0] if len(parts) == 1 else tree.Or(tuple(parts))

    def both(self) -> tree.Condition:
        parts = self.chain("and", self.negation)
        return parts[0] if len(parts) == 1 else tree.And(tuple(parts))

    def chain(self, word: str, part: Callable[[], tree.Condition]) -> list[tree.Condition]:
        cursor = self.cursor
        cursor.blank()
        parts: list[tree.Condition] = [part()]
        cursor.blank()
        while cursor.word(word):
            if cursor.blank():
                parts.append(part())
            elif cursor.word("("):
                parts.append(self.bracketed())
            else:
                raise cursor.error(f"expected blank or '(' after '{word}'")
            cursor.blank()
        return parts

    def negation(self) -> tree.Condition:
        cursor, negative = self.cursor, False
        cursor.blank()
        while cursor.match(lexer.NOT):
            negative = not negative
        if cursor.word("not("):
            negative = not negative
            part = self.bracketed()
        else:
            part = self.check()
        return tree.Not(part) if negative else part

    def bracketed(self) -> tree.Condition:
        """What follows an opening bracket, and the closing one."""
        self.nesting.enter(self.cursor.at - 1)
        condition = self.either()
        self.nesting.depth -= 1
        self.cursor.blank()
        if not self.cursor.word(")"):
            raise self.cursor.error("expected a ')' token")
        return condition

    def check(self) -> tree.Condition:
        cursor = self.cursor
        cursor.blank()
        if cursor.word("("):
            return self.bracketed()
        start = cursor.at
        left: tree.Operand | None = self.field()
        if left is None and (name := self.call()) is not None:
            left = self.transform(name, start)
        if left is not None:
            return self.condition(left, start)
        if cursor.match(lexer.IDENTIFIER):
            return tree.Macro(cursor.last, start, cursor.at)
        raise cursor.error("expected a '(' token, a field check, or an identifier")

    def condition(self, left: tree.Operand, start: int) -> tree.Condition:
        cursor = self.cursor
        cursor.blank()
        if cursor.operator(lexer.UNARY):
            return tree.Exists(left, start, cursor.at)
        right: tree.Literal | tuple[tree.Literal, ...] | tree.Operand
        modifier = ""
        if cursor.operator(lexer.NUMERIC):
            operator = cursor.last
            right = self.reference() or self.number()
        elif cursor.operator(lexer.TEXTUAL):
            operator = cursor.last
            modifier = self.modifier()
            right = self.values() if modifier else self.reference() or self.string()
        elif cursor.operator(lexer.LISTED):
            operator = cursor.last
            right = self.values()
        else:
            raise cursor.error(f"expected a valid check operator: one of {_listed(lexer.OPERATORS)}")
        return tree.Compare(left, "=" if operator == "==" else operator, modifier, right, start, cursor.at)

    def modifier(self) -> str:
        """oneof, anyof or allof, where a list follows; a text of that name otherwise."""
        cursor = self.cursor
        cursor.blank()
        start = cursor.at
        for word in lexer.MODIFIERS:
            if cursor.word(word):
                cursor.blank()
                if cursor.text.startswith("(", cursor.at):
                    return word
                cursor.at = start
        return ""

    def number(self) -> tree.Literal:
        start = self.cursor.at
        if self.cursor.match(lexer.NUMBER):
            return tree.Literal(self.cursor.last, start, self.cursor.at)
        raise self.cursor.error(f"expected a number value or a field with a valid transformer: {_WITH_VAL}")

    def text(self) -> tree.Literal | None:
        start = self.cursor.at
        if self.cursor.quoted() or self.cursor.match(lexer.BARE):
            return tree.Literal(self.cursor.last, start, self.cursor.at)
        return None

    def string(self) -> tree.Literal:
        literal = self.text()
        if literal is None:
            raise self.cursor.error(f"expected a string value or a field with a valid transformer: {_WITH_VAL}")
        return literal

    def values(self) -> tuple[tree.Literal, ...] | tree.Operand:
        cursor = self.cursor
        cursor.blank()
        if cursor.word("("):
            cursor.blank()
            items: list[tree.Literal] = []
            if (first := self.text()) is not None:
                items.append(first)
                cursor.blank()
                while cursor.word(","):
                    cursor.blank()
                    if (item := self.text()) is None:
                        raise cursor.error("expected a string value")
                    items.append(item)
                    cursor.blank()
            if not cursor.word(")"):
                raise cursor.error("expected a ')' token")
            return tuple(items)
        if (operand := self.reference()) is not None:
            return operand
        start = cursor.at
        if cursor.match(lexer.IDENTIFIER):  # a list of one item, as list names are gone by now
            return (tree.Literal(cursor.last, start, cursor.at),)
        raise cursor.error(f"expected a list, an identifier, or a field with a valid transformer: {_WITH_VAL}")

    def reference(self) -> tree.Operand | None:
        """`val(field)` or a transformer on the right-hand side."""
        cursor = self.cursor
        cursor.blank()
        start = cursor.at
        if cursor.word("val("):
            cursor.blank()
            field = self.field()
            if field is None:
                raise cursor.error("expected a field within 'val' transformer")
            self.close()
            return field
        name = self.call()
        return None if name is None else self.transform(name, start)

    def field(self) -> tree.Field | None:
        cursor, start = self.cursor, self.cursor.at
        if not cursor.match(lexer.FIELD):
            return None
        name, argument = cursor.last, None
        if cursor.word("["):
            argument = self.subscript()
        return tree.Field(name, argument, start, cursor.at)

    def subscript(self) -> str:
        cursor = self.cursor
        if not cursor.quoted() and not cursor.match(lexer.ARGUMENT):
            raise cursor.error("expected a valid field argument: a quoted string or a bare string")
        subscript = cursor.last
        if not cursor.word("]"):
            raise cursor.error("expected a ']' token")
        return subscript

    def call(self) -> str | None:
        for word in _CALLS:
            if self.cursor.word(word):
                return word[:-1]
        return None

    def transform(self, name: str, start: int) -> tree.Transform:
        cursor = self.cursor
        self.nesting.enter(cursor.at - 1)
        arguments = [self.argument()]
        cursor.blank()
        while cursor.word(","):
            arguments.append(self.argument())
            cursor.blank()
        self.close()
        self.nesting.depth -= 1
        index = self.subscript() if cursor.word("[") else None
        return tree.Transform(name, tuple(arguments), index, start, cursor.at)

    def close(self) -> None:
        self.cursor.blank()
        if not self.cursor.word(")"):
            raise self.cursor.error("expected a ')' token closing the transformer")

    def argument(self) -> tree.Argument:
        cursor = self.cursor
        cursor.blank()
        start = cursor.at
        if cursor.word("("):
            items: list[tree.Argument] = []
            cursor.blank()
            if not cursor.word(")"):
                items.append(self.plain(start))
                cursor.blank()
                while cursor.word(","):
                    cursor.blank()
                    items.append(self.plain(cursor.at))
                    cursor.blank()
                if not cursor.word(")"):
                    raise cursor.error("expected ')'")
            return tree.Values(tuple(items))
        return self.plain(start)

    def plain(self, start: int) -> tree.Argument:
        cursor = self.cursor
        field: tree.Argument | None = self.field()
        if field is not None:
            return field
        if (name := self.call()) is not None:
            return self.transform(name, start)
        if cursor.quoted() or cursor.match(lexer.NUMBER):
            return tree.Literal(cursor.last, start, cursor.at)
        raise cursor.error("expected field transformer argument: field, transformer, quoted string, number, "
                           "or transformer list")
