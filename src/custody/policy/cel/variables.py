"""What expressions are evaluated on: the request as CEL sees it, and a policy's variables, each computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from custody.policy.cel.constraints import resource_asked
from custody.policy.given import Given
from custody.policy.lookup import LookupFailedError
from custody.policy.model import Request
from custody.ports.lookup import ApiCall
from policylang.cel.compile.program import Program
from policylang.cel.values.errors import CelError
from policylang.errors import Shape

_MEMO = "cel"


class Variables(dict[str, Any]):
    """`variables` of a policy: a value is computed where it is first used, and an error is kept as one."""

    __slots__ = ("_errors", "_programs", "_values")

    def __init__(self, programs: Mapping[str, Program], values: dict[str, Any]) -> None:
        """`values` are the environment's other variables; what is put there later, these see as well."""
        super().__init__()
        self._programs, self._values = programs, values
        self._errors: dict[str, CelError] = {}

    @property
    def environment(self) -> dict[str, Any]:
        """What expressions are evaluated on: the values as they are now, and these.

        Made anew each time. Kept in `values` themselves it would be a circle, and the whole request would wait for
        somebody to look for circles.
        """
        return {**self._values, "variables": self}

    def __missing__(self, name: str) -> Any:
        if name in self._errors:
            raise self._errors[name]
        try:
            value = self[name] = self.computed(self._programs[name], self.environment)
        except CelError as error:
            self._errors[name] = error
            raise
        return value

    def computed(self, program: Program, values: dict[str, Any]) -> Any:
        return program(values)

    def __contains__(self, name: object) -> bool:
        return name in self._programs or super().__contains__(name)


def activation(given: Given, reads: Set[str], *, absent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The environment's variables that a policy `reads`, for one evaluation; see `Variables.environment`.

    `absent` is the value of an object that is not there: null in Kubernetes, an empty map in Kyverno.
    `namespaceObject` is looked up. Raises UnansweredError, LookupFailedError.
    """
    request = given.request
    values: dict[str, Any] = {"object": absent if request.object is None else request.object,
                              "oldObject": absent if request.old_object is None else request.old_object}
    if "request" in reads:
        values["request"] = given.memo.get(_MEMO) or given.memo.setdefault(_MEMO, request_object(request))
    if "namespaceObject" in reads:
        values["namespaceObject"] = namespace_object(given)
    return values


def namespace_questions(request: Request) -> Sequence[ApiCall]:
    """What is asked for `namespaceObject`: nothing where the object lies in no namespace."""
    return (ApiCall(f"/api/v1/namespaces/{request.namespace}"),) if request.namespace else ()


def namespace_object(given: Given) -> dict[str, Any] | None:
    """The namespace that a request is in; None for what lies in none. Raises UnansweredError, LookupFailedError."""
    questions = namespace_questions(given.request)
    if not questions:
        return None
    question = questions[0]
    document = given.answers.value(question)
    if document is not None and not isinstance(document, dict):
        raise LookupFailedError(question, f"got {Shape(document)}, expected an object")
    return document


def request_object(request: Request) -> dict[str, Any]:
    """admission.k8s.io/v1 AdmissionRequest as JSON has it: what is empty and may be left out is left out."""
    resource = resource_asked(request)
    kind = {"group": request.kind.group, "version": request.kind.version, "kind": request.kind.kind}
    plural = {"group": resource.group, "version": resource.version, "resource": resource.resource}
    user: dict[str, Any] = {name: value for name, value in (
        ("username", request.user.username), ("uid", request.user.uid), ("groups", [*request.user.groups]),
        ("extra", request.user.extra)) if value}
    asked: dict[str, Any] = {
        "kind": kind, "resource": plural, "requestKind": kind, "requestResource": plural,
        "operation": request.operation, "userInfo": user, "dryRun": request.dry_run,
        "object": request.object, "oldObject": request.old_object, "options": None}
    asked |= {name: value for name, value in (
        ("name", request.name), ("namespace", request.namespace), ("subResource", request.subresource),
        ("requestSubResource", request.subresource)) if value}
    return asked
