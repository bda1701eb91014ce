"""Pod Security as an engine: defaults, exemptions, the namespace's labels, and what an update changes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.admission.configuration import configurations
from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.lint import lint
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Kind, Outcome, Request, User, Verdict
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, Failed, NamespaceLabels, Question
from tests.cli.test_check import Cli
from tests.policy.test_images import NOW

BAD: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
                       "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "a:1"}]}}
GOOD: dict[str, Any] = {**BAD, "spec": {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"name": "c", "image": "a:1", "securityContext": {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}]}}
HOST = 'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'


def configuration(exemptions: dict[str, list[str]] | None = None, **defaults: str) -> dict[str, Any]:
    return {"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
            "defaults": {name.replace("_", "-"): value for name, value in defaults.items()},
            "exemptions": exemptions or {}}


def judge(resource: dict[str, Any], document: dict[str, Any], labels: dict[str, str] | Answer | None = None,
          at: Course = Course.VALIDATING, **request: Any) -> Decision:
    answer: Answer = Answered(labels or {}) if not isinstance(labels, (Answered, Absent, Failed)) else labels
    answers: dict[Question, Answer] = {NamespaceLabels("shop"): answer}
    asked = msgspec.structs.replace(Request.create(resource), **request)
    return decide(asked, {}, PolicySet([document]), Context(now=NOW), at=at, answers=answers)


def said(decision: Decision) -> dict[str, str]:
    return {result.rule: f"{result.outcome}: {result.message}" for result in decision.results}


def test_defaults_hold_where_the_namespace_says_nothing() -> None:
    decision = judge(BAD, configuration(enforce="baseline", audit="restricted", warn="privileged"))
    assert decision.verdict is Verdict.DENIED
    assert said(decision)["enforce"] == f"fail: {HOST}"
    assert said(decision)["audit"].startswith('fail: would violate PodSecurity "restricted:latest": host namespaces')
    assert said(decision)["warn"] == "skip: nothing is checked at privileged:latest"
    assert [result.rule for result in decision.results if result.denies] == ["enforce"]
    assert judge(GOOD, configuration(enforce="restricted")).verdict is Verdict.ALLOWED


@pytest.mark.parametrize(("labels", "message"), [
    ({"enforce": "baseline"}, f"fail: {HOST}"),
    ({"enforce": "privileged"}, "skip: nothing is checked at privileged:latest"),
    ({"enforce": "baseline", "enforce-version": "v1.20"}, f"fail: {HOST.replace('latest', 'v1.20')}"),
    ({"enforce": "wrong"}, 'fail: violates PodSecurity "restricted:latest"'),
    ({"enforce-version": "v1"}, 'fail: violates PodSecurity "restricted:latest"'),
])
def test_labels_of_the_namespace_come_first(labels: dict[str, str], message: str) -> None:
    prefixed = {f"pod-security.kubernetes.io/{name}": value for name, value in labels.items()}
    assert said(judge(BAD, configuration(enforce="restricted"), prefixed))["enforce"].startswith(message)


def test_a_level_that_is_none_fails_closed_to_enforce_and_open_to_audit() -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "wrong" for mode in ("enforce", "audit", "warn")}
    decision = judge(BAD, configuration(), labels)
    assert [said(decision)[mode].partition(":")[0] for mode in ("enforce", "audit", "warn")] == ["fail", "skip", "skip"]
    assert "must be one of privileged, baseline, restricted" in str(decision.results[0].remedy)


def test_labels_that_cannot_be_had_are_an_error_and_never_none() -> None:
    failed = judge(BAD, configuration(), Failed("connection refused"))
    assert failed.verdict is Verdict.DENIED
    assert "connection refused" in said(failed)["enforce"]
    assert "there is no such namespace" in said(judge(BAD, configuration(), Absent()))["enforce"]
    alone = decide(Request.create(BAD), {}, PolicySet([configuration()]), Context(now=NOW))
    assert alone.asks.questions == (NamespaceLabels("shop"),)
    assert alone.verdict is Verdict.DENIED
    assert PolicySet([configuration()]).needs(Request.create(BAD)).questions == [NamespaceLabels("shop")]


@pytest.mark.parametrize(("exemptions", "message"), [
    ({"namespaces": ["shop"]}, "namespace shop is exempt"), ({"usernames": ["ann"]}, "user ann is exempt"),
    ({"runtimeClasses": ["gvisor"]}, "runtime class gvisor is exempt"), ({"usernames": ["bob"]}, HOST)])
def test_exemptions(exemptions: dict[str, list[str]], message: str) -> None:
    resource = copy.deepcopy(BAD)
    resource["spec"]["runtimeClassName"] = "gvisor"
    decision = judge(resource, configuration(exemptions, enforce="baseline"), user=User(username="ann"))
    assert said(decision)["enforce"].endswith(message)


def test_who_is_exempt_costs_no_question() -> None:
    loaded = PolicySet([configuration({"namespaces": ["shop"]}, enforce="baseline")])
    assert loaded.needs(Request.create(BAD)).questions == []


@pytest.mark.parametrize(("change", "judged"), [
    (lambda pod: pod["metadata"].update(labels={"a": "b"}), False),
    (lambda pod: pod["spec"].update(activeDeadlineSeconds=5), False),
    (lambda pod: pod["spec"]["containers"][0].update(image="a:2"), True),
    (lambda pod: pod["metadata"].update(annotations={"seccomp.security.alpha.kubernetes.io/pod": "x"}), False),
    (lambda pod: pod["metadata"].update(annotations={
        "container.seccomp.security.alpha.kubernetes.io/c": "x"}), False),
    (lambda pod: pod["spec"].update(ephemeralContainers=[{"name": "e", "image": "a:1"}]), True),
    (lambda pod: pod["spec"].update(initContainers=[{"name": "i", "image": "a:1"}]), True),
])
def test_an_update_is_judged_where_it_changes_what_is_checked(change: Any, judged: bool) -> None:
    new = copy.deepcopy(BAD)
    change(new)
    decision = judge(new, configuration(enforce="baseline"), operation="UPDATE", old_object=BAD)
    assert said(decision)["enforce"] == (f"fail: {HOST}" if judged else "skip: nothing changed that is checked")


def test_subresources() -> None:
    pods, new = Kind("Pod"), copy.deepcopy(BAD)
    new["spec"]["ephemeralContainers"] = [{"name": "e", "image": "a:1"}]
    for subresource, asked in (("ephemeralcontainers", True), ("resize", True), ("status", False), ("exec", False)):
        decision = judge(new, configuration(enforce="baseline"), operation="UPDATE", old_object=BAD, parent=pods,
                         subresource=subresource)
        assert ("enforce" in said(decision)) is asked
    scale = judge({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "shop"}},
                  configuration(warn="baseline"), parent=Kind("Deployment", "v1", "apps"), subresource="scale",
                  operation="UPDATE")
    assert scale.verdict is Verdict.NOT_JUDGED


@pytest.mark.parametrize(("version", "kind"), [
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("apps/v1", "ReplicaSet"),
    ("v1", "ReplicationController"), ("v1", "PodTemplate"), ("batch/v1", "Job"), ("batch/v1", "CronJob")])
def test_templates_are_audited_and_warned_about_and_never_denied(version: str, kind: str) -> None:
    template = {"template": {"spec": BAD["spec"]}}
    spec = {"jobTemplate": {"spec": template}} if kind == "CronJob" else template
    made = {"apiVersion": version, "kind": kind, "metadata": {"name": "d", "namespace": "shop"},
            **(template if kind == "PodTemplate" else {"spec": spec})}
    decision = judge(made, configuration(enforce="baseline", warn="baseline"))
    assert decision.verdict is Verdict.ALLOWED
    assert said(decision) == {"audit": "skip: nothing is checked at privileged:latest",
                              "warn": f"fail: would {HOST.replace('violates', 'violate')}"}
    assert decision.unjudged == ()
    made |= {"spec": {}, "template": None}
    assert said(judge(made, configuration(warn="baseline")))["warn"] == "skip: it has no pod template"


def test_labels_of_namespaces_are_judged_where_they_are_new() -> None:
    def namespace(**labels: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {
            f"pod-security.kubernetes.io/{name}": value for name, value in labels.items()}}}

    wrong = namespace(enforce="wrong")
    invalid = ('metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "wrong": must be one of '
               "privileged, baseline, restricted")
    assert said(judge(wrong, configuration())) == {"labels": f"fail: {invalid}"}
    assert judge(wrong, configuration()).verdict is Verdict.DENIED
    assert judge(namespace(enforce="baseline"), configuration()).verdict is Verdict.ALLOWED
    kept = judge(wrong, configuration(), operation="UPDATE", old_object=wrong)
    assert [result.outcome for result in kept.results] == [Outcome.SKIP]
    assert judge(wrong, configuration(), operation="UPDATE", old_object=namespace()).verdict is Verdict.DENIED


@pytest.mark.parametrize(("change", "message"), [
    ({"apiVersion": "pod-security.admission.config.k8s.io/v2"},
     "pod-security.admission.config.k8s.io/v2 PodSecurityConfiguration is not evaluated by custody yet"),
    ({"defaults": {"enforce": "strict"}}, "defaults.enforce: got 'strict'"),
    ({"defaults": {"warn-version": "1.30"}}, "defaults.warn-version: got '1.30'"),
    ({"defaults": {"deny": "baseline"}}, "defaults.deny: not evaluated by custody yet"),
    ({"exemptions": {"groups": []}}, "exemptions.groups: not evaluated by custody yet"),
    ({"exemptions": {"namespaces": ["a", "a"]}}, "exemptions.namespaces: got 'a, a', expected names, each once"),
    ({"metadata": {"name": "x"}}, "metadata: not evaluated by custody yet")])
def test_what_is_not_evaluated_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CustodyError) as refused:
        PolicySet([configuration() | change])
    assert message in refused.value.message
    with pytest.raises(CustodyError, match="got 'pod-security twice'"):
        PolicySet([configuration(), configuration()])


def test_lint_says_where_nothing_is_demanded() -> None:
    assert [finding.code for finding in lint(configuration(audit="privileged"))] == ["says-nothing"]
    assert lint(configuration(warn="baseline")) == []


def test_the_api_server_is_told_of_pods_controllers_and_namespaces() -> None:
    (document,) = configurations("https://x", b"CA", PolicySet([configuration(enforce="baseline")]))
    asked = {(resource, operation) for rule in document["webhooks"][0]["rules"] for resource in rule["resources"]
             for operation in rule["operations"]}
    resources = {"pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers", "replicasets",
                 "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "namespaces"}
    assert asked == {(resource, operation) for resource in resources for operation in ("CREATE", "UPDATE")} | {
        ("pods/resize", "UPDATE")}


def test_check_knows_the_namespaces_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    cli = Cli(tmp_path, capsys)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "shop", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    assert cli(cli.write("alone.yaml", BAD), policies=(configuration(),)) == 3
    assert "could not be had: the labels of namespace 'shop': there is no cluster to ask" in cli.out
    for flags in ((), ("--background",)):
        assert cli(cli.write("both.yaml", namespace, BAD), *flags, policies=(configuration(),)) == 3
        assert HOST in cli.out
        assert "✓ pod-security/labels" in cli.out
        assert cli(cli.write("good.yaml", namespace, GOOD), *flags, policies=(configuration(),)) == 0


@pytest.mark.parametrize(("labels", "warned"), [
    ({"enforce": "restricted"}, 'fail: would violate PodSecurity "restricted:v1.30"'),
    ({"enforce": "restricted", "enforce-version": "v1.22"}, 'fail: would violate PodSecurity "restricted:v1.22"'),
    ({"enforce": "restricted", "warn-version": "v1.25"}, 'fail: would violate PodSecurity "restricted:v1.25"'),
    ({"enforce": "restricted", "warn": "privileged"}, "skip: nothing is checked at privileged:latest"),
    ({"enforce": "privileged"}, 'fail: would violate PodSecurity "baseline:latest"'),
    ({"enforce": "wrong"}, 'fail: would violate PodSecurity "baseline:latest"')])
def test_a_warning_follows_what_a_label_enforces(labels: dict[str, str], warned: str) -> None:
    """Who made a namespace stricter is told by its Deployments, which enforce lets pass."""
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "shop"},
                  "spec": {"template": {"spec": BAD["spec"]}}}
    prefixed = {f"pod-security.kubernetes.io/{name}": value for name, value in labels.items()}
    decision = judge(deployment, configuration(enforce="baseline", enforce_version="v1.30", warn="baseline"), prefixed)
    assert said(decision)["warn"].startswith(warned)


def test_nobody_is_warned_of_what_is_denied() -> None:
    denied = judge(BAD, configuration(enforce="baseline", warn="restricted"))
    assert said(denied)["warn"] == "skip: enforce denies it"
    assert denied.warnings == ()


def test_labels_of_an_exempt_namespace_are_said_to_be_ignored() -> None:
    exempt = configuration({"namespaces": ["shop"]})
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {
        "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/audit": "restricted"}}}
    decision = judge(made, exempt)
    assert decision.verdict is Verdict.ALLOWED
    assert decision.warnings == ('namespace "shop" is exempt from Pod Security, and the policy '
                                 "(enforce=baseline:latest, audit=restricted:latest) will be ignored",)
    assert judge(made, configuration()).warnings == ()
    looser = copy.deepcopy(made)
    looser["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged"}
    assert judge(looser, exempt, operation="UPDATE", old_object=made).warnings == ()
