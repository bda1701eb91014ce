"""Pod Security beside the plug-in of a real API server: the same denial, warnings and audit annotations, word for word.

`python -m tests.fuzz.podsecurity [COUNT] [SEED]`: COUNT requests of each of four sorts (pods and templates that are
created, pods that are changed, also through their subresources, namespaces that are created, and ones with pods in them
that are labelled anew), in namespaces of drawn labels, by an exempt user or another one. Prints what differs. What the
API server itself takes for no valid object is not counted.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custody.policy.podsecurity import standard
from tests import apiserver
from tests.admission.beside_podsecurity import (
    EXEMPT_CLASS,
    EXEMPT_NAMESPACE,
    EXEMPT_NEW,
    EXEMPT_USER,
    Custody,
    Peer,
    Said,
    plugin,
    running,
)
from tests.fuzz.chance import Chance

Json = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "baseline", "restricted", "restricted")
WRONG_LEVELS = ("", "Restricted", "strict", "none")
VERSIONS = ("latest", *(f"v1.{minor}" for minor in range(35)), "v1.35", "v1.99", "v1.9223372036854775807")
WRONG_VERSIONS = ("", "1.30", "v1.030", "V1.20", "v1.x", "v2.0", "v1.9223372036854775808", "v1.-1")
PATHS = {"Pod": "/api/v1/namespaces/{}/pods", "PodTemplate": "/api/v1/namespaces/{}/podtemplates",
         "ReplicationController": "/api/v1/namespaces/{}/replicationcontrollers",
         **{kind: f"/apis/apps/v1/namespaces/{{}}/{kind.lower()}s" for kind in (
             "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet")},
         **{kind: f"/apis/batch/v1/namespaces/{{}}/{kind.lower()}s" for kind in ("Job", "CronJob")}}
CAPABILITIES = ("ALL", "CHOWN", "NET_BIND_SERVICE", "NET_RAW", "SYS_ADMIN", "all", "KILL")
SYSCTLS = ("kernel.shm_rmid_forced", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem", "kernel.msgmax",
           "net.ipv4.ip_local_reserved_ports")
SOURCES: tuple[Json, ...] = (
    {"emptyDir": {}}, {"configMap": {"name": "x"}}, {"secret": {"secretName": "x"}}, {"hostPath": {"path": "/x"}},
    {"persistentVolumeClaim": {"claimName": "x"}}, {"nfs": {"server": "x", "path": "/"}}, {},
    {"downwardAPI": {"items": []}}, {"csi": {"driver": "x.example"}}, {"image": {"reference": "a:1"}},
    {"gitRepo": {"repository": "x"}}, {"iscsi": {"targetPortal": "1.2.3.4:1", "iqn": "iqn.2001-04.com.x:y", "lun": 0}},
    {"projected": {"sources": []}}, {"rbd": {"monitors": ["x"], "image": "y"}})


class Draw(Chance):
    def labels(self, *, wrong: float = 0.0) -> dict[str, str]:
        labels: dict[str, str] = {}
        for mode in ("enforce", "audit", "warn"):
            if self.chance(0.6):
                labels[PREFIX + mode] = self.pick(*(WRONG_LEVELS if self.chance(wrong) else LEVELS))
            if self.chance(0.4):
                versions = WRONG_VERSIONS if self.chance(wrong) else VERSIONS
                labels[f"{PREFIX}{mode}-version"] = self.pick(*versions)
        return {**labels, **({"team": "a"} if self.chance(0.2) else {})}

    def context(self, *, pod: bool) -> Json:
        drawn: Json = {}

        def perhaps(part: float, field: str, *values: Any) -> None:
            if self.chance(part):
                drawn[field] = copy.deepcopy(self.pick(*values))

        profiles = ({"type": "RuntimeDefault"}, {"type": "Unconfined"}, {"type": "Localhost", "localhostProfile": "x"})
        perhaps(0.6, "runAsNonRoot", True, True, False)
        perhaps(0.2, "runAsUser", 0, 1000)
        perhaps(0.5, "seccompProfile", *profiles, profiles[0])
        perhaps(0.1, "appArmorProfile", *profiles)
        perhaps(0.15, "seLinuxOptions", {"type": "container_t"}, {"type": "spc_t"}, {"user": "u", "role": "r"},
                {"type": "container_engine_t"}, {"level": "s0"}, {"type": ""})
        perhaps(0.05, "windowsOptions", {"hostProcess": True}, {"hostProcess": False}, {})
        if pod:
            perhaps(0.1, "sysctls", *([{"name": name, "value": "1"}] for name in SYSCTLS),
                    [{"name": name, "value": "1"} for name in SYSCTLS[2:4]])
            return drawn
        perhaps(0.7, "allowPrivilegeEscalation", False, False, True)
        perhaps(0.1, "privileged", True, False)
        perhaps(0.05, "procMount", "Default", "Unmasked")
        if self.chance(0.8):
            drawn["capabilities"] = {**({"drop": [self.pick("ALL", "ALL", "ALL", *CAPABILITIES)]}
                                        if self.chance(0.9) else {}),
                                     **({"add": self.random.sample(CAPABILITIES, self.pick(1, 2))}
                                        if self.chance(0.2) else {})}
        if drawn.get("privileged"):
            drawn.pop("allowPrivilegeEscalation", None)
        return drawn

    def container(self, name: str, *, ephemeral: bool = False) -> Json:
        made: Json = {"name": name, "image": "a:1"}
        if self.chance(0.85):
            made["securityContext"] = self.context(pod=False)
        if ephemeral:
            return made
        if self.chance(0.15):
            made["ports"] = [{"containerPort": port, **({"hostPort": self.pick(0, port)} if self.chance(0.6) else {})}
                             for port in self.random.sample((80, 81, 8080), self.pick(1, 2))]
        if self.chance(0.15):
            made[self.pick("livenessProbe", "readinessProbe", "startupProbe")] = self.handler()
        if self.chance(0.1):
            made["lifecycle"] = {self.pick("postStart", "preStop"): self.handler()}
        return made

    def handler(self) -> Json:
        host = {"host": self.pick("", "10.0.0.1", "example.com")} if self.chance(0.6) else {}
        return {self.pick("httpGet", "tcpSocket"): {"port": 80, **host}} if self.chance(0.9) else {
            "exec": {"command": ["x"]}}

    def spec(self) -> Json:
        names = [*"abcd"]
        self.random.shuffle(names)
        made: Json = {"containers": [self.container(names.pop()) for _ in range(self.pick(1, 1, 2))]}
        if self.chance(0.25):
            made["initContainers"] = [self.container(names.pop())]
            made["initContainers"][0].pop("lifecycle", None)
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                made["initContainers"][0].pop(probe, None)
        if self.chance(0.7):
            made["securityContext"] = self.context(pod=True)
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if self.chance(0.08):
                made[field] = self.pick(True, False)
        if self.chance(0.08):
            made["hostUsers"] = self.pick(True, False)
        if self.chance(0.08):
            made["os"] = {"name": self.pick("linux", "windows", "windows")}
        if made.get("os") == {"name": "windows"} and self.chance(0.8):  # where hardly anything else is valid
            made = {"os": made["os"], "containers": [{"name": "a", "image": "a:1"}]}
        if self.chance(0.3):
            made["volumes"] = [{"name": f"v{at}", **copy.deepcopy(self.pick(*SOURCES))}
                               for at in range(self.pick(1, 2))]
        if self.chance(0.1):
            made["runtimeClassName"] = self.pick(EXEMPT_CLASS, "other-class")
        return made

    def annotations(self, spec: Json) -> dict[str, str]:
        drawn = {}
        for container in spec["containers"]:
            if self.chance(0.06):
                key = f"container.apparmor.security.beta.kubernetes.io/{container['name']}"
                drawn[key] = self.pick("runtime/default", "unconfined", "localhost/x")
            if self.chance(0.06):
                drawn[f"container.seccomp.security.alpha.kubernetes.io/{container['name']}"] = self.pick(
                    "runtime/default", "unconfined", 'localhost/"x"')
        if self.chance(0.06):
            drawn["seccomp.security.alpha.kubernetes.io/pod"] = self.pick("docker/default", "unconfined", "localhost/x")
        return drawn

    def pod(self, name: str) -> Json:
        spec = self.spec()
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "labels": {"app": "web"}, "annotations": self.annotations(spec)}, "spec": spec}

    def holder(self, name: str) -> Json:
        """A pod, or one of what holds a template of one."""
        pod = self.pod(name)
        kind = self.pick("Pod", "Pod", "Pod", *PATHS)
        if kind == "Pod":
            return pod
        template: Json = {"metadata": pod["metadata"], "spec": pod["spec"]}
        template["metadata"].pop("name")
        selected = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
        once = {"template": {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}}
        version, rest = {
            "PodTemplate": ("v1", {"template": template}),
            "ReplicationController": ("v1", {"spec": {"replicas": 1, "template": template}}),
            "StatefulSet": ("apps/v1", {"spec": {**selected, "serviceName": "web"}}),
            "Job": ("batch/v1", {"spec": once}),
            "CronJob": ("batch/v1", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": once}}}),
        }.get(kind, ("apps/v1", {"spec": selected}))
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


class World:
    """An API server with namespaces, and custody beside it."""

    def __init__(self, peer: Peer, draw: Draw, namespaces: int = 60) -> None:
        self.peer, self.draw = peer, draw
        self.custody = Custody(peer.kubeconfig)
        self.compared: Counter[str] = Counter()
        self.spoke: Counter[str] = Counter()
        self.differ: list[tuple[Any, Said, Said]] = []
        for name in (EXEMPT_CLASS, "other-class"):
            assert peer.ask("POST", "/apis/node.k8s.io/v1/runtimeclasses", {
                "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name},
                "handler": "runc"}).status in (201, 409)
        assert peer.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "both"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": name} for name in (EXEMPT_USER, "ann")]}).status == 201
        self.namespaces = [EXEMPT_NAMESPACE, *(f"n{at}" for at in range(namespaces))]
        for name in self.namespaces:
            peer.put(name, draw.labels(wrong=0.15))  # as an older API server may have left them
        peer.put("open", {PREFIX + mode: "privileged" for mode in ("enforce", "audit", "warn")})

    def compare(self, sort: str, about: Any, theirs: Said, ours: Said) -> None:
        self.compared[sort] += 1
        self.spoke[f"{sort}: denied"] += bool(theirs.denied)
        self.spoke[f"{sort}: warned"] += bool(theirs.warned)
        self.spoke[f"{sort}: annotated"] += bool(theirs.audited)
        if theirs != ours:
            self.differ.append(((sort, about), theirs, ours))

    def user(self) -> str:
        return EXEMPT_USER if self.draw.chance(0.05) else "ann"

    def create(self, number: int) -> None:
        resource = self.draw.holder(f"made-{number}")
        path = PATHS[resource["kind"]]
        complete = self.peer.ask("POST", f"{path.format('open')}?dryRun=All", _placed(resource, "open"),
                                 user=EXEMPT_USER)
        if complete.status != 201:
            return
        namespace, user = self.draw.pick(*self.namespaces), self.user()
        given = _placed(complete.body, namespace)  # as the API server completes it, which is what its plug-in sees
        theirs = plugin(self.peer.ask("POST", f"{path.format(namespace)}?dryRun=All", _placed(resource, namespace),
                                      user=user))
        self.compare("create", (namespace, user, given), theirs, self.custody.judge("CREATE", given, user=user))

    def populate(self, number: int) -> tuple[str, Json] | None:
        """(namespace, pod) of one that runs from now on."""
        namespace = self.draw.pick(*self.namespaces)
        pod = self.draw.pod(f"run-{number}")
        if self.draw.chance(0.5):
            pod["metadata"]["ownerReferences"] = [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": True,
                "uid": f"u{self.draw.pick(1, 2, 3)}"}]
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "10m"}}
        made = self.peer.ask("POST", PATHS["Pod"].format(namespace), _placed(pod, namespace), user=EXEMPT_USER)
        return (namespace, made.body) if made.status == 201 else None

    def changes(self, pod: Json) -> Iterator[tuple[str, Json]]:
        name = pod["spec"]["containers"][0]["name"]
        yield "", {"metadata": {"labels": {"a": self.draw.pick("b", "c")}}}
        yield "", {"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}}
        yield "", {"spec": {"containers": [{"name": name, "image": self.draw.pick("a:1", "a:2")}]}}
        yield "", {"spec": {"activeDeadlineSeconds": 60}}
        yield "ephemeralcontainers", {"spec": {"ephemeralContainers": [self.draw.container("e", ephemeral=True)]}}
        yield "resize", {"spec": {"containers": [{"name": name, "resources": {"requests": {"cpu": "20m"}}}]}}
        yield "status", {"status": {"message": "so"}}

    def change(self, namespace: str, before: Json) -> None:
        subresource, change = self.draw.pick(*self.changes(before))
        url = (f"{PATHS['Pod'].format(namespace)}/{before['metadata']['name']}"
               f"{f'/{subresource}' if subresource else ''}?dryRun=All")
        how, user = "application/strategic-merge-patch+json", self.user()
        after = self.peer.ask("PATCH", url, change, user=EXEMPT_USER, patch=how)
        if after.status != 200:
            return
        theirs = plugin(self.peer.ask("PATCH", url, change, user=user, patch=how))
        ours = self.custody.judge("UPDATE", after.body, before=before, subresource=subresource, user=user)
        self.compare("change", (namespace, user, subresource, change, before), theirs, ours)

    def name(self) -> None:
        name = self.draw.pick("new", "new", EXEMPT_NEW)
        made = {"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": self.draw.labels(wrong=0.2)}}
        theirs = plugin(self.peer.ask("POST", "/api/v1/namespaces?dryRun=All", made, user="ann"))
        self.compare("namespace", made, theirs, self.custody.judge("CREATE", made, user="ann"))

    def relabel(self) -> None:
        name = self.draw.pick(*self.namespaces)
        before = self.peer.ask("GET", f"/api/v1/namespaces/{name}").body
        after = copy.deepcopy(before)
        kept = {label: value for label, value in (before["metadata"].get("labels") or {}).items()
                if not label.startswith(PREFIX) or self.draw.chance(0.6)}
        after["metadata"]["labels"] = {**kept, **self.draw.labels(wrong=0.05)}
        theirs = plugin(self.peer.ask("PUT", f"/api/v1/namespaces/{name}?dryRun=All", after, user="ann"))
        self.compare("relabel", (name, before["metadata"].get("labels"), after["metadata"]["labels"]), theirs,
                     self.custody.judge("UPDATE", after, before=before, user="ann"))


def _placed(resource: Json, namespace: str) -> Json:
    metadata = {name: value for name, value in resource["metadata"].items()
                if name not in ("uid", "resourceVersion", "creationTimestamp", "managedFields")}
    return {**resource, "metadata": {**metadata, "namespace": namespace}}


def compare(peer: Peer, count: int, seed: int) -> World:
    """So many requests of each sort. `latest` is to be the API server's own while this runs."""
    world = World(peer, Draw(seed))
    try:
        for number in range(count):
            world.create(number)
        pods = [made for number in range(min(count, 400)) if (made := world.populate(number)) is not None]
        for _ in range(count):
            world.change(*world.draw.pick(*pods))
        time.sleep(1.5)  # the plug-in reads a watch, custody an answer of the last second
        for _ in range(count):
            world.name()
            world.relabel()
    finally:
        world.custody.close()
    return world


def newest(peer: Peer) -> int:
    """The minor version that is `latest` to the API server."""
    served = peer.ask("GET", "/version").body
    return int(served.get("emulationMinor") or served["minor"])


def main(count: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        try:
            apiserver.program("kube-apiserver")
            with running(Path(folder)) as peer:
                standard.LATEST = newest(peer)
                world = compare(peer, count, seed)
        except apiserver.AbsentError as absent:
            print(f"tests.fuzz.podsecurity: {absent}")
            return 0
    for about, theirs, ours in world.differ[:10]:
        print(f"{about}\n  plug-in {theirs}\n  custody {ours}")
    print(f"{sum(world.compared.values())} requests {dict(world.compared)}, {dict(world.spoke)}: "
          f"{len(world.differ)} differ")
    return int(bool(world.differ))


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in [*sys.argv[1:], *("500", "1")[len(sys.argv) - 1:]])))
