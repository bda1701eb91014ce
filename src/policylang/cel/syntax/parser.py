"""CEL's grammar (cel-spec langdef, cel-go's CEL.g4): operator precedence with two Python frames a nesting level."""

from __future__ import annotations

from collections.abc import Mapping

from policylang.cel.syntax.expander import Expander, Macro
from policylang.cel.syntax.issues import CompileError
from policylang.cel.syntax.lexer import END, RESERVED, Token, number_value, text_value, tokens
from policylang.cel.syntax.tree import Ast, Call, Entry, Ident, ListNode, Literal, MapNode, Node, Select, Struct
from policylang.source import Source, checked

DEEPEST = 250
Macros = Mapping[tuple[str, int, bool], Macro]

_PRECEDENCE = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3, "+": 4, "-": 4, "*": 5,
               "/": 5, "%": 5}
_FUNCTIONS = {operator: f"_{operator}_" for operator in _PRECEDENCE} | {"in": "@in"}
_CONSTANTS = {"true": True, "false": False, "null": None}
_OPERAND = ("{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, "
            "IDENTIFIER}")


class Parser:
    """One expression. `macros` by (name, number of arguments or -1, is a member call)."""

    def __init__(self, source: Source, macros: Macros, *, optionals: bool = True) -> None:
        self.source, self.macros, self.optionals = source, macros, optionals
        self.tokens = tokens(source)
        self.position = 0
        self.depth = 0
        self.token = self.tokens[0]
        self.expander = Expander(source)

    def parse(self) -> Node:
        node = self._expr()
        if self.token.kind != END:
            last = self.tokens[self.position + 1].kind == END
            raise self._error(self.token.start, f"Syntax error: {'extraneous' if last else 'mismatched'} input "
                                                f"'{self.token.text}' expecting <EOF>")
        return node

    # ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self) -> Token:
        token = self.token
        self.position += 1
        self.token = self.tokens[min(self.position, len(self.tokens) - 1)]
        return token

    def _take(self, sign: str) -> bool:
        if self.token.kind == "sign" and self.token.text == sign:
            self._advance()
            return True
        return False

    def _expect(self, sign: str, *, listed: bool = False) -> Token:
        """`listed`: a comma might have followed as well."""
        token = self.token
        if token.kind != "sign" or token.text != sign:
            if not listed and ((token.kind == END and sign in ")]") or (sign == ":" and self._starts(token))):
                message = f"missing '{sign}' at '{self._shown(token)}'"
            else:
                expected = f"{{'{sign}', ','}}" if listed else f"'{sign}'"
                word = "extraneous" if self._following().text in ((sign, ",") if listed else (sign,)) else "mismatched"
                message = f"{word} input '{self._shown(token)}' expecting {expected}"
            raise self._error(token.start, f"Syntax error: {message}")
        return self._advance()

    def _field(self) -> str:
        """A name after a dot or before a colon, where reserved words and quoted names may stand."""
        token = self.token
        if token.kind == "quoted":
            return self._advance().text[1:-1]
        if token.kind != "name" or token.text in _CONSTANTS or token.text == "in":
            raise self._error(token.start, f"Syntax error: no viable alternative at input '.{token.text}'")
        return self._advance().text

    @staticmethod
    def _starts(token: Token) -> bool:
        """Whether an expression may begin with it."""
        return token.kind in ("int", "uint", "double", "text", "name") or (
            token.kind == "sign" and token.text in "([{-!.")

    @staticmethod
    def _shown(token: Token) -> str:
        return "<EOF>" if token.kind == END else token.text

    def _error(self, at: int, message: str) -> CompileError:
        return CompileError.one(self.source, at, message)

    def _built(self, node: Node) -> Node:
        if node.height > DEEPEST:
            raise self._error(node.at, f"expression recursion limit exceeded: {DEEPEST}")
        return node

    # ── expressions ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _expr(self) -> Node:
        """`a || b ? c : d`, by precedence with two stacks; the parts of chained conditionals are kept in a list."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error(self.token.start, f"expression recursion limit exceeded: {DEEPEST}")
        parts: list[tuple[Node, int]] = []
        while True:
            operands = [self._operand()]
            operators: list[Token] = []
            while True:
                token = self.token
                level = _PRECEDENCE.get(token.text, 0) if token.kind in ("sign", "name") else 0
                while operators and _PRECEDENCE[operators[-1].text] >= level:
                    self._reduce(operands, operators.pop())
                if not level:
                    break
                operators.append(self._advance())
                operands.append(self._operand())
            at = self.token.start
            if len(parts) % 2:  # between ? and :
                self._expect(":")
                parts.append((operands[0], at))
                continue
            parts.append((operands[0], at))
            if not self._take("?"):
                break
        node = parts.pop()[0]
        while parts:
            yes = parts.pop()[0]
            test, at = parts.pop()
            node = self._built(Call("_?_:_", None, [test, yes, node], test.start, node.end, at))
        self.depth -= 1
        return node

    def _reduce(self, operands: list[Node], operator: Token) -> None:
        right, left = operands.pop(), operands.pop()
        function = _FUNCTIONS[operator.text]
        if operator.text in ("||", "&&") and isinstance(left, Call) and left.function == function \
                and left.macro is None:
            # One flat call for a chain, however long.
            left.args.append(right)
            left.end = right.end
            left.height = max(left.height, right.height + 1)
            operands.append(left)
            return
        operands.append(self._built(Call(function, None, [left, right], left.start, right.end, operator.start)))

    def _operand(self) -> Node:
        """Signs, what they stand before, and what follows it: selections, calls, indices."""
        signs = self.token
        count = 0
        if signs.kind == "sign" and signs.text in ("!", "-"):
            while self.token.kind == "sign" and self.token.text == signs.text:
                self._advance()
                count += 1
        negative = count > 0 and signs.text == "-" and self.token.kind in ("int", "double")
        if negative:
            count -= 1
        node = self._primary(self.tokens[self.position - 1].start if negative else -1)
        while self.token.kind == "sign":
            sign = self.token.text
            if sign == ".":
                node = self._member(node)
            elif sign == "[":
                at = self._advance().start
                optional = self._optional("[?")
                index = self._expr()
                end = self._expect("]").end
                node = self._built(Call("_[?_]" if optional else "_[_]", None, [node, index], node.start, end, at))
            else:
                break
        if count % 2:
            function = "!_" if signs.text == "!" else "-_"
            return self._built(Call(function, None, [node], signs.start, node.end, signs.start))
        return node

    def _optional(self, shown: str) -> bool:
        at = self.token.start
        if not self._take("?"):
            return False
        if not self.optionals:
            raise self._error(at, f"unsupported syntax '{shown}'")
        return True

    def _member(self, node: Node) -> Node:
        at = self._advance().start
        optional = self._optional(".?")
        token = self.token
        field = self._field()
        end = token.end
        if optional:
            name = Literal(field, token.start, token.end)
            return self._built(Call("_?._", None, [node, name], node.start, end, at))
        if self.token.kind == "sign" and self.token.text == "(" and token.kind == "name":
            at = self._advance().start
            args = self._arguments()
            end = self.tokens[self.position - 1].end
            return self._built(self._macro(Call(field, node, args, node.start, end, at)))
        return self._built(Select(node, field, node.start, end, at))

    def _primary(self, minus: int) -> Node:
        token = self.token
        kind, text = token.kind, token.text
        if kind in ("int", "uint", "double"):
            self._advance()
            start = minus if minus >= 0 else token.start
            return Literal(number_value(token, self.source, minus >= 0, start), start, token.end)
        if kind == "text":
            self._advance()
            return Literal(text_value(token, self.source), token.start, token.end)
        if kind == "name" and text in _CONSTANTS:
            self._advance()
            return Literal(_CONSTANTS[text], token.start, token.end)
        if kind == "sign":
            if text == "(":
                self._advance()
                node = self._expr()
                end = self._expect(")").end
                node.start, node.end = token.start, end
                return node
            if text == "[":
                return self._list()
            if text == "{":
                return self._map()
        if (kind == "name" and text != "in") or (kind == "sign" and text == "."):
            return self._name()
        if kind == END:
            raise self._error(token.start, f"Syntax error: mismatched input '<EOF>' expecting {_OPERAND}")
        raise self._error(token.start,
                          f"Syntax error: extraneous input '{self._shown(token)}' expecting {_OPERAND}")

    def _name(self) -> Node:
        """A name, a call, or `a.b.C{…}`: looked ahead for, so that a chain stays a chain otherwise."""
        start = self.token.start
        dot = "." if self._take(".") else ""
        token = self.token
        if token.kind != "name" or token.text in _CONSTANTS or token.text == "in":
            raise self._error(token.start, f"Syntax error: no viable alternative at input '{dot}{self._shown(token)}'")
        if (ahead := self._struct_name()) is not None:
            names = [self.tokens[at].text for at in range(self.position, ahead, 2)]
            if bad := next((at for at in range(self.position, ahead, 2) if self.tokens[at].text in RESERVED), 0):
                raise self._error(self.tokens[bad].start, f"reserved identifier: {self.tokens[bad].text}")
            self.position = ahead
            self.token = self.tokens[ahead]
            return self._struct(dot + ".".join(names), start)
        self._advance()
        if token.text in RESERVED:
            raise self._error(token.start, f"reserved identifier: {token.text}")
        if self.token.kind == "sign" and self.token.text == "(":
            at = self._advance().start
            args = self._arguments()
            end = self.tokens[self.position - 1].end
            return self._built(self._macro(Call(dot + token.text, None, args, start, end, at)))
        return Ident(dot + token.text, start, token.end)

    def _struct_name(self) -> int | None:
        """The position of `{` after `a.b.c`, or None."""
        at = self.position + 1
        tokens = self.tokens
        while tokens[at].kind == "sign" and tokens[at].text == "." and tokens[at + 1].kind == "name":
            at += 2
        return at if tokens[at].kind == "sign" and tokens[at].text == "{" else None

    def _macro(self, call: Call) -> Node:
        if not self.macros:
            return call
        member = call.target is not None
        macro = self.macros.get((call.function, len(call.args), member)) \
            or self.macros.get((call.function, -1, member))
        if macro is None:
            return call
        self.expander.enter(call)
        node = macro.expand(self.expander, call.target, call.args)
        if node is None:
            return call
        node.macro = node.macro or call.function
        node.start, node.end = call.start, call.end
        return node

    # ── lists of things ─────────────────────────────────────────────────────────────────────────────────────────────

    def _arguments(self) -> list[Node]:
        args: list[Node] = []
        if self._take(")"):
            return args
        args.append(self._expr())
        while self._take(","):
            args.append(self._expr())
        self._expect(")", listed=self.token.kind != END)
        return args

    def _ends(self, close: str, empty: bool) -> bool:
        """Whether there is no further element; in an `empty` list a comma may stand alone."""
        if self.token.kind != "sign":
            return False
        if empty and self.token.text == "," and self._following().text == close:
            self._advance()
        return self.token.text == close

    def _following(self) -> Token:
        return self.tokens[min(self.position + 1, len(self.tokens) - 1)]

    def _list(self) -> Node:
        start = self._advance().start
        elements: list[Node] = []
        optional: set[int] = set()
        while not self._ends("]", not elements):
            if self._optional("?"):
                optional.add(len(elements))
            elements.append(self._expr())
            if not self._take(","):
                break
        end = self._expect("]", listed=True).end
        return self._built(ListNode(elements, frozenset(optional), start, end))

    def _map(self) -> Node:
        start = self._advance().start
        entries: list[Entry] = []
        while not self._ends("}", not entries):
            optional = self._optional("?")
            key = self._expr()
            at = self._expect(":").start
            value = self._expr()
            entries.append(Entry(key, value, optional, key.start, value.end, at))
            if not self._take(","):
                break
        end = self._expect("}", listed=True).end
        return self._built(MapNode(entries, start, end))

    def _struct(self, name: str, start: int) -> Node:
        opening = self._advance().start
        entries: list[Entry] = []
        while not self._ends("}", not entries):
            optional = self._optional("?")
            begin = self.token.start
            field = self._field()
            at = self._expect(":").start
            value = self._expr()
            entries.append(Entry(field, value, optional, begin, value.end, at))
            if not self._take(","):
                break
        end = self._expect("}", listed=True).end
        return self._built(Struct(name, entries, start, end, opening))


def parse(text: str, macros: Macros, name: str = "<input>", *, optionals: bool = True) -> Ast:
    """The tree of a program; CompileError where it is none."""
    source = checked(Source(text, name), nul=True)
    try:
        return Ast(source, Parser(source, macros, optionals=optionals).parse())
    except RecursionError:
        raise CompileError.one(source, 0, f"expression recursion limit exceeded: {DEEPEST}") from None
