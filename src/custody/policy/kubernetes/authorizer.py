"""`authorizer` of CEL: whether who asks may do something, asked of the API server by a SubjectAccessReview."""

from __future__ import annotations

import json
from typing import Any

from custody.errors import CustodyError
from custody.policy.cel.constraints import resource_asked
from custody.policy.given import Given
from custody.ports.lookup import ApiCall
from policylang.cel.libraries.kubernetes.authorizer import Attributes, AuthorizerValue, Decision, User, resource_check

_PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Reviews:
    """policylang's Authorizer, for one request."""

    def __init__(self, given: Given) -> None:
        self._given = given

    def authorize(self, attributes: Attributes) -> Decision:
        if attributes.field_selector or attributes.label_selector:
            return Decision(False, error="selectors of an authorizer check are not evaluated by custody yet")
        spec: dict[str, Any] = {"user": attributes.user.name}
        if attributes.user.groups:
            spec["groups"] = [*attributes.user.groups]
        if attributes.user.uid:
            spec["uid"] = attributes.user.uid
        if attributes.path:
            spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
        else:
            spec["resourceAttributes"] = {name: value for name, value in (
                ("verb", attributes.verb), ("group", attributes.group), ("resource", attributes.resource),
                ("subresource", attributes.subresource), ("namespace", attributes.namespace),
                ("name", attributes.name)) if value}
        body = json.dumps({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
                          sort_keys=True)
        try:
            answer = self._given.answers.value(ApiCall(_PATH, "POST", body))
        except CustodyError as error:
            return Decision(False, error=error.message)
        status = answer.get("status") if isinstance(answer, dict) else None
        if not isinstance(status, dict):
            return Decision(False, error="the API server's answer is no SubjectAccessReview")
        return Decision(status.get("allowed") is True, str(status.get("reason") or ""),
                        str(status["evaluationError"]) if status.get("evaluationError") else None)


def authorizers(given: Given) -> dict[str, Any]:
    """The variables `authorizer` and `authorizer.requestResource`."""
    request, port = given.request, Reviews(given)
    user = User(request.user.username, request.user.groups, request.user.uid)
    resource = resource_asked(request)
    check = resource_check(port, user, resource.group, resource.resource, request.subresource, request.namespace,
                           request.name)
    return {"authorizer": AuthorizerValue(port, user), "authorizer.requestResource": check}
