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

from custody.admission.webhook import Admission
from custody.cli.services import snapshot
from custody.errors import MalformedError, UsageError
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.server.reload import Reloader
from custody.settings import Settings
from custody.trust.roots import TrustedRoot
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
    assert "what was loaded before is in use still" in caplog.text


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
        wait_for("read again: 1 policy")
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert " info stopping signal=SIGTERM " in (tmp_path / "log").read_text()


def test_with_json_every_line_is_json(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUSTODY_")}
    with subprocess.Popen(
            [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "tsa", "--port", "0", "--log-format",
             "json"], cwd=tmp_path, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        started = json.loads(process.stderr.readline())
        process.terminate()
        rest = [json.loads(line) for line in process.stderr]
        assert process.wait(30) == 0
    assert (started["event"], started["roles"]) == ("started", ["tsa"])
    assert started["url"].startswith("http://127.0.0.1:")
    assert [(line["event"], line["signal"]) for line in rest] == [("stopping", "SIGTERM")]


# ── files that are being changed ────────────────────────────────────────────────────────────────────────────────────

def mounted(folder: Path, name: str, text: str) -> None:
    """As the kubelet mounts a ConfigMap: a folder for each version, and links that are renamed into place."""
    version = folder / f"..{name}"
    version.mkdir(parents=True)
    (version / "a.yaml").write_text(text)
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").rename(folder / "..data")
    if not (folder / "a.yaml").is_symlink():
        (folder / "a.yaml").symlink_to("..data/a.yaml")


def watched(folder: Path, load: Callable[[], PolicySet] | None = None) -> tuple[Admission, Reloader]:
    admission = Admission(PolicySet.load([folder]), nothing, system_clock)
    return admission, Reloader(admission, [folder], lambda: Snapshot((load or (lambda: PolicySet.load([folder])))()))


def test_a_mounted_configmap_is_read_once_and_its_next_version_counts(tmp_path: Path) -> None:
    mounted(tmp_path, "1", policy("a"))

    async def main() -> tuple[str, str]:
        admission, reloader = watched(tmp_path)
        before = await said(admission)
        mounted(tmp_path, "2", policy("b"))  # the old version's folder is still there
        assert reloader._look() != reloader._seen
        await reloader.reload()
        assert reloader.failure is None
        return before, await said(admission)

    before, after = asyncio.run(main())
    assert "a says no" in before
    assert "b says no" in after
    assert "a says no" not in after


def test_an_emptied_file_or_folder_keeps_the_judge(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy("a"))
    (tmp_path / "b.yaml").write_text(policy("b"))

    async def main() -> None:
        admission, reloader = watched(tmp_path)
        (tmp_path / "b.yaml").write_text("")
        await reloader.reload()
        assert "b.yaml: got 'an empty file'" in str(reloader.failure)
        (tmp_path / "a.yaml").unlink()
        (tmp_path / "b.yaml").unlink()
        await reloader.reload()
        assert f"{tmp_path}: no policies" in str(reloader.failure)
        (tmp_path / "a.yaml").symlink_to("nowhere.yaml")
        await reloader.reload()
        assert "No such file" in str(reloader.failure)
        message = await said(admission)
        assert "a says no" in message
        assert "b says no" in message

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_what_is_no_file_does_not_hold_the_reloading(tmp_path: Path, kind: str) -> None:
    """A pipe without a writer would hold it for ever, and the process's end as well; /dev/zero all memory."""
    (tmp_path / "a.yaml").write_text(policy("a"))

    async def main() -> None:
        admission, reloader = watched(tmp_path)
        stray = tmp_path / "b.yaml"
        {"pipe": lambda: os.mkfifo(stray), "device": lambda: stray.symlink_to("/dev/zero"),
         "loop": lambda: stray.symlink_to(stray)}[kind]()
        async with asyncio.timeout(60):
            await reloader.reload()
        assert ("b.yaml: Too many levels" if kind == "loop" else "b.yaml: got a pipe, socket or device, expected a file"
                ) in str(reloader.failure)
        assert "a says no" in await said(admission)
        stray.unlink()
        (tmp_path / "a.yaml").write_text(policy("c"))
        await reloader.reload()
        assert "c says no" in await said(admission)

    asyncio.run(main())


def test_a_device_that_is_named_is_read_no_further_than_the_limit() -> None:
    with pytest.raises(MalformedError, match="/dev/zero: got 'more than 4194304 bytes'"):
        PolicySet.load(["/dev/zero"])


def test_a_file_that_changes_while_it_is_read_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy("a"))

    def load() -> PolicySet:
        found = PolicySet.load([tmp_path])
        (tmp_path / "b.yaml").write_text(policy(f"b{len(found.policies)}"))
        return found

    async def main() -> None:
        admission, reloader = watched(tmp_path, load)
        await reloader.reload()
        assert "changed while it was read" in str(reloader.failure)
        assert "b1 says no" not in await said(admission)

    asyncio.run(main())


def test_a_half_written_file_is_not_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = policy("a") + "---\n" + policy("b")
    (tmp_path / "a.yaml").write_text(whole)
    read: list[str] = []

    async def main() -> None:
        _, reloader = watched(tmp_path)
        parts = iter([policy("a"), policy("a") + "---\n", whole + "# the end\n"])
        look = reloader._look

        def writing() -> Any:
            """Before each look, more of the file is there."""
            if (text := next(parts, None)) is not None:
                (tmp_path / "a.yaml").write_text(text)
            return look()

        asked = asyncio.Event()

        async def reload() -> None:
            read.append((tmp_path / "a.yaml").read_text())
            asked.set()

        monkeypatch.setattr(reloader, "_look", writing)
        monkeypatch.setattr(reloader, "reload", reload)
        monkeypatch.setattr(reloader, "_interval", 0.01)
        task = asyncio.create_task(reloader.run())
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert read[0] == whole + "# the end\n"


def test_a_copy_with_the_time_and_size_of_the_old_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy("a"))
    _, reloader = watched(tmp_path)
    state = (tmp_path / "a.yaml").stat()
    (tmp_path / "other").write_text(policy("b"))
    os.utime(tmp_path / "other", ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "other").rename(tmp_path / "a.yaml")
    assert (tmp_path / "a.yaml").stat().st_mtime_ns == state.st_mtime_ns
    assert reloader._look() != reloader._seen


def test_a_fault_while_reading_does_not_end_the_looking(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.yaml").write_text(policy("a"))

    def broken() -> PolicySet:
        raise RecursionError

    async def main() -> None:
        admission, reloader = watched(tmp_path, broken)
        task = asyncio.create_task(reloader.run())
        for _ in range(20):  # a storm of SIGHUPs
            reloader.ask()
            await asyncio.sleep(0.005)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert reloader.failure == "an internal error (RecursionError)"
        assert "a says no" in await said(admission)

    asyncio.run(main())
    assert "what was loaded before is in use still" in caplog.text


def test_a_trust_root_that_is_gone_does_not_bring_back_the_one_of_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy("a"))
    policies, settings = PolicySet.load([tmp_path]), Settings(data_dir=str(tmp_path))
    assert snapshot(settings, policies, Snapshot(policies)).root is None
    with pytest.raises(UsageError, match=r"trusted_root\.json: no such file"):
        snapshot(settings, policies, Snapshot(policies, TrustedRoot()))
