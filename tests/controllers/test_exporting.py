"""Audits exported to a Connection: its files, messages and statuses, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.errors import NetworkError, StorageError
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, Event, Listing
from custody.ports.violations import Violations
from custody.services.cluster import podstatus
from custody.services.controllers.exporting import Exporting, Terms
from custody.wiring.admission import violations
from tests.controllers.test_audit import KINDS, MESSAGE, Population, auditing
from tests.policy.gatekeeper.world import constraint, pod, template

Json = dict[str, Any]
CONNECTIONS = ApiResource(group="connection.gatekeeper.sh", version="v1alpha1", kind="Connection",
                          plural="connections", namespaced=True)
REPLICA = podstatus.Replica(podstatus.id_of("custody-0_1a2b3c4d", "custody", "custody"), leads=True)


def connection(path: Path | str, *, keep: Any = 3, name: str = "audit-connection", driver: str = "disk",
               namespace: str = "gatekeeper-system", version: int = 1, **config: Any) -> Json:
    return {"apiVersion": "connection.gatekeeper.sh/v1alpha1", "kind": "Connection",
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": version,
                         "resourceVersion": str(version)},
            "spec": {"driver": driver, "config": {"path": str(path), "maxAuditResults": keep, **config}}}


class Holding:
    """A cluster that holds Connections; `statuses` is what was written of them."""

    def __init__(self, *documents: Json) -> None:
        self.statuses: dict[str, Json] = {}
        self._documents = [*documents]
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    async def resource(self, *_: Any, **__: Any) -> ApiResource:
        return CONNECTIONS

    async def list(self, *_: Any, **__: Any) -> Listing:
        return Listing([*self._documents], "1")

    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[Event]:
        while True:
            yield await self._events.get()

    async def patch(self, _: Any, name: str, namespace: str, patch: Json, *, subresource: str) -> None:
        assert subresource == "status"
        self.statuses[f"{namespace}/{name}"] = patch["status"]["byPod"][0]

    def tell(self, kind: Any, document: Json) -> None:
        self._events.put_nowait(Event(kind, document, document["metadata"]["resourceVersion"]))


def exporting(cluster: Holding, work: Callable[[Exporting], Any], *, opened: Any = violations, **terms: Any) -> None:
    """Done while a replica leads."""
    async def main() -> None:
        made = Exporting(cluster, opened, Terms(**{"enabled": True, **terms}), lambda: REPLICA)  # type: ignore[arg-type]
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(20):
            await made._mirror.synced.wait()
            await asyncio.sleep(0.05)
            await work(made)
            await asyncio.sleep(0.05)
        running.cancel()

    asyncio.run(main())


AT = datetime(2026, 11, 30, 3, 17, tzinfo=UTC)


async def audit(made: Exporting, number: int = 0) -> None:
    """One that finds nothing."""
    await made.begin((AT + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    await made.end()


def files(path: Path) -> list[str]:
    folder = path / "audit-channel"
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def test_an_audit_is_a_file_of_gatekeepers_messages(tmp_path: Path) -> None:
    bad = pod("web", namespace="shop", labels={"b": "1", "a": "<&>"})
    document = constraint(match=KINDS)
    document["metadata"]["annotations"] = {"why": "law", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    cluster = Holding(connection(tmp_path))

    async def work(made: Exporting) -> None:
        await auditing(Population([bad, pod("fine", labels={"team": "x"})]), template(), document,
                       exporting=made).once()

    exporting(cluster, work)
    assert files(tmp_path) == ["2026-11-29T12_00_00Z.log"]
    file = tmp_path / "audit-channel" / "2026-11-29T12_00_00Z.log"
    begun, said, ended = file.read_text().splitlines()
    at = "2026-11-29T12:00:00Z"
    assert (begun, ended) == (f'{{"id":"{at}","message":"audit is started"}}',
                              f'{{"id":"{at}","message":"audit is completed"}}')
    assert said == (
        f'{{"id":"{at}","details":{{"missing":["team"]}},"eventType":"violation_audited",'
        '"group":"constraints.gatekeeper.sh","version":"v1beta1","kind":"K8sRequiredLabels","name":"must-have",'
        f'"message":{json.dumps(MESSAGE)},"enforcementAction":"deny","constraintAnnotations":{{"why":"law"}},'
        '"resourceAPIVersion":"v1","resourceKind":"Pod","resourceNamespace":"shop","resourceName":"web",'
        '"resourceLabels":{"a":"\\u003c\\u0026\\u003e","b":"1"}}')
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o777
    assert stat.S_IMODE(file.stat().st_mode) == 0o666
    entry = cluster.statuses["gatekeeper-system/audit-connection"]
    assert (entry["active"], entry["connectionUID"], entry.get("errors")) == (True, "uid-audit-connection", None)


def test_details_that_rego_does_not_give_are_empty_and_cel_has_none(tmp_path: Path) -> None:
    async def work(made: Exporting) -> None:
        native = template({"validations": [{"expression": "false", "message": "no"}]}, kind="KNative")
        await auditing(Population([pod("web")]), template('package x\nviolation[{"msg": "no"}] { true }\n'), native,
                       constraint(match=KINDS), constraint(kind="KNative", match=KINDS), exporting=made).once()

    exporting(Holding(connection(tmp_path)), work)
    [file] = (tmp_path / "audit-channel").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()[1:-1]]
    said = {line["kind"]: line.get("details") for line in lines}
    assert said == {"K8sRequiredLabels": {}, "KNative": None}


def test_as_many_audits_are_kept_as_it_says_and_nothing_else_is_touched(tmp_path: Path) -> None:
    async def work(made: Exporting) -> None:
        for number in range(4):
            await audit(made, number)
            (tmp_path / "audit-channel" / "notes.txt").write_text("mine")

    exporting(Holding(connection(tmp_path, keep=2)), work)
    assert files(tmp_path) == ["2026-11-30T03_19_00Z.log", "2026-11-30T03_20_00Z.log", "notes.txt"]


def test_an_audit_that_does_not_come_to_its_end_is_shown_to_nobody(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    async def work(made: Exporting) -> None:
        await made.begin("2026-11-30T03:17:00Z")
        await made.flush(least=0)
        seen.append(files(tmp_path))
        await made.drop()
        seen.append(files(tmp_path))
        with pytest.raises(NetworkError):
            await auditing(Population([], {"Pod": NetworkError("no answer")}), template(), constraint(match=KINDS),
                           exporting=made).once()
        seen.append(files(tmp_path))

    cluster = Holding(connection(tmp_path))
    exporting(cluster, work)
    assert seen == [["2026-11-30T03_17_00Z.txt"], [], []]
    assert cluster.statuses["gatekeeper-system/audit-connection"]["active"] is False


def test_kinds_that_nobody_could_list_are_said(tmp_path: Path) -> None:
    async def work(made: Exporting) -> None:
        refused = ApiError("GET pods", {"reason": "Forbidden", "message": "no"}, 403)
        await auditing(Population([], {"Pod": refused}), template(), constraint(match=KINDS), exporting=made).once()

    cluster = Holding(connection(tmp_path))
    exporting(cluster, work)
    entry = cluster.statuses["gatekeeper-system/audit-connection"]
    assert entry["active"] is True
    assert entry["errors"] == [{"type": "Publish", "message": "not audited, as it cannot be listed: Pod"}]


@pytest.mark.parametrize(("document", "terms", "reason"), [
    (connection("/x", driver="dapr"), {}, "spec.driver: dapr is not evaluated by custody (disk is)"),
    (connection("/x", driver="kafka"), {}, "spec.driver: got 'kafka', expected disk"),
    (connection("x"), {}, "spec.config.path: got 'x', expected an absolute path without .."),
    (connection("/x/../y"), {}, "spec.config.path"), (connection(""), {}, "spec.config.path"),
    (connection("/x", keep=6), {}, "spec.config.maxAuditResults: got 6, expected 0 to 5"),
    (connection("/x", keep=-1), {}, "spec.config.maxAuditResults"),
    (connection("/x", keep="3"), {}, "spec.config.maxAuditResults"),
    (connection("/x", closedConnectionTTL="11m"), {}, "spec.config.closedConnectionTTL: got '11m', expected 1m to 10m"),
    (connection("/x", closedConnectionTTL="59s"), {}, "spec.config.closedConnectionTTL"),
    (connection("/x", compress=True), {}, "spec.config.compress"),
    (connection("/x", name="other"), {}, "it is called other, and violations are exported to audit-connection"),
    (connection("/x", namespace="shop"), {}, "it lies in namespace shop, and a Connection counts in gatekeeper-system"),
    (connection("/x"), {"enabled": False}, "--enable-violation-export alone"),
    (connection("/x"), {"connection": "mine"}, "violations are exported to mine (--audit-connection)")])
def test_what_is_exported_to_nothing_says_why(document: Json, terms: Json, reason: str) -> None:
    cluster = Holding(document)

    def never(*_: Any) -> Violations:
        raise AssertionError("nothing is to be opened")

    exporting(cluster, audit, opened=never, **terms)
    [entry] = cluster.statuses.values()
    assert entry["active"] is False
    [error] = entry["errors"]
    assert error["type"] == "UpsertConnection"
    assert reason in error["message"]


def test_a_disk_that_fails_is_said_and_hinders_no_audit(tmp_path: Path) -> None:
    (tmp_path / "audit-channel").write_text("a file where the folder should be")
    cluster = Holding(connection(tmp_path))
    exporting(cluster, audit)
    [error] = cluster.statuses["gatekeeper-system/audit-connection"]["errors"]
    assert error["type"] == "Publish"
    assert "violations could not be begun: File exists" in error["message"]


def test_the_files_of_a_connection_that_goes_or_moves_go_too(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    cluster = Holding(connection(first))
    seen: list[tuple[list[str], list[str]]] = []

    async def work(made: Exporting) -> None:
        await audit(made)
        (first / "audit-channel" / "notes.txt").write_text("mine")
        cluster.tell("MODIFIED", connection(second, version=2))
        await asyncio.sleep(0.1)
        await audit(made, 1)
        seen.append((files(first), files(second)))
        cluster.tell("DELETED", connection(second, version=3))
        await asyncio.sleep(0.1)
        seen.append((files(first), files(second)))

    exporting(cluster, work)
    assert seen == [(["notes.txt"], ["2026-11-30T03_18_00Z.log"]), (["notes.txt"], [])]


def test_no_link_is_followed_and_nobody_elses_audit_is_touched(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    folder = tmp_path / "audit-channel"
    folder.mkdir()
    (folder / "2026-11-30T03_17_00Z.txt").symlink_to(elsewhere)
    place = violations(str(tmp_path), "audit-channel", 3)
    with pytest.raises(StorageError, match="could not be begun"):
        place.begin("2026-11-30T03:17:00Z")
    assert elsewhere.read_text() == "precious"
    writing, other = (violations(str(tmp_path), "audit-channel", 3) for _ in range(2))
    writing.begin("2026-11-30T03:18:00Z")
    writing.write(["{}"])
    with pytest.raises(StorageError, match="could not be begun"):
        other.begin("2026-11-30T03:18:00Z")
    writing.end()
    assert (folder / "2026-11-30T03_18_00Z.log").read_text() == "{}\n"
    link = tmp_path / "linked"
    os.symlink(folder, link)
    with pytest.raises(StorageError, match="is a link"):
        violations(str(tmp_path), "linked", 3).begin("2026-11-30T03:19:00Z")

