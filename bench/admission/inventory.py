"""The inventory: memory of many objects, a look-up, a change, and a view, each beside plain dicts.

    python bench/admission/inventory.py [OBJECTS]
"""

from __future__ import annotations

import json
import resource
import sys
import time

import msgspec

from custody.policy.gatekeeper.inventory import Kept


def document(number: int) -> bytes:
    """A pod as an API server has it, without managedFields: 2.4 KB."""
    name = f"web-{number:06}"
    return json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "namespace": f"team-{number % 200}", "uid": f"{number:032x}", "resourceVersion": str(number),
            "creationTimestamp": "2026-11-29T12:00:00Z", "labels": {"app": f"web-{number % 50}", "team": f"t{number}"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"web-{number}", "uid": name}]},
        "spec": {"containers": [{
            "name": "web", "image": f"registry.example.com/team/web:{number}", "ports": [{"containerPort": 8080}],
            "env": [{"name": f"SETTING_{at}", "value": f"value of {number}"} for at in range(12)],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}],
            "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "nodeName": f"node-{number % 100}", "serviceAccountName": "default", "restartPolicy": "Always",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": "2026-11-29T12:00:00Z"}
            for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]}}, separators=(",", ":")).encode()


def memory() -> float:
    """MB resident now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1e6


def main(count: int) -> None:
    objects, before = Kept(), memory()
    begun = time.perf_counter()
    for number in range(count):
        objects.put("v1", "Pod", f"team-{number % 200}", f"web-{number:06}", document(number))
    took = time.perf_counter() - begun
    print(f"{objects.count} objects of {objects.size / objects.count:.0f} bytes: {memory() - before:.0f} MB, put in "
          f"{took:.1f} s with making them")
    view = objects.view()
    begun = time.perf_counter()
    for number in range(100_000):
        view.get("namespace").get(f"team-{number % 200}").get("v1").get("Pod")
    print(f"look-up by namespace and kind {(time.perf_counter() - begun) * 10:.2f} µs")
    view = objects.view()
    begun = time.perf_counter()
    for number in range(5_000):
        view.get("namespace").get(f"team-{number % 200}").get("v1").get("Pod").get(f"web-{number:06}").get("spec")
    print(f"look-up and reading one object {(time.perf_counter() - begun) * 200:.2f} µs "
          f"(of which decoding {decoding():.2f} µs)")
    begun = time.perf_counter()
    for number in range(2_000):
        objects.put("v1", "Pod", f"team-{number % 200}", f"web-{number:06}", b"{}")
        objects.view()
    print(f"a change with a view after each {(time.perf_counter() - begun) * 500:.2f} µs")


def decoding() -> float:
    data = document(7)
    begun = time.perf_counter()
    for _ in range(5_000):
        msgspec.json.decode(data)
    return (time.perf_counter() - begun) * 200


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
