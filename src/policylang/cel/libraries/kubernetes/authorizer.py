"""kubernetes.authz and kubernetes.authzSelectors: `authorizer.group("apps").resource("deployments").check("create")`.

Whether somebody may do something is asked through a port; no port, no authorizer variable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from policylang.cel.cost.units import CONSTANT, Cost
from policylang.cel.libraries.kubernetes.formats import label, subdomain
from policylang.cel.libraries.kubernetes.prices import CHECK, SELECTOR
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import BOOL, STRING, Type, message
from policylang.cel.values.errors import CelError

AUTHORIZER = message("kubernetes.authorization.Authorizer")
PATH_CHECK = message("kubernetes.authorization.PathCheck")
GROUP_CHECK = message("kubernetes.authorization.GroupCheck")
RESOURCE_CHECK = message("kubernetes.authorization.ResourceCheck")
DECISION = message("kubernetes.authorization.Decision")


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked: a verb on a `path`, or on a resource where `path` is empty. Selectors are as they were written."""

    user: User
    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`error` is set where it could not be decided."""

    allowed: bool
    reason: str = ""
    error: str | None = None
    cel_type: ClassVar[Type] = DECISION


class Authorizer(Protocol):
    """Decides as an API server's authorizers do. Must not raise: what went wrong is Decision.error."""

    def authorize(self, attributes: Attributes) -> Decision: ...


@dataclass(frozen=True, slots=True)
class AuthorizerValue:
    """The value for a variable of type AUTHORIZER."""

    port: Authorizer
    user: User
    cel_type: ClassVar[Type] = AUTHORIZER


@dataclass(frozen=True, slots=True)
class _Check:
    port: Authorizer
    asked: Attributes

    def check(self, verb: str) -> Decision:
        return self.port.authorize(replace(self.asked, verb=verb))


@dataclass(frozen=True, slots=True)
class PathCheck(_Check):
    cel_type: ClassVar[Type] = PATH_CHECK


@dataclass(frozen=True, slots=True)
class GroupCheck(_Check):
    cel_type: ClassVar[Type] = GROUP_CHECK


@dataclass(frozen=True, slots=True)
class ResourceCheck(_Check):
    cel_type: ClassVar[Type] = RESOURCE_CHECK

    def on(self, field: str, value: str) -> ResourceCheck:
        changed: dict[str, Any] = {field: value}
        return replace(self, asked=replace(self.asked, **changed))


VALUES = (AuthorizerValue, PathCheck, GroupCheck, ResourceCheck, Decision)


def resource_check(port: Authorizer, user: User, group: str, resource: str, subresource: str = "",
                   namespace: str = "", name: str = "") -> ResourceCheck:
    """The value for `authorizer.requestResource`."""
    return ResourceCheck(port, Attributes(user, "", "", group, resource, subresource, namespace, name))


def _path(of: AuthorizerValue, path: str) -> PathCheck:
    if not path.strip():
        raise CelError("path must not be empty")
    return PathCheck(of.port, Attributes(of.user, "", path))


def _resource(of: GroupCheck, resource: str) -> ResourceCheck:
    if not resource.strip():
        raise CelError("resource must not be empty")
    return ResourceCheck(of.port, replace(of.asked, resource=resource))


def _service_account(of: AuthorizerValue, namespace: str, name: str) -> AuthorizerValue:
    if subdomain(name):
        raise CelError("Invalid service account name")
    if label(namespace):
        raise CelError("Invalid service account namespace")
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return AuthorizerValue(of.port, User(f"system:serviceaccount:{namespace}:{name}", groups))


def _on(key: str, field: str, cost: Cost) -> Overload:
    return Overload(key, (RESOURCE_CHECK, STRING), RESOURCE_CHECK, lambda of, value: of.on(field, value), cost,
                    member=True)


LIBRARY = Library("kubernetes.authz", types=(AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION), functions=(
    function("path", Overload("authorizer_path", (AUTHORIZER, STRING), PATH_CHECK, _path, CONSTANT, member=True)),
    function("group", Overload("authorizer_group", (AUTHORIZER, STRING), GROUP_CHECK,
                               lambda of, group: GroupCheck(of.port, Attributes(of.user, "", group=group)), CONSTANT,
                               member=True)),
    function("serviceAccount", Overload("authorizer_serviceaccount", (AUTHORIZER, STRING, STRING), AUTHORIZER,
                                        _service_account, CONSTANT, member=True)),
    function("resource", Overload("groupcheck_resource", (GROUP_CHECK, STRING), RESOURCE_CHECK, _resource, CONSTANT,
                                  member=True)),
    function("subresource", _on("resourcecheck_subresource", "subresource", CONSTANT)),
    function("namespace", _on("resourcecheck_namespace", "namespace", CONSTANT)),
    function("name", _on("resourcecheck_name", "name", CONSTANT)),
    function("check",
             Overload("pathcheck_check", (PATH_CHECK, STRING), DECISION, lambda of, verb: of.check(verb), CHECK,
                      member=True),
             Overload("resourcecheck_check", (RESOURCE_CHECK, STRING), DECISION, lambda of, verb: of.check(verb), CHECK,
                      member=True)),
    function("errored", Overload("decision_errored", (DECISION,), BOOL, lambda of: of.error is not None, CONSTANT,
                                 member=True)),
    function("error", Overload("decision_error", (DECISION,), STRING, lambda of: of.error or "", CONSTANT,
                               member=True)),
    function("allowed", Overload("decision_allowed", (DECISION,), BOOL, lambda of: of.allowed, CONSTANT, member=True)),
    function("reason", Overload("decision_reason", (DECISION,), STRING, lambda of: of.reason, CONSTANT, member=True)),
))
SELECTORS = Library("kubernetes.authzSelectors", types=(RESOURCE_CHECK,), functions=(
    function("fieldSelector", _on("authorizer_fieldselector", "field_selector", SELECTOR)),
    function("labelSelector", _on("authorizer_labelselector", "label_selector", SELECTOR)),
))
