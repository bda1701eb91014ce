"""`python -m tests.fuzz.documents COUNT [SEED [MOST]]`: programs of several packages, evaluated by custody and by OPA.

What they are about: rules whose heads are references that overlap, base data where rules are, `data` named with
variables, `with` in all places, functions, defaults and else-branches among them, and the errors of all these. The real
OPA is a small Go program around its library, which is built where Go and OPA's module are (`opa/main.go`). More than
MOST differences are a failure. About one in 1,000 differs: types that OPA knows more or less of, the order of errors,
and conflicts that its index passes by.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from policylang import rego
from policylang.errors import LanguageError
from tests.fuzz.chance import Chance

_NAMES = ("p", "q", "r")
_KEYS = ('"p"', '"q"', '"r"', "1", "true", '"a b"')
_PACKAGES = ("t", "t.p", "t.u", "t.p.q", "v")


class Program(NamedTuple):
    modules: list[str]
    data: dict[str, Any]
    asked: list[tuple[str, Any]]  # query, input

    def shown(self) -> str:
        return "\n&&\n".join(self.modules) + f"\ndata {json.dumps(self.data)}"


class Generator(Chance):
    """`level`: packages of the upper level (`s`) name those of the lower one, so that few programs are recursive."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.made = 0
        self.heads: list[str] = []  # references to rules of the lower level

    def program(self) -> Program:
        lower = self.random.sample(_PACKAGES, self.pick(1, 1, 2, 3))
        modules = [self.module(package, upper=False) for package in lower]
        modules += [self.module("s", upper=True) for _ in range(self.pick(1, 1, 1, 2))]
        data = self.base(3) if self.chance(0.5) else {}
        asked = [(query, self.input()) for query in ("data.s", "data.t", "data", self.query(), self.query())]
        return Program(modules, data, asked)

    def input(self) -> Any:
        return {"k": self.pick("p", "q", 1),
                "xs": [self.pick("p", "q", "r", 1) for _ in range(self.random.randint(0, 3))],
                "o": {"p": self.pick(1, {"q": 2}), "q": "r"}}

    def base(self, depth: int) -> dict[str, Any]:
        def made(left: int) -> Any:
            if left == 0 or self.chance(0.3):
                return self.pick(1, "p", True, None, [1, "p"], {}, {"1": 2})
            return {name: made(left - 1) for name in self.random.sample((*_NAMES, "u", "1"), self.random.randint(0, 3))}
        return {name: made(depth) for name in self.random.sample(("t", "v", "w", "s"), self.random.randint(1, 3))}

    def query(self) -> str:
        found = self.pick(f"data.t.{self.pick(*_NAMES)}", "x = data.t[y]", f"data.t.{self.pick(*_NAMES)}[x]",
                          f"data.t.p.{self.pick(*_NAMES)}", "data.t[x][y]", "data[x]", f"data.v[{self.pick(*_KEYS)}]",
                          f"data.t.u.{self.pick(*_NAMES)}[{self.pick(*_KEYS)}]", "data.s[x]",
                          f"data.t with data.t.{self.pick(*_NAMES)} as 7",
                          f"data.s.x0 with input.k as {self.pick(*_KEYS)}",
                          "[x | x = data.t.p[_]]", "not data.t.p.q")
        assert isinstance(found, str)
        return found

    # --- modules

    def module(self, package: str, *, upper: bool) -> str:
        lines = [f"package {package}", ""]
        if upper and self.chance(0.3):
            lines += ["import data.t", ""]
        shapes: dict[str, tuple[bool, str]] = {}
        for number in range(self.pick(1, 2, 2, 3, 4)):
            name = f"x{number}" if upper else self.pick(*_NAMES)
            if not upper and self.chance(0.7):  # rules of one name, most of which agree in what they are
                shape = shapes.setdefault(name, (self.chance(0.6), self.pick("value", "value", "set")))
                lines += [self.rule(package, name, upper, *shape), ""]
            else:
                lines += [self.rule(package, name, upper), ""]
        return "\n".join(lines)

    def rule(self, package: str, name: str, upper: bool, varied: bool = False, kind: str = "") -> str:
        bound: list[str] = []
        body = [self.line(bound, upper) for _ in range(self.random.randint(0, 3))]
        head = name
        if varied:
            body.append(self.binding(bound))
            head += f"[{self.random.choice(bound)}]"
        for _ in range(self.pick(0, 0, 1, 1, 2, 3) if not upper else self.pick(0, 0, 0, 1, 2)):
            shape = self.pick("name", "name", "key", "var", "var", "input")
            if shape == "name":
                head += f".{self.pick(*_NAMES)}"
            elif shape == "key":
                head += f"[{self.pick(*_KEYS)}]"
            elif shape == "input" and self.chance(0.3):
                head += "[input.k]"
            else:
                if not bound or self.chance(0.2):
                    body.append(self.binding(bound))
                head += f"[{self.random.choice(bound)}]"
        if not upper:
            self.heads.append(f"data.{package}.{head}")
        varied = "[v" in head or "[input" in head
        if not kind or not self.chance(0.3):
            kind = self.pick("value", "value", "value", "set", "default", "else", "function") if self.chance(0.3) \
                else "value"
        if kind == "set" and varied and self.chance(0.3):
            kind = "value"
        if (kind == "else" and varied and self.chance(0.95)) or (kind == "function" and (varied or self.chance(0.6))):
            kind = "value"
        value = self.value(bound, upper)
        if kind == "default":
            return f"default {head} := {self.constant()}" if self.chance(0.9) else f"default {head} := {value}"
        if kind == "set":
            head += f" contains {value}"
        elif kind == "function":
            head += f"({self.pick('a', '_', '1', '[a, _]')}) := {self.pick('1', '2', 'true')}"
            body = ["true"]
        elif self.chance(0.85):
            head += f" := {value}"
        text = f"{head} if {{ {'; '.join(body)} }}" if body else head
        if kind == "else":
            text += f" else := {self.constant()}" if body else ""
        return text

    def constant(self) -> str:
        found: str = self.pick("1", "2", '"p"', "true", "false", "[1]", '{"p": 1}', '{"q": {"r": 2}}', "{1}", "null")
        return found

    def value(self, bound: list[str], upper: bool) -> str:
        if bound and self.chance(0.4):
            return self.random.choice(bound)
        if self.chance(0.6):
            return self.constant()
        if upper and self.chance(0.6):
            shape = self.pick("ref", "set", "object", "array", "count")
            ref = self.ref(bound, upper)
            match shape:
                case "ref":
                    return ref
                case "set":
                    return f"{{k | {ref.split('[')[0]}[k]}}"
                case "object":
                    return f"{{k: w | w := {ref.split('[')[0]}[k]}}"
                case "array":
                    return f"[k | k := {ref}]"
            return f"count({ref})"
        return self.pick("input.k", '{"p": input.k}', "input.o", "[x | some x in input.xs]")  # type: ignore[no-any-return]

    def fresh(self) -> str:
        self.made += 1
        return f"v{self.made}"

    def binding(self, bound: list[str]) -> str:
        name = self.fresh()
        line = self.pick(f'some {name} in ["p", "q"]', f'some {name} in ["p", "r", 1]', f'{name} := "p"',
                         f"{name} := input.k", f"some {name} in input.xs", f'{name} = {{"q", "r"}}[_]',
                         f'{name} := ["p", "q"][_]', f"input.o[{name}]")
        bound.append(name)
        return str(line)

    def ref(self, bound: list[str], upper: bool) -> str:
        if upper and self.heads and self.chance(0.5):
            head = self.random.choice(self.heads)
            out = ""
            for part in head.replace("[", ".[").split("."):  # its variables are new ones, or known ones
                if part.startswith("[v"):
                    part = self.part(bound)
                elif part and not part.startswith("["):
                    part = f".{part}" if out else part
                out += part
            return out + (self.part(bound) if self.chance(0.3) else "")
        out = "data." + self.pick("t", "t.p", "t.u", "v", "w", "t.p.q", "u") if self.chance(0.9) else "data"
        for _ in range(self.random.randint(0, 3)):
            out += f".{self.pick(*_NAMES)}" if self.chance(0.5) else self.part(bound)
        return out

    def part(self, bound: list[str]) -> str:
        if bound and self.chance(0.5):
            return f"[{self.random.choice(bound)}]"
        return f"[{self.pick('_', '_', *_KEYS, self.fresh())}]"

    def line(self, bound: list[str], upper: bool) -> str:
        if not upper or self.chance(0.3):
            if self.chance(0.6):
                return self.binding(bound)
            return str(self.pick("input.k", 'input.k == "p"', "not input.z", "true", "input.o.p == 1",
                                 "count(input.xs) > 1"))
        ref = self.ref(bound, upper)
        shape = self.pick("assign", "test", "not", "with", "with", "every", "some", "unify", "compare", "walk", "in")
        match shape:
            case "assign" | "unify":
                name = self.fresh()
                bound.append(name)
                return f"{name} {':=' if shape == 'assign' else '='} {ref}"
            case "test":
                return ref
            case "not":
                ref = self.ref([*bound], upper)
                return f"not {ref}" if self.chance(0.6) else f"not {ref} == {self.constant()}"
            case "with":
                return self.under(bound, upper)
            case "every":
                name = self.fresh()
                inner = self.pick("true", name, f"not {name} == 1", self.ref([*bound, name], upper))
                return f"every {name} in {ref} {{ {inner} }}"
            case "some":
                key, name = self.fresh(), self.fresh()
                text = f"some {name} in {ref}" if self.chance(0.5) else f"some {key}, {name} in {ref}"
                bound += [name] if ", " not in text else [key, name]
                return text
            case "walk":
                name = self.fresh()
                bound.append(name)
                return f"walk({ref}, [{name}, {self.fresh()}])"
            case "in":
                return f"{self.constant()} in {ref}"
        return f"{ref} {self.pick('==', '!=', '=')} {self.constant()}"

    def under(self, bound: list[str], upper: bool) -> str:
        expression = self.ref(bound, upper)
        shape = self.pick("plain", "assign", "not", "compare", "comprehension", "count")
        if shape == "assign":
            name = self.fresh()
            expression = f"{name} := {expression}"
        elif shape == "not":
            expression = f"not {expression}"
        elif shape == "compare":
            expression = f"{expression} == {self.constant()}"
        elif shape == "comprehension":
            name = self.fresh()
            expression = f"{name} := {{k: w | w := {expression.split('[')[0]}[k]}}"
        elif shape == "count":
            expression = f"count({expression}) > 0"
        for _ in range(self.pick(1, 1, 1, 2)):
            target = self.pick("input", "input.k", "input.o.p", "input.o", "data.t", "data.t.p", "data.t.q", "data.v",
                               "data.w", "data.t.p.q", f"data.{self.pick(*_PACKAGES)}.{self.pick(*_NAMES)}", "count",
                               "data", "data.w.x")
            value = self.pick(self.constant(), self.constant(), '{"p": {"q": 3}}', *bound) if target != "count" else \
                self.pick("7", "data.t.p", "sum", '"x"')
            expression += f" with {target} as {value}"
        if shape in ("assign", "comprehension"):
            bound.append(name)
        return expression


class Peer:
    """OPA's library, a process that answers programs."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen([self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, text=True)

    def answers(self, program: Program) -> list[Any]:
        asked = [{"query": query, "input": given} for query, given in program.asked]
        found = self.ask({"modules": program.modules, "data": program.data, "asked": asked, "version": 1})["answers"]
        return [("error", each["code"], each["message"], each.get("codes", [])) if each.get("code")
                else ("rows", rows_of(each["rows"])) for each in found]

    def formatted(self, text: str, version: int) -> str | None:
        """A module as `opa fmt` prints it; None where it is refused."""
        found = self.ask({"format": text, "version": version})
        return None if "error" in found else str(found["text"])

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:  # OPA overflows its stack at some programs
            self._process.wait()
            self._start()
            return {"answers": [{"code": "panic", "message": "panic"}] * len(question["asked"])}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def rows_of(rows: list[Any]) -> list[str]:
    return sorted(json.dumps([{name: value for name, value in bindings.items() if name[0] != "$"}, values],
                             sort_keys=True) for bindings, values in rows)


def our_answers(program: Program) -> list[Any]:
    try:
        policy = rego.Policy({f"m{at}.rego": text for at, text in enumerate(program.modules)})
    except rego.SourceError as wrong:
        return [("error", wrong.kind, wrong.message)] * len(program.asked)
    answers: list[Any] = []
    for text, given in program.asked:
        try:
            results = policy.query(text)(program.data, given)
        except rego.EvaluationError as wrong:
            answers.append(("error", wrong.kind, wrong.message))
        except rego.SourceError as wrong:
            answers.append(("error", wrong.kind, wrong.message))
        except (LanguageError, AssertionError) as wrong:
            answers.append(("error", type(wrong).__name__, str(wrong)))
        else:
            answers.append(("rows", rows_of([[{name: rego.to_json(value) for name, value in row.bindings.items()},
                                            [rego.to_json(value) for value in row.expressions]] for row in results])))
    return answers


def same(ours: Any, theirs: Any) -> bool:
    return bool(ours[:2] == theirs[:2]) or (ours[0] == theirs[0] == "error" and ours[1] in theirs[3])


@contextmanager
def peer() -> Iterator[Peer | None]:
    """OPA's library as a program; None where Go or OPA's module is not here."""
    go = shutil.which("go")
    with tempfile.TemporaryDirectory() as name:
        built = os.environ.get("CUSTODY_OPA_PEER")
        if built is None and go is not None:
            folder = Path(__file__).with_name("opa")
            built = str(Path(name) / "opa")
            made = subprocess.run([go, "build", "-mod=readonly", "-o", built, "."], cwd=folder, check=False,
                                  env={**os.environ, "GOPROXY": "off", "GOFLAGS": "", "GOSUMDB": "off"})
            if made.returncode:
                built = None
        if built is None:
            yield None
            return
        found = Peer(built)
        try:
            yield found
        finally:
            found.close()


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    most = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    wrong = agreed = 0
    kinds: Counter[str] = Counter()
    with peer() as opa:
        if opa is None:
            print("skipped: go, or OPA's module in Go's cache, is not here", file=sys.stderr)
            return 0
        for number in range(seed, seed + count):
            program = Generator(number).program()
            theirs = opa.answers(program)
            if any("panic" in str(each) for each in theirs):
                continue
            ours = our_answers(program)
            kinds.update("value" if each[0] == "rows" else each[1] for each in theirs)
            different = [(asked, one, other) for asked, one, other in zip(program.asked, ours, theirs, strict=True)
                         if not same(one, other)]
            if not different:
                agreed += 1
                continue
            wrong += 1
            print(f"=== seed {number}\n{program.shown()}")
            for asked, one, other in different[:2]:
                print(f"  asked   {asked[0]} input {json.dumps(asked[1])}\n  custody {one}\n  opa     {other}")
    print(", ".join(f"{name} {times}" for name, times in kinds.most_common()))
    print(f"{count} programs from seed {seed}: {agreed} agree, {wrong} differ, {count - agreed - wrong} OPA panics at")
    return 1 if wrong > most else 0


if __name__ == "__main__":
    sys.exit(main())
