"""Pods through a real API server while the webhook is hurt: `python bench/admission/storm.py [SECONDS [RATE]]`.

`custody serve --workers 2` with the oracle's Pod Security policies under Enforce behind kube-apiserver; 200
dry-run pods a second, one in eight of them bad, by an open loop. Every four seconds one thing in turn: a worker is
killed, the serving certificate is made anew, the disk of the data directory fills (a tmpfs; root is needed), and
is emptied. Counted: bad pods that came through (wrong), good pods that a policy denied (wrong), requests that failed
because nobody answered it, requests that hung for more than 10 s, and latency. Kyverno stands the same load
alone, without being hurt. 30 s by default, 300 for a release. Exit 1 where anything was wrong or hung.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from bench.admission.webhook import PEERS, TOOLS, pss


def _free() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


PORT, SERVER, ETCD, KYVERNO = _free(), _free(), _free(), _free()
HUNG = 10.0
_EVERY = 4.0  # seconds
_DISK = "4m"


def pods(count: int = 64) -> list[tuple[bool, bytes]]:
    """(whether it is bad, its JSON)."""
    made = []
    for at in range(count):
        bad = at % 8 == 7
        command = [sys.executable, TOOLS / "admission-load", "body", "--kind", "pod", "--index", str(at // 8),
                   *(["--bad", "1"] if bad else [])]
        body = subprocess.run(command, capture_output=True, check=True).stdout
        pod = json.loads(body)
        pod["metadata"] = {**pod.get("metadata", {}), "name": f"storm-{at}", "namespace": "default"}
        made.append((bad, json.dumps(pod).encode()))
    return made


class Load:
    def __init__(self, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.took: list[float] = []
        self.words: Counter[str] = Counter()
        self._folder = folder

    async def run(self, seconds: float, rate: float) -> None:
        tls = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        tls.load_cert_chain(self._folder / "admin.crt", self._folder / "admin.key")
        made = pods()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=256)) as session:
            jobs, begun, number = [], time.monotonic(), 0
            while (due := begun + number / rate) < begun + seconds:
                await asyncio.sleep(max(due - time.monotonic(), 0))
                jobs.append(asyncio.create_task(self._create(session, *made[number % len(made)], due)))
                number += 1
            await asyncio.gather(*jobs)

    async def _create(self, session: aiohttp.ClientSession, bad: bool, body: bytes, due: float) -> None:
        url = f"https://127.0.0.1:{SERVER}/api/v1/namespaces/default/pods?dryRun=All"
        try:
            async with session.post(url, data=body, headers={"content-type": "application/json"},
                                    timeout=aiohttp.ClientTimeout(30)) as answer:
                status, text = answer.status, (await answer.read()).decode()
        except (aiohttp.ClientError, TimeoutError) as error:
            status, text = 0, repr(error)
        took = time.monotonic() - due
        self.took.append(took)
        self.counts["asked"] += 1
        self.counts["hung"] += took > HUNG
        judged = status == 403 or (status == 400 and "was blocked" in text)
        unheard = "failed calling webhook" in text or status in (0, 429, 500, 503, 504)
        if status == 201:
            self.counts["bad pods admitted" if bad else "good pods admitted"] += 1
        elif unheard:
            self.counts["failed: nobody answered"] += 1
            self.words[text.partition("failed calling webhook")[2][:160] or text[:160]] += 1
        elif judged:
            self.counts["bad pods denied" if bad else "good pods denied"] += 1
            if not bad:
                self.words[text[:300]] += 1
        else:
            self.counts["else"] += 1
            self.words[text[:160]] += 1

    def tell(self, label: str) -> bool:
        """Whether nothing was wrong."""
        took = sorted(self.took)
        at = lambda share: took[min(int(len(took) * share), len(took) - 1)] * 1e3  # noqa: E731
        print(f"{label}: {dict(self.counts)}; p50 {at(0.5):.0f} p99 {at(0.99):.0f} max {took[-1] * 1e3:.0f} ms",
              flush=True)
        for words, count in self.words.most_common(4):
            print(f"    {count} times {words}")
        wrong = sum(self.counts[name] for name in ("bad pods admitted", "good pods denied", "hung", "else"))
        return wrong == 0


def workers(parent: int) -> list[int]:
    running = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                running.append(int(place.name))
    return sorted(running)


async def hurt(server: subprocess.Popen[bytes], data: Path, done: Counter[str]) -> None:
    ballast = data / "ballast"
    for turn in range(10_000):
        await asyncio.sleep(_EVERY)
        if turn % 4 == 0 and (running := workers(server.pid)):
            os.kill(running[turn // 4 % len(running)], signal.SIGKILL)
            done["workers killed"] += 1
        elif turn % 4 == 1:
            (data / "admission" / "tls.crt").unlink()
            server.send_signal(signal.SIGHUP)
            done["certificates made anew"] += 1
        elif turn % 4 == 2:
            with contextlib.suppress(OSError), ballast.open("wb") as file:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            done["disk filled"] += 1
        else:
            ballast.unlink(missing_ok=True)


def kubectl(cluster: Path, *arguments: str, given: bytes | None = None) -> None:
    program = shutil.which("kubectl") or PEERS / "kubectl"
    subprocess.run([program, "--kubeconfig", cluster / "kubeconfig", *arguments], input=given, check=True,
                   stdout=subprocess.DEVNULL)


def custody(folder: Path, cluster: Path, policies: list[Path], seconds: float, rate: float) -> bool:
    data = folder / "data"
    data.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", data],
                                                   check=False).returncode == 0
    if not mounted:
        sys.exit("no tmpfs can be mounted, and the disk of this machine is not to be filled")
    environment = {**os.environ, "CUSTODY_DATA_DIR": str(data), "CUSTODY_KEEP_DECISIONS": "1"}
    named = [flag for file in policies for flag in ("--policy", str(file))]
    program = [sys.executable, "-m", "custody.cli.main"]
    with (folder / "serve.log").open("wb") as log:
        serve = [*program, "serve", "--roles", "admission", "--workers", "2", "--webhook-port", str(PORT),
                 "--log-level", "error", *named]
        server = subprocess.Popen(serve, env=environment, stdout=log, stderr=log)
    done: Counter[str] = Counter()
    load = Load(cluster)
    try:
        while len(workers(server.pid)) < 2 or not (data / "admission" / "ca.crt").exists():
            assert server.poll() is None, (folder / "serve.log").read_text()
            time.sleep(0.2)
        time.sleep(5)
        config = subprocess.run([*program, "admission", "config", "--url", f"https://127.0.0.1:{PORT}", "--ca-bundle",
                                 data / "admission" / "ca.crt", *named], env=environment, check=True,
                                capture_output=True).stdout
        kubectl(cluster, "apply", "-f", "-", given=config)
        time.sleep(2)

        async def both() -> None:
            hurting = asyncio.create_task(hurt(server, data, done))
            await load.run(seconds, rate)
            hurting.cancel()

        asyncio.run(both())
    finally:
        server.terminate()
        server.wait(60)
        kubectl(cluster, "delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", "--all")
        subprocess.run(["umount", data], check=False)
    print(f"hurt: {dict(done)}")
    right = load.tell("custody, hurt")
    for line in (folder / "serve.log").read_text().splitlines()[:8]:
        print(f"    log: {line[:200]}")
    return right


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else 200.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cluster = folder / "cluster"
        (folder / "pss").mkdir()
        policies = pss(folder / "pss")
        env = {**os.environ, "PATH": f"{os.environ['PATH']}:{PEERS}", "KYVERNO_FLAGS": "--admissionReports=false",
               "APISERVER_PORT": str(SERVER), "ETCD_PORT": str(ETCD), "KYVERNO_PORT": str(KYVERNO)}
        quiet: dict[str, Any] = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        print(f"{len(policies)} policies, {rate:.0f} pods a second for {seconds:.0f} s")
        subprocess.run([TOOLS / "apiserver", "start", cluster], check=True, timeout=180, **quiet)
        try:
            right = custody(folder, cluster, policies, seconds, rate)
            if (PEERS / "kyverno-controller").is_file():
                subprocess.run([TOOLS / "kyverno-webhook", "start", cluster, *policies], check=True, timeout=600,
                               **quiet)
                beside = Load(cluster)
                asyncio.run(beside.run(min(seconds, 30.0), rate))
                beside.tell("Kyverno, left alone")
        finally:
            for tool in ("kyverno-webhook", "apiserver"):
                subprocess.run([TOOLS / tool, "stop", cluster], check=False, timeout=120, **quiet)
        return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
