"""`match` and `exclude`: which requests a rule speaks of (Kyverno pkg/engine/utils/match.go and pkg/utils/match)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.languages.go.wildcards import glob, wildcard
from custody.languages.variables import has_variables
from custody.policy.kyverno.fields import Fields
from custody.policy.model import Request

Match = Callable[[Request], bool]
_VERSION = re.compile(r"(v\d((alpha|beta)\d)?|\*)\Z")
_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")
_TESTS = ("In", "NotIn", "Exists", "DoesNotExist")


def kind_selector(text: str) -> tuple[str, str, str, str]:
    """(group, version, kind, subresource) of `Pod`, `v1/Pod`, `apps/v1/Deployment`, `Pod/exec`, `*/*`."""
    *front, last = text.split("/")
    parts = [*front, *last.split(".")]
    match parts:
        case [kind]:
            return "*", "*", kind, ""
        case ["*", "*"]:
            return "*", "*", "*", "*"
        case ["*", second] if second == second.lower():
            return "*", "*", "*", second
        case [first, second]:
            return ("*", first, second, "") if _VERSION.match(first) else ("*", "*", first, second)
        case [first, second, third]:
            return ("*", first, second, third) if _VERSION.match(first) else (first, second, third, "")
        case [group, version, kind, subresource]:
            return group, version, kind, subresource
    return "", "", "", ""


class Block:
    """A compiled `match` or `exclude`. `kinds` are the selectors that were written in it."""

    def __init__(self, fields: Fields, *, exclude: bool = False) -> None:
        self.kinds: list[str] = []
        self.operations: set[str] = set()
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
        every = forms[0] == "all"
        self.matches: Match = (lambda request: all(one(request) for one in filters)) if every else (
            lambda request: any(one(request) for one in filters))

    def _resources(self, holder: Fields) -> Match:
        fields = holder.inner("resources")
        holder.done(hint="custody does not know roles and subjects of a request yet")
        if fields is None:
            raise MalformedError(holder.where, got="no resources", expected="resources")
        tests: list[Match] = []
        kinds = fields.texts("kinds")
        if kinds:
            self.kinds += kinds
            selectors = [kind_selector(kind) for kind in kinds]
            tests.append(lambda request: any(_is_kind(selector, request) for selector in selectors))
        if operations := fields.texts("operations"):
            if unknown := set(operations) - set(_OPERATIONS):
                raise MalformedError(fields.path("operations"), got=min(unknown), expected=", ".join(_OPERATIONS))
            self.operations.update(operations)
            tests.append(lambda request: request.operation in operations)
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
        return lambda request: all(test(request) for test in tests)


def _is_kind(selector: tuple[str, str, str, str], request: Request) -> bool:
    group, version, kind, subresource = selector
    asked = request.kind
    if not (glob(kind, asked.kind) and glob(version, asked.version) and glob(group, asked.group)):
        return False
    # An ephemeral container is added to a pod through its own subresource, and a rule about pods means it too.
    return glob(subresource, request.subresource) or (asked.kind == "Pod" and asked.group == ""
                                                      and request.subresource == "ephemeralcontainers")


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
