"""Admission policies that custody makes of other policies, beside a real API server that judges by them.

`python -m tests.fuzz.emitted [COUNT] [SEED]`: ValidatingPolicies and MutatingPolicies with `autogen`, ClusterPolicies
with `validate.cel.generate`, some with an exception. What is made of each is applied and objects are created (dry run):
the answer is what custody says by the policy itself, as the webhook would: verdict, words, mutations. Where it is not,
custody says the same of what it made, and emission's documentation names why. Not among them: patches that leave an
empty map, which the API server's types drop before the next mutation.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from custody.formats.jsonpatch import apply
from custody.policy.decide import decide
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.model import Kind, Outcome, Request, Resource
from custody.policy.phases import Course
from custody.services.cluster.emitting import wished
from tests.admission.conftest import api_server
from tests.fuzz.admission_policies import USER, Answers, ApiServer
from tests.fuzz.validating import NOW

Object = dict[str, Any]
FLAGS = ("--runtime-config=admissionregistration.k8s.io/v1beta1=true", "--feature-gates=MutatingAdmissionPolicy=true")
GROUP = "/apis/admissionregistration.k8s.io"
EXPRESSIONS = [
    "object.metadata.name != 'beta'", "has(object.metadata.labels.team)", "object.data.size() < 2", "1 / 0 == 1",
    "object.?data.a.orValue('') != 'x'", "object.data['none'] == 'x'", "request.operation == 'CREATE'",
    "namespaceObject.metadata.name == 'default'", "object.metadata.labels['team'] == 'x'", "oldObject == null",
    "variables.keys.exists(k, k == 'a')", "variables.broken == 'x'", "request.name == object.metadata.name",
    "!has(object.immutable) || object.immutable", "object.metadata.name.matches('^[a-m]')", "request.dryRun",
    "variables.keys.size() > 1 ? variables.broken == 'x' : true", "has(object.metadata.annotations)",
    "quantity('1Gi').isGreaterThan(quantity('1Mi'))", "'system:masters' in request.userInfo.groups",
    "object.metadata.namespace == request.namespace", "object.kind == 'ConfigMap'"]
EXCEPTED = ["!('beta' in exceptions.allowedValues)", "object.metadata.name in exceptions.allowedValues",
            "size(exceptions.allowedImages) < 2"]
MESSAGES: list[dict[str, str]] = [
    {}, {"message": "no"}, {"messageExpression": "'bad ' + object.metadata.name"}, {"message": " no such "},
    {"messageExpression": "string(object.nope)", "message": "m"}, {"messageExpression": "''"}]
CONDITIONS = ["true", "false", "object.nope == 1", "object.metadata.name != 'alpha'", "request.operation == 'CREATE'",
              "!has(object.immutable)"]
MUTATIONS: list[Object] = [
    {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}} for text in (
        "Object{metadata: Object.metadata{labels: Object.metadata.labels{made: 'a'}}}",
        "Object{metadata: Object.metadata{annotations: {'name': object.metadata.name}}}",
        "has(object.data) ? Object{data: {'b': object.data['a']}} : Object{}",
        "Object{data: {'count': string(variables.keys.size())}}", "Object{immutable: true}")] + [
    {"patchType": "JSONPatch", "jsonPatch": {"expression": " ".join(text.split())}} for text in (
        """[JSONPatch{op: "add", path: "/metadata/labels/json", value: "b"}]""",
        """[JSONPatch{op: "test", path: "/data/a", value: "x"},
            JSONPatch{op: "replace", path: "/data/a", value: "y"}]""",
        """has(object.data) ? [JSONPatch{op: "remove", path: "/data"}] : []""",
        """[JSONPatch{op: "add", path: "/data/" + jsonpatch.escapeKey("a.b"), value: "c"}]""")]
SELECTORS: list[Object] = [
    {"objectSelector": {"matchLabels": {"team": "x"}}}, {"namespaceSelector": {"matchLabels": {"env": "prod"}}},
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
    {"objectSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}},
    {"excludeResourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                               "operations": ["CREATE"], "resourceNames": ["alpha"]}]}]
VARIABLES = [{"name": "keys", "expression": "object.?data.orValue({}).map(k, k)"},
             {"name": "broken", "expression": "object.data['broken']"}]


def objects() -> list[Object]:
    def config_map(name: str, labels: dict[str, str], **rest: Any) -> Object:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default",
                                                                      "labels": labels}, **rest}
    return [config_map("alpha", {"team": "x"}), config_map("beta", {"of": "b"}, data={"a": "x"}),
            config_map("gamma", {"team": "y"}, data={"a": "1", "b": "2"}),
            config_map("zeta", {"a": "b"}, immutable=True),
            config_map("delta", {"team": "x"}, data={"broken": "x", "a": "y"}), config_map("beta", {"team": "x"})]


def _validations(rng: random.Random, pool: list[str]) -> list[Object]:
    return [{"expression": rng.choice(pool), **rng.choice(MESSAGES)} for _ in range(rng.randint(1, 3))]


def _conditions(rng: random.Random) -> list[Object]:
    return [{"name": f"m{at}", "expression": rng.choice(CONDITIONS)} for at in range(rng.randint(1, 2))]


def generated(rng: random.Random, name: str) -> list[Object]:
    """A policy, and an exception or none."""
    return rng.choice([_validating, _validating, _mutating, _rule])(rng, name)


def _exception(rng: random.Random, name: str, kind: str) -> list[Object]:
    if rng.random() > 0.3:
        return []
    spec: Object = {"policyRefs": [{"name": name, "kind": kind}]}
    if kind == "ValidatingPolicy" and rng.random() < 0.4:
        spec["allowedValues"] = rng.choice([["beta"], ["alpha", "it's"], ["zeta"]])
    else:
        spec["matchConditions"] = _conditions(rng)
    return [{"apiVersion": "policies.kyverno.io/v1", "kind": "PolicyException",
             "metadata": {"name": f"e-{name}", "namespace": "default"}, "spec": spec}]


def _spec(rng: random.Random) -> Object:
    operations = rng.choice([["CREATE"], ["CREATE", "UPDATE"], ["*"], ["UPDATE"]])
    match: Object = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                                        "operations": operations}]}
    if rng.random() < 0.3:
        match |= rng.choice(SELECTORS)
    return {"matchConstraints": match, "failurePolicy": rng.choice(["Fail", "Fail", "Ignore"]), "variables": VARIABLES,
            **({"matchConditions": _conditions(rng)} if rng.random() < 0.4 else {})}


def _validating(rng: random.Random, name: str) -> list[Object]:
    spec = {**_spec(rng), "autogen": {"validatingAdmissionPolicy": {"enabled": True}},
            "validationActions": rng.choice([["Deny"], ["Deny"], ["Deny"], ["Audit"], ["Warn"], ["Audit", "Warn"]]),
            "validations": _validations(rng, EXPRESSIONS + EXCEPTED)}
    if rng.random() < 0.2:
        spec["auditAnnotations"] = [{"key": "k", "valueExpression": rng.choice(["'v'", "string(object.nope)"])}]
    return [{"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": name},
             "spec": spec}, *_exception(rng, name, "ValidatingPolicy")]


def _mutating(rng: random.Random, name: str) -> list[Object]:
    spec = {**_spec(rng), "autogen": {"mutatingAdmissionPolicy": {"enabled": True}},
            "mutations": rng.choices(MUTATIONS, k=rng.randint(1, 2))}
    return [{"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": name},
             "spec": spec}, *_exception(rng, name, "MutatingPolicy")]


def _rule(rng: random.Random, name: str) -> list[Object]:
    resources: Object = {"kinds": ["ConfigMap"], **rng.choice([
        {}, {}, {"namespaces": ["default"]}, {"selector": {"matchLabels": {"team": "x"}}}, {"names": ["beta", "alpha"]},
        {"operations": ["CREATE"]}, {"operations": ["UPDATE"]}, {"namespaces": ["prod"]}])}
    rule: Object = {"name": "r", "match": {rng.choice(["any", "all"]): [{"resources": resources}]},
                    "validate": {"failureAction": rng.choice(["Enforce", "Enforce", "Audit"]), "cel": {
                        "generate": True, "variables": VARIABLES, "expressions": _validations(rng, EXPRESSIONS)}}}
    if rng.random() < 0.3:
        rule["exclude"] = {"any": [{"resources": {"kinds": ["ConfigMap"], "names": ["beta"]}}]}
    if rng.random() < 0.3:
        rule["celPreconditions"] = _conditions(rng)
    spec: Object = {"rules": [rule], "failurePolicy": rng.choice(["Fail", "Fail", "Ignore"])}
    documents = [{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}]
    if rng.random() < 0.2:
        documents.append({
            "apiVersion": "kyverno.io/v2", "kind": "PolicyException",
            "metadata": {"name": f"e-{name}", "namespace": "default"}, "spec": {
                "exceptions": [{"policyName": name, "ruleNames": ["r"]}],
                "match": {"any": [{"resources": {"kinds": ["ConfigMap"], "names": ["gamma"]}}]}}})
    return documents


class Said(NamedTuple):
    allowed: bool
    object: Object
    """What came of it, where it was mutated."""
    words: str


class Bench:
    """One policy after the other on one API server."""

    def __init__(self, server: ApiServer) -> None:
        self.server, self.answers = server, Answers(server)
        self.seen: Counter[str] = Counter()

    def differences(self, batch: list[list[Object]]) -> Iterator[str]:
        """Of policies about objects of their own, by label, which are applied together."""
        made: list[tuple[list[Object], list[Object]]] = []
        for documents in batch:
            wish = wished(documents[0], documents[1:], builtin(), "custody")
            if not wish.documents:
                self.seen[f"left to the webhook ({wish.reason[:100]})"] += 1
                continue
            name = documents[0]["metadata"]["name"]
            native = json.loads(json.dumps(wish.documents))
            native[1]["spec"].setdefault("matchResources", {})["objectSelector"] = {"matchLabels": {"case": name}}
            if faults := [fault for document in native if (fault := self._apply(document))]:
                self.seen["not taken"] += 1
                yield f"{name} is not taken: {faults}\n  {json.dumps(documents)}"
            made.append((documents, native))
        time.sleep(4)
        for documents, native in made:
            for given in objects():
                if line := self._difference(documents, native, given):
                    yield line
        for _, native in made:
            for document in reversed(native):
                self.server.ask("DELETE", _path(document, document["metadata"]["name"]))

    def _apply(self, document: Object) -> str:
        document["metadata"].pop("ownerReferences", None)
        document["apiVersion"] = f"admissionregistration.k8s.io/{_version(document)}"
        status, answer, _ = self.server.ask("POST", _path(document), document)
        return "" if status == 201 else str(answer.get("message"))

    def _difference(self, documents: list[Object], native: list[Object], given: Object) -> str:
        name = documents[0]["metadata"]["name"]
        given["metadata"]["labels"]["case"] = name
        status, answer, warnings = self.server.ask(
            "POST", "/api/v1/namespaces/default/configmaps?dryRun=All", given)
        mutates = native[0]["kind"].startswith("Mutating")
        theirs = Said(status == 201, _of(answer) if status == 201 and mutates else {},
                      " ".join([str(answer.get("message", ""))] if status != 201 else warnings))
        ours, _ = self._custody(documents, given, mutates=mutates)
        self.seen["requests"] += 1
        self.seen["denied"] += not ours.allowed
        self.seen["changed"] += mutates and ours.object != _of(given)
        itself, texts = self._custody(native, given, mutates=mutates)
        told = theirs.allowed or mutates or any(text in theirs.words for text in texts)
        if theirs[:2] == ours[:2] == itself[:2] and told:
            return ""
        why = ""
        if itself[:2] == theirs[:2] and told:
            why = _explained(documents, theirs, ours)
            alone, _ = self._custody(documents[:1], given, mutates=mutates)
            if not why and len(documents) > 1 and "error: " in ours.words and alone[:2] == theirs[:2]:
                why = "an exception's condition that fails, of what the policy does not match"
        self.seen[why or "UNEXPLAINED"] += 1
        return "" if why else (f"{given['metadata']['name']}\n  kube    {theirs}\n  custody {ours}\n  emitted, by "
                               f"custody {itself}\n  {json.dumps(documents)}")

    def _custody(self, documents: list[Object], given: Object, *, mutates: bool) -> tuple[Said, list[str]]:
        """What it says, and the texts of which one is to be told where it denies."""
        request = Request(operation="CREATE", kind=Kind("ConfigMap"), resource=Resource("configmaps"),
                          name=given["metadata"]["name"], namespace="default", object=given, user=USER, dry_run=True)
        decision = decide(request, {}, PolicySet(documents), NOW, answers=self.answers,
                          at=Course.MUTATING if mutates else Course.VALIDATING)
        denied = [result.message for result in decision.results if result.denies]
        object_ = _of(apply(given, decision.patch)) if mutates and not denied else {}
        failed = [f"{result.outcome.value}: {result.message}" for result in decision.results
                  if result.outcome in (Outcome.FAIL, Outcome.ERROR)]
        return Said(not denied, object_, "; ".join(failed)), [text.strip() for text in denied]


def _explained(documents: list[Object], theirs: Said, ours: Said) -> str:
    """A difference that emission's documentation names; "" for all else."""
    policy, spec = documents[0], documents[0]["spec"]
    if any(f"'{entry['valueExpression']}'" in theirs.words for entry in spec.get("auditAnnotations") or ()):
        return "an audit annotation that fails denies under Audit too"
    if policy["kind"] == "ValidatingPolicy" and "oldObject" in str(spec["validations"]) and theirs.allowed:
        return "oldObject of what is created is null there, and empty in Kyverno's webhook"
    if policy["kind"] == "MutatingPolicy" and spec.get("failurePolicy") == "Ignore" and "error: " in ours.words:
        return "a mutation that fails is left out alone"
    if policy["kind"] == "MutatingPolicy" and str(spec["mutations"]).count("variables.") > 1:
        return "each mutation has variables of its own"
    conditions = [*(spec.get("matchConditions") or ()), *(condition for document in documents[1:]
                                                          for condition in document["spec"].get("matchConditions", ()))]
    if "resulted in error" in theirs.words and ours.allowed and any(
            condition["expression"] in theirs.words for condition in conditions):
        return "a condition that fails denies under Ignore and Audit too"
    return ""


def _of(document: Any) -> Object:
    """What a mutation may have changed of it."""
    metadata = {key: document["metadata"].get(key) for key in ("name", "labels", "annotations")}
    return {"metadata": metadata, **{key: document.get(key) for key in ("data", "immutable")}}


def _version(document: Object) -> str:
    return "v1beta1" if document["kind"].startswith("Mutating") else "v1"


def _path(document: Object, name: str = "") -> str:
    plural = document["kind"].lower().removesuffix("y")
    plural = f"{plural}ies" if document["kind"].endswith("y") else f"{plural}s"
    return f"{GROUP}/{_version(document)}/{plural}" + (f"/{name}" if name else "")


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10 ** 6)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, api_server(Path(folder), *FLAGS) as kubeconfig:
        bench = Bench(ApiServer(kubeconfig))
        for start in range(0, count, 60):
            batch = [generated(rng, f"p{at}") for at in range(start, min(start + 60, count))]
            for line in bench.differences(batch):
                print(line, flush=True)
    told = "; ".join(f"{number} {name}" for name, number in bench.seen.most_common())
    print(f"seed {seed}: {count} policies; {told}")
    return bool(bench.seen["UNEXPLAINED"] or bench.seen["not taken"])


if __name__ == "__main__":
    raise SystemExit(main())
