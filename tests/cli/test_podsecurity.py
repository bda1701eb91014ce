"""`custody policy podsecurity` of files: what is a pod, what is demanded of it, and what is never taken for a yes."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from tests.policy.test_podsecurity_engine import GOOD, configuration

PLAIN: dict[str, Any] = {"containers": [{"name": "c", "image": "a:1"}]}
HOST: dict[str, Any] = {**PLAIN, "hostPID": True}
PREFIX = "pod-security.kubernetes.io/"
HOST_WORDS = 'violates PodSecurity "baseline:latest": host namespaces (hostPID=true)'


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pod(name: str, spec: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **place}, "spec": spec}


def namespace_of(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {
        f"{PREFIX}{label.replace('_', '-')}": value for label, value in labels.items()}}}


def holders(spec: dict[str, Any]) -> list[dict[str, Any]]:
    template = {"template": {"spec": spec}}
    kinds = {"v1": ["ReplicationController"], "apps/v1": ["ReplicaSet", "Deployment", "StatefulSet", "DaemonSet"],
             "batch/v1": ["Job"]}
    return [pod("x", spec), {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, **template},
            {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": {
                "jobTemplate": {"spec": template}}},
            *({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": template}
              for version, listed in kinds.items() for kind in listed)]


def judge(*documents: Any, flags: tuple[str, ...] = (), file: str = "all.yaml") -> int:
    Path(file).write_text(yaml.safe_dump_all(documents))
    return run(["policy", "podsecurity", file, *flags])


def test_all_that_makes_pods_is_judged_by_its_template(capsys: pytest.CaptureFixture[str]) -> None:
    for document in holders(HOST):
        title = f"{document['kind'].lower()} x"
        assert judge(document, flags=("--level", "baseline")) == 3, title
        assert capsys.readouterr().out == f"{title}: {HOST_WORDS}\n"
    for document in holders(GOOD["spec"]):
        assert judge(document) == 0
        assert capsys.readouterr().out == f"{document['kind'].lower()} x: meets restricted:latest\n"


def test_annotations_of_a_template_count(capsys: pytest.CaptureFixture[str]) -> None:
    deployment = holders(PLAIN)[4]
    deployment["metadata"]["annotations"] = {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}
    assert judge(deployment, flags=("--level", "baseline")) == 0  # of the Deployment itself
    deployment["spec"]["template"]["metadata"] = {"annotations": deployment["metadata"]["annotations"]}
    assert judge(deployment, flags=("--level", "baseline")) == 3
    assert "forbidden AppArmor profile" in capsys.readouterr().out


def test_lists_folders_and_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("deploy/inner").mkdir(parents=True)
    Path("deploy/list.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        pod("a", HOST), {"apiVersion": "v1", "kind": "PodList", "items": [
            {key: value for key, value in pod("b", HOST).items() if key in ("metadata", "spec")}]}]}))
    Path("deploy/inner/many.yaml").write_text(yaml.safe_dump_all([pod("c", HOST), pod("d", PLAIN)]))
    Path("deploy/values.yaml").write_text("replicas: 1\n")
    assert run(["policy", "podsecurity", "deploy", "--level", "baseline"]) == 3
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"pod c: {HOST_WORDS}", "pod d: meets baseline:latest", f"pod a: {HOST_WORDS}",
                                     f"pod b: {HOST_WORDS}"]
    assert "values.yaml[0]: passed over, it has no kind" in said.err
    stdin = io.TextIOWrapper(io.BytesIO(yaml.safe_dump(pod("e", GOOD["spec"])).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert run(["policy", "podsecurity", "-"]) == 0
    assert capsys.readouterr().out == "pod e: meets restricted:latest\n"


def test_what_has_no_pod_is_named_and_is_no_yes(capsys: pytest.CaptureFixture[str]) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "shop"}, "spec": {}}
    assert judge(service) == 4
    said = capsys.readouterr()
    assert said.out == "service shop/s: not judged: it has no pod\n"
    assert "nothing was judged, such as service shop/s: it has no pod" in said.err
    assert judge(service, pod("x", GOOD["spec"])) == 0
    assert judge(service, pod("x", HOST)) == 3
    empty = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r"}, "spec": {"replicas": 0}}
    assert judge(empty) == 4


@pytest.mark.parametrize(("version", "kind"), [
    ("argoproj.io/v1alpha1", "Rollout"), ("example.com/v1", "Deployment"), ("extensions/v1beta1", "Deployment")])
def test_a_custom_resource_with_a_pod_is_refused_by_name(version: str, kind: str,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    made = {"apiVersion": version, "kind": kind, "metadata": {"name": "r"}, "spec": {"template": {"spec": PLAIN}}}
    assert judge(made, pod("x", GOOD["spec"])) == 4
    said = capsys.readouterr()
    assert f"{kind.lower()} r: not judged: /spec/template/spec: {version} {kind} holds a pod spec" in said.out
    assert "not all pods were judged" in said.err
    assert judge(made, pod("x", HOST)) == 3
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "rules": [{"validate": {"pattern": {"spec": PLAIN}}}]}}
    assert judge(policy, pod("x", GOOD["spec"])) == 0  # a policy speaks of pods and makes none


def test_the_labels_of_a_namespace_among_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    shop = namespace_of("shop", enforce="baseline", audit="restricted", audit_version="v1.22")
    assert judge(shop, pod("bad", HOST, "shop"), pod("plain", PLAIN, "shop"), pod("away", GOOD["spec"], "away")) == 3
    demand = "enforce=baseline:latest, audit=restricted:v1.22, warn=baseline:latest"
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"namespace shop: demands {demand}", f"pod shop/bad: {HOST_WORDS}"]
    assert lines[2].startswith('pod shop/bad: audit: would violate PodSecurity "restricted:v1.22": host namespaces')
    assert lines[3].startswith('pod shop/plain: audit: would violate PodSecurity "restricted:v1.22": allowPrivilege')
    assert lines[4:] == ["pod shop/plain: meets baseline:latest (enforce and warn)",
                         "pod away/away: meets restricted:latest"]
    assert judge(shop, pod("plain", PLAIN, "shop")) == 0  # who is only warned is not denied
    assert judge(shop, pod("plain", PLAIN), flags=("--namespace", "shop")) == 0
    assert judge(shop, pod("plain", PLAIN, "shop"), flags=("--level", "restricted")) == 3


def test_a_namespace_without_such_labels_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}},
                 pod("p", PLAIN, "shop")) == 3
    assert 'PodSecurity "restricted:latest"' in capsys.readouterr().out


def test_labels_that_the_api_server_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(namespace_of("shop", enforce="strict", warn_version="1.2")) == 3
    words = (f'Namespace "shop" is invalid: [metadata.labels[{PREFIX}enforce]: Invalid value: "strict": must be one of '
             f'privileged, baseline, restricted, metadata.labels[{PREFIX}warn-version]: Invalid value: "1.2": must be '
             '"latest" or "v1.x"]')
    assert capsys.readouterr().out == f"namespace shop: {words}\n"


@pytest.mark.parametrize(("namespaces", "words"), [
    ([namespace_of("shop", enforce="restricted"), namespace_of("shop", enforce="privileged")],
     "all.yaml[1]: got 'namespace shop again, with other labels'"),
    ([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {f"{PREFIX}enforce": True}}}],
     f"all.yaml[0]: metadata.labels.{PREFIX}enforce: got 'True'"),
    ([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": ["a"]}}],
     "metadata.labels: got"),
    ([{"apiVersion": "v1", "kind": "Namespace"}], "all.yaml[0]: metadata.name: got 'nothing'")])
def test_namespaces_that_could_be_read_in_two_ways(namespaces: list[dict[str, Any]], words: str,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(*namespaces, pod("p", PLAIN, "shop")) == 2
    assert words in capsys.readouterr().err


def test_the_same_namespace_twice_is_one() -> None:
    shop = namespace_of("shop", enforce="baseline")
    assert judge(shop, shop, pod("p", PLAIN, "shop")) == 0


def test_labels_of_other_namespaces(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--namespace-labels", f"{PREFIX}enforce=baseline,team=a")
    assert judge(pod("p", PLAIN, "x"), flags=flags) == 0
    assert judge(pod("p", HOST, "x"), flags=flags) == 3
    assert judge(pod("p", HOST, "x"), flags=("--namespace-labels", "team=a")) == 0
    for key in (f"{PREFIX}enforc", "podsecurity.kubernetes.io/enforce", f"{PREFIX}Enforce", f"{PREFIX}enforce_version"):
        assert judge(pod("p", HOST, "x"), flags=("--namespace-labels", f"{key}=restricted")) == 2, key
    assert "meets privileged:latest" in capsys.readouterr().out


def test_a_configuration_has_defaults_and_exemptions(capsys: pytest.CaptureFixture[str]) -> None:
    plain = configuration({"namespaces": ["kube-system"], "runtimeClasses": ["gvisor"]}, enforce="baseline",
                          warn="restricted")
    whole = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
        {"name": "PodSecurity", "configuration": plain}]}
    for document in (plain, whole, {**plain, "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1"}):
        Path("config.yaml").write_text(yaml.safe_dump(document))
        flags = ("--config", "config.yaml")
        assert judge(pod("p", HOST), flags=flags) == 3
        assert judge(pod("p", PLAIN), flags=flags) == 0
        assert "pod p: warn: would violate" in capsys.readouterr().out
        assert judge(pod("p", HOST, "kube-system"), flags=flags) == 4
        assert "pod kube-system/p: not judged: namespace kube-system is exempt" in capsys.readouterr().out
        assert judge(pod("p", {**HOST, "runtimeClassName": "gvisor"}), pod("q", PLAIN), flags=flags) == 0
        assert "pod p: not judged: runtime class gvisor is exempt" in capsys.readouterr().out
        assert judge(namespace_of("shop", enforce="privileged"), pod("p", HOST, "shop"), flags=flags) == 0


def test_an_admission_configuration_that_names_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("etc").mkdir()
    Path("etc/admission.yaml").write_text(yaml.safe_dump({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "path": "podsecurity.yaml"}]}))
    Path("etc/podsecurity.yaml").write_text(yaml.safe_dump(configuration(enforce="baseline")))
    assert judge(pod("p", HOST), flags=("--config", "etc/admission.yaml")) == 3
    assert HOST_WORDS in capsys.readouterr().out
    Path("etc/podsecurity.yaml").write_text(yaml.safe_dump(configuration(enforce="no")))
    assert judge(pod("p", HOST), flags=("--config", "etc/admission.yaml")) == 2
    assert "etc/podsecurity.yaml: defaults.enforce: got 'no'" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "words"), [
    ({"plugins": []}, "plugins: got 'none of name PodSecurity'"),
    ({"plugins": [{"name": "PodSecurity"}]}, "plugins[0].configuration: got 'nothing'"),
    ({"plugins": [{"name": "PodSecurity", "path": "x.yaml", "configuration": configuration()}]},
     "plugins[0].path: a configuration in a file of its own"),
    ({"plugins": [{"name": "PodSecurity", "path": "x.yaml"}]}, "x.yaml: No such file"),
    ({"plugins": [{"name": "PodSecurity", "path": 7}]}, "plugins[0].path: got 7, expected text"),
    ({"plugins": [{"name": "EventRateLimit"}]}, "plugins[0].name: the plug-in EventRateLimit is not evaluated"),
    ({"plugins": [{"name": "PodSecurity", "configuration": {"kind": "Pod", "apiVersion": "v1"}}]}, "v1 Pod is not"),
    ({"plugins": [{"name": "PodSecurity", "configuration": {**configuration(), "defaults": {"enforce": "x"}}}]},
     "plugins[0].configuration.defaults.enforce: got 'x'"),
    ({"plugins": [{"name": "PodSecurity", "configuration": configuration()}] * 2}, "got 'a second one'"),
    ({"apiVersion": "apiserver.config.k8s.io/v9"}, "apiserver.config.k8s.io/v9 AdmissionConfiguration is not"),
    ({"other": 1}, "other: not evaluated")])
def test_an_admission_configuration_that_is_none(change: dict[str, Any], words: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    document = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
        {"name": "PodSecurity", "configuration": configuration()}], **change}
    Path("config.yaml").write_text(yaml.safe_dump(document))
    assert judge(pod("p", HOST), flags=("--config", "config.yaml")) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("exemptions", "words"), [
    ({"namespaces": ["Kube"]}, "exemptions.namespaces[0]: got 'Kube'"),
    ({"namespaces": ["a", ""]}, "exemptions.namespaces[1]: got ''"),
    ({"usernames": [""]}, "exemptions.usernames[0]: got '', expected a name"),
    ({"runtimeClasses": ["a..b"]}, "exemptions.runtimeClasses[0]: got 'a..b'")])
def test_names_that_could_not_be(exemptions: dict[str, list[str]], words: str,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.yaml").write_text(yaml.safe_dump(configuration(exemptions)))
    assert judge(pod("p", HOST), flags=("--config", "config.yaml")) == 2
    assert words in capsys.readouterr().err


def test_json_names_each_failed_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(namespace_of("shop", enforce="baseline", warn="restricted"), pod("p", HOST, "shop"),
                 flags=("-o", "json")) == 3
    shop, row = json.loads(capsys.readouterr().out)
    assert shop["allowed"] is None
    assert (row["kind"], row["namespace"], row["pod"], row["allowed"]) == ("Pod", "shop", "p", False)
    assert row["where"] == "all.yaml[1]"
    assert [failure["check"] for failure in row["failures"]] == ["hostNamespaces"]
    assert row["message"] == HOST_WORDS
    assert row["modes"]["audit"] == {"demand": "privileged:latest", "allowed": True, "failures": [], "message": ""}
    assert row["modes"]["warn"]["demand"] == "restricted:latest"
    assert len(row["modes"]["warn"]["failures"]) == 5


def test_sarif_and_junit(capsys: pytest.CaptureFixture[str]) -> None:
    documents = (namespace_of("shop", enforce="baseline", warn="restricted"), pod("bad", HOST, "shop"),
                 pod("plain", PLAIN, "shop"), {"apiVersion": "x.io/v1", "kind": "Set", "metadata": {"name": "r"},
                                               "spec": {"template": {"spec": PLAIN}}},
                 {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}})
    assert judge(*documents, flags=("-o", "sarif")) == 3
    (log,) = json.loads(capsys.readouterr().out)["runs"]
    told = [(result["ruleId"], result["level"]) for result in log["results"]]
    assert told[0] == ("hostNamespaces", "error")
    assert log["results"][0]["message"]["text"] == "pod shop/bad: baseline:latest: host namespaces (hostPID=true)"
    assert {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in log["results"]} == {
        "all.yaml"}
    assert {level for rule, level in told[1:]} == {"warning"}
    assert ("not-judged", "warning") in told
    assert judge(*documents, flags=("-o", "junit")) == 3
    suite = ElementTree.fromstring(capsys.readouterr().out)[0]
    assert {case.get("name"): case[0].tag for case in suite} == {
        "pod shop/bad": "failure", "pod shop/plain": "system-out", "set r": "failure"}


@pytest.mark.parametrize(("document", "words"), [
    ({**pod("p", PLAIN), "spec": None}, "all.yaml[0]: spec: got 'nothing', expected the spec of a pod"),
    ({**pod("p", PLAIN), "spec": []}, "expected the spec of a pod"),
    ({**holders(PLAIN)[4], "spec": {}}, "spec.template.spec: got 'nothing'"),
    ({**holders(PLAIN)[2], "spec": {"jobTemplate": [1]}}, "spec.jobTemplate.spec.template.spec: got 'nothing'"),
    ({**pod("p", PLAIN), "metadata": [1]}, "metadata: got"),
    (pod("p", {"containers": {"a": 1}}), "all.yaml[0]: pod: got"), ({"kind": "Pod"}, "apiVersion: got 'nothing'"),
    ([1], "all.yaml[0]: got")])
def test_what_is_no_pod(document: Any, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(document) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "got nothing to judge, expected files or --cluster"),
    (("p.yaml", "--cluster"), "--cluster: got it beside files"),
    (("--cluster", "--namespace-labels", "a=b"), "--cluster: got it beside --namespace-labels"),
    (("--cluster", "-o", "sarif"), "-o sarif: a cluster's namespaces are no findings"),
    (("--cluster", "--label", "-o", "json"), "--label: got -o json beside it"),
    (("p.yaml", "--label"), "--label: got it without --cluster"),
    (("p.yaml", "--kubeconfig", "p.yaml"), "--kubeconfig: got it without --cluster"),
    (("p.yaml", "--namespace", "a", "--namespace", "b"), "--namespace: got several"),
    (("p.yaml", "--namespace", "A"), "--namespace: got 'A'"),
    (("p.yaml", "--version", "1.30"), "--version: got '1.30'"),
    (("p.yaml", "--level", "baseline", "--config", "p.yaml"), "is not evaluated by custody yet"),
    (("p.yaml", "--level", "baseline", "--namespace-labels", "a=b"), "--level: got --namespace-labels beside it"),
    (("p.yaml", "--namespace-labels", "enforce=restricted"), "--namespace-labels: got 'enforce', expected pod-sec"),
    (("p.yaml", "--namespace-labels", f"{PREFIX}enforc=restricted"), "--namespace-labels: got 'pod-security."),
    (("p.yaml", "--namespace-labels", "ab"), "--namespace-labels: got 'ab', expected KEY=VALUE")])
def test_options_that_do_not_go_together(arguments: tuple[str, ...], words: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.yaml").write_text(yaml.safe_dump(pod("p", GOOD["spec"])))
    assert run(["policy", "podsecurity", *arguments]) == 2
    assert words in capsys.readouterr().err
