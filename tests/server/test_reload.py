"""Policies are read again while the webhook runs: a change counts, a broken file does not stop or weaken the judge."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.admission.webhook import Admission, Snapshot
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.server.reload import Reloader
from tests.admission.test_webhook import review


def policy(name: str, *, kinds: tuple[str, ...] = ("Pod",)) -> str:
    return yaml.safe_dump({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": list(kinds)}}]},
            "validate": {"message": f"{name} says no", "deny": {}}}]}})


async def nothing(snapshot: Snapshot, images: list[str]) -> dict[str, Any]:
    return {}


async def said(admission: Admission) -> str:
    answer = json.loads(await admission.review(json.dumps(review()).encode()))["response"]
    return str(answer.get("status", {}).get("message", "")) or "allowed"


def test_policy_change_is_an_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.yaml").write_text(policy("a"))
    async def main() -> None:
        stop = asyncio.Event()
        admission = Admission(PolicySet.load([folder]), nothing, system_clock)
        reloader = Reloader(admission, [folder], lambda: Snapshot(PolicySet.load([folder])), interval=0.02)
        task = asyncio.create_task(reloader.run())

        async def until(words: Callable[[str], bool]) -> str:
            for _ in range(500):
                if words(message := await said(admission)):
                    return message
                await asyncio.sleep(0.02)
            raise AssertionError(f"never so: {message}")

        async def failing(words: str) -> None:
            for _ in range(500):
                if words in (reloader.failure or ""):
                    return
                await asyncio.sleep(0.02)
            raise AssertionError(f"never so: {reloader.failure}")

        async def asking() -> list[str]:
            """Somebody asks all the while, and always has an answer."""
            answers = []
            while not stop.is_set():
                answers.append(await said(admission))
                await asyncio.sleep(0.001)
            return answers

        asked = asyncio.create_task(asking())
        assert "a says no" in await said(admission)
        # Another policy counts.
        (folder / "b.yaml").write_text(policy("b"))
        await until(lambda message: "b says no" in message)
        # A broken file keeps what is loaded, and is said.
        (folder / "a.yaml").write_text("kind: [")
        await failing("a.yaml: got")
        message = await said(admission)
        assert "a says no" in message
        assert "b says no" in message
        # So does a policy with a field that is not evaluated, and a folder that is gone.
        (folder / "a.yaml").write_text(policy("a").replace("deny:", "deni:"))
        await failing("deni")
        folder.rename(tmp_path / "away")
        await failing("No such file")
        assert "a says no" in await said(admission)
        # Mended, it is what counts.
        (tmp_path / "away" / "a.yaml").write_text(policy("c"))
        (tmp_path / "away").rename(folder)
        message = await until(lambda message: "c says no" in message)
        assert "a says no" not in message
        assert reloader.failure is None
        stop.set()
        answers = await asked
        assert answers
        assert all("says no" in answer for answer in answers)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert "those that were loaded before still judge" in caplog.text


def test_a_new_kind_is_said_to_need_a_new_configuration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.yaml").write_text(policy("a"))

    async def main() -> None:
        admission = Admission(PolicySet.load([tmp_path]), nothing, system_clock)
        reloader = Reloader(admission, [tmp_path], lambda: Snapshot(PolicySet.load([tmp_path])))
        await reloader.reload()
        assert "admission config" not in caplog.text
        (tmp_path / "a.yaml").write_text(policy("a", kinds=("Pod", "Service")))
        await reloader.reload()
        assert "apply `custody admission config` again" in caplog.text

    asyncio.run(main())


def test_sighup_reads_again_and_does_not_end_the_process(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy("a"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUSTODY_")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "admission", "--port", "0", "--webhook-port",
             "0", "--policy", "a.yaml"], cwd=tmp_path, stderr=log, env=environment)
    try:
        def wait_for(words: str) -> None:
            for _ in range(600):
                if words in (tmp_path / "log").read_text():
                    return
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
            raise AssertionError((tmp_path / "log").read_text())

        wait_for("ctrl-c stops")
        process.send_signal(signal.SIGHUP)
        wait_for("read again: 1 policies")
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(30) == 0
