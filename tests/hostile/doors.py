"""The doors that are no command: the webhook's three paths and what `admission run` does with a cluster's policies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from custody.admission.definitions import BY_KIND
from custody.admission.judging import Judging
from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.server.admission import AdmissionApp
from custody.services.cluster.guard import Guard
from custody.services.cluster.policies import Collection

NOW = datetime(2026, 11, 29, tzinfo=UTC)
WELL = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "well"}, "spec": {
    "validationFailureAction": "Enforce", "rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Secret"]}}]},
        "validate": {"message": "m", "pattern": {"metadata": {"name": "?*"}}}}]}}
"""The policy of somebody else in the same cluster."""


def of_object(document: dict[str, Any], **request: Any) -> dict[str, Any]:
    """An AdmissionReview that asks to create it."""
    group, _, version = document["apiVersion"].rpartition("/")
    kind, metadata = document["kind"], document["metadata"]
    plural = "policies" if kind == "Policy" else f"{kind.lower().removesuffix('y')}ies" if kind.endswith(
        "y") else f"{kind.lower()}s"
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": group, "version": version, "kind": kind},
        "resource": {"group": group, "version": version, "resource": plural}, "operation": "CREATE",
        "name": metadata["name"], "namespace": metadata.get("namespace", ""),
        "userInfo": {"username": "ann", "groups": ["dev"]}, "object": document, **request}}


async def _gathered(_: Snapshot, __: list[str]) -> Mapping[str, EvidenceSet]:
    return {}


def app(*documents: dict[str, Any], held: list[dict[str, Any]] | None = None) -> AdmissionApp:
    """The webhook with these policies, in a cluster that holds these objects. Raises CustodyError."""
    made = AdmissionApp(Admission(PolicySet([*documents], kinds=builtin()), _gathered, lambda: NOW))
    made.guard = guard(held or []).review
    return made


def guard(held: list[dict[str, Any]]) -> Guard:
    class Listing:
        async def list(self, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(items=held)

    return Guard(Listing(), Collection(), builtin, Judging(_gathered, lambda: NOW), Snapshot,  # type: ignore[arg-type]
                 frozenset())


async def posted(application: AdmissionApp, path: str, *parts: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a POST whose body comes in these parts."""
    async def body() -> AsyncIterator[dict[str, Any]]:
        for at, part in enumerate(parts):
            yield {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)}
    coming, answer = body(), []

    async def receive() -> dict[str, Any]:
        return await anext(coming)

    async def send(message: dict[str, Any]) -> None:
        answer.append(message)
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"timeout=10s", "headers": []}
    await application(scope, receive, send)  # type: ignore[arg-type]
    return answer[0]["status"], b"".join(message.get("body", b"") for message in answer[1:])


def _read(name: str) -> list[dict[str, Any]]:
    """As an API server has them: no reader of files was there before."""
    documents: list[dict[str, Any]] = json.loads(Path(name).read_text())
    return documents


def webhook() -> int:
    """/policies about each policy, then /mutate and /validate about each resource."""
    resources = _read("resource.json")

    async def main() -> int:
        application = app(WELL, held=resources)
        for policy in _read("policy.json"):
            print(json.dumps(["/policies", *await _said(application, "/policies", of_object(policy))]))
        try:
            application = app(WELL, *_read("policy.json"))
        except CustodyError as error:
            print(json.dumps(["refused", error.message]))
            return 2
        for resource in resources:
            for path in ("/mutate", "/validate"):
                print(json.dumps([path, *await _said(application, path, of_object(resource))]))
        return 0
    return asyncio.run(main())


async def _said(application: AdmissionApp, path: str, review: dict[str, Any]) -> tuple[int, Any]:
    status, body = await posted(application, path, json.dumps(review).encode())
    return status, json.loads(body)


def collection() -> int:
    """The policies beside one of somebody else: which are in force, and why the rest are not."""
    held = Collection(generates=True)
    for document in (WELL, *_read("policy.json")):
        held.put(BY_KIND[document["apiVersion"].rpartition("/")[0], document["kind"]], document)
    policies = held.compile(builtin())
    print(json.dumps({"names": [policy.name for policy in policies.policies],
                      "faults": {place[3]: kept.fault for place, kept in held.held.items()}}))
    return 0


DOORS: dict[str, Callable[[], int]] = {"webhook": webhook, "collection": collection}
