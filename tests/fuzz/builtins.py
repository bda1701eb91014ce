"""`python -m tests.fuzz.builtins COUNT [SEED [NAME …]]`: calls answered by custody's builtins and the real OPA.

Operands are of the builtin's declared types, from pools of what is at an edge for it, mixed and mutated. Prints each
call on which the two differ, in a value to the last digit or in the class of the error; those whose errors are only
worded otherwise are counted. Every call is a rule of one OPA server.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from policylang.budget import BudgetExceeded, Meter
from policylang.rego.builtins import BUILTINS
from policylang.rego.builtins.documents import read_json
from policylang.rego.check.types import declared
from policylang.rego.declare import BuiltinError, Context
from policylang.rego.values import UNDEFINED, Set, compact, key
from tests.fuzz.operands import NUMBERS, POOLS, TEXTS
from tests.fuzz.tokens import pools, suiting
from tests.languages.rego_builtins.calls import CALLS
from tests.languages.rego_builtins.opa import Opa, serving

IMPURE = frozenset({
    "http.send", "net.lookup_ip_addr", "opa.runtime", "trace", "print", "internal.print", "internal.test_case",
    "rego.metadata.chain", "rego.metadata.rule", "rand.intn", "uuid.rfc4122", "time.now_ns", "assign", "eq", "walk",
    "internal.template_string"})
BATCH = 400
PART = 2_000  # of them a server answers
_POOLS = {**POOLS, **pools()}


class Difference(NamedTuple):
    call: str
    custody: tuple[str, str]
    opa: tuple[str, str]


class Generator:
    def __init__(self, seed: int, names: list[str]) -> None:
        self.random = random.Random(seed)
        self.names = names

    def call(self) -> tuple[str, list[Any]]:
        name = self.random.choice(self.names)
        types = [declared(written) for written in BUILTINS[name].parameters]
        if name == "io.jwt.decode_verify" and self.random.random() < 0.8:
            return name, suiting(self.random)
        known = CALLS.get(name, [])
        if known and self.random.random() < 0.3:
            operands = list(self.random.choice(known))
            at = self.random.randrange(len(operands)) if operands else 0
            if operands:
                operands[at] = self.mutated(operands[at], name)
            return name, operands
        drawn = _POOLS.get(name, {})
        return name, [self.random.choice(drawn[at]) if at in drawn and self.random.random() < 0.8
                      else self.mutated(self.random.choice(drawn[at]), name) if at in drawn
                      else self.value(kind, name, 2) for at, kind in enumerate(types)]

    def mutated(self, value: Any, name: str) -> Any:
        chance = self.random.random()
        if isinstance(value, str):
            at = self.random.randint(0, len(value))
            if chance < 0.4:
                return value[:at] + value[at + 1:]
            if chance < 0.7:
                return value[:at] + self.random.choice(TEXTS)[:3] + value[at:]
            return value[:at] + self.random.choice(value or "x") + value[at:]
        if isinstance(value, list) and value:
            at = self.random.randrange(len(value))
            return [*value[:at], self.mutated(value[at], name), *value[at + 1:]] if chance < 0.7 else value[:at]
        if isinstance(value, dict) and value:
            name_ = self.random.choice(list(value))
            rest = {each: below for each, below in value.items() if each != name_}
            return {**rest, name_: self.mutated(value[name_], name)} if chance < 0.7 else rest
        if isinstance(value, Set):
            return Set.of(self.mutated(each, name) for each in value)
        if isinstance(value, bool) or value is None:
            return value
        return self.random.choice(NUMBERS) if chance < 0.5 else value

    def value(self, kind: Any, name: str, depth: int) -> Any:
        choose = self.random.choice
        match kind[0]:
            case "number":
                return choose(NUMBERS)
            case "string":
                return self.text()
            case "boolean":
                return choose((True, False))
            case "null":
                return None
            case "array":
                fixed = [self.value(each, name, depth - 1) for each in kind[1]]
                more = [self.value(kind[2], name, depth - 1) for _ in range(choose((0, 1, 2, 3)))] if kind[2] else []
                return fixed + more
            case "set":
                return Set.of(self.value(kind[1], name, depth - 1) for _ in range(choose((0, 1, 2, 3))))
            case "object":
                made = {each: self.value(below, name, depth - 1) for each, below in kind[1] if choose((True, False))}
                if kind[2]:
                    for _ in range(choose((0, 1, 2))):
                        made[key(self.value(kind[2][0], name, depth - 1))] = self.value(kind[2][1], name, depth - 1)
                return made
        if kind[1]:
            return self.value(choose(kind[1]), name, depth)
        return self.anything(depth)

    def anything(self, depth: int) -> Any:
        shape = self.random.choice("nntttbzldso" if depth > 0 else "ntb")
        if shape == "l":
            return [self.anything(depth - 1) for _ in range(self.random.randint(0, 3))]
        if shape == "s":
            return Set.of(self.anything(depth - 1) for _ in range(self.random.randint(0, 3)))
        if shape in "do":
            return {self.text(): self.anything(depth - 1) for _ in range(self.random.randint(0, 3))}
        return {"n": self.random.choice(NUMBERS), "t": self.text(), "b": self.random.choice((True, False)),
                "z": None}[shape]

    def text(self) -> str:
        found = self.random.choice(TEXTS)
        return found if self.random.random() < 0.7 else found + self.random.choice(TEXTS)


def ours(name: str, operands: list[Any]) -> tuple[str, str]:
    """(class, value or message)"""
    found = BUILTINS[name]
    context = Context(Meter())
    context.now_ns = time.time_ns()
    try:
        value = found.call(*([context] if found.context else []), *operands)
    except BuiltinError as error:
        return error.code, f"{name}: {error}"
    except BudgetExceeded as error:
        return "budget", str(error)
    except Exception as error:  # of any kind: that it is one is the difference
        return "crash", f"{type(error).__name__}: {error}"
    try:
        return ("undefined", "") if value is UNDEFINED else ("value", compact(read_json(compact(value))))
    except BuiltinError:
        return "unprintable", ""


def excused(name: str, operands: list[Any], mine: tuple[str, str], theirs: tuple[str, str]) -> str:
    """Why this one call may be answered otherwise; nothing where it may not."""
    shown = compact(operands)
    if name == "json.match_schema" and mine[0] == theirs[0] == "value" and _errors(mine[1]) == _errors(theirs[1]):
        return "the order of a Go map"
    if name == "json.verify_schema" and "http" in shown:
        return "OPA asks the network for a schema"
    if name == "time.add_date" and any(abs(each) > 1 << 40 for each in operands[1:]):
        return "Go's calendar overflows"
    if name == "yaml.marshal" and re.search(r"\\u2028|\\u2029|\ufeff|\\ufeff|[\x85\u2028\u2029]", shown):
        return "where go-yaml breaks lines, and how it escapes after a byte order mark"
    if name == "yaml.marshal" and re.search(r"[\[{:, (]-?[0-9.]+e-?[0-9]{3,}", f"[{shown}"):
        return "numbers beyond a float64"
    if name == "yaml.marshal" and re.search(r'[\t ][^"]*\\n', shown):
        return "texts of several lines that begin with blanks"
    if name.startswith("io.jwt.encode_sign") and mine[0] == theirs[0] == "value" and re.match(
            r'"[\w-]*\.[\w-]*\.', mine[1]) and mine[1].rpartition(".")[0] == theirs[1].rpartition(".")[0] and any(
            algorithm in shown for algorithm in ("ES", "PS")):
        return "signatures that are random"
    return ""


def _errors(answer: str) -> list[str]:
    return sorted(map(compact, read_json(answer)[1]))


def differences(opa: Opa, made: Generator, count: int, words: Counter[str]) -> Iterator[Difference]:
    for begin in range(0, count, BATCH):
        answers = [(call, ours(*call)) for call in (made.call() for _ in range(min(BATCH, count - begin)))]
        answers = [each for each in answers if each[1][0] != "budget"]  # what OPA would not survive
        theirs_of = opa.calls([call for call, _ in answers])
        for ((name, operands), mine), (kind, answer) in zip(answers, theirs_of, strict=True):
            theirs = kind, compact(answer) if kind == "value" else answer or ""
            if "unprintable" in (kind, mine[0]) or kind == "panic" or mine == theirs:
                continue
            if mine[0] == theirs[0] == "undefined":
                continue
            if mine[0] == theirs[0] != "value":
                words[name] += 1
                continue
            if why := excused(name, operands, mine, theirs):
                words[f"excused: {why}"] += 1
                continue
            yield Difference(f"{name}({', '.join(map(compact, operands))})", mine, (theirs[0], str(theirs[1])))


def program() -> str | None:
    folder = os.environ.get("CUSTODY_PEERS")
    return shutil.which(str(Path(folder) / "opa")) if folder else shutil.which("opa")


def main() -> int:
    path = program()
    if path is None:
        print("skipped: no opa; name the folder of its program in CUSTODY_PEERS")
        return 0
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    names = [name for name in sys.argv[3:] or BUILTINS if name not in IMPURE]
    wrong, words = 0, Counter[str]()
    made = Generator(seed, names)
    for begin in range(0, count, PART):
        with tempfile.TemporaryDirectory() as folder, serving(path, Path(folder), decode=read_json) as opa:
            try:
                for difference in differences(opa, made, min(PART, count - begin), words):
                    wrong += 1
                    call, mine, theirs = difference
                    print(f"{call[:600]}\n    custody {mine[0]} {mine[1][:300]}\n    opa     {theirs[0]} "
                          f"{theirs[1][:300]}")
            except OSError:
                words["excused: OPA died of one, and did not answer the rest of its part"] += 1
    excuses = {why: times for why, times in words.items() if why.startswith("excused")}
    for why, times in sorted(excuses.items()):
        print(f"{times} {why}")
    print(f"{count} calls of {len(names)} builtins from seed {seed}: {wrong} differences, {sum(excuses.values())} "
          f"excused; {sum(words.values()) - sum(excuses.values())} errors in other words")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
