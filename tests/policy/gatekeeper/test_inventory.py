"""`data.inventory`: what is kept, what a view sees of it while it changes, and what a decision is kept with."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from custody.errors import CustodyError, UnsupportedError
from custody.policy.decide import decide
from custody.policy.fields import Fields
from custody.policy.gatekeeper.config import Config, SyncSet, kept
from custody.policy.gatekeeper.inventory import READ, Kept, View
from custody.policy.gatekeeper.syncdata import ANNOTATION, requirements, said, unmet
from custody.policy.load import PolicySet
from custody.policy.model import Context, Kind, Verdict
from custody.policy.phases import Course
from custody.policy.record import record, replay
from custody.ports.lookup import Answered, Failed, Inventory
from policylang.rego.values import UNDEFINED
from tests.policy.gatekeeper.world import NOW, asked, constraint, judged, messages, pod, template

HOSTS = """package k8suniquehost

violation[{"msg": msg}] {
  host := input.review.object.spec.host
  other := data.inventory.namespace[namespace][_]["Route"][name]
  other.spec.host == host
  not same(namespace, name)
  msg := sprintf("host %v is taken by %v/%v", [host, namespace, name])
}

same(namespace, name) {
  namespace == input.review.object.metadata.namespace
  name == input.review.object.metadata.name
}
"""
POLICIES = [template(HOSTS, kind="K8sUniqueHost"), constraint({}, kind="K8sUniqueHost", name="unique")]


def route(name: str, host: str, namespace: str = "a") -> dict[str, Any]:
    return {"apiVersion": "x.io/v1", "kind": "Route", "metadata": {"name": name, "namespace": namespace},
            "spec": {"host": host}}


def put(objects: Kept, document: dict[str, Any]) -> None:
    metadata = document["metadata"]
    objects.put(document["apiVersion"], document["kind"], metadata.get("namespace", ""), metadata["name"],
                json.dumps(document).encode())


def drop(objects: Kept, document: dict[str, Any]) -> None:
    metadata = document["metadata"]
    objects.drop(document["apiVersion"], document["kind"], metadata.get("namespace", ""), metadata["name"])


def test_a_view_is_of_its_moment_whatever_comes_later() -> None:
    """Random changes; each view is compared with what a plain copy said when it was taken, long after."""
    random_ = random.Random(7)
    objects, plain = Kept(), {}
    views: list[tuple[View, dict[str, Any]]] = []
    for _ in range(3000):
        document = route(f"r{random_.randrange(20)}", str(random_.random()), random_.choice(["a", "b", ""]))
        document["kind"] = random_.choice(["Route", "Gate"])
        if not document["metadata"]["namespace"]:
            del document["metadata"]["namespace"]
        place = document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]
        if random_.random() < 0.45:
            drop(objects, document)
            plain.pop(place, None)
        else:
            put(objects, document)
            plain[place] = document
        assert (objects.count, objects.size) == (
            len(plain), sum(len(json.dumps(kept)) for kept in plain.values()))
        if random_.random() < 0.1:
            views.append((objects.view(), dict(plain)))
    assert len(views) > 200
    for view, then in views:
        expected: dict[str, Any] = {"cluster": {}, "namespace": {}}
        for (kind, namespace, name), document in then.items():
            node = expected["namespace"].setdefault(namespace, {}) if namespace else expected["cluster"]
            node.setdefault("x.io/v1", {}).setdefault(kind, {})[name] = document
        assert view.whole() == expected


def test_what_was_read_is_all_that_is_kept() -> None:
    objects = Kept()
    for name in "abc":
        put(objects, route(name, f"{name}.example"))
        put(objects, {**route(name, ""), "kind": "Gate"})
    view = objects.view()
    kinds = view.get("namespace").get("a").get("x.io/v1")
    assert kinds.get("Route").get("b").get("spec") == {"host": "b.example"}
    assert kinds.get("Route").get("z") is UNDEFINED
    assert view.read() == {"namespace": {"a": {"x.io/v1": {"Route": {"b": route("b", "b.example")}}}}}
    assert sorted(kinds.names()) == ["Gate", "Route"]
    assert view.read()["namespace"]["a"]["x.io/v1"]["Gate"] == {}


def test_a_rule_reads_it_and_the_decision_is_the_same_again_from_its_record() -> None:
    objects = Kept()
    for number in range(50):
        put(objects, route(f"r{number}", f"h{number % 40}.example", namespace=f"n{number % 7}"))
        put(objects, {**pod(f"p{number}"), "kind": "Pod"})
    policies = PolicySet.load(POLICIES)
    for document, verdict in ((route("new", "h3.example"), Verdict.DENIED), (route("new", "free.example"),
                                                                           Verdict.ALLOWED)):
        request, context = asked(document), Context(now=NOW)
        answers = {Inventory(): Answered(objects.view())}
        decision = decide(request, {}, policies, context, answers=answers)
        assert decision.verdict is verdict
        data = record(request, {}, policies, context, answers=answers, decision=decision, at=Course.ADMISSION)
        assert b'"default":{"v1":{}}' in data, "that there is a namespace was read, for all were gone through"
        assert b"nginx" not in data, "and nothing that is in it"
        again = replay(data)
        assert (again.verdict, again.results, again.inputs_digest) == (
            decision.verdict, decision.results, decision.inputs_digest)
    objects.put("x.io/v1", "Route", "n0", "r0", b'{"spec":{"host":"free.example"}}')
    after = decide(request, {}, policies, context, answers={Inventory(): Answered(objects.view())})
    assert after.verdict is Verdict.DENIED
    assert after.inputs_digest != decision.inputs_digest


def test_one_that_is_not_ready_is_an_error_and_never_an_empty_one() -> None:
    decision = judged(POLICIES, route("new", "h.example"),
                      {Inventory(): Failed("the inventory is not ready: Route of x.io/v1 is not followed yet")})
    assert decision.verdict is Verdict.DENIED
    assert "the inventory is not ready: Route of x.io/v1" in messages(decision)[0]


def test_what_one_request_may_read_is_bounded() -> None:
    objects = Kept()
    size = READ // 8
    for number in range(10):
        objects.put("x.io/v1", "Route", "a", f"r{number}", msgspec.json.encode(
            {"spec": {"host": "x" * size}}))
    decision = judged(POLICIES, route("new", "h.example"), {Inventory(): Answered(objects.view())})
    assert decision.verdict is Verdict.DENIED
    assert f"it reads more than {READ} bytes of the inventory" in messages(decision)[0]


# ── Config and SyncSet ──────────────────────────────────────────────────────────────────────────────────────────────

def config(name: str = "config", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "config.gatekeeper.sh/v1alpha1", "kind": "Config",
            "metadata": {"name": name, "namespace": "gatekeeper-system"}, "spec": spec}


def syncset(*kinds: tuple[str, str, str]) -> dict[str, Any]:
    return {"apiVersion": "syncset.gatekeeper.sh/v1alpha1", "kind": "SyncSet", "metadata": {"name": "s"}, "spec": {
        "gvks": [{"group": group, "version": version, "kind": kind} for group, version, kind in kinds]}}


def test_kinds_that_are_kept() -> None:
    first = Config(Fields(config(sync={"syncOnly": [{"version": "v1", "kind": "Pod"}]}), ""))
    second = SyncSet(Fields(syncset(("apps", "v1", "Deployment"), ("", "v1", "Pod")), ""))
    assert kept([first, second]) == (Kind("Pod"), Kind("Deployment", "v1", "apps"))


@pytest.mark.parametrize(("spec", "reason"), [
    ({"validation": {"traces": [{"user": "a"}]}}, "spec.validation.traces"),
    ({"readiness": {"statsEnabled": True}}, "spec.readiness.statsEnabled"),
    ({"match": [{"processes": ["mutate"]}]}, r"spec.match\[0\].processes\[0\]: got 'mutate', expected audit, webhook"),
    ({"match": [{"excludedNamespaces": ["a*b"], "processes": ["*"]}]}, r"excludedNamespaces\[0\]"),
    ({"sync": {"syncOnly": [{"version": "v1"}]}}, r"spec.sync.syncOnly\[0\].kind"), ({"other": 1}, "spec.other")])
def test_what_is_not_carried_out_is_refused(spec: dict[str, Any], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        PolicySet.load([config(**spec)])
    with pytest.raises(CustodyError, match=r"metadata.name: got 'other'"):
        PolicySet.load([config("other")])
    PolicySet.load([config(validation={"traces": []}, readiness={"statsEnabled": False})])


def test_there_is_one_config() -> None:
    with pytest.raises(CustodyError, match="config twice"):
        PolicySet.load([config(), config()])


EVERY = ("audit", "webhook", "mutation-webhook", "sync")


@pytest.mark.parametrize(("processes", "webhook", "audit", "mutation"), [
    (["webhook"], False, True, True), (["audit"], True, False, True), (["mutation-webhook"], True, True, False),
    (["sync"], True, True, True), (["*"], False, False, False), ([], True, True, True)])
def test_namespaces_are_left_out_of_processes(processes: list[str], webhook: bool, audit: bool,
                                              mutation: bool) -> None:
    excluded = config(match=[{"excludedNamespaces": ["kube-*"], "processes": processes}])
    mutator = {"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "AssignMetadata", "metadata": {"name": "m"},
               "spec": {"location": "metadata.labels.x", "parameters": {"assign": {"value": "y"}}}}
    policies = PolicySet.load([template(), constraint(), excluded, mutator])

    def spoken(namespace: str, existing: bool = False) -> tuple[bool, bool]:
        decision = judged(policies, asked(pod(namespace=namespace), existing=existing))
        return bool(messages(decision)), bool(decision.patch) or any(
            result.message == "mutated" for result in decision.results)

    assert spoken("kube-system")[0] is webhook
    assert spoken("kube-system", existing=True)[0] is audit
    assert spoken("kube-system")[1] is mutation
    assert spoken("default") == (True, True)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    decision = judged(policies, namespace)
    assert bool(messages(decision)) is webhook, "a Namespace lies in itself"
    if not webhook:
        assert "namespace kube-system is left out of webhook by Config config" in [
            silent.reason for silent in decision.silent]
    loaded = Config(Fields(excluded, ""))
    assert [loaded.leaves_out("kube-x", process) for process in EVERY] == [
        process in processes or "*" in processes for process in EVERY]


def test_what_a_template_requires() -> None:
    text = '''"[[{"groups": ["networking.k8s.io", "extensions"], "versions": ["v1"], "kinds": ["Ingress"]}],
        [{"groups": [""], "versions": ["v1"], "kinds": ["Pod", "Service"]},
         {"groups": ["apps"], "versions": ["v1"], "kinds": ["Deployment"]}]]"'''
    asking = template()
    asking["metadata"]["annotations"] = {ANNOTATION: text}
    required = requirements(asking)
    missing = unmet(required, [Kind("Ingress", "v1", "extensions")])
    assert [said(requirement) for requirement in missing] == ["/v1:Pod OR /v1:Service OR apps/v1:Deployment"]
    assert unmet(required, [Kind("Ingress", "v1", "networking.k8s.io"), Kind("Service")]) == []
    assert requirements(template()) == []
    for broken in ("[", "{}", "[{}]", '[[{"kind": "x"}]]'):
        asking["metadata"]["annotations"] = {ANNOTATION: broken}
        with pytest.raises((CustodyError, UnsupportedError), match="requires-sync-data"):
            requirements(asking)
