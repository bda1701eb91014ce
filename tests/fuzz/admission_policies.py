"""ValidatingAdmissionPolicies beside a real kube-apiserver: the same verdict, message, reason and warnings.

`python -m tests.fuzz.admission_policies KUBECONFIG [COUNT]`. Each policy is bound to objects with a label of its own.
"""

from __future__ import annotations

import base64
import json
import random
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Kind, Request, Resource, User
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, NamespaceLabels, Question
from tests.fuzz.validating import NOW

API = "admissionregistration.k8s.io/v1"
USER = User(username="admin", groups=("system:masters", "system:authenticated"))

EXPRESSIONS = [
    "object.spec.containers.size() <= 1", "object.spec.containers.all(c, c.image.startsWith('ghcr.io/'))",
    "object.metadata.name.matches('^[a-m].*')", "has(object.metadata.labels.team)", "object.spec.nope == 1",
    "object.spec.containers[3].name == 'a'", "oldObject == null", "request.operation == 'CREATE'",
    "request.userInfo.username == 'admin'", "'system:masters' in request.userInfo.groups", "1 / 0 == 1",
    "namespaceObject.metadata.name == 'default'", "namespaceObject.metadata.labels['none'] == 'x'",
    "object.metadata.labels['case'] == 'x'", "size(object.spec.containers) > 0 || object.nope", "request.name == ''",
    "request.namespace == 'default' && request.resource.resource == 'pods'", "variables.images.exists(i, i == 'b')",
    "variables.broken == 1", "variables.images.size() > 1 ? variables.broken == 1 : true", "!has(object.spec.nodeName)",
    "object.spec.containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged))",
    "quantity('1Gi').isGreaterThan(quantity('1Mi'))", "object.spec.terminationGracePeriodSeconds > 30",
    "[1, 2, 3].all(x, [1, 2, 3].all(y, [1, 2, 3].all(z, x + y + z < 9)))", "has(request.subResource)",
    "authorizer.group('').resource('pods').namespace('default').check('create').allowed()",
    "authorizer.requestResource.check('delete').allowed()", "object.spec.containers[0].image == 'b'",
    "lists_are_long", "has(request.dryRun) && request.dryRun", "dyn(object.metadata.name) < dyn(1)",
]
LONG = ("[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, "
        "[0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, a + b + c + d + e + f "
        "< 100))))))")
MESSAGES = [{}, {"message": " no "}, {"messageExpression": "'bad ' + object.metadata.name"},
            {"messageExpression": "string(object.nope)", "message": "fallback"}, {"messageExpression": "'a\\nb'"},
            {"message": "m", "reason": "Forbidden"}, {"reason": "RequestEntityTooLarge"}, {"messageExpression": "' '"}]
PARAMS = ["params.data.limit == '3'", "params == null", "params.data.none == '1'", "params.metadata.name == 'good'",
          "params.kind == 'ConfigMap'", "int(params.data.limit) >= object.spec.containers.size()"]
REFS: list[dict[str, Any]] = [
    {"name": "good", "namespace": "default", "parameterNotFoundAction": "Deny"},
    {"name": "none", "namespace": "default", "parameterNotFoundAction": "Deny"},
    {"name": "none", "namespace": "default", "parameterNotFoundAction": "Allow"},
    {"name": "good", "parameterNotFoundAction": "Deny"},
    {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Deny"},
    {"selector": {"matchLabels": {"limits": "no"}}, "parameterNotFoundAction": "Deny"}]
CONDITIONS = ["true", "false", "object.nope == 1", "request.operation == 'CREATE'", "object.metadata.name != 'alpha'"]
CONFIG_MAPS = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default",
                "labels": {"limits": "yes"}}, "data": {"limit": limit}}
               for name, limit in (("good", "3"), ("few", "1"))]


class Case(NamedTuple):
    policy: dict[str, Any]
    binding: dict[str, Any]


class Said(NamedTuple):
    allowed: bool
    message: str
    reason: str
    warnings: tuple[str, ...]


def generated(rng: random.Random, at: int) -> Case:
    label = f"c{at}"
    with_params = rng.random() < 0.3
    pool = EXPRESSIONS + (PARAMS * 4 if with_params else [])
    validations = [{"expression": text if (text := rng.choice(pool)) != "lists_are_long" else LONG, **rng.choice(
        MESSAGES)} for _ in range(rng.randint(1, 3))]
    spec: dict[str, Any] = {
        "failurePolicy": rng.choice(["Fail", "Fail", "Ignore"]), "validations": validations,
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE", "UPDATE"]}]},
        "variables": [{"name": "images", "expression": "object.spec.containers.map(c, c.image)"},
                      {"name": "broken", "expression": "object.spec.broken"}]}
    if rng.random() < 0.4:
        spec["matchConditions"] = [{"name": f"m{n}", "expression": rng.choice(CONDITIONS)}
                                   for n in range(rng.randint(1, 2))]
    if rng.random() < 0.2:
        spec["auditAnnotations"] = [{"key": "k", "valueExpression": rng.choice(["'v'", "string(object.nope)", "null"])}]
    if with_params:
        spec["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    binding: dict[str, Any] = {"policyName": label, "validationActions": rng.choice(
        [["Deny"], ["Deny"], ["Deny", "Audit"], ["Warn"], ["Audit"], ["Warn", "Audit"]]),
        "matchResources": {"objectSelector": {"matchLabels": {"case": label}}}}
    if rng.random() < 0.3:
        binding["matchResources"]["namespaceSelector"] = rng.choice([
            {"matchLabels": {"kubernetes.io/metadata.name": "default"}}, {"matchLabels": {"env": "prod"}}])
    if with_params and rng.random() < 0.9:
        binding["paramRef"] = rng.choice(REFS)
    return Case({"apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": label}, "spec": spec},
                {"apiVersion": API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": f"b{at}"},
                 "spec": binding})


def pods(label: str) -> list[dict[str, Any]]:
    def pod(name: str, spec: dict[str, Any] | None = None, **labels: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {
            "case": label, **labels}}, "spec": {"containers": [{"name": "a", "image": "b"}], **(spec or {})}}
    two = {"containers": [{"name": "a", "image": "ghcr.io/x/y:1"}, {"name": "c", "image": "ghcr.io/z:2",
                                                                    "securityContext": {"privileged": True}}]}
    return [pod("alpha", team="x"), pod("zeta", two), pod("beta", {"terminationGracePeriodSeconds": 60}),
            pod("gamma", {"containers": [{"name": "a", "image": "ghcr.io/q:1"}]})]


class ApiServer:
    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url, self._files = cluster["server"], []
        for data in (cluster["certificate-authority-data"], user["client-certificate-data"], user["client-key-data"]):
            with tempfile.NamedTemporaryFile(delete=False) as file:
                file.write(base64.b64decode(data))
            self._files.append(file.name)
        self._tls = ssl.create_default_context(cafile=self._files[0])
        self._tls.load_cert_chain(self._files[1], self._files[2])

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any, list[str]]:
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode(),
                                         {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, context=self._tls) as answer:
                return answer.status, json.load(answer), answer.headers.get_all("Warning") or []
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), error.headers.get_all("Warning") or []

    def create(self, document: dict[str, Any]) -> None:
        group = f"/apis/{document['apiVersion']}" if "/" in document["apiVersion"] else "/api/v1/namespaces/default"
        status, answer, _ = self.ask("POST", f"{group}/{document['kind'].lower()}s".replace("policys", "policies"),
                                     document)
        if status not in (201, 409):
            raise SystemExit(f"{document['metadata']['name']}: {answer.get('message')}")

    def says(self, pod: dict[str, Any]) -> tuple[Said, dict[str, Any]]:
        """What it says, and the pod as it would be."""
        status, answer, warnings = self.ask("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod)
        said = tuple(warning.partition('"')[2].rpartition('"')[0].replace('\\"', '"') for warning in warnings)
        if status == 201:
            return Said(True, "", "", said), answer
        return Said(False, answer["message"].partition("forbidden: ")[2], answer["reason"], said), {}


class Answers(dict[Question, Answer]):
    """Whatever is asked, asked of the API server."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__()
        self._server = server

    def get(self, question: Question, default: Any = None) -> Any:
        if question not in self:
            if isinstance(question, NamespaceLabels):
                _, answer, _ = self._server.ask("GET", f"/api/v1/namespaces/{question.namespace}")
                self[question] = Answered(answer["metadata"]["labels"])
            elif isinstance(question, ApiCall):
                body = json.loads(question.body) if question.body else None
                status, answer, _ = self._server.ask(question.method, question.path, body)
                self[question] = Absent() if status == 404 else Answered(answer)
        return super().get(question, default)


def custody(policies: PolicySet, pod: dict[str, Any], answers: Answers) -> Said:
    request = Request(operation="CREATE", kind=Kind("Pod"), resource=Resource("pods"), name=pod["metadata"]["name"],
                      namespace="default", object=pod, user=USER, dry_run=True)
    decision = decide(request, {}, policies, NOW, at=Course.VALIDATING, answers=answers)
    denied = [result for result in decision.results if result.denies]
    warnings = tuple(dict.fromkeys(decision.warnings))  # the API server hands on each text once
    if denied:
        return Said(False, denied[0].told, denied[0].properties["reason"], warnings)
    return Said(True, "", "", warnings)


def defaulted(server: ApiServer) -> dict[str, dict[str, Any]]:
    """The pods as the API server completes them before it asks policies."""
    return {pod["metadata"]["name"]: server.says(pod)[1] for pod in pods("none")}


def main() -> None:
    server, count = ApiServer(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 200
    run = random.randrange(10 ** 6)
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else run)
    cases = [generated(rng, run * 1000 + at) for at in range(count)]
    for document in CONFIG_MAPS:
        server.create(document)
    whole = defaulted(server)
    for case in cases:
        server.create(case.policy)
        server.create(case.binding)
    time.sleep(5)
    asked = wrong = denied = 0
    answers = Answers(server)
    for case in cases:
        policies = PolicySet([case.policy, case.binding])
        label = case.policy["metadata"]["name"]
        for pod in pods(label):
            theirs, _ = server.says(pod)
            full = json.loads(json.dumps(whole[pod["metadata"]["name"]]))
            full["metadata"]["labels"]["case"] = label
            ours = custody(policies, full, answers)
            asked += 1
            denied += not theirs.allowed
            if ours != theirs:
                wrong += 1
                print(f"{pod['metadata']['name']}\n  kube    {theirs}\n  custody {ours}\n  {case}")
        server.ask("DELETE", f"/apis/{API}/validatingadmissionpolicybindings/{case.binding['metadata']['name']}")
        server.ask("DELETE", f"/apis/{API}/validatingadmissionpolicies/{label}")
    print(f"{count} policies, {asked} requests, {denied} denied, {wrong} differ")


if __name__ == "__main__":
    main()
