"""A webhook that is changed while a real API server asks it 50 times a second, with Fail: no request is lost, and none
is judged otherwise than by the policies of its time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.admission.load import Answer, ApiServer, load
from tests.apiserver import free_port
from tests.conftest import peer
from tests.server.test_certificates import Authority, put

pytestmark = pytest.mark.peer


def policy(name: str, label: str, message: str = "no") -> str:
    """Denies the pods that are labelled so."""
    return yaml.safe_dump({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": "Enforce", "failurePolicy": "Fail", "rules": [{
            "name": "label", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": message, "pattern": {"metadata": {"labels": {"which": f"!{label}"}}}}}]}})


class Service:
    """`custody serve --roles admission` as a process; its lines are kept."""

    def __init__(self, folder: Path, *arguments: str, webhook_port: int | None = None) -> None:
        self.lines: list[str] = []
        self.port = webhook_port or free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "admission", "--webhook-port",
             str(self.port), *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.until(lambda: any("ctrl-c" in line for line in self.lines), "it starts")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(600):
            if condition():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"not within 30 s: {what}\n" + "".join(self.lines[-20:]))

    def said(self, words: str) -> int:
        return sum(words in line for line in self.lines)

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextlib.contextmanager
def configured(kubeconfig: Path, folder: Path, url: str, ca_bundle: Path, policies: Path) -> Iterator[None]:
    done = subprocess.run([sys.executable, "-m", "custody.cli.main", "admission", "config", "--url", url, "--ca-bundle",
                           str(ca_bundle), "--policy", str(policies)], cwd=folder, capture_output=True, check=True)
    kubectl(kubeconfig, "apply", "-f", "-", given=done.stdout)
    try:
        yield
    finally:
        kubectl(kubeconfig, "delete", "validatingwebhookconfiguration", "custody")


def kubectl(kubeconfig: Path, *arguments: str, given: bytes | None = None) -> bytes:
    return subprocess.run([peer("kubectl"), "--kubeconfig", str(kubeconfig), *arguments], input=given, check=True,
                          stdout=subprocess.PIPE, timeout=60).stdout


def wait_for(answers: list[Answer], condition: Callable[[Answer], bool]) -> Answer:
    """The first answer to a request that was sent from now on and for which this holds."""
    begun = time.monotonic()
    while time.monotonic() < begun + 60:
        for answer in list(answers):
            if answer.began >= begun and condition(answer):
                return answer
        time.sleep(0.02)
    raise AssertionError(f"no such answer: {Counter((a.labels, a.status) for a in answers)}")


def denied(answer: Answer, label: str) -> bool:
    return answer.labels == label and answer.status != 201


def test_a_policy_added_changed_and_broken_under_load_loses_nothing(kubeconfig: Path, tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "always.yaml").write_text(policy("always", "bad"))
    service = Service(tmp_path, "--policy", str(policies))
    later = policies / "later.yaml"
    try:
        with (configured(kubeconfig, tmp_path, f"https://127.0.0.1:{service.port}",
                         tmp_path / ".custody" / "admission" / "ca.crt", policies),
              load(ApiServer(kubeconfig), ["good", "bad", "later"]) as answers):
            enforced = wait_for(answers, lambda answer: denied(answer, "bad")).ended
            # 1. Added: from the first denial on, always denied.
            later.write_text(policy("later", "later", "added"))
            added = wait_for(answers, lambda answer: denied(answer, "later")).ended
            # 2. Changed.
            later.write_text(policy("later", "later", "changed"))
            changed = wait_for(answers, lambda answer: "changed" in answer.message).ended
            # 3. Broken: what was loaded still judges, and it is said.
            later.write_text("apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: [")
            service.until(lambda: service.said("cannot be read again") > 0, "the broken file is told of")
            for _ in range(20):
                wait_for(answers, lambda answer: denied(answer, "later"))
            # 4. Mended by taking it away.
            mended = time.monotonic()
            later.unlink()
            wait_for(answers, lambda answer: answer.labels == "later" and answer.status == 201)
    finally:
        assert service.stop() == 0
    assert Counter(answer.status for answer in answers if answer.status not in (201, 403, 400)) == {}
    assert len(answers) > 200
    for answer in answers:
        if answer.labels == "good":
            assert answer.status == 201, answer
        elif answer.labels == "bad" and answer.began > enforced:
            assert "always" in answer.message, answer
        elif answer.labels == "later" and added < answer.began and answer.ended < mended:
            assert "later" in answer.message, answer
            if answer.began > changed:
                assert "changed" in answer.message, answer


class Balancer:
    """One address for several replicas, as a Service is: connections go to those that say they are ready, in turn."""

    def __init__(self, ports: list[tuple[int, int]]) -> None:
        self._ports = ports  # of the webhook, and where /readyz is asked
        self._ready = [port for port, _ in ports]
        self._turn = 0
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True), threading.Thread(target=self._probe)]
        for thread in self._threads:
            thread.start()

    def _probe(self) -> None:
        while not self._stop.wait(0.2):
            self._ready = [port for port, probe in self._ports if self._asked(probe)] or self._ready

    @staticmethod
    def _asked(port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            ready = self._ready
            self._turn += 1
            try:
                server = socket.create_connection(("127.0.0.1", ready[self._turn % len(ready)]), timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            return
        finally:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
            source.close()

    def close(self) -> None:
        self._stop.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()


def test_two_replicas_rotate_their_certificate_and_restart_without_a_lost_request(kubeconfig: Path,
                                                                               tmp_path: Path) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text(policy("always", "bad"))
    authority = Authority("webhooks")
    (tmp_path / "ca.crt").write_bytes(authority.pem)

    def rotate() -> None:
        certificate, key = authority.leaf()
        put(tmp_path / "tls.key", key)
        put(tmp_path / "tls.crt", certificate)

    rotate()
    settings = f'webhook_certificate = "{tmp_path}/tls.crt"\nwebhook_key = "{tmp_path}/tls.key"\ndrain = 2\n'
    folders = [tmp_path / "one", tmp_path / "two"]
    probes = [free_port(), free_port()]
    for folder in folders:
        folder.mkdir()
        (folder / "custody.toml").write_text(settings)

    def start(number: int, port: int | None = None) -> Service:
        return Service(folders[number], "--policy", str(policies), "--port", str(probes[number]), webhook_port=port)

    replicas = [start(0), start(1)]
    balancer = Balancer([(replica.port, probe) for replica, probe in zip(replicas, probes, strict=True)])
    try:
        with (configured(kubeconfig, tmp_path, f"https://127.0.0.1:{balancer.port}", tmp_path / "ca.crt", policies),
              load(ApiServer(kubeconfig), ["good", "bad"]) as answers):
            enforced = wait_for(answers, lambda answer: denied(answer, "bad")).ended
            # 1. The certificate, live.
            rotate()
            for replica in replicas:
                replica.until(lambda replica=replica: replica.said("the certificate of") > 0, "it is read again")
            # 2. Each replica once, the other judging meanwhile.
            for number in (0, 1):
                port = replicas[number].port
                assert replicas[number].stop() == 0
                replicas[number] = start(number, port)
                time.sleep(1)
    finally:
        balancer.close()
        for replica in replicas:
            replica.stop()
    lost = [answer for answer in answers if answer.status not in (201, 400, 403)]
    assert lost == []
    assert [answer for answer in answers if answer.labels == "good" and answer.status != 201] == []
    assert [answer for answer in answers if answer.labels == "bad" and answer.began > enforced
            and "always" not in answer.message] == []
    assert len(answers) > 200
