"""Templates, constraints and requests, written short."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custody.admission.certs import ServingCertificate
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Kind, Request
from custody.ports.lookup import Answer, ExternalData, Question

Json = dict[str, Any]
NOW = datetime(2026, 11, 29, tzinfo=UTC)
LABELS = """package k8srequiredlabels

violation[{"msg": msg, "details": {"missing": missing}}] {
  provided := {label | input.review.object.metadata.labels[label]}
  required := {label | label := input.parameters.labels[_]}
  missing := required - provided
  count(missing) > 0
  msg := sprintf("you must provide labels: %v", [missing])
}
"""
SCHEMA: Json = {"type": "object", "properties": {"labels": {"type": "array", "items": {"type": "string"}}}}


def template(source: str | Json = LABELS, *, kind: str = "K8sRequiredLabels", schema: Json | None = SCHEMA,
             version: str = "v1", **target: Any) -> Json:
    """Of Rego, or of a K8sNativeValidation source."""
    code: Json = {"rego": source} if isinstance(source, str) else {
        "code": [{"engine": "K8sNativeValidation", "source": source}]}
    crd: Json = {"names": {"kind": kind}}
    if schema is not None:
        crd["validation"] = {"openAPIV3Schema": schema}
    return {"apiVersion": f"templates.gatekeeper.sh/{version}", "kind": "ConstraintTemplate",
            "metadata": {"name": kind.lower()}, "spec": {"crd": {"spec": crd}, "targets": [
                {"target": "admission.k8s.gatekeeper.sh", **code, **target}]}}


def constraint(parameters: Json | None = None, *, kind: str = "K8sRequiredLabels", name: str = "must-have",
               **spec: Any) -> Json:
    parameters = {"labels": ["team"]} if parameters is None else parameters
    return {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind, "metadata": {"name": name},
            "spec": {"parameters": parameters, **spec}}


_CERTIFICATE = ServingCertificate(Path(tempfile.mkdtemp(prefix="custody-authority-")), ["localhost"])
_CERTIFICATE.ensure(NOW)
AUTHORITY = _CERTIFICATE.ca_bundle.decode()
shutil.rmtree(_CERTIFICATE.folder)


def provider(name: str, *, version: str = "v1beta1", **spec: Any) -> Json:
    written = {"url": f"https://{name}.example/ask", "timeout": 1,
               "caBundle": base64.b64encode(AUTHORITY.encode()).decode(), **spec}
    return {"apiVersion": f"externaldata.gatekeeper.sh/{version}", "kind": "Provider", "metadata": {"name": name},
            "spec": {key: value for key, value in written.items() if value is not None}}


def question(name: str, *keys: str) -> ExternalData:
    """What `provider` is asked."""
    return ExternalData(name, keys, f"https://{name}.example/ask", 1, AUTHORITY)


def pod(name: str = "web", *, namespace: str = "default", labels: Json | None = None, **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"containers": [{"name": "main", "image": "nginx"}], **spec}}


def asked(document: Json, operation: str = "CREATE", old: Json | None = None, *, existing: bool = False) -> Request:
    created = Request.create(document)
    return Request(operation=operation, kind=created.kind, namespace=created.namespace, name=created.name,
                   object=None if operation == "DELETE" else document,
                   old_object=document if operation == "DELETE" else old, existing=existing)


def judged(policies: Sequence[Json] | PolicySet, request: Request | Json, answers: Mapping[Question, Answer] = {},
           **context: Any) -> Decision:
    loaded = policies if isinstance(policies, PolicySet) else PolicySet.load(json.loads(json.dumps(policies)))
    return decide(request if isinstance(request, Request) else asked(request), {}, loaded,
                  Context(now=NOW, **context), answers=answers)


def messages(decision: Decision) -> list[str]:
    return [result.message for result in decision.results if result.outcome in ("fail", "error")]


__all__ = ["Kind"]
