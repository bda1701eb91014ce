"""`python -m tests.fuzz.jmespath COUNT [SEED]`: generated expressions, evaluated by custody and by `kyverno jp query`,
and those of the standard by the jmespath library.

Prints each expression on which they differ; texts of errors are compared with Kyverno's, word for word.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.apiserver import PEERS
from tests.languages.jmespath.cases import DATA, answer, ask, same

Difference = tuple[str, list[str], list[str]]

_NAMES = ("kind", "nothing", "yes", "no", "zero", "one", "minus", "half", "empty", "text", "html", "none", "void",
          "solo", "list", "mixed", "words", "nested", "pods", "missing", "memory", "cpu", "timeout", "at", "later",
          "version", "json", "b64", "name", "replicas", "image", "labels", "app", "ports", "p", "only", "k")
_LITERALS = ("`1`", "`-1`", "`0`", "`2.5`", "`1e21`", "`true`", "`null`", "`[]`", "`[1, 2]`", "`{\"a\": 1}`", "'a'",
             "''",
             "'1'", "'1Gi'", "'500m'", "'1h'", "'-30m'", "'a b'", "'b'", "'é'", "'2024-02-29T12:30:45Z'", "'*'",
             "'[a-c]'",
             "'1.2.3'", "'>=1.0.0 <2.0.0'", "'aGk='", "'{\"x\": [1]}'", "'/a/../b'")
_ONE = ("abs", "avg", "ceil", "floor", "length", "max", "min", "not_null", "reverse", "sort", "to_array", "to_number",
        "to_string", "type", "to_upper", "to_lower", "to_boolean", "sum", "base64_decode", "base64_encode",
        "path_canonicalize", "parse_json", "parse_yaml", "time_to_cron", "time_utc", "image_normalize", "sha256", "md5")
_TWO = ("contains", "ends_with", "starts_with", "join", "merge", "not_null", "compare", "equal_fold", "trim",
        "trim_prefix", "split", "regex_match", "pattern_match", "label_match", "add", "subtract", "multiply", "divide",
        "modulo", "round", "truncate", "semver_compare", "lookup", "object_from_lists", "time_add", "time_diff",
        "time_before", "time_after", "time_truncate", "time_parse")
_THREE = ("replace_all", "regex_replace_all", "regex_replace_all_literal", "time_since", "time_between", "items")
_REFERENCED = ("map", "sort_by", "max_by", "min_by")
_STANDARD = frozenset(("abs", "ceil", "contains", "ends_with", "floor", "join", "length", "max", "max_by", "merge",
                       "min", "min_by", "not_null", "reverse", "sort", "sort_by", "starts_with", "to_array", "type"))


class Generator:
    """Expressions that mostly parse. `standard`: only what the jmespath library evaluates alike."""

    def __init__(self, seed: int, *, standard: bool = False) -> None:
        self.random = random.Random(seed)
        self.standard = standard

    def pick(self, choices: Any) -> Any:
        return self.random.choice(choices)

    def expression(self, depth: int = 3) -> str:
        if depth <= 0 or self.random.random() < 0.15:
            return str(self.pick((self.pick(_NAMES), self.pick(_NAMES), self.pick(_LITERALS), "@")))
        inner = self.expression(depth - 1)
        kind = self.random.randrange(18)
        if kind < 3:
            return f"{inner}.{self.pick(_NAMES)}"
        if kind == 3:
            step = self.pick(("[0]", "[-1]", "[*]", "[]", "[1:]", "[::-1]", "[:2]", "[::2]"))
            return f"{inner}{step}{self.pick(('', '', f'.{self.pick(_NAMES)}'))}"
        if kind == 4:
            return f"{inner}[?{self.condition(depth - 1)}]{self.pick(('', f'.{self.pick(_NAMES)}'))}"
        if kind == 5:
            return f"{inner} | {self.expression(depth - 1)}"
        if kind == 6:
            return f"{inner} {self.pick(('||', '&&'))} {self.expression(depth - 1)}"
        if kind == 7:
            return f"[{inner}, {self.expression(depth - 1)}]"
        if kind == 8:
            return f"{{a: {inner}, b: {self.expression(depth - 1)}}}"
        if kind == 9:
            return f"({inner})"
        if kind == 10:
            return self.condition(depth - 1)
        if kind == 11:
            pair = f"&{self.expression(depth - 2)}, {inner}"
            name = self.pick(_REFERENCED)
            return f"map({pair})" if name == "map" else f"{name}({inner}, &{self.expression(depth - 2)})"
        return self.call(inner, depth)

    def condition(self, depth: int) -> str:
        sign = self.pick(("==", "!=") if self.standard else ("==", "!=", "<", "<=", ">", ">="))  # it orders texts too
        if self.random.random() < 0.2:
            return f"!{self.expression(depth - 1)}"
        return f"{self.expression(depth - 1)} {sign} {self.expression(depth - 1)}"

    def call(self, inner: str, depth: int) -> str:
        names, count = self.pick(((_ONE, 1), (_ONE, 1), (_TWO, 2), (_TWO, 2), (_THREE, 3)))
        if self.standard:
            names = [name for name in names if name in _STANDARD] or ["length"]
            count = 1 if names == ["length"] else count
        more = [self.expression(depth - 2) for _ in range(count - 1)]
        return f"{self.pick(names)}({', '.join([inner, *more])})"


def against_kyverno(program: str, count: int, seed: int) -> Iterator[Difference]:
    generator = Generator(seed)
    for start in range(0, count, 500):
        some = [generator.expression() for _ in range(min(500, count - start))]
        for query, theirs in zip(some, ask(program, some, DATA), strict=True):
            ours = [part.replace("\ufffd", "\\ufffd") for part in answer(query, DATA)]  # bytes that are no UTF-8
            if same(theirs, ours) or _random_order(query, theirs, ours):
                continue
            [alone] = ask(program, [query], DATA)  # sorting in Go sorts the data, for the queries after it too
            if not same(alone, ours):
                yield query, alone, ours


def _random_order(query: str, theirs: list[str], ours: list[str]) -> bool:
    """Go gives the values of maps in any order, and what it panics over first may be another one."""
    return theirs[1].startswith("panic: ") and ours[0] == "error"


def against_the_library(count: int, seed: int) -> Iterator[Difference]:
    """Only values: the library has other errors, and null where Kyverno's missing keys are errors."""
    import jmespath

    generator = Generator(seed, standard=True)
    for _ in range(count):
        query = generator.expression()
        ours = answer(query, DATA)
        try:
            theirs = jmespath.search(query, DATA)
        except Exception:  # any of its errors
            continue
        if ours[0] == "value" and not _alike(json.loads(ours[1]), theirs):
            yield query, ["value", json.dumps(theirs, default=str)], ours


def _alike(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_alike(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours == theirs or ours.startswith(("[", "{")) or "\\u" in ours  # to_string writes another JSON
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)) and not isinstance(ours, bool):
        return abs(ours - theirs) <= 1e-9 * max(1, abs(ours))
    return bool(ours == theirs)


def main(argv: list[str]) -> int:
    count, seed = int(argv[0]), int(argv[1]) if len(argv) > 1 else random.SystemRandom().randrange(10**9)
    program = argv[2] if len(argv) > 2 else str(PEERS / "kyverno")
    if not Path(program).is_file():
        print(f"{program}: no such program", file=sys.stderr)
        return 2
    found = 0
    for name, differences in (("kyverno", against_kyverno(program, count, seed)),
                              ("jmespath", against_the_library(count, seed))):
        for query, theirs, ours in differences:
            found += 1
            print(f"{query!r}\n  {name}  {theirs[0]} {theirs[1][:300]}\n  custody  {ours[0]} {ours[1][:300]}")
    print(f"{count} expressions, seed {seed}: {found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
