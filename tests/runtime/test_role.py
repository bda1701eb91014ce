"""The runtime role over HTTP: who may post, what is answered, what is refused and counted."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from custody.errors import CustodyError, StorageFullError, UsageError
from custody.server.access.exposure import check_exposure
from custody.server.platform import Running, running
from custody.settings import Settings
from custody.settings.tables import Runtime
from tests.runtime.role import alerts, told
from tests.runtime.test_telemetry import EVENT, tetragon

RULES = """\
- rule: created
  desc: d
  condition: ka.verb = create
  output: created %ka.target.name
  priority: WARNING
  source: k8s_audit
- rule: executed
  desc: d
  condition: evt.type = execve
  output: executed %proc.name
  priority: NOTICE
"""
Answer = tuple[int, Any, Any]


class Site:
    def __init__(self, services: Running, session: aiohttp.ClientSession, output: Path) -> None:
        self.services, self.session, self.output = services, session, output

    async def post(self, path: str, data: bytes, **headers: str) -> Answer:
        async with self.session.post(f"{self.services.url}{path}", data=io.BytesIO(data),
                                     headers={name.replace("_", "-"): text for name, text in headers.items()}) as said:
            return said.status, json.loads(await said.read() or b"null"), said.headers

    async def text(self, path: str) -> str:
        async with self.session.get(f"{self.services.url}{path}") as said:
            return await said.text()

    async def until(self, path: str, said: str) -> None:
        while True:
            if said in await self.text(path):
                return
            await asyncio.sleep(0.05)

    async def until_told(self, rule: str) -> None:
        while True:
            if rule in told(self.alerts):
                return
            await asyncio.sleep(0.05)

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return alerts(self.output)


def site(folder: Path, work: Callable[[Site], Awaitable[None]], **runtime: Any) -> None:
    """`work` beside a running role."""
    (folder / "rules.yaml").write_text(RULES)
    stated = {"rules": [str(folder / "rules.yaml")], "outputs": [str(folder / "alerts.jsonl")], "fold_after": 0}
    settings = Settings(data_dir=str(folder / "data"), runtime=Runtime(**{**stated, **runtime}))

    async def main() -> None:
        async with running(settings, ["runtime"]) as services, aiohttp.ClientSession() as session:
            await work(Site(services, session, folder / "alerts.jsonl"))

    asyncio.run(main())


def events(*changes: dict[str, Any]) -> bytes:
    return json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [
        {**EVENT, "auditID": f"a-{number}", **change} for number, change in enumerate(changes)]}).encode()


def test_events_are_judged_before_they_are_answered(tmp_path: Path) -> None:
    async def work(at: Site) -> None:
        status, body, _ = await at.post("/runtime/audit", events({}, {"verb": "get"}, {}))
        assert (status, body) == (200, {"events": 3, "alerts": 2, "unreadable": 0})
        assert told(at.alerts) == ["created"] * 2
        lines = b"\n".join(json.dumps(tetragon("process_exec")).encode() for _ in range(3))
        assert (await at.post("/runtime/events/tetragon", lines))[1]["alerts"] == 3
        alert = {"rule": "theirs", "priority": "Critical", "output": "o", "time": "2026-11-30T10:03:57Z"}
        assert (await at.post("/runtime/falco", json.dumps(alert).encode()))[0] == 200
        assert told(at.alerts)[-1] == "theirs"
        compressed = gzip.compress(events({"auditID": "z"}))
        assert (await at.post("/runtime/audit", compressed, content_encoding="gzip"))[1]["alerts"] == 1
        metrics = await at.text("/metrics")
        assert 'custody_runtime_alerts_total{priority="Warning",rule="created"} 3.0' in metrics
        assert 'custody_runtime_events_total{input="audit-webhook"} 4.0' in metrics
        assert 'custody_http_requests_total{code="200",method="POST",role="runtime"} 4.0' in metrics

    site(tmp_path, work)


def test_what_is_delivered_again_is_known(tmp_path: Path) -> None:
    async def work(at: Site) -> None:
        first = await at.post("/runtime/audit", events({}))
        again = await at.post("/runtime/audit", events({}))
        assert (first[1]["alerts"], again[1]["alerts"]) == (1, 0)
        assert (await at.post("/runtime/audit", events({"stage": "Panic"})))[1]["alerts"] == 1, "another stage"
        exec_line = json.dumps(tetragon("process_exec")).encode()
        for _ in range(2):
            await at.post("/runtime/events/tetragon", exec_line)
        assert told(at.alerts) == ["created", "created", "executed"]
        assert 'events_doubled_total{input="audit-webhook"} 1.0' in await at.text("/metrics")

    site(tmp_path, work)


def test_it_is_known_after_a_restart_too(tmp_path: Path) -> None:
    async def work(at: Site) -> None:
        assert (await at.post("/runtime/audit", events({}, {})))[0] == 200

    site(tmp_path, work)
    site(tmp_path, work)
    assert told(alerts(tmp_path / "alerts.jsonl")) == ["created"] * 2


def test_who_may_post(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")

    async def work(at: Site) -> None:
        for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic secret"},
                        {"authorization": "Bearer"}, {"authorization": "secret"}):
            status, _, got = await at.post("/runtime/audit", events({}), **headers)
            assert status == 401
            assert got["www-authenticate"].startswith("Bearer")
        assert (await at.post("/runtime/audit", events({}), authorization="Bearer secret"))[0] == 200
        (tmp_path / "token").write_text("a new one")
        assert (await at.post("/runtime/audit", events({}), authorization="Bearer secret"))[0] == 401
        assert (await at.post("/runtime/audit", events({}), authorization="bearer a new one"))[0] == 200
        (tmp_path / "token").unlink()
        assert (await at.post("/runtime/audit", events({}), authorization="Bearer a new one"))[0] == 401
        assert (await at.post("/runtime/audit", events({}), authorization="Bearer "))[0] == 401
        assert len(at.alerts) == 1

    site(tmp_path, work, token=str(tmp_path / "token"))


def test_what_is_no_event(tmp_path: Path) -> None:
    async def work(at: Site) -> None:
        for body in (b"", b"{}", b"nonsense", b"[", b'{"kind":"EventList","items":[7]}', b"\xff"):
            status, _, _ = await at.post("/runtime/audit", body)
            assert status == (400 if body else 200), body
        status, body, _ = await at.post("/runtime/audit", events({}, {"stage": 7}, {"verb": "create"}))
        assert (status, body) == (200, {"events": 2, "alerts": 2, "unreadable": 1})
        assert (await at.post("/runtime/audit", b"x", content_encoding="gzip"))[0] == 400
        assert (await at.post("/runtime/audit", gzip.compress(events({}))[:-9], content_encoding="gzip"))[0] == 400
        assert (await at.post("/runtime/audit", b"x", content_encoding="br"))[0] == 400
        assert (await at.post("/runtime/nowhere", b"x"))[0] == 404
        async with at.session.get(f"{at.services.url}/runtime/audit") as said:
            assert said.status == 405
        await asyncio.sleep(2.2)
        assert "Events unreadable" in told(at.alerts)
        assert 'events_malformed_total{input="audit-webhook"} 6.0' in await at.text("/metrics")

    site(tmp_path, work)


def test_what_is_too_large_is_a_loss(tmp_path: Path) -> None:
    async def work(at: Site) -> None:
        big = events({"requestObject": {"x": "y" * (1 << 20)}}, {"requestObject": {"x": "y" * (1 << 20)}})
        assert (await at.post("/runtime/audit", big))[0] == 413
        assert (await at.post("/runtime/audit", gzip.compress(big), content_encoding="gzip"))[0] == 413
        assert (await at.post("/runtime/audit", events({"requestObject": {"x": "y" * 900_000}})))[1]["alerts"] == 1
        await asyncio.sleep(2.2)
        lost = [alert for alert in at.alerts if alert["rule"] == "Events lost"]
        assert [alert["output_fields"]["custody.kind"] for alert in lost] == ["too-large"]

    site(tmp_path, work, max_request=1)


def test_an_output_that_fails_makes_them_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from custody.adapters.filesystem.alertfile import AlertFile

    full = [True]
    write = AlertFile.write

    def failing(self: AlertFile, lines: Any) -> None:
        if full[0]:
            raise StorageFullError(f"{self.name}: No space left on device")
        write(self, lines)

    monkeypatch.setattr(AlertFile, "write", failing)

    async def work(at: Site) -> None:
        status, _, headers = await at.post("/runtime/audit", events({}))
        assert (status, headers["retry-after"]) == (503, "2")
        assert "No space left" in await at.text("/readyz")
        full[0] = False
        status, body, _ = await at.post("/runtime/audit", events({}))
        assert (status, body["alerts"]) == (200, 1)
        assert (await at.text("/readyz")) == "ok"
        assert told(at.alerts) == ["created"]

    site(tmp_path, work)


def test_too_many_at_once_are_asked_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from custody.adapters.filesystem.alertfile import AlertFile

    slow = threading.Event()
    write = AlertFile.write

    def waiting(self: AlertFile, lines: Any) -> None:
        slow.wait(20)
        write(self, lines)

    monkeypatch.setattr(AlertFile, "write", waiting)

    async def work(at: Site) -> None:
        first = [asyncio.create_task(at.post("/runtime/audit", events({"auditID": f"x{number}"})))
                 for number in range(2)]
        await at.until("/metrics", 'role="runtime"} 2.0')
        status, _, headers = await at.post("/runtime/audit", events({"auditID": "y"}))
        assert (status, headers["retry-after"]) == (429, "2")
        slow.set()
        assert [(await task)[0] for task in first] == [200, 200]
        assert (await at.post("/runtime/audit", events({"auditID": "y"})))[0] == 200
        assert len(at.alerts) == 3

    site(tmp_path, work, waiting=2)


def test_rules_are_read_again_and_a_bad_set_is_said(tmp_path: Path) -> None:
    async def work(at: Site) -> None:
        run = at.services
        watch = run.rules
        assert watch is not None
        (tmp_path / "rules.yaml").write_text(RULES.replace("ka.verb = create", "ka.verb = delete"))
        await watch.reload()
        assert (await at.post("/runtime/audit", events({})))[1]["alerts"] == 0
        (tmp_path / "rules.yaml").write_text("- rule: x\n  condition: no.such.field = 1\n")
        await watch.reload()
        assert (await at.post("/runtime/audit", events({"verb": "delete", "auditID": "d"})))[1]["alerts"] == 1
        assert "rules are those before" in await at.text("/readyz?verbose")
        await asyncio.sleep(2.2)
        assert "Rules not loaded" in told(at.alerts)

    site(tmp_path, work)


def test_inputs_of_the_settings_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "tetragon.log").write_text(json.dumps(tetragon("process_exec")) + "\n")

    async def work(at: Site) -> None:
        async with asyncio.timeout(20):
            await at.until_told("executed")
            await at.until("/readyz?verbose", "is stalled")
            await at.until_told("Input stalled")
            with (tmp_path / "tetragon.log").open("a") as log:
                log.write(json.dumps(tetragon("process_exec", x=1)) + "\n")
            await at.until_told("Input resumed")
        assert told(at.alerts)[0] == "executed"

    site(tmp_path, work, inputs=[f"tetragon:{tmp_path / 'tetragon.log'}"], stalled_after=1.0)


def test_without_rules_there_is_no_role(tmp_path: Path) -> None:
    async def main(settings: Settings) -> None:
        async with running(settings, ["runtime"]):
            raise AssertionError("it runs")

    for stated in (None, Runtime()):
        with pytest.raises(UsageError, match="by which rules"):
            asyncio.run(main(Settings(data_dir=str(tmp_path), runtime=stated)))
    (tmp_path / "bad.yaml").write_text("- rule: 7")
    with pytest.raises(CustodyError):
        asyncio.run(main(Settings(data_dir=str(tmp_path), runtime=Runtime(rules=[str(tmp_path / "bad.yaml")]))))


def test_exposure() -> None:
    open_to_all = Settings(runtime=Runtime(rules=["x"]))
    with pytest.raises(UsageError, match="could post events"):
        check_exposure(open_to_all, ["runtime"], "0.0.0.0")
    with pytest.raises(UsageError, match="without TLS"):
        check_exposure(open_to_all.replace(runtime=Runtime(rules=["x"], token="t")), ["runtime"], "0.0.0.0")
    assert check_exposure(open_to_all, ["runtime"], "127.0.0.1") == []
    assert check_exposure(open_to_all.replace(runtime=Runtime(rules=["x"], token="t"), tls_certificate="c"),
                          ["runtime"], "0.0.0.0") == []


def test_rules_that_are_read_again_may_ask_about_other_events(tmp_path: Path) -> None:
    connection = tetragon("process_kprobe", function_name="tcp_connect", args=[{"sock_arg": {"daddr": "1.2.3.4"}}])

    async def work(at: Site) -> None:
        body = json.dumps(connection).encode()
        assert (await at.post("/runtime/events/tetragon", body))[1] == {"events": 0, "alerts": 0, "unreadable": 0}
        (tmp_path / "rules.yaml").write_text(RULES.replace("evt.type = execve", "evt.type = connect"))
        assert at.services.rules is not None
        await at.services.rules.reload()
        assert (await at.post("/runtime/events/tetragon", body))[1]["alerts"] == 1

    site(tmp_path, work)
