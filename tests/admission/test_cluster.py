"""A webhook that is changed while a real API server asks it 50 times a second, with Fail: no request is lost, and none
is judged otherwise than by the policies of its time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.admission.conftest import free_port
from tests.admission.load import Answer, ApiServer, load
from tests.conftest import peer

pytestmark = pytest.mark.peer


def policy(name: str, label: str, message: str = "no") -> str:
    """Denies the pods that are labelled so."""
    return yaml.safe_dump({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": "Enforce", "failurePolicy": "Fail", "rules": [{
            "name": "label", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": message, "pattern": {"metadata": {"labels": {"which": f"!{label}"}}}}}]}})


class Service:
    """`custody serve --roles admission` as a process; its lines are kept."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.lines: list[str] = []
        self.port = free_port()
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
