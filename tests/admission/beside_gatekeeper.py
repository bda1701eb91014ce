"""The same AdmissionReviews to Gatekeeper's real controller and to custody.

    python -m tests.admission.beside_gatekeeper [PODS] [SETS of mutators] [PODS of each set]
    python -m tests.admission.beside_gatekeeper 0 0 0 OBJECTS        the audit of so many objects

Boots an API server and Gatekeeper 3.23.1. Constraints are the samples of gatekeeper-library that read no inventory, and
pods are drawn at random around what these look at; mutators are drawn at random too. Printed is what both said
otherwise, and how much of a processor each took.
"""

# ruff: noqa: E501 - tables of what is drawn from

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.admission.endpoint import Endpoint
from custody.admission.judging import Judging
from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.formats import jsonpatch
from custody.kit.clock import system_clock
from custody.policy.gatekeeper.constraint import ConstraintRule
from custody.policy.gatekeeper.constraintkind import definition
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ApiError
from custody.services.controllers.audit import Audit, Tally
from tests import apiserver
from tests.apiserver import PEERS, TOOLS
from tests.conftest import ORACLES

Json = dict[str, Any]
LIBRARY = ORACLES / "gatekeeper-library" / "library"


# ── what is judged by ───────────────────────────────────────────────────────────────────────────────────────────────

def constraints(folder: Path = LIBRARY) -> tuple[list[Json], list[Json]]:
    """(templates, constraints): each template once, its first sample."""
    templates, samples = [], []
    for path in sorted(folder.rglob("template.yaml")):
        text = path.read_text()
        sample = next(iter(sorted(path.parent.rglob("constraint.yaml"))), None)
        if "data.inventory" in text or sample is None:
            continue
        template, document = yaml.safe_load(text), yaml.safe_load(sample.read_text())
        if document["kind"] == template["spec"]["crd"]["spec"]["names"]["kind"]:
            templates.append(template)
            samples.append(document)
    return templates, samples


_ACTIONS: list[Json] = [
    {"enforcementAction": "deny"}, {"enforcementAction": "warn"}, {"enforcementAction": "dryrun"},
    {"enforcementAction": "scoped", "scopedEnforcementActions": [
        {"action": "warn", "enforcementPoints": [{"name": "audit.gatekeeper.sh"}]},
        {"action": "deny", "enforcementPoints": [{"name": "*"}]}]},
    {"enforcementAction": "scoped", "scopedEnforcementActions": [
        {"action": "deny", "enforcementPoints": [{"name": "validation.gatekeeper.sh"}]}]}]


def pods(draw: random.Random) -> Iterator[Json]:
    number = 0
    while True:
        number += 1
        yield _pod(draw, f"pod-{number}")


def _some(draw: random.Random, **choices: list[Any]) -> Json:
    """Fields, each there half of the time."""
    return {name: draw.choice(values) for name, values in choices.items() if draw.random() < 0.5}


def _container(draw: random.Random, name: str) -> Json:
    caps = ["ALL", "NET_BIND_SERVICE", "SYS_ADMIN", "NET_RAW", "must_drop", "something"]
    context = _some(draw, privileged=[True, False], allowPrivilegeEscalation=[True, False],
                    readOnlyRootFilesystem=[True, False], runAsNonRoot=[True, False], runAsUser=[0, 100, 250, 1000],
                    runAsGroup=[0, 100, 250], procMount=["Default", "Unmasked"],
                    seccompProfile=[{"type": "RuntimeDefault"}, {"type": "Unconfined"},
                                    {"type": "Localhost", "localhostProfile": "p.json"}],
                    appArmorProfile=[{"type": "RuntimeDefault"}, {"type": "Unconfined"}],
                    seLinuxOptions=[{"level": "s0:c123,c456", "role": "object_r", "type": "svirt_sandbox_file_t",
                                     "user": "system_u"}, {"level": "s1"}],
                    windowsOptions=[{"hostProcess": True}, {"hostProcess": False}],
                    capabilities=[{"add": draw.sample(caps, draw.randrange(3)), "drop": draw.sample(caps, 2)},
                                  {"drop": ["ALL"]}, {}])
    amounts: dict[str, list[Any]] = {"cpu": ["100m", "200m", "2", "0.1", 1], "memory": ["64Mi", "1Gi", "2Gi", "1G", "500M"]}
    return {"name": name, "image": draw.choice(["nginx", "nginx:1.29", "openpolicyagent/opa:0.9.2", "opa:latest",
                                                "safe-images.com/nginx@sha256:" + "a" * 64,
                                                "registry.k8s.io/pause:3.9", "exempt.io/x"]),
            **({"securityContext": context} if draw.random() < 0.85 else {}),
            **({"resources": {kind: _some(draw, **amounts) for kind in ("limits", "requests")}}
               if draw.random() < 0.7 else {}),
            **_some(draw, ports=[[{"containerPort": 80, "hostPort": 80}], [{"containerPort": 80, "hostPort": 9001}],
                                 [{"containerPort": 80}], []],
                    volumeMounts=[[{"name": "v", "mountPath": "/v", "readOnly": True}],
                                  [{"name": "v", "mountPath": "/v"}]],
                    livenessProbe=[{"tcpSocket": {"port": 80}}, {"httpGet": {"port": 80}}],
                    readinessProbe=[{"tcpSocket": {"port": 80}}, {"exec": {"command": ["x"]}}],
                    env=[[{"name": "A", "value": "b"}], []])}


def _pod(draw: random.Random, name: str) -> Json:
    spec: Json = {"containers": [_container(draw, f"c{at}") for at in range(draw.randrange(1, 4))]}
    if draw.random() < 0.3:
        spec["initContainers"] = [_container(draw, "init")]
    if draw.random() < 0.1:
        spec["ephemeralContainers"] = [_container(draw, "debug")]
    spec |= _some(draw, hostPID=[True, False], hostIPC=[True, False], hostNetwork=[True, False],
                  automountServiceAccountToken=[True, False], serviceAccountName=["default", "other"],
                  volumes=[[{"name": "v", "hostPath": {"path": "/foo/x"}}], [{"name": "v", "hostPath": {"path": "/tmp"}}],
                           [{"name": "v", "emptyDir": {}}], [{"name": "v", "flexVolume": {"driver": "example/lvm"}}],
                           [{"name": "v", "flexVolume": {"driver": "example/none"}}]],
                  securityContext=[{"fsGroup": 100}, {"fsGroup": 0}, {"runAsUser": 150}, {"supplementalGroups": [1, 150]},
                                   {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "0"}]},
                                   {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]},
                                   {"seccompProfile": {"type": "RuntimeDefault"}}, {"runAsNonRoot": True},
                                   {"seLinuxOptions": {"level": "s0"}}, {"windowsOptions": {"hostProcess": True}}])
    metadata = {"name": name, "namespace": draw.choice(["default", "shop", "kube-public"]), **_some(
        draw, labels=[{"owner": "me.agilebank.demo"}, {"owner": "x", "app": "web"}, {"app": "web"}, {}],
        annotations=[{"container.apparmor.security.beta.kubernetes.io/c0": "runtime/default"},
                     {"seccomp.security.alpha.kubernetes.io/pod": "runtime/default"}, {"a": "b"}])}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def others(draw: random.Random) -> Iterator[Json]:
    """Objects of other kinds that samples are about."""
    number = 0
    while True:
        number += 1
        metadata = {"name": f"o{number}", "namespace": draw.choice(["default", "shop"]), **_some(
            draw, labels=[{"owner": "me.agilebank.demo"}, {"owner": "x"}], annotations=[{"a": "b"}])}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": _pod(draw, "x")["spec"]}
        yield draw.choice([
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"o{number}", **_some(
                draw, labels=[{"owner": "me.agilebank.demo"}, {"owner": "x"}])}},
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": _some(
                draw, type=["NodePort", "LoadBalancer", "ClusterIP"], externalIPs=[["1.1.1.1"], ["203.0.113.0"]],
                ports=[[{"port": 80}]])},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
                "replicas": draw.choice([1, 3, 60]), "template": template}},
            {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": _some(
                draw, tls=[[{"hosts": ["a.example"]}]], rules=[[{"host": "*.example"}], [{"host": ""}], [{}]])}])


def review(document: Json, operation: str = "CREATE", old: Json | None = None) -> Json:
    group, _, version = document["apiVersion"].rpartition("/")
    plural = {"Ingress": "ingresses"}.get(document["kind"], f"{document['kind'].lower()}s")
    metadata = document["metadata"]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": operation, "name": metadata["name"],
        **({"namespace": metadata["namespace"]} if "namespace" in metadata else {}),
        "kind": {"group": group, "version": version, "kind": document["kind"]},
        "resource": {"group": group, "version": version, "resource": plural},
        "userInfo": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]},
        "object": document, "oldObject": old, "dryRun": False,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": f"{operation.capitalize()}Options"}}}


def mutators(draw: random.Random, count: int) -> list[Json]:
    """That write into pods: paths that may be there, that are not, through lists by their keys."""
    made = []
    for number in range(count):
        kind = draw.choice(["Assign", "Assign", "AssignMetadata", "ModifySet", "AssignImage"])
        match = draw.choice([{}, {"scope": "Namespaced"}, {"namespaces": ["sh*"]}, {"excludedNamespaces": ["shop"]},
                             {"labelSelector": {"matchLabels": {"app": "web"}}}, {"name": "pod-*"},
                             {"kinds": [{"apiGroups": ["*"], "kinds": ["Pod"]}]}])
        apply_to = [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}]
        value: Any = draw.choice(["x", "y", 7, True, {"a": "b"}, ["l"]])
        tests: list[Json] = []
        if kind == "Assign":
            location, value = draw.choice([
                ("spec.hostNetwork", draw.choice([True, False])), ("spec.priorityClassName", draw.choice(["low", "high"])),
                ("spec.containers[name:*].imagePullPolicy", draw.choice(["Always", "Never"])),
                ("spec.containers[name:c0].securityContext.privileged", draw.choice([True, False])),
                ("spec.containers[name: added].image", "sidecar:1"), ("spec.nodeSelector.zone", draw.choice(["a", "b"])),
                ("spec.initContainers[name:*].resources.limits.cpu", "1"),
                ("spec.securityContext", {"runAsUser": draw.randrange(3)}),
                ("spec.dnsConfig.options", [{"name": "a", "value": "b"}]), ("spec.hostAliases[ip: 1.2.3.4].hostnames", ["h"])])
            if draw.random() < 0.4:
                steps = location.split(".")
                tests = [{"subPath": ".".join(steps[:draw.randrange(1, len(steps) + 1)]),
                          "condition": draw.choice(["MustExist", "MustNotExist"])}]
            parameters: Json = {"assign": {"value": value} if draw.random() < 0.8 or not isinstance(value, str) else {
                "fromMetadata": {"field": draw.choice(["name", "namespace"])}}, **({"pathTests": tests} if tests else {})}
        elif kind == "AssignMetadata":
            location = draw.choice(["metadata.labels.app", "metadata.labels.team", "metadata.annotations.note",
                                    'metadata.annotations."a.b/c"'])
            parameters = {"assign": {"value": str(value)} if draw.random() < 0.7 else {
                "fromMetadata": {"field": "namespace"}}}
        elif kind == "ModifySet":
            location = draw.choice(["spec.containers[name:*].args", "spec.imagePullSecrets", "metadata.finalizers"])
            values = [{"name": "pull"}] if location.endswith("Secrets") else draw.sample(["--a", "--b", "x/y"], 2)
            parameters = {"operation": draw.choice(["merge", "prune"]), "values": {"fromList": values}}
        else:
            location = "spec.containers[name:*].image"
            parameters = _some(draw, assignDomain=["mirror.example", "localhost:5000"], assignPath=["team/app", "x"],
                               assignTag=[":v2", "@sha256:" + "b" * 64]) or {"assignTag": ":v1"}
        spec = {"match": match, "location": location, "parameters": parameters}
        if kind != "AssignMetadata":
            spec["applyTo"] = apply_to
        version = "v1alpha1" if kind == "AssignImage" else "v1"
        made.append({"apiVersion": f"mutations.gatekeeper.sh/{version}", "kind": kind,
                     "metadata": {"name": f"m{number}"}, "spec": spec})
    return made


# ── who is asked ────────────────────────────────────────────────────────────────────────────────────────────────────

class Gatekeeper:
    """Its controller beside the API server of a folder, on a port."""

    def __init__(self, folder: Path, *files: Path) -> None:
        self._folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.port = apiserver.free_port()
        self._env = {**os.environ, "PATH": f"{PEERS}:{os.environ['PATH']}", "GATEKEEPER_PORT": str(self.port),
                     "MUTATION": "1", "KUBECONFIG": str(folder / "kubeconfig")}
        self.kubectl("create", "namespace", "shop")
        self._run("start", *files)
        self.pid = int((folder / "gatekeeper.pid").read_text())
        self.authority = folder / "gatekeeper-ca.crt"
        self._context = ssl.create_default_context(cafile=str(self.authority))

    def _run(self, verb: str, *files: Path) -> None:
        done = subprocess.run([TOOLS / "gatekeeper-webhook", verb, self._folder, *files], env=self._env, check=False,
                              capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr

    def kubectl(self, *arguments: str, given: Any = None) -> str:
        text = None if given is None else "\n---\n".join(map(json.dumps, given))
        done = subprocess.run([apiserver.program("kubectl"), *arguments], env=self._env, input=text, capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, path: str, body: bytes) -> Json:
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", body,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
            answered: Json = json.loads(answer.read())["response"]
        return answered

    @property
    def cpu(self) -> float:
        """Seconds of a processor that it took."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._run("stop")


@contextlib.contextmanager
def gatekeeper(*documents: list[Json]) -> Iterator[Gatekeeper]:
    """With these documents applied. Raises AbsentError where a part is not installed."""
    apiserver.program("gatekeeper-controller")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "cluster"
        folder.mkdir()
        files = Path(name) / "files"
        files.mkdir()
        for at, document in enumerate(document for listed in documents for document in listed):
            (files / f"{at:03}.yaml").write_text(yaml.safe_dump(document))
        with apiserver.running(folder):
            controller = Gatekeeper(folder, files)
            try:
                yield controller
            finally:
                controller.stop()


async def _nothing(*_: Any) -> Json:
    return {}


class Custody:
    def __init__(self, documents: list[Json]) -> None:
        self.admission = Admission(PolicySet.load(documents), _nothing, system_clock)
        self.cpu = 0.0
        self._loop = asyncio.new_event_loop()

    def ask(self, body: bytes, *, mutate: bool = False) -> Json:
        begun = time.process_time()
        answered = self._loop.run_until_complete(self.admission.review(body, endpoint=Endpoint(mutate)))
        self.cpu += time.process_time() - begun
        response: Json = json.loads(answered)["response"]
        return response


def verdict(answered: Json) -> tuple[bool, list[str], list[str]]:
    """(allowed, lines of the message in order, warnings in order)."""
    status = answered.get("status") or {}
    lines = [] if answered["allowed"] else status.get("message", "").split("\n")
    return answered["allowed"], sorted(lines), sorted(answered.get("warnings") or [])


def mutated(document: Json, answered: Json) -> Any:
    if not answered["allowed"]:
        return False, None
    patch = json.loads(base64.b64decode(answered["patch"])) if answered.get("patch") else []
    return True, jsonpatch.apply(document, patch)


# ── the audit ───────────────────────────────────────────────────────────────────────────────────────────────────────

def populated(controller: Gatekeeper, count: int) -> int:
    """So many objects, past its webhook; how many the API server took."""
    controller.kubectl("delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all")
    draw = random.Random(21)
    drawn, beside = pods(draw), others(draw)

    async def main() -> int:
        access = of_kubeconfig(controller.kubeconfig)
        cluster = Cluster(access, AiohttpHttp(tls=access.tls))
        client, made = ClusterClient(cluster), 0
        for number in range(count):
            document = next(drawn) if number % 3 else next(beside)
            document.get("spec", {}).pop("ephemeralContainers", None)
            resource = await client.resource(document["apiVersion"], document["kind"])
            assert resource is not None
            with contextlib.suppress(ApiError):
                await client.create(resource, document)
                made += 1
        await cluster.close()
        return made

    return asyncio.run(main())


class Told(Audit):
    """What it would write into statuses."""

    statuses: dict[tuple[str, str], Json]

    async def _tell(self, rule: ConstraintRule, tally: Tally, at: datetime) -> None:
        self.statuses[rule.policy.kind.lower(), rule.policy.name] = tally.status(at)


def audited(controller: Gatekeeper, documents: list[Json]) -> dict[tuple[str, str], Json]:
    async def main() -> dict[tuple[str, str], Json]:
        access = of_kubeconfig(controller.kubeconfig)
        cluster = Cluster(access, AiohttpHttp(tls=access.tls))
        client, snapshot = ClusterClient(cluster), Snapshot(PolicySet.load(documents), None)
        audit = Told(client, Judging(_nothing, system_clock, ClusterLookup(cluster)), lambda: snapshot, client.kinds,
                     system_clock, share=0)
        audit.statuses = {}
        await audit.once()
        await cluster.close()
        return audit.statuses

    return asyncio.run(main())


def auditing(controller: Gatekeeper, documents: list[Json], count: int) -> Counter[str]:
    said: Counter[str] = Counter()
    said["objects"] = populated(controller, count)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    definitions = json.loads(controller.kubectl("get", "crd", "-l", "gatekeeper.sh/constraint=yes", "-o", "json"))
    kinds = ",".join(document["metadata"]["name"] for document in definitions["items"])
    while True:
        theirs = {(document["kind"].lower(), document["metadata"]["name"]): document.get("status") or {}
                  for document in json.loads(controller.kubectl("get", kinds, "-o", "json"))["items"]}
        if sum(status.get("auditTimestamp", "") > since for status in theirs.values()) >= len(theirs) - 4:
            break  # a scoped one that does not name the audit may have none
        time.sleep(2)
    ours = audited(controller, documents)
    for name, status in theirs.items():
        told = ours.get(name)
        if told is None:
            said[f"not audited here, there: {sorted(status)}"] += 1
            continue
        alike = status.get("totalViolations", 0) == told["totalViolations"]
        said["constraints with the same total" if alike else "constraints with another total"] += 1
        said["violations"] += told["totalViolations"]
        if not alike:
            print(name, status.get("totalViolations"), told["totalViolations"])
        listed, mine = status.get("violations") or [], told["violations"] or []
        if told["totalViolations"] <= 20:
            ordered = [sorted(json.dumps(violation, sort_keys=True) for violation in side) for side in (listed, mine)]
            same = ordered[0] == ordered[1]
            said["lists alike" if same else "lists that differ"] += 1
            if not same:
                print(name, [text for text in ordered[0] if text not in ordered[1]][:2],
                      [text for text in ordered[1] if text not in ordered[0]][:2])
        else:
            said["beyond 20"] += 1
            said["beyond 20, the same are named"] += {json.dumps(violation, sort_keys=True) for violation in listed} == {
                json.dumps(violation, sort_keys=True) for violation in mine}
        if {*status} - {"byPod"} != {key for key, value in told.items() if value is not None}:
            print("fields", name, sorted(status), sorted(told))
    return said


def kinds_made(controller: Gatekeeper, templates: list[Json]) -> Counter[str]:
    """The definitions of constraints, beside those that custody would write."""
    said: Counter[str] = Counter()
    there = json.loads(controller.kubectl("get", "crd", "-l", "gatekeeper.sh/constraint=yes", "-o", "json"))["items"]
    theirs = {document["metadata"]["name"]: document for document in there}
    for template in templates:
        ours = definition({**template, "metadata": {**template["metadata"], "uid": "u"}})
        made = theirs[ours["metadata"]["name"]]
        owner = made["metadata"]["ownerReferences"][0]
        parts = [("names", ours["spec"]["names"], made["spec"]["names"]),
                 ("scope", ours["spec"]["scope"], made["spec"]["scope"]),
                 ("labels", ours["metadata"]["labels"], made["metadata"]["labels"]),
                 ("owner", {**ours["metadata"]["ownerReferences"][0], "uid": owner["uid"]}, owner)]
        parts += [(f"version {mine['name']} {key}", mine.get(key), version.get(key))
                  for mine, version in zip(ours["spec"]["versions"], made["spec"]["versions"], strict=True)
                  for key in {*mine, *version}]
        for name, mine, other in parts:
            alike = _wordless(mine) == _wordless(other)
            said[f"{name}: {'alike' if alike else 'different'}"] += 1
            if not alike and said[f"{name}: different"] == 1:
                print(name, json.dumps(_wordless(mine))[:1500], json.dumps(_wordless(other))[:1500], sep="\n")
    return said


def _wordless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _wordless(part) for key, part in value.items()
                if key != "description" or not isinstance(part, str)}
    return [_wordless(part) for part in value] if isinstance(value, list) else value


# ── main ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def validating(controller: Gatekeeper, custody: Custody, count: int) -> Counter[str]:
    draw = random.Random(11)
    drawn, beside = pods(draw), others(draw)
    said: Counter[str] = Counter()
    begun = controller.cpu
    for number in range(count):
        document = next(drawn) if number % 8 else next(beside)
        old = None
        if number % 5 == 0:
            old = next(drawn) if document["kind"] == "Pod" else document
        body = json.dumps(review(document, "UPDATE" if old else "CREATE", old)).encode()
        theirs, ours = verdict(controller.ask("/v1/admit", body)), verdict(custody.ask(body))
        said["allowed" if theirs[0] else "denied"] += 1
        if theirs == ours:
            said["alike"] += 1
            continue
        said["different"] += 1
        missing, more = [*set(theirs[1]) - set(ours[1])], [*set(ours[1]) - set(theirs[1])]
        for who, lines in (("Gatekeeper alone", missing), ("custody alone", more)):
            for line in lines:
                said[f"{who}: {re.sub(r'(pod-|o)[0-9]+', '…', line)[:250]}"] += 1
        if not (missing or more):
            said[f"otherwise: {theirs} {ours}"[:400]] += 1
    said["CPU µs a review, Gatekeeper"] = round((controller.cpu - begun) / count * 1e6)
    said["CPU µs a review, custody"] = round(custody.cpu / count * 1e6)
    return said


def mutating(controller: Gatekeeper, rounds: int, count: int) -> Counter[str]:
    said: Counter[str] = Counter()
    for turn in range(rounds):
        draw = random.Random(100 + turn)
        documents = mutators(draw, draw.randrange(1, 8))
        taken = []
        for document in documents:
            reason = ours = ""
            try:
                controller.kubectl("apply", "-f", "-", given=[document])
                taken.append(document)
            except AssertionError as error:
                reason = re.sub(r"m[0-9]", "…", str(error).splitlines()[-1][-120:])
            try:
                PolicySet.load([document])
            except CustodyError as error:
                ours = error.message
            if reason or ours:
                both = "both" if reason and ours else "Gatekeeper alone" if reason else "custody alone"
                said[f"refused by {both}: {reason or ours}"] += 1
        time.sleep(1.5)
        try:
            custody, drawn = Custody(taken), pods(draw)
        except CustodyError:
            continue
        for _ in range(count):
            document = next(drawn)
            body = json.dumps(review(document)).encode()
            theirs = mutated(document, controller.ask("/v1/mutate", body))
            ours = mutated(document, custody.ask(body, mutate=True))
            said["alike" if theirs == ours else "different"] += 1
            said["changed"] += theirs[1] != document
            if theirs != ours and said["different"] < 4:
                print(yaml.safe_dump([taken, document, theirs, ours]))
        for document in taken:
            controller.kubectl("delete", document["kind"].lower(), document["metadata"]["name"])
    return said


def main(count: int = 2000, rounds: int = 30, each: int = 20, population: int = 0) -> None:
    templates, samples = constraints()
    if population:
        Path("/tmp/audit").mkdir(exist_ok=True)
        for number, sample in enumerate(samples):
            sample["spec"] |= _ACTIONS[number % len(_ACTIONS)]
        os.environ["GATEKEEPER_FLAGS"] = "--operation=audit --audit-interval=5"
        with gatekeeper(templates, samples) as controller:
            for name, number in kinds_made(controller, templates).most_common():
                print(f"{number:>7} {name}")
            print(controller.kubectl("get", "constrainttemplates", "-o", "jsonpath={.items[0].status}"))
            for name, number in auditing(controller, [*templates, *samples], population).most_common():
                print(f"{number:>7} {name}")
        return
    with gatekeeper(templates, samples) as controller:
        print(f"{len(samples)} constraints, {count} reviews")
        for name, number in validating(controller, Custody([*templates, *samples]), count).most_common(40):
            print(f"{number:>7} {name}")
        print(f"{rounds} sets of mutators, {each} pods each")
        for name, number in mutating(controller, rounds, each).most_common():
            print(f"{number:>7} {name}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
