"""`python -m tests.fuzz.mutants FOLDER COUNT [SEED [MOST]]`: mutants of conformance cases, by custody and OPA.

FOLDER holds cases as YAML (modules, query, data, input). A mutant has some literals, builtins, operators or names
changed, a line dropped, doubled or taken from a neighbour, or the other version of the language. Values, codes and
words of errors are compared. More than MOST differences are a failure.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from custody.adapters.world import SystemWorld
from policylang import rego
from policylang.errors import LanguageError
from policylang.rego.builtins import BUILTINS
from tests.fuzz.documents import Peer, peer, rows_of

_TOKEN = re.compile(r'`[^`]*`|"(?:[^"\\\n]|\\.)*"|#[^\n]*|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|'
                    r'[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|:=|==|!=|<=|>=|\s+|.', re.DOTALL)
_LITERALS = ('""', '"a"', '"é"', '"a/b"', "0", "1", "-1", "2", "3", "1.5", "1e3", "100000000000000000000", "true",
             "false", "null", "[]", "{}", "set()", "[1, 2]", '{"a": 1}', "{1, 2}", '["a", "b"]', '{"a": {"b": [1]}}',
             "input", "input.x", "data", "[[1]]", "{[1]: 2}", '"*"', '"0x1f"', '"10Ki"', '"."')
_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "=", ":=", "+", "-", "*", "/", "%", "&", "|")
_IMPURE = re.compile(r"time\.now_ns|rand\.|uuid\.rfc4122|opa\.runtime|http\.send|net\.lookup|test\.sleep|trace\(|"
                     r"rego\.(metadata|parse_module)|print\(|jwt\.encode_sign|numbers\.range")
_FAMILIES: dict[str, list[str]] = {}
for _name, _builtin in BUILTINS.items():
    _FAMILIES.setdefault(_name.partition(".")[0] if "." in _name else str(len(_builtin.parameters)), []).append(_name)


class Case(NamedTuple):
    name: str
    modules: list[str]
    data: dict[str, Any]
    given: Any
    has_input: bool
    query: str
    version: int
    strict: bool


def cases(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.rglob("*.yaml")):
        for case in yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["cases"]:
            if "input_term" in case:
                continue
            try:
                data, given = (json.loads(json.dumps(case.get(part) or {})) for part in ("data", "input"))
            except (TypeError, ValueError):
                continue
            # a name such as OPA's compiler makes is not checked as others are
            modules = [text.replace("__local", "local") for text in case.get("modules") or []]
            version = 0 if "/v0/" in str(path) else 1
            yield Case(f"{path.parent.name} {case['note']}", modules, data, given, "input" in case, case["query"],
                       version, bool(case.get("strict_error")))


class Mutator:
    def __init__(self, seed: int, stock: list[Case]) -> None:
        self._random, self._stock = random.Random(seed), stock

    def mutant(self) -> Case:
        pick, chance = self._random.choice, self._random.random
        at = self._random.randrange(len(self._stock))
        case = self._stock[at]
        neighbour = self._stock[max(0, min(len(self._stock) - 1, at + self._random.randint(-3, 3)))]
        modules, query, given = list(case.modules), case.query, case.given
        for _ in range(pick((1, 1, 1, 2, 2, 3))):
            which = self._random.randrange(len(modules) + 1) if modules and chance() < 0.9 else len(modules)
            if chance() < 0.1 and case.has_input:
                given = self._document(given)
            elif which < len(modules):
                modules[which] = self._text(modules[which], neighbour)
            else:
                query = self._tokens(query, neighbour) if chance() < 0.5 else query
        return case._replace(modules=modules, query=query, given=given, strict=case.strict or chance() < 0.4,
                             version=case.version if chance() < 0.97 else 1 - case.version)

    def _text(self, text: str, neighbour: Case) -> str:
        lines, pick = text.split("\n"), self._random.choice
        shape = pick(("tokens",) * 8 + ("drop", "double", "graft", "not", "with", "graft", "swap"))
        if shape == "tokens" or len(lines) < 3:
            return self._tokens(text, neighbour)
        at = self._random.randrange(1, len(lines))
        if shape == "drop":
            del lines[at]
        elif shape == "double":
            lines.insert(at, lines[at])
        elif shape == "swap":
            other = self._random.randrange(1, len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif shape == "not":
            lines[at] = "not " + lines[at]
        elif shape == "with" and lines[at].strip() and lines[at].rstrip()[-1] not in "{},":
            lines[at] += " with input as " + pick(_LITERALS)
        elif neighbour.modules:
            lines.insert(at, pick(pick(neighbour.modules).split("\n")[1:] or [""]))
        return "\n".join(lines)

    def _tokens(self, text: str, neighbour: Case) -> str:
        tokens, pick = _TOKEN.findall(text), self._random.choice
        places = [at for at, token in enumerate(tokens) if not token.isspace() and token[0] not in "#(),;{}"]
        if not places:
            return text
        at = pick(places)
        token = tokens[at]
        if (token[0] in '"`' and len(token) > 1) or token[0].isdigit():
            others = [each for each in _TOKEN.findall("\n".join(neighbour.modules))
                      if each[0] in '"`' or each[0].isdigit()]
            tokens[at] = pick(others) if others and self._random.random() < 0.4 else pick(_LITERALS)
            if token[0] in '"`' and self._random.random() < 0.3:
                tokens[at] = self._string(token)
        elif token in BUILTINS:
            family = token.partition(".")[0] if "." in token else str(len(BUILTINS[token].parameters))
            tokens[at] = pick(_FAMILIES[family])
        elif token in _OPERATORS:
            tokens[at] = pick(_OPERATORS)
        elif token[0].isalpha() or token == "_":
            names = [each for each in tokens if each[0].isalpha() or each == "_"]
            tokens[at] = pick(names) if self._random.random() < 0.6 else pick(_LITERALS)
        elif token == "[" and "]" in tokens[at:]:
            end = tokens.index("]", at)
            tokens[at + 1:end] = [pick(("x", "_", "i", *_LITERALS))]
        return "".join(tokens)

    def _string(self, token: str) -> str:
        at = self._random.randrange(1, len(token))
        return token[:at] + self._random.choice(("a", "/", "*", "%", ".", "0", " ", "-", "é", "[", "{")) + token[at + (
            self._random.random() < 0.5 and at < len(token) - 1):]

    def _document(self, value: Any) -> Any:
        pick = self._random.choice
        if isinstance(value, dict) and value and self._random.random() < 0.8:
            name = pick(list(value))
            return {**value, name: self._document(value[name])}
        if isinstance(value, list) and value and self._random.random() < 0.8:
            at = self._random.randrange(len(value))
            return [*value[:at], self._document(value[at]), *value[at + 1:]]
        return pick((1, "a", [], {}, True, 1.5, -1, "", [1, "a"], {"a": "b"}))


def ours(case: Case) -> tuple[str, ...]:
    modules = {f"m{at}.rego": text for at, text in enumerate(case.modules)}
    try:
        query = rego.Policy(modules, version=case.version).query(case.query)
        given = case.given if case.has_input else rego.UNDEFINED
        rows = query(case.data, given, strict=case.strict, world=SystemWorld())
    except rego.EvaluationError as wrong:
        return ("error", wrong.kind, wrong.reason)
    except rego.SourceError as wrong:
        return ("error", wrong.kind, wrong.message)
    except LanguageError as wrong:
        return ("error", type(wrong).__name__, wrong.message)
    except Exception as wrong:
        return ("error", "crash", f"{type(wrong).__name__}: {wrong}")
    return ("rows", *rows_of(_whole([[{name: rego.to_json(value) for name, value in row.bindings.items()},
                                   [rego.to_json(value) for value in row.expressions]] for row in rows])))


def theirs(case: Case, opa: Peer) -> dict[str, Any]:
    asked = {"query": case.query, **({"input": case.given} if case.has_input else {})}
    answer: dict[str, Any] = opa.ask({"modules": case.modules, "data": case.data, "asked": [asked],
                                      "version": case.version, "strict": case.strict})["answers"][0]
    return answer


def _whole(value: Any) -> Any:
    """Numbers as custody has them: whole ones have no fraction."""
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole(member) for member in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def compared(mine: tuple[str, ...], other: dict[str, Any]) -> str | None:
    """How the answers differ: `value`, `code` or `words`; None where they do not."""
    if not other.get("code"):
        return None if mine == ("rows", *rows_of(_whole(other["rows"]))) else "value"
    if mine[0] == "rows":
        return "value"
    if mine[1] not in (other["code"], *other.get("codes", ())):
        return "code"
    words = [other["message"], *other.get("reasons", ())]
    return None if any(mine[2].endswith(each) or each in mine[2] for each in words) else "words"


def main() -> int:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    most = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    stock = list(cases(folder))
    kinds: Counter[str] = Counter()
    with peer() as opa:
        if opa is None:
            print("skipped: go, or OPA's module in Go's cache, is not here", file=sys.stderr)
            return 0
        for number in range(seed, seed + count):
            case = Mutator(number, stock).mutant()
            if _IMPURE.search("\n".join((*case.modules, case.query))):
                kinds["impure"] += 1
                continue
            other = theirs(case, opa)
            if other.get("code") == "panic" or "panic" in other.get("message", ""):
                kinds["OPA panics"] += 1
                continue
            mine = ours(case)
            kind = compared(mine, other)
            kinds[kind or ("agree: value" if mine[0] == "rows" else f"agree: {mine[1]}")] += 1
            if kind:
                print(f"=== {kind} seed {number} of {case.name} v{case.version} strict {case.strict}",
                      "\n&&\n".join(case.modules),
                      f"  query {case.query} input {json.dumps(case.given)[:300]} data {json.dumps(case.data)[:300]}",
                      f"  custody {str(mine)[:600]}\n  opa     {str(other)[:600]}\n", sep="\n")
    print(", ".join(f"{name} {times}" for name, times in kinds.most_common()))
    return 1 if kinds["value"] + kinds["code"] > most else 0


if __name__ == "__main__":
    sys.exit(main())
