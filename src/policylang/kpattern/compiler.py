"""A pattern becomes a Python function of a resource: nothing but comparisons and loops over its lists.

It is compiled twice. The first function only says whether the resource matches. The second, made when a resource first
does not, says where and why: it records the path and the anchors' keys that it met. Both come from one walk over the
pattern, which is that of Kyverno (pkg/engine/validate/validate.go): anchors before plain keys, both sorted.

What a function returns: None where it matches, else a failure. `FAIL`, `WRAPPED` and `DIRECT` are the failures of the
first function; a skip that comes directly from a sibling's anchor outweighs what fails after it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang.code import (
    Code,
    Writer,
    assign,
    attribute,
    both,
    call,
    compare,
    do,
    each,
    either,
    give,
    item,
    load,
    negate,
    store,
    when,
)
from policylang.go.wildcards import wildcard
from policylang.kpattern import anchors, failures
from policylang.kpattern.scalars import leaf, plain_text

_NONE = ast.Constant(None)
_BLOCKS = 12


Parts = list[ast.expr]
"""Of a path: constants, and names of what is known when it fails."""
Write = Callable[[ast.expr, Parts], None]
Expand = Callable[[dict[str, Any], Any], Callable[..., Any]]


class Compiler(Writer):
    """Writes functions into `code`; with `explain` those that know why. `expand` compiles maps of wildcard keys."""

    def __init__(self, code: Code, expand: Expand, *, explain: bool) -> None:
        super().__init__(code)
        self.expand, self.explain = expand, explain

    def function(self, name: str, pattern: Any, *, expanded: bool = False) -> None:
        """`name(value, path, seen)`, `path` ending in a slash; the first kind takes the value alone.

        `expanded`: the wildcards in its own keys have been dealt with.
        """
        self.define(name, lambda value, path: (self.plain_map if expanded else self.check)(pattern, value, path))

    def define(self, name: str, write: Write) -> None:
        parameters = ["value", "path", "seen"] if self.explain else ["value"]
        with self.inside(-self.blocks) as body:
            write(load("value"), [load("path")])
        self.code.add(name, parameters, [*body, give(_NONE)])

    def failure(self, kind: str, path: Parts, *message: str | ast.expr) -> ast.expr:
        """What to return: with `explain` a Failure of the joined message, `path` in it by that name."""
        if not self.explain:
            return self.code.hoist(failures.BY_KIND[kind], "failure")
        text = _joined([ast.Constant(part) if isinstance(part, str) else part for part in message])
        return self.call(failures.Failure, text, _joined(path), ast.Constant(kind))

    def kind(self, failure: ast.expr) -> ast.expr:
        return attribute(failure, "kind")

    def sub(self, write: Write, value: ast.expr, path: Parts) -> ast.expr:
        """A call of a function of its own, which gives None or a failure."""
        name = self.code.fresh("check")
        self.define(name, write)
        return call(load(name), value, *([_joined(path), load("seen")] if self.explain else []))

    def checking(self, pattern: Any) -> Write:
        return lambda value, path: self.check(pattern, value, path)

    # --- patterns -----------------------------------------------------------------------------------------------

    def check(self, pattern: Any, value: ast.expr, path: Parts) -> None:
        """Statements that return a failure of the surrounding function where `value` does not match."""
        if isinstance(pattern, dict):
            self.fields(pattern, value, path)
        elif isinstance(pattern, list):
            self.elements(pattern, value, path)
        else:
            wrong = self.failure("", path, "resource value '", self.call(failures.shown, value),
                                 f"' does not match '{failures.shown(pattern)}' at path ", *path)
            self.add(when(negate(self.leaf(pattern, value)), [give(wrong)]))

    def leaf(self, pattern: Any, value: ast.expr) -> ast.expr:
        """A test; what most values need is inlined, the rest is left to the closures of `scalars`."""
        matches = self.call(leaf(pattern), value)
        if self.explain:
            return matches
        quick = self.quick(pattern, value)
        return matches if quick is None else either(quick, matches)

    def quick(self, pattern: Any, value: ast.expr) -> ast.expr | None:
        """A cheaper test that holds only for what matches."""
        if isinstance(pattern, bool):
            return compare(value, ast.Is(), ast.Constant(pattern))
        is_text = self.is_type(value, str)
        if not isinstance(pattern, str):
            return None
        if "|" in pattern:
            tests = [self.quick(choice, value) for choice in pattern.split("|")]
            return either(*(test for test in tests if test is not None)) if any(tests) else None
        if (plain := plain_text(pattern)) is None:
            return None
        sign, operand = plain
        equal = ast.NotEq() if sign else ast.Eq()
        if "*" not in operand and "?" not in operand:
            same = compare(value, equal, ast.Constant(operand))
            return both(is_text, same) if sign else same
        if operand == "*":
            return None if sign else is_text
        if operand == "?*":
            return None if sign else both(is_text, value)
        test: ast.expr = self.call(wildcard(operand), value)
        stem = operand.strip("*")
        if "*" not in stem and "?" not in stem and operand.count("*") == 1:
            word = "startswith" if operand.endswith("*") else "endswith"
            test = call(attribute(value, word), ast.Constant(stem))
        elif "*" not in stem and "?" not in stem and operand == f"*{stem}*":
            test = compare(ast.Constant(stem), ast.In(), value)
        return both(is_text, negate(test) if sign else test)

    # --- lists --------------------------------------------------------------------------------------------------

    def elements(self, pattern: list[Any], value: ast.expr, path: Parts) -> None:
        wrong = self.failure("", path, "validation rule failed at path ", *path,
                             ", resource does not satisfy the expected overlay pattern")
        self.add(when(negate(self.is_type(value, list)), [give(wrong)]))
        first = pattern[0]
        if isinstance(first, dict):
            self.all_of(first, value, path)
        elif isinstance(first, list):
            self.in_order(pattern, value, path)
        else:
            self.check(first, value, path)

    def all_of(self, pattern: dict[str, Any], value: ast.expr, path: Parts) -> None:
        """Every element matches; where all are skipped, so is the list."""
        at, element = self.code.fresh("i"), self.code.fresh("e")
        here = [*path, self.call(str, load(at)), ast.Constant("/")]
        values = self.call(enumerate, value) if self.explain else value
        if not anchors.skips(pattern) and self.blocks < _BLOCKS:
            with self.inside(1) as body:
                self.check(pattern, load(element), here)
            self.add(self.loop(at, element, values, body or [ast.Pass()]))
            return
        skipped, good = self.code.fresh("skipped"), self.code.fresh("good")
        with self.inside() as body:
            self.collect(self.named(self.sub(self.checking(pattern), load(element), here)), skipped, good)
        self.add(assign(skipped, ast.List([], ast.Load())), assign(good, ast.Constant(False)),
                 self.loop(at, element, values, body),
                 when(both(load(skipped), negate(load(good))), [give(self.wrapped(skipped, path))]))

    def loop(self, at: str, element: str, values: ast.expr, body: list[ast.stmt]) -> ast.stmt:
        if not self.explain:
            return each(element, values, body)
        return ast.For(ast.Tuple([store(at), store(element)], ast.Store()), values, body, [])

    def in_order(self, pattern: list[Any], value: ast.expr, path: Parts) -> None:
        """Element by element."""
        size = self.call(len, value)
        wrong = self.failure("", [], "validate Array failed, array length mismatch, resource Array len is ",
                             self.call(str, size), f" and pattern Array len is {len(pattern)}")
        self.add(when(compare(size, ast.Lt(), ast.Constant(len(pattern))), [give(wrong)]))
        skipped, good = self.code.fresh("skipped"), self.code.fresh("good")
        self.add(assign(skipped, ast.List([], ast.Load())), assign(good, ast.Constant(False)))
        for at, element in enumerate(pattern):
            failure = self.sub(self.checking(element), item(value, ast.Constant(at)), [*path, ast.Constant(f"{at}/")])
            self.collect(self.named(failure), skipped, good)
        self.add(when(both(load(skipped), negate(load(good))), [give(self.wrapped(skipped, path))]))

    def collect(self, failure: ast.expr, skipped: str, good: str) -> None:
        """Takes note of a skip, returns another failure."""
        add = do(call(attribute(load(skipped), "append"), failure))
        self.add(when(compare(failure, ast.Is(), _NONE), [assign(good, ast.Constant(True))],
                      [when(self.call(failures.skips_rule, failure), [add], [give(failure)])]))

    def wrapped(self, skipped: str, path: Parts) -> ast.expr:
        if not self.explain:
            return self.failure("wrapped", path)
        return self.call(failures.combined, load(skipped), _joined(path))

    # --- maps ---------------------------------------------------------------------------------------------------

    def fields(self, pattern: dict[str, Any], value: ast.expr, path: Parts) -> None:
        wrong = self.failure("", path, "pattern and resource have different structures. Path: ", *path,
                             ". Expected map[string]interface {}, found ", self.call(failures.go_type, value))
        self.add(when(negate(self.is_type(value, dict)), [give(wrong)]))
        if anchors.wild_tags(pattern) is not None:
            check = self.call(self.expand, self.code.hoist(pattern, "pattern"), value)
            self.add(give(call(check, value, *([_joined(path), load("seen")] if self.explain else []))))
            return
        self.plain_map(pattern, value, path)

    def plain_map(self, pattern: dict[str, Any], value: ast.expr, path: Parts) -> None:
        kinds = {key: anchors.anchor(key) for key in pattern}
        if self.explain:
            for key in pattern:
                if kinds[key][0] in (anchors.CONDITION, anchors.EXISTENCE, anchors.NEGATION):
                    self.add(do(self.call(failures.note, load("seen"), ast.Constant(key),
                                      compare(ast.Constant(kinds[key][1]), ast.In(), value))))
        first = [key for key in sorted(pattern) if kinds[key][0] in anchors.FIRST]
        rest: list[str] = []
        for key in sorted(key for key in pattern if kinds[key][0] not in anchors.FIRST):
            front = kinds[key][0] == anchors.GLOBAL or anchors.anchored(pattern[key])
            rest.insert(0, key) if front else rest.append(key)
        if any(kinds[key][0] == anchors.CONDITION
               or (kinds[key][0] == anchors.EQUALITY and anchors.skips(pattern[key])) for key in first):
            self.anchors_of(pattern, first, value, path)
        else:
            for key in first:
                self.certain(*kinds[key], pattern[key], value, path)
        for key in rest:
            if kinds[key][0] == anchors.GLOBAL:
                self.add(*self.returned(self.conditional(kinds[key][1], pattern[key], value, path, "global")))
            else:
                self.plain(key, pattern[key], value, path)

    def returned(self, failure: ast.expr) -> list[ast.stmt]:
        return [when(compare(failure, ast.IsNot(), _NONE), [give(failure)])]

    def anchors_of(self, pattern: dict[str, Any], keys: list[str], value: ast.expr, path: Parts) -> None:
        """Anchors of which one may skip: all are evaluated, a skip is held against what else there is."""
        skipped, good, direct = (self.code.fresh(stem) for stem in ("skipped", "good", "direct"))
        self.add(assign(skipped, ast.List([], ast.Load())), assign(good, ast.Constant(False)),
                 assign(direct, ast.Constant(False)))
        for key in keys:
            kind, name = anchors.anchor(key)
            if kind == anchors.CONDITION:
                failure: ast.expr = self.conditional(name, pattern[key], value, path, "conditional")
            else:
                failure = self.named(self.sub(self.certainly(kind, name, pattern[key]), value, path))
            skip = [do(call(attribute(load(skipped), "append"), failure)),
                    when(compare(self.kind(failure), ast.Eq(), ast.Constant("direct")),
                         [assign(direct, ast.Constant(True))])]
            fail = [when(negate(load(direct)), [give(failure)])]
            self.add(when(compare(failure, ast.Is(), _NONE), [assign(good, ast.Constant(True))],
                          [when(self.call(failures.skips_rule, failure), skip, fail)]))
        self.add(when(both(load(skipped), either(negate(load(good)), load(direct))),
                      [give(self.wrapped(skipped, path))]))

    def conditional(self, name: str, pattern: Any, value: ast.expr, path: Parts, word: str) -> ast.Name:
        """A name that holds None, or the skip of a `(k)` or `<(k)` that does not match."""
        made = self.code.fresh("c")
        here = [*path, ast.Constant(f"{name}/")]
        inner = item(value, ast.Constant(name))
        with self.inside() as present:
            if isinstance(pattern, (dict, list)) or self.explain:
                failure = self.named(self.sub(self.checking(pattern), inner, here))
                matches: ast.expr = compare(failure, ast.Is(), _NONE)
                skip = self.call(failures.anchor_mismatch, ast.Constant(word), failure) if self.explain \
                    else self.failure("direct", here)
            else:
                matches, skip = self.leaf(pattern, self.named(inner)), self.failure("direct", here)
            self.add(assign(made, ast.IfExp(matches, _NONE, skip)))
        absent = _NONE if word == "global" else self.failure(
            "direct", here, "conditional anchor mismatch: conditional anchor key doesn't exist in the resource")
        self.add(when(compare(ast.Constant(name), ast.In(), value), present, [assign(made, absent)]))
        return load(made)

    def certainly(self, kind: str | None, name: str, pattern: Any) -> Write:
        return lambda value, path: self.certain(kind, name, pattern, value, path)

    def certain(self, kind: str | None, name: str, pattern: Any, value: ast.expr, path: Parts) -> None:
        """An anchor that cannot skip."""
        here = [*path, ast.Constant(f"{name}/")]
        present = compare(ast.Constant(name), ast.In(), value)
        if kind == anchors.NEGATION:
            wrong = self.failure("negation", here, "negation anchor matched in resource: ", *here, " is not allowed")
            self.add(when(present, [give(wrong)]))
            return
        with self.inside() as body:
            check = self.existence if kind == anchors.EXISTENCE else self.check
            check(pattern, self.named(item(value, ast.Constant(name))), here)
        self.add(when(present, body or [ast.Pass()]))

    def existence(self, pattern: list[Any], value: ast.expr, here: Parts) -> None:
        """Each map of the pattern matches at least one element."""
        wrong = self.failure("", here, "invalid resource type ", self.call(failures.go_type, value),
                             ": Existence ^ () anchor can be used only on list/array type resource")
        self.add(when(negate(self.is_type(value, list)), [give(wrong)]))
        none = self.failure("", here, "existence anchor validation failed at path ", *here)
        for mapping in pattern:
            at, element = self.code.fresh("i"), self.code.fresh("e")
            values = self.call(enumerate, value) if self.explain else value
            path = [*here, self.call(str, load(at)), ast.Constant("/")]
            failure = self.sub(self.checking(mapping), load(element), path)
            loop = self.loop(at, element, values, [when(compare(failure, ast.Is(), _NONE), [ast.Break()])])
            assert isinstance(loop, ast.For)
            loop.orelse = [give(none)]
            self.add(loop)

    def plain(self, key: str, pattern: Any, value: ast.expr, path: Parts) -> None:
        member = self.named(call(attribute(value, "get"), ast.Constant(key)))
        if pattern == "*":
            wrong = self.failure("", path, *path, f"/{key} not found")
            self.add(when(compare(member, ast.Is(), _NONE), [give(wrong)]))
        else:
            self.check(pattern, member, [*path, ast.Constant(f"{key}/")])


def _joined(parts: Parts) -> ast.expr:
    """The parts as one text."""
    merged: Parts = []
    for part in parts:
        if isinstance(part, ast.Constant) and merged and isinstance(last := merged[-1], ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(part.value))
        else:
            merged.append(part)
    if not merged:
        return ast.Constant("")
    if len(merged) == 1:
        return merged[0]
    return call(attribute(ast.Constant(""), "join"), ast.Tuple(merged, ast.Load()))
