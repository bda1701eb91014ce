"""`custody serve --workers`: one address, several processes; one that dies is started anew, and all end together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.server.worker import joined

PATIENCE = 60.0  # seconds: of a machine on which everything else runs as well
POLICY = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "labelled"}, "spec": {
    "validationFailureAction": "Enforce", "rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "validate": {"message": "label it", "pattern": {"metadata": {"labels": {"app": "?*"}}}}}]}}


def _until(holds: Callable[[], Any]) -> Any:
    late = time.monotonic() + PATIENCE
    while time.monotonic() < late:
        with contextlib.suppress(OSError, IndexError):
            if value := holds():
                return value
        time.sleep(0.1)
    raise AssertionError("it did not come about")


class Served:
    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process, self.log = folder, process, folder / "log"

    @property
    def started(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == "started"]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.started[0]['url']}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def review(self) -> bool:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "name": "p",
            "namespace": "default", "object": pod}}
        context = ssl.create_default_context(cafile=self.folder / "data" / "admission" / "ca.crt")
        request = urllib.request.Request(f"{self.started[0]['webhook']}/validate", json.dumps(review).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return bool(json.load(answer)["response"]["allowed"])

    def workers(self) -> dict[str, int]:
        """Process ids by number."""
        workers = {}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int((place / "stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    written = (place / "environ").read_text().split("\0")
                    said = next(entry for entry in written if entry.startswith("CUSTODY_WORKER="))
                    workers[json.loads(said.partition("=")[2])["number"]] = int(place.name)
        return workers


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    environment = {**os.environ, "CUSTODY_DATA_DIR": str(tmp_path / "data")}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "admission", "--webhook-port", "0",
                   "--port", "0", "--workers", "2", "--policy", str(tmp_path / "policy.json"), "--log-format", "json"]
        process = subprocess.Popen(command, env=environment, stderr=log, stdout=log, cwd=tmp_path)
    try:
        running = Served(tmp_path, process)
        _until(lambda: len(running.started) == 2 or process.poll() is not None)
        assert process.poll() is None, running.log.read_text()
        yield running
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_workers_share_an_address_and_are_started_anew(served: Served) -> None:
    first, second = served.started
    assert (first["webhook"], first["url"]) == (second["webhook"], second["url"])
    assert {first["worker"], second["worker"]} == {0, 1}
    assert [served.review() for _ in range(20)] == [False] * 20
    served.get("/readyz")

    def counted() -> dict[str, float]:
        return {line.partition('worker="')[2][0]: float(line.split()[-1])
                for line in served.get("/metrics").splitlines() if line.startswith("custody_admission_reviews_total")}

    assert sum(counted().values()) == 20

    before = served.workers()
    os.kill(before[0], signal.SIGKILL)
    assert [served.review() for _ in range(20)] == [False] * 20  # by the other one: the queue is theirs together
    _until(lambda: len(served.started) == 3)
    after = served.workers()
    assert after[1] == before[1]
    assert after[0] != before[0]
    assert [line["code"] for line in served.lines if line.get("event") == "worker ended"] == [-signal.SIGKILL]

    served.process.terminate()
    assert served.process.wait(PATIENCE) == 0
    assert not any(Path(f"/proc/{process}").exists() for process in after.values())


def test_workers_end_with_who_started_them(served: Served) -> None:
    workers = served.workers()
    served.process.kill()
    _until(lambda: not any(Path(f"/proc/{process}/cmdline").exists() and Path(f"/proc/{process}/cmdline").read_text()
                           for process in workers.values()))


def test_all_workers_read_policies_again(served: Served) -> None:
    changed = json.loads(json.dumps(POLICY).replace("Enforce", "Audit"))
    (served.folder / "policy.json").write_text(json.dumps(changed))
    served.process.send_signal(signal.SIGHUP)
    _until(lambda: all(f'custody_reloads_total{{result="success",subject="policies",worker="{number}"}}' in served.get(
        "/metrics") for number in range(2)))
    assert [served.review() for _ in range(20)] == [True] * 20


def test_a_worker_that_cannot_start_ends_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.json").write_text(json.dumps({**POLICY, "spec": {"rules": 7}}))
    environment = {**os.environ, "CUSTODY_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "admission", "--webhook-port", "0",
               "--workers", "2", "--policy", str(tmp_path / "policy.json")]
    assert subprocess.run(command, env=environment, timeout=PATIENCE, check=False).returncode not in (0, None)
    assert capfd.readouterr().err.count("spec.rules: got") == 1


def test_only_admission_has_workers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--roles", "registry,admission", "--workers", "2"]) == 2
    assert "--workers: is for the admission role alone" in capsys.readouterr().err


def test_what_workers_count_is_told_apart() -> None:
    text = b'# HELP a_total A.\n# TYPE a_total counter\na_total{x="1"} 2.0\n# HELP g G.\n# TYPE g gauge\ng 1.0\n'
    assert joined({0: text, 1: text, 2: b""}).decode() == (
        '# HELP a_total A.\n# TYPE a_total counter\na_total{worker="0",x="1"} 2.0\na_total{worker="1",x="1"} 2.0\n'
        '# HELP g G.\n# TYPE g gauge\ng{worker="0"} 1.0\ng{worker="1"} 1.0\n')
