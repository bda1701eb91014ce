"""Audits exported to a Connection: its files, messages and statuses, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
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
        self.written: list[Json] = []
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
        self.written.append(patch["status"])

    def tell(self, kind: Any, document: Json) -> None:
        self._events.put_nowait(Event(kind, document, document["metadata"]["resourceVersion"]))


def exporting(cluster: Holding, work: Callable[[Exporting], Any], *, opened: Any = violations,
              live: frozenset[str] = frozenset(), **terms: Any) -> None:
    """Done while a replica leads; `live`: the ids of those that are there."""
    async def main() -> None:
        made = Exporting(cluster, opened, Terms(**{"enabled": True, **terms}),  # type: ignore[arg-type]
                         lambda: REPLICA._replace(live=live))
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
    assert "violations could not be begun: Not a directory" in error["message"]


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


NAME = "2026-11-30T03_17_00Z"
BEGUN = "2026-11-30T03:17:00Z"


def one_audit(path: Path, at: str = BEGUN, *, keep: int = 3) -> None:
    place = violations(str(path), "audit-channel", keep)
    place.begin(at)
    place.write(["{}"])
    place.end()


def test_a_folder_that_is_a_link_is_neither_changed_nor_read_nor_emptied(tmp_path: Path) -> None:
    secret = tmp_path / "keys"
    secret.mkdir(mode=0o700)
    (secret / f"{NAME}.log").write_text("precious")
    (tmp_path / "audit-channel").symlink_to(secret)
    place = violations(str(tmp_path), "audit-channel", 0)
    for work in (lambda: place.begin("2026-11-30T03:18:00Z"), place.clear):
        with pytest.raises(StorageError, match="audit-channel: is a link, expected a folder"):
            work()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700
    assert files(tmp_path) == [f"{NAME}.log"]


def test_the_mode_of_a_folder_that_was_there_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "audit-channel").mkdir(mode=0o750)
    one_audit(tmp_path)
    assert stat.S_IMODE((tmp_path / "audit-channel").stat().st_mode) == 0o750


PUT: dict[str, Callable[[Path, Path], Any]] = {
    "fifo": lambda name, victim: os.mkfifo(name), "folder": lambda name, victim: name.mkdir(),
    "hard link": lambda name, victim: os.link(victim, name), "link": lambda name, victim: name.symlink_to(victim),
    "dangling": lambda name, victim: name.symlink_to("nowhere"), "file": lambda name, victim: name.write_text("mine")}


@pytest.mark.parametrize("suffix", ["txt", "log"])
@pytest.mark.parametrize("put", PUT)
def test_whatever_has_the_name_of_a_coming_audit_is_left_alone_and_said(tmp_path: Path, put: str, suffix: str) -> None:
    """A FIFO that nobody reads would stop the process for good."""
    victim, folder = tmp_path / "victim", tmp_path / "audit-channel"
    victim.write_text("precious")
    victim.chmod(0o640)
    folder.mkdir()
    PUT[put](folder / f"{NAME}.{suffix}", victim)
    kept = os.lstat(folder / f"{NAME}.{suffix}")
    cluster = Holding(connection(tmp_path))
    said: list[Any] = []

    async def work(made: Exporting) -> None:
        await audit(made)
        await asyncio.sleep(0.05)
        said.append(cluster.statuses["gatekeeper-system/audit-connection"])
        await audit(made, 1)

    exporting(cluster, work)
    assert said[0]["active"] is False
    assert f"{NAME}.{suffix} is there already, expected a name that nothing has" in said[0]["errors"][0]["message"]
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("precious", 0o640)
    left = [] if (put, suffix) == ("file", "txt") else [f"{NAME}.{suffix}"]  # that one is a draft that nobody writes
    assert files(tmp_path) == sorted([*left, "2026-11-30T03_18_00Z.log"]), "the next one is exported"
    assert all(os.path.samestat(os.lstat(folder / name), kept) for name in left)
    assert cluster.statuses["gatekeeper-system/audit-connection"]["active"] is True


@pytest.mark.parametrize("put", [lambda name: name.mkdir(), lambda name: name.symlink_to("/etc/passwd"),
                                 os.mkfifo], ids=["folder", "link", "fifo"])
def test_what_is_no_plain_file_is_neither_counted_nor_in_the_way(tmp_path: Path, put: Any) -> None:
    folder = tmp_path / "audit-channel"
    folder.mkdir()
    for year in (2020, 9999):
        put(folder / f"{year}-01-01T00_00_00Z.log")
    for minute in range(3):
        one_audit(tmp_path, f"2026-11-30T03:1{minute}:00Z", keep=2)
    strange = ["2020-01-01T00_00_00Z.log", "9999-01-01T00_00_00Z.log"]
    assert files(tmp_path) == [strange[0], "2026-11-30T03_11_00Z.log", "2026-11-30T03_12_00Z.log", strange[1]]
    violations(str(tmp_path), "audit-channel", 2).clear()
    assert files(tmp_path) == strange


def test_drafts_that_somebody_writes_are_neither_counted_nor_taken_away_and_those_left_behind_go(
        tmp_path: Path) -> None:
    writing = violations(str(tmp_path), "audit-channel", 1)
    writing.begin("2026-11-30T03:10:00Z")
    folder = tmp_path / "audit-channel"
    (folder / "2026-11-30T03_09_00Z.txt").write_text("of one that was killed")
    one_audit(tmp_path, "2026-11-30T03:11:00Z", keep=1)
    assert files(tmp_path) == ["2026-11-30T03_10_00Z.txt", "2026-11-30T03_11_00Z.log"]
    violations(str(tmp_path), "audit-channel", 1).clear()
    assert files(tmp_path) == ["2026-11-30T03_10_00Z.txt"]
    writing.end()
    assert files(tmp_path) == ["2026-11-30T03_10_00Z.log"]


@pytest.mark.parametrize("moved", ["file", "folder"])
def test_what_was_put_in_the_place_of_a_draft_is_not_shown_as_an_audit(tmp_path: Path, moved: str) -> None:
    place, folder = violations(str(tmp_path), "audit-channel", 3), tmp_path / "audit-channel"
    place.begin(BEGUN)
    if moved == "file":
        (folder / f"{NAME}.txt").unlink()
    else:
        folder.rename(tmp_path / "away")
        folder.mkdir()
    (folder / f"{NAME}.txt").write_text("forged")
    with pytest.raises(StorageError, match="is not the file any more that was written"):
        place.end()
    assert files(tmp_path) == [f"{NAME}.txt"]
    assert (folder / f"{NAME}.txt").read_text() == "forged"


@pytest.mark.parametrize("spelled", ["v/", "v//", "./v", "link"])
def test_another_spelling_of_the_path_is_the_same_place(tmp_path: Path, spelled: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "v")
    cluster = Holding(connection(tmp_path / "v"))

    async def work(made: Exporting) -> None:
        await audit(made)
        cluster.tell("MODIFIED", connection(f"{tmp_path}/{spelled}", version=2))
        await asyncio.sleep(0.1)
        await audit(made, 1)

    exporting(cluster, work)
    assert files(tmp_path / "v") == [f"{NAME}.log", "2026-11-30T03_18_00Z.log"]


class Slow:
    """A place whose disk takes its time; `work` is what was done."""

    def __init__(self, *_: object) -> None:
        self.work: list[str] = []
        self.beginning = threading.Event()

    def begin(self, audit: str) -> None:
        self.beginning.set()
        time.sleep(0.3)
        self.work.append("begin")

    def write(self, lines: Any) -> None:
        self.work.append("write")

    def end(self) -> None:
        self.work.append("end")

    def drop(self) -> None:
        self.work.append("drop")

    def clear(self) -> None:
        self.work.append("clear")

    def same(self, place: Violations) -> bool:
        return self is place


def test_a_connection_that_goes_while_its_audit_begins_is_closed_after_it() -> None:
    place, cluster = Slow(), Holding(connection("/x"))

    async def work(made: Exporting) -> None:
        beginning = asyncio.create_task(made.begin(BEGUN))
        await asyncio.to_thread(place.beginning.wait, 5)
        cluster.tell("DELETED", connection("/x", version=2))
        await beginning
        await made.end()
        await asyncio.sleep(0.1)

    exporting(cluster, work, opened=lambda *_: place)
    assert place.work == ["begin", "write", "end", "clear"]


def test_an_audit_that_is_cancelled_while_it_begins_leaves_no_draft() -> None:
    place = Slow()

    async def work(made: Exporting) -> None:
        audited = asyncio.create_task(auditing(Population([]), template(), exporting=made).once())
        await asyncio.to_thread(place.beginning.wait, 5)
        audited.cancel()
        with pytest.raises(asyncio.CancelledError):
            await audited

    exporting(Holding(connection("/x")), work, opened=lambda *_: place)
    assert place.work == ["begin", "drop"]


def test_a_fault_of_the_export_itself_ends_no_audit() -> None:
    class Broken(Slow):
        def begin(self, audit: str) -> None:
            raise ValueError("ours")

    cluster = Holding(connection("/x"))
    exporting(cluster, audit, opened=Broken)
    [error] = cluster.statuses["gatekeeper-system/audit-connection"]["errors"]
    assert error == {"type": "Publish", "message": "an internal error (ValueError)"}


def test_who_led_before_says_nothing_any_more_of_a_connection(tmp_path: Path) -> None:
    document = connection(tmp_path)
    before = podstatus.id_of("custody-1_00000000", "custody", "custody")
    entry = {"operations": podstatus.LEADING, "connectionUID": "u", "observedGeneration": 1, "active": True}
    document["status"] = {"byPod": [{**entry, "id": before}, {**entry, "id": "gatekeeper-audit-x"}]}
    cluster = Holding(document)
    exporting(cluster, audit, live=frozenset({REPLICA.id, before}))
    assert [known["id"] for known in cluster.written[-1]["byPod"]] == [REPLICA.id, "gatekeeper-audit-x"]


def test_no_link_is_followed_and_nobody_elses_audit_is_touched(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    folder = tmp_path / "audit-channel"
    folder.mkdir()
    (folder / "2026-11-30T03_17_00Z.txt").symlink_to(elsewhere)
    place = violations(str(tmp_path), "audit-channel", 3)
    with pytest.raises(StorageError, match="is there already"):
        place.begin("2026-11-30T03:17:00Z")
    assert elsewhere.read_text() == "precious"
    writing, other = (violations(str(tmp_path), "audit-channel", 3) for _ in range(2))
    writing.begin("2026-11-30T03:18:00Z")
    writing.write(["{}"])
    with pytest.raises(StorageError, match="is there already"):
        other.begin("2026-11-30T03:18:00Z")
    writing.end()
    assert (folder / "2026-11-30T03_18_00Z.log").read_text() == "{}\n"
    link = tmp_path / "linked"
    os.symlink(folder, link)
    with pytest.raises(StorageError, match="is a link"):
        violations(str(tmp_path), "linked", 3).begin("2026-11-30T03:19:00Z")

