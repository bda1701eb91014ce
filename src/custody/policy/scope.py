"""Which requests a rule speaks of. One type for all engines: what is matched by it is what the API server is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from custody.policy.kinds import Kinds, Selector, resource_of
from custody.policy.lookup import Answers, LookupFailedError
from custody.policy.model import Kind, Request, Resource
from custody.policy.resources import OPERATIONS
from custody.ports.lookup import NamespaceLabels
from policylang.go.wildcards import glob, has_wildcard, wildcard

WRITTEN = ("CREATE", "UPDATE")
Condition = Callable[[Request, Answers], bool]
_KNOWN = 1024  # kinds, of which it is remembered whether a filter selects them
_ASKING = frozenset(("namespaceSelector", "roles", "clusterRoles"))
_SERVICE_ACCOUNT = "system:serviceaccount:"
_HOME, _NAMESPACE, _LABEL = "home", "namespace", "label"
Handles = tuple[tuple[str, ...], ...]
"""What can be looked up of a request: (home, namespace), (namespace, name) or (label, key, value)."""
NOTHING_KNOWN = Answers({})
"""For tests that ask nothing."""


class Named(NamedTuple):
    """A kind as a policy names it, and the path of the field where it does."""

    where: str
    text: str


class Requirement(NamedTuple):
    """metav1.LabelSelectorRequirement."""

    key: str
    operator: str
    """In, NotIn, Exists or DoesNotExist."""
    values: Sequence[str] = ()

    def holds(self, labels: dict[str, str]) -> bool:
        if self.operator in ("Exists", "DoesNotExist"):
            return (self.key in labels) == (self.operator == "Exists")
        return (labels.get(self.key) in self.values) == (self.operator == "In")


class ResourceRule(NamedTuple):
    """admissionregistration.k8s.io/v1 NamedRuleWithOperations: plural names, which `*` stands for all of.

    `resources` may be `pods`, `pods/exec`, `*`, `*/*`, `*/scale`, `pods/*`.
    """

    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """With their subresources."""
    operations: frozenset[str]
    scope: str = "*"
    """Namespaced, Cluster or *."""
    names: tuple[str, ...] = ()

    def selects(self, resource: Resource, subresource: str, operation: str) -> bool:
        """Whatever the object's name and namespace are; no operation stands for any."""
        return ((not operation or operation in self.operations or "*" in self.operations)
                and (resource.group in self.groups or "*" in self.groups)
                and (resource.version in self.versions or "*" in self.versions)
                and any(name in ("*", resource.resource) and sub in ("*", subresource)
                        for name, sub in self.resources))


class LabelSelector:
    """metav1.LabelSelector; keys and values of `match` may have wildcards."""

    def __init__(self, match: dict[str, str], requirements: Sequence[Requirement] = ()) -> None:
        self._match = [(wildcard(key), wildcard(value)) for key, value in match.items()]
        self._requirements = requirements
        exact: list[Handles] = [((_LABEL, key, value),) for key, value in match.items()
                 if not has_wildcard(key) and not has_wildcard(value)]
        exact += [tuple((_LABEL, requirement.key, value) for value in requirement.values)
                  for requirement in requirements if requirement.operator == "In"]
        self.handles: Handles | None = exact[0] if exact else None
        """Of which labels that it holds of have at least one."""

    def __call__(self, labels: dict[str, str]) -> bool:
        return all(any(key(name) and value(text) for name, text in labels.items()) for key, value in self._match
                   ) and all(requirement.holds(labels) for requirement in self._requirements)


class Subject(NamedTuple):
    """rbac.authorization.k8s.io/v1 Subject: User, Group or ServiceAccount; names may have wildcards."""

    kind: str
    name: str
    namespace: str = ""

    def asks(self, request: Request) -> bool:
        user = request.user
        if self.kind == "Group":
            return any(glob(self.name, group) for group in user.groups)
        named = f"{_SERVICE_ACCOUNT}{self.namespace}:{self.name}" if self.kind == "ServiceAccount" else self.name
        return glob(named, user.username)


class Filter:
    """What must all hold of a request; a part that is left out holds. Empty `operations`: what the rule can judge."""

    resources: Sequence[ResourceRule] = ()
    """Of a filter that names resources, as the API server does, and no kinds."""

    def __init__(self, *, where: str = "", kinds: Sequence[Named] = (), operations: Sequence[str] = (),
                 names: Sequence[str] = (), namespaces: Sequence[str] = (), annotations: dict[str, str] | None = None,
                 labels: LabelSelector | None = None, namespace_labels: LabelSelector | None = None,
                 subjects: Sequence[Subject] = (), nobody: bool = False,
                 beside: Mapping[str, Condition] | None = None) -> None:
        """`where` is the path of its field. `nobody`: whether `subjects` hold where it is not known who asks.

        `beside` are tests of an engine's own, by the names of their fields; they are asked last, and may need answers.
        Raises MalformedError for a kind that is none.
        """
        self.where = where
        self.kinds = tuple(kinds)
        self.operations = tuple(operations)
        self.selectors = [Selector.parse(named.text, named.where) for named in kinds]
        self.chosen = tuple(field for field, value in (
            ("names", names), ("namespaces", namespaces), ("annotations", annotations), ("selector", labels),
            ("namespaceSelector", namespace_labels), ("subjects", subjects)) if value) + tuple(beside or ())
        """Names of the fields beside kinds and operations that it has."""
        tests: list[Condition] = []
        self._kind = self._of_kind() if kinds else None
        if operations:
            tests.append(lambda request, _: request.operation in operations)
        if self._kind is not None:
            tests.append(self._kind)
        if names:
            tests.append(lambda request, _: any(glob(name, _name(request)) for name in names))
        if namespaces:
            tests.append(lambda request, _: any(glob(name, _namespace(request)) for name in namespaces))
        if annotations:
            tests.append(lambda request, _: all(
                any(glob(key, name) and glob(value, text) for name, text in _metadata(request, "annotations").items())
                for key, value in annotations.items()))
        if labels is not None:
            tests.append(lambda request, _: labels(_metadata(request, "labels")))
        if subjects:
            tests.append(lambda request, _: any(subject.asks(request) for subject in subjects)
                         if request.user.username or request.user.groups else nobody)
        if namespace_labels is not None:
            tests.append(lambda request, answers: namespace_labels(namespace_labels_of(request, answers)))
        tests += (beside or {}).values()
        self.handles = handles_for(namespaces, labels)
        """Of which a request has at least one that it holds of; None where it may hold of any."""
        self.empty = not tests
        self.matches: Condition = _all(tests)

    @property
    def asks(self) -> bool:
        """Whether it may need answers."""
        return not _ASKING.isdisjoint(self.chosen)

    def apart(self, request: Request) -> bool:
        """Whether it holds of no request with this kind and operation. Raises UnsupportedError."""
        if self.operations and request.operation not in self.operations:
            return True
        return self._kind is not None and not self._kind(request, NOTHING_KNOWN)

    @property
    def by_kind(self) -> bool:
        """Whether nothing of a request but its kind, operation and subresource decides."""
        return not self.chosen

    @property
    def only(self) -> bool:
        """Whether it names kinds and operations alone, so that as an exclusion it leaves nothing of what it names."""
        return not self.chosen

    def _of_kind(self) -> Condition:
        known: dict[Kind, bool] = {}

        def named(request: Request, _: Answers) -> bool:
            if request.subresource:
                return any(selector.matches(request) for selector in self.selectors)
            selected = known.get(request.kind)
            if selected is None:
                selected = any(selector.matches(request) for selector in self.selectors)
                if len(known) < _KNOWN:
                    known[request.kind] = selected
            return selected

        return named


class Block:
    """Filters of which one must hold, or `every` one."""

    def __init__(self, filters: Sequence[Filter], *, every: bool = False) -> None:
        self.filters = tuple(filters)
        self.every = every
        tests = [part.matches for part in filters]
        self.matches: Condition = _all(tests) if every or len(tests) == 1 else (
            lambda request, answers: any(test(request, answers) for test in tests))
        asking = next((at for at, part in enumerate(filters) if part.asks), len(filters)) if every else len(filters)
        self._first = self.filters[:asking + 1]
        """What can be said of a request without an answer: of `every` one those up to the first that may ask."""

    def apart(self, request: Request) -> bool:
        """Whether it holds of no request with this kind and operation. Raises UnsupportedError."""
        return (any if self.every else all)(part.apart(request) for part in self._first)

    @property
    def handles(self) -> Handles | None:
        """Of which a request has at least one that it holds of; None where it may hold of any."""
        if self.every:
            return next((part.handles for part in self._first if part.handles is not None), None)
        handles = [part.handles for part in self._first]
        known = [part for part in handles if part is not None]
        return tuple(handle for part in known for handle in part) if len(known) == len(handles) else None


class Scope:
    """`match` less `exclude`, where all `conditions` hold.

    `judged` are the operations of which the rule has something to say where its match names none. It speaks in no other
    namespace than `namespace`, and of no other kinds than `kinds`, where these are given.
    """

    def __init__(self, match: Block, exclude: Block | None = None, *, judged: Sequence[str] = WRITTEN,
                 conditions: Sequence[Condition] = (), namespace: str = "", kinds: Collection[str] = ()) -> None:
        self.match = match
        self.exclude = exclude
        self.judged = tuple(judged)
        self.conditions = tuple(conditions)
        self.namespace = namespace
        self.kinds = frozenset(kinds)
        self._checked: Kinds | None = None

    @property
    def asks(self) -> bool:
        """Whether matching may need answers."""
        return bool(self.conditions) or any(
            part.asks for block in (self.match, self.exclude) if block is not None for part in block.filters)

    def silence(self, request: Request, answers: Answers) -> str | None:
        """Why a request is none of this rule's; None where it is. Empty where another form of the rule is for its kind.

        Raises UnansweredError, LookupFailedError.
        """
        if self.namespace and (request.namespace != self.namespace or request.kind.kind == "Namespace"):
            return f"its policy speaks of namespace {self.namespace} alone"
        if self.kinds and (request.parent or request.kind).kind not in self.kinds:
            return ""
        if not self.match.matches(request, answers):
            return "its match does not select this request"
        if self.exclude is not None and self.exclude.matches(request, answers):
            return "its exclude leaves this request out"
        if self.conditions and not all(condition(request, answers) for condition in self.conditions):
            return "its match conditions do not hold"
        return None

    def apart(self, request: Request) -> bool:
        """Whether it is silent about every request with this kind and operation. Raises UnsupportedError."""
        if self.namespace:
            return False  # its reason differs by where the object lies
        if self.kinds and (request.parent or request.kind).kind not in self.kinds:
            return True
        return self.match.apart(request)

    @property
    def by_kind(self) -> bool:
        """Whether nothing of a request but its kind, operation and subresource decides."""
        return not (self.namespace or self.conditions or self.exclude is not None
                    or not all(part.by_kind for part in self.match.filters))

    @property
    def handles(self) -> Handles | None:
        """Of which a request has at least one that the rule speaks of; None where it may speak of any."""
        return ((_HOME, self.namespace),) if self.namespace else self.match.handles

    def check(self, kinds: Kinds) -> None:
        """Whether each kind that it names can be asked about. Raises MalformedError."""
        if self._checked is kinds:  # it is part of many sets, one after the other
            return
        for block in (self.match, self.exclude):
            for part in block.filters if block is not None else ():
                for named in part.kinds:
                    kinds.check(named.text, named.where)
        self._checked = kinds

    @property
    def selectors(self) -> list[Selector]:
        """Of the kinds that its match names."""
        return [selector for part in self.match.filters for selector in part.selectors]

    def selects(self, kind: Kind, operation: str = "") -> bool:
        """Whether it may speak of a kind that has no subresource, with this operation or with any."""
        if self.kinds and kind.kind not in self.kinds:
            return False
        return any(selector.selects(kind, "") for part in self.match.filters
                   if not operation or operation in (part.operations or (operation,)) for selector in part.selectors
                   ) or any(rule.selects(resource_of(kind), "", operation)
                            for part in self.match.filters for rule in part.resources)

    def operations(self, part: Filter) -> tuple[set[str], bool]:
        """The operations on what a filter of `match` names that all of `match` allows, and whether any is named."""
        named = set(part.operations or OPERATIONS)
        beside = self.match.filters if self.match.every else (part,)
        if self.match.every:
            named &= {operation for operation in OPERATIONS
                      if all(operation in (filtered.operations or OPERATIONS) for filtered in beside)}
        return named, any(filtered.operations for filtered in beside)

    def excluded(self, text: str) -> set[str]:
        """Operations on a kind that an `exclude` with nothing but kinds and operations takes out of it."""
        if self.exclude is None or (self.exclude.every and len(self.exclude.filters) > 1):
            return set()
        return {operation for part in self.exclude.filters if part.only
                and (not part.kinds or text in (named.text for named in part.kinds))
                for operation in part.operations or OPERATIONS}


def handles_for(namespaces: Sequence[str], labels: LabelSelector | None) -> Handles | None:
    """Handles of what lies in these namespaces and has these labels; None where a wildcard leaves it open."""
    if namespaces and not any(map(has_wildcard, namespaces)):
        return tuple((_NAMESPACE, name) for name in namespaces)
    return labels.handles if labels is not None else None


def handles_of(request: Request) -> list[tuple[str, ...]]:
    """All handles that a request has: of where it lies, and of its labels now and before."""
    handles: list[tuple[str, ...]] = [(_HOME, request.namespace), (_NAMESPACE, _namespace(request))]
    for document in (request.object, request.old_object):
        metadata = document.get("metadata") if document is not None else None
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        if isinstance(labels, dict):
            handles += [(_LABEL, key, value) for key, value in labels.items() if isinstance(value, str)]
    return handles


def namespace_labels_of(request: Request, answers: Answers) -> dict[str, str]:
    """The labels of the namespace that an object lies in; {} for what lies in none.

    Raises UnansweredError, LookupFailedError.
    """
    if not request.namespace:
        return {}
    question = NamespaceLabels(request.namespace)
    labels = answers.value(question)
    if not isinstance(labels, dict):
        raise LookupFailedError(question, "there is no such namespace")
    return labels


def _all(tests: Sequence[Condition]) -> Condition:
    return tests[0] if len(tests) == 1 else lambda request, answers: all(test(request, answers) for test in tests)


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
