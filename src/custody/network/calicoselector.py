"""Calico's selector expressions: `app == "web" && has(tier) && ! (env in {"dev", "test"})`.

Source: projectcalico/calico, libcalico-go/lib/selector (tokenizer, parser, ast). A label that is absent makes `!=` and
`not in` true.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from custody.errors import MalformedError
from custody.network.selector import EVERYTHING, NOTHING, Expression, Not, Operator, Scope, Test, both, either

MAX_LENGTH = 1024
"""The API server's own, of every field that has a selector."""
_MAX_DEPTH = 32
_SIGNS = re.compile(r"""[ \t]*(?:(?P<sign>\(|\)|\{|\}|,|==|!=|!|&&|\|\|)|"(?P<double>[^"]*)"|'(?P<single>[^']*)'"""
                    r"""|(?P<call>has|all|global)\([ \t]*(?P<inner>[A-Za-z0-9_./-]*)[ \t]*\)"""
                    r"""|(?P<label>[A-Za-z0-9_./-]{1,512}))""")
_OPERATORS = re.compile(r"[ \t]*(?P<word>contains|starts[ \t]*with|ends[ \t]*with|not[ \t]*in|in)")
_WORDS = {"contains": Operator.CONTAINS, "startswith": Operator.STARTS, "endswith": Operator.ENDS}


class _Token(NamedTuple):
    kind: str
    value: str


Key = Callable[[str], tuple[Scope, str]]
"""Which label a name in an expression means."""


def parse(text: str, where: str, key: Key, *, everywhere: Expression = EVERYTHING,
          global_: Expression | None = None) -> Expression:
    """The expression; `all()` and no text mean `everywhere`, `global()` what is given, if it may stand here.

    Raises MalformedError with the field and what was expected.
    """
    if len(text) > MAX_LENGTH:
        raise MalformedError(where, got=f"{len(text)} characters", expected=f"at most {MAX_LENGTH}")
    if not text.strip(" \t"):
        return everywhere
    return _Parser(_tokens(text, where), text, where, key, everywhere, global_).whole()


def _tokens(text: str, where: str) -> list[_Token]:
    result: list[_Token] = []
    at = 0
    end = len(text.rstrip(" \t"))
    while at < end:
        if result and result[-1].kind == "label" and (operator := _OPERATORS.match(text, at)):
            result.append(_Token("operator", re.sub(r"[ \t]", "", operator["word"])))
            at = operator.end()
            continue
        match = _SIGNS.match(text, at)
        if match is None:
            raise MalformedError(where, got=text[at:at + 20], expected="a label, a text in quotes or an operator")
        kind = str(match.lastgroup)
        if kind == "inner":
            result.append(_Token(match["call"], match["inner"]))
        else:
            result.append(_Token("text" if kind in ("double", "single") else kind, match[kind]))
        at = match.end()
    return result


class _Parser:
    def __init__(self, tokens: list[_Token], text: str, where: str, key: Key, everywhere: Expression,
                 global_: Expression | None) -> None:
        self._tokens, self._text, self._where, self._key = tokens, text, where, key
        self._everywhere, self._global = everywhere, global_
        self._at = self._depth = 0

    def whole(self) -> Expression:
        result = self._either()
        if self._at < len(self._tokens):
            raise self._wrong("an operator or the end")
        return result

    def _wrong(self, expected: str) -> MalformedError:
        got = self._tokens[self._at].value if self._at < len(self._tokens) else "the end"
        return MalformedError(self._where, got=f"{got} in {self._text}", expected=expected)

    def _take(self, kind: str, value: str | None = None) -> _Token | None:
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == kind and value in (None, token.value):
                self._at += 1
                return token
        return None

    def _either(self) -> Expression:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._wrong(f"at most {_MAX_DEPTH} levels of parentheses")
        parts = [self._both()]
        while self._take("sign", "||"):
            parts.append(self._both())
        self._depth -= 1
        return either(*parts) if len(parts) > 1 else parts[0]

    def _both(self) -> Expression:
        parts = [self._not()]
        while self._take("sign", "&&"):
            parts.append(self._not())
        return both(*parts) if len(parts) > 1 else parts[0]

    def _not(self) -> Expression:
        negated = False
        while self._take("sign", "!"):
            negated = not negated
        result = self._operand()
        return Not(result) if negated else result

    def _operand(self) -> Expression:
        if self._take("sign", "("):
            result = self._either()
            if not self._take("sign", ")"):
                raise self._wrong("a closing parenthesis")
            return result
        if token := self._take("has"):
            if not token.value:
                raise self._wrong("has(LABEL)")
            return self._test(token.value, Operator.EXISTS)
        if token := self._take("all"):
            return self._everywhere
        if token := self._take("global"):
            if self._global is None:
                raise MalformedError(self._where, got="global()",
                                     expected="global() in a rule's namespaceSelector only")
            return self._global
        if label := self._take("label"):
            return self._comparison(label.value)
        raise self._wrong("a label, has(…), all() or a parenthesis")

    def _test(self, label: str, operator: Operator, *values: str) -> Expression:
        scope, key = self._key(label)
        return Test(scope, key, operator, tuple(sorted(set(values))))

    def _comparison(self, label: str) -> Expression:
        if self._take("sign", "=="):
            return self._test(label, Operator.IN, self._value())
        if self._take("sign", "!="):
            return Not(self._test(label, Operator.IN, self._value()))
        operator = self._take("operator")
        if operator is None:
            raise self._wrong("==, !=, in, not in, contains, starts with or ends with")
        if operator.value in _WORDS:
            return self._test(label, _WORDS[operator.value], self._value())
        values = self._values()
        test = self._test(label, Operator.IN, *values) if values else NOTHING
        return Not(test) if operator.value == "notin" else test

    def _value(self) -> str:
        token = self._take("text")
        if token is None:
            raise self._wrong("a text in quotes")
        return token.value

    def _values(self) -> list[str]:
        if not self._take("sign", "{"):
            raise self._wrong("a set such as {\"a\", \"b\"}")
        values: list[str] = []
        while not self._take("sign", "}"):
            if values and not self._take("sign", ","):
                raise self._wrong("a comma or }")
            values.append(self._value())
        return values
