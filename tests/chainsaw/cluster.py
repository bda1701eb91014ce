"""A real API server with Kyverno's CRDs, controllers that make Deployments' pods, and custody as its admission."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.admission.conftest import api_server
from tests.apiserver import PEERS
from tests.chainsaw.api import Api, Object, RefusedError
from tests.chainsaw.runner import remove
from tests.conftest import peer

CRDS = Path(os.environ.get("CUSTODY_KYVERNO_CRDS") or
            Path.home() / "go/pkg/mod/github.com/kyverno/kyverno@v1.19.1/config/crds")
"""Kyverno's own definitions, of its source."""
_CONTROLLERS = ("namespace-controller,deployment-controller,replicaset-controller,statefulset-controller,"
                "daemonset-controller,job-controller,cronjob-controller,garbage-collector-controller,"
                "clusterrole-aggregation-controller,replicationcontroller-controller,serviceaccount-controller,"
                "certificatesigningrequest-signing-controller")
_FLAGS = ("--runtime-config=admissionregistration.k8s.io/v1beta1=true,admissionregistration.k8s.io/v1alpha1=true",
          "--feature-gates=MutatingAdmissionPolicy=true")
_KEPT = {"default", "kube-system", "kube-public", "kube-node-lease", "kyverno", "custody", "local-path-storage"}
_POLICIES = [("kyverno.io/v1", "ClusterPolicy"), ("kyverno.io/v1", "Policy"), ("kyverno.io/v2", "PolicyException"),
             ("kyverno.io/v2", "CleanupPolicy"), ("kyverno.io/v2", "ClusterCleanupPolicy"),
             ("kyverno.io/v2beta1", "GlobalContextEntry"),
             *(("policies.kyverno.io/v1beta1", f"{scope}{kind}Policy") for scope in ("", "Namespaced")
               for kind in ("Validating", "Mutating", "Generating", "Deleting", "ImageValidating")),
             ("policies.kyverno.io/v1beta1", "PolicyException")]
_LEFT = [("v1", "Pod"), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"),
         ("batch/v1", "Job"), ("batch/v1", "CronJob"), ("v1", "ConfigMap"), ("v1", "Service"), ("v1", "Secret"),
         ("apps/v1", "ReplicaSet"), ("v1", "Event"), ("wgpolicyk8s.io/v1alpha2", "PolicyReport")]
"""Kinds of what scripts leave behind in namespace default."""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[Path, Api]]:
    """The kubeconfig of its administrator, whom tests know as kubernetes-admin, and the API as it sees it."""
    with api_server(folder, *_FLAGS) as made:
        kubeconfig = _administrator(folder, made)
        api = Api(kubeconfig)
        manager = subprocess.Popen(
            [peer("kube-controller-manager"), f"--kubeconfig={made}", f"--controllers={_CONTROLLERS}",
             f"--cluster-signing-cert-file={folder / 'ca.crt'}", f"--cluster-signing-key-file={folder / 'ca.key'}",
             "--leader-elect=false", "--secure-port=0", "--concurrent-namespace-syncs=20",
             "--kube-api-qps=200", "--kube-api-burst=400"],
            stdout=(folder / "manager.log").open("wb"), stderr=subprocess.STDOUT)
        try:
            for name in ("kyverno", "custody", "local-path-storage"):
                api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            for definition in definitions(CRDS):
                api.create(definition)
            for document in _installation():
                api.create(document)
            with _kubelet(kubeconfig):
                yield kubeconfig, api
        finally:
            manager.terminate()
            manager.wait()


@contextlib.contextmanager
def _kubelet(kubeconfig: Path) -> Iterator[None]:
    """Pods are said to run, as on a node: tests wait for that, and few of them for what the containers would do."""
    stop = threading.Event()

    def work() -> None:
        api = Api(kubeconfig)
        running = {"phase": "Running", "conditions": [
            {"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")]}
        while not stop.wait(0.5):
            with contextlib.suppress(RefusedError):
                for pod in api.ask("GET", "/api/v1/pods?fieldSelector=status.phase%3DPending")["items"]:
                    with contextlib.suppress(RefusedError):
                        api.merge({"apiVersion": "v1", "kind": "Pod", "status": running, "metadata": {
                            key: pod["metadata"][key] for key in ("name", "namespace")}}, "status")
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def definitions(folder: Path) -> list[Object]:
    return [document for file in sorted(folder.rglob("*.yaml"))
            for document in yaml.load_all(file.read_text(), yaml.CSafeLoader)
            if document and document.get("kind") == "CustomResourceDefinition"]


def _installation() -> list[Object]:
    """What tests touch of Kyverno's own namespace: its settings, and whom its controllers are."""
    accounts = ("kyverno-admission-controller", "kyverno-background-controller", "kyverno-cleanup-controller",
                "kyverno-reports-controller")
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kyverno", "namespace": "kyverno"},
             "data": {"excludeGroups": "system:nodes", "resourceFilters": "[Event,*,*]\n[*/*,kube-system,*]\n",
                      "generateSuccessEvents": "false"}},
            *({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "kyverno"}}
              for name in accounts),
            _provisioner()]


def _provisioner() -> Object:
    """A Deployment that kind's clusters have: reports and events are told of it."""
    labels = {"app": "local-path-provisioner"}
    container = {"name": "local-path-provisioner", "image": "docker.io/kindest/local-path-provisioner:v20250214"}
    return {"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "local-path-provisioner", "namespace": "local-path-storage"},
            "spec": {"selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}


def _administrator(folder: Path, kubeconfig: Path) -> Path:
    def openssl(*words: str) -> None:
        subprocess.run([peer("openssl"), *words], cwd=folder, check=True, capture_output=True)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            "/O=system:masters/CN=kubernetes-admin", "-keyout", "known.key", "-out", "known.csr")
    openssl("x509", "-req", "-in", "known.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "known.crt")
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {
        f"client-{part}-data": base64.b64encode((folder / f"known.{end}").read_bytes()).decode()
        for part, end in (("certificate", "crt"), ("key", "key"))}
    path = folder / "known" / "kubeconfig"
    path.parent.mkdir()
    path.write_text(json.dumps(config))
    return path


def path_of_programs() -> str:
    return f"{PEERS}:{Path(peer('kubectl')).parent}:{os.environ['PATH']}"


def clean(api: Api, definitions_before: set[str]) -> None:
    """As before a test: what it left would judge, or be judged, in the next one."""
    policies = _all(api, _POLICIES)
    remove(api, policies, 10)
    left = [document for document in _all(api, _LEFT) if document["metadata"].get("namespace") == "default"]
    left += [document for document in _all(api, [("v1", "Namespace")]) if document["metadata"]["name"] not in _KEPT]
    left += [document for document in _all(api, [("apiextensions.k8s.io/v1", "CustomResourceDefinition")])
             if document["metadata"]["name"] not in definitions_before]
    remove(api, left, 10)


def _all(api: Api, kinds: list[tuple[str, str]]) -> list[Object]:
    objects = []
    for api_version, kind in kinds:
        with contextlib.suppress(RefusedError):
            objects += api.candidates({"apiVersion": api_version, "kind": kind})
    return objects
