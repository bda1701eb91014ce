"""Where objects lie at the API server, and which ones a selector finds: what rules about other objects look up."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from custody.policy.given import Given
from custody.policy.kinds import Selector, builtin, guessed_plural
from custody.policy.lookup import LookupFailedError
from custody.policy.worlds import path_of
from custody.ports.lookup import ApiCall
from policylang.errors import Shape


def plural_of(api_version: str, kind: str) -> str:
    """The resource of a kind; for one that is not Kubernetes' own, as Kubernetes forms plurals."""
    group, _, version = api_version.rpartition("/")
    for target in builtin().find(Selector(group, version, kind, "")):
        if target.resource.group == group:
            return target.resource.plural
    return guessed_plural(kind)


def served(api_version: str, kind: str) -> str:
    """The apiVersion that is meant by one with wildcards, as Kubernetes' own kinds are served."""
    if "*" not in api_version:
        return api_version
    group, _, version = api_version.rpartition("/")
    targets = builtin().find(Selector(group or "*", version, kind, ""))
    if not targets:
        return api_version
    resource = targets[0].resource
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def get(given: Given, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
    """One object; None where it is not there. Raises UnansweredError, LookupFailedError."""
    return _of(given, ApiCall(path_of(api_version, plural_of(api_version, kind), namespace, name)))


def listed(given: Given, api_version: str, kind: str, namespace: str = "",
           selector: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Those in a namespace, or in all, that a metav1.LabelSelector finds. Raises UnansweredError, LookupFailedError."""
    path = path_of(api_version, plural_of(api_version, kind), namespace)
    text = selection(selector or {})
    found = _of(given, ApiCall(f"{path}?{urlencode({'labelSelector': text})}" if text else path))
    items = (found or {}).get("items")
    return [{"apiVersion": api_version, "kind": kind, **item} for item in items or () if isinstance(item, dict)]


def _of(given: Given, question: ApiCall) -> dict[str, Any] | None:
    answer = given.answers.value(question)
    if answer is not None and not isinstance(answer, dict):
        raise LookupFailedError(question, f"got {Shape(answer)}, expected an object")
    return answer


def selection(selector: dict[str, Any]) -> str:
    """A metav1.LabelSelector as the API server's query has it."""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for written in selector.get("matchExpressions") or ():
        key, operator, values = written.get("key"), written.get("operator"), ",".join(written.get("values") or ())
        terms.append({"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})",
                      "DoesNotExist": f"!{key}"}.get(str(operator), str(key)))
    return ",".join(terms)
