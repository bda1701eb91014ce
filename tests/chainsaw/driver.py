"""`python -m tests.chainsaw.driver KUBECONFIG FOLDER`: custody's webhook by the policies of a cluster, polled.

What `custody admission run` does by watches, with no more than the tests of policies need of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from custody.admission.certs import ServingCertificate
from custody.admission.configuration import configurations
from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.server.admission import AdmissionApp
from custody.settings import Settings
from custody.wiring.clients import cluster_lookup, kinds
from tests.chainsaw.api import Api, Object, RefusedError
from tests.serving import served

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
        self.admission = Admission(PolicySet([], kinds=self.kinds), _no_evidence, system_clock,
                                   lookup=cluster_lookup(self.settings))
        self._seen: dict[str, int] | None = None

    def run(self) -> None:
        app = AdmissionApp(self.admission)
        with served(app, certificate=self.certificate.certificate, key=self.certificate.key) as url:
            print("ready", flush=True)
            while True:
                with contextlib.suppress(RefusedError):
                    self.look(url)
                time.sleep(0.2)

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
        self.admission.policies = policies
        self._configure(configurations(url, self.certificate.ca_bundle, policies) if policies.policies else [])
        time.sleep(0.3)  # the API server takes up configurations by a watch
        for document in documents:
            self._tell(document, bad.get(document["metadata"]["uid"]))
        self._seen = seen

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
    Driver(Path(sys.argv[1]), Path(sys.argv[2])).run()
