"""Which image and pod a container is of, by whoever knows: runtimes' files on disk, a list of crictl's, the cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click.testing
import pytest

from custody.adapters.filesystem.bundles import BUNDLES, DOCKER, Bundles
from custody.cli.runtime_sensors import command
from custody.errors import MalformedError, UsageError
from custody.runtime.containers import Container, Containers
from custody.settings import Settings
from custody.wiring import sensing
from custody.wiring.census import Census
from tests.cli.commands import custody
from tests.conftest import ROOT
from tests.runtime.attacks import box
from tests.runtime.test_rule_analysis import rule
from tests.runtime.test_sensors_command import Fixed

ONE, DIGEST = "a1" * 32, f"sha256:{'d' * 64}"
CRI = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "web",
       "io.kubernetes.cri.image-name": "registry.example/shop/web:1.4", "io.kubernetes.cri.sandbox-name": "web-1",
       "io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.sandbox-uid": "u-1"}
CRIO = {"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.ImageName": "registry.example/web:2",
        "io.kubernetes.cri-o.ImageRef": f"registry.example/web@{DIGEST}", "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.name": "web-2", "io.kubernetes.pod.uid": "u-2", "io.kubernetes.container.name": "web"}
MOUNTS = [{"type": "bind", "destination": "/data", "source": "/var/lib/x"}, {"type": "proc", "destination": "/proc"}]


def put(root: Path, place: str, document: Any, identifier: str = ONE) -> None:
    path = root / place.format(identifier)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def listed(path: Path, *containers: dict[str, Any]) -> str:
    path.write_text(json.dumps({"containers": list(containers)}))
    return str(path)


def entry(identifier: str = ONE, **more: Any) -> dict[str, Any]:
    return {"id": identifier, "state": "CONTAINER_RUNNING", "metadata": {"name": "web"},
            "image": {"image": "registry.example/shop/web:1.4"}, "imageRef": f"registry.example/shop/web@{DIGEST}",
            "labels": {"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.name": "web-1",
                       "io.kubernetes.pod.uid": "u-1"}, **more}


@pytest.mark.parametrize(("place", "document", "expected"), [
    (BUNDLES[0], {"annotations": CRI, "mounts": MOUNTS}, {
        "container.name": "web", "container.image": "registry.example/shop/web:1.4",
        "container.image.repository": "registry.example/shop/web", "container.image.tag": "1.4",
        "k8s.ns.name": "shop", "k8s.pod.name": "web-1", "k8s.pod.uid": "u-1"}),
    (BUNDLES[2], {"annotations": CRIO}, {
        "container.name": "web", "container.image": "registry.example/web:2", "container.image.digest": DIGEST,
        "container.image.repository": "registry.example/web", "container.image.tag": "2", "k8s.ns.name": "shop",
        "k8s.pod.name": "web-2", "k8s.pod.uid": "u-2"}),
    (DOCKER, {"ID": ONE, "Name": "/shop", "Image": "sha256:1", "Config": {"Image": "web:3", "Labels": {}},
              "MountPoints": {"/data": {}}}, {
        "container.name": "shop", "container.image": "web:3", "container.image.repository": "web",
        "container.image.tag": "3"})])
def test_what_runtimes_keep_on_disk(tmp_path: Path, place: str, document: Any, expected: dict[str, str]) -> None:
    put(tmp_path, place, document)
    census = Census(Settings(), bundles=Bundles(tmp_path))
    assert census.containers.fields(ONE) == expected
    container = census.containers.get(ONE[:12])
    assert container is not None
    assert container.volumes == (("/data",) if place != BUNDLES[2] else ())


def test_dockers_digest_is_that_by_which_the_image_was_pulled(tmp_path: Path) -> None:
    put(tmp_path, DOCKER, {"ID": ONE, "Image": "sha256:1", "Config": {"Image": "r.example/web:3"}})
    other = f"sha256:{'e' * 64}"
    put(tmp_path, "var/lib/docker/image/overlay2/repositories.json", {"Repositories": {
        "a.example/copy": {f"a.example/copy@{other}": "sha256:1"},
        "r.example/web": {"r.example/web:3": "sha256:1", f"r.example/web@{DIGEST}": "sha256:1",
                          f"r.example/web@{other}": "sha256:2"}}})
    running = Bundles(tmp_path).find(ONE)
    assert running is not None
    assert running.digest == DIGEST


@pytest.mark.parametrize("document", [
    {"annotations": {**CRI, "io.kubernetes.cri.container-type": "sandbox"}}, {"annotations": {}}, {}, "{", "[]",
    '{"annotations": {}, "annotations": {}}'])
def test_a_sandbox_and_what_cannot_be_read_are_no_container(tmp_path: Path, document: Any) -> None:
    put(tmp_path, BUNDLES[0], document)
    assert Bundles(tmp_path).find(ONE) is None


def test_dockers_file_of_another_container_is_not_believed(tmp_path: Path) -> None:
    put(tmp_path, DOCKER, {"ID": "b2" * 32, "Config": {"Image": "web"}})
    assert Bundles(tmp_path).find(ONE) is None


def test_whoever_is_not_known_is_not_asked_for_again_at_once() -> None:
    asked: list[str] = []
    now = [0.0]

    def find(identifier: str) -> Container | None:
        asked.append(identifier)
        return Container(identifier, "") if len(asked) == 2 else None

    containers = Containers(find=find, steady=lambda: now[0])
    assert [containers.fields(ONE) for _ in range(3)] == [None] * 3
    assert containers.get(ONE[:12]) is None, "no file is named after twelve digits"
    now[0] = 6.0
    assert containers.get(ONE) is not None
    assert len(asked) == 2


def test_identifiers_that_nobody_knows_take_no_more_memory_than_allowed() -> None:
    containers = Containers(10, find=lambda _: None)
    for number in range(100):
        containers.get(f"{number:064x}")
    assert len(containers._missed) == 10


def test_a_list_of_crictl_is_read_and_refused_by_its_field(tmp_path: Path) -> None:
    path = listed(tmp_path / "ps.json", entry(), entry("b2" * 32, state="CONTAINER_EXITED"))
    (container,) = Census(Settings(), [path]).read()
    assert (container.digest, container.pod, container.namespace) == (DIGEST, "web-1", "shop")
    listed(tmp_path / "ps.json", entry("nothing"))
    with pytest.raises(MalformedError, match=r"containers\[0\]\.id"):
        Census(Settings(), [path]).read()
    with pytest.raises(UsageError, match="No such file"):
        Census(Settings(), [str(tmp_path / "absent")]).read()


def test_coverage_says_whether_images_and_pods_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules.yaml").write_text(
        f"""[{rule("Ours", "evt.type = execve and container.image.repository = r.example/web", "x")}]""")
    monkeypatch.setattr(sensing, "SENSORS", {"one": lambda *_: Fixed("one", "execve")})
    monkeypatch.setattr(Bundles, "folders", lambda _: [])
    arguments = ["--rules", str(tmp_path / "rules.yaml")]
    without = click.testing.CliRunner().invoke(command, arguments, obj=Settings())
    assert "not seen: Ours: one never tells container.image.repository" in without.output
    assert "nobody here tells their images and pods" in without.output
    path = listed(tmp_path / "ps.json", entry())
    known = click.testing.CliRunner().invoke(command, [*arguments, "--containers", path], obj=Settings())
    assert "1 of 1 rule about system calls can be seen" in known.output
    assert f"images and pods are told by {path}" in known.output


def test_rules_about_images_and_pods_are_true_of_a_sensors_events(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("root and unshare are needed to make what a container is")
    from custody.adapters.sensors.tracing import Tracing
    from tests.runtime.sensing import works

    works(Tracing())
    identifier = "c0c0" * 16
    (tmp_path / "rules.yaml").write_text(f"""[{rule(
        "Ours", "evt.type = execve and proc.name = sleep and k8s.ns.name = shop and k8s.pod.name = web-1 and "
        "container.image.repository endswith shop/web", "x %container.image.tag %container.image.digest")}]""")
    path = listed(tmp_path / "ps.json", entry(identifier))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    watch = subprocess.Popen(
        [sys.executable, "-m", "custody.cli.main", "runtime", "watch", "--rules", "rules.yaml", "--sensor", "ebpf",
         "--containers", path, "--output", "alerts.jsonl"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    alerts = tmp_path / "alerts.jsonl"
    try:
        end = time.monotonic() + 40
        while time.monotonic() < end and not (alerts.exists() and alerts.stat().st_size):
            assert watch.poll() is None, watch.stderr and watch.stderr.read()
            done = subprocess.run([sys.executable, "-m", "tests.runtime.attacks.box", identifier, "/bin/sleep", "0.3"],
                                  cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            if done.returncode and "ermission" in done.stderr:
                pytest.skip(done.stderr.strip())
    finally:
        watch.send_signal(signal.SIGTERM)
        watch.communicate(timeout=30)
        box.remove(identifier)
    told = json.loads(alerts.read_text().splitlines()[0])["output_fields"]
    assert (told["container.image.tag"], told["container.image.digest"]) == ("1.4", DIGEST)


def test_a_list_that_nobody_would_look_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(f"""[{rule("Shell", "evt.type = execve", "x")}]""")
    (tmp_path / "events").write_text("")
    done = custody("runtime", "watch", "--once", "--rules", "rules.yaml", "--input", "fields:events", "--containers",
                   listed(tmp_path / "ps.json", entry()), cwd=tmp_path)
    assert done.returncode == 2
    assert "is for what sensors see and for drift" in done.stderr
