"""The example that a reader types: a cluster on custody, from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apiserver import PEERS
from tests.conftest import ROOT, peer

pytestmark = pytest.mark.peer


def test_a_cluster_from_nothing_refuses_pins_and_tells(tmp_path: Path) -> None:
    for name in ("kube-apiserver", "etcd", "kubectl", "openssl", "curl"):
        peer(name)
    shim = tmp_path / "custody"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m custody.cli.main "$@"\n')
    shim.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    env |= {"PATH": f"{tmp_path}:{os.environ['PATH']}:{PEERS}", "TMPDIR": str(tmp_path)}
    done = subprocess.run([ROOT / "examples" / "cluster" / "run.sh"], env=env, capture_output=True, text=True,
                          timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would have denied 1 of 1 objects that are there: Pod default/old" in done.stdout
    assert "resource Pod/default/unsigned was blocked" in done.stdout
    assert "web:2.0@sha256:" in done.stdout
    assert not list(tmp_path.glob("tmp.*")), "nothing is left"
