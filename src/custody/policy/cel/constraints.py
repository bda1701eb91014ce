"""`matchConstraints` and `matchResources` as a Scope (admissionregistration.k8s.io/v1 MatchResources).

As the API server matches (k8s.io/apiserver pkg/admission/plugin/policy/matching and webhook/predicates): plural names
of resources, exclusions before all else, labels of the object as it was or as it will be, labels of the namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.kinds import resource_of
from custody.policy.lookup import Answers, LookupFailedError
from custody.policy.model import Kind, Request, Resource
from custody.policy.resources import OPERATIONS
from custody.policy.scope import Block, Condition, Filter, LabelSelector, Requirement, ResourceRule, Scope
from custody.ports.lookup import NamespaceLabels

_NAMESPACES = Resource("namespaces", "v1", "")
_TESTS = ("In", "NotIn", "Exists", "DoesNotExist")
Operations = Literal["needed", "optional", "passed over"]
_KNOWN = 1024  # kinds and operations, of which it is remembered which rules select them
_PLACES = ("*", "Namespaced", "Cluster")
POLICIES = ("Equivalent", "Exact")


class Constraints(Filter):
    """Resource rules of which one must select the request, and what must hold beside."""

    def __init__(self, where: str, rules: Sequence[ResourceRule], *, object_labels: LabelSelector | None = None,
                 namespace_labels: LabelSelector | None = None, namespace: str = "", prefixes: bool = False) -> None:
        """Without rules every resource is selected. `namespace`: of a policy that speaks of no other.

        `prefixes`: a name that the API server has yet to generate is known by how it begins.
        """
        super().__init__(where=where)
        self.resources, self._home = tuple(rules), namespace
        self.chosen = ("resourceRules", *(name for name, value in (
            ("objectSelector", object_labels), ("namespaceSelector", namespace_labels)) if value is not None))
        self.handles = object_labels.handles if object_labels is not None else None
        tests: list[Condition] = []
        if namespace:
            tests.append(lambda request, _: request.namespace == namespace)
            self.handles = (("home", namespace),)
        if rules:
            tests.append(self._of_resource(prefixes))
        if object_labels is not None:
            tests.append(lambda request, _: any(
                object_labels(labels) for labels in map(_labels, (request.object, request.old_object))
                if labels is not None))
        if namespace_labels is not None:
            tests.append(lambda request, answers: _namespace_holds(namespace_labels, request, answers))
        self.empty = False
        self.matches: Condition = tests[0] if len(tests) == 1 else (
            lambda request, answers: all(test(request, answers) for test in tests))

    @property
    def by_kind(self) -> bool:
        return self.chosen == ("resourceRules",) and not self._home and all(map(_anywhere, self.resources))

    def apart(self, request: Request) -> bool:
        return bool(self.resources) and not self._selecting(request)

    def _selecting(self, request: Request) -> tuple[ResourceRule, ...]:
        """Its rules for a request's resource and operation."""
        asked = (request.kind, request.resource, request.subresource, request.operation)
        selecting = self._known.get(asked)
        if selecting is None:
            selecting = tuple(rule for rule in self.resources if rule.selects(
                resource_asked(request), request.subresource, request.operation or "?"))
            if len(self._known) < _KNOWN and request.parent is None:
                self._known[asked] = selecting
        return selecting

    def _of_resource(self, prefixes: bool) -> Condition:
        self._known: dict[tuple[Kind, Resource | None, str, str], tuple[ResourceRule, ...]] = {}

        anywhere = all(map(_anywhere, self.resources))

        def selected(request: Request, _: Answers) -> bool:
            selecting = self._selecting(request)
            if anywhere:
                return bool(selecting)
            return any(_placed(rule, request, prefixes) for rule in selecting)

        return selected


def compile_constraints(fields: Fields | None, *, where: str = "spec.matchConstraints", namespace: str = "",
                        needed: bool = True, prefixes: bool = True, judged: Sequence[str] = OPERATIONS,
                        operations: Operations = "needed") -> tuple[Scope, str]:
    """(scope, matchPolicy). `needed`: whether at least one resource rule must stand there.

    `operations` of its rules are passed over where they are about objects and nobody asks for anything.

    Raises MalformedError, UnsupportedError.
    """
    fields = fields or Fields({}, where)
    rules = [_rule(rule, operations) for rule in fields.each("resourceRules")]
    excluded = [_rule(rule) for rule in fields.each("excludeResourceRules")]
    object_labels = compile_selector(fields.inner("objectSelector"))
    namespace_labels = compile_selector(fields.inner("namespaceSelector"))
    policy = fields.take("matchPolicy", str) or "Equivalent"
    fields.done()
    if policy not in POLICIES:
        raise MalformedError(fields.path("matchPolicy"), got=policy, expected=" or ".join(POLICIES))
    if needed and not rules:
        raise MalformedError(fields.path("resourceRules"), got="nothing", expected="at least one resource rule")
    match = Constraints(fields.where, rules, object_labels=object_labels, namespace_labels=namespace_labels,
                        namespace=namespace, prefixes=prefixes)
    exclude = Block([Constraints(fields.path("excludeResourceRules"), excluded, prefixes=prefixes)]) if excluded else (
        None)
    return Scope(Block([match]), exclude, judged=judged), policy


def compile_selector(fields: Fields | None) -> LabelSelector | None:
    """metav1.LabelSelector, without wildcards; None for one that selects everything. Raises MalformedError."""
    if fields is None:
        return None
    requirements = [Requirement(key, "In", [value]) for key, value in fields.text_map("matchLabels").items()]
    for written in fields.each("matchExpressions"):
        key, operator, values = written.need("key", str), written.need("operator", str), written.texts("values")
        written.done()
        if operator not in _TESTS or bool(values) != (operator in ("In", "NotIn")):
            raise MalformedError(written.where, got=f"{operator} with {len(values)} values",
                                 expected="In, NotIn with values, or Exists, DoesNotExist without")
        requirements.append(Requirement(key, operator, values))
    fields.done()
    return LabelSelector({}, requirements) if requirements else None


def _rule(fields: Fields, given: Operations = "needed") -> ResourceRule:
    groups, versions, resources = (_listed(fields, name) for name in ("apiGroups", "apiVersions", "resources"))
    operations = _listed(fields, "operations") if given == "needed" else fields.texts("operations") or ["*"]
    scope, names = fields.take("scope", str) or "*", fields.texts("resourceNames")
    fields.done()
    if unknown := set(operations) - {*OPERATIONS, "*"}:
        raise MalformedError(fields.path("operations"), got=min(unknown), expected=", ".join([*OPERATIONS, "*"]))
    if scope not in _PLACES:
        raise MalformedError(fields.path("scope"), got=scope, expected=", ".join(_PLACES))
    split = tuple((name, sub) for name, _, sub in (resource.partition("/") for resource in resources))
    if given == "passed over":
        operations = ["*"]
    return ResourceRule(frozenset(groups), frozenset(versions), split, frozenset(operations), scope, tuple(names))


def _listed(fields: Fields, name: str) -> list[str]:
    values = fields.texts(name)
    if not values:
        raise MalformedError(fields.path(name), got="nothing", expected="at least one entry, or *")
    if name != "apiGroups" and "" in values:  # the API server refuses webhooks that say so
        raise MalformedError(f"{fields.path(name)}[{values.index('')}]", got="''", expected="a name, or *")
    return values


def resource_asked(request: Request) -> Resource:
    """What a request is about, also where only an object was given."""
    return request.resource or resource_of(request.parent or request.kind)


def _anywhere(rule: ResourceRule) -> bool:
    """Whether it selects objects wherever they lie, and whatever they are called."""
    return rule.scope == "*" and not rule.names


def _placed(rule: ResourceRule, request: Request, prefixes: bool) -> bool:
    """Whether the place and the name of an object are a rule's, whose resource and operation it is."""
    if rule.scope != "*":  # a Namespace is cluster-wide, and its own name stands as its namespace
        inside = bool(request.namespace) and resource_asked(request) != _NAMESPACES
        if inside != (rule.scope == "Namespaced"):
            return False
    if not rule.names:
        return True
    if request.name or not prefixes:
        return request.name in rule.names
    begins = str(_metadata(request.object).get("generateName") or "")
    return any(begins.startswith(name) for name in rule.names)


def _namespace_holds(selector: LabelSelector, request: Request, answers: Answers) -> bool:
    resource = resource_asked(request)
    itself = resource.resource == "namespaces"
    if not request.namespace and not itself:
        return True  # what lies in no namespace is never left out by one's labels
    if itself and not request.subresource and request.operation in ("CREATE", "UPDATE"):
        return selector(_labels(request.object) or {})
    question = NamespaceLabels(request.namespace or request.name)
    labels = answers.value(question)
    if not isinstance(labels, dict):
        raise LookupFailedError(question, "there is no such namespace")
    return selector(labels)


def _metadata(document: dict[str, Any] | None) -> dict[str, Any]:
    metadata = document.get("metadata") if document else None
    return metadata if isinstance(metadata, dict) else {}


def _labels(document: dict[str, Any] | None) -> dict[str, str] | None:
    """None of what is no object, which no selector selects."""
    if not document:
        return None
    labels = _metadata(document).get("labels")
    return dict(_texts(labels)) if isinstance(labels, dict) else {}


def _texts(labels: dict[str, Any]) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in labels.items() if isinstance(value, str))
