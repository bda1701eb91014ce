"""pod-security: Kubernetes' own pods, for each version and level those that pass and those that fail one check.

Right is the verdict; for a failing pod that the check its file is named after fails, with its reason in the standard's
words and a detail, and that no other one does but those that cannot be met by a pod of that kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from custody.policy.podsecurity.standard import Failure, evaluate

REASONS = {
    "allowprivilegeescalation": "allowPrivilegeEscalation != false", "apparmorprofile": "forbidden AppArmor profile",
    "capabilities_baseline": "non-default capabilities", "capabilities_restricted": "unrestricted capabilities",
    "hostnamespaces": "host namespaces", "hostpathvolumes": "hostPath volumes", "hostports": "hostPort",
    "hostprobesandhostlifecycle": "probe or lifecycle host", "privileged": "privileged", "procmount": "procMount",
    "procmount_restricted": "procMount", "restrictedvolumes": "restricted volume types",
    "runasnonroot": "runAsNonRoot != true", "runasuser": "runAsUser=0", "seccompprofile_baseline": "seccompProfile",
    "seccompprofile_restricted": "seccompProfile", "selinuxoptions": "seLinuxOptions", "sysctls": "forbidden sysctls",
    "windowshostprocess": "hostProcess"}
"""By the check that a file is named after; a pod may have several forbidden profiles."""
REPLACED = {"hostpathvolumes": "restrictedvolumes", "capabilities_baseline": "capabilities_restricted",
            "seccompprofile_baseline": "seccompprofile_restricted", "procmount": "procmount_restricted"}
"""Baseline checks, and the restricted ones that stand for them from some version on."""
BESIDE = {"windowshostprocess": "hostnamespaces", "privileged": "allowprivilegeescalation",
          "allowprivilegeescalation": "capabilities_restricted"}
"""What else such a pod may fail: Windows' host processes need the host's network, the API server takes no privileged
container that may not escalate, and a container without any securityContext drops no capability either."""


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted(folder.glob("test/testdata/*/v1.*/*/*.yaml")):
        level, version, expected = file.parts[-4:-1]
        pod = yaml.load(file.read_text(), yaml.CSafeLoader)
        failed = evaluate(pod["spec"], pod["metadata"], level, version)
        named = file.stem.rstrip("0123456789")
        yield f"{level}/{version}/{expected}/{file.stem}", _reason(expected, named, failed)


def _reason(expected: str, named: str, failed: list[Failure]) -> str | None:
    by_name = {failure.check.lower(): failure for failure in failed}
    if expected == "pass":
        return f"denied by {', '.join(by_name)}" if failed else None
    if not failed:
        return "allowed"
    at = named if named in by_name else REPLACED.get(named, "")
    if at not in by_name:
        return f"denied by {', '.join(by_name)}, not by {named}"
    failure = by_name[at]
    if failure.reason not in (REASONS[at], f"{REASONS[at]}s") or not failure.detail:
        return f"says {failure}, expected {REASONS[at]} (…)"
    if beside := by_name.keys() - {at, BESIDE.get(named)}:
        return f"denied by {', '.join(sorted(beside))} beside {at}"
    return None
