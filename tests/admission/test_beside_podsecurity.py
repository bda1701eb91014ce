"""The Pod Security engine says what the API server's own plugin says: allowed or denied, the words, warnings, audit."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from custody.policy.podsecurity import standard
from tests.admission.beside_podsecurity import (
    CONFIGURATION,
    EXEMPT_CLASS,
    EXEMPT_NAMESPACE,
    EXEMPT_NEW,
    EXEMPT_USER,
    SILENCE,
    Custody,
    Peer,
    Said,
    plugin,
    running,
)
from tests.admission.test_cluster import Service, configured
from tests.conftest import oracle
from tests.fuzz.podsecurity import compare, newest

pytestmark = pytest.mark.peer

NAMESPACES: dict[str, dict[str, str]] = {
    "plain": {}, "open": dict.fromkeys(("enforce", "audit", "warn"), "privileged"),
    "enforce-privileged": {"enforce": "privileged"}, "enforce-baseline": {"enforce": "baseline"},
    "enforce-restricted": {"enforce": "restricted"},
    "enforce-old": {"enforce": "restricted", "enforce-version": "v1.20"},
    "only-version": {"enforce-version": "v1.24"},
    "enforce-future": {"enforce": "restricted", "enforce-version": "v1.99"},
    "warn-restricted": {"enforce": "privileged", "warn": "restricted", "warn-version": "v1.29"},
    "audit-baseline": {"enforce": "privileged", "audit": "baseline", "audit-version": "latest"},
    "warn-version": {"enforce": "restricted", "warn-version": "v1.22"},
    "warn-privileged": {"enforce": "restricted", "warn": "privileged", "audit": "privileged"},
    "all": {"enforce": "baseline", "audit": "restricted", "warn": "restricted"},
    EXEMPT_NAMESPACE: {"enforce": "restricted", "warn": "restricted"},
}
INVALID: dict[str, dict[str, str]] = {
    "bad-level": {"enforce": "strict"}, "bad-version": {"enforce": "restricted", "enforce-version": "1.30"},
    "bad-audit": {"enforce": "privileged", "audit": "Restricted", "warn": ""},
    "bad-warn": {"enforce": "privileged", "warn": "baseline", "warn-version": "v1.x", "audit": "privileged"},
    "bad-all": {"enforce": "baseline", "enforce-version": "v1.030", "audit-version": "V1.20", "warn": "none"},
}


class Site(NamedTuple):
    peer: Peer
    custody: Custody


def labelled(labels: dict[str, str]) -> dict[str, str]:
    return {f"pod-security.kubernetes.io/{name}": value for name, value in labels.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("podsecurity")) as peer:
        for name, labels in NAMESPACES.items():
            reply = peer.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": name, "labels": labelled(labels)}})
            assert reply.status == 201, reply
        for name, labels in INVALID.items():
            peer.put(name, labelled(labels))
        for name in (EXEMPT_CLASS, "other-class"):
            assert peer.ask("POST", "/apis/node.k8s.io/v1/runtimeclasses", {
                "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name},
                "handler": "runc"}).status == 201
        assert peer.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "exempt"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": name} for name in (EXEMPT_USER, "ann")]}).status == 201
        custody = Custody(peer.kubeconfig)
        with pytest.MonkeyPatch.context() as patch:
            # `latest` is the newest that the one who judges knows: here, that of this API server for both.
            patch.setattr(standard, "LATEST", newest(peer))
            yield Site(peer, custody)
        custody.close()


PATHS = {"Pod": "/api/v1/namespaces/{}/pods", "PodTemplate": "/api/v1/namespaces/{}/podtemplates",
         "ReplicationController": "/api/v1/namespaces/{}/replicationcontrollers",
         **{kind: f"/apis/apps/v1/namespaces/{{}}/{kind.lower()}s" for kind in (
             "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet")},
         **{kind: f"/apis/batch/v1/namespaces/{{}}/{kind.lower()}s" for kind in ("Job", "CronJob")}}


def placed(resource: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = {name: value for name, value in resource["metadata"].items()
                if name not in ("uid", "resourceVersion", "creationTimestamp", "managedFields")}
    return {**resource, "metadata": {**metadata, "namespace": namespace}}


def defaulted(site: Site, resource: dict[str, Any]) -> dict[str, Any] | None:
    """As the API server completes it, which is what its plugin sees; None where it is no valid object."""
    reply = site.peer.ask("POST", f"{PATHS[resource['kind']].format('open')}?dryRun=All", placed(resource, "open"),
                          user=EXEMPT_USER)
    return reply.body if reply.status == 201 else None


def created(site: Site, resource: dict[str, Any], namespace: str, user: str = "ann") -> tuple[Said, Said]:
    """What the plugin says of a dry run, and what custody does."""
    given = placed(resource, namespace)
    reply = site.peer.ask("POST", f"{PATHS[resource['kind']].format(namespace)}?dryRun=All", given, user=user)
    return plugin(reply), site.custody.judge("CREATE", given, user=user)


def pods(every: int) -> list[dict[str, Any]]:
    """Kubernetes' own, for the newest version and for some before it."""
    folder = oracle("pod-security") / "test" / "testdata"
    files = sorted(file for version in ("v1.0", "v1.19", "v1.25", "v1.31", "v1.35")
                   for file in folder.glob(f"*/{version}/*/*.yaml"))
    return [yaml.load(file.read_text(), yaml.CSafeLoader) for file in files[::every]]


def test_kubernetes_own_pods_in_namespaces_of_all_labels(site: Site) -> None:
    judged = denied = warned = 0
    differ = []
    for number, resource in enumerate(pods(2)):
        complete = defaulted(site, resource)
        if complete is None:
            continue
        namespaces = [*NAMESPACES, *INVALID]
        for namespace in (namespaces[number % len(namespaces)], *namespaces[number % 3::3]):
            theirs, ours = created(site, complete, namespace)
            judged += 1
            denied += bool(theirs.denied)
            warned += bool(theirs.warned)
            if theirs != ours:
                differ.append((resource["metadata"]["name"], namespace, theirs, ours))
    print(f"{judged} requests, {denied} denied, {warned} with warnings, {len(differ)} differ")
    assert differ == [], f"{len(differ)} of {judged}: {differ[:5]}"
    assert judged > 1000
    assert denied > 300
    assert warned > 100


def test_kubernetes_own_pods_by_the_level_and_version_of_their_folder(site: Site) -> None:
    files = sorted(oracle("pod-security").glob("test/testdata/*/v1.*/*/*.yaml"))[::5]
    judged = denied = 0
    for file in files:
        level, version, _ = file.parts[-4:-1]
        namespace = f"{level}-{version.replace('.', '-')}"
        site.peer.put(namespace, labelled({"enforce": level, "enforce-version": version, "audit": level,
                                           "audit-version": "v1.24"}))
        complete = defaulted(site, yaml.load(file.read_text(), yaml.CSafeLoader))
        if complete is None:
            continue
        theirs, ours = created(site, complete, namespace)
        assert ours == theirs, file
        judged += 1
        denied += bool(theirs.denied)
    assert judged > 350
    assert denied > 250


def bad(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "hostPID": True, **spec, "containers": [{"name": "c", "image": "a:1"}]}}


def templates() -> list[dict[str, Any]]:
    """A bad pod, and a good one, in everything that holds a template."""
    made = []
    for pod in (bad("web"), {**bad("web"), "spec": {"containers": [{"name": "c", "image": "a:1"}]}}):
        template = {"metadata": {"labels": {"app": "web"}}, "spec": pod["spec"]}
        once = {**template, "spec": {**pod["spec"], "restartPolicy": "Never"}}
        apps = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
        for version, kind, rest in (
                ("v1", "PodTemplate", {"template": template}),
                ("v1", "ReplicationController", {"spec": {"replicas": 1, "template": template}}),
                *(("apps/v1", kind, {"spec": apps}) for kind in ("ReplicaSet", "Deployment", "DaemonSet")),
                ("apps/v1", "StatefulSet", {"spec": {**apps, "serviceName": "web"}}),
                ("batch/v1", "Job", {"spec": {"template": once}}),
                ("batch/v1", "CronJob", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {
                    "template": once}}}})):
            made.append({"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, **rest})
    made.append({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "none"},
                 "spec": {"replicas": 0, "selector": {"app": "web"}}})
    return made


def test_templates_are_warned_about_and_never_denied(site: Site) -> None:
    warned = 0
    for resource in templates():
        if defaulted(site, resource) is None:
            assert resource["metadata"]["name"] == "none"
            continue
        for namespace in (*NAMESPACES, *INVALID):
            theirs, ours = created(site, resource, namespace)
            assert ours == theirs, (resource["kind"], namespace)
            assert not theirs.denied
            warned += bool(theirs.warned)
    assert warned > 50


def test_who_is_exempt(site: Site) -> None:
    for resource in (bad("a", runtimeClassName=EXEMPT_CLASS), bad("b", runtimeClassName="other-class"), bad("c"),
                     templates()[3]):
        for user in ("ann", EXEMPT_USER):
            for namespace in ("all", "plain", EXEMPT_NAMESPACE):
                theirs, ours = created(site, resource, namespace, user)
                assert ours == theirs, (resource, user, namespace)
                exempt = (user == EXEMPT_USER or namespace == EXEMPT_NAMESPACE
                          or resource["spec"].get("runtimeClassName") == EXEMPT_CLASS)
                if exempt:
                    assert (theirs.denied, theirs.warned, [*theirs.audited]) == ("", (), ["exempt"])
                elif resource["kind"] == "Pod":
                    assert theirs.denied


ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
OF_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/c"
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("", {"metadata": {"labels": {"a": "b"}}}), ("", {"metadata": {"annotations": {"a": "b"}}}),
    ("", {"metadata": {"annotations": {ANNOTATION: "runtime/default"}}}),
    ("", {"metadata": {"annotations": {OF_CONTAINER: "unconfined"}}}),
    ("", {"metadata": {"annotations": {OF_CONTAINER.replace("/c", "/d"): "unconfined"}}}),
    ("", {"metadata": {"finalizers": ["example.com/one"]}}),
    ("", {"spec": {"activeDeadlineSeconds": 60}}), ("", {"spec": {"containers": [{"name": "c", "image": "a:2"}]}}),
    ("ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "debug", "image": "a:1"}]}}),
    ("ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "debug", "image": "a:1", "securityContext": {
        "privileged": True}}]}}),
    ("resize", {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "20m"}}}]}}),
    ("status", {"status": {"message": "so"}}),
]


def test_updates_of_pods_and_their_subresources(site: Site) -> None:
    """In place: what is created by an exempt user is then changed by another."""
    spoke = silent = 0
    resource = bad("running")
    resource["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "10m"}}
    for namespace in ("all", "enforce-old", "warn-restricted", "open", "bad-all", EXEMPT_NAMESPACE):
        path = PATHS["Pod"].format(namespace)
        before = site.peer.ask("POST", path, placed(resource, namespace), user=EXEMPT_USER)
        assert before.status == 201, before
        for subresource, change in CHANGES:
            url = f"{path}/running{f'/{subresource}' if subresource else ''}?dryRun=All"
            kind = "application/strategic-merge-patch+json"
            after = site.peer.ask("PATCH", url, change, user=EXEMPT_USER, patch=kind)
            assert after.status == 200, (change, after)
            theirs = plugin(site.peer.ask("PATCH", url, change, user="ann", patch=kind))
            ours = site.custody.judge("UPDATE", after.body, before=before.body, subresource=subresource, user="ann")
            assert ours == theirs, (namespace, subresource, change)
            spoke += theirs != SILENCE
            silent += theirs == SILENCE
    assert spoke == 34  # also where only the audit log is told what is enforced
    assert silent == 38


def test_updates_of_templates(site: Site) -> None:
    deployment = templates()[3]
    for namespace in ("all", "warn-restricted", "open"):
        path = PATHS["Deployment"].format(namespace)
        before = site.peer.ask("POST", path, placed(deployment, namespace), user=EXEMPT_USER)
        assert before.status == 201, before
        for change in ({"metadata": {"labels": {"a": "b"}}}, {"spec": {"replicas": 3}},
                       {"spec": {"template": {"spec": {"hostPID": False}}}}):
            url = f"{path}/web?dryRun=All"
            after = site.peer.ask("PATCH", url, change, user=EXEMPT_USER)
            theirs = plugin(site.peer.ask("PATCH", url, change, user="ann"))
            ours = site.custody.judge("UPDATE", after.body, before=before.body, user="ann")
            assert ours == theirs, (namespace, change)


def test_labels_of_exempt_namespaces_are_said_to_be_ignored(site: Site) -> None:
    for labels in (*NAMESPACES.values(), {"audit": "baseline", "warn": "restricted", "enforce": "baseline"}):
        made = namespace_of(EXEMPT_NEW, labelled(labels))
        theirs = plugin(site.peer.ask("POST", "/api/v1/namespaces?dryRun=All", made, user="ann"))
        assert site.custody.judge("CREATE", made, user="ann") == theirs, labels
    before = site.peer.ask("GET", f"/api/v1/namespaces/{EXEMPT_NAMESPACE}").body
    for change in ({"team": "a"}, labelled({"enforce": "baseline"}), labelled({"enforce-version": "v1.29"}),
                   labelled({"enforce": "privileged"}), labelled({"audit": "baseline"})):
        url = f"/api/v1/namespaces/{EXEMPT_NAMESPACE}?dryRun=All"
        theirs = plugin(site.peer.ask("PATCH", url, {"metadata": {"labels": change}}, user="ann"))
        after = {**before, "metadata": {**before["metadata"], "labels": {**before["metadata"]["labels"], **change}}}
        assert site.custody.judge("UPDATE", after, before=before, user="ann") == theirs, change


def namespace_of(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_labels_of_namespaces(site: Site) -> None:
    """New ones with labels that demand what does not exist, and old ones whose labels change."""
    for labels in (*NAMESPACES.values(), *INVALID.values()):
        made = namespace_of("new", labelled(labels))
        theirs = site.peer.ask("POST", "/api/v1/namespaces?dryRun=All", made, user="ann")
        ours = site.custody.judge("CREATE", made, user="ann")
        assert bool(ours.denied) == (theirs.status == 422), (labels, theirs)
        assert ours == plugin(theirs)
    for name, labels in (("plain", {}), ("bad-all", INVALID["bad-all"]), ("bad-level", INVALID["bad-level"])):
        before = site.peer.ask("GET", f"/api/v1/namespaces/{name}").body
        assert before["kind"] == "Namespace"
        for change in ({"team": "a"}, labelled({"enforce": "restricted"}), labelled({"enforce": "no"}),
                       labelled({"audit": "no"}), labelled({"warn-version": "2"}),
                       {f"{label}": None for label in labelled(labels)}):
            url = f"/api/v1/namespaces/{name}?dryRun=All"
            theirs = site.peer.ask("PATCH", url, {"metadata": {"labels": change}}, user="ann")
            after = copy.deepcopy(before)
            merged = {**before["metadata"]["labels"], **change}
            after["metadata"]["labels"] = {label: value for label, value in merged.items() if value is not None}
            ours = site.custody.judge("UPDATE", after, before=before, user="ann")
            assert bool(ours.denied) == (theirs.status == 422), (name, change, theirs, ours)
            assert ours == plugin(theirs), (name, change)


OWNED = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": True}


def running_pods() -> list[dict[str, Any]]:
    """Some that violate baseline, some restricted, of two controllers and alone, one of an exempt class."""
    made = []
    for number in range(4):
        pod = bad(f"web-{number}")
        pod["metadata"]["ownerReferences"] = [{**OWNED, "uid": "0a" if number < 3 else "0b"}]
        made.append(pod)
    lone = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "containers": [{"name": "c", "image": "a:1"}]}} for name in ("zeta", "alpha")]
    return [*made, bad("class", runtimeClassName=EXEMPT_CLASS), bad("ports", hostNetwork=True), *lone]


def relabelled(site: Site, namespace: str, labels: Mapping[str, str | None]) -> tuple[Said, Said]:
    before = site.peer.ask("GET", f"/api/v1/namespaces/{namespace}").body
    theirs = site.peer.ask("PATCH", f"/api/v1/namespaces/{namespace}?dryRun=All", {"metadata": {"labels": labels}},
                           user="ann")
    after = copy.deepcopy(before)
    merged = {**(before["metadata"].get("labels") or {}), **labels}
    after["metadata"]["labels"] = {label: value for label, value in merged.items() if value is not None}
    return plugin(theirs), site.custody.judge("UPDATE", after, before=before, user="ann")


def test_pods_that_run_in_a_namespace_that_is_labelled_anew(site: Site) -> None:
    """Nothing, one pod, a few, many; grouped by what they violate, one pod of a controller before its replicas."""
    crowd = [{**bad(f"crowd-{number:03}"), "spec": {**bad("")["spec"], "hostIPC": bool(number % 2)}}
             for number in range(60)]
    crowds = {"relabel-none": [], "relabel-one": running_pods()[:1], "relabel-two": running_pods()[:2],
              "relabel-some": running_pods(), "relabel-many": [*running_pods(), *crowd]}
    for namespace, listed in crowds.items():
        made = namespace_of(namespace, labelled({"enforce": "privileged", "warn": "privileged"}))
        assert site.peer.ask("POST", "/api/v1/namespaces", made).status == 201
        for pod in listed:
            created_pod = site.peer.ask("POST", PATHS["Pod"].format(namespace), placed(pod, namespace),
                                        user=EXEMPT_USER)
            assert created_pod.status == 201, created_pod
        for _ in range(100):  # the plug-in reads a watch, which may not know of the last pod yet
            theirs, ours = relabelled(site, namespace, labelled({"enforce": "restricted"}))
            if ours == theirs:
                break
            time.sleep(0.05)
    silent = warned = 0
    for namespace in crowds:
        for labels in ({"enforce": "baseline"}, {"enforce": "restricted"},
                       {"enforce": "restricted", "warn": "baseline"},
                       {"enforce": "restricted", "enforce-version": "v1.19"}, {"enforce": None},
                       {"enforce": "baseline", "enforce-version": "v1.0"}, {"enforce": "no"}, {"audit": "restricted"},
                       {"enforce-version": "v1.20"}, {"enforce": None, "enforce-version": "v1.99"}):
            theirs, ours = relabelled(site, namespace, {
                f"pod-security.kubernetes.io/{label}": value for label, value in labels.items()})
            assert ours == theirs, (namespace, labels)
            warned += bool(theirs.warned)
            silent += not theirs.warned
    assert (warned, silent) == (28, 22)


def test_both_of_one_request_through_the_webhook(site: Site, tmp_path: Path) -> None:
    """The audit log has the plug-in's annotations beside the same ones under the webhook's name; a namespace that only
    the plug-in exempts is labelled anew, and custody warns of its pods."""
    policies = tmp_path / "policies.yaml"
    policies.write_text(yaml.safe_dump({**CONFIGURATION, "exemptions": {}}))
    for pod in running_pods():
        reply = site.peer.ask("POST", PATHS["Pod"].format(EXEMPT_NAMESPACE), placed(pod, EXEMPT_NAMESPACE), user="ann")
        assert reply.status in (201, 409)
    service = Service(tmp_path, "--policy", str(policies), "--kubeconfig", str(site.peer.kubeconfig))
    try:
        with configured(site.peer.kubeconfig, tmp_path, f"https://127.0.0.1:{service.port}",
                        tmp_path / ".custody" / "admission" / "ca.crt", policies):
            path, pod = f"{PATHS['Pod'].format('plain')}?dryRun=All", placed(running_pods()[-1], "plain")
            for _ in range(100):  # until the API server asks the webhook
                reply = site.peer.ask("POST", path, pod, user="ann")
                if hooked := {name.partition("/")[2]: text for name, text in reply.annotations.items()
                              if name.startswith("validate.")}:
                    break
                time.sleep(0.1)
            theirs = plugin(reply)
            assert [*theirs.audited] == ["audit-violations", "enforce-policy"]
            assert {name: hooked.get(name) for name in theirs.audited} == theirs.audited
            assert hooked["verdict"] == "allowed"
            change = {"metadata": {"labels": labelled({"enforce": "baseline", "enforce-version": "v1.29"})}}
            reply = site.peer.ask("PATCH", f"/api/v1/namespaces/{EXEMPT_NAMESPACE}?dryRun=All", change, user="ann")
            assert reply.status == 200
            ignored, head, *lines = reply.warnings
            assert "is exempt from Pod Security" in ignored
            violate = "violate the new PodSecurity enforce level"
            assert head == f'existing pods in namespace "{EXEMPT_NAMESPACE}" {violate} "baseline:v1.29"'
            listed = site.peer.ask("GET", PATHS["Pod"].format(EXEMPT_NAMESPACE)).body["items"]
            bad_ones = sorted(pod["metadata"]["name"] for pod in listed if pod["spec"].get("hostPID"))
            assert lines == [f"{bad_ones[0]} (and {len(bad_ones) - 1} other pods): host namespaces"]
    finally:
        assert service.stop() == 0


def test_drawn_requests(site: Site) -> None:
    """A few of what `python -m tests.fuzz.podsecurity` draws by the thousand."""
    world = compare(site.peer, 40, 7)
    print(dict(world.compared), dict(world.spoke))
    assert world.differ == []
    assert sum(world.compared.values()) > 120
