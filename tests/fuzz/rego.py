"""`python -m tests.fuzz.rego COUNT [SEED]`: generated modules and inputs, evaluated by custody and by the real OPA.

Prints each module on which they differ: in what a package is worth, or in the class of the error that refuses it; those
that are known are counted, with why. Every
module is compiled and asked for with several inputs by one OPA server.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from policylang import rego
from policylang.errors import LanguageError
from tests.fuzz.chance import Chance
from tests.languages.rego_builtins.opa import Opa, serving

DATA = {"limits": {"a": 3, "b": 5}, "roles": [{"name": "r1", "users": ["ann", "bob"]}, {"name": "r2", "users": []}],
        "numbers": [3, 1, 2]}
_WORDS = ("a", "b", "ann", "bob", "", "x/y", "é", "10")
_INTS = (0, 1, 2, 3, -1, 10, 100)


class Difference(NamedTuple):
    module: str
    given: Any
    custody: Any
    opa: Any


class Generator(Chance):
    """Modules of the package `p`, of a few rules that may use those before them."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.rules: list[tuple[str, str]] = []  # (name, kind) that may be named already
        self.locals: list[tuple[str, str]] = []
        self.made = 0

    def fresh(self) -> str:
        self.made += 1
        return f"v{self.made}"

    def module(self) -> str:
        lines = ["package p", "", "import rego.v1", ""]
        for number in range(self.random.randint(1, 5)):
            lines += self.rule(f"r{number}")
        return "\n".join(lines) + "\n"

    # --- rules

    def rule(self, name: str) -> list[str]:
        self.locals = []
        shape = self.pick("value", "value", "value", "set", "set", "object", "function", "default", "else", "constant")
        kind = self.pick("number", "text", "flag", "array")
        if shape == "constant":
            lines = [f"{name} := {self.term(kind, 2)}"]
        elif shape == "set":
            body = self.body()
            lines = [line for _ in range(self.random.randint(1, 2))
                     for line in self.braced(f"{name} contains {self.term(kind, 2)} if", body)]
        elif shape == "object":
            body = self.body()
            lines = self.braced(f"{name}[{self.term('text', 1)}] := {self.term(kind, 2)} if", body)
        elif shape == "function":
            self.locals = [("a", "number"), ("b", "text")]
            body = self.body()
            lines = self.braced(f"{name}(a, b) := {self.term(kind, 2)} if", body)
            if self.chance(0.3):
                self.locals = [("a", "number"), ("b", "text")]
                lines[-1] += f" else := {self.term(kind, 1)}"
            kind = f"function {kind}"
        else:
            body = self.body()
            lines = self.braced(f"{name} := {self.term(kind, 2)} if", body)
            if shape == "default":
                lines.insert(0, f"default {name} := {self.constant(kind)}")
            elif shape == "else":
                self.locals = []
                lines[-1] += f" else := {self.term(kind, 2)} if {{"
                lines += ["\t" + each for each in self.body()] + ["}"]
        self.rules.append((name, "set" if shape == "set" else "object" if shape == "object" else kind))
        return [*lines, ""]

    def braced(self, head: str, body: list[str]) -> list[str]:
        return [f"{head} {{", *("\t" + each for each in body), "}"]

    def body(self) -> list[str]:
        lines = [self.line() for _ in range(self.random.randint(1, 4))]
        if self.chance(0.25):
            self.random.shuffle(lines)  # OPA and custody put them into an order that is safe
        return lines

    def line(self) -> str:
        shape = self.pick("assign", "test", "test", "test", "some", "some", "not", "every", "unify", "with", "index")
        match shape:
            case "assign":
                kind, name = self.pick("number", "text", "array", "flag"), self.fresh()
                line = f"{name} := {self.term(kind, 3)}"
                self.locals.append((name, kind))
                return line
            case "some":
                name = self.fresh()
                domain, kind = self.domain()
                line = f"some {name} in {domain}"
                if self.chance(0.3):
                    at = self.fresh()
                    line = f"some {at}, {name} in {domain}"
                self.locals.append((name, kind))
                return line
            case "not":
                return f"not {self.test(2)}"
            case "every":
                name = self.fresh()
                domain, kind = self.domain()
                outer, self.locals = self.locals, [*self.locals, (name, kind)]
                line = f"every {name} in {domain} {{ type_name({name}) != \"null\"; {self.test(1)} }}"
                self.locals = outer
                return line
            case "unify":
                one, other = self.fresh(), self.fresh()
                line = f"[{one}, {other}] = {self.pick('input.pair', '[1, input.n]', '[input.t, 2]')}"
                self.locals += [(one, "any"), (other, "any")]
                return line
            case "with":
                return f"{self.test(1)} with input.n as {self.term('number', 1)}"
            case "index":
                name, at = self.fresh(), self.fresh()
                line = f"{name} := {self.pick('input.xs', 'data.numbers', 'input.ts')}[{at}]"
                self.locals += [(at, "number")]
                return line
        return self.test(3)

    def domain(self) -> tuple[str, str]:
        found = self.pick(("input.xs", "number"), ("input.ts", "text"), ("data.numbers", "number"),
                          ("data.roles[_].users", "text"), ("{1, 2, 3}", "number"), ("input.o", "any"),
                          (f"[{self.term('number', 1)}, 2]", "number"), ("input.missing", "any"))
        sets = [name for name, kind in self.rules if kind == "set"]
        return (self.random.choice(sets), "any") if sets and self.chance(0.3) else found

    def test(self, depth: int) -> str:
        kind = self.pick("number", "text", "array", "flag", "any")
        shape = self.pick("compare", "compare", "in", "call", "flag")
        if shape == "compare":
            sign = self.pick("==", "!=", "<", "<=", ">", ">=")
            return f"{self.term(kind, depth - 1)} {sign} {self.term(kind, depth - 1)}"
        if shape == "in":
            return f"{self.term('any', depth - 1)} in {self.domain()[0]}"
        return self.term("flag", depth)

    # --- terms

    def term(self, kind: str, depth: int) -> str:
        if kind == "any":
            kind = self.pick("number", "text", "array", "flag", "other")
        if depth <= 0 or self.chance(0.2):
            return self.leaf(kind)
        known = [name for name, each in self.rules if each == kind]
        called = [name for name, each in self.rules if each == f"function {kind}"]
        if called and self.chance(0.3):
            return f"{self.random.choice(called)}({self.term('number', depth - 1)}, {self.term('text', depth - 1)})"
        if known and self.chance(0.25):
            return self.random.choice(known)
        made: str = self.random.choice(_TERMS[kind])(self, depth - 1)
        return made

    def leaf(self, kind: str) -> str:
        near = [name for name, each in self.locals if each in (kind, "any")]
        if near and self.chance(0.6):
            return self.random.choice(near)
        return self.pick(self.constant(kind), *_LEAVES[kind])

    def constant(self, kind: str) -> str:
        match kind:
            case "number":
                return str(self.pick(*_INTS, 1.5))
            case "text":
                return json.dumps(self.pick(*_WORDS), ensure_ascii=False)
            case "flag":
                return self.pick("true", "false")
            case "array":
                return self.pick("[]", "[1, 2]", '["a"]', '[3, "b", null]')
        return self.pick("null", '{"k": 1}', "{1, 2}", "set()", "{}")


Rule = Callable[[Generator, int], str]


def _call(name: str, *kinds: str) -> Rule:
    return lambda g, depth: f"{name}({', '.join(g.term(kind, depth) for kind in kinds)})"


def _infix(sign: str, kind: str) -> Rule:
    return lambda g, depth: f"({g.term(kind, depth)} {sign} {g.term(kind, depth)})"


def _comprehension(opening: str, closing: str) -> Rule:
    def made(g: Generator, depth: int) -> str:
        name = g.fresh()
        domain, kind = g.domain()
        outer, g.locals = g.locals, [*g.locals, (name, kind)]
        value = g.term("any", depth) if g.chance(0.5) else name
        if opening == "{" and g.chance(0.3):
            value = f"{json.dumps(g.pick('k', 'l'))}: {value}"
        text = f"{opening}{value} | some {name} in {domain}; {g.test(depth)}{closing}"
        g.locals = outer
        return text
    return made


_LEAVES: dict[str, tuple[str, ...]] = {
    "number": ("input.n", "input.xs[0]", "data.limits.a", "input.o.q", "input.f"),
    "text": ("input.t", "input.ts[1]", "data.roles[0].name", "input.o.w", "input.missing"),
    "flag": ("input.b", "input.missing.x", "input.o.z"),
    "array": ("input.xs", "input.ts", "data.numbers", "input.pair"),
    "other": ("input.o", "input", "data.limits", "input.nothing")}
_TERMS: dict[str, tuple[Rule, ...]] = {
    "number": (_infix("+", "number"), _infix("-", "number"), _infix("*", "number"), _infix("/", "number"),
               _infix("%", "number"), _call("count", "array"), _call("count", "text"), _call("abs", "number"),
               _call("sum", "array"), _call("max", "array"), _call("min", "array"), _call("round", "number"),
               _call("to_number", "text"), _call("indexof", "text", "text"), _call("ceil", "number"),
               lambda g, depth: f'object.get(input.o, "q", {g.term("number", depth)})',
               lambda g, depth: f"count({_comprehension('{', '}')(g, depth)})"),
    "text": (_call("concat", "text", "array"), _call("sprintf", "text", "array"), _call("lower", "text"),
             _call("upper", "text"), _call("replace", "text", "text", "text"), _call("trim", "text", "text"),
             _call("substring", "text", "number", "number"), _call("type_name", "any"), _call("json.marshal", "any"),
             _call("format_int", "number", "number"), _call("trim_prefix", "text", "text"),
             lambda g, depth: f'sprintf("%v-%s-%d", [{g.term("any", depth)}, {g.term("text", depth)}, '
                              f'{g.term("number", depth)}])'),
    "flag": (_call("startswith", "text", "text"), _call("endswith", "text", "text"), _call("contains", "text", "text"),
             _call("is_number", "any"), _call("is_string", "any"), _call("regex.match", "text", "text"),
             lambda g, depth: f"({g.test(depth)})" if g.chance(0.0) else g.term("flag", 0)),
    "array": (_call("split", "text", "text"), _call("sort", "array"), _call("array.concat", "array", "array"),
              _call("array.slice", "array", "number", "number"), _call("numbers.range", "number", "number"),
              _call("array.reverse", "array"), _comprehension("[", "]"),
              lambda g, depth: f"[{g.term('any', depth)}, {g.term('any', depth)}]"),
    "other": (_comprehension("{", "}"),
              lambda g, depth: f'{{"k": {g.term("any", depth)}, "l": {g.term("any", depth)}}}',
              lambda g, depth: f"{{{g.term('any', depth)}, {g.term('any', depth)}}}",
              lambda g, depth: f"object.union({{\"k\": {g.term('any', depth)}}}, input.o)")}


def inputs(seed: int) -> dict[str, Any]:
    found = random.Random(seed)
    pick = found.choice
    made = {"n": pick(_INTS), "f": pick((0.5, 2.25, 3)), "t": pick(_WORDS), "b": pick((True, False)), "nothing": None,
            "xs": [pick(_INTS) for _ in range(found.randint(0, 3))], "pair": [pick((1, 2)), pick((2, "x"))],
            "ts": [pick(_WORDS) for _ in range(found.randint(0, 3))], "o": {"q": pick(_INTS), "w": pick(_WORDS)}}
    if found.random() < 0.3:
        del made[pick(("n", "t", "o", "xs"))]
    return made


def our_answers(module: str, given: list[Any]) -> list[Any]:
    try:
        query = rego.Policy({"p": module}).query("data.p")
    except rego.SourceError as wrong:
        return [("refused", wrong.kind)] * len(given)
    answers = []
    for each in given:
        try:
            results = query(DATA, each)
        except rego.EvaluationError as wrong:
            answers.append(("error", wrong.kind))
        except LanguageError as wrong:
            answers.append((type(wrong).__name__, wrong.message))
        else:
            answers.append(("value", _normal(rego.to_json(results[0].expressions[0]) if results else None)))
    return answers


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _normal(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_normal(each) for each in value]
    if isinstance(value, float) and value == value // 1:
        return int(value)
    return round(value, 12) if isinstance(value, float) else value


def their_answers(opa: Opa, module: str, given: list[Any]) -> list[Any]:
    found = opa.request("PUT", "/v1/policies/p", module, refusing=True)
    if found and "errors" in found:
        return [("refused", found["errors"][0]["code"])] * len(given)
    answers = []
    for each in given:
        found = opa.request("POST", "/v1/data/p", json.dumps({"input": each}))
        if "errors" in found or "code" in found:
            code = found["errors"][0]["code"] if found.get("errors") else found["code"]
            answers.append(("error", code))
        else:
            answers.append(("value", _normal(found.get("result"))))
    return answers


def differences(program: str, count: int, seed: int = 0) -> Iterator[Difference]:
    with tempfile.TemporaryDirectory() as name, serving(program, Path(name), v0=False) as opa:
        for each, value in DATA.items():
            opa.request("PUT", f"/v1/data/{each}", json.dumps(value))
        for number in range(seed, seed + count):
            module = Generator(number).module()
            given = [inputs(number * 3 + at) for at in range(3)]
            ours, theirs = our_answers(module, given), their_answers(opa, module, given)
            for document, one, other in zip(given, ours, theirs, strict=True):
                if one != other:
                    yield Difference(module, document, one, other)
                    break


def excused(found: Difference) -> str | None:
    """Why a difference is known and stays; None for one that is not."""
    (ours, mine), (theirs, other) = found.custody, found.opa
    if ours == theirs == "refused":
        return "both refuse, for another reason"
    if "rego_type_error" in (mine, other):
        return "types: OPA follows some values further, and some not as far"
    if "eval_conflict_error" in (mine, other) and "error" in (ours, theirs):
        return "a conflict that OPA's index, or the order of expressions, passes by"
    if mine == "rego_unsafe_var_error":
        return "OPA lets wild variables into some closures under not"
    if ours == theirs == "value":
        if "\tnot true\n" in found.module or "\ttrue with " in found.module:
            return "OPA bug: where the value is a call, `if not true` and `if true with …` hold"
        if "\ufffd" in str(other):
            return "OPA cuts texts between the bytes of a character"
    return None


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    built = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers")) / "opa"
    program = str(built) if built.is_file() else shutil.which("opa")
    if program is None:
        print("opa is not installed", file=sys.stderr)
        return 2
    wrong = 0
    known: Counter[str] = Counter()
    for found in differences(program, count, seed):
        reason = excused(found)
        if reason is not None:
            known[reason] += 1
            continue
        wrong += 1
        print(f"{found.module}  input {json.dumps(found.given)}\n  custody {found.custody}\n  opa     {found.opa}\n")
    for reason, times in known.most_common():
        print(f"{times} times: {reason}")
    print(f"{count} modules from seed {seed}: {wrong} differences, {known.total()} known ones")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
