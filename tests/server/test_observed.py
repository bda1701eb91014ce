"""Requests and decisions are written down and counted: what a line and a scrape say, as a real parser reads them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from custody.policy.load import PolicySet
from custody.server.metrics import Metrics
from custody.server.observed import PREFIXES, role_of
from custody.server.platform import ROLES, running
from custody.settings import Settings

POLICY = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "no-latest"}, "spec": {
    "validationFailureAction": "Enforce", "rules": [{
        "name": "tag", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "validate": {"message": "no latest", "pattern": {"spec": {"containers": [{"image": "!*:latest"}]}}}}]}}
Lines = list[dict[str, Any]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> _Lines:
    """The events, as they are written down."""
    caplog.set_level(logging.DEBUG, "custody")
    return _Lines(caplog)


class _Lines(list[dict[str, Any]]):
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        super().__init__()
        self._caplog = caplog

    def of(self, name: str) -> Lines:
        return [record.fields | {"level": record.levelname.lower()} for record in self._caplog.records  # type: ignore[attr-defined]
                if record.getMessage() == name and hasattr(record, "fields")]


def review(image: str, operation: str = "CREATE", name: str = "web") -> bytes:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
           "spec": {"containers": [{"name": "a", "image": image}]}}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": operation,
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "shop",
        "userInfo": {"username": "alice"}, "object": pod}}).encode()


def scrape(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def test_a_denial_is_one_line_with_rule_image_reason_and_inputs(tmp_path: Path, lines: _Lines) -> None:
    async def drive() -> dict[str, Any]:
        async with (running(Settings(data_dir=str(tmp_path)), ["admission"], port=None,
                            policies=PolicySet([POLICY])) as services,
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as client,
                    client.post(f"{services.webhook}/validate", data=review("nginx:latest")) as answer):
            return await answer.json()  # type: ignore[no-any-return]

    answer = asyncio.run(drive())
    (line,) = lines.of("decision")
    assert line["level"] == "warning"
    assert line["outcome"] == "denied"
    assert (line["operation"], line["kind"], line["namespace"], line["name"], line["user"], line["uid"]) == (
        "CREATE", "Pod", "shop", "web", "alice", "u-1")
    assert line["images"] == ["nginx:latest"]
    assert line["inputs"] == answer["response"]["auditAnnotations"]["inputs-digest"]
    (result,) = line["results"]
    assert (result["policy"], result["rule"], result["outcome"], result["denies"]) == ("no-latest", "tag", "fail", True)
    assert "no latest" in result["reason"]
    (request,) = lines.of("request")
    assert (request["role"], request["path"], request["status"], request["complete"]) == (
        "admission", "/validate", 200, True)


def test_what_is_refused_without_a_decision_is_written_down(tmp_path: Path, lines: _Lines) -> None:
    async def drive() -> None:
        async with (running(Settings(data_dir=str(tmp_path)), ["admission"], port=None,
                            policies=PolicySet([POLICY])) as services,
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as client):
            head = review("a:1")[:-2]
            body = head + b',"x":"' + b"x" * (9 << 20) + b'"}}'
            async with client.post(f"{services.webhook}/validate", data=io.BytesIO(body)) as answer:
                assert (await answer.json())["response"]["allowed"] is False

    asyncio.run(drive())
    (line,) = lines.of("decision")
    assert (line["level"], line["outcome"], line["uid"]) == ("warning", "refused", "u-1")
    assert "expected at most 8388608 bytes" in line["reason"]


def test_a_scrape_is_what_prometheus_reads(tmp_path: Path, lines: _Lines) -> None:
    async def drive() -> str:
        async with (running(Settings(data_dir=str(tmp_path)), ["registry", "admission"],
                            policies=PolicySet([POLICY])) as services,
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as client):
            for image in ("nginx:latest", "nginx:1", "nginx:2"):
                await (await client.post(f"{services.webhook}/validate", data=review(image))).read()
            await (await client.request("BREW", f"{services.url}/v2/")).read()
            await (await client.get(f"{services.url}/v2/a/manifests/b")).read()
            reader, writer = await asyncio.open_connection("127.0.0.1", int(services.url.rpartition(":")[2]))
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
            async with client.get(f"{services.webhook}/metrics") as tls:
                assert tls.status == 200
            async with client.get(f"{services.url}/metrics") as answer:
                assert answer.headers["content-type"].startswith("text/plain; version=")
                return await answer.text()

    text = asyncio.run(drive())
    values = scrape(text)
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(families) == len(set(families)), "a family twice is no exposition"

    def value(name: str, **labels: str) -> float:
        return values[name, frozenset(labels.items())]

    assert value("custody_admission_reviews_total", webhook="validate", operation="CREATE", outcome="denied") == 1
    assert value("custody_admission_reviews_total", webhook="validate", operation="CREATE", outcome="allowed") == 2
    assert value("custody_admission_rule_results_total", policy="no-latest", rule="tag", outcome="pass") == 2
    assert value("custody_admission_review_duration_seconds_count", webhook="validate") == 3
    assert value("custody_http_requests_total", role="registry", method="GET", code="404") == 1
    assert value("custody_http_requests_in_flight", role="registry") == 0
    assert value("custody_policies") == 1
    assert value("custody_data_free_bytes") > 0
    assert value("custody_registry_unfinished_uploads") == 0
    assert value("custody_http_refused_total", code="400") >= 1
    assert value("custody_last_reload_successful", subject="certificate (webhook)") == 1
    method, refused = lines.of("refused")
    assert method["status"] == 501
    assert (refused["level"], refused["peer"], refused["status"]) == ("info", "127.0.0.1", 400)
    assert "content-length" in refused["reason"].lower()
    assert not [labels for name, labels in values if ("method", "BREW") in labels]
    assert [name for name, _ in values if name == "process_resident_memory_bytes"]


def test_a_number_that_cannot_be_read_is_left_out_and_no_name_is_there_twice() -> None:
    metrics = Metrics()

    def gone() -> list[tuple[tuple[str, ...], float]]:
        raise FileNotFoundError("the disk is gone")

    metrics.read("custody_lost", "A number.", (), gone)
    metrics.read("custody_kept", "Another.", (), lambda: [((), 1)])
    text = metrics.text().decode()
    assert "\ncustody_lost" not in text
    assert "\ncustody_kept 1.0\n" in text
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        metrics.read("custody_kept", "Another.", (), lambda: [((), 1)])


def test_each_metric_is_announced_once(tmp_path: Path) -> None:
    """Of all roles: Prometheus refuses an answer in which a name is announced twice, whole."""
    async def drive() -> str:
        async with running(Settings(data_dir=str(tmp_path))) as services:
            return services.metrics.text().decode()

    announced = [line.split()[2] for line in asyncio.run(drive()).splitlines() if line.startswith("# TYPE ")]
    assert sorted(announced) == sorted(set(announced))
    assert "custody_data_free_bytes" in announced


def test_probes_are_quiet(tmp_path: Path, lines: _Lines) -> None:
    async def drive() -> None:
        async with (running(Settings(data_dir=str(tmp_path)), ["registry"]) as services,
                    aiohttp.ClientSession() as client):
            for path in ("/healthz", "/metrics"):
                await (await client.get(services.url + path)).read()

    asyncio.run(drive())
    assert {line["level"] for line in lines.of("request")} == {"debug"}


@pytest.mark.parametrize(("path", "role"), [
    ("/v2/", "registry"), ("/v2/a/blobs/x", "registry"), ("/oidc/keys", "oidc"), ("/ct/checkpoint", "ca"),
    ("/api/v2/signingCert", "ca"), ("/api/v1/rootCert", "ca"), ("/api/v2/log/entries", "log"),
    ("/api/v2/checkpoint", "log"), ("/api/v2/tile/0/000", "log"), ("/api/v1/timestamp", "tsa"),
    ("/tuf/timestamp.json", "tuf"), ("/tufa", "none"), ("/healthz", "health"), ("/", "none"), ("/v20", "none")])
def test_a_request_is_counted_for_the_role_that_answers_it(path: str, role: str) -> None:
    assert role_of(path) == role


def test_requests_to_every_role_are_counted_for_it() -> None:
    """But for the webhook, which has a listener of its own, and the scanner, which nobody asks."""
    assert {role for _, role in PREFIXES} == {*ROLES, "runtime"} - {"admission", "scanner"}


def test_logs_are_counted(tmp_path: Path) -> None:
    async def drive() -> str:
        async with running(Settings(data_dir=str(tmp_path)), ["log", "ca"]) as services:
            await services.platform.log.add(b"an entry")
            return services.metrics.text().decode()

    values = scrape(asyncio.run(drive()))
    for log, entries in (("log", 1), ("ct", 0)):
        assert values["custody_log_entries", frozenset({("log", log)})] == entries
        assert values["custody_log_stopped", frozenset({("log", log)})] == 0


def test_one_scrape_serves_all_who_ask_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads folders, and nobody is asked who he is."""
    metrics, scrapes, go = Metrics(), list[int](), threading.Event()

    def text() -> bytes:
        scrapes.append(1)
        go.wait(30)
        return b"x 1\n"

    monkeypatch.setattr(metrics, "text", text)

    async def ask() -> int:
        answers: list[Any] = []

        async def send(message: Any) -> None:
            answers.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        await metrics({"method": "GET"}, receive, send)
        return int(answers[0]["status"])

    async def drive() -> list[int]:
        asking = [asyncio.create_task(ask()) for _ in range(20)]
        await asyncio.sleep(0)
        asking[0].cancel()  # one who goes away takes nobody's answer
        go.set()
        return await asyncio.gather(*asking[1:])

    assert asyncio.run(drive()) == [200] * 19
    assert len(scrapes) == 1
