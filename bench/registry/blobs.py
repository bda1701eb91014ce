"""Blob push and pull of 100 MiB: custody's registry and distribution, interleaved in one run.

usage: python bench/registry/blobs.py [ROUNDS]        needs the peer `registry` (distribution 3)

Both keep their files on the same disk; custody hashes and fsyncs every push. Medians; read the ratio, not the MB/s.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE = 100 * 1024 * 1024
PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
CUSTODY = """
import asyncio, sys, uvloop
from pathlib import Path
from custody.server.platform import running
from custody.settings import Settings
async def main():
    async with running(Settings(data_dir=sys.argv[1]), ["registry"], port=int(sys.argv[2])):
        await asyncio.Event().wait()
uvloop.run(main())
"""


def connect(port: int) -> http.client.HTTPConnection:
    for _ in range(200):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, blocksize=1 << 20)
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            return connection
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing answers on {port}")


def push(connection: http.client.HTTPConnection, data: bytes, digest: str) -> float:
    connection.request("POST", "/v2/bench/blobs/uploads/", headers={"Content-Length": "0"})
    answer = connection.getresponse()
    answer.read()
    where = answer.headers["location"].partition("/v2/")[2]
    began = time.perf_counter()
    mark = "&" if "?" in where else "?"
    connection.request("PUT", f"/v2/{where}{mark}digest={digest}", data,
                       {"Content-Type": "application/octet-stream"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201, answer.status
    return time.perf_counter() - began


def pull(connection: http.client.HTTPConnection, digest: str) -> float:
    buffer = memoryview(bytearray(1 << 20))
    began = time.perf_counter()
    connection.request("GET", f"/v2/bench/blobs/{digest}")
    answer = connection.getresponse()
    size = 0
    while count := answer.readinto(buffer):
        size += count
    assert size == SIZE, size
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    folder = Path(tempfile.mkdtemp(prefix="bench-registry-", dir=Path.cwd()))
    servers, found = [], {"custody": ([], []), "distribution": ([], [])}
    try:
        (folder / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder / 'distribution'}}}}}\n"
            "http: {addr: 127.0.0.1:5602}\n")
        servers.append(subprocess.Popen([sys.executable, "-c", CUSTODY, str(folder / "custody"), "5601"]))
        servers.append(subprocess.Popen([PEERS / "registry", "serve", str(folder / "config.yml")],
                                        stderr=subprocess.DEVNULL, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"}))
        connections = {"custody": connect(5601), "distribution": connect(5602)}
        for _ in range(rounds):
            data = os.urandom(SIZE)
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            for name, connection in connections.items():
                found[name][0].append(push(connection, data, digest))
            for _ in range(2):
                for name, connection in connections.items():
                    found[name][1].append(pull(connection, digest))
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        shutil.rmtree(folder)
    print("| | custody MB/s | distribution MB/s | custody / distribution |\n|---|---|---|---|")
    for at, what in enumerate(("push", "pull")):
        ours, theirs = (statistics.median(SIZE / 1e6 / seconds for seconds in found[name][at])
                        for name in ("custody", "distribution"))
        print(f"| {what} 100 MiB | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")


main()
