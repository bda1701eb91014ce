"""Generated ClusterPolicies about pods and what makes pods, asked of the Kyverno CLI and of custody.

    python -m tests.fuzz.kyverno_rules COUNT [SEED] [PROGRAM]

Rule names, results and messages must be the same. COUNT policies, each asked about all of a batch's resources.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.kinds import UNCHECKED
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.policy.phases import Course
from custody.ports.lookup import Answer, Answered, ApiCall, NamespaceLabels, Question
from tests.conftest import peer

Row = tuple[str, str, str, str, str, str]
"""Policy, rule, kind, name, result, message."""
BATCH = 40
KINDS = ("Pod", "Pod", "Deployment", "CronJob", "Job", "StatefulSet", "DaemonSet")
AUTOGEN = "pod-policies.kyverno.io/autogen-controllers"
CONTROLS = ("Capabilities", "Seccomp", "Privileged Containers", "Host Ports", "/proc Mount Type", "HostProcess",
            "SELinux", "Host Namespaces", "HostPath Volumes", "Sysctls", "AppArmor", "Privilege Escalation",
            "Running as Non-root", "Running as Non-root user", "Volume Types")


class Maker:
    def __init__(self, seed: int) -> None:
        self.of = Random(seed)

    def some(self, *choices: Any) -> Any:
        return copy.deepcopy(self.of.choice(choices))

    def maybe(self, **fields: tuple[Any, ...]) -> dict[str, Any]:
        return {name: self.some(*choices) for name, choices in fields.items() if self.of.random() < 0.3}

    # ── what is judged ──────────────────────────────────────────────────────────────────────────────────────────

    def container(self, name: str) -> dict[str, Any]:
        made = {"name": name, "image": self.some("nginx", "ghcr.io/a/web:1", "docker.io/library/redis:latest")}
        if self.of.random() < 0.7:
            made["securityContext"] = self.maybe(
                privileged=(True, False), allowPrivilegeEscalation=(True, False), runAsNonRoot=(True, False),
                runAsUser=(0, 1000), procMount=("Default", "Unmasked"),
                capabilities=({"add": ["SYS_ADMIN", "KILL"]}, {"drop": ["ALL"]}, {"drop": ["KILL"], "add": ["FOO"]},
                              {}),
                seccompProfile=({"type": "RuntimeDefault"}, {"type": "Unconfined"}),
                appArmorProfile=({"type": "Unconfined"}, {"type": "RuntimeDefault"}),
                seLinuxOptions=({"type": "x", "user": "u"}, {"role": "r"}, {"type": "container_t"}),
                windowsOptions=({"hostProcess": True}, {"hostProcess": False}))
        return made | self.maybe(ports=([{"containerPort": 80, "hostPort": 8080}], [{"containerPort": 90}]),
                                 env=([{"name": "A", "value": "1"}],), imagePullPolicy=("Always", "Never"))

    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"containers": [self.container(f"c{at}") for at in range(self.of.randint(1, 3))]}
        if self.of.random() < 0.3:
            spec["initContainers"] = [self.container("i")]
        spec |= self.maybe(
            hostNetwork=(True, False), hostPID=(True,), hostIPC=(True,), nodeName=("node-1",), priority=(5, 7),
            volumes=([{"name": "v", "hostPath": {"path": "/run"}}, {"name": "e", "emptyDir": {}}],
                     [{"name": "n", "nfs": {"server": "a", "path": "/b"}}]),
            securityContext=({"runAsNonRoot": True}, {"runAsUser": 0}, {"seccompProfile": {"type": "RuntimeDefault"}},
                             {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}, {"runAsNonRoot": False},
                             {"seLinuxOptions": {"type": "bad"}}))
        return {"metadata": self.maybe(labels=({"app": "web"}, {"team": "a", "app": "x"}),
                                       annotations=({"owner": "ann"},)), "spec": spec}

    def resource(self, at: int) -> dict[str, Any]:
        kind, pod = self.some(*KINDS), self.pod()
        meta = {"name": f"r{at}", "namespace": self.some("default", "shop"), **pod["metadata"]}
        if kind == "Pod":
            return {"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": pod["spec"]}
        pod["metadata"].setdefault("labels", {})["x"] = "y"
        spec: dict[str, Any] = {"template": pod}
        group = "apps/v1"
        if kind in ("Job", "CronJob"):
            group = "batch/v1"
        if kind == "CronJob":
            spec = {"schedule": "* * * * *", "jobTemplate": {"spec": spec}}
        return {"apiVersion": group, "kind": kind, "metadata": meta, "spec": spec}

    # ── policies ────────────────────────────────────────────────────────────────────────────────────────────────

    def pattern(self) -> dict[str, Any]:
        return self.some(
            {"spec": {"containers": [{"image": "ghcr.io/*"}]}}, {"spec": {"=(hostNetwork)": False}},
            {"spec": {"containers": [{"(image)": "*:latest", "imagePullPolicy": "Always"}]}},
            {"spec": {"^(containers)": [{"image": "nginx"}]}}, {"metadata": {"labels": {"app": "?*"}}},
            {"metadata": {"=(labels)": {"=(app)": "web"}}}, {"spec": {"X(hostPID)": "null"}},
            {"spec": {"=(volumes)": [{"X(hostPath)": "null"}]}}, {"spec": {"priority": ">5"}},
            {"spec": {"containers": [{"=(securityContext)": {"=(privileged)": "false"}}]}},
            {"spec": {"containers": [{"name": "{{ request.object.spec.containers[0].name }}"}]}},
            {"spec": {"nodeName": "{{ request.object.spec.none }}"}},
            {"spec": {"<(hostNetwork)": True, "hostPID": True}},
            {"metadata": {"annotations": {"owner": "{{ request.object.metadata.labels.team || 'nobody' }}"}}})

    def conditions(self, element: str = "") -> dict[str, Any]:
        root = element or "request.object.spec.containers[0]"
        return {self.some("any", "all"): [{"key": key, "operator": operator, "value": value, **self.maybe(
            message=("said {{ request.object.kind }}",))} for key, operator, value in (self.some(
                (f"{{{{ {root}.image }}}}", "Equals", "nginx"), (f"{{{{ {root}.name }}}}", "AnyIn", ["c0", "c1"]),
                (f"{{{{ {root}.none }}}}", "Equals", "x"),
                (f"{{{{ {root}.securityContext.privileged || `false` }}}}", "Equals", True),
                ("{{ request.object.metadata.labels.app || '' }}", "NotEquals", "web"),
                ("{{ request.operation }}", "Equals", "CREATE"),
                ("{{ request.object.spec.none || `1` }}", "GreaterThan", 0),
                ("{{ length(request.object.spec.containers) }}", "LessThan", 3),
                ("{{ images.containers.*.registry }}", "AnyIn", ["ghcr.io"])) for _ in range(self.of.randint(1, 2)))]}

    def foreach(self, depth: int = 0) -> dict[str, Any]:
        entry: dict[str, Any] = {"list": self.some(
            "request.object.spec.containers", "request.object.spec.[initContainers, containers][]",
            "request.object.spec.none", "request.object.spec.containers[].image") if not depth else "element.ports"}
        if self.of.random() < 0.3:
            entry["preconditions"] = self.conditions("element")
        entry |= self.maybe(elementScope=(True, False))
        form = self.some("deny", "pattern", "anyPattern", *(["foreach"] if not depth else []))
        entry[form] = {"deny": lambda: {"conditions": self.conditions("element")},
                       "pattern": lambda: self.some({"image": "ghcr.io/*"}, {"=(ports)": [{"=(hostPort)": 0}]},
                                                    {"containerPort": ">85"}),
                       "anyPattern": lambda: [{"image": "nginx"}, {"name": "c0"}],
                       "foreach": lambda: [self.foreach(depth + 1)]}[form]()
        return entry

    def cel(self) -> dict[str, Any]:
        return {"expressions": [{"expression": self.some(
            "object.spec.containers.all(c, c.image.startsWith('ghcr.io/'))", "!has(object.spec.hostNetwork)",
            "object.metadata.labels.app == 'web'", "variables.n < 2", "request.operation == 'CREATE'",
            "namespaceObject.metadata.name == 'shop'"), **self.maybe(
                message=("words",), messageExpression=("'n is ' + string(variables.n)", "object.none"))}
            for _ in range(self.of.randint(1, 2))],
            "variables": [{"name": "n", "expression": "size(object.spec.containers)"}]}

    def security(self) -> dict[str, Any]:
        level = self.some("baseline", "restricted")
        excluded = []
        for _ in range(self.some(0, 0, 1, 2)):
            entry: dict[str, Any] = {"controlName": self.some(*CONTROLS)}
            if self.of.random() < 0.6:
                entry["images"] = self.some(["*"], ["nginx"], ["ghcr.io/*", "nginx"])
            if self.of.random() < 0.4:
                entry["restrictedField"] = self.some("spec.containers[*].securityContext.privileged",
                                                     "spec.containers[*].securityContext.capabilities.add",
                                                     "spec.securityContext.runAsNonRoot", "spec.hostNetwork",
                                                     "spec.volumes[*].hostPath")
                entry["values"] = self.some(["true"], ["SYS_ADMIN", "KILL"], ["/run"], ["false"])
            excluded.append(entry)
        return {"level": level, "version": self.some("latest", "v1.24", "v1.29", "v1.19"),
                **({"exclude": excluded} if excluded else {})}

    def validate(self) -> dict[str, Any]:
        form = self.some("pattern", "anyPattern", "deny", "foreach", "foreach", "cel", "podSecurity", "podSecurity")
        made = {"pattern": self.pattern, "anyPattern": lambda: [self.pattern(), self.pattern()],
                "deny": lambda: {"conditions": self.conditions()}, "cel": self.cel,
                "foreach": lambda: [self.foreach() for _ in range(self.of.randint(1, 2))],
                "podSecurity": self.security}[form]()
        return {form: made, **({} if self.of.random() < 0.2 else {"message": self.some(
            "no", "not allowed.", "in {{ request.object.metadata.namespace }}", "{{ request.object.spec.none }}",
            "{{ request.object.spec.containers[0].image }} is bad")})}

    def rule(self, at: int) -> dict[str, Any]:
        resources: dict[str, Any] = {"kinds": self.some(["Pod"], ["Pod"], ["Pod"], ["Pod"], ["Deployment"], ["v1/Pod"],
                                                        ["Pod", "Job"])}
        resources |= {name: value for name, value in self.maybe(
            namespaces=(["shop"], ["d*"]), operations=(["CREATE"], ["UPDATE"])).items() if self.of.random() < 0.4}
        if self.of.random() < 0.08:
            resources |= self.some({"names": ["r1*"]}, {"selector": {"matchLabels": {"app": "*"}}},
                                   {"annotations": {"owner": "a*"}})
        match = self.some({"any": [{"resources": resources}]}, {"resources": resources},
                          {"all": [{"resources": resources}]},
                          {"any": [{"resources": resources}, {"resources": {"kinds": ["StatefulSet"]}}]})
        tail = "-with-a-name-that-is-rather-long-for-a-rule-of-kyverno" if self.of.random() < 0.1 else ""
        made = {"name": f"rule-{at}{tail}", "match": match, "validate": self.validate()}
        if self.of.random() < 0.2:
            made["exclude"] = self.some({"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["shop"]}}]},
                                        {"resources": {"namespaces": ["sh*"]}}, {"any": [{"resources": {
                                            "kinds": ["Service"]}}]})
        if self.of.random() < 0.25 and "cel" not in made["validate"]:
            made["preconditions"] = self.conditions()
        if self.of.random() < 0.3 and "cel" in made["validate"]:
            made["celPreconditions"] = [{"name": "a", "expression": self.some(
                "object.metadata.name != 'r1'", "has(object.metadata.labels)", "object.none == 1")}]
        return made

    def policy(self, at: int) -> dict[str, Any]:
        annotations = {AUTOGEN: self.some("none", "Deployment", "Deployment,CronJob", "Job, StatefulSet", "all")
                       } if self.of.random() < 0.2 else {}
        spec: dict[str, Any] = {"background": False, "rules": [self.rule(at) for at in range(self.of.randint(1, 2))]}
        if self.of.random() < 0.15:
            spec["applyRules"] = self.some("One", "All")
        return {"apiVersion": self.some("kyverno.io/v1"), "kind": "ClusterPolicy",
                "metadata": {"name": f"p{at}", "annotations": annotations}, "spec": spec}


def ours(policy: dict[str, Any], resources: list[dict[str, Any]]) -> set[Row]:
    """Raises CustodyError for a policy that custody refuses."""
    policies = PolicySet([policy], kinds=UNCHECKED)
    rows: set[Row] = set()
    for resource in resources:
        namespace = resource["metadata"]["namespace"]
        answers: dict[Question, Answer] = {NamespaceLabels(namespace): Answered({}),
                                           ApiCall(f"/api/v1/namespaces/{namespace}"): Answered(
                                               {"metadata": {"name": namespace}})}
        decision = decide(Request.create(resource), {}, policies, Context(now=datetime.now(UTC)), at=Course.VALIDATING,
                          answers=answers)
        rows |= {(result.policy, result.rule, resource["kind"], resource["metadata"]["name"], result.outcome.value,
                  result.message) for result in decision.results}
    return rows


def theirs(program: str, policies: list[dict[str, Any]], resources: list[dict[str, Any]]) -> set[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "p.yaml").write_text("---\n".join(json.dumps(policy) + "\n" for policy in policies))
        (folder / "r.yaml").write_text("---\n".join(json.dumps(resource) + "\n" for resource in resources))
        done = subprocess.run([program, "apply", "p.yaml", "--resource", "r.yaml", "--policy-report",
                               "--output-format", "json"], cwd=folder, capture_output=True, text=True, check=False,
                              timeout=300)
    return {(result["policy"], result["rule"], about["kind"], about["name"], result["result"],
             result.get("message", ""))
            for line in done.stdout.splitlines() if line.startswith("{")
            for result in json.loads(line).get("results", []) for about in result["resources"]}


def alike(row: Row) -> Row:
    """Failed checks of a podSecurity come in the order of a Go map where something is excluded."""
    head, found, checks = row[5].partition("(Forbidden reason: ")
    return (*row[:5], head + found + "(Forbidden reason: ".join(sorted(checks.split("(Forbidden reason: "))))


def compare(count: int, seed: int, program: str, *, show: int = 10) -> tuple[int, int, int]:
    """(rows, differences, refused policies)."""
    maker, rows, differences, refused = Maker(seed), 0, 0, 0
    for start in range(0, count, BATCH):
        policies = [maker.policy(start + at) for at in range(min(BATCH, count - start))]
        resources = [maker.resource(at) for at in range(14)]
        answered = set(map(alike, theirs(program, policies, resources)))
        for policy in policies:
            expected = {row for row in answered if row[0] == policy["metadata"]["name"]}
            try:
                got = set(map(alike, ours(policy, resources)))
            except CustodyError as error:
                refused += bool(expected)
                if expected and show > 0:
                    print(f"refused: {error.message}")
                continue
            rows += len(expected)
            if not expected:  # Kyverno refused it, or has nothing to say
                continue
            if got != expected:
                differences += 1
                if differences <= show:
                    print(json.dumps(policy))
                    for row in sorted(expected - got)[:2]:
                        print("  theirs", row)
                    for row in sorted(got - expected)[:2]:
                        print("  ours  ", row)
    return rows, differences, refused


if __name__ == "__main__":
    words = sys.argv[1:] + ["1", ""][len(sys.argv) - 2:]
    print("{} rows, {} policies differ, {} refused".format(
        *compare(int(words[0]), int(words[1]), words[2] or peer("kyverno-next"))))
