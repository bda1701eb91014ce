"""x-kubernetes-validations: rules of a CRD's schema, compiled and priced as the API server does before it accepts them.

Texts from apiextensions-apiserver pkg/apis/apiextensions/validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from policylang.cel.cost.units import ENDLESS
from policylang.cel.kubernetes.costs import STATIC_LIMIT, STATIC_TOTAL
from policylang.cel.kubernetes.environment import LATEST, KubernetesEnv, env
from policylang.cel.kubernetes.schemas import REQUEST_SIZE, Declaration, Schema, SchemaSizes, declare
from policylang.cel.syntax.issues import CompileError
from policylang.cel.types import BOOL, STRING, Type, optional_of

_ADVICE = ("(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and "
           "strings are declared)")


class Rule(NamedTuple):
    """An expression of a schema. `path` below the schema; `cost` at most, for all places that it is evaluated at."""

    path: str
    expression: str
    cost: int
    problems: tuple[str, ...]


class _Place(NamedTuple):
    schema: Schema
    path: str
    times: int | None  # how often it may be in one resource, None where that is not bounded
    root: bool


def check(schema: Schema, version: str = LATEST) -> list[Rule]:
    """All rules of `openAPIV3Schema`; a last one without expression is about all of them together."""
    rules = [rule for place in _places(schema) for rule in _rules(place, version)]
    total = min(sum(rule.cost for rule in rules), ENDLESS)
    if total > STATIC_TOTAL:
        dear = sorted((rule for rule in rules if rule.cost > STATIC_TOTAL // 100), key=lambda rule: -rule.cost)
        said = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        index = {id(rule): at for at, rule in enumerate(rules)}
        for rule in dear[:4]:
            at = index[id(rule)]
            rules[at] = rule._replace(problems=(*rule.problems, said))
        message = exceeded("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", total,
                           STATIC_TOTAL)
        rules.append(Rule("", "", total, (message,)))
    return rules


def rule_env(of: Declaration, version: str = LATEST, *, optional_old: bool = False) -> KubernetesEnv:
    """`self` and `oldSelf`; the latter is an optional with optionalOldSelf."""
    variables: dict[str, Type] = {"self": of.type, "oldSelf": optional_of(of.type) if optional_old else of.type}
    return env(version, variables, of.types())


def exceeded(name: str, cost: int, limit: int) -> str:
    """How much a cost is above its limit."""
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{name} exceeds budget by factor of {shown} {_ADVICE}"


def _places(schema: Schema) -> Iterator[_Place]:
    stack = [_Place(schema, "", 1, True)]
    while stack:
        place = stack.pop()
        if place.schema.get("x-kubernetes-validations"):
            yield place
        stack += reversed(list(_below(place)))


def _below(place: _Place) -> Iterator[_Place]:
    schema, path = place.schema, place.path

    def inside(child: Schema, at: str, key: str | None) -> _Place:
        most = 1 if key is None else schema.get(key)
        count = None if place.times is None or most is None else min(place.times * max(0, int(most)), ENDLESS)
        return _Place(child, at, count, bool(child.get("x-kubernetes-embedded-resource")))

    is_map = schema.get("type") == "object" and "additionalProperties" in schema
    for name, child in sorted(schema.get("properties", {}).items()):
        yield inside(child, f"{path}.properties[{name}]", "maxProperties" if is_map else None)
    if isinstance(additional := schema.get("additionalProperties"), dict):
        yield inside(additional, f"{path}.additionalProperties", "maxProperties")
    if isinstance(items := schema.get("items"), dict):
        yield inside(items, f"{path}.items", "maxItems")


def _rules(place: _Place, version: str) -> Iterator[Rule]:
    of = declare(place.schema, root=place.root)
    for index, written in enumerate(place.schema["x-kubernetes-validations"]):
        at = f"{place.path}.x-kubernetes-validations[{index}]".removeprefix(".")
        if of is None:
            yield Rule(f"{at}.rule", written["rule"], 0,
                       ("failed to convert to declType for CEL validation rules",))
            continue
        environment = rule_env(of, version, optional_old=bool(written.get("optionalOldSelf")))
        count = place.times if place.times is not None else REQUEST_SIZE // (of.least + 1)
        yield _priced(environment, of, f"{at}.rule", written["rule"], BOOL, count)
        if written.get("messageExpression"):
            yield _priced(environment, of, f"{at}.messageExpression", written["messageExpression"], STRING, 1)


def _priced(environment: KubernetesEnv, of: Declaration, path: str, expression: str, result: Type, count: int) -> Rule:
    name, prefix = ("cel expression", "") if result == BOOL else ("messageExpression", "messageExpression ")
    try:
        ast = environment.check(expression)
    except CompileError as wrong:
        return Rule(path, expression, 0, (f"{prefix}compilation failed: {wrong.message}",))
    if ast.result != result:
        return Rule(path, expression, 0, (f"{name} must evaluate to a {result}",))
    cost = min(environment.cost(ast, SchemaSizes(of)).most * count, ENDLESS)
    said = "estimated rule cost" if result == BOOL else "estimated messageExpression cost"
    return Rule(path, expression, cost, (exceeded(said, cost, STATIC_LIMIT),) if cost > STATIC_LIMIT else ())
