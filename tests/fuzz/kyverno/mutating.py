"""Generated mutate rules and objects, by Kyverno and by custody: `python -m tests.fuzz.kyverno.mutating COUNT SEED`.

Results, messages and the mutated objects must be the same.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime
from typing import Any

from custody.errors import CustodyError
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from policylang.errors import LanguageError
from tests.fuzz.kyverno.peer import Case, Said, ask, named

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 40
_KINDS = builtin().with_crds([{
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
             "versions": [{"name": "v1", "served": True, "storage": True}]}}], ["crd"])


def ours(case: Case) -> Said | None:
    """None where it is refused."""
    try:
        policies = PolicySet([case.policy], kinds=_KINDS)
    except (CustodyError, LanguageError):
        return None
    decision = decide(Request.create(case.resource), {}, policies, Context(now=_NOW))
    if not decision.results:
        return Said("skip", "", case.resource)
    result = decision.results[0]
    after = jsonpatch.apply(case.resource, decision.patch)
    return Said(result.outcome.value, result.message, None if result.outcome.value == "error" else after)


class Generator:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def case(self, at: int) -> Case:
        resource = self._resource()
        return named(at, self._rule(resource), resource)

    def _one(self, choices: Any) -> Any:
        return self._random.choice(choices)

    def _chance(self, part: float) -> bool:
        return self._random.random() < part

    # ── objects ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _resource(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": "x", "namespace": "default"}
        if self._chance(0.7):
            metadata["labels"] = {key: self._one(("web", "db", "")) for key in "abc" if self._chance(0.5)}
        if self._chance(0.3):
            metadata["annotations"] = {"owner": "ann", "n/x": "1"}
        if self._chance(0.2):
            metadata["finalizers"] = ["a", "b"]
        kind = self._one(("Pod", "Pod", "Pod", "Deployment", "Service", "Widget", "ConfigMap",
                          "HorizontalPodAutoscaler"))
        if kind == "Pod":
            return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": self._pod()}
        if kind == "Deployment":
            return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {
                "replicas": self._one((1, 2)), "selector": {"matchLabels": {"a": "web"}},
                "template": {"metadata": {"labels": {"a": "web"}}, "spec": self._pod()}}}
        if kind == "Service":
            return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": {
                "type": self._one(("ClusterIP", "NodePort")), "selector": {"a": "web"}, "ports": self._ports("port")}}
        if kind == "ConfigMap":
            return {"apiVersion": "v1", "kind": kind, "metadata": metadata,
                    "data": {key: self._one(("1", "true", "null", "x: y",
                                             "5.0")) for key in "pqr" if self._chance(0.6)}}
        if kind == "HorizontalPodAutoscaler":
            return {"apiVersion": "autoscaling/v2", "kind": kind, "metadata": metadata, "spec": {
                "maxReplicas": 5, "metrics": [{"type": "Resource", "name": "m"}],
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}}
        return {"apiVersion": "example.com/v1", "kind": kind, "metadata": metadata, "spec": {
            "size": self._one((1, 2.5, "3", None)), "parts": [{"name": "p1", "x": 1}, {"name": "p2", "x": 2}],
            "list": ["a", "b"], "deep": {"er": {"k": "v", "on": True}}}}

    def _pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"containers": [self._container(name) for name in self._names()]}
        if self._chance(0.3):
            spec["initContainers"] = [self._container("init")]
        if self._chance(0.3):
            spec["volumes"] = [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/x"}}]
        if self._chance(0.3):
            spec["tolerations"] = [{"key": "k", "operator": "Exists"}]
        if self._chance(0.3):
            spec["hostNetwork"] = self._chance(0.5)
        if self._chance(0.3):
            spec["securityContext"] = self._one(({}, {"runAsUser": 1000}, {"runAsNonRoot": True, "sysctls": []}))
        if self._chance(0.2):
            spec["imagePullSecrets"] = [{"name": "s"}]
        return spec

    def _names(self) -> list[str]:
        return self._one((["c1"], ["c1", "c2"], ["c1", "c2", "c3"]))

    def _container(self, name: str) -> dict[str, Any]:
        container: dict[str, Any] = {"name": name, "image": self._one(("nginx:latest", "ghcr.io/a/b:1", "busybox"))}
        if self._chance(0.4):
            container["ports"] = self._ports("containerPort")
        if self._chance(0.4):
            container["env"] = [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}][:self._one((1, 2))]
        if self._chance(0.3):
            container["securityContext"] = self._one(({"privileged": False}, {"privileged": True, "runAsUser": 0}, {}))
        if self._chance(0.3):
            container["imagePullPolicy"] = self._one(("Always", "Never"))
        if self._chance(0.3):
            container["resources"] = {"limits": {"memory": "1Gi"}, "requests": {"memory": "64Mi"}}
        if self._chance(0.2):
            container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
        return container

    def _ports(self, key: str) -> list[dict[str, Any]]:
        ports = [{key: 80}, {key: 80, "protocol": "UDP"}, {key: 443, "protocol": "TCP", "name": "tls"}, {key: 53}]
        return self._random.sample(ports, self._one((1, 2, 3)))

    # ── rules ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _rule(self, resource: dict[str, Any]) -> dict[str, Any]:
        rule: dict[str, Any] = {}
        if self._chance(0.2):
            rule["preconditions"] = {"all": [{"key": "{{ request.object.metadata.labels.a || '' }}",
                                              "operator": self._one(("Equals", "NotEquals")), "value": "web"}]}
        if self._chance(0.2):
            rule["context"] = [{"name": "v", "variable": {"jmesPath": "request.object.metadata.labels.a",
                                                          "default": self._one(("none", "{{ request.operation }}"))}},
                               {"name": "w", "variable": {"value": {"k": ["{{ v }}", 1]}}}]
        if self._chance(0.6):
            rule["mutate"] = {"patchStrategicMerge": self._merge(resource, bool(rule.get("context")))}
        elif self._chance(0.7):
            rule["mutate"] = {"patchesJson6902": self._operations(resource)}
        else:
            rule["mutate"] = {"foreach": [self._loop(resource, 0) for _ in range(self._one((1, 1, 2)))]}
        return rule

    def _merge(self, resource: dict[str, Any], context: bool = False) -> dict[str, Any]:
        patch = {}
        for part in ("metadata", "spec", "data"):
            if part in resource and self._chance(0.6):
                value = self._part({key: value for key, value in resource[part].items()
                                    if key not in ("name", "namespace")}, part)
                patch[self._key(part, 0.05)] = value
        if not patch or self._chance(0.3):
            value = self._one(("x", "{{ request.object.metadata.name }}",
                               "{{ request.namespace }}-{{ request.operation }}",
                               "{{ w.k[0] }}" if context else "q", "{{ request.object.nope || 'd' }}"))
            metadata = patch.setdefault("metadata", {})
            if isinstance(metadata, dict):
                metadata[self._one(("labels", "+(annotations)"))] = {self._one(("a", "+(a)", "(b)", "z")): value}
        return patch

    def _key(self, key: str, part: float = 0.3) -> str:
        return self._one(("({})", "+({})", "<({})", "+({})")).format(key) if self._chance(part) else key

    def _part(self, value: Any, where: str) -> Any:
        """Something that is like a part of an object, and not quite."""
        if isinstance(value, dict):
            patch = {}
            for key, member in value.items():
                if self._chance(0.5):
                    anchored = 0.05 if isinstance(member, (dict, list)) else 0.3
                    patch[self._key(key, anchored if where not in ("labels", "annotations", "data") else 0.3)] = (
                        self._part(member, key))
            if self._chance(0.3):
                patch[self._key(self._one(("extra", "image", "priority", "hostNetwork")), 0.3)] = self._scalar(where)
            if self._chance(0.05) and where not in ("labels", "annotations"):
                patch["$patch"] = self._one(("replace", "delete", "merge"))
            return patch
        if isinstance(value, list):
            elements = [self._part(element, f"{where}[]") for element in value if self._chance(0.6)]
            if value and isinstance(value[0], dict) and self._chance(0.5):
                elements.append(self._one(({"name": "new", "image": "q"}, {"(name)": "*",
                                                                           "imagePullPolicy": "IfNotPresent"},
                                           {"(image)": "*:latest", "imagePullPolicy": "Always"},
                                           {"<(image)": "nginx*", "tty": True}, {"name": "c1", "+(tty)": True},
                                           {"(name)": "c?", "securityContext": {"+(privileged)": False}},
                                           {"(name)": "c1", "env": [{"name": "E", "value": "9"}]},
                                           {"containerPort": 80, "name": "web"}, {"port": 80, "name": "web"})))
            return elements
        if self._chance(0.1):
            return None
        if self._chance(0.5):
            return value
        return self._scalar(where)

    def _scalar(self, where: str) -> Any:
        if where in ("labels", "annotations", "data"):
            return self._one(("t", "*", "w?b", "{{ request.object.metadata.name }}", "1", "true"))
        return self._one((1, True, "t", "*", "?*", "!x", ">1", "{{ request.object.metadata.name }}", 2.5,
                          "{{ request.object.metadata.labels }}"))

    def _operations(self, resource: dict[str, Any], element: str = "") -> str:
        paths = ["/metadata/labels/a", "/metadata/labels/new", "/metadata/annotations/x~1y", "/metadata/annotations",
                 "/spec/containers/0/image", "/spec/containers/-", "/spec/containers/-1", "/spec/containers/9",
                 "/spec/containers/-9", "/spec/containers/0/env/-", "/spec/containers/1/env/0", "/spec/new/deep/0/er",
                 "/spec/new/-/er", "/spec/new/2", "/spec/new/-1/x", "/metadata/finalizers/0", "/spec/size",
                 "/spec/list/-",
                 "/spec/list/1", "/spec/deep/er", "/spec/ports/0/port", "/data/p", "/data", "/spec/list/x",
                 "/spec/size/a",
                 "/metadata/name/x", "/spec/containers/-2", "/spec/a~0b/c", "/spec/a~1b/c"]
        operations = []
        for _ in range(self._one((1, 1, 2, 3))):
            operation: dict[str, Any] = {"op": self._one(("add", "add", "replace", "remove", "test", "copy", "move")),
                                         "path": element or self._one(paths)}
            if operation["op"] in ("add", "replace", "test"):
                operation["value"] = self._one(("s", 1, True, {"k": "v"}, ["l"], "{{ request.object.metadata.name }}",
                                                None,
                                                {"name": "E", "value": "x"}, "nginx:latest"))
            if operation["op"] in ("copy", "move"):
                operation["from"] = self._one(paths)
            operations.append(operation)
        return json.dumps(operations) if self._chance(0.3) else "\n".join(
            f"- {json.dumps(operation)}" for operation in operations)

    def _loop(self, resource: dict[str, Any], depth: int) -> dict[str, Any]:
        inside = "request.object.spec.template.spec" if resource["kind"] == "Deployment" else "request.object.spec"
        lists = [f"{inside}.containers", f"{inside}.containers[].name", "request.object.metadata.labels || `{}`",
                 f"{inside}.list", "request.object.spec.parts", "['a', 'b', 'c']", "request.object.nope",
                 f"{inside}.initContainers || `[]`"]
        loop: dict[str, Any] = {"list": self._one(lists[:2] if self._chance(0.5) else lists)}
        if self._chance(0.3):
            loop["order"] = self._one(("Ascending", "Descending"))
        if self._chance(0.3):
            loop["preconditions"] = {"any": [{"key": self._one(("{{ element.name || '' }}", "{{ elementIndex }}")),
                                              "operator": self._one(("NotEquals", "Equals")),
                                              "value": self._one(("c1", "c2", 0))}]}
        if self._chance(0.2):
            loop["context"] = [{"name": "lower", "variable": {"jmesPath": self._one(("element.name", "element")),
                                                              "default": "none"}}]
        if depth == 0 and self._chance(0.2):
            return {**loop, "foreach": [self._loop(resource, 1)]}
        text = self._one(("{{ element.name || 'n' }}", "{{ elementIndex }}", "{{ element }}", "v{{ element0 }}",
                          "{{ lower }}" if "context" in loop else "{{ element.image || '' }}", "{{element.nope}}"))
        if self._chance(0.5):
            name = self._one(("{{ element.name }}", "(name)", "n-{{elementIndex}}"))
            spec: dict[str, Any] = {"containers": [{"(name)": "{{ element.name || '' }}",
                                                    "image": text} if name == "(name)"
                                                   else {"name": name, "tty": True}]}
            if resource["kind"] == "Deployment":
                spec = {"template": {"spec": spec}}
            return {**loop, "patchStrategicMerge": self._one(({"spec": spec}, {"metadata": {"labels": {"l": text}}}))}
        path = self._one(("/metadata/labels/l{{elementIndex}}", "/spec/containers/{{ elementIndex }}/image",
                          "/metadata/annotations/{{ element.name || 'x' }}", "/spec/parts/{{elementIndex}}"))
        return {**loop, "patchesJson6902": f"- op: {self._one(('add', 'replace', 'remove'))}\n  path: {path}\n  value: "
                                           f"\"{text}\"\n"}


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    generator = Generator(seed)
    cases = [generator.case(at) for at in range(count)]
    compared = differences = refused = panics = 0
    for start in range(0, count, _BATCH):
        batch = cases[start:start + _BATCH]
        theirs = ask(batch)
        for case in batch:
            said = theirs.get(case.policy["metadata"]["name"])
            mine = ours(case)
            if said is None or mine is None:
                refused += 1
                if (said is None) != (mine is None):
                    print("refused by", "kyverno" if said is None else "custody",
                          json.dumps(case.policy["spec"]["rules"]))
                continue
            compared += 1
            if said.outcome == "panic":
                panics += 1
                continue
            if (said.outcome != mine.outcome or (said.message and said.message != mine.message)
                    or (said.resource is not None and said.outcome == "pass" and said.resource != mine.resource)):
                differences += 1
                print("---", json.dumps(case.policy["spec"]["rules"]))
                print("   ", json.dumps(case.resource))
                print("  K", said.outcome, said.message, json.dumps(said.resource))
                print("  C", mine.outcome, mine.message, json.dumps(mine.resource))
    print(f"{compared} compared, {refused} refused by either, {panics} panics of Kyverno, {differences} "
          "different")


if __name__ == "__main__":
    main()
