"""A real kube-apiserver that calls the webhook: pinned, rejected with the rule's message, and what an outage does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.adapters.http.stdlib import StdlibHttp
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from custody.admission.certs import ServingCertificate
from custody.admission.configuration import configurations, to_yaml
from custody.admission.webhook import Admission
from custody.errors import AuthenticationError, NetworkError, UsageError
from custody.evidence.model import EvidenceSet
from custody.kit.clock import system_clock
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet
from custody.policy.model import Request
from custody.policy.resources import ApiResource
from custody.server.admission import AdmissionApp
from custody.server.platform import running
from custody.settings import Settings
from tests.access.site import Authority
from tests.admission.kyverno_webhooks import CRD
from tests.admission.test_configuration import EXEC, KNATIVE, policy
from tests.conftest import peer
from tests.demo.worlds import small_world
from tests.policy import pod_schema
from tests.serving import served

pytestmark = pytest.mark.peer


async def kinds_of(kubeconfig: Path) -> Kinds:
    access = of_kubeconfig(kubeconfig)
    cluster = Cluster(access, StdlibHttp(tls=access.tls))
    try:
        return await cluster.kinds()
    finally:
        await cluster.close()



def test_good_pods_are_pinned_bad_ones_rejected_and_outages_follow_the_failure_policy(
        kubeconfig: Path, tmp_path: Path) -> None:
    async def kubectl(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(lambda: subprocess.run(
            [peer("kubectl"), "--kubeconfig", str(kubeconfig), *arguments], input=given, capture_output=True, text=True,
            timeout=60, check=False))

    async def create(pod: dict[str, Any], name: str) -> subprocess.CompletedProcess[str]:
        named = {**pod, "metadata": {"name": name, "namespace": "default"}}
        return await kubectl("create", "-f", "-", given=json.dumps(named))

    async def configure(url: str, ca_bundle: bytes, policy: str) -> None:
        found = configurations(url, ca_bundle, failure_policy=policy)
        done = await kubectl("apply", "-f", "-", given=to_yaml(found))
        assert done.returncode == 0, done.stderr

    async def main() -> None:
        async with small_world(tmp_path) as (world, chain, _):
            url, ca_bundle = str(world.services.webhook), (world.folder / "admission" / "ca.crt").read_bytes()
            await configure(url, ca_bundle, "Fail")
            good = world.pod(f"{world.name}:1.0")
            for attempt in range(20):  # the API server takes up new configurations within a second or so
                probe = await create(world.pod("docker.io/library/probe:1"), f"probe-{attempt}")
                if probe.returncode != 0:
                    break
                await asyncio.sleep(0.25)
            # A good pod is admitted, its tag pinned.
            done = await create(good, "good")
            assert done.returncode == 0, done.stderr
            stored = json.loads((await kubectl("get", "pod", "good", "-o", "json")).stdout)
            pinned = f"{world.name}:1.0@{chain.image.digest}"
            assert {one["image"] for kind in ("containers", "initContainers")
                    for one in stored["spec"][kind]} == {pinned}
            # Each bad pod is rejected with its rule's message.
            unsigned = (await world.variant(chain.image, "unsigned")).digest
            without = json.loads(json.dumps(good))
            del without["spec"]["initContainers"]
            for name, pod, webhook, words in (
                ("elsewhere", world.pod("docker.io/library/nginx:1"), "validate",
                 "Images must come from ghcr.io/myorg."),
                ("unsigned", world.pod(f"{world.name}@{unsigned}"), "mutate", "no signatures found (missing)"),
                ("missing", world.pod(f"{world.name}:none"), "mutate", "answered 404"),
                ("no-init", without, "validate", "failed at path /spec/initContainers/"),
                ("privileged", world.pod(f"{world.name}:1.0", securityContext={"privileged": True}), "validate",
                 'violates PodSecurity "restricted:latest": (Forbidden reason: allowPrivilegeEscalation'),
            ):
                done = await create(pod, name)
                said = " ".join(done.stderr.split())
                assert done.returncode != 0, name
                assert f'admission webhook "{webhook}.custody.internal" denied the request' in said, said
                assert words in said, said
            # A pod that runs cannot be changed to another image either.
            done = await kubectl("set", "image", "pod/good", "shop=docker.io/library/nginx:1")
            assert done.returncode != 0
            assert "Images must come from" in " ".join(done.stderr.split())
            await configure(url, ca_bundle, "Ignore")
            await asyncio.sleep(1)
            assert (await create(world.pod("docker.io/library/nginx:1"), "still")).returncode != 0
            later = (good, url, ca_bundle)
        # The webhook is gone. Ignore lets everything through; Fail nothing.
        good, url, ca_bundle = later
        assert (await create(good, "unjudged")).returncode == 0
        await configure(url, ca_bundle, "Fail")
        await asyncio.sleep(1)
        done = await create(good, "nobody-asks")
        assert done.returncode != 0
        assert "failed calling webhook" in done.stderr
        await kubectl("delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", "custody")

    asyncio.run(main())


# ── what rules name ─────────────────────────────────────────────────────────────────────────────────────────────────

async def _no_evidence(request: Request, names: list[str]) -> dict[str, EvidenceSet]:
    return {}


def _kubectl(kubeconfig: Path, *arguments: str, given: Any = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([peer("kubectl"), "--kubeconfig", str(kubeconfig), *arguments], capture_output=True,
                          input=None if given is None else json.dumps(given), text=True, timeout=60, check=False)


def _done(kubeconfig: Path, *arguments: str, given: Any = None) -> None:
    done = _kubectl(kubeconfig, *arguments, given=given)
    assert done.returncode == 0, done.stderr


def _pod(name: str, namespace: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": "none", "containers": [{"name": "a", "image": "registry.example.com/a:1"}]}}


def test_the_table_of_kinds_is_what_the_api_server_serves(kubeconfig: Path) -> None:
    """Kubernetes' own groups, by the aggregated discovery that `--kubeconfig` asks for too."""
    served = asyncio.run(kinds_of(kubeconfig))
    table = builtin()

    def ordered(kinds: Kinds) -> list[ApiResource]:
        return sorted((resource for resource in kinds.resources if resource.group in table.whole),
                      key=lambda resource: (resource.group, resource.plural, resource.version))

    assert ordered(served) == ordered(table)
    assert table.whole <= served.whole


def test_the_schema_of_pods_is_the_one_that_is_kept(kubeconfig: Path) -> None:
    """So that a field which a newer Kubernetes brings is noticed."""
    served = asyncio.run(kinds_of(kubeconfig))
    paths = sorted({f"apis/{one.group}/{one.version}" if one.group else f"api/{one.version}"
                    for one in served.resources if one.group in builtin().whole})
    documents = [json.loads(_kubectl(kubeconfig, "get", "--raw", f"/openapi/v3/{path}").stdout) for path in paths]
    assert pod_schema.facts(documents) == json.loads(pod_schema.FACTS.read_text())


def test_what_a_rule_names_is_what_the_api_server_asks_about(kubeconfig: Path, tmp_path: Path) -> None:
    """Case pod-exec-never-judged, kind-group-is-ignored and config-union on a real API server."""
    kubectl = partial(_kubectl, kubeconfig)
    done = partial(_done, kubeconfig)
    done("apply", "-f", "-", given=CRD)
    done("wait", "--for", "condition=established", "--timeout", "60s", "crd/services.serving.knative.dev")
    for namespace in ("pci", "vault", "free"):
        done("create", "namespace", namespace)
        done("create", "-f", "-", given=_pod("p", namespace))
        done("-n", namespace, "create", "secret", "generic", "old")
    labels = {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": _pod("p", "free")["spec"]["containers"]}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "free"},
                  "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}}
    done("create", "-f", "-", given=deployment)
    scale = policy("no-more", ["Deployment/scale"], validate={
        "message": "at most 5", "pattern": {"spec": {"replicas": "<=5"}}})
    secrets = policy("protect", ["Secret"], ["DELETE"])
    secrets["spec"]["rules"][0]["match"]["any"][0]["resources"]["namespaces"] = ["vault"]
    secrets["spec"]["rules"][0]["validate"] = {"message": "protected", "deny": {"conditions": {"all": [
        {"key": "{{ request.operation }}", "operator": "Equals", "value": "DELETE"}]}}}
    ignored = policy("label", ["ConfigMap"], failurePolicy="Ignore", webhookTimeoutSeconds=5, validate={
        "message": "team is required", "pattern": {"metadata": {"labels": {"team": "?*"}}}})
    served_kinds = asyncio.run(kinds_of(kubeconfig))
    policies = PolicySet.load([EXEC, KNATIVE, scale, secrets, ignored], served_kinds)
    certificate = ServingCertificate(tmp_path, ["127.0.0.1"])
    certificate.ensure(system_clock())
    app = AdmissionApp(Admission(policies, _no_evidence, system_clock))
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"namespace": "free"}}
    try:
        with served(app, certificate=certificate.certificate, key=certificate.key) as url:
            written = configurations(url, certificate.ca_bundle, policies)
            urls = [hook["clientConfig"]["url"] for hook in written[0]["webhooks"]]
            assert sorted(asked.removeprefix(f"{url}/").split("/")[:3] for asked in urls) == [
                ["validate", "fail", "10"], ["validate", "ignore", "5"]]
            applied = kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": written})
            assert applied.returncode == 0, applied.stderr
            for attempt in range(40):  # the API server takes up new configurations within a second or so
                probe = kubectl("-n", "free", "create", "configmap", f"probe-{attempt}")
                if probe.returncode != 0:
                    break
                time.sleep(0.25)
            assert "team is required" in probe.stderr
            # exec: the API server asks before it looks for a kubelet.
            assert "no exec" in kubectl("-n", "pci", "exec", "p", "--", "sh").stderr
            assert "no exec" not in kubectl("-n", "free", "exec", "p", "--", "sh").stderr
            # scale: by its own subresource, and not by the Deployment.
            scaled = kubectl("-n", "free", "scale", "deployment", "web", "--replicas", "6")
            assert scaled.returncode != 0
            assert "at most 5" in scaled.stderr
            done("-n", "free", "scale", "deployment", "web", "--replicas", "4")
            # Knative's Services and not Kubernetes'.
            denied = kubectl("create", "-f", "-", given={**service, "metadata": {"name": "bad", "namespace": "free"}})
            assert denied.returncode != 0
            assert "team is required" in denied.stderr
            good = {"name": "good", "namespace": "free", "labels": {"team": "a"}}
            done("create", "-f", "-", given={**service, "metadata": good})
            done("-n", "free", "create", "service", "clusterip", "plain", "--tcp", "80")
            # Deletions of secrets.
            assert "protected" in kubectl("-n", "vault", "delete", "secret", "old").stderr
            done("-n", "free", "delete", "secret", "old")
        # The webhook is away: only what a Fail policy asks about stops.
        done("-n", "vault", "create", "secret", "generic", "new")
        done("-n", "free", "create", "configmap", "ignored")
        done("-n", "free", "patch", "deployment", "web", "--type", "merge", "-p", '{"spec":{"replicas":9}}')
        for arguments in (("-n", "vault", "delete", "secret", "old"), ("-n", "pci", "exec", "p", "--", "sh")):
            failed = kubectl(*arguments)
            assert failed.returncode != 0
            assert 'failed calling webhook "validate-fail-10.custody.internal"' in failed.stderr
    finally:
        kubectl("delete", "validatingwebhookconfiguration", "custody", "--ignore-not-found")


# ── ways in ─────────────────────────────────────────────────────────────────────────────────────────────────────────

BAD = "evil.example/x:1"
REGISTRIES = {"message": "registry not allowed", "deny": {"conditions": {"any": [
    {"key": "{{ images.*.*.registry[] }}", "operator": "AnyNotIn", "value": ["registry.example.com"]}]}}}


@contextlib.contextmanager
def _judged(kubeconfig: Path, tmp_path: Path, policies: PolicySet, probe: dict[str, Any]) -> Iterator[None]:
    """The API server asks a webhook of these policies, and has taken that up: the probe is denied."""
    certificate = ServingCertificate(tmp_path, ["127.0.0.1"])
    certificate.ensure(system_clock())
    app = AdmissionApp(Admission(policies, _no_evidence, system_clock))
    try:
        with served(app, certificate=certificate.certificate, key=certificate.key) as url:
            written = configurations(url, certificate.ca_bundle, policies)
            _done(kubeconfig, "apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": written})
            for _ in range(60):
                if _kubectl(kubeconfig, "create", "--dry-run=server", "-f", "-", given=probe).returncode != 0:
                    break
                time.sleep(0.25)
            yield
    finally:
        _kubectl(kubeconfig, "delete", "validatingwebhookconfiguration", "custody", "--ignore-not-found")


def _of(name: str, image: str, namespace: str = "ways", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [{"name": "a", "image": image}], **spec}}


GOOD = "registry.example.com/a:1"


def test_the_api_server_shows_the_certificate_that_the_webhook_demands(kubeconfig: Path, tmp_path: Path) -> None:
    """Nobody else is listened to; an API server that shows another's is not, and Fail then denies."""
    _done(kubeconfig, "create", "namespace", "shown")
    policies = PolicySet([policy("registries", ["Pod"], validate=REGISTRIES)])
    client = kubeconfig.parent / "client"

    async def judged(authority: Path, name: str, words: str) -> tuple[str, str]:
        """What the API server says of a good pod and of a bad one, once it says `words` of that."""
        settings = Settings(data_dir=str(tmp_path / "data"), webhook_client_ca=str(authority),
                            webhook_client_names=[name])
        async with running(settings, ["admission"], policies=policies) as found:
            assert found.webhook is not None
            bundle = (tmp_path / "data" / "admission" / "ca.crt").read_bytes()
            written = configurations(found.webhook, bundle, policies)

            def ask() -> tuple[str, str]:
                _done(kubeconfig, "apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": written})
                said = ["", ""]
                for _ in range(60):  # until it has taken the configuration up
                    said = [_kubectl(kubeconfig, "create", "--dry-run=server", "-f", "-", given=_of(
                        "a", image, "shown")).stderr for image in (GOOD, BAD)]
                    # a handshake that ends is told as EOF or as an alert, after the address
                    said = [text.replace(f'Post "{found.webhook}/', f"the handshake ends: {text}")
                            if "dial tcp" not in text else text for text in said]
                    if words in said[1]:
                        break
                    time.sleep(0.25)
                return said[0], said[1]

            return await asyncio.to_thread(ask)

    try:
        good, bad = asyncio.run(judged(client / "ca.pem", "kube-apiserver", "registry not allowed"))
        assert (good, "registry not allowed" in bad) == ("", True)
        for authority, name, words in (
                (client / "ca.pem", "another", "the client certificate is of kube-apiserver, expected one of"),
                (Authority().pem(tmp_path / "other.pem"), "kube-apiserver", "the handshake ends")):
            for said in asyncio.run(judged(authority, name, words)):
                assert "failed calling webhook" in said
                assert words in said
    finally:
        _kubectl(kubeconfig, "delete", "validatingwebhookconfiguration", "custody", "--ignore-not-found")


def test_every_way_into_a_pod_is_judged(kubeconfig: Path, tmp_path: Path) -> None:
    """Lists, dry runs, init and ephemeral containers, image volumes, updates, odd names; and namespaces left out."""
    kubectl, done = partial(_kubectl, kubeconfig), partial(_done, kubeconfig)
    done("create", "namespace", "ways")
    policies = PolicySet([policy("registries", ["Pod"], validate=REGISTRIES)])
    with _judged(kubeconfig, tmp_path, policies, _of("probe", BAD)):
        def denied(*arguments: str, given: Any = None, words: str = "registry not allowed") -> None:
            answer = kubectl(*arguments, given=given)
            assert answer.returncode != 0, arguments
            assert words in answer.stderr, answer.stderr

        # Lists are taken apart by kubectl: the good one is created, the bad one is not.
        pods = {"apiVersion": "v1", "kind": "List", "items": [_of("listed", GOOD), _of("smuggled", BAD)]}
        denied("create", "-f", "-", given=pods)
        assert kubectl("-n", "ways", "get", "pods", "-o", "name").stdout.split() == ["pod/listed"]
        denied("create", "--dry-run=server", "-f", "-", given=_of("dry", BAD))
        done("create", "--dry-run=server", "-f", "-", given=_of("dry", GOOD))
        denied("create", "-f", "-", given=_of("init", GOOD, initContainers=[{"name": "i", "image": BAD}]))
        denied("create", "-f", "-", given={**_of("x", BAD), "metadata": {"generateName": "x-", "namespace": "ways"}})
        # Image volumes are images.
        volume = {"name": "v", "image": {"reference": BAD, "pullPolicy": "IfNotPresent"}}
        denied("create", "-f", "-", given=_of("volume", GOOD, volumes=[volume]))
        done("create", "-f", "-", given=_of("volume", GOOD, volumes=[
            {"name": "v", "image": {"reference": GOOD, "pullPolicy": "IfNotPresent"}}]))
        # Spellings of an allowed registry are that registry; a name that no node can pull denies beside a bad one.
        done("create", "-f", "-", given=_of("spelled", "REGISTRY.example.com:443/a:1"))
        junk = _of("junk", BAD)
        junk["spec"]["containers"].append({"name": "junk", "image": "registry.example.com/Junk:1"})
        denied("create", "-f", "-", given=junk, words="the images of Pod/ways/junk")
        # What runs can be changed no other way either.
        denied("-n", "ways", "set", "image", "pod/listed", f"a={BAD}")
        ephemeral = {"spec": {"ephemeralContainers": [{"name": "e", "image": BAD, "targetContainerName": "a"}]}}
        denied("-n", "ways", "patch", "pod", "listed", "--subresource", "ephemeralcontainers", "--type", "strategic",
               "-p", json.dumps(ephemeral))
        ephemeral["spec"]["ephemeralContainers"][0]["image"] = GOOD
        done("-n", "ways", "patch", "pod", "listed", "--subresource", "ephemeralcontainers", "--type", "strategic",
             "-p", json.dumps(ephemeral))
        # A violation is no reason why the pod could not be deleted; excluded namespaces are outside.
        done("create", "-f", "-", given=_of("outside", BAD, "kube-system"))
        done("-n", "ways", "delete", "pod", "listed", "--grace-period", "0", "--force")


def test_the_pods_of_controllers_are_judged_when_they_are_created(kubeconfig: Path, tmp_path: Path) -> None:
    kubectl, done = partial(_kubectl, kubeconfig), partial(_done, kubeconfig)
    manager = peer("kube-controller-manager")
    done("create", "namespace", "controlled")
    labels = {"app": "x"}

    def deployment(name: str, image: str) -> dict[str, Any]:
        template = {"metadata": {"labels": {**labels, "name": name}}, "spec": _of("x", image)["spec"]}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "controlled"},
                "spec": {"replicas": 1, "selector": {"matchLabels": {**labels, "name": name}}, "template": template}}

    written = policy("registries", ["Pod"], validate=REGISTRIES)
    written["metadata"]["annotations"] = {"pod-policies.kyverno.io/autogen-controllers": "none"}
    policies = PolicySet([written])
    with _judged(kubeconfig, tmp_path, policies, _of("probe", BAD, "controlled")), (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([manager, "--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port=0",
                                    "--controllers=deployment-controller,replicaset-controller"],
                                   stdout=log, stderr=log)
        try:
            done("create", "-f", "-", given=deployment("good", GOOD))
            done("create", "-f", "-", given=deployment("bad", BAD))
            said = ""
            for _ in range(120):
                pods = kubectl("-n", "controlled", "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}")
                said = kubectl("-n", "controlled", "get", "events", "-o", "jsonpath={.items[*].message}").stdout
                if pods.stdout and "registry not allowed" in said:
                    break
                time.sleep(0.5)
            assert pods.stdout.split() == [GOOD]
            assert "registry not allowed" in said
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize(("change", "said"), [
    ({"exec": {"command": "aws"}}, "user.exec: custody runs no program for a credential"),
    ({"username": "ann"}, "user.username: basic authentication is removed"),
    ({"client-key-data": "!"}, "client-key-data: got 'other text', expected base64"),
    ({"client-certificate-data": "", "client-certificate": "no.crt"}, "no.crt: No such file or directory")])
def test_a_kubeconfig_that_cannot_be_obeyed_is_refused(kubeconfig: Path, tmp_path: Path, change: dict[str, Any],
                                                       said: str) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"].update(change)
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(UsageError) as refused:
        of_kubeconfig(file)
    assert said in refused.value.message


def test_an_api_server_that_does_not_know_the_caller_is_an_error_and_not_an_empty_table(kubeconfig: Path,
                                                                                        tmp_path: Path) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "nobody"}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(AuthenticationError, match=r"GET https://.*/api: answered 401"):
        asyncio.run(kinds_of(file))
    config["clusters"][0]["cluster"].pop("certificate-authority-data")
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(NetworkError, match="certificate verify failed"):
        asyncio.run(kinds_of(file))
