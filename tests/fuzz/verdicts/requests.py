"""Generated admission requests: what an API server asks, and what a hostile or broken one could."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from tests.fuzz.verdicts.world import DIGESTS, NAMESPACES

IMAGES: list[Any] = [
    "ghcr.io/o/a:1", "ghcr.io/o/a:1", "ghcr.io/o/a:2", "ghcr.io/o/b:3", "ghcr.io/o/b:4", "ghcr.io/o/b:5",
    "GHCR.IO/o/a:1", "ghcr.io:443/o/a:1", "ghcr.io:5000/o/a:1", "nginx", "nginx:1", f"ghcr.io/o/a:1@{DIGESTS['a']}",
    f"ghcr.io/o/a:1@{DIGESTS['c']}", f"ghcr.io/o/a@{DIGESTS['b']}", "docker.io/library/nginx:1",
    "index.docker.io/nginx:2", "ghcr.io/o/base:1", "ghcr.io/o/base:2", f"ghcr.io/o/base@{DIGESTS['c']}",
    f"ghcr.io/o/a@{DIGESTS['a']}", "ghcr.io/o/a:nothing"]
_GOOD: list[Any] = ["ghcr.io/o/a:1", "GHCR.IO/o/a:1", f"ghcr.io/o/a:1@{DIGESTS['a']}", "ghcr.io/o/base:1"]
UNREADABLE: list[Any] = ["UPPER/x", "bad name", "ghcr.io/o/a@sha256:zz", 5, {"a": 1}, ["ghcr.io/o/a:1"], "", None]
_WRONG: list[Any] = [None, 5, "text", [], {}, [5], [None], {"a": None}, True, [[]], "ü", 1.5, -1]
_USERS: list[Any] = [
    {}, {}, None, {"username": "alice", "groups": ["dev"]}, {"username": "bob", "groups": None, "extra": None},
    {"username": "system:serviceaccount:default:builder", "uid": "u", "groups": ["system:serviceaccounts"]},
    {"username": "system:serviceaccount:odd", "groups": []}, {"username": "ünïcode\n", "extra": {"scopes": None}},
    {"username": "root", "groups": ["system:masters"], "extra": {"scopes": ["a", "b"]}}]
_GVR = {"Pod": ("pods", "v1", ""), "Deployment": ("deployments", "v1", "apps"), "Namespace": ("namespaces", "v1", ""),
        "ConfigMap": ("configmaps", "v1", ""), "CronJob": ("cronjobs", "v1", "batch"),
        "ClusterRole": ("clusterroles", "v1", "rbac.authorization.k8s.io"), "Widget": ("widgets", "v1", "example.org"),
        "List": ("lists", "v1", "")}
_SUBRESOURCES = {
    "ephemeralcontainers": ("UPDATE", "Pod", "Pod", ""), "resize": ("UPDATE", "Pod", "Pod", ""),
    "status": ("UPDATE", "Pod", "Pod", ""), "exec": ("CONNECT", "Pod", "PodExecOptions", ""),
    "eviction": ("CREATE", "Pod", "Eviction", "policy"), "binding": ("CREATE", "Pod", "Binding", ""),
    "scale": ("UPDATE", "Deployment", "Scale", "autoscaling"), "finalize": ("UPDATE", "Namespace", "Namespace", ""),
    "unknown": ("UPDATE", "Widget", "Widget", "example.org")}
CLUSTER_SCOPED = ("Namespace", "ClusterRole")


def request(dice: Random) -> dict[str, Any]:
    """The `request` of an AdmissionReview."""
    made = _subresource(dice) if dice.random() < 0.18 else _plain(dice)
    made["userInfo"] = dice.choice(_USERS)
    if dice.random() < 0.15:
        made["dryRun"] = dice.choice([True, None, False])
    if dice.random() < 0.1:
        part = dice.choice(["object", "oldObject"])
        if made.get(part) is not None:
            made[part] = broken(made[part], dice)
    return made


def _plain(dice: Random) -> dict[str, Any]:
    kind = dice.choice(["Pod"] * 12 + ["Deployment"] * 3 + ["Namespace"] * 2 + ["ConfigMap", "CronJob", "ClusterRole",
                                                           "Widget", "List"])
    plural, version, group = _GVR[kind]
    namespace, name = dice.choice([*NAMESPACES]), dice.choice(["p1", "p2", "q", ""])
    new = _object(kind, group, namespace, name, dice)
    operation = dice.choice(["CREATE"] * 5 + ["UPDATE"] * 3 + ["DELETE"])
    old = None
    if operation != "CREATE":
        old = copy.deepcopy(new) if dice.random() < 0.7 else _object(kind, group, namespace, name, dice)
        if operation == "UPDATE" and dice.random() < 0.6:
            _touch(new, dice)
        if dice.random() < 0.05:
            old = None
    if kind == "Namespace":
        namespace = name
    elif kind in CLUSTER_SCOPED:
        namespace = ""
    return {"uid": "u", "kind": {"kind": kind, "version": version, "group": group},
            "resource": {"resource": plural, "version": version, "group": group} if dice.random() < 0.9 else None,
            "name": name, "namespace": namespace, "operation": operation,
            "object": None if operation == "DELETE" else new, "oldObject": old}


def _subresource(dice: Random) -> dict[str, Any]:
    name = dice.choice([*_SUBRESOURCES])
    operation, owner, kind, group = _SUBRESOURCES[name]
    plural, version, owners = _GVR[owner]
    namespace = dice.choice([*NAMESPACES])
    if kind in ("Pod", "Namespace", "Widget"):
        old: Any = _object(owner, owners, namespace, "p1", dice)
        new = copy.deepcopy(old)
        if name == "ephemeralcontainers":
            new["spec"]["ephemeralContainers"] = _holders("e", dice)
        elif dice.random() < 0.5:
            _touch(new, dice)
    else:
        new = {"kind": kind, "apiVersion": f"{group}/v1" if group else "v1", "metadata": {"name": "p1"},
               "spec": {"replicas": 3}, "command": ["sh"]}
        old = {**new, "spec": {"replicas": 1}} if operation == "UPDATE" else None
    return {"uid": "u", "kind": {"kind": kind, "version": "v1", "group": group},
            "resource": {"resource": plural, "version": version, "group": owners} if dice.random() < 0.95 else None,
            "name": "p1", "namespace": namespace, "operation": operation, "object": new, "oldObject": old,
            "subResource": name}


def _object(kind: str, group: str, namespace: str, name: str, dice: Random) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name} if name else {"generateName": "gen-"}
    if kind not in CLUSTER_SCOPED:
        metadata["namespace"] = namespace
    if dice.random() < 0.4:
        metadata["labels"] = {"app": dice.choice("abx")}
    if dice.random() < 0.2:
        metadata["annotations"] = {"note": dice.choice(["x1", "y"])}
    made: dict[str, Any] = {"apiVersion": f"{group}/v1" if group else "v1", "kind": kind, "metadata": metadata}
    match kind:
        case "Pod":
            made["spec"] = _pod_spec(dice)
        case "Deployment":
            made["spec"] = {"replicas": dice.randint(0, 3), "template": {
                "metadata": {"labels": {"app": "a"}}, "spec": _pod_spec(dice)}}
        case "CronJob":
            made["spec"] = {"jobTemplate": {"spec": {"template": {"spec": _pod_spec(dice)}}}}
        case "Namespace":
            metadata.setdefault("labels", {})["pod-security.kubernetes.io/enforce"] = dice.choice(["baseline", "none"])
        case "List":
            made["items"] = [_object("Pod", "", namespace, "inner", dice)]
        case _:
            made["data"] = {"key": "value"}
    return made


def _pod_spec(dice: Random) -> dict[str, Any]:
    images = _GOOD if dice.random() < 0.4 else IMAGES
    spec: dict[str, Any] = {"containers": _holders("c", dice, images)}
    if dice.random() < 0.3:
        spec["initContainers"] = _holders("i", dice, images)
    if dice.random() < 0.15:
        spec["volumes"] = [{"name": "v", "image": {"reference": _image(dice, images)}}]
    if dice.random() < 0.15:
        spec["hostNetwork"] = True
    if dice.random() < 0.1:
        spec["runtimeClassName"] = "gvisor"
    if dice.random() < 0.3:
        spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        for holder in spec["containers"]:
            holder["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return spec


def _holders(letter: str, dice: Random, images: list[Any] = IMAGES) -> list[dict[str, Any]]:
    return [{"name": f"{letter}{at}", "image": _image(dice, images)} for at in range(dice.choice([1, 1, 2]))]


def _image(dice: Random, images: list[Any] = IMAGES) -> Any:
    return dice.choice(UNREADABLE if dice.random() < 0.03 else images)


def _touch(made: dict[str, Any], dice: Random) -> None:
    """A change as people make it."""
    spec = made.get("spec", {})
    if "containers" in spec and dice.random() < 0.7:
        dice.choice(spec["containers"])["image"] = _image(dice)
    else:
        made["metadata"]["labels"] = {"app": dice.choice("abx")}


def broken(made: Any, dice: Random) -> Any:
    """With something wrong in the place of one of its parts."""
    if not isinstance(made, (dict, list)) or not made or dice.random() < 0.15:
        wrong = dice.choice(_WRONG)
        return wrong if not isinstance(made, dict) or "apiVersion" not in made else made | {"metadata": wrong}
    changed = copy.copy(made)
    key: Any = dice.choice([*made]) if isinstance(made, dict) else dice.randrange(len(made))
    changed[key] = broken(made[key], dice)
    return changed
