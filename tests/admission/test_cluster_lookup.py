"""A real API server asked what policies ask of a cluster: as a service account, by the webhook, and by `check`."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.adapters.kubernetes.pod import of_pod
from custody.cli.run import run
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    ConfigMap,
    Failed,
    NamespaceLabels,
    NamespacePods,
    Question,
)
from tests.admission.test_cluster import Service, configured, kubectl
from tests.conftest import peer
from tests.policy.test_podsecurity_engine import BAD, configuration

pytestmark = pytest.mark.peer

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "admission.md"


def role() -> list[dict[str, Any]]:
    """The objects that the guide tells to apply."""
    text = GUIDE.read_text()
    block = next(block for block in text.split("```yaml\n")[1:] if "kind: ClusterRole\n" in block)
    return list(yaml.safe_load_all(block.partition("```")[0]))


def test_a_service_account_is_answered_what_its_role_lets_it_read(kubeconfig: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(base64.b64decode(config["certificate-authority-data"]))
    kubectl(kubeconfig, "create", "namespace", "custody")
    kubectl(kubeconfig, "-n", "custody", "create", "serviceaccount", "custody")
    (folder / "token").write_bytes(kubectl(kubeconfig, "-n", "custody", "create", "token", "custody"))
    kubectl(kubeconfig, "create", "namespace", "asked")
    kubectl(kubeconfig, "label", "namespace", "asked", "team=a")
    kubectl(kubeconfig, "-n", "asked", "create", "configmap", "sizes", "--from-literal", "a=1")
    host, _, port = config["server"].removeprefix("https://").partition(":")
    access = of_pod({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}, folder)
    assert access is not None

    def answer(question: Question) -> Answer:
        async def main() -> Answer:
            lookup = ClusterLookup(Cluster(access, AiohttpHttp(tls=access.tls)))
            try:
                return await lookup.answer(question)
            finally:
                await lookup.close()

        return asyncio.run(main())

    # 1. Without a role: nothing, which is not "none".
    for question in (NamespaceLabels("asked"), NamespaceLabels("none"), NamespacePods("asked"),
                     ConfigMap("asked", "sizes")):
        forbidden = answer(question)
        assert isinstance(forbidden, Failed)
        assert "answered 403: " in forbidden.reason
        assert "system:serviceaccount:custody:custody" in forbidden.reason
    # 2. With the guide's.
    kubectl(kubeconfig, "apply", "-f", "-", given=yaml.safe_dump_all(role()).encode())
    deadline = time.monotonic() + 30
    while isinstance(labels := answer(NamespaceLabels("asked")), Failed) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert labels == Answered({"kubernetes.io/metadata.name": "asked", "team": "a"})
    assert answer(NamespaceLabels("none")) == Absent()
    assert answer(NamespacePods("asked")) == Answered({"total": 0, "shapes": [], "pods": []})
    config_map = answer(ConfigMap("asked", "sizes"))
    assert isinstance(config_map, Answered)
    assert config_map.value["data"] == {"a": "1"}
    assert answer(ConfigMap("asked", "none")) == Absent()
    assert answer(ApiCall("/api/v1/namespaces/asked/configmaps/none")) == Absent()
    large = tmp_path / "large"
    large.write_bytes(b"x" * 900_000)  # the API server compresses such answers for whoever takes that
    kubectl(kubeconfig, "-n", "asked", "create", "configmap", "large", "--from-file", str(large))
    config_map = answer(ConfigMap("asked", "large"))
    assert isinstance(config_map, Answered), config_map
    assert len(config_map.value["data"]["large"]) == 900_000
    # 3. What nobody serves is not absent, and what is not for it is not either.
    for path, words in (("/apis/example.com/v1/things", "answered 4"), ("/api/v1/namespaces/asked/services", "403"),
                        ("/api/v1/namespaces/asked/secrets/s", "403")):
        failed = answer(ApiCall(path))
        assert isinstance(failed, Failed)
        assert words in failed.reason
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
        "resourceAttributes": {"verb": "get", "resource": "secrets"}}}
    allowed = answer(ApiCall("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "POST", json.dumps(review)))
    assert isinstance(allowed, Answered)
    assert allowed.value["status"]["allowed"] is False
    # 4. A token that is none any more.
    (folder / "token").write_text("other")
    unknown = answer(NamespaceLabels("asked"))
    assert isinstance(unknown, Failed)
    assert "answered 401" in unknown.reason


def placed(namespace: str) -> dict[str, Any]:
    return {**BAD, "metadata": {"name": "web", "namespace": namespace}}


def test_the_webhook_judges_by_the_labels_of_now(kubeconfig: Path, tmp_path: Path) -> None:
    for namespace in ("free", "strict"):
        kubectl(kubeconfig, "create", "namespace", namespace)
    kubectl(kubeconfig, "label", "namespace", "free", "pod-security.kubernetes.io/enforce=privileged")
    policies = tmp_path / "policies.yaml"
    policies.write_text(yaml.safe_dump(configuration(enforce="baseline")))
    service = Service(tmp_path, "--policy", str(policies), "--kubeconfig", str(kubeconfig))

    def said(namespace: str) -> str:
        """Of a bad pod there, by the webhook: the API server's own plugin lets it through."""
        create = [peer("kubectl"), "--kubeconfig", str(kubeconfig), "create", "--dry-run=server", "-f", "-"]
        return subprocess.run(create, input=json.dumps(placed(namespace)), capture_output=True, text=True, timeout=60,
                              check=False).stderr

    def until(namespace: str, words: str) -> None:
        deadline = time.monotonic() + 30
        while words not in (message := said(namespace)) or bool(words) != bool(message):
            assert time.monotonic() < deadline, message
            time.sleep(0.2)

    try:
        assert any("cluster       https://127.0.0.1:" in line for line in service.lines)
        with configured(kubeconfig, tmp_path, f"https://127.0.0.1:{service.port}",
                        tmp_path / ".custody" / "admission" / "ca.crt", policies):
            until("strict", 'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)')
            assert said("free") == ""
            kubectl(kubeconfig, "label", "namespace", "strict", "pod-security.kubernetes.io/enforce=privileged")
            until("strict", "")
            kubectl(kubeconfig, "label", "namespace", "free", "pod-security.kubernetes.io/warn=restricted")
            until("free", 'would violate PodSecurity "restricted:latest"')
    finally:
        assert service.stop() == 0


def test_check_asks_the_cluster_about_namespaces_that_are_not_among_the_files(
        kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    kubectl(kubeconfig, "create", "namespace", "guarded")
    kubectl(kubeconfig, "label", "namespace", "guarded", "pod-security.kubernetes.io/enforce=baseline")
    Path("policies.yaml").write_text(yaml.safe_dump(configuration(enforce="privileged")))

    def check(*resources: dict[str, Any], cluster: bool = True) -> tuple[int, str]:
        Path("resources.yaml").write_text(yaml.safe_dump_all(resources))
        code = run(["check", "resources.yaml", "--policy", "policies.yaml",
                    *(["--kubeconfig", str(kubeconfig)] if cluster else [])])
        return code, capsys.readouterr().out

    code, alone = check(placed("guarded"), cluster=False)
    assert code == 3
    assert "there is no cluster to ask" in alone
    code, asked = check(placed("guarded"))
    assert code == 3
    assert 'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)' in asked
    Path("custody.toml").write_text(f'kubeconfig = "{kubeconfig}"\n')
    code, configured_so = check(placed("guarded"), cluster=False)
    assert (code, configured_so.split("\n")[1:]) == (3, asked.split("\n")[1:])  # the first has the time in its digest
    Path("custody.toml").unlink()
    assert "there is no such namespace" in check(placed("nowhere"))[1]
    # A Namespace among the files is what the cluster is about to have.
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "guarded"}}
    assert "Pod/guarded/web: not judged" in check(placed("guarded"), namespace)[1]
