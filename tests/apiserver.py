"""A real API server where its programs are installed: for tests, and for guides that are typed without pytest."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
TOOLS = Path(os.environ.get("CUSTODY_PEERS_TOOLS", Path(__file__).parents[2] / "shared" / "peers"))


class AbsentError(Exception):
    """What is not installed here, by name."""


def program(name: str) -> str:
    """The path of a real peer program. Raises AbsentError."""
    built = PEERS / name
    if built.is_file() and os.access(built, os.X_OK):
        return str(built)
    installed = shutil.which(name)
    if installed is None:
        raise AbsentError(f"peer {name} is not installed")
    return installed


def free_port() -> int:
    """One that nobody has, and that nobody is given who asks for any: below what Linux gives out by itself."""
    while True:
        port = random.randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as server:
            server.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running(folder: Path, *flags: str, etcd_port: int | None = None) -> Iterator[Path]:
    """Its kubeconfig, while it runs with these flags. Raises AbsentError where a part is not installed."""
    for name in ("kube-apiserver", "etcd", "kubectl", "openssl"):
        program(name)
    script = TOOLS / "apiserver"
    if not script.is_file():
        raise AbsentError("the script that boots an API server is not here")
    # Image volumes are on by default from Kubernetes 1.35 on only.
    switched_on = folder / "bin" / "kube-apiserver"
    switched_on.parent.mkdir()
    switched_on.write_text(f'#!/bin/sh\nexec {program("kube-apiserver")} "$@" --feature-gates=ImageVolume=true '
                           f"{' '.join(flags)}\n")
    switched_on.chmod(0o755)
    env = {**os.environ, "PATH": f"{switched_on.parent}:{os.environ['PATH']}:{PEERS}",
           "APISERVER_PORT": str(free_port()),
           "ETCD_PORT": str(etcd_port or free_port())}
    with (folder / "start.log").open("wb") as log:
        try:
            subprocess.run([script, "start", folder], env=env, stdout=log, stderr=log, timeout=120, check=True)
            yield folder / "kubeconfig"
        finally:
            subprocess.run([script, "stop", folder], env=env, stdout=log, stderr=log, timeout=60, check=False)
