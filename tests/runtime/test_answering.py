"""The watch with suppressions, responses and rules of a registry: as flags and settings say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custody.formats import yaml
from tests.cli.commands import custody
from tests.runtime.test_responding_peer import _kubectl, kubeconfig  # noqa: F401 - a fixture
from tests.runtime.test_rule_analysis import rule
from tests.serving import registry_on

_RULE = rule("Shell", "evt.type = execve and proc.name = bash", "%proc.name %user.name %k8s.ns.name %k8s.pod.name")


def _events(folder: Path, *users: str, **fields: Any) -> None:
    (folder / "events.jsonl").write_text("".join(json.dumps({
        "evt.type": "execve", "proc.name": "bash", "user.name": user, **fields}) + "\n" for user in users))


def _watch(folder: Path, *arguments: str, code: int = 0) -> tuple[list[dict[str, Any]], str]:
    done = custody("--config", "custody.toml", "runtime", "watch", "--once", "--input", "fields:events.jsonl",
                   *arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    (work / "custody.toml").write_text('data_dir = "data"\n')
    (work / "rules.yaml").write_text(f"[{_RULE}]")
    return work


def _suppressions(folder: Path, **changes: Any) -> None:
    entry = {"name": "ours", "rules": ["Shell"], "match": "user.name = root", "reason": "r", "owner": "o",
             "until": "never", **changes}
    (folder / "s.yaml").write_text(yaml.dumped({"suppressions": [entry]}))


def test_suppressed_alerts_are_counted(folder: Path) -> None:
    _events(folder, "root", "ann", "root")
    _suppressions(folder)
    alerts, said = _watch(folder, "--rules", "rules.yaml", "--suppressions", "s.yaml")
    assert [alert["output_fields"]["user.name"] for alert in alerts] == ["ann"]
    assert "suppression ours: 2 alerts suppressed" in said


def test_suppressed_alerts_are_told_where_that_is_asked_for(folder: Path) -> None:
    _events(folder, "root", "ann")
    _suppressions(folder)
    alerts, _ = _watch(folder, "--rules", "rules.yaml", "--suppressions", "s.yaml", "--show-suppressed")
    assert len(alerts) == 2
    assert "ours" in json.dumps(alerts[0])


def test_one_that_is_over_is_said(folder: Path) -> None:
    _events(folder, "root")
    _suppressions(folder, until="2020-01-01")
    alerts, said = _watch(folder, "--rules", "rules.yaml", "--suppressions", "s.yaml")
    assert len(alerts) == 1
    assert "warning: suppression ours is over since 2020-01-02 00:00:00+00:00" in said
    assert "1 told as it is over" in said


def test_files_that_are_refused_stop_it(folder: Path) -> None:
    _events(folder, "root")
    _suppressions(folder, match="proc.nam = x")
    arguments = ("--rules", "rules.yaml", "--suppressions", "s.yaml")
    assert "nonexistent field proc.nam" in _watch(folder, *arguments, code=2)[1]
    (folder / "r.yaml").write_text("[{rule: r, match: {rules: [Shell]}, actions: [{action: a, actionner: "
                                   "aws:lambda}]}]")
    assert "aws:lambda is not done by custody" in _watch(folder, "--rules", "rules.yaml", "--responses", "r.yaml",
                                                         code=2)[1]
    assert "got no responses" in _watch(folder, "--rules", "rules.yaml", "--respond", code=2)[1]


def test_rules_of_a_registry(folder: Path, tmp_path: Path) -> None:
    _events(folder, "ann")
    (tmp_path / "store").mkdir()
    with registry_on(tmp_path / "store") as (host, _):
        def run(*arguments: str) -> str:
            done = custody(*arguments, cwd=folder, COSIGN_PASSWORD="x")
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        pinned = run("runtime", "rules", "push", f"{host}/rules:1", "rules.yaml")
        run("generate-key-pair")
        rules = ("--rules", f"oci://{host}/rules:1")
        assert "got no key to trust" in _watch(folder, *rules, code=2)[1]
        assert "no signature found" in _watch(folder, *rules, "--rule-key", "cosign.pub", code=4)[1]
        run("sign", "--key", "cosign.key", "--tlog-upload=false", "-y", pinned)
        alerts, _ = _watch(folder, *rules, "--rule-key", "cosign.pub")
        assert [alert["rule"] for alert in alerts] == ["Shell"]


@pytest.mark.parametrize("respond", [False, True])
def test_responses(folder: Path, kubeconfig: Path, respond: bool) -> None:  # noqa: F811 - the fixture
    name = f"watched-{str(respond).lower()}"
    _kubectl(kubeconfig, "create", "-f", "-", given=json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": "nginx"}], "automountServiceAccountToken": False}}))
    uid = _kubectl(kubeconfig, "get", "pod", name, "-n", "shop", "-o", "jsonpath={.metadata.uid}")
    _events(folder, "ann", "ann", **{"k8s.ns.name": "shop", "k8s.pod.name": name, "k8s.pod.uid": uid})
    (folder / "r.yaml").write_text("[{rule: mark it, match: {rules: [Shell]}, actions: [{action: mark, actionner: "
                                   "'kubernetes:label', parameters: {labels: {suspect: 'true'}}}]}]")
    (folder / "custody.toml").write_text(f'data_dir = "data"\nkubeconfig = "{kubeconfig}"\n')
    alerts, said = _watch(folder, "--rules", "rules.yaml", "--responses", "r.yaml", *(["--respond"] if respond else []))
    told = sorted((alert["rule"], alert["source"]) for alert in alerts if alert["rule"] != "Shell")
    done = "Response done" if respond else "Response would be done"
    assert told == sorted([(done, "custody"), ("Response not done", "custody")])
    assert ("responses are told and not carried out" in said) is not respond
    labels = _kubectl(kubeconfig, "get", "pod", name, "-n", "shop", "-o", "jsonpath={.metadata.labels}")
    assert labels == ('{"suspect":"true"}' if respond else "")
