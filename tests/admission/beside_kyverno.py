"""Requests and policies for both: Kyverno's real admission controller and custody's webhook.

`python -m tests.admission.beside_kyverno` boots an API server and Kyverno 1.17.2, posts every review to Kyverno's
webhook and writes its answers to tests/data/kyverno_webhook.json. Where custody answers otherwise the reason stands in
tests/data/kyverno_differences.toml, which test_beside_kyverno.py keeps true.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.apiserver import PEERS, TOOLS

DATA = Path(__file__).parent.parent / "data"
ANSWERS = DATA / "kyverno_webhook.json"
DIFFERENCES = DATA / "kyverno_differences.toml"
Json = dict[str, Any]

# ── policies ────────────────────────────────────────────────────────────────────────────────────────────────────────


def policy(name: str, kinds: list[str] | Json, validate: Json, *, action: str = "Enforce", **rule: Any) -> Json:
    resources = kinds if isinstance(kinds, dict) else {"kinds": kinds}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": name, "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
            "spec": {"validationFailureAction": action, "background": False, "rules": [
                {"name": "r", "match": {"any": [{"resources": resources}]}, "validate": validate, **rule}]}}


def pattern(message: str, spec: Any) -> Json:
    return {"message": message, "pattern": spec}


def deny(message: str, *conditions: tuple[str, str, Any]) -> Json:
    return {"message": message, "deny": {"conditions": {"any": [
        {"key": key, "operator": operator, "value": value} for key, operator, value in conditions]}}}


POLICIES: list[Json] = [
    policy("registries", ["Pod"], deny("registry.", (
        "{{ images.containers.*.registry }}", "AnyNotIn", ["ghcr.io", "docker.io", "registry.k8s.io"]))),
    policy("images", ["Pod"], pattern("image.", {"spec": {
        "=(initContainers)": [{"image": "!*:latest"}], "=(ephemeralContainers)": [{"image": "!*:latest"}],
        "containers": [{"image": "!*:latest"}]}})),
    policy("privileged", ["Pod"], pattern("privileged.", {"spec": {
        kind: [{"=(securityContext)": {"=(privileged)": "false"}}]
        for kind in ("=(initContainers)", "=(ephemeralContainers)", "containers")}})),
    policy("host", ["v1/Pod"], pattern("host.", {"spec": {"=(hostNetwork)": "false", "=(hostPID)": "false"}})),
    policy("labels", ["Deployment", "apps/v1/StatefulSet"], pattern("labels.", {
        "metadata": {"labels": {"app": "?*"}}})),
    policy("exec", ["Pod/exec"], deny("no exec.", ("{{ request.namespace }}", "Equals", "prod"))),
    policy("attach", ["Pod/attach", "v1/Pod/portforward"], deny("no attach.", (
        "{{ request.namespace }}", "AnyIn", ["prod", "stage"]))),
    policy("scale", ["Deployment/scale"], deny("too many.", (
        "{{ request.object.spec.replicas }}", "GreaterThan", 5))),
    policy("status", ["Deployment/status"], deny("no status.", ("{{ request.namespace }}", "Equals", "prod"))),
    policy("any-sub", ["*/eviction"], deny("no eviction.", ("{{ request.namespace }}", "Equals", "prod"))),
    policy("nodeport", ["Service"], pattern("nodeport.", {"spec": {"=(type)": "!NodePort"}})),
    policy("secrets", {"kinds": ["Secret"], "operations": ["DELETE"]}, deny("keep secrets.", (
        "{{ request.oldObject.metadata.labels.keep || '' }}", "Equals", "yes"))),
    policy("configmaps", {"kinds": ["ConfigMap"], "operations": ["UPDATE", "DELETE"]}, deny("frozen.", (
        "{{ request.operation }}", "AnyIn", ["UPDATE", "DELETE"])),
        exclude={"any": [{"resources": {"names": ["free-*"]}}]}),
    policy("users", ["Pod"], deny("robots.", ("{{ serviceAccountName }}", "Equals", "robot")),
           preconditions={"all": [{"key": "{{ request.namespace }}", "operator": "Equals", "value": "prod"}]}),
    policy("namespaces", ["Namespace"], pattern("team.", {"metadata": {"labels": {"team": "?*"}}})),
    policy("selector", {"kinds": ["Pod"], "selector": {"matchLabels": {"tier": "back*"}}},
           pattern("limits.", {"spec": {"containers": [{"resources": {"limits": {"memory": "?*"}}}]}})),
    policy("generated", {"kinds": ["Pod"], "names": ["job-*"]}, pattern("owner.", {
        "metadata": {"annotations": {"owner": "?*"}}})),
    policy("any-of", ["Pod"], {"message": "nonroot.", "anyPattern": [
        {"spec": {"=(securityContext)": {"=(runAsUser)": ">0"}}}, {"metadata": {"labels": {"root": "allowed"}}}]}),
    policy("strict-update", ["Pod"], {**pattern("team label.", {"metadata": {"=(labels)": {"=(team)": "a*"}}}),
                                      "allowExistingViolations": False}),
    policy("audited", ["Pod"], pattern("advice.", {"metadata": {"labels": {"advice": "taken"}}}), action="Audit"),
    policy("crons", ["batch/v1/CronJob"], pattern("suspended.", {"spec": {"=(suspend)": "false"}})),
    policy("wild", {"kinds": ["*"], "operations": ["CREATE"]}, pattern("forbidden label.", {
        "metadata": {"=(labels)": {"X(forbidden)": "null"}}})),
]

# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────

RESOURCES = {
    "Pod": ("", "v1", "pods"), "Deployment": ("apps", "v1", "deployments"),
    "StatefulSet": ("apps", "v1", "statefulsets"), "Service": ("", "v1", "services"),
    "Secret": ("", "v1", "secrets"), "ConfigMap": ("", "v1", "configmaps"), "Namespace": ("", "v1", "namespaces"),
    "CronJob": ("batch", "v1", "cronjobs"), "ServiceAccount": ("", "v1", "serviceaccounts")}
SUBRESOURCE_KINDS = {"exec": ("", "v1", "PodExecOptions"), "attach": ("", "v1", "PodAttachOptions"),
                     "portforward": ("", "v1", "PodPortForwardOptions"), "scale": ("autoscaling", "v1", "Scale"),
                     "eviction": ("policy", "v1", "Eviction")}


def request(operation: str, kind: str, document: Json | None, *, old: Json | None = None, namespace: str = "default",
            sub: str = "", user: str = "ann", dry_run: bool = False, name: str | None = None) -> Json:
    group, version, plural = RESOURCES[kind]
    kinds = SUBRESOURCE_KINDS.get(sub, (group, version, kind))
    shown = dict(zip(("group", "version", "kind"), kinds, strict=True))
    resource = {"group": group, "version": version, "resource": plural}
    metadata = (document or old or {}).get("metadata", {})
    body = {"uid": "00000000-0000-0000-0000-000000000001", "kind": shown, "resource": resource, "requestKind": shown,
            "requestResource": resource, "operation": operation, "userInfo": {"username": user, "groups": [
                "system:authenticated"]}, "object": document, "oldObject": old, "dryRun": dry_run,
            "name": name if name is not None else metadata.get("name", ""), "options": None}
    if kind != "Namespace":
        body["namespace"] = namespace
    if sub:
        body |= {"subResource": sub, "requestSubResource": sub}
    return body


def pod(name: str = "web", image: Any = "ghcr.io/myorg/web:1", *, namespace: str = "default", labels: Any = None,
        annotations: Any = None, security: Any = None, generate: str | None = None, **spec: Any) -> Json:
    container: Json = {"name": "web", "image": image}
    if security is not None:
        container["securityContext"] = security
    metadata: Json = {"namespace": namespace, "labels": labels or {"advice": "taken"}}
    metadata |= {"generateName": generate} if generate else {"name": name}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def thing(kind: str, name: str, *, namespace: str = "default", labels: Any = None, **fields: Any) -> Json:
    group, version, _ = RESOURCES[kind]
    metadata: Json = {"name": name}
    if kind != "Namespace":
        metadata["namespace"] = namespace
    if labels is not None:
        metadata["labels"] = labels
    return {"apiVersion": f"{group}/{version}" if group else version, "kind": kind, "metadata": metadata, **fields}


IMAGES = ["ghcr.io/myorg/web:1", "nginx:1", "docker.io/library/nginx:1", "docker.io/nginx:1",
          "index.docker.io/acme/x:1", "GHCR.IO/myorg/web:1", "ghcr.io:443/myorg/web:1",
          "registry-1.docker.io/acme/x:1", "quay.io/x/y:1",
          "evil.example/x:1", "ghcr.io/myorg/web:latest", "ghcr.io/myorg/web", "nginx", "localhost:5000/x:1",
          "ghcr.io/myorg/web@sha256:" + "a" * 64, "ghcr.io/myorg/web:1@sha256:" + "a" * 64,
          "evil.example/x@sha384:" + "a" * 96, "evil.example/x:latest@sha256:" + "b" * 64, "DOCKER.IO/acme/x:1",
          "docker.io:443/acme/x:1", "registry.k8s.io/pause:3.9", "library/nginx:1", "10.0.0.1:5000/x:1",
          "ghcr.io/myorg/Junk:1", "x.io:99999/a:1", "a..b.example/x:1", "[::1]:5000/x:1", "ghcr.io/a:b:c", "UPPER/case"]
PRIVILEGED = {"privileged": True}


def cases() -> Iterator[tuple[str, Json]]:
    """(name, AdmissionRequest), about 250 of them."""
    for image in IMAGES:
        yield f"image {image}", request("CREATE", "Pod", pod(image=image))
        beside = pod(image="evil.example/x:1")
        beside["spec"]["containers"].append({"name": "side", "image": image})
        yield f"evil beside {image}", request("CREATE", "Pod", beside)
        yield f"init {image}", request("CREATE", "Pod", pod(initContainers=[{"name": "i", "image": image}]))
    for image in IMAGES[:12]:
        volume = {"name": "v", "image": {"reference": image}}
        yield f"image volume {image}", request("CREATE", "Pod", pod(volumes=[volume]))
    # Containers of every kind, privileged and not; hosts; labels; users; names.
    for kind in ("initContainers", "ephemeralContainers"):
        for security in ({}, PRIVILEGED):
            extra = {kind: [{"name": "x", "image": "ghcr.io/myorg/x:1", "securityContext": security}]}
            yield f"{kind} {security}", request("CREATE", "Pod", pod(**extra))
    yield "privileged", request("CREATE", "Pod", pod(security=PRIVILEGED))
    yield "privileged dry run", request("CREATE", "Pod", pod(security=PRIVILEGED), dry_run=True)
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        for value in (True, False):
            yield f"{field} {value}", request("CREATE", "Pod", pod(**{field: value}))
    for labels in ({"tier": "backend"}, {"tier": "front"}, {"team": "a1"}, {"team": "b"}, {"root": "allowed"},
                   {"forbidden": "x"}, {"forbidden": ""}, {"advice": "taken", "tier": "back"}):
        yield f"labels {labels}", request("CREATE", "Pod", pod(labels=labels))
        yield f"labels {labels} as root", request("CREATE", "Pod", pod(labels=labels, securityContext={"runAsUser": 0}))
    limited = pod(labels={"tier": "backend"})
    limited["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    yield "limited", request("CREATE", "Pod", limited)
    for name in ("job-1", "jobs", "a-job-1"):
        yield f"name {name}", request("CREATE", "Pod", pod(name))
        yield f"name {name} owned", request("CREATE", "Pod", pod(name, annotations={"owner": "x"}))
        yield f"generated {name}-", request("CREATE", "Pod", pod(generate=f"{name}-"), name="")
    for user in ("system:serviceaccount:prod:robot", "system:serviceaccount:prod:ann", "robot",
                 "system:serviceaccount:x", "system:serviceaccount:a:b:c"):
        for namespace in ("prod", "default"):
            yield f"user {user} in {namespace}", request("CREATE", "Pod", pod(namespace=namespace), user=user,
                                                         namespace=namespace)
    # Updates: from good and bad to good, bad and worse, and the ephemeral containers' own subresource.
    good, bad = pod(), pod(security=PRIVILEGED)
    ephemeral = {"ephemeralContainers": [
        {"name": "e", "image": "evil.example/x:latest", "securityContext": PRIVILEGED}]}
    states = {"good": good, "bad": bad, "worse": {**bad, "spec": {**bad["spec"], "hostPID": True, **ephemeral}},
              "latest": pod(image="ghcr.io/x/y:latest"), "team b": pod(labels={"team": "b"}),
              "other latest": pod(image="quay.io/x/y:latest")}
    for before, old in states.items():
        for after, new in states.items():
            yield f"update {before} to {after}", request("UPDATE", "Pod", new, old=old)
        yield f"delete {before}", request("DELETE", "Pod", None, old=old)
        added = {**old, "spec": {**old["spec"], **ephemeral}}
        yield f"ephemeral on {before}", request("UPDATE", "Pod", added, old=old, sub="ephemeralcontainers")
        yield f"status of {before}", request("UPDATE", "Pod", old, old=old, sub="status")
    # Subresources.
    options = {"apiVersion": "v1", "kind": "PodExecOptions", "command": ["sh"], "container": "web"}
    for namespace in ("prod", "stage", "default"):
        for sub in ("exec", "attach", "portforward"):
            document = {**options, "kind": SUBRESOURCE_KINDS[sub][2]}
            yield f"{sub} in {namespace}", request("CONNECT", "Pod", document, sub=sub, namespace=namespace, name="web")
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web", "namespace": namespace}}
        yield f"eviction in {namespace}", request("CREATE", "Pod", eviction, sub="eviction", namespace=namespace)
        deployment = thing("Deployment", "d", namespace=namespace, labels={"app": "x"}, spec={}, status={"replicas": 1})
        yield f"deployment status in {namespace}", request("UPDATE", "Deployment", deployment, old=deployment,
                                                           sub="status", namespace=namespace)
    for replicas in (1, 5, 6, 100):
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "default"},
                 "spec": {"replicas": replicas}}
        yield f"scale {replicas}", request("UPDATE", "Deployment", scale, old=scale, sub="scale")
    # Other kinds.
    for kind in ("Deployment", "StatefulSet"):
        for labels in (None, {}, {"app": ""}, {"app": "x"}, {"app": "x", "forbidden": "y"}):
            document = thing(kind, "d", labels=labels, spec={"template": pod(security=PRIVILEGED)})
            yield f"{kind} labels {labels}", request("CREATE", kind, document)
            yield f"{kind} labels {labels} deleted", request("DELETE", kind, None, old=document)
    for kind_of_service in ("NodePort", "ClusterIP", "LoadBalancer"):
        service = thing("Service", "s", spec={"type": kind_of_service})
        yield f"service {kind_of_service}", request("CREATE", "Service", service)
        yield f"service to {kind_of_service}", request("UPDATE", "Service", service, old=thing("Service", "s", spec={}))
    yield "service without type", request("CREATE", "Service", thing("Service", "s", spec={}))
    for labels in ({"keep": "yes"}, {"keep": "no"}, None):
        secret = thing("Secret", "s", labels=labels, data={})
        for operation, old in (("CREATE", None), ("UPDATE", secret), ("DELETE", secret)):
            yield f"secret {labels} {operation}", request(
                operation, "Secret", secret if operation != "DELETE" else None, old=old)
    for name in ("free-1", "fixed"):
        config = thing("ConfigMap", name, data={"a": "b"})
        for operation, old in (("CREATE", None), ("UPDATE", config), ("DELETE", config)):
            yield f"configmap {name} {operation}", request(
                operation, "ConfigMap", config if operation != "DELETE" else None, old=old)
    for labels in (None, {"team": "a"}, {"team": ""}):
        namespace_object = thing("Namespace", "n", labels=labels)
        yield f"namespace {labels}", request("CREATE", "Namespace", namespace_object)
        yield f"namespace {labels} updated", request("UPDATE", "Namespace", namespace_object, old=namespace_object)
        yield f"namespace {labels} deleted", request("DELETE", "Namespace", None, old=namespace_object)
    for suspend in (True, False):
        cron = thing("CronJob", "c", spec={"suspend": suspend})
        yield f"cron suspended {suspend}", request("CREATE", "CronJob", cron)
    for labels in (None, {"forbidden": "x"}):
        account = thing("ServiceAccount", "a", labels=labels)
        yield f"service account {labels}", request("CREATE", "ServiceAccount", account)


def review(body: Json) -> bytes:
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": body}).encode()


# ── recording ───────────────────────────────────────────────────────────────────────────────────────────────────────

def ask(url: str, body: Json, tries: int = 1) -> list[Any]:
    """[allowed, message] of a webhook; [None, status] where it gave no answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    asked = urllib.request.Request(f"{url}?timeout=10s", review(body), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30, context=context) as answer:
            response = json.loads(answer.read())["response"]
    except urllib.error.HTTPError as error:
        return [None, str(error.code)]
    return [response["allowed"], response.get("status", {}).get("message", "")]


def _free() -> int:
    """A port whose next one, which Kyverno takes for its metrics, is free too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            number = int(first.getsockname()[1])
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", number + 1)):
                return number


def kyverno(tools: Path, peers: Path) -> dict[str, list[Any]]:
    """Kyverno's answers by case."""
    folder = Path(tempfile.mkdtemp())
    port = _free()
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:{peers}", "APISERVER_PORT": str(_free()),
           "ETCD_PORT": str(_free()), "KYVERNO_PORT": str(port)}
    (folder / "policies.yaml").write_text(yaml.safe_dump_all(POLICIES))
    try:
        subprocess.run([tools / "apiserver", "start", folder], env=env, check=True, timeout=180, stdout=sys.stderr)
        subprocess.run([tools / "kyverno-webhook", "start", folder], env=env, check=True, timeout=300,
                       stdout=sys.stderr)
        kubectl = ["kubectl", "--kubeconfig", str(folder / "kubeconfig")]
        subprocess.run([*kubectl, "apply", "-f", str(folder / "policies.yaml")], env=env, check=True, timeout=60,
                       stdout=sys.stderr)
        for name in ("prod", "stage"):
            subprocess.run([*kubectl, "create", "namespace", name], env=env, check=False, timeout=60,
                           stdout=sys.stderr)
        time.sleep(20)
        return {name: ask(f"https://127.0.0.1:{port}/validate/fail", body) for name, body in cases()}
    finally:
        subprocess.run([tools / "kyverno-webhook", "stop", folder], env=env, check=False, timeout=60)
        subprocess.run([tools / "apiserver", "stop", folder], env=env, check=False, timeout=60)


if __name__ == "__main__":

    found = kyverno(TOOLS, PEERS)
    lines = [f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in found.items()]
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(found)} answers, {sum(allowed is False for allowed, _ in found.values())} denials")
