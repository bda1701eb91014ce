"""`policy podsecurity --cluster` beside a real API server: it says of a namespace what labelling it warns of."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from custody.cli.run import run
from tests.cluster.replica import Cluster
from tests.policy.test_podsecurity_engine import GOOD

pytestmark = pytest.mark.peer
GOOD_SPEC = GOOD["spec"]
PLAIN = {"containers": [{"name": "c", "image": "a:1"}]}
HOST = {**PLAIN, "hostPID": True, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}
PREFIX = "pod-security.kubernetes.io/"
_WARNING = re.compile(r"^Warning: (.*)$", re.MULTILINE)
_LATEST_OF = re.compile(r"latest is (v1\.\d+) here")


def pod(name: str, spec: dict[str, Any], owner: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}, **(
        {"ownerReferences": [owner]} if owner else {})}, "spec": spec}


def holder(kind: str, name: str, spec: dict[str, Any], owner: dict[str, Any] | None = None) -> dict[str, Any]:
    made = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": spec}}}
    if owner:
        made["metadata"]["ownerReferences"] = [owner]  # type: ignore[index]
    return made


class Site(NamedTuple):
    kubectl: Cluster
    kubeconfig: Path

    def create(self, namespace: str, *documents: dict[str, Any]) -> list[dict[str, Any]]:
        """As the API server has them."""
        made = []
        for document in documents:
            placed = {**document, "metadata": {**document["metadata"], "namespace": namespace}}
            done = self.kubectl("create", "-o", "json", "-f", "-", given=placed)
            assert done.returncode == 0, done.stderr
            made.append(json.loads(done.stdout))
        return made

    def owner(self, made: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": made["apiVersion"], "kind": made["kind"], "name": made["metadata"]["name"],
                "uid": made["metadata"]["uid"], "controller": True}

    def warned(self, namespace: str, level: str) -> list[str]:
        """What the API server's plug-in warns of where the namespace is labelled so."""
        done = self.kubectl("label", "--dry-run=server", "--overwrite", "namespace", namespace,
                            f"{PREFIX}enforce={level}")
        assert done.returncode == 0, done.stderr
        return _WARNING.findall(done.stderr)


@pytest.fixture(scope="module")
def site(kubeconfig: Path) -> Site:
    kubectl = Cluster(kubeconfig)
    made = Site(kubectl, kubeconfig)
    namespaces: dict[str, dict[str, str]] = {
        "clean": {f"{PREFIX}enforce": "baseline", f"{PREFIX}warn": "restricted"}, "plain": {}, "host": {}, "empty": {},
        "template": {}, "wrong": {}, "away": {f"{PREFIX}enforce": "privileged"}}
    for name, labels in namespaces.items():
        assert kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": name, "labels": labels}}).returncode == 0
    (deployment,) = made.create("clean", holder("Deployment", "web", GOOD_SPEC))
    (replicas,) = made.create("clean", holder("ReplicaSet", "web-1", GOOD_SPEC, made.owner(deployment)))
    # What an earlier rollout left, of which no pod is left, stops nothing.
    made.create("clean", holder("ReplicaSet", "web-0", HOST, made.owner(deployment)))
    made.create("clean", *(pod(f"web-1-{at}", GOOD_SPEC, made.owner(replicas)) for at in "ab"))
    (deployment,) = made.create("plain", holder("Deployment", "api", GOOD_SPEC))
    (replicas,) = made.create("plain", holder("ReplicaSet", "api-1", PLAIN, made.owner(deployment)))
    made.create("plain", *(pod(f"api-1-{at}", PLAIN, made.owner(replicas)) for at in "abc"), pod("lone", GOOD_SPEC))
    (agents,) = made.create("host", holder("DaemonSet", "agent", HOST))
    made.create("host", *(pod(f"agent-{at}", HOST, made.owner(agents)) for at in "ab"), pod("zone", PLAIN),
                pod("net", {**PLAIN, "hostNetwork": True}))
    made.create("template", holder("StatefulSet", "store", {**PLAIN, "hostIPC": True}), {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {
            "schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {**PLAIN, "restartPolicy": "Never",
                                                                                      }}}}}})
    return made


def survey(site: Site, *flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = run(["policy", "podsecurity", "--cluster", "--kubeconfig", str(site.kubeconfig), *flags])
    said = capsys.readouterr()
    return code, said.out, said.err


def rows(site: Site, *flags: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    _, out, _ = survey(site, "-o", "json", *flags, capsys=capsys)
    return {row["namespace"]: row for row in json.loads(out)["namespaces"]}


def grouped(obstacles: Sequence[dict[str, Any]], level: str) -> list[str]:
    """The obstacles as the plug-in says them: it looks at pods alone."""
    lines = []
    for obstacle in obstacles:
        pods = obstacle["pods"]
        if obstacle["level"] == level and pods:
            more = len(pods) - 1
            beside = "" if not more else " (and 1 other pod)" if more == 1 else f" (and {more} other pods)"
            lines.append(f"{min(pods)}{beside}: {obstacle['reasons']}")
    return sorted(lines)


def test_what_labelling_a_namespace_warns_of(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    standings = rows(site, capsys=capsys)
    compared = 0
    for name, row in standings.items():
        for level in ("baseline", "restricted"):
            head, *lines = site.warned(name, level) or [""]
            assert lines == grouped(row["obstacles"], level), (name, level)
            assert bool(head) == bool(lines)
            compared += bool(lines)
    assert compared == 3  # plain is stopped at restricted, host at both
    assert {name: row["meets"] for name, row in standings.items() if name in (
        "clean", "plain", "host", "empty", "template")} == {
        "clean": "restricted", "plain": "baseline", "host": "privileged", "empty": "restricted",
        "template": "privileged"}


def test_people_are_told_who_stops_it(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = survey(site, "--namespace", "host", "--namespace", "plain", "--namespace", "clean",
                            "--namespace", "template", capsys=capsys)
    assert code == 0
    version = _LATEST_OF.search(err)
    assert version is not None
    restricted = "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    assert out.splitlines() == [
        "NAMESPACE  ENFORCE            AUDIT              WARN               PODS  MEETS",
        "clean      baseline:latest    privileged:latest  restricted:latest  2     restricted",
        "host       privileged:latest  privileged:latest  privileged:latest  4     privileged",
        "  baseline: daemonset agent (pods agent-a, agent-b): host namespaces, hostPath volumes",
        "  baseline: pod net: host namespaces",
        "plain      privileged:latest  privileged:latest  privileged:latest  4     baseline",
        f"  restricted: deployment api (pods api-1-a, api-1-b, api-1-c): {restricted}",
        "template   privileged:latest  privileged:latest  privileged:latest  0     privileged",
        "  baseline: statefulset store: host namespaces"]


def test_commands_label_what_can_be_tightened(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = survey(site, "--label", "--version", "v1.30", "--namespace", "clean", "--namespace", "plain",
                          "--namespace", "host", capsys=capsys)
    assert code == 0
    before = "kubectl label --overwrite namespace"
    assert out.splitlines() == [
        f"{before} clean {PREFIX}enforce=restricted {PREFIX}enforce-version=v1.30",
        f"{before} plain {PREFIX}enforce=baseline {PREFIX}enforce-version=v1.30"]
    for line in out.splitlines():
        done = site.kubectl(*line.split()[1:], "--dry-run=server")
        assert done.returncode == 0
        assert "Warning" not in done.stderr


def test_a_level_is_a_threshold(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = survey(site, "--level", "baseline", capsys=capsys)
    assert code == 3
    assert "namespaces do not meet baseline, such as host" in err
    assert survey(site, "--level", "baseline", "--namespace", "plain", capsys=capsys)[0] == 0
    assert survey(site, "--level", "restricted", "--namespace", "plain", capsys=capsys)[0] == 3


def test_exemptions_and_defaults_of_a_configuration(site: Site, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [{
            "name": "PodSecurity", "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1beta1", "kind": "PodSecurityConfiguration",
                "defaults": {"enforce": "baseline", "enforce-version": "v1.30"},
                "exemptions": {"namespaces": ["host"]}}}]}))
    standings = rows(site, "--config", str(file), capsys=capsys)
    assert standings["plain"]["enforce"] == "baseline:v1.30"
    assert standings["host"]["exempt"]
    code, out, _ = survey(site, "--config", str(file), "--level", "baseline", "--namespace", "host", capsys=capsys)
    assert code == 0
    assert "privileged (exempt)" in out
    assert "host" not in survey(site, "--config", str(file), "--label", capsys=capsys)[1]


def test_a_namespace_that_is_not_there(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = survey(site, "--namespace", "nowhere", capsys=capsys)
    assert code == 2
    assert "--namespace: got nowhere, expected a namespace of the cluster" in err


def test_what_may_not_be_read_is_not_judged(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody who may list namespaces, pods of one of them, and nothing else."""
    site.create("away", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}})
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": "away"}
    for kind, rules, namespace in (
            ("ClusterRole", [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "get"]}], ""),
            ("Role", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}], "host"),
            ("Role", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]}], "plain")):
        place = {"namespace": namespace} if namespace else {}
        for document in ({"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "reader", **place},
                          "rules": rules},
                         {"apiVersion": f"{group}/v1", "kind": f"{kind}Binding",
                          "metadata": {"name": "reader", **place}, "subjects": [subject],
                          "roleRef": {"apiGroup": group, "kind": kind, "name": "reader"}}):
            assert site.kubectl("create", "-f", "-", given=document).returncode == 0
    token = site.kubectl("create", "token", "reader", "-n", "away").stdout.strip()
    config = yaml.safe_load(site.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    limited = site._replace(kubeconfig=tmp_path / "limited")
    limited.kubeconfig.write_text(yaml.safe_dump(config))
    standings = rows(limited, capsys=capsys)
    assert standings["plain"]["meets"] == "baseline"
    assert standings["plain"]["judged"]
    host = standings["host"]
    assert host["meets"] is None
    assert not host["judged"]
    assert any(reason.startswith("DaemonSet: daemonsets.apps is forbidden") for reason in host["unread"])
    assert not any(reason.startswith("Pod:") for reason in host["unread"])
    assert grouped(host["obstacles"], "baseline") == site.warned("host", "baseline")[1:]
    assert any(reason.startswith("Pod: pods is forbidden") for reason in standings["clean"]["unread"])
    code, out, err = survey(limited, "--namespace", "host", "--namespace", "clean", capsys=capsys)
    assert code == 4
    assert "not judged" in out
    assert "  not read: Pod: pods is forbidden" in out
    assert "2 of 2 namespaces not judged, such as clean" in err
    assert survey(limited, "--label", capsys=capsys)[1] == (
        f"kubectl label --overwrite namespace plain {PREFIX}enforce=baseline {PREFIX}enforce-version=latest\n")
    assert survey(limited, "--level", "baseline", "--namespace", "host", capsys=capsys)[0] == 3
