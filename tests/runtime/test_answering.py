"""The watch with suppressions, responses and rules of a registry: as flags and settings say."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from custody.formats import yaml
from custody.kit.clock import system_clock
from custody.services.responding import Responding
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


def test_files_are_read_again_and_a_bad_one_leaves_what_was_before(folder: Path) -> None:
    """Suppressions and responses, as rules: what is new counts at once, what is wrong is told and changes nothing."""
    from custody.runtime.event import Place
    from custody.server.watchedfiles import answers_of
    from custody.services.watchspec import Watched
    from custody.settings import Settings
    from custody.settings.tables import Runtime as Stated
    from custody.wiring.answering import Answering, read_responses, read_suppressions
    from custody.wiring.runtime import Runtime
    from policylang.falco import Alert

    def responses(rule: str) -> None:
        (folder / "r.yaml").write_text(f"[{{rule: r, match: {{rules: [{rule}]}}, actions: [{{action: a, actionner: "
                                       "'kubernetes:label', parameters: {labels: {a: b}}}]}]")

    _suppressions(folder)
    responses("Shell")
    stated = Stated(rules=[str(folder / "rules.yaml")], suppressions=[str(folder / "s.yaml")],
                    responses=[str(folder / "r.yaml")], inputs=["fields:-"])
    runtime = Runtime(Settings(data_dir=str(folder / "data")), Watched.of(stated))
    unused: Any = None
    responding = Responding(unused, read_responses(stated), system_clock)
    answers = Answering(suppressions=read_suppressions(stated), responding=responding)
    files = answers_of(runtime, answers)
    ann, root = (Alert("Shell", "Warning", "syscall", "o", {"user.name": user}) for user in ("ann", "root"))
    (suppressor,) = answers.suppressors

    async def reload() -> list[str]:
        for watch in files:
            await watch.reload()
        told = [record.alert.rule for record in runtime.watch._owed]
        runtime.watch._owed.clear()
        return told

    assert [suppressor(alert, Place()) for alert in (ann, root)] == [None, "ours"]
    assert asyncio.run(reload()) == []
    assert answers.suppressions is not None
    assert answers.suppressions.counts[0].suppressed == 1, "what is as it was counts on"
    _suppressions(folder, match="user.name = ann")
    responses("Other")
    assert asyncio.run(reload()) == []
    assert [suppressor(alert, Place()) for alert in (ann, root)] == ["ours", None]
    assert responding._responses.of(ann) == []
    (folder / "s.yaml").write_text("suppressions: [{name: ours}]")
    (folder / "r.yaml").write_text("[{rule: r, match: {rules: [Shell]}, actions: [{action: a, actionner: 'x:y'}]}]")
    assert asyncio.run(reload()) == ["Suppressions not loaded", "Responses not loaded"]
    assert [suppressor(alert, Place()) for alert in (ann, root)] == ["ours", None]
    assert [watch.failure is None for watch in files] == [False, False]


def test_a_lease_without_responses_or_without_a_namespace_is_refused(folder: Path, tmp_path: Path) -> None:
    _events(folder, "root")
    (folder / "custody.toml").write_text('[runtime]\nrules = ["rules.yaml"]\nrespond_lease = "a/b"\n')
    assert "respond_lease: got no responses" in _watch(folder, code=2)[1]
