"""Honest reviews beside hostile ones: what do slow registries, bombs, absent digests and odd names cost the others?

    python bench/admission/hostile.py [SECONDS] [HOSTILE A SECOND]

The webhook is a real process, with a registry and trust services in another, hostile registries in a third. Honest pods
are asked for alone, then beside hostile ones; printed are their latencies, the webhook's memory, and wrong admissions.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

CUSTODY = Path(sys.executable).with_name("custody")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SCAN = "https://bench.example/scan"
HONEST_A_SECOND = 20
POLICY = """
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: signed, annotations: {pod-policies.kyverno.io/autogen-controllers: none}}
spec:
  validationFailureAction: Enforce
  webhookTimeoutSeconds: 10
  rules:
    - name: signed-and-scanned
      match: {any: [{resources: {kinds: [Pod]}}]}
      verifyImages:
        - imageReferences: ["*"]
          mutateDigest: false
          verifyDigest: false
          attestors:
            - entries: [{keyless: &ann {issuer: "BASE/oidc", subject: ann@bench.example, rekor: {url: BASE}}}]
          attestations:
            - type: https://bench.example/scan
              attestors: [{entries: [{keyless: *ann}]}]
              conditions: [{all: [{key: "{{ verdict }}", operator: Equals, value: clean}]}]
"""


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def free() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# Hostile registries: any repository of any of them holds one image and bundles about it.


def manifest(layers: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {
        "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}, "layers": layers,
        **more}).encode()


def bundle(payload: bytes) -> bytes:
    """A bundle that reads well and is signed by nobody."""
    return json.dumps({"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "x"}}, "dsseEnvelope": {
        "payload": base64.b64encode(payload).decode(), "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": base64.b64encode(b"x" * 64).decode()}]}}).encode()


IMAGE = manifest([])


def bombs(megabytes: int) -> dict[str, bytes]:
    """Everything that a registry of one image and its bombs answers, by the last part of the path."""
    data = bundle(b'{"predicate":[' + b"[]," * (megabytes * 350_000) + b"[]]}")
    about = {"mediaType": MANIFEST, "digest": digest(IMAGE), "size": len(IMAGE)}
    document = manifest([{"mediaType": BUNDLE, "digest": digest(data), "size": len(data)}], artifactType=BUNDLE,
                        subject=about)
    referrers = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": digest(document), "size": len(document), "artifactType": BUNDLE}]}).encode()
    return {digest(data): data, digest(document): document, "referrers": referrers, digest(IMAGE): IMAGE}


PAGE = {digest(IMAGE): IMAGE, "referrers": b'{"schemaVersion":2,"manifests":[' + b"[]," * 1_390_000 + b"[]]}"}


def registries(ports: list[int], kinds: list[str]) -> None:
    """The process of all hostile registries."""

    async def answer(kind: str, held: dict[str, bytes], reader: asyncio.StreamReader,
                     writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path = head.split(b" ", 2)[:2]
                last = path.decode().partition("?")[0].rpartition("/")[2]
                if kind == "silent":
                    await asyncio.sleep(60)
                if kind == "drip":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")
                    while method != b"HEAD":
                        writer.write(b" ")
                        await writer.drain()
                        await asyncio.sleep(1)
                    continue
                data = held.get("referrers" if b"/referrers/" in path else last)
                status = b"200 OK" if data is not None else b"404 Not Found"
                kept = data or b"{}"
                writer.write(b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (
                    status, (INDEX if b"/referrers/" in path else MANIFEST).encode(), len(kept)))
                if method != b"HEAD":
                    writer.write(kept)
                await writer.drain()
        writer.close()

    async def main() -> None:
        for port, kind in zip(ports, kinds, strict=True):
            held = bombs(int(kind)) if kind.isdigit() else PAGE if kind == "page" else {}
            await asyncio.start_server(lambda r, w, kind=kind, held=held: answer(kind, held, r, w), "127.0.0.1", port)
        await asyncio.Event().wait()

    asyncio.run(main())


# The honest world


def custody(folder: Path, *arguments: str, **env: str) -> str:
    done = subprocess.run([CUSTODY, *arguments], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise SystemExit(f"custody {arguments[0]}: {done.stderr}")
    return done.stdout


@contextlib.contextmanager
def serving(folder: Path, port: int, *arguments: str) -> Iterator[int]:
    with (folder / "log").open("w") as log, subprocess.Popen(
            [CUSTODY, "serve", "--port", str(port), *arguments], cwd=folder, stdout=log, stderr=log) as process:
        for _ in range(200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).close()
                break
            time.sleep(0.1)
        try:
            yield process.pid
        finally:
            process.terminate()


def put(registry: str, path: str, data: bytes, method: str = "PUT") -> None:
    request = urllib.request.Request(f"http://{registry}/v2/{path}", data, {"Content-Type": MANIFEST}, method=method)
    urllib.request.urlopen(request, timeout=30).close()


def image(registry: str, name: str) -> str:
    put(registry, f"{name}/blobs/uploads/?digest={digest(b'{}')}", b"{}", "POST")
    data = manifest([], annotations={"name": name})
    put(registry, f"{name}/manifests/1", data)
    return f"{registry}/{name}@{digest(data)}"


def honest(folder: Path, registry: str) -> list[str]:
    names = []
    (folder / "clean.json").write_text('{"verdict": "clean"}')
    token = custody(folder, "trust", "token", "--url", f"http://{registry}", "--email", "ann@bench.example").strip()
    for number in range(4):
        names.append(image(registry, f"good{number}"))
        custody(folder, "sign", "-y", names[-1], SIGSTORE_ID_TOKEN=token)
        custody(folder, "attest", "-y", "--predicate", "clean.json", "--type", SCAN, names[-1], SIGSTORE_ID_TOKEN=token)
    return names


def signed_bombs(folder: Path, registry: str) -> list[str]:
    """Images whose attestations are rightly signed, by somebody whom no policy names, and are heavy to read."""
    names = []
    token = custody(folder, "trust", "token", "--url", f"http://{registry}", "--email", "mallory@bench.example").strip()
    texts = {"lists": lambda mb: "[" + "[]," * (mb * 350_000) + "[]]",
             "maps": lambda mb: "[" + "{}," * (mb * 350_000) + "{}]",
             "numbers": lambda mb: "[" + "1.5," * (mb * 260_000) + "1]",
             "packages": lambda mb: json.dumps([{"name": f"p{at}", "version": "1.0"} for at in range(mb * 28_000)])}
    for (kind, text), megabytes in itertools.product(texts.items(), (1, 4)):
        (folder / "bomb.json").write_text(f'{{"verdict": "clean", "x": {text(megabytes)}}}')
        names.append(image(registry, f"{kind}{megabytes}"))
        custody(folder, "attest", "-y", "--predicate", "bomb.json", "--type", SCAN, names[-1], SIGSTORE_ID_TOKEN=token)
    return names


# The load


def review(*images: str) -> bytes:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": {
        "containers": [{"name": f"c{at}", "image": name} for at, name in enumerate(images)]}}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "name": "p",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "default", "userInfo": {"username": "ann"}, "object": pod}}).encode()


def rss(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


class Load:
    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid
        self.latencies: list[float] = []
        self.hostile: list[float] = []
        self.wrong: list[str] = []
        self.failed = 0
        self.peak = rss(pid)

    async def ask(self, session: aiohttp.ClientSession, body: bytes, *, good: bool) -> None:
        begun = time.perf_counter()
        try:
            async with session.post(self.url, data=body, headers={"Content-Type": "application/json"}) as answer:
                found = json.loads(await answer.read())
                allowed = found.get("response", {}).get("allowed")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            allowed, found = None, {"error": repr(error)}
        taken = time.perf_counter() - begun
        (self.latencies if good else self.hostile).append(taken)
        if allowed is None:
            self.failed += 1
        if allowed is not good:
            self.wrong.append(f"{'honest' if good else 'hostile'}: {json.dumps(found)[:300]}")

    async def run(self, seconds: float, images: list[str], attacks: list[bytes], a_second: float) -> None:
        context = ssl._create_unverified_context()
        limit = aiohttp.ClientTimeout(total=11)

        def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0), timeout=limit)

        async with session() as honest, session() as hostile:
            tasks = [asyncio.create_task(self._memory(seconds))]
            end = time.monotonic() + seconds

            async def pace(rate: float, send: Any) -> None:
                due = time.monotonic()
                while rate and due < end:
                    await asyncio.sleep(max(due - time.monotonic(), 0))
                    tasks.append(asyncio.create_task(send()))
                    due += 1 / rate

            chosen = random.Random(1)
            await asyncio.gather(
                pace(HONEST_A_SECOND, lambda: self.ask(honest, review(chosen.choice(images)), good=True)),
                pace(a_second, lambda: self.ask(hostile, chosen.choice(attacks), good=False)))
            await asyncio.gather(*tasks)

    async def _memory(self, seconds: float) -> None:
        for _ in range(int(seconds * 20)):
            self.peak = max(self.peak, rss(self.pid))
            await asyncio.sleep(0.05)

    def at(self, share: float) -> float:
        taken = sorted(self.latencies)
        return taken[min(int(len(taken) * share), len(taken) - 1)] * 1000


def main() -> None:
    seconds = float((sys.argv[1:] or ["20"])[0])
    rate = float((sys.argv[2:] or ["20"])[0])
    kinds = ["drip", "drip", "silent", "2", "8", "20", "60", "page"]
    ports = [free() for _ in kinds]
    with tempfile.TemporaryDirectory() as name:
        services, webhook = Path(name, "services"), Path(name, "webhook")
        services.mkdir()
        webhook.mkdir()
        port, webhook_port = free(), free()
        registry = f"127.0.0.1:{port}"
        (webhook / "policy.yaml").write_text(POLICY.replace("BASE", f"http://{registry}"))
        (webhook / "custody.toml").write_text(f'trusted_root = "{services}/.custody/trust/trusted_root.json"\n')
        hostile = multiprocessing.Process(target=registries, args=(ports, kinds), daemon=True)
        hostile.start()
        with serving(services, port, "--roles", "registry,oidc,ca,log,tsa"):
            images, heavy = honest(services, registry), signed_bombs(services, registry)
            with serving(webhook, free(), "--roles", "admission", "--webhook-port", str(webhook_port), "--policy",
                         "policy.yaml") as pid:
                places = dict(zip(kinds, (f"127.0.0.1:{port}" for port in ports), strict=False))
                attacks = [review(*(f"{places['drip']}/x{at}:1" for at in range(64))),
                           review(*(f"{places['silent']}/x{at}:1" for at in range(64))),
                           *(review(*(f"{places[kind]}/x{at}@{digest(IMAGE)}" for at in range(4)))
                             for kind in kinds if kind.isdigit() or kind == "page"),
                           *(review(image) for image in heavy),
                           *(review(f"{registry}/good0@{digest(b'%d' % at)}") for at in range(4)),
                           *(review(images[0], odd) for odd in ("x.io:99999/a:1", "a..b.example/x", "[::::]/x:1",
                                                               "UPPER/case", "x" * 300, "\u2603", "127.0.0.1:1/x"))]
                url = f"https://127.0.0.1:{webhook_port}/validate?timeout=10s"
                alone, beside = Load(url, pid), Load(url, pid)
                asyncio.run(alone.run(seconds, images, attacks, 0))
                asyncio.run(beside.run(seconds, images, attacks, rate))
                for label, load in (("alone", alone), (f"beside {rate:g} hostile a second", beside)):
                    print(f"honest {label}: {len(load.latencies)} reviews, p50 {load.at(.5):.1f} "
                          f"p99 {load.at(.99):.1f} max {load.at(1):.1f} ms; rss peak {load.peak:.0f} MiB; "
                          f"unanswered {load.failed}; wrong {len(load.wrong)}", flush=True)
                print("\n".join(beside.wrong[:5]))
        hostile.terminate()


if __name__ == "__main__":
    main()
