"""`python -m tests.fuzz.gatekeeper_mutations COUNT [SEED]`: generated mutators and pods, by custody and by `gator expand`.

A Deployment of each pod is expanded, and the mutators shape what comes of it. Prints each set on which the two differ.
"""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.policy.engines import compile_document
from custody.policy.gatekeeper.expansion import Expansion
from custody.policy.gatekeeper.mutation import Mutation
from custody.policy.lookup import Answers
from custody.policy.model import Request
from tests.fuzz.chance import Chance

PROGRAM = Path.home() / ".cache/custody/peers/gator"
Json = dict[str, Any]
_TEMPLATE: Json = {
    "apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate", "metadata": {"name": "pods"},
    "spec": {"applyTo": [{"groups": ["apps"], "versions": ["v1"], "kinds": ["Deployment"]}],
             "templateSource": "spec.template", "generatedGVK": {"group": "", "version": "v1", "kind": "Pod"}}}
_NAMES = ("a", "b", "web", "1", "x.y")
_IMAGES = ("nginx", "nginx:1.25", "gcr.io/a/b:1", "localhost/x", "localhost:5000/a@sha256:" + "0" * 64, "a/b/c", "a.b/c", "",
           "docker.io/library/nginx@sha256:" + "f" * 64)


class Generator(Chance):
    def pod(self) -> Json:
        spec: Json = {}
        for name in ("containers", "initContainers"):
            if self.chance(0.8 if name == "containers" else 0.3):
                spec[name] = [self.container() for _ in range(self.random.randint(0, 3))]
        if self.chance(0.3):
            spec["hostNetwork"] = self.pick(True, False, "yes")
        if self.chance(0.3):
            spec["tolerations"] = [self.pick({"key": "a"}, {"key": "b", "operator": "Exists"}, "odd")
                                   for _ in range(self.random.randint(0, 2))]
        if self.chance(0.3):
            spec["securityContext"] = self.pick({}, {"runAsUser": 0}, {"fsGroup": 1, "sysctls": [{"name": "a", "value": "1"}]})
        return {"metadata": {"labels": {self.pick("a", "b", "team"): self.pick("x", "y", "")} if self.chance(0.7) else {},
                             **({"annotations": {"a": "b"}} if self.chance(0.3) else {})}, "spec": spec}

    def container(self) -> Json:
        made: Json = {"name": self.pick(*_NAMES)}
        if self.chance(0.9):
            made["image"] = self.pick(*_IMAGES)
        if self.chance(0.3):
            made["ports"] = [{"containerPort": self.pick(80, 443), "name": self.pick("http", "x")}]
        if self.chance(0.4):
            made["args"] = [self.pick("-a", "-b", "--c=1", 1) for _ in range(self.random.randint(0, 3))]
        if self.chance(0.4):
            made["env"] = [{"name": self.pick("A", "B"), "value": "1"} for _ in range(self.random.randint(0, 2))]
        if self.chance(0.3):
            made["securityContext"] = self.pick({}, {"privileged": True}, {"capabilities": {"add": ["SYS_ADMIN"]}})
        return made

    def deployment(self, at: int) -> Json:
        namespace = self.pick("default", "prod")  # gator takes an object without one to be in a namespace without a name
        return {"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": f"d{at}", **({"namespace": namespace} if namespace else {})},
                "spec": {"template": self.pod()}}

    def location(self) -> str:
        holder = self.pick("spec.containers", "spec.initContainers")
        item = self.pick("[name: *]", "[name: a]", '[name: "x.y"]', "[name: web]", "[name: '1']", "[image: nginx]")
        return str(self.pick(
            f"{holder}{item}.image", f"{holder}{item}.imagePullPolicy", f"{holder}{item}.args", f"{holder}{item}.env",
            f"{holder}{item}.env[name: A].value", f"{holder}{item}.env[name: A]", f"{holder}{item}.ports[name: http].containerPort",
            f"{holder}{item}.securityContext.privileged", f"{holder}{item}.securityContext.capabilities.add", f"{holder}{item}",
            "spec.hostNetwork", "spec.tolerations", "spec.tolerations[key: a]", "spec.tolerations[key: a].operator",
            "spec.securityContext.runAsUser", "spec.securityContext", 'spec.nodeSelector."kubernetes.io/os"',
            "spec.securityContext.sysctls[name: a].value", "spec.a.b.c",
            *([f"{holder}{item}.name", "metadata.labels.x"] if self.chance(0.1) else [])))

    def value(self, location: str) -> Any:
        if location.endswith("]") and self.chance(0.9):  # no numbers as keys: gator's objects have 80.0 for 80
            key, _, value = location[location.rindex("[") + 1:-1].partition(":")
            return {key: value.strip().strip("'\""), "value": self.pick("1", "2")}
        return self.pick("Always", True, 0, 7, "x", {"a": 1}, ["-a"], [], {}, [{"name": "A", "value": "2"}], "nginx")

    def mutator(self, at: int) -> Json:
        kind = self.pick("Assign", "Assign", "AssignMetadata", "ModifySet", "AssignImage")
        location = self.location()
        parameters: Json = {}
        if kind == "AssignMetadata":
            location = self.pick(*["metadata.labels.team", "metadata.labels.a", 'metadata.annotations."x/y"'] * 4,
                                 "metadata.labels", "metadata.name")
            parameters["assign"] = self.pick(*[{"value": "v"}, {"value": "w"}, {"fromMetadata": {"field": "name"}},
                                               {"fromMetadata": {"field": "namespace"}}] * 4, {"value": 1})
        elif kind == "Assign":
            parameters["assign"] = self.pick({"value": self.value(location)}, {"value": self.value(location)},
                                             {"value": self.value(location)}, {"fromMetadata": {"field": "name"}})
        elif kind == "ModifySet":
            if self.chance(0.7):
                location = self.pick("spec.containers[name: *].args", "spec.tolerations", "spec.containers[name: a].env",
                                     "spec.containers[name: *].securityContext.capabilities.add")
            parameters |= {"operation": self.pick("merge", "prune"), "values": {"fromList": [
                self.pick("-a", "-x", "SYS_ADMIN", {"key": "a"}, 1) for _ in range(self.random.randint(1, 3))]}}
        else:
            if self.chance(0.8):
                location = self.pick("spec.containers[name: *].image", "spec.containers[name: a].image",
                                     "spec.initContainers[name: *].image")
            parameters |= {name: value for name, value in (
                ("assignDomain", self.pick("", "", "gcr.io", "localhost:5000", "reg.example.com:443")),
                ("assignPath", self.pick("", "", "a/b", "library/nginx", "a__b/c-d", "x")),
                ("assignTag", self.pick("", ":1", ":latest", "@sha256:" + "a" * 64))) if value}
        if kind != "AssignMetadata" and self.chance(0.4):
            parts = location.split(".")
            cut = self.random.randint(1, len(parts))
            parameters["pathTests"] = [{"subPath": ".".join(parts[:cut]),
                                        "condition": self.pick("MustExist", "MustNotExist", "MustExist", "MustNotExist")}
                                       for _ in range(self.pick(1, 1, 2))]
        spec: Json = {"location": location, "parameters": parameters}
        if kind != "AssignMetadata":
            spec["applyTo"] = [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}]
        if self.chance(0.4):
            spec["match"] = self.match()
        return {"apiVersion": "mutations.gatekeeper.sh/" + self.pick("v1", "v1beta1") if kind != "AssignImage"
                else "mutations.gatekeeper.sh/v1alpha1", "kind": kind, "metadata": {"name": f"m{at}"}, "spec": spec}

    def match(self) -> Json:
        return {name: value for name, value in (
            ("scope", self.pick("*", "Namespaced", "Cluster", "odd")),
            ("kinds", [{"apiGroups": self.pick([""], ["*"], ["apps"], []), "kinds": self.pick(["Pod"], ["*"], ["Deployment"], [])}]),
            ("namespaces", [self.pick("prod", "pr*", "*d", "*", "def*")]),
            ("excludedNamespaces", [self.pick("prod", "*o*", "x")]),
            ("labelSelector", self.pick({"matchLabels": {"a": "x"}}, {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
                                        {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, {})),
            ("name", self.pick("d1*", "*pod", "d1-pod", "*", "*1*")),
            ("source", self.pick("All", "Generated", "Original"))) if self.chance(0.25)}


def custody(documents: list[Json], deployments: list[Json]) -> list[Json] | str:
    try:
        compiled = [compile_document(document, at, "x")[1].compiled for at, document in enumerate(documents)]
        mutation = Mutation(compiled[1:])
        if mutation.conflicts:
            return "conflict"
        expansion = Expansion(compiled[:1], mutation)
        made = []
        for deployment in deployments:
            request = Request.create(deployment)
            made += [implied.request.object for implied in expansion.of(_existing(request), Answers({}))]
        return sorted(made, key=_name)  # type: ignore[type-var]
    except CustodyError as error:
        return f"error: {error.message}"


def _existing(request: Request) -> Request:
    return Request(operation="CREATE", kind=request.kind, namespace=request.namespace, name=request.name,
                   object=request.object, existing=True)


def gator(documents: list[Json], deployments: list[Json], gator_path: str) -> list[Json] | str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.json")
        text = "\n---\n".join(json.dumps(document) for document in [*documents, *deployments])
        file = file.with_suffix(".yaml")
        file.write_text(text)
        done = subprocess.run([gator_path, "expand", "-n", str(file), "-f", "json"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"error: {done.stderr.strip()}"
    decoder, made, at, out = json.JSONDecoder(), [], 0, done.stdout.strip()
    while at < len(out):
        document, at = decoder.raw_decode(out, at)
        made.append(document)
        while at < len(out) and out[at] in " \n-":
            at += 1
    return sorted(made, key=_name)


def _name(document: Json) -> str:
    return str(document["metadata"]["name"])


def main(count: int, seed: int) -> int:
    path = str(PROGRAM)
    differ = agree = refused = 0
    for at in range(count):
        generator = Generator(seed * 1_000_003 + at)
        mutators = [generator.mutator(number) for number in range(generator.pick(1, 1, 2, 3))]
        deployments = [generator.deployment(number) for number in range(3)]
        ours = custody([_TEMPLATE, *mutators], deployments)
        theirs = gator([_TEMPLATE, *mutators], deployments, path)
        if isinstance(ours, str) and isinstance(theirs, str):
            refused += 1
        elif ours == theirs:
            agree += 1
        else:
            differ += 1
            print(f"=== seed {seed} set {at}")
            for mutator in mutators:
                print(json.dumps(mutator))
            mine, other = next(((mine, other) for mine, other in zip(ours, theirs, strict=False) if mine != other),
                               (ours, theirs)) if isinstance(ours, list) and isinstance(theirs, list) else (ours, theirs)
            print(f"  custody {json.dumps(mine, sort_keys=True)[:2000]}\n  gator   {json.dumps(other, sort_keys=True)[:2000]}")
    print(f"{count} sets of mutators from seed {seed}: {agree} agree, {refused} refused by both, {differ} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
