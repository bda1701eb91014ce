"""The registry as a service: small and large blobs, many clients, large manifests, long lists; beside distribution.

usage: python bench/registry/service.py [ROUNDS]      needs the peer `registry` (distribution 3) for the ratios

Both servers run all the time, each with its files in a folder beside this one's working directory, and are asked in
turns. Clients are processes of their own. Both fsync what they acknowledge: custody a
batch of pushes together with the folder and the index, distribution each of a push's files (ten a blob).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
MIB = 1 << 20
TYPE = "application/vnd.oci.image.manifest.v1+json"
PORTS = {"custody": 5611, "distribution": 5612}


class Client:
    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, blocksize=MIB)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
        self.connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, answer.headers.get("location", ""), answer.read()

    def push(self, name: str, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        _, where, _ = self.ask("POST", f"/v2/{name}/blobs/uploads/", Content_Length="0")
        where = "/v2/" + where.partition("/v2/")[2]
        status, _, answer = self.ask("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data,
                                     Content_Type="application/octet-stream")
        assert status == 201, (status, answer)
        return digest

    def pull(self, name: str, digest: str, buffer: memoryview) -> int:
        self.connection.request("GET", f"/v2/{name}/blobs/{digest}")
        answer = self.connection.getresponse()
        size = 0
        while count := answer.readinto(buffer):
            size += count
        return size


def _small(port: int, number: int, count: int, start: object) -> None:
    client, blobs = Client(port), [os.urandom(4096) for _ in range(count)]
    client.ask("GET", "/v2/")
    start.wait()  # type: ignore[attr-defined]
    for data in blobs:
        client.push(f"small/{number}", data)


def _large(port: int, number: int, count: int, start: object) -> None:
    client, blobs = Client(port), [os.urandom(100 * MIB) for _ in range(count)]
    client.ask("GET", "/v2/")
    start.wait()  # type: ignore[attr-defined]
    for data in blobs:
        client.push(f"large/{number}", data)


def together(work: Callable[..., None], port: int, clients: int, count: int) -> float:
    """Seconds that `clients` processes took, from when all were ready."""
    start = multiprocessing.Barrier(clients + 1)
    running = [multiprocessing.Process(target=work, args=(port, number, count, start)) for number in range(clients)]
    for process in running:
        process.start()
    start.wait()
    began = time.perf_counter()
    for process in running:
        process.join()
        assert process.exitcode == 0
    return time.perf_counter() - began


def pulled(port: int, rounds: int) -> float:
    """MB/s of the median pull of 100 MiB by one client that knows the connection."""
    client, buffer = Client(port), memoryview(bytearray(MIB))
    digest = client.push("pulled", os.urandom(100 * MIB))
    client.pull("pulled", digest, buffer)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        assert client.pull("pulled", digest, buffer) == 100 * MIB
        times.append(time.perf_counter() - began)
    return 100 * MIB / 1e6 / statistics.median(times)


def manifests(port: int, layers: int = 10_000, rounds: int = 9) -> tuple[float, float, float]:
    """Milliseconds of the first PUT, of the median later one (under other tags) and of the median GET."""
    client = Client(port)
    config = client.push("wide", b"{}")
    parts = []
    for number in range(layers):
        data = b"%d" % number
        parts.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": client.push("wide", data),
                      "size": len(data)})
    times: list[float] = []
    for number in range(rounds):
        body = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "annotations": {"n": str(number)}, "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": parts}).encode()
        began = time.perf_counter()
        status, _, answer = client.ask("PUT", f"/v2/wide/manifests/t{number}", body, Content_Type=TYPE)
        times.append(time.perf_counter() - began)
        assert status == 201, answer
    gets = []
    for _ in range(rounds):
        began = time.perf_counter()
        status, _, answer = client.ask("GET", "/v2/wide/manifests/t0", Accept=TYPE)
        gets.append(time.perf_counter() - began)
        assert status == 200, answer
    return times[0] * 1e3, statistics.median(times[1:]) * 1e3, statistics.median(gets) * 1e3


def catalog(folder: Path, count: int = 100_000) -> float:
    """Milliseconds of the median page of `_catalog`, where there are `count` manifests in a thousand repositories."""
    from datetime import UTC, datetime

    from custody.adapters.sqlite.repositories import SqliteRepositories
    from custody.formats.oci import Descriptor

    (folder / "registry").mkdir(parents=True)
    repositories = SqliteRepositories(folder / "registry" / "index.db")
    with repositories.transaction() as transaction:
        for number in range(count):
            transaction.put_manifest(f"team{number % 1000:04}/app", Descriptor(
                TYPE, f"sha256:{hashlib.sha256(b'%d' % number).hexdigest()}", 100), None, [f"t{number}"],
                datetime.now(UTC))
    repositories.close()
    server = custody(folder, 5613)
    try:
        client, times = connect(5613), []
        for _ in range(50):
            began = time.perf_counter()
            status, _, answer = client.ask("GET", "/v2/_catalog?n=100&last=team0400/app")
            times.append(time.perf_counter() - began)
            assert (status, len(json.loads(answer)["repositories"])) == (200, 100)
        return statistics.median(times) * 1e3
    finally:
        server.terminate()
        server.wait()


def custody(folder: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([Path(sys.executable).with_name("custody"), "serve", "--roles", "registry", "--port",
                             str(port)], env={**os.environ, "CUSTODY_DATA_DIR": str(folder)},
                            stderr=subprocess.DEVNULL)


def distribution(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n")
    return subprocess.Popen([PEERS / "registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})


def connect(port: int) -> Client:
    for _ in range(200):
        try:
            client = Client(port)
            client.ask("GET", "/v2/")
            return client
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing answers on {port}")


def row(text: str, values: dict[str, list[float]], unit: str, *, less: bool = False) -> None:
    medians = {name: statistics.median(found) for name, found in values.items()}
    ours, theirs = medians["custody"], medians.get("distribution")
    ratio = "" if theirs is None else f"{theirs / ours if less else ours / theirs:.2f}"
    shown = "" if theirs is None else f"{theirs:,.1f}"
    print(f"| {text} | {ours:,.1f} {unit} | {shown} {unit if shown else ''} | {ratio} |", flush=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    only = sys.argv[2:]
    folder = Path(tempfile.mkdtemp(prefix="bench-registry-", dir=Path.cwd()))
    servers = [custody(folder / "custody", PORTS["custody"])]
    names = ["custody"]
    if (PEERS / "registry").is_file():
        servers.append(distribution(folder / "distribution", PORTS["distribution"]))
        names.append("distribution")
    try:
        for name in names:
            connect(PORTS[name])
        print("| | custody | distribution | custody better by |\n|---|---|---|---|")
        cases: list[tuple[str, str, Callable[[int], float]]] = [
            ("small", "push of 4 KiB, 16 clients | blobs/s", lambda port: 1600 / together(_small, port, 16, 100)),
            ("large", "push of 100 MiB, 3 clients | MB/s",
             lambda port: 3 * 100 * MIB / 1e6 / together(_large, port, 3, 1)),
            ("pull", "pull of 100 MiB | MB/s", lambda port: pulled(port, 5))]
        for key, title, measure in cases:
            if only and key not in only:
                continue
            text, _, unit = title.partition(" | ")
            values: dict[str, list[float]] = {name: [] for name in names}
            for number in range(rounds):
                for name in names if number % 2 == 0 else reversed(names):
                    values[name].append(measure(PORTS[name]))
            row(text, values, unit)
        if not only or "wide" in only:
            wide = {name: manifests(PORTS[name]) for name in names}
            for at, text in enumerate(("first PUT", "PUT", "GET")):
                row(f"{text} of a manifest of 10,000 layers", {name: [wide[name][at]] for name in names}, "ms",
                    less=True)
        if not only or "catalog" in only:
            row("`_catalog` page at 100,000 manifests", {"custody": [catalog(folder / "catalog")]}, "ms", less=True)
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
