"""What ValidatingPolicies and ImageValidatingPolicies say beside their expressions, and the rules that one makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.cel.autogen import generated, pod_controllers
from custody.policy.cel.environment import Expressions
from custody.policy.fields import Fields
from custody.policy.rule import Policy, Rule
from policylang.cel.compile.program import Program

VERSIONS = ("v1", "v1beta1", "v1alpha1")
ACTIONS = ("Deny", "Audit", "Warn")
JSON = ""
"""The operation of a request that is a JSON document, and no request to an API server."""


class Head(NamedTuple):
    """What a policy says beside its expressions."""

    policy: Policy
    name: str
    namespace: str
    actions: tuple[str, ...]
    admission: bool
    json: bool


class Validation(NamedTuple):
    program: Program
    message: str
    expression: Program | None


class Heading(NamedTuple):
    """A document whose expressions are not compiled yet."""

    head: Head
    spec: Fields
    written: dict[str, Any]
    controllers: list[str] | None
    autogen: Fields
    """What of `autogen` is beside its pod controllers, which the kind of policy takes."""

    def compiled(self, rule: Callable[[Fields, Head, str], Rule], expressions: Sequence[str]) -> Policy:
        """The policy: a rule of its own, and one for each way in which pod templates stand in other objects.

        `expressions` are the fields of a spec that `autogen` rewrites. Raises MalformedError, UnsupportedError.
        """
        self.autogen.done()
        policy = self.head.policy
        policy.rules = [rule(self.spec, self.head, "")]
        if not self.head.json:
            kept = {field: value for field, value in self.written.items() if field in expressions}
            policy.rules += [rule(Fields(made.spec, "spec"), self.head, made.config)
                             for made in generated(kept, self.controllers)]
        return policy


def compile_heading(document: dict[str, Any], engine: str) -> Heading:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    top = Fields(document, "")
    kind, version = top.need("kind", str), top.need("apiVersion", str)
    if version.partition("/")[2] not in VERSIONS:
        raise UnsupportedError("apiVersion", f"{version} {kind} is not evaluated by custody yet",
                               hint=", ".join(VERSIONS) + " are")
    metadata = Fields(top.need("metadata", dict), "metadata")
    name = metadata.need("name", str)
    namespace = (metadata.take("namespace", str) or "default") if kind.startswith("Namespaced") else ""
    written = top.need("spec", dict)
    spec = Fields(written, "spec")
    top.any("status")
    top.done()
    failure_policy = spec.take("failurePolicy", str) or "Fail"
    if failure_policy not in ("Fail", "Ignore"):
        raise MalformedError("spec.failurePolicy", got=failure_policy, expected="Fail or Ignore")
    actions = tuple(spec.texts("validationActions") or ["Deny"])
    if unknown := [action for action in actions if action not in ACTIONS]:
        raise MalformedError("spec.validationActions", got=unknown[0], expected=", ".join(ACTIONS))
    timeout = _timeout(spec.inner("webhookConfiguration"))
    mode, admission, background = _evaluation(spec.inner("evaluation"))
    policy = Policy(f"{namespace}/{name}" if namespace else name, engine, failure_policy, timeout, background,
                    kind=kind)
    autogen = spec.inner("autogen")
    return Heading(Head(policy, name, namespace, actions, admission, mode == "JSON"), spec, written,
                   pod_controllers(autogen), autogen or Fields({}, "spec.autogen"))


def compile_validation(fields: Fields, expressions: Expressions) -> Validation:
    """Raises MalformedError, UnsupportedError."""
    text, message, expression = (fields.take(name, str) or "" for name in ("expression", "message",
                                                                           "messageExpression"))
    fields.only("reason", "Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge")
    fields.done()
    program = expressions.truth(text, fields.path("expression"))
    said = expressions.text(expression, fields.path("messageExpression")) if expression else None
    return Validation(program, message, said)


def _timeout(fields: Fields | None) -> int | None:
    if fields is None:
        return None
    timeout = fields.take("timeoutSeconds", int)
    fields.done()
    if timeout is not None and not 1 <= timeout <= 30:
        raise MalformedError(fields.path("timeoutSeconds"), got=timeout, expected="1 to 30")
    return timeout


def _evaluation(fields: Fields | None) -> tuple[str, bool, bool]:
    """(mode, whether requests are judged, whether what lies in a cluster is)"""
    if fields is None:
        return "Kubernetes", True, True
    mode = fields.take("mode", str) or "Kubernetes"
    enabled = []
    for name in ("admission", "background"):
        inner = fields.inner(name)
        enabled.append(inner is None or inner.take("enabled", bool) is not False)
        if inner is not None:
            inner.done()
    fields.done()
    if mode not in ("Kubernetes", "JSON"):
        raise UnsupportedError(fields.path("mode"), f"{mode!r} is not evaluated by custody yet",
                               hint="Kubernetes and JSON are")
    return mode, enabled[0], enabled[1]
