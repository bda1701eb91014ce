"""Pods through a real API server while all around the webhook is hurt.

    PYTHONPATH=src:. python bench/admission/storm.py [SECONDS [RATE]] [--json FILE] [--without-kyverno]

Two replicas of `custody admission run`, each with its own port and data directory, behind one address
(`balancer.py`), judge by 15 Pod Security policies under Enforce and one that verifies signatures in a local registry.
RATE dry-run pods a second are created by an open loop, one in eight of them bad: half of these break a rule of Pod
Security, half run an unsigned image. In turn, every four seconds: a replica is killed (SIGKILL; it is started again
a second later, as kubelet would), the serving certificate is deleted and made anew, the registry dies and returns,
a replica's disk (a tmpfs; root is needed) fills and is emptied, the other replica is killed, the registry says
nothing and speaks again.

Three pods in four name their image by digest, and evidence of an hour ago counts (`stale_evidence`): these run on while
the registry is away. A tag cannot be looked up then.

Counted: bad pods that came through and good pods that were denied (wrong; but denied is right where the registry cannot
be asked), requests that took longer than 12 s (hung), requests that failed because nobody answered, latency from when
each was due, and whose processor time all took. Before it custody alone, and after it Kyverno's controller alone (one
process, as its chart's default), on the same API server under the same load for at most 60 s each.
Exit 1 where anything was wrong or hung.

Whoever is late is seen by the cores that each has used, by the API server's own means of a request and of each call,
and by how late the generator was. Where `machine busy` is near 1, RATE is more than this machine can bear.
"""

from __future__ import annotations

import argparse
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
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop
import yaml
from cryptography import x509

sys.path[:0] = [str(Path(__file__).parents[2])]
from bench.admission.stormload import Load, Pod, Webhooks, machine, processor, written  # noqa: E402
from bench.admission.webhook import PEERS, ROOT, TOOLS, pss  # noqa: E402

_EVERY = 4.0  # seconds
_ALONE = 60.0
_DISK = "12m"
_SIGNED = 8
_AFTER = 15.0  # seconds after the registry's return within which an answer may still be of when it was away
CUSTODY = [sys.executable, "-m", "custody.cli.main"]
Figures = dict[str, Any]


def free() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def answers(port: int, path: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


class Registry:
    """custody's own, with signed images and an unsigned one. It can die, fall silent and return."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free()
        self.name = f"127.0.0.1:{self.port}"
        self._environment = {**os.environ, "CUSTODY_DATA_DIR": str(folder / "data"), "COSIGN_PASSWORD": ""}
        self.away_until = 0.0
        folder.mkdir()
        self.start()
        layer = folder / "layer.tar"
        for image in (*(f"web:{at}" for at in range(_SIGNED)), "unsigned:1"):
            (folder / "content").write_text(image)
            subprocess.run(["tar", "-cf", layer, "-C", folder, "content"], check=True)
            subprocess.run([PEERS / "crane", "append", "--insecure", "-f", layer, "-t", f"{self.name}/shop/{image}"],
                           check=True, capture_output=True)
        self._run("generate-key-pair")
        images = [f"{self.name}/shop/web:{at}" for at in range(_SIGNED)]
        self.digests = [subprocess.run([PEERS / "crane", "digest", "--insecure", image], check=True,
                                       capture_output=True, text=True).stdout.strip() for image in images]
        for image in images:
            self._run("sign", "-y", "--key", "cosign.key", "--tlog-upload=false", "--format", "both", image)

    def _run(self, *arguments: str) -> None:
        subprocess.run([*CUSTODY, *arguments], cwd=self._folder, env=self._environment, check=True, capture_output=True)

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*CUSTODY, "serve", "--roles", "registry", "--port", str(self.port)],
                                            cwd=self._folder, env=self._environment, stdout=log, stderr=log)
        until(lambda: answers(self.port, "/v2/"), "the registry answers")

    def leave(self, *, silent: bool) -> None:
        self.away_until = float("inf")
        self.process.send_signal(signal.SIGSTOP if silent else signal.SIGKILL)

    def come_back(self, *, silent: bool) -> None:
        self.process.send_signal(signal.SIGCONT) if silent else self.start()
        self.away_until = time.monotonic() + _AFTER

    @property
    def away(self) -> bool:
        return time.monotonic() < self.away_until

    def policy(self) -> dict[str, Any]:
        entry = {"imageReferences": [f"{self.name}/shop/*"], "mutateDigest": True, "attestors": [{"entries": [{"keys": {
            "publicKeys": (self._folder / "cosign.pub").read_text(), "rekor": {"ignoreTlog": True},
            "ctlog": {"ignoreSCT": True}}}]}]}
        return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {
            "name": "signed", "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}}, "spec": {
                "validationFailureAction": "Enforce", "webhookTimeoutSeconds": 10, "background": False, "rules": [{
                    "name": "signed", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [entry]}]}}

    def pods(self, count: int = 64) -> list[Pod]:
        made = []
        for at in range(count):
            bad, unsigned = at % 8 == 7, at % 16 == 15
            command = [sys.executable, TOOLS / "admission-load", "body", "--kind", "pod", "--index", str(at // 8),
                       *(["--bad", "1"] if bad and not unsigned else [])]
            pod = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            tag = "unsigned:1" if unsigned else f"web:{at % _SIGNED}"
            tagged = unsigned or at % 4 == 0
            image = f"{self.name}/shop/{tag if tagged else f'web@{self.digests[at % _SIGNED]}'}"
            made.append(Pod(bad, written(pod, at, [image] * 3)))
        return made


class Replica:
    def __init__(self, folder: Path, cluster: Path, called: int) -> None:
        self._folder, self.port, self.health = folder, free(), free()
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", self.data],
                                               check=False).returncode:
            sys.exit("no tmpfs can be mounted, and the disk of this machine is not to be filled")
        self._command = [*CUSTODY, "admission", "run", "--kubeconfig", cluster / "kubeconfig", "--host", "127.0.0.1",
                         "--url", f"https://127.0.0.1:{called}", "--webhook-port", str(self.port), "--port",
                         str(self.health), "--reports", "none", "--log-level", "error"]
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "CUSTODY_DATA_DIR": str(self.data), "CUSTODY_KEEP_DECISIONS": "1",
                       "CUSTODY_MAX_DECISIONS": "2", "CUSTODY_STALE_EVIDENCE": "1"}
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, cwd=self._folder, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.data / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        (self.data / "ballast").unlink(missing_ok=True)

    def certificate(self) -> int:
        """The serial number of the certificate that it serves; 0 while it does not."""
        with contextlib.suppress(OSError):
            pem = ssl.get_server_certificate(("127.0.0.1", self.port), timeout=2)
            return x509.load_pem_x509_certificate(pem.encode()).serial_number
        return 0

    def end(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        subprocess.run(["umount", self.data], check=False)

    @property
    def said(self) -> list[str]:
        return (self._folder / "log").read_text().splitlines()


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free()
        self._environment = {
            **os.environ, "PATH": f"{os.environ['PATH']}:{PEERS}", "APISERVER_PORT": str(self.port),
            "ETCD_PORT": str(free()), "KYVERNO_PORT": str(free()), "GOGC": "400",
            "KYVERNO_FLAGS": "--admissionReports=false --allowInsecureRegistry=true"}

    def tool(self, name: str, verb: str, *arguments: str | Path, check: bool = True) -> None:
        subprocess.run([TOOLS / name, verb, self.folder, *arguments], check=check, timeout=600, env=self._environment,
                       stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        program = shutil.which("kubectl") or PEERS / "kubectl"
        return subprocess.run([program, "--kubeconfig", self.folder / "kubeconfig", *arguments], input=given, text=True,
                              check=True, stdout=subprocess.PIPE).stdout

    def metrics(self) -> Webhooks:
        return Webhooks.read(self.kubectl("get", "--raw", "/metrics"))

    def process(self, name: str) -> int:
        return int((self.folder / f"{name}.pid").read_text())


class Harm:
    """What is done to them, in turn."""

    def __init__(self, cluster: Cluster, registry: Registry, replicas: list[Replica]) -> None:
        self.done: Counter[str] = Counter()
        self.serials: set[int] = set()
        self._cluster, self._registry, self._replicas = cluster, registry, replicas

    async def run(self) -> None:
        """Until cancelled; then all that is away is brought back."""
        first, second = self._replicas
        turns = [self._kill(first), self._renew(), self._leave(silent=False), self._fill(first),
                 self._kill(second), self._renew(), self._leave(silent=True), self._fill(second)]
        try:
            while True:
                for turn in turns:
                    for step in turn:
                        await asyncio.sleep(_EVERY)
                        await asyncio.to_thread(step)
        finally:
            for replica in self._replicas:
                replica.empty()

    def _kill(self, replica: Replica) -> list[Callable[[], None]]:
        def kill() -> None:
            replica.kill()
            self.done["replicas killed"] += 1
            time.sleep(1)
            replica.start()

        return [kill]

    def _renew(self) -> list[Callable[[], None]]:
        def renew() -> None:
            before = {replica.certificate() for replica in self._replicas}
            self._cluster.kubectl("-n", "custody", "delete", "secret", "custody-webhook-tls")
            # Anything that is done to the configurations has every replica look at all that it keeps.
            self._cluster.kubectl("label", "--overwrite", "validatingwebhookconfiguration", "custody",
                                  f"storm={time.monotonic_ns()}")
            end = time.monotonic() + _EVERY
            while time.monotonic() < end:
                now = {replica.certificate() for replica in self._replicas} - {0}
                if now and not now & before:
                    self.done["certificates made anew, and served by all"] += 1
                    return
                time.sleep(0.2)
            self.done["certificates made anew, not served by all in time"] += 1

        return [renew]

    def _leave(self, *, silent: bool) -> list[Callable[[], None]]:
        def leave() -> None:
            self._registry.leave(silent=silent)
            self.done["registry silent" if silent else "registry dead"] += 1

        return [leave, lambda: self._registry.come_back(silent=silent)]

    def _fill(self, replica: Replica) -> list[Callable[[], None]]:
        def fill() -> None:
            replica.fill()
            self.done["disk full"] += 1

        return [fill, replica.empty]


@contextlib.contextmanager
def custody(folder: Path, cluster: Cluster, policies: str) -> Iterator[tuple[list[Replica], subprocess.Popen[bytes]]]:
    """Two replicas behind one address, that are ready and judge by these policies."""
    cluster.kubectl("apply", "--server-side", "-f", "-",
                    given=subprocess.run([*CUSTODY, "admission", "crds"], check=True, capture_output=True,
                                         text=True).stdout)
    called = free()
    replicas = [Replica(folder / f"replica-{at}", cluster.folder, called) for at in range(2)]
    pairs = [f"{replica.port}:{replica.health}" for replica in replicas]
    balancing = subprocess.Popen([sys.executable, ROOT / "bench/admission/balancer.py", str(called), *pairs])
    try:
        until(lambda: all(answers(replica.health, "/readyz") for replica in replicas), "both replicas are ready")
        cluster.kubectl("apply", "-f", "-", given=policies)
        cluster.kubectl("wait", "--for=condition=Ready", "clusterpolicies.kyverno.io", "--all", "--timeout=60s")
        time.sleep(2)
        yield replicas, balancing
    finally:
        cluster.kubectl("delete", "clusterpolicies.kyverno.io", "--all")
        for replica in replicas:
            replica.end()
        balancing.terminate()
        cluster.kubectl("delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", "--all")
        cluster.kubectl("delete", "customresourcedefinitions", "--all")


def loaded(label: str, cluster: Cluster, load: Load, pods: list[Pod], seconds: float, rate: float,
           processes: dict[str, list[int]], beside: Harm | None = None) -> Figures:
    """One run, told and returned."""
    async def both() -> None:
        hurting = asyncio.create_task(beside.run()) if beside else None
        await load.run(pods, seconds, rate)
        if hurting is not None:
            hurting.cancel()
            await asyncio.wait({hurting})

    busy = machine()
    before, used = cluster.metrics(), {name: processor(ids) for name, ids in processes.items()}
    own, begun = time.process_time(), time.monotonic()
    uvloop.run(both())
    lasted = time.monotonic() - begun
    share = round((machine()[0] - busy[0]) / (machine()[1] - busy[1]), 2)
    cores = {name: round((processor(ids) - used[name]) / lasted, 2) for name, ids in processes.items()}
    figures = {"seconds": round(lasted, 1), **load.figures(), **cluster.metrics().since(before),
               "machine busy": share,
               "cores": {**cores, "generator": round((time.process_time() - own) / lasted, 2)},
               **({"hurt": dict(beside.done)} if beside else {})}
    print(f"\n{label}", flush=True)
    for name, value in figures.items():
        print(f"  {name:<48} {value}")
    for name, words in load.words.items():
        for text, count in words.most_common(4):
            print(f"    {name}: {count} times {text}")
    return figures


def storm(folder: Path, seconds: float, rate: float, *, kyverno: bool) -> tuple[bool, Figures]:
    (folder / "pss").mkdir()
    registry = Registry(folder / "registry")
    documents = [*[yaml.safe_load(file.read_text()) for file in pss(folder / "pss")][:15], registry.policy()]
    policies, pods = yaml.safe_dump_all(documents), registry.pods()
    cluster = Cluster(folder / "cluster")
    cluster.tool("apiserver", "start")
    base = {"API server": [cluster.process("kube-apiserver")], "etcd": [cluster.process("etcd")]}
    results: Figures = {"policies": len(documents), "rate": rate}
    print(f"{len(documents)} policies, {rate:.0f} pods a second", flush=True)
    alone = min(seconds, _ALONE)
    try:
        with custody(folder, cluster, policies) as (replicas, balancing):
            processes = {**base, "replicas": [os.getpid()], "balancer": [balancing.pid],
                         "registry": [registry.process.pid]}
            processes["replicas"] = [replica.process.pid for replica in replicas]
            calm = Load(cluster.port, cluster.folder)
            results["custody alone"] = loaded("custody, left alone", cluster, calm, pods, alone, rate, processes)
            hurt = Load(cluster.port, cluster.folder, lambda: registry.away)
            harm = Harm(cluster, registry, replicas)
            del processes["replicas"], processes["registry"]  # they die, and what they used with them
            results["custody hurt"] = loaded("custody, hurt", cluster, hurt, pods, seconds, rate, processes, harm)
            said = [line for replica in replicas for line in replica.said]
            print(f"  the replicas said {len(said)} lines; the last: {said[-1][:200] if said else ''}")
        right = calm.right and hurt.right
        if kyverno and (PEERS / "kyverno-controller").is_file():
            (folder / "policies.yaml").write_text(policies)
            registry.away_until = 0.0
            cluster.tool("kyverno-webhook", "start", folder / "policies.yaml")
            beside = Load(cluster.port, cluster.folder)
            results["Kyverno alone"] = loaded("Kyverno, left alone", cluster, beside, pods, alone, rate, {
                **base, "controller": [cluster.process("kyverno")], "registry": [registry.process.pid]})
    finally:
        for tool in ("kyverno-webhook", "apiserver"):
            cluster.tool(tool, "stop", check=False)
        registry.process.send_signal(signal.SIGCONT)
        registry.process.kill()
    return right, results


def main() -> int:
    parser = argparse.ArgumentParser(description="Pods through an API server while the webhook is hurt.")
    parser.add_argument("seconds", nargs="?", type=float, default=40.0, help="of the storm; 300 for a release")
    parser.add_argument("rate", nargs="?", type=float, default=200.0, help="pods a second")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--without-kyverno", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        right, results = storm(Path(name), given.seconds, given.rate, kyverno=not given.without_kyverno)
    text = json.dumps({**results, "right": right})
    if given.json is not None:
        given.json.write_text(text)
    print(f"\n{text}\n{'nothing was wrong, nothing hung' if right else 'WRONG OR HUNG'}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
