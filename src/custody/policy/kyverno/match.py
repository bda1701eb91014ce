"""`match` and `exclude` as a Scope's blocks (Kyverno pkg/engine/utils/match.go and pkg/utils/match)."""

from __future__ import annotations

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.resources import OPERATIONS
from custody.policy.scope import Block, Filter, LabelSelector, Named, Requirement, Subject
from policylang.variables import has_variables

_SUBJECTS = ("User", "Group", "ServiceAccount")
_TESTS = ("In", "NotIn", "Exists", "DoesNotExist")


def compile_block(fields: Fields, *, exclude: bool = False) -> Block:
    """Raises MalformedError, UnsupportedError."""
    forms = [name for name in ("any", "all", "resources") if fields.has(name)]
    if len(forms) != 1:
        raise MalformedError(fields.where, got=" and ".join(forms) or "nothing",
                             expected="one of any, all, resources")
    filters = [_filter(holder, exclude=exclude)
               for holder in ([fields] if forms[0] == "resources" else fields.each(forms[0]))]
    fields.done()
    if not filters:
        raise MalformedError(fields.path(forms[0]), got="an empty list", expected="at least one filter")
    if not exclude and not any(part.kinds for part in filters):
        raise MalformedError(fields.where, got="no kinds", expected="at least one kind")
    return Block(filters, every=forms[0] == "all")


def _filter(holder: Fields, *, exclude: bool) -> Filter:
    fields = holder.inner("resources")
    subjects = [_subject(subject) for subject in holder.each("subjects")]
    holder.done(hint="custody does not know the roles of who asks yet")
    if fields is None and not (exclude and subjects):
        raise MalformedError(holder.where, got="no resources", expected="resources")
    fields = fields or Fields({}, holder.path("resources"))
    operations = fields.texts("operations")
    if unknown := set(operations) - set(OPERATIONS):
        raise MalformedError(fields.path("operations"), got=min(unknown), expected=", ".join(OPERATIONS))
    kinds = [Named(f"{fields.path('kinds')}[{at}]", text) for at, text in enumerate(fields.texts("kinds"))]
    names = [*fields.texts("names"), *filter(None, [fields.take("name", str)])]
    namespaces = fields.texts("namespaces")
    annotations = fields.text_map("annotations")
    selector = fields.inner("selector")
    compiled = Filter(where=fields.where, kinds=kinds, operations=operations, names=names, namespaces=namespaces,
                      annotations=annotations, labels=None if selector is None else _selector(selector),
                      subjects=subjects, nobody=not exclude)
    fields.done(hint="custody does not look up namespaces yet" if fields.has("namespaceSelector") else None)
    if has_variables([[named.text for named in kinds], names, namespaces, annotations, *map(list, subjects)]):
        raise UnsupportedError(fields.where, "variables in match and exclude are not evaluated by custody yet")
    if compiled.empty:
        raise MalformedError(fields.where, got="nothing", expected="kinds, names, namespaces, operations, …")
    return compiled


def _subject(fields: Fields) -> Subject:
    kind, name, namespace = fields.need("kind", str), fields.need("name", str), fields.take("namespace", str) or ""
    fields.only("apiGroup", "", "rbac.authorization.k8s.io")
    fields.done()
    if kind not in _SUBJECTS or (kind == "ServiceAccount") != bool(namespace):
        raise MalformedError(fields.where, got=f"{kind} in {f'namespace {namespace}' if namespace else 'no namespace'}",
                             expected="a User, a Group, or a ServiceAccount with its namespace")
    return Subject(kind, name, namespace)


def _selector(fields: Fields) -> LabelSelector:
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
