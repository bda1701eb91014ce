"""`match` and `exclude` as a Scope's blocks (Kyverno pkg/engine/utils/match.go and pkg/utils/match)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.lookup import Answers
from custody.policy.model import Request
from custody.policy.resources import OPERATIONS
from custody.policy.scope import (
    Block,
    Condition,
    Filter,
    LabelSelector,
    Named,
    Requirement,
    Subject,
    namespace_labels_of,
)
from custody.ports.lookup import Roles
from policylang.variables import has_variables

WHO = ("subjects", "roles", "clusterRoles")
"""Fields that look at who asks."""
_SUBJECTS = ("User", "Group", "ServiceAccount")
_TESTS = ("In", "NotIn", "Exists", "DoesNotExist")


def compile_block(fields: Fields, *, exclude: bool = False, legacy: bool = True, namespaced: bool = False) -> Block:
    """`legacy`: whether `resources` may stand beside `any` and `all`. Raises MalformedError, UnsupportedError."""
    forms = [name for name in ("any", "all", "resources") if fields.peek(name)]
    if not forms and exclude and any(fields.has(name) for name in WHO):
        forms = ["resources"]
    if len(forms) != 1 or (forms == ["resources"] and not legacy):
        raise MalformedError(fields.where, got=" and ".join(forms) or "nothing",
                             expected=f"one of any, all{', resources' if legacy else ''}")
    if forms[0] != "resources":
        fields.any("resources")
    holders = [fields] if forms[0] == "resources" else fields.each(forms[0])
    filters = [_filter(holder, exclude=exclude, namespaced=namespaced) for holder in holders]
    for name in ("any", "all"):
        fields.any(name)
    fields.done()
    if not exclude and not any(part.kinds for part in filters):
        raise MalformedError(fields.where, got="no kinds", expected="at least one kind")
    return Block(filters, every=forms[0] == "all")


def is_empty(fields: Fields) -> bool:
    """Whether an `exclude` excludes nothing."""
    return not any(fields.peek(name) for name in ("any", "all", "resources", *WHO))


def _filter(holder: Fields, *, exclude: bool, namespaced: bool) -> Filter:
    fields = holder.inner("resources")
    subjects = [_subject(subject) for subject in holder.each("subjects")]
    roles, cluster_roles = holder.texts("roles"), holder.texts("clusterRoles")
    for at, role in enumerate(roles):
        if role.count(":") != 1:
            raise MalformedError(f"{holder.path('roles')}[{at}]", got=role, expected="namespace:name")
    holder.done()
    if fields is None and not (exclude and (subjects or roles or cluster_roles)):
        raise MalformedError(holder.where, got="no resources", expected="resources")
    fields = fields or Fields({}, holder.path("resources"))
    operations = fields.texts("operations")
    if unknown := set(operations) - set(OPERATIONS):
        raise MalformedError(fields.path("operations"), got=min(unknown), expected=", ".join(OPERATIONS))
    kinds = [Named(f"{fields.path('kinds')}[{at}]", text) for at, text in enumerate(fields.texts("kinds"))]
    if fields.peek("names") and fields.peek("name"):
        raise MalformedError(fields.path("name"), got="name and names", expected="one of them")
    names = [*fields.texts("names"), *filter(None, [fields.take("name", str)])]
    namespaces = fields.texts("namespaces")
    if namespaces and namespaced:
        raise MalformedError(fields.path("namespaces"), got=", ".join(namespaces),
                             expected="nothing: the policy speaks of its own namespace")
    annotations = fields.text_map("annotations")
    selector, namespace_selector = fields.inner("selector"), fields.inner("namespaceSelector")
    beside: dict[str, Condition] = {}
    if namespace_selector is not None:
        beside["namespaceSelector"] = _in_namespace(selector_of(namespace_selector))
    if roles:
        beside["roles"] = _has_role("roles", roles, nobody=not exclude)
    if cluster_roles:
        beside["clusterRoles"] = _has_role("clusterRoles", cluster_roles, nobody=not exclude)
    compiled = Filter(where=fields.where, kinds=kinds, operations=operations, names=names, namespaces=namespaces,
                      annotations=annotations, labels=None if selector is None else selector_of(selector),
                      subjects=subjects, nobody=not exclude, beside=beside)
    fields.done()
    if has_variables([[named.text for named in kinds], names, namespaces, annotations, roles, cluster_roles,
                      *map(list, subjects)]):
        raise MalformedError(fields.where, got="a variable", expected="none: match and exclude have no variables")
    if compiled.empty:
        raise MalformedError(fields.where, got="nothing", expected="kinds, names, namespaces, operations, …")
    return compiled


def _in_namespace(selector: LabelSelector) -> Condition:
    """Of a Namespace itself it never holds. What lies in none has no labels."""
    return lambda request, answers: request.kind.kind != "Namespace" and selector(namespace_labels_of(request, answers))


def _has_role(field: str, names: Sequence[str], *, nobody: bool) -> Condition:
    """Roles have no wildcards. `nobody`: whether it holds where it is not known who asks."""
    wanted = frozenset(names)

    def has(request: Request, answers: Answers) -> bool:
        user = request.user
        if not (user.username or user.groups):
            return nobody
        bound = answers.value(Roles(user.username, user.groups, request.namespace)) or {}
        return not wanted.isdisjoint(bound.get(field) or ())

    return has


def _subject(fields: Fields) -> Subject:
    kind, name, namespace = fields.need("kind", str), fields.need("name", str), fields.take("namespace", str) or ""
    fields.only("apiGroup", "", "rbac.authorization.k8s.io")
    fields.done()
    if kind not in _SUBJECTS or (kind == "ServiceAccount") != bool(namespace):
        raise MalformedError(fields.where, got=f"{kind} in {f'namespace {namespace}' if namespace else 'no namespace'}",
                             expected="a User, a Group, or a ServiceAccount with its namespace")
    return Subject(kind, name, namespace)


def written_selector(holder: Fields) -> dict[str, Any]:
    """A `selector` as it is written, which may have variables in its texts; {} without one. Raises MalformedError."""
    written: dict[str, Any] = holder.peek("selector")
    if (fields := holder.inner("selector")) is not None:
        selector_of(fields)
    return written or {}


def selector_of(fields: Fields) -> LabelSelector:
    """metav1.LabelSelector; keys and values of matchLabels may have wildcards. Raises MalformedError."""
    labels = fields.text_map("matchLabels")
    requirements = []
    for written in fields.each("matchExpressions"):
        key, operator, values = written.need("key", str), written.need("operator", str), written.texts("values")
        written.done()
        if operator not in _TESTS or bool(values) != (operator in ("In", "NotIn")):
            raise MalformedError(written.where, got=f"{operator} with {len(values)} values",
                                 expected="In, NotIn with values, or Exists, DoesNotExist without")
        requirements.append(Requirement(key, operator, values))
    fields.done()
    return LabelSelector(labels, requirements)
