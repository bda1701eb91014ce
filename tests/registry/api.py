"""A client that says exactly what a test wants to have said, and a registry in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from custody.formats import oci


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Api:
    """One request, one connection."""

    def __init__(self, host: str, timeout: float = 60) -> None:
        self.host = host
        self._timeout = timeout

    def __call__(self, method: str, path: str, body: bytes | None = None,
                 **headers: str) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=self._timeout)) as connection:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def code(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        status, _, data = self(method, path, body, **headers)
        return status, json.loads(data)["errors"][0]["code"]

    def start(self, name: str) -> str:
        status, headers, _ = self("POST", f"/v2/{name}/blobs/uploads/")
        assert status == 202
        return headers["location"]

    def push(self, name: str, data: bytes) -> str:
        status, _, body = self("PUT", f"{self.start(name)}?digest={sha(data)}", data)
        assert status == 201, body
        return sha(data)

    def received(self, place: str) -> int:
        """Bytes of an upload of which there is at least one."""
        status, headers, _ = self("GET", place)
        assert status == 204
        return int(headers["range"].partition("-")[2]) + 1

    def image(self, name: str, reference: str, layer: bytes = b"layer", **more: object) -> tuple[str, bytes]:
        self.push(name, b"{}")
        layers = [{"mediaType": oci.LAYER_GZIP, "digest": self.push(name, layer), "size": len(layer)}]
        config = {"mediaType": oci.CONFIG, "digest": sha(b"{}"), "size": 2}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": config, "layers": layers,
                               **more}, ensure_ascii=False).encode()
        status, headers, body = self("PUT", f"/v2/{name}/manifests/{reference or sha(manifest)}", manifest,
                                     Content_Type=oci.MANIFEST)
        assert status == 201, body
        return headers["docker-content-digest"], manifest


class Process:
    """`custody serve --roles registry` on a data directory."""

    def __init__(self, folder: Path, prepare: Callable[[], None] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.registry = folder / ".custody" / "registry"
        self._log = (folder / "serve.log").open("ab")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CUSTODY_")}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "registry", "--port", "0"], cwd=folder,
            stdout=self._log, stderr=self._log, env=environment, preexec_fn=prepare)
        self._begin = (folder / "serve.log").stat().st_size
        self.api = Api(self._host())

    def _host(self) -> str:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if match := re.search(r"registry +(\S+)/NAME", self.said()):
                return match[1]
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the registry did not start: {self.said()}")

    def said(self) -> str:
        return (self.folder / "serve.log").read_bytes()[self._begin:].decode()

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.child.poll() is None:
            self.child.send_signal(number)
        self.child.wait(60)
        self._log.close()


@contextlib.contextmanager
def process(folder: Path, prepare: Callable[[], None] | None = None) -> Iterator[Process]:
    server = Process(folder, prepare)
    try:
        yield server
    finally:
        server.stop()


def custody(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in the folder of a registry."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CUSTODY_")}
    return subprocess.run([sys.executable, "-m", "custody.cli.main", *arguments], cwd=folder, capture_output=True,
                          text=True, timeout=120, check=False, env=environment)


class OpenRequest:
    """A request with a body in chunks, whose end does not come by itself."""

    def __init__(self, host: str, method: str, path: str) -> None:
        name, _, port = host.partition(":")
        self._socket = socket.create_connection((name, int(port)), timeout=60)
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"
                             "Content-Type: application/octet-stream\r\n\r\n".encode())

    def __enter__(self) -> OpenRequest:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # ended by the registry already
            self._socket.sendall(b"%x\r\n" % len(data) + data + b"\r\n")

    def end(self) -> None:
        self._socket.sendall(b"0\r\n\r\n")

    def status(self) -> int:
        """Of the answer, which may come before the end of the body."""
        with self._socket.makefile("rb") as stream:
            return int(stream.readline().split()[1])
