"""What expressions of Kyverno's rules may speak of: the request, and the images that it brings into a pod."""

from __future__ import annotations

import copy
from typing import Any

from custody.policy.given import Given
from custody.policy.images import Image
from custody.policy.kyverno.simulated import of_policy
from custody.policy.worlds import JMESPATH
from custody.ports.lookup import Roles
from policylang.variables import Roots, Unavailable

_REQUEST = ("object", "oldObject", "operation", "userInfo", "roles", "clusterRoles", "namespace", "name", "kind",
            "dryRun", "subResource")
_OF_WHO_ASKS = ("oldObject", "operation", "dryRun", "userInfo")
ROOTS = Roots(("request", "serviceAccountName", "serviceAccountNamespace", "images"), _REQUEST)
"""Variables of what is no rule: exceptions, cleanup policies."""
RULE_ROOTS = Roots(ROOTS.names, _REQUEST, ("clock", "random"), world=JMESPATH)
"""Variables of rules: those, and random texts."""
PREDICATE_ROOTS = Roots(None, _REQUEST)
"""Variables of conditions on attestations, where the predicate's own fields come beside those of rules."""


def variables(given: Given) -> dict[str, Any]:
    """The values of ROOTS, made once for a request."""
    known: dict[str, Any] | None = given.memo.get(variables)
    if known is None:
        known = given.memo[variables] = _variables(given)
    return known


def with_roles(data: dict[str, Any], given: Given) -> dict[str, Any]:
    """Variables with the roles of who asks, which only rules that read them look up; without those, there are none.

    Raises UnansweredError, LookupFailedError.
    """
    user, request = given.request.user, data.get("request")
    if not isinstance(request, dict) or not (user.username or user.groups):
        return data
    bound = given.answers.value(Roles(user.username, user.groups, given.request.namespace)) or {}
    roles = {name: list(bound[name]) for name in ("roles", "clusterRoles") if bound.get(name) and name not in request}
    return {**data, "request": {**request, **roles}}


def within(given: Given) -> Given:
    """The same request for one rule, whose variables are its own: `memo[variables]` is to be set."""
    inner = copy.copy(given)
    inner.memo = dict(given.memo)
    return inner


def leave(given: Given, inner: Given) -> None:
    """What was found out about the request within a rule is kept; its variables are not."""
    for key, value in inner.memo.items():
        if key is not variables:
            given.memo.setdefault(key, value)


def _variables(given: Given) -> dict[str, Any]:
    request = given.request
    parts = request.user.username.split(":")
    account = parts[2:4] if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4 else ["", ""]
    # Empty texts and lists are left out, as Go leaves them out of the AdmissionRequest that Kyverno reads.
    user = {"username": request.user.username, "uid": request.user.uid, "groups": list(request.user.groups),
            "extra": request.user.extra}
    optional = {"namespace": request.namespace, "name": request.name, "subResource": request.subresource}
    fields = {
        "object": given.object, "oldObject": request.old_object, "operation": request.operation,
        "dryRun": request.dry_run, **{key: value for key, value in optional.items() if value},
        "kind": {"group": request.kind.group, "version": request.kind.version, "kind": request.kind.kind},
        "userInfo": {key: value for key, value in user.items() if value}}
    if request.existing:
        fields = {key: value for key, value in fields.items() if key not in _OF_WHO_ASKS}
    return of_policy({"request": fields, "images": _by_holder(given), "serviceAccountName": account[1],
                      "serviceAccountNamespace": account[0]}, given)


def _by_holder(given: Given) -> dict[str, dict[str, dict[str, str]]] | Unavailable:
    if given.unreadable:
        return Unavailable(f"the images of {given.resource}: {given.unreadable[0].message}")
    images: dict[str, dict[str, dict[str, str]]] = {}
    for image in given.images:
        if image.holder in images.setdefault(image.kind, {}):  # the later one would stand for both
            return Unavailable(f"the images of {given.resource}: {image.pointer.rpartition(f'/{image.kind}/')[0]}"
                               f"/{image.kind}: got the name {image.holder!r} twice, expected each name once")
        images[image.kind][image.holder] = _parts(image)
    return images


def _parts(image: Image) -> dict[str, str]:
    """As Kyverno has them, with the canonical name; what the image's name does not have is left out."""
    ref = image.ref
    parts = {"registry": ref.registry, "path": ref.repository, "name": ref.repository.rpartition("/")[2],
             "tag": ref.tag, "digest": ref.digest, "reference": image.name, "jsonPointer": image.pointer,
             "referenceWithTag": f"{ref.name}:{ref.tag or ''}"}
    return {name: value for name, value in parts.items() if value is not None}
