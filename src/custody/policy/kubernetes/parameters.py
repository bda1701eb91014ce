"""Parameters of admission policies: `paramKind` of a policy, `paramRef` of a binding (admissionregistration.k8s.io/v1).

As k8s.io/apiserver pkg/admission/plugin/policy/generic CollectParams finds them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import builtin, resource_of
from custody.policy.lookup import LookupFailedError
from custody.policy.model import Kind
from custody.policy.worlds import path_of
from custody.ports.lookup import ApiCall
from policylang.cel.values.errors import CelError

_WORDS = {"In": "in", "NotIn": "notin"}
MAX_PARAMETERS = 100
"""Objects that one binding may select: each is one more evaluation."""


class ParameterKind:
    """`paramKind`."""

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError."""
        self.version, kind = fields.need("apiVersion", str), fields.need("kind", str)
        fields.done()
        group, _, version = self.version.rpartition("/")
        self.kind = Kind(kind, version, group)
        self.namespaced = builtin().namespaced(self.kind) is not False
        """Of a kind that is not known it is taken to be."""
        self.plural = resource_of(self.kind).resource


class ParameterRef:
    """`paramRef`. Without one a policy is evaluated with null."""

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError."""
        self.name, self.namespace = fields.take("name", str) or "", fields.take("namespace", str) or ""
        selector = fields.inner("selector")
        self._labels = None if selector is None else _selector(selector)
        action = fields.take("parameterNotFoundAction", str) or "Deny"
        fields.done()
        if bool(self.name) == (selector is not None):
            raise MalformedError(fields.where, got="both or neither", expected="one of name and selector")
        if action not in ("Allow", "Deny"):
            raise MalformedError(fields.path("parameterNotFoundAction"), got=action, expected="Allow or Deny")
        self.denies = action == "Deny"

    def collect(self, kind: ParameterKind, given: Given) -> list[dict[str, Any]]:
        """The objects; [] where there are none and that is allowed.

        Raises CelError where it is not, UnansweredError, LookupFailedError.
        """
        namespace = self.namespace
        if kind.namespaced and not namespace:
            namespace = given.request.namespace
            if not namespace:
                raise CelError("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
        if self.namespace and not kind.namespaced:
            raise CelError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        path = path_of(kind.version, kind.plural, namespace, self.name)
        question = ApiCall(path if not self._labels else f"{path}?{urlencode({'labelSelector': self._labels})}")
        answer = given.answers.value(question)
        objects = _objects(answer, question, kind) if not self.name else [] if answer is None else [answer]
        if len(objects) > MAX_PARAMETERS:
            raise CelError(f"more than {MAX_PARAMETERS} parameters")
        if not objects and self.denies:
            raise CelError("no params found for policy binding with `Deny` parameterNotFoundAction")
        return objects


def _objects(answer: Any, question: ApiCall, kind: ParameterKind) -> list[dict[str, Any]]:
    items = answer.get("items") if isinstance(answer, dict) else []
    if answer is not None and not isinstance(items, list):
        raise LookupFailedError(question, "got no list, expected one")
    return [{"apiVersion": kind.version, "kind": kind.kind.kind, **item} for item in items or ()
            if isinstance(item, dict)]


def _selector(fields: Fields) -> str:
    """As the API server takes it in a query."""
    parts = [f"{key}={value}" for key, value in sorted(fields.text_map("matchLabels").items())]
    for entry in fields.each("matchExpressions"):
        key, operator, values = entry.need("key", str), entry.need("operator", str), entry.texts("values")
        entry.done()
        if operator in _WORDS:
            parts.append(f"{key} {_WORDS[operator]} ({','.join(values)})")
        elif operator in ("Exists", "DoesNotExist"):
            parts.append(key if operator == "Exists" else f"!{key}")
        else:
            raise MalformedError(entry.where, got=operator, expected="In, NotIn, Exists or DoesNotExist")
    fields.done()
    return ",".join(parts)
