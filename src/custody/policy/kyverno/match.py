"""`match` and `exclude`: which requests a rule speaks of (Kyverno pkg/engine/utils/match.go and pkg/utils/match)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.kinds import Kinds, Selector
from custody.policy.kyverno.fields import Fields
from custody.policy.model import Kind, Request
from custody.policy.resources import OPERATIONS
from policylang.go.wildcards import glob, wildcard
from policylang.variables import has_variables

Match = Callable[[Request], bool]
_KNOWN = 1024  # kinds, of which it is remembered whether a filter selects them
_TESTS = ("In", "NotIn", "Exists", "DoesNotExist")


class Asked(NamedTuple):
    """What one filter names: selectors of kinds with the paths of their fields, and operations."""

    kinds: list[tuple[str, str]]
    """(path, text)"""
    operations: list[str]
    """Empty: whatever the rule can judge."""
    only: bool
    """Whether it names nothing else, so that as an exclusion it leaves nothing of what it names."""


class Block:
    """A compiled `match` or `exclude`. `asked` is what each of its filters names, and `every` whether all must hold."""

    def __init__(self, fields: Fields, *, exclude: bool = False) -> None:
        self.asked: list[Asked] = []
        forms = [name for name in ("any", "all", "resources") if fields.has(name)]
        if len(forms) != 1:
            raise MalformedError(fields.where, got=" and ".join(forms) or "nothing",
                                 expected="one of any, all, resources")
        if forms[0] == "resources":
            filters = [self._resources(fields)]
        else:
            filters = [self._resources(entry) for entry in fields.each(forms[0])]
        fields.done()
        if not filters:
            raise MalformedError(fields.path(forms[0]), got="an empty list", expected="at least one filter")
        if not exclude and not self.kinds:
            raise MalformedError(fields.where, got="no kinds", expected="at least one kind")
        self.every = forms[0] == "all"
        self.matches: Match = _all(filters) if self.every or len(filters) == 1 else (
            lambda request: any(one(request) for one in filters))

    @property
    def kinds(self) -> list[str]:
        """The selectors that were written in it."""
        return [text for one in self.asked for _, text in one.kinds]

    def check(self, kinds: Kinds) -> None:
        """Whether each of its kinds can be asked about. Raises MalformedError."""
        for one in self.asked:
            for where, text in one.kinds:
                kinds.check(text, where)

    def _resources(self, holder: Fields) -> Match:
        fields = holder.inner("resources")
        holder.done(hint="custody does not know roles and subjects of a request yet")
        if fields is None:
            raise MalformedError(holder.where, got="no resources", expected="resources")
        tests: list[Match] = []
        if operations := fields.texts("operations"):
            if unknown := set(operations) - set(OPERATIONS):
                raise MalformedError(fields.path("operations"), got=min(unknown), expected=", ".join(OPERATIONS))
            tests.append(lambda request: request.operation in operations)
        kinds = fields.texts("kinds")
        places = [f"{fields.path('kinds')}[{at}]" for at in range(len(kinds))]
        if kinds:
            selectors = [Selector.parse(text, where) for where, text in zip(places, kinds, strict=True)]
            known: dict[Kind, bool] = {}

            def named(request: Request) -> bool:
                if request.subresource:
                    return any(selector.matches(request) for selector in selectors)
                selected = known.get(request.kind)
                if selected is None:
                    selected = any(selector.matches(request) for selector in selectors)
                    if len(known) < _KNOWN:
                        known[request.kind] = selected
                return selected

            tests.append(named)
        so_far = len(tests)
        names = [*fields.texts("names"), *filter(None, [fields.take("name", str)])]
        if names:
            tests.append(lambda request: any(glob(name, _name(request)) for name in names))
        if namespaces := fields.texts("namespaces"):
            tests.append(lambda request: any(glob(one, _namespace(request)) for one in namespaces))
        if annotations := fields.text_map("annotations"):
            tests.append(lambda request: all(
                any(glob(key, name) and glob(value, text) for name, text in _metadata(request, "annotations").items())
                for key, value in annotations.items()))
        if (selector := fields.inner("selector")) is not None:
            tests.append(_selector(selector))
        fields.done(hint="custody does not look up namespaces yet" if fields.has("namespaceSelector") else None)
        if has_variables([kinds, names, namespaces, annotations]):
            raise UnsupportedError(fields.where, "variables in match and exclude are not evaluated by custody yet")
        if not tests:
            raise MalformedError(fields.where, got="nothing", expected="kinds, names, namespaces, operations, …")
        self.asked.append(Asked([*zip(places, kinds, strict=True)], operations, only=len(tests) == so_far))
        return _all(tests)


def _all(tests: list[Match]) -> Match:
    return tests[0] if len(tests) == 1 else lambda request: all(test(request) for test in tests)


def _object(request: Request) -> dict[str, Any]:
    return (request.object if request.object is not None else request.old_object) or {}


def _metadata(request: Request, name: str) -> dict[str, str]:
    metadata = _object(request).get("metadata")
    values = metadata.get(name) if isinstance(metadata, dict) else None
    return {key: value for key, value in values.items() if isinstance(value, str)} if isinstance(values, dict) else {}


def _name(request: Request) -> str:
    metadata = _object(request).get("metadata")
    generated = metadata.get("generateName") if isinstance(metadata, dict) else None
    return request.name or (generated if isinstance(generated, str) else "")


def _namespace(request: Request) -> str:
    return request.name if request.kind.kind == "Namespace" else request.namespace


def _selector(fields: Fields) -> Match:
    """A metav1.LabelSelector, whose matchLabels may have wildcards."""
    labels = [(wildcard(key), wildcard(value)) for key, value in fields.text_map("matchLabels").items()]
    expressions = []
    for entry in fields.each("matchExpressions"):
        key, test, values = entry.need("key", str), entry.need("operator", str), entry.texts("values")
        entry.done()
        if test not in _TESTS or bool(values) != (test in ("In", "NotIn")):
            raise MalformedError(entry.where, got=f"{test} with {len(values)} values",
                                 expected="In, NotIn with values, or Exists, DoesNotExist without")
        expressions.append((key, test, values))
    fields.done()

    def holds(found: dict[str, str], key: str, test: str, values: list[str]) -> bool:
        if test in ("Exists", "DoesNotExist"):
            return (key in found) == (test == "Exists")
        return (found.get(key) in values) == (test == "In")

    def match(request: Request) -> bool:
        found = _metadata(request, "labels")
        return all(any(key(name) and value(text) for name, text in found.items()) for key, value in labels) and all(
            holds(found, *expression) for expression in expressions)

    return match
