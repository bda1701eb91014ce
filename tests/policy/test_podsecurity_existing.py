"""The pods that run in a namespace when it is labelled anew: grouped, bounded, and never passed over in silence."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request, Verdict
from custody.policy.phases import Course
from custody.policy.podsecurity import standard
from custody.policy.podsecurity.configuration import Demand
from custody.policy.podsecurity.existing import MOST, Roll, entry, warnings
from custody.policy.record import record, replay
from custody.ports.lookup import Absent, Answer, Answered, Failed, NamespacePods, Question
from tests.policy.test_images import NOW
from tests.policy.test_podsecurity_engine import GOOD, configuration

BASELINE = Demand("baseline", "latest")
HEAD = 'existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:latest"'


def pod(name: str, controller: str = "", **spec: Any) -> dict[str, Any]:
    references = [{"uid": "other", "name": "x"}, {"uid": controller, "controller": True}] if controller else []
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop",
                                                            "ownerReferences": references},
            "spec": {"containers": [{"name": "c", "image": "a:1"}], **spec}}


def roll(*pods: dict[str, Any], total: int | None = None) -> dict[str, Any]:
    called = Roll()
    called.add(map(entry, pods))
    return called.answer(total)


def test_they_are_grouped_by_what_they_violate() -> None:
    answer = roll(pod("b", hostPID=True), pod("a", hostIPC=True), pod("good"), pod("c", hostNetwork=True),
                  pod("d", hostPID=True, volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
                  pod("f", volumes=[{"name": "w", "hostPath": {"path": "/"}}]),
                  pod("e", volumes=[{"name": "w", "hostPath": {"path": "/x"}}]))
    assert warnings("shop", BASELINE, answer) == [
        HEAD, "a (and 2 other pods): host namespaces", "d: host namespaces, hostPath volumes",
        "e (and 1 other pod): hostPath volumes"]
    assert warnings("shop", BASELINE, roll(pod("good"))) == []
    assert warnings("shop", BASELINE, roll()) == []
    assert warnings("shop", Demand("privileged", "latest"), answer) == []


def test_exempt_runtime_classes_are_not_counted() -> None:
    answer = roll(pod("a", hostPID=True, runtimeClassName="gvisor"), pod("b", runtimeClassName="kata"))
    assert warnings("shop", BASELINE, answer, ["gvisor"]) == []
    assert warnings("shop", BASELINE, answer, ["kata"]) == [HEAD, "a: host namespaces"]


def test_of_many_the_first_are_judged_and_it_is_said() -> None:
    """One of each controller before the replicas: the last of 3,200 pods is looked at where it is the only one."""
    replicas = [pod(f"web-{number:04}", "set") for number in range(MOST + 199)]
    lone = pod("zz", hostPID=True)
    assert warnings("shop", BASELINE, roll(*replicas, lone)) == [
        "new PodSecurity enforce level only checked against the first 3000 of 3200 existing pods", HEAD,
        "zz: host namespaces"]
    hidden = [pod(f"alone-{number:04}") for number in range(MOST)] + [lone]
    assert warnings("shop", BASELINE, roll(*hidden)) == [
        "new PodSecurity enforce level only checked against the first 3000 of 3001 existing pods"]
    assert warnings("shop", BASELINE, roll(*hidden[1:])) == [HEAD, "zz: host namespaces"]


def test_a_list_that_did_not_come_whole_is_said_to_be_a_part() -> None:
    assert warnings("shop", BASELINE, roll(pod("a"), total=7)) == [
        "new PodSecurity enforce level only checked against the first 1 of 7 existing pods"]
    exempt = pod("b", runtimeClassName="gvisor")
    assert warnings("shop", BASELINE, roll(pod("a"), exempt, total=7), ["gvisor"]) == [
        "new PodSecurity enforce level only checked against the first 1 of 6 existing pods"]


def test_pods_of_one_controller_have_one_shape() -> None:
    pods = [pod(f"web-{number}", "set", volumes=[{"name": f"kube-api-access-{number}", "projected": {}}])
            for number in range(50)]
    answer = roll(*pods)
    assert len(answer["shapes"]) == 1
    assert len(json.dumps(answer)) < 50 * 40


_KINDS = ("hostPath", "emptyDir", "nfs", "projected")
_CONTEXT = st.fixed_dictionaries({}, optional={
    "privileged": st.booleans(), "allowPrivilegeEscalation": st.booleans(), "runAsNonRoot": st.booleans(),
    "runAsUser": st.sampled_from((0, 1000)), "procMount": st.sampled_from(("Default", "Unmasked")),
    "seccompProfile": st.fixed_dictionaries({"type": st.sampled_from(("RuntimeDefault", "Unconfined"))}),
    "capabilities": st.fixed_dictionaries({}, optional={"add": st.lists(st.sampled_from(("SYS_ADMIN", "CHOWN"))),
                                                        "drop": st.just(["ALL"])})})
_PROBE = st.fixed_dictionaries({"httpGet": st.fixed_dictionaries({"port": st.just(1)}, optional={
    "host": st.sampled_from(("", "10.0.0.1"))})})
_CONTAINER = st.fixed_dictionaries({"name": st.sampled_from("abc"), "image": st.just("a:1")}, optional={
    "securityContext": _CONTEXT, "livenessProbe": _PROBE, "lifecycle": st.fixed_dictionaries({"preStop": _PROBE}),
    "ports": st.lists(st.fixed_dictionaries({"containerPort": st.just(80)}, optional={
        "hostPort": st.sampled_from((0, 80))}), max_size=2)})
_SPEC = st.fixed_dictionaries({"containers": st.lists(_CONTAINER, min_size=1, max_size=2)}, optional={
    "initContainers": st.lists(_CONTAINER, max_size=1), "ephemeralContainers": st.lists(_CONTAINER, max_size=1),
    "hostNetwork": st.booleans(), "hostUsers": st.booleans(), "os": st.just({"name": "windows"}),
    "securityContext": _CONTEXT, "volumes": st.lists(st.sampled_from(_KINDS).map(
        lambda kind: {"name": "v", kind: {}}), max_size=3)})


@given(spec=_SPEC, level=st.sampled_from(("baseline", "restricted")),
       version=st.sampled_from(("latest", "v1.0", "v1.18", "v1.24", "v1.34")),
       annotations=st.dictionaries(st.sampled_from((
           "container.apparmor.security.beta.kubernetes.io/a", "seccomp.security.alpha.kubernetes.io/pod",
           "container.seccomp.security.alpha.kubernetes.io/b", "team")), st.sampled_from(("unconfined", "x"))))
def test_what_is_kept_of_a_pod_decides_as_the_pod_does(spec: dict[str, Any], level: str, version: str,
                                                       annotations: dict[str, str]) -> None:
    whole = pod("a")
    whole["spec"], whole["metadata"]["annotations"] = spec, annotations
    reasons = ", ".join(failure.reason for failure in standard.evaluate(spec, whole["metadata"], level, version))
    said = warnings("shop", Demand(level, version), roll(whole))
    assert said[1:] == ([f"a: {reasons}"] if reasons else [])


@pytest.mark.parametrize("answer", [None, {}, [], {"total": 1, "shapes": [], "pods": [["a", "", 0]]},
                                    {"total": "x", "shapes": [], "pods": []}, {"total": 0, "shapes": [1], "pods": []},
                                    {"total": 1, "shapes": [], "pods": [["a"]]}])
def test_an_answer_that_is_none_is_no_empty_namespace(answer: Any) -> None:
    with pytest.raises(MalformedError, match="pods of a namespace: got"):
        warnings("shop", BASELINE, answer)


@pytest.mark.parametrize("document", [{}, {"metadata": {"name": "a"}}, {"metadata": {"name": 1}, "spec": {}},
                                      {"metadata": [], "spec": {}}])
def test_what_is_no_pod_is_not_called_up(document: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match=r"metadata\.name and a spec"):
        entry(document)


def relabel(answer: Answer | None, enforce: str = "baseline", **exemptions: list[str]) -> tuple[Request, Decision]:
    before = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {}}}
    after = {**before, "metadata": {"name": "shop", "labels": {"pod-security.kubernetes.io/enforce": enforce}}}
    request = msgspec.structs.replace(Request.create(after), operation="UPDATE", old_object=before)
    answers: dict[Question, Answer] = {} if answer is None else {NamespacePods("shop"): answer}
    return request, decide(request, {}, PolicySet([configuration(exemptions)]), Context(now=NOW),
                           at=Course.VALIDATING, answers=answers)


def test_pods_are_warned_of_and_deny_nothing() -> None:
    _, decision = relabel(Answered(roll(pod("a", hostPID=True), GOOD)))
    assert decision.verdict is Verdict.ALLOWED
    assert decision.warnings == (HEAD, "a: host namespaces")


@pytest.mark.parametrize("answer", [Failed("403"), Absent()])
def test_pods_that_cannot_be_listed_are_said_to_be_so(answer: Answer) -> None:
    _, decision = relabel(answer)
    assert decision.verdict is Verdict.ALLOWED
    assert decision.warnings == ("failed to list pods while checking new PodSecurity enforce level",)


def test_pods_are_asked_for_once_and_only_where_more_is_enforced() -> None:
    policies = PolicySet([configuration()])
    request, decision = relabel(None)
    assert decision.asks.questions == (NamespacePods("shop"),)
    assert policies.needs(request).questions == [NamespacePods("shop")]
    for looser in (relabel(None, "privileged"), relabel(None, namespaces=["shop"]),):
        assert looser[1].asks.questions == ()
    created = Request.create(request.object or {})
    assert policies.needs(created).questions == []


def test_a_replay_needs_no_cluster() -> None:
    answers: dict[Question, Answer] = {NamespacePods("shop"): Answered(roll(pod("a", hostPID=True)))}
    request, decision = relabel(Answered(roll(pod("a", hostPID=True))))
    kept = record(request, {}, PolicySet([configuration()]), Context(now=NOW), at=Course.VALIDATING,
                  answers=answers, decision=decision)
    assert replay(kept).warnings == decision.warnings
    assert replay(kept).inputs_digest == decision.inputs_digest
