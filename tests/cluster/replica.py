"""`custody admission run` as a process beside an API server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.apiserver import free_port
from tests.conftest import peer


class Cluster:
    """kubectl with a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def __call__(self, *arguments: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        """Whatever comes of it; `given` is one document or several, for `-f -`."""
        text = None if given is None else yaml.safe_dump_all(given if isinstance(given, list) else [given])
        return subprocess.run([peer("kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments], input=text,
                              capture_output=True, text=True, timeout=60, check=False)

    def do(self, *arguments: str, given: Any = None) -> str:
        done = self(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """None where there is none."""
        done = self("get", *arguments, "-o", "json", "--ignore-not-found")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def pod(self, name: str, label: str, namespace: str = "default") -> subprocess.CompletedProcess[str]:
        return self("apply", "--server-side", "-f", "-", given={
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace,
                                                            "labels": {"which": label}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]}})

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
        """What it gives once that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds:g} s: {what}")


class Replica:
    """Its lines are kept."""

    def __init__(self, folder: Path, cluster: Cluster, *arguments: str, called: int | None = None) -> None:
        """`called`: the port that the API server is told, where a balancer stands before several replicas."""
        self.cluster = cluster
        self.port, self.plain = free_port(), free_port()
        self.lines: list[str] = []
        folder.mkdir(exist_ok=True)
        url = f"https://127.0.0.1:{called or self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "custody.cli.main", "admission", "run", "--kubeconfig", str(cluster.kubeconfig),
             "--host", "127.0.0.1", "--url", url, "--webhook-port", str(self.port), "--port", str(self.plain),
             *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    @property
    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.plain}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def started(self, seconds: float = 20) -> Replica:
        try:
            self.cluster.until(lambda: self.ready or self.process.poll() is not None, "it is ready", seconds)
            assert self.process.poll() is None
        except AssertionError:
            self.stop()
            raise AssertionError("".join(self.lines)) from None
        return self

    def stop(self) -> int:
        self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        """Does nothing where it ended before."""
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        code = self.process.wait(timeout=60)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def policy(name: str, label: str, *, field: str = "pattern", action: str = "Enforce") -> dict[str, Any]:
    """Denies the pods that are labelled so."""
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": action, "background": True, "rules": [{
            "name": "label", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": "no", field: {"metadata": {"labels": {"which": f"!{label}"}}}}}]}}
