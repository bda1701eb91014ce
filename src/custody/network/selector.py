"""Which pods a selector means: one small expression for label selectors of all kinds, and what it says of one pod.

Tests are positive, and Not is around them, since a label that is absent fails every test: `key notin (a)` of
Kubernetes (metav1.LabelSelector) and `key != "a"` of Calico are Not(In), and so true where there is no such label.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from custody.errors import MalformedError
from custody.formats.fields import Fields
from custody.network.owners import valid_key, valid_value
from policylang.errors import Shape

NAME_LABEL = "kubernetes.io/metadata.name"
"""The API server puts it on every namespace: its name."""


class Scope(enum.Enum):
    """Whose labels a test is of."""

    POD = "pod"
    NAMESPACE = "namespace"
    ACCOUNT = "service account"
    ABOUT = "about"
    """What is no label: `namespace`, `account` are names, `network` is `host` or `pod`."""


class Operator(enum.Enum):
    IN = "in"
    EXISTS = "exists"
    CONTAINS = "contains"
    STARTS = "starts with"
    ENDS = "ends with"


@dataclass(frozen=True, slots=True)
class Test:
    scope: Scope
    key: str
    operator: Operator = Operator.EXISTS
    values: tuple[str, ...] = ()
    """Sorted, so that equal tests are equal."""

    def accepts(self, value: str) -> bool:
        """Of a label that is there."""
        match self.operator:
            case Operator.EXISTS:
                return True
            case Operator.IN:
                return value in self.values
            case Operator.CONTAINS:
                return self.values[0] in value
            case Operator.STARTS:
                return value.startswith(self.values[0])
            case Operator.ENDS:
                return value.endswith(self.values[0])


@dataclass(frozen=True, slots=True)
class Not:
    of: Expression


@dataclass(frozen=True, slots=True)
class All:
    """True of everything where it has no parts."""

    of: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Any:
    """True of nothing where it has no parts."""

    of: tuple[Expression, ...] = ()


Expression = Test | Not | All | Any
EVERYTHING = All()
NOTHING = Any()


def both(*parts: Expression) -> Expression:
    """All of them, without those that are always true."""
    kept = tuple(dict.fromkeys(part for part in parts if part != EVERYTHING))
    return kept[0] if len(kept) == 1 else All(kept)


def either(*parts: Expression) -> Expression:
    kept = tuple(dict.fromkeys(parts))
    return EVERYTHING if EVERYTHING in kept else kept[0] if len(kept) == 1 else Any(kept)


def in_namespace(*names: str) -> Expression:
    """Pods of the namespaces of these names."""
    return Test(Scope.ABOUT, "namespace", Operator.IN, tuple(sorted(names)))


POD_NETWORK = Test(Scope.ABOUT, "network", Operator.IN, ("pod",))
"""Pods with an address of their own: without `hostNetwork`."""

Labels = Mapping[Scope, Mapping[str, str]]
"""Of one pod."""


def matches(expression: Expression, labels: Labels) -> bool:
    """Whether it is true of a pod with these labels."""
    match expression:
        case Test():
            value = labels[expression.scope].get(expression.key)
            return value is not None and expression.accepts(value)
        case Not():
            return not matches(expression.of, labels)
        case All():
            return all(matches(part, labels) for part in expression.of)
        case Any():
            return any(matches(part, labels) for part in expression.of)


def tests(expression: Expression) -> Iterator[Test]:
    """All tests in it."""
    match expression:
        case Test():
            yield expression
        case Not():
            yield from tests(expression.of)
        case All() | Any():
            for part in expression.of:
                yield from tests(part)


def read(fields: Fields | None, scope: Scope) -> Expression:
    """A metav1.LabelSelector; everything where it is empty. None is the caller's to understand.

    Raises MalformedError, UnsupportedError for a field that it does not have.
    """
    if fields is None:
        return EVERYTHING
    labels = fields.text_map("matchLabels")
    for key, value in labels.items():
        _valid(fields.path("matchLabels"), key, value)
    parts: list[Expression] = [Test(scope, key, Operator.IN, (value,)) for key, value in labels.items()]
    parts += [_requirement(requirement, scope) for requirement in fields.each("matchExpressions")]
    fields.done()
    return both(*parts)


def _valid(where: str, key: str, *values: str) -> None:
    """Of a selector that is refused nothing is in force: it must not be judged as if it selected nobody."""
    if not valid_key(key):
        raise MalformedError(where, got=f"the key {key}", expected="a label's key, as the API server takes it")
    for value in values:
        if not valid_value(value):
            raise MalformedError(where, got=f"{key}: {value}", expected="a label's value, as the API server takes it")


def _requirement(fields: Fields, scope: Scope) -> Expression:
    key, operator, values = fields.need("key", str), fields.need("operator", str), fields.texts("values")
    fields.done()
    _valid(fields.where, key, *values)
    if operator in ("In", "NotIn"):
        if not values:
            raise MalformedError(fields.path("values"), got="none", expected=f"at least one value for {operator}")
        test = Test(scope, key, Operator.IN, tuple(sorted(set(values))))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            raise MalformedError(fields.path("values"), got=Shape(values), expected=f"no values for {operator}")
        test = Test(scope, key)
    else:
        raise MalformedError(fields.path("operator"), got=operator,
                             expected="In, NotIn, Exists or DoesNotExist")
    return Not(test) if operator in ("NotIn", "DoesNotExist") else test
