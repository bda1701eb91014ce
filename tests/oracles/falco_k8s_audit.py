"""falco-k8s-audit: recorded audit events, and what Falco 0.33.1 said of them with its rules of then.

Right is: an alert of the level that the test names, the counts of the rules it names, and nothing at all where nothing
should be detected. The stock rules here are today's (falco-rules and falco-plugin-rules beside this set), so what was
renamed since is translated; a test whose recording is not here is left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

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
    test = folder / "test"
    cases = yaml.load((test / "falco_k8s_audit_tests.yaml").read_text(), _Loader)["trace_files"]
    for name, case in cases.items():
        recording = test / case["addl_cmdline_opts"].partition("open_params=")[2]
        if recording.is_file():
            yield name, _reason(test, case, recording)


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
    counts = Counter(alert.rule for alert in alerts)
    if not case["detect"]:
        return f"detected {dict(counts)}" if alerts else None
    levels = {alert.priority.upper() for alert in alerts}
    if not any(level.startswith(case["detect_level"]) for level in levels):
        return f"no alert of {case['detect_level']}: {dict(counts)}"
    for expected in case.get("detect_counts", []):
        for name, count in expected.items():
            got = sum(counts[each] for each in _RENAMED.get(name, (name,)))
            if got != count:
                return f"{name}: {got} alerts, expected {count}; {dict(counts)}"
    return None
