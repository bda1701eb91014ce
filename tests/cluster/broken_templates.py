"""Templates that are wrong, by what is wrong with them, and what Gatekeeper's controller says of each.

    python -m tests.cluster.broken_templates

Boots an API server and Gatekeeper 3.23.1 without its webhook, applies each, and prints where its `created` and the
codes of its errors are others than custody's.
"""

from __future__ import annotations

import contextlib
import copy
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from custody.admission.definitions import BY_KIND
from custody.policy.gatekeeper.constraintkind import definition
from custody.policy.kinds import builtin
from custody.services.cluster import podstatus
from custody.services.cluster.policies import Collection
from tests import apiserver
from tests.apiserver import PEERS, TOOLS
from tests.policy.gatekeeper.world import SCHEMA

Json = dict[str, Any]
TEMPLATE = BY_KIND["templates.gatekeeper.sh", "ConstraintTemplate"]
REPLICA = podstatus.Replica(podstatus.id_of("here_00000000", "custody", "custody"), leads=True)
GOOD = 'package x\nviolation[{"msg": "no"}] { input.review.object.metadata.name == "bad" }\n'
CEL: Json = {"validations": [{"expression": "true", "message": "no"}]}


def _template(name: str, target: Json | None = None, *, kind: str | None = None, schema: Json | None = SCHEMA,
              targets: list[Json] | None = None, names: Json | None = None, version: str = "v1") -> Json:
    kind = "K" + name.replace("-", "") if kind is None else kind
    crd: Json = {"names": {"kind": kind, **(names or {})}}
    if schema is not None:
        crd["validation"] = {"openAPIV3Schema": schema}
    one = {"target": "admission.k8s.gatekeeper.sh", **(target or {"rego": GOOD})}
    return {"apiVersion": f"templates.gatekeeper.sh/{version}", "kind": "ConstraintTemplate",
            "metadata": {"name": "k" + name.replace("-", "")},
            "spec": {"crd": {"spec": crd}, "targets": [one] if targets is None else targets}}


def _rego(name: str, text: str, *libs: str) -> Json:
    return _template(name, {"rego": text, **({"libs": [*libs]} if libs else {})})


def _code(name: str, source: Json, engine: str = "K8sNativeValidation", **beside: Any) -> Json:
    return _template(name, {"code": [{"engine": engine, "source": source}], **beside})


def _cel(name: str, **source: Any) -> Json:
    return _code(name, {**CEL, **source})


def templates() -> dict[str, Json]:
    """By what is wrong; `well` and those whose names begin with it are not."""
    target = {"target": "admission.k8s.gatekeeper.sh", "rego": GOOD}
    v1 = 'package x\nviolation contains {"msg": "no"} if { input.review.object.metadata.name == "bad" }\n'
    made = [
        _rego("well", GOOD), _cel("well-cel"), _code("well-v1", {"rego": v1, "version": "v1"}, "Rego"),
        _rego("syntax", "package x\nviolation["), _rego("empty", ""), _rego("no-package", GOOD.partition("\n")[2]),
        _rego("no-violation", "package x\nother[x] { x := 1 }\n"),
        _rego("violation-value", 'package x\nviolation = {"msg": "no"} { true }\n'),
        _rego("unsafe", 'package x\nviolation[{"msg": y}] { x := 1 }\n'),
        _rego("type-error", 'package x\nviolation[{"msg": "m"}] { x := 1; x + "a" == 2 }\n'),
        _rego("no-function", 'package x\nviolation[{"msg": "m"}] { lacking(1) }\n'),
        _rego("recursion", 'package x\nviolation[{"msg": "m"}] { p }\np { q }\nq { p }\n'),
        _rego("http-send", 'package x\nviolation[{"msg": "m"}] { http.send({"url": "http://x", "method": "get"}) }\n'),
        _rego("data", 'package x\nviolation[{"msg": "m"}] { data.secrets.a == 1 }\n'),
        _rego("import", 'package x\nimport data.secrets\nviolation[{"msg": "m"}] { secrets.a == 1 }\n'),
        _rego("lib-package", GOOD, "package other.x\na = 1\n"), _rego("lib-syntax", GOOD, "package lib.x\na = \n"),
        _rego("lib-lacking", 'package x\nimport data.lib.y\nviolation[{"msg": y.a}] { true }\n'),
        _rego("lib-twice", GOOD, "package lib.x\na = 1\n", "package lib.x\nb = 2\n"),
        _rego("v1-as-v0", v1), _code("v0-as-v1", {"rego": GOOD, "version": "v1"}, "Rego"),
        _code("version", {"rego": GOOD, "version": "v7"}, "Rego"),
        _template("name", kind="Other"), _template("no-kind", kind=""), _template("kind-spelled", kind="K-kindspelled"),
        _template("no-targets", targets=[]), _template("two-targets", targets=[target, target]),
        _template("target", {"target": "other.k8s.gatekeeper.sh", "rego": GOOD}),
        _template("no-code", {"code": []}), _code("engine", {"a": 1}, "Prolog"),
        _code("engine-and-rego", {"a": 1}, "Prolog", rego=GOOD),
        _template("engine-twice", {"code": [{"engine": "K8sNativeValidation", "source": CEL}] * 2}),
        _cel("cel-syntax", validations=[{"expression": "object.spec.("}]),
        _cel("cel-type", validations=[{"expression": "1 + 2"}]),
        _cel("cel-unknown", validations=[{"expression": "lacking == 1"}]),
        _cel("cel-variable", variables=[{"name": "x", "expression": "1 +"}]),
        _cel("cel-reserved", variables=[{"name": "gatekeeper_internal_x", "expression": "1"}]),
        _cel("cel-params", variables=[{"name": "params", "expression": "1"}]),
        _cel("cel-condition", matchCondition=[{"name": "c", "expression": "1 +"}]),
        _cel("cel-failure", failurePolicy="Perhaps"), _cel("cel-none", validations=[]),
        _cel("cel-message", validations=[{"expression": "true", "messageExpression": "1 +"}]),
        _template("cel-and-broken-rego", {"rego": "package x\nviolation[", "code": [
            {"engine": "K8sNativeValidation", "source": CEL}]}),
        _template("rego-and-broken-cel", {"rego": GOOD, "code": [
            {"engine": "K8sNativeValidation", "source": {"validations": [{"expression": "("}]}}]}),
        _template("schema-type", schema={"type": "nothing"}),
        _template("schema-untyped", schema={"properties": {"a": {"type": "string"}}}),
        _template("schema-default", schema={"type": "object", "properties": {"a": {"type": "string", "default": 1}}}),
        _template("schema-array", schema={"type": "object", "properties": {"a": {"type": "array"}}}),
        _template("schema-pattern", schema={"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
        _template("short-name", names={"shortNames": ["Not Short"]}),
        _template("operations", {**target, "operations": ["*", "CREATE"]}),
    ]
    return {document["metadata"]["name"][1:]: document for document in made}


def ours(document: Json) -> tuple[bool, list[str], list[str]]:
    """`created`, codes and messages, as custody would write them of what the API server has."""
    collection = Collection()
    collection.put(TEMPLATE, document)
    collection.compile(builtin().unchecked())
    [held] = collection.held.values()
    status = podstatus.wanted(held, REPLICA)
    assert status is not None
    errors = status["byPod"][0].get("errors", [])
    return status["created"], [error["code"] for error in errors], [error["message"] for error in errors]


class Beside:
    """kubectl, and a Gatekeeper whose webhook is asked nothing."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "PATH": f"{PEERS}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig),
                             "GATEKEEPER_PORT": str(apiserver.free_port())}

    def kubectl(self, *arguments: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["kubectl", *arguments], env=self._environment, capture_output=True, text=True,
                              input=None if given is None else yaml.safe_dump(given), check=False, timeout=60)

    def gatekeeper(self, verb: str) -> None:
        subprocess.run([TOOLS / "gatekeeper-webhook", verb, self._folder], env=self._environment, check=True,
                       stdout=subprocess.DEVNULL, timeout=300)
        if verb == "start":
            self.kubectl("delete", "validatingwebhookconfigurations", "-l", "gatekeeper.sh/system=yes")

    def document(self, *of: str) -> Json | None:
        done = self.kubectl("get", *of, "-o", "yaml", "--ignore-not-found")
        assert done.returncode == 0, done.stderr
        read = yaml.safe_load(done.stdout)
        return read if isinstance(read, dict) else None


@contextlib.contextmanager
def beside() -> Any:
    """An API server with a Gatekeeper."""
    with tempfile.TemporaryDirectory(prefix="hg-templates-") as name:
        folder = Path(name)
        with apiserver.running(folder) as kubeconfig:
            here = Beside(kubeconfig.parent, kubeconfig)
            here.gatekeeper("start")
            try:
                yield here
            finally:
                here.gatekeeper("stop")


def main() -> int:
    made, refused, different = templates(), 0, 0
    with beside() as here:
        for name, document in made.items():
            done = here.kubectl("apply", "-f", "-", given=document)
            if done.returncode:
                refused += 1
                print(f"{name}: the API server does not take it: {done.stderr.strip()[:200]}")
        time.sleep(20)
        for name, document in made.items():
            stored = here.document("constrainttemplate", document["metadata"]["name"])
            if stored is None:
                continue
            status = stored.pop("status", {})
            entries = [error for entry in status.get("byPod", []) for error in entry.get("errors", [])]
            theirs = status.get("created", False), [error["code"] for error in entries]
            created, codes, messages = ours(copy.deepcopy(stored))
            if created:  # it is the API server that says whether it takes the kind
                kind = definition(stored)
                kind["metadata"] = {"name": kind["metadata"]["name"]}
                verb = "replace" if here.document("crd", kind["metadata"]["name"]) else "create"
                done = here.kubectl(verb, "--dry-run=server", "-f", "-", given=kind)
                if done.returncode:
                    created, codes, messages = False, [f"{verb.replace('replace', 'update')}_error"], [done.stderr]
            if (created, codes) != theirs:
                different += 1
                print(f"--- {name}\nGatekeeper {theirs} {[error['message'][:300] for error in entries]}\n"
                      f"custody    {(created, codes)} {messages}")
    print(f"{len(made)} templates, {refused} that the API server does not take, {different} different")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
