"""`validate.podSecurity`: a level of the Pod Security Standards (Kyverno validate_pss.go)."""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.kyverno.judgement import Judge, Judgement, Subject
from custody.policy.model import Outcome
from custody.policy.podfields import HOLDERS
from custody.policy.podsecurity import standard


def compile_security(fields: Fields, rule: str) -> Judge:
    """Raises MalformedError, UnsupportedError."""
    level, version = fields.need("level", str), fields.take("version", str) or "latest"
    fields.done()
    if level not in standard.LEVELS:
        raise MalformedError(fields.path("level"), got=level, expected=" or ".join(standard.LEVELS))
    standard.parse_version(version, fields.path("version"))

    def judge(subject: Subject) -> Judgement | None:
        request = subject.given.request
        if request.operation == "DELETE":
            return None
        try:
            spec, metadata = _pod_of(request.kind.kind, subject.given.object or {})
            failures = standard.evaluate(spec, metadata, level, version)
        except MalformedError as error:
            return Judgement(Outcome.ERROR, f"failed to evaluate PodSecurity: {error.message}")
        if not failures:
            return Judgement(Outcome.PASS, f"Validation rule '{rule}' passed.")
        return Judgement(Outcome.FAIL, f"Validation rule '{rule}' failed. It violates PodSecurity "
                         f'"{level}:{version}": {standard.aggregate(failures)}')

    return judge


def _pod_of(kind: str, document: Any) -> tuple[Any, Any]:
    """(PodSpec, metadata) of a pod or of a controller's template. Raises MalformedError for other kinds."""
    pointer = HOLDERS.get(kind)
    if pointer is None:
        raise MalformedError("kind", got=kind, expected="a Pod, or what makes pods")
    for step in pointer.split("/")[1:-1]:
        document = document.get(step) if isinstance(document, dict) else None
    return (document.get("spec"), document.get("metadata")) if isinstance(document, dict) else (None, None)
