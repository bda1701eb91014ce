"""`python -m tests.chainsaw.driver KUBECONFIG FOLDER`: custody's webhook by the policies of a cluster, polled.

What `custody admission run` does by watches, with no more than the tests of policies need of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.admission.certs import ServingCertificate
from custody.admission.configuration import configurations
from custody.admission.judging import Judging
from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.server.admission import AdmissionApp
from custody.server.run import Listener, serving
from custody.server.tls import server_context
from custody.services.controllers.running import Controllers, Options
from custody.settings import Settings
from custody.wiring.clients import kinds
from tests.chainsaw.api import Api, Object, RefusedError

KINDS = [("kyverno.io/v1", "ClusterPolicy"), ("kyverno.io/v1", "Policy"), ("kyverno.io/v2", "PolicyException"),
         ("policies.kyverno.io/v1", "ValidatingPolicy"), ("policies.kyverno.io/v1", "NamespacedValidatingPolicy"),
         ("policies.kyverno.io/v1", "MutatingPolicy"), ("policies.kyverno.io/v1", "NamespacedMutatingPolicy"),
         ("policies.kyverno.io/v1", "ImageValidatingPolicy"), ("policies.kyverno.io/v1", "GeneratingPolicy"),
         ("policies.kyverno.io/v1", "DeletingPolicy"), ("policies.kyverno.io/v1", "PolicyException"),
         ("kyverno.io/v2", "ClusterCleanupPolicy"), ("kyverno.io/v2", "CleanupPolicy")]


async def _no_evidence(_snapshot: Any, _images: list[str]) -> dict[str, Any]:
    return {}


class Driver:
    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.api = Api(kubeconfig)
        self.kubeconfig = kubeconfig
        self.certificate = ServingCertificate(folder, ["127.0.0.1"])
        self.certificate.ensure(system_clock())
        self.settings = Settings(kubeconfig=str(kubeconfig))
        self.kinds = kinds(self.settings, (), kubeconfig)
        access = of_kubeconfig(kubeconfig)
        self.cluster = Cluster(access, AiohttpHttp(tls=access.tls))
        self.lookup = ClusterLookup(self.cluster)
        self.admission = Admission(PolicySet([], kinds=self.kinds), _no_evidence, system_clock, lookup=self.lookup)
        client = ClusterClient(self.cluster)
        own = ("system:serviceaccount:kyverno:kyverno-background-controller",)
        self.controllers = Controllers(
            client, Judging(_no_evidence, system_clock, self.lookup), lambda: self.admission.snapshot, client.kinds,
            system_clock, Options(namespace="kyverno", excluded=("kube-system", "kyverno"), own=own),
            uid_of=lambda policy: self.uids.get((policy.kind, policy.namespace, policy.name), ""))
        self.admission.observer = self.controllers.observe
        self.uids: dict[tuple[str, str, str], str] = {}
        self._seen: dict[str, int] | None = None

    async def run(self) -> None:
        self.loop = asyncio.get_running_loop()
        tls = server_context(self.certificate.certificate, self.certificate.key)
        listener = Listener(AdmissionApp(self.admission), tls=tls)
        async with serving(listener), asyncio.TaskGroup() as group:
            group.create_task(self.controllers.run())
            group.create_task(self.controllers.lead())
            print("ready", flush=True)
            while True:
                try:
                    await asyncio.to_thread(self.look, listener.url)
                except RefusedError as error:
                    print(error, flush=True)
                await asyncio.sleep(0.2)

    def look(self, url: str) -> None:
        documents = [document for api_version, kind in KINDS
                     for document in self.api.candidates({"apiVersion": api_version, "kind": kind})
                     if "deletionTimestamp" not in document["metadata"]]
        seen = {document["metadata"]["uid"]: document["metadata"].get("generation", 1) for document in documents}
        if seen == self._seen:
            return
        if any("kinds" in json.dumps(document) for document in documents):
            self.kinds = kinds(self.settings, (), self.kubeconfig)
        good, bad = [], {}
        for document in documents:
            plain = {key: value for key, value in document.items() if key != "status"}
            plain["metadata"] = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
            try:
                if document["kind"] != "PolicyException":
                    PolicySet([plain], kinds=self.kinds)
                good.append(plain)
            except CustodyError as error:
                bad[document["metadata"]["uid"]] = error.message
        policies = self._all(good)
        self.uids = {(document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]):
                     document["metadata"]["uid"] for document in documents}
        self.loop.call_soon_threadsafe(self._swap, policies)
        self._configure(configurations(url, self.certificate.ca_bundle, policies) if policies.policies else [])
        time.sleep(0.3)  # the API server takes up configurations by a watch
        for document in documents:
            self._tell(document, bad.get(document["metadata"]["uid"]))
        self._seen = seen

    def _swap(self, policies: PolicySet) -> None:
        self.admission.policies = policies
        self.controllers.changed()

    def _all(self, documents: list[Object]) -> PolicySet:
        try:
            return PolicySet(documents, kinds=self.kinds)
        except CustodyError as error:
            print(error.message, flush=True)
            return PolicySet([document for document in documents if document["kind"] != "PolicyException"],
                             kinds=self.kinds)

    def _configure(self, written: list[dict[str, Any]]) -> None:
        made = {document["kind"]: document for document in written}
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
            named = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "custody"}}
            there = self.api.candidates(named)
            if there and kind in made:
                self.api.replace({**made[kind], "metadata": {
                    "name": "custody", "resourceVersion": there[0]["metadata"]["resourceVersion"]}})
            elif kind in made:
                self.api.create(made[kind])
            elif there:
                self.api.delete(named)

    def _tell(self, document: Object, reason: str | None) -> None:
        if reason:
            print(f"{document['kind']} {document['metadata']['name']}: {reason}", flush=True)
        kind, status = document["kind"], {}
        condition = {"type": "Ready", "status": "False" if reason else "True", "reason": "Failed" if reason
                     else "Succeeded", "message": reason or "Ready", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        if document["apiVersion"] == "kyverno.io/v1":
            status = {"conditions": [condition], "ready": not reason}
        elif kind.endswith("Policy"):
            status = {"conditionStatus": {"ready": not reason, "message": reason or ""}}
        if status:
            with contextlib.suppress(RefusedError):
                named = {"name": document["metadata"]["name"], "namespace": document["metadata"].get("namespace")}
                self.api.merge({"apiVersion": document["apiVersion"], "kind": kind, "metadata": named,
                                "status": status}, "status")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    driver = Driver(Path(sys.argv[1]), Path(sys.argv[2]))
    asyncio.run(driver.run())
