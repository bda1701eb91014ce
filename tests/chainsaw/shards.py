"""All tests of a folder, on several clusters at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.apiserver import free_port
from tests.chainsaw.account import account
from tests.chainsaw.api import Api, RefusedError
from tests.chainsaw.cluster import clean, cluster, path_of_programs
from tests.chainsaw.document import Test, UnsupportedStepError, read
from tests.chainsaw.runner import run

ELSEWHERE = {"image.GetMetadata(": "it asks a public registry", "imageRegistry:": "it asks a public registry",
             "curlimages/": "its pods have to run", "pip install flask": "its pods have to run and to answer",
             "kind-control-plane": "it is about a node of kind",
             "- projected: {}": "it looks for the volume of the ServiceAccount admission plugin, which is off here"}
"""What a test's files say where it needs what is not here."""
_VERIFIED = re.compile(r"^\s*(?:- )?image: *[\"']?ghcr\.io/", re.MULTILINE)
"""An image of a public registry in what is applied, which a policy that verifies images asks for."""
_SCRIPT = re.compile(r"(?:content|entrypoint): *\|?-?\s*(?:bash |sh )?\./([\w.-]+\.sh)\b")


def needs_more(folder: Path) -> str | None:
    """Why a test cannot be run here at all; None for those that count."""
    texts = "".join(file.read_text(errors="replace") for file in folder.rglob("*.yaml"))
    script = next((name for name in _SCRIPT.findall(texts) if not (folder / name).is_file()), "")
    if script:
        return f"its script {script} is not among the files"
    if ("verifyImages:" in texts or "ImageValidatingPolicy" in texts) and _VERIFIED.search(texts):
        return "it asks a public registry"
    return next((reason for sign, reason in ELSEWHERE.items() if sign in texts), None)


class Part(NamedTuple):
    """One of several parts of all tests, as even as hashes of their names are: the same ones each time."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """`1/3`. Raises ValueError."""
        number, of = map(int, text.split("/"))
        if not 1 <= number <= of:
            raise ValueError(text)
        return cls(number, of)

    def has(self, name: str) -> bool:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % self.of == self.number - 1


WHOLE = Part(1, 1)


def listed(folder: Path, wanted: str, part: Part = WHOLE) -> list[tuple[str, Path]]:
    """Names and files of the tests below a folder that have `wanted` in their name."""
    files = [(str(file.parent.relative_to(folder)), file) for file in sorted(folder.rglob("chainsaw-test.yaml"))]
    return [(name.removeprefix("test/conformance/chainsaw/"), file) for name, file in files
            if any(text in name for text in wanted.split(",")) and part.has(name)]


@contextlib.contextmanager
def custody(kubeconfig: Path, folder: Path, api: Api) -> Iterator[None]:
    """Its admission, as a process beside the cluster."""
    folder.mkdir()
    log = Path(os.environ.get("CHAINSAW_LOG") or folder / "custody.log")
    with log.open("ab") as lines:
        probe, reached = free_port(), _reached(api)
        process = subprocess.Popen(
            [sys.executable, "-m", "custody.cli.main", "admission", "run", "--kubeconfig",
             str(account(kubeconfig, folder, api)), *reached,
             "--namespace", "kyverno", "--name", "custody", "--exclude", "kube-system", "--exclude", "kyverno",
             "--log-level", "info", "--port", str(probe)],
            cwd=folder, stdout=lines, stderr=subprocess.STDOUT, env={**os.environ, "CUSTODY_EXCEPTIONS": "*"})
        try:
            _until_ready(process, f"{reached[reached.index('--host') + 1]}:{probe}")
            yield
        finally:
            process.terminate()
            process.wait()


def _reached(api: Api) -> list[str]:
    """By the Service that Kyverno has, whose port is 443: of an address of this machine that nobody else listens on.

    By a URL where this user may not listen on that port: tests of how Kyverno's webhooks are reached fail then.
    """
    address = f"127.{secrets.randbelow(250) + 2}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 2}"
    try:
        with socket.create_server((address, 443)):
            pass
    except OSError:
        port = free_port()
        return ["--url", f"https://127.0.0.1:{port}", "--host", "127.0.0.1", "--webhook-port", str(port)]
    api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kyverno-svc", "namespace": "kyverno"},
                "spec": {"type": "ExternalName", "externalName": address, "ports": [{"port": 443, "name": "https"}]}})
    return ["--service", "kyverno/kyverno-svc", "--host", address, "--webhook-port", "443"]


def _until_ready(process: subprocess.Popen[bytes], host: str) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://{host}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("custody admission run is not ready: see CHAINSAW_LOG")


def results(folder: Path, wanted: str = "", shards: int = 2, part: Part = WHOLE, *,
            again: bool = False) -> Iterator[tuple[str, str | None]]:
    """Each test that can be run here with why it failed, as they end; those that cannot are left out.

    `again`: one that fails is run once more, since a busy machine answers late.
    """
    waiting: queue.Queue[tuple[str, Path]] = queue.Queue()
    count = 0
    for name, file in listed(folder, wanted, part):
        if needs_more(file.parent) is None:
            waiting.put((name, file))
            count += 1
    done: queue.Queue[tuple[str, str | None] | BaseException] = queue.Queue()
    threads = [threading.Thread(target=_shard, args=(waiting, done, again), daemon=True) for _ in range(shards)]
    for thread in threads:
        thread.start()
    for _ in range(count):
        result = done.get()
        if isinstance(result, BaseException):
            raise result
        yield result
    for thread in threads:
        thread.join()


def _shard(waiting: queue.Queue[tuple[str, Path]], done: queue.Queue[tuple[str, str | None] | BaseException],
           again: bool) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="cluster-") as parent:
            folder = Path(parent) / "cluster"
            folder.mkdir()
            with cluster(folder) as (kubeconfig, api), custody(kubeconfig, Path(parent) / "custody", api):
                before = {definition["metadata"]["name"] for definition in api.candidates(
                    {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"})}
                while True:
                    try:
                        name, file = waiting.get_nowait()
                    except queue.Empty:
                        return
                    reason = _reason(file, api, kubeconfig)
                    clean(api, before)
                    if reason is not None and again:
                        reason = _reason(file, api, kubeconfig)
                        clean(api, before)
                    done.put((name, reason))
    except BaseException as error:
        done.put(error)


def _reason(file: Path, api: Api, kubeconfig: Path) -> str | None:
    """Why a file's tests fail; None where they do not."""
    try:
        loaded: list[Test] = read(file)
        return next((why for test in loaded if (why := run(test, api, kubeconfig, path_of_programs()))), None)
    except (UnsupportedStepError, RefusedError) as error:
        return str(error)
