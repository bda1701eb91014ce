"""What the new policy keeps of the old one beside its rules: names, labels, annotations, when it is asked."""

from __future__ import annotations

from typing import Any

from custody.policy.kyverno.autogen import ANNOTATION

_DROPPED = (ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration", "kyverno.io/kyverno-version",
            "policies.kyverno.io/minversion", "kyverno.io/kubernetes-version")

PLURAL = {"CronJob": "cronjobs", "DaemonSet": "daemonsets", "Deployment": "deployments", "Job": "jobs",
          "ReplicaSet": "replicasets", "ReplicationController": "replicationcontrollers",
          "StatefulSet": "statefulsets"}
"""What Kyverno's controllers are called in `autogen.podControllers`."""


def policy(document: dict[str, Any], kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A policies.kyverno.io/v1 document of a kind, or its namespaced form where the old one is."""
    metadata = document["metadata"]
    kept = {field: value for field in ("labels", "annotations")
            if (value := {key: text for key, text in (metadata.get(field) or {}).items() if key not in _DROPPED})}
    namespaced = document["kind"] in ("Policy", "CleanupPolicy")
    place = {"namespace": metadata.get("namespace") or "default"} if namespaced else {}
    return {"apiVersion": "policies.kyverno.io/v1", "kind": f"Namespaced{kind}" if namespaced else kind,
            "metadata": {"name": name, **place, **kept}, "spec": spec}


def asked(spec: dict[str, Any]) -> dict[str, Any]:
    """`failurePolicy`, `webhookConfiguration` and `evaluation`."""
    webhook = spec.get("webhookConfiguration") or {}
    made: dict[str, Any] = {}
    if failure := webhook.get("failurePolicy") or spec.get("failurePolicy"):
        made["failurePolicy"] = failure
    if seconds := webhook.get("timeoutSeconds") or spec.get("webhookTimeoutSeconds"):
        made["webhookConfiguration"] = {"timeoutSeconds": seconds}
    evaluation = {field: {"enabled": False} for field in ("admission", "background") if spec.get(field) is False}
    return {**made, **({"evaluation": evaluation} if evaluation else {})}
