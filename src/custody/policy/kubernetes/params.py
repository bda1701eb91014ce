"""The parameters of a binding: which objects of which kind, asked of the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from custody.errors import CustodyError, MalformedError
from custody.policy.cel.constraints import compile_selector
from custody.policy.fields import Fields
from custody.policy.kinds import builtin, resource_of
from custody.policy.lookup import Answers, LookupFailedError
from custody.policy.model import Kind, Request
from custody.policy.scope import LabelSelector
from custody.policy.worlds import path_of
from custody.ports.lookup import ApiCall


class ConfigurationError(CustodyError):
    """A binding that the API server could not use for this request; what comes of it is the failurePolicy's."""


class ParamKind(NamedTuple):
    api_version: str
    kind: str

    @property
    def gvk(self) -> Kind:
        group, _, version = self.api_version.rpartition("/")
        return Kind(self.kind, version, group)


class ParamRef(NamedTuple):
    name: str
    namespace: str
    selector: LabelSelector | None
    """None for one that selects everything, and where there is a name."""
    denies: bool
    """parameterNotFoundAction: Deny."""


def compile_kind(fields: Fields | None) -> ParamKind | None:
    """Raises MalformedError."""
    if fields is None:
        return None
    kind = ParamKind(fields.need("apiVersion", str), fields.need("kind", str))
    fields.done()
    return kind


def compile_ref(fields: Fields | None) -> ParamRef | None:
    """Raises MalformedError."""
    if fields is None:
        return None
    name, namespace = fields.take("name", str) or "", fields.take("namespace", str) or ""
    written = fields.inner("selector")
    action = fields.need("parameterNotFoundAction", str)
    if bool(name) == (written is not None):
        raise MalformedError(fields.where, got="both or none", expected="one of name and selector")
    selector = compile_selector(written)
    fields.done()
    if action not in ("Allow", "Deny"):
        raise MalformedError(fields.path("parameterNotFoundAction"), got=action, expected="Allow or Deny")
    return ParamRef(name, namespace, selector, action == "Deny")


def params_of(kind: ParamKind | None, ref: ParamRef | None, request: Request,
              answers: Answers) -> Sequence[Mapping[str, Any] | None]:
    """The values of `params` that a request is judged with, one after the other; None where a policy has none.

    Raises ConfigurationError, UnansweredError, LookupFailedError.
    """
    if kind is None or ref is None:
        return [None]
    plural, namespaced = _served(kind, answers)
    namespace = ""
    if namespaced:
        namespace = ref.namespace or request.namespace
        if not namespace:
            raise ConfigurationError("cannot use namespaced paramRef in policy binding that matches cluster-scoped "
                                     "resources")
    elif ref.namespace:
        raise ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    params = _chosen(kind, ref, ApiCall(path_of(kind.api_version, plural, namespace, ref.name)), answers)
    if not params and ref.denies:
        raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return params


def _chosen(kind: ParamKind, ref: ParamRef, question: ApiCall, answers: Answers) -> list[Mapping[str, Any]]:
    typed = {"apiVersion": kind.api_version, "kind": kind.kind}
    answer = answers.value(question)
    if answer is None:
        return []
    items = [answer] if ref.name else answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise LookupFailedError(question, f"expected {kind.kind} or a list of it")
    if ref.selector is None:
        return [{**typed, **item} for item in items]
    return [{**typed, **item} for item in items if ref.selector((item.get("metadata") or {}).get("labels") or {})]


def _served(kind: ParamKind, answers: Answers) -> tuple[str, bool]:
    """(plural name, whether it stands in namespaces): of Kubernetes' own by the table, else by discovery."""
    gvk = kind.gvk
    namespaced = builtin().namespaced(gvk)
    if namespaced is not None:
        return resource_of(gvk).resource, namespaced
    root = "apis" if gvk.group else "api"
    question = ApiCall(f"/{root}/{quote(kind.api_version)}")
    served = answers.value(question)
    for resource in (served or {}).get("resources") or ():
        if resource.get("kind") == kind.kind and "/" not in str(resource.get("name")):
            return str(resource["name"]), resource.get("namespaced") is True
    raise ConfigurationError(f"paramKind kind `{kind.api_version}, Kind={kind.kind}` not known")
