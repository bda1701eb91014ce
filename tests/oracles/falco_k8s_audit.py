"""falco-k8s-audit: recorded audit events, and what Falco 0.33.1 said of them with its rules of then.

Right is: an alert of the level that the test names, the counts of the rules it names, and nothing at all where nothing
should be detected. The stock rules here are today's (falco-rules and falco-plugin-rules beside this set), so what was
renamed since is translated; a test whose recording is not here is left out.

`role` is the same through the role `runtime`, as an API server posts it, the alerts read back from its output file.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from custody.server.platform import running
from custody.settings import Settings
from custody.settings.tables import Runtime
from policylang import falco
from policylang.errors import LanguageError

_LISTS = ("sensitive_mount_images", "privileged_images", "hostnetwork_images")
# falco_rules.yaml of then defined these for the audit rules too.
_THEN = "".join(f"- list: falco_{name}\n  items: []\n" for name in _LISTS)
# The audit rules of today have lists of their own; what a test trusts is put into them.
_NOW = "".join(f"- list: k8s_audit_{name}\n  items: [falco_{name}]\n  override: {{items: append}}\n" for name in _LISTS)
_RENAMED = {"K8s Role/Clusterrole Created": ("K8s Role Created", "K8s ClusterRole Created"),
            "K8s Role/Clusterrole Deleted": ("K8s Role Deleted", "K8s ClusterRole Deleted"),
            "K8s Role/Clusterrolebinding Created": ("K8s RoleBinding Created", "K8s ClusterRoleBinding Created"),
            "K8s Role/Clusterrolebinding Deleted": ("K8s RoleBinding Deleted", "K8s ClusterRoleBinding Deleted")}


class _Loader(yaml.CSafeLoader):
    """`!mux` is Falco's test runner's."""


def _mux(loader: Any, node: Any) -> Any:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("!mux", _mux)


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for name, case, recording in _cases(folder):
        yield name, _reason(folder / "test", case, recording)


def through_the_role(folder: Path) -> Iterator[tuple[str, str | None]]:
    for name, case, recording in _cases(folder):
        with tempfile.TemporaryDirectory() as place:
            yield name, asyncio.run(_posted(folder / "test", case, recording, Path(place)))


PARTS = {"role": through_the_role}


def _cases(folder: Path) -> Iterator[tuple[str, dict[str, Any], Path]]:
    test = folder / "test"
    cases = yaml.load((test / "falco_k8s_audit_tests.yaml").read_text(), _Loader)["trace_files"]
    for name, case in cases.items():
        recording = test / case["addl_cmdline_opts"].partition("open_params=")[2]
        if recording.is_file():
            yield name, case, recording


def _files(test: Path, case: dict[str, Any]) -> dict[str, str]:
    sets = test.parent.parent
    found = {"then.yaml": _THEN}
    stock = False
    for name in case["rules_file"]:
        path = test / name
        if name == "../rules/falco_rules.yaml":
            path = sets / "falco-rules" / "rules" / "falco_rules.yaml"
        elif name.startswith("BUILD_DIR"):
            path = sets / "falco-plugin-rules" / "plugins" / "k8saudit" / "rules" / "k8s_audit_rules.yaml"
            stock = True
        found[name] = path.read_text()
        if name == "../rules/falco_rules.yaml":
            found["after.yaml"] = _THEN
    if stock:
        found["now.yaml"] = _NOW
    return found


def _reason(test: Path, case: dict[str, Any], recording: Path) -> str | None:
    alerts: list[falco.Alert] = []
    try:
        matcher = falco.load(_files(test, case)).compile("k8s_audit")
        for line in filter(str.strip, recording.read_text().splitlines()):
            try:
                events = falco.events(json.loads(line))
            except ValueError as error:
                if case.get("stderr_contains") != str(error):
                    return str(error)
                continue
            alerts += [alert for event in events for alert in matcher("pluginevent", event)]
    except LanguageError as error:
        return str(error)
    return _judged(case, [(alert.rule, alert.priority) for alert in alerts])


async def _posted(test: Path, case: dict[str, Any], recording: Path, place: Path) -> str | None:
    """Each line in a request of its own; what Falco cannot read is answered with 400."""
    rules = []
    for number, (name, text) in enumerate(_files(test, case).items()):
        rules.append(place / f"{number}-{Path(name).name}")
        rules[-1].write_text(text)
    output = place / "alerts.jsonl"
    settings = Settings(data_dir=str(place / "data"), runtime=Runtime(
        rules=[str(path) for path in rules], outputs=[str(output)], fold_after=0))
    async with running(settings, ["runtime"]) as services, aiohttp.ClientSession() as session:
        for line in filter(str.strip, recording.read_text().splitlines()):
            async with session.post(f"{services.url}/runtime/audit", data=line.encode()) as answer:
                if answer.status == 400 and "stderr_contains" in case:
                    continue
                if answer.status != 200:
                    return f"{answer.status}: {await answer.text()}"
        alerts = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    return _judged(case, [(alert["rule"], alert["priority"]) for alert in alerts if alert["source"] == "k8s_audit"])


def _judged(case: dict[str, Any], alerts: list[tuple[str, str]]) -> str | None:
    counts = Counter(rule for rule, _ in alerts)
    if not case["detect"]:
        return f"detected {dict(counts)}" if alerts else None
    levels = {priority.upper() for _, priority in alerts}
    if not any(level.startswith(case["detect_level"]) for level in levels):
        return f"no alert of {case['detect_level']}: {dict(counts)}"
    for expected in case.get("detect_counts", []):
        for name, count in expected.items():
            got = sum(counts[each] for each in _RENAMED.get(name, (name,)))
            if got != count:
                return f"{name}: {got} alerts, expected {count}; {dict(counts)}"
    return None
