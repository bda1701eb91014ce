"""A real API server's own Pod Security plugin, asked the same as custody's engine: what each says of one request."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.admission.judging import Judging
from custody.admission.review import Review
from custody.admission.webhook import answer_of as answered
from custody.evidence.model import EvidenceSet
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Kind, Request, User
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from tests.admission.conftest import api_server
from tests.admission.load import ApiServer
from tests.apiserver import free_port

EXEMPT_USER, EXEMPT_CLASS, EXEMPT_NAMESPACE, EXEMPT_NEW = "exempt-user", "exempt-class", "exempt", "exempt-new"
CONFIGURATION: dict[str, Any] = {
    "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
    "defaults": {"enforce": "baseline", "enforce-version": "v1.30", "audit": "restricted", "audit-version": "v1.25",
                 "warn": "baseline", "warn-version": "latest"},
    "exemptions": {"usernames": [EXEMPT_USER], "namespaces": [EXEMPT_NAMESPACE, EXEMPT_NEW],
                   "runtimeClasses": [EXEMPT_CLASS]}}
_AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
          "rules": [{"level": "Metadata"}]}
_PREFIX = "pod-security.kubernetes.io/"
_OF_PODS = re.compile(r"[-.a-z0-9]+(?: \(and \d+ other pods?\))?: (?:[a-z]|host)")
"""A line of what is said of pods that run in a namespace that is labelled anew."""
_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')


class Said(NamedTuple):
    """By one of the two of a request."""

    denied: str
    """All that is said; "" where nothing is denied."""
    warned: tuple[str, ...]
    audited: dict[str, str]
    """Annotations of the audit log, without what stands before their names."""


SILENCE = Said("", (), {})


class Reply(NamedTuple):
    status: int
    body: dict[str, Any]
    warnings: tuple[str, ...]
    annotations: dict[str, str]


class Peer:
    """The API server; one connection."""

    def __init__(self, kubeconfig: Path, etcd_port: int, audit_log: Path) -> None:
        self.kubeconfig = kubeconfig
        self._server = ApiServer(kubeconfig)
        self._connection = self._server.connect()
        self._etcd = f"http://127.0.0.1:{etcd_port}"
        self._audit_log = audit_log.open()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, user: str = "",
            patch: str = "application/merge-patch+json") -> Reply:
        audit_id = str(uuid.uuid4())
        headers = {"Content-Type": patch if method == "PATCH" else "application/json", "Audit-ID": audit_id}
        if user:
            headers["Impersonate-User"] = user
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        document = json.loads(response.read())
        warnings = tuple(re.sub(r"\\(.)", r"\1", text) for value in response.headers.get_all("Warning") or ()
                         for text in _WARNING.findall(value))
        return Reply(response.status, document, warnings, self._annotations(audit_id))

    def _annotations(self, audit_id: str) -> dict[str, str]:
        """Of the request's line in the audit log, which is there before the answer is."""
        while line := self._audit_log.readline():
            event = json.loads(line)
            if event["auditID"] == audit_id:
                return event.get("annotations") or {}
        return {}

    def put(self, namespace: str, labels: dict[str, str]) -> None:
        """A namespace with labels that the API server itself would refuse, as an older one may have left it."""
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": "2024-01-01T00:00:00Z",
            "labels": {**labels, "kubernetes.io/metadata.name": namespace}}, "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"}}
        pair = {"key": f"/registry/namespaces/{namespace}", "value": json.dumps(document)}
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
        urllib.request.urlopen(f"{self._etcd}/v3/kv/put", json.dumps(encoded).encode(), timeout=10).close()

    def close(self) -> None:
        self._connection.close()
        self._audit_log.close()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Peer]:
    (folder / "audit.yaml").write_text(yaml.safe_dump(_AUDIT))
    (folder / "plugins.yaml").write_text(yaml.safe_dump({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": CONFIGURATION}]}))
    etcd_port = free_port()
    with api_server(folder, f"--admission-control-config-file={folder}/plugins.yaml",
                    f"--audit-policy-file={folder}/audit.yaml", f"--audit-log-path={folder}/audit.log",
                    "--disable-admission-plugins=ServiceAccount", etcd_port=etcd_port) as kubeconfig:
        peer = Peer(kubeconfig, etcd_port, folder / "audit.log")
        try:
            yield peer
        finally:
            peer.close()


def plugin(reply: Reply) -> Said:
    """What the plugin said. Raises AssertionError where somebody else refused the request."""
    message = str(reply.body.get("message")) if reply.status >= 400 else ""
    assert not message or "PodSecurity" in message or _PREFIX in message, reply
    warned = tuple(text for text in reply.warnings if "PodSecurity" in text or "Pod Security" in text
                   or _OF_PODS.match(text))
    return Said(message, warned, {name.removeprefix(_PREFIX): text for name, text in reply.annotations.items()
                                  if name.startswith(_PREFIX)})


def engine(decision: Decision, request: Request) -> Said:
    """What custody's webhook says: the denial's message, the warnings, the annotations."""
    reply = json.loads(answered(Review("admission.k8s.io/v1", "u", request), request, decision))["response"]
    audited = {name: text for name, text in (reply.get("auditAnnotations") or {}).items()
               if name not in ("inputs-digest", "verdict")}
    message = reply["status"]["message"] if not reply["allowed"] else ""
    return Said(message, tuple(reply.get("warnings") or ()), audited)


class Custody:
    """The engine, over the same API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._runner = asyncio.Runner()
        access = of_kubeconfig(kubeconfig)
        self._lookup = ClusterLookup(Cluster(access, AiohttpHttp(tls=access.tls)))
        self._judging = Judging(_no_evidence, system_clock, self._lookup)
        self._snapshot = Snapshot(PolicySet([CONFIGURATION]))

    def judge(self, operation: str, resource: dict[str, Any], *, before: dict[str, Any] | None = None,
              subresource: str = "", user: str = "admin") -> Said:
        group, _, version = str(resource["apiVersion"]).rpartition("/")
        kind, metadata = Kind(resource["kind"], version, group), resource["metadata"]
        own = metadata["name"] if kind == Kind("Namespace") else ""
        request = Request(operation=operation, kind=kind, object=resource, old_object=before, dry_run=True,
                          namespace=metadata.get("namespace") or own, name=metadata.get("name", ""),
                          subresource=subresource, parent=kind if subresource else None, user=User(username=user))
        judged = self._runner.run(self._judging.judge(request, self._snapshot, Course.VALIDATING))
        return engine(judged.decision, request)

    def close(self) -> None:
        self._runner.run(self._lookup.close())
        self._runner.close()


async def _no_evidence(snapshot: Snapshot, images: list[str]) -> dict[str, EvidenceSet]:
    return {}


