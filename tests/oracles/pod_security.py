"""pod-security: Kubernetes' own pods, for each version and level those that pass and those that fail one check.

Right is the verdict, and for a failing pod that the check its file is named after is among the failed ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from custody.policy.podsecurity.standard import evaluate


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted(folder.glob("test/testdata/*/v1.*/*/*.yaml")):
        level, version, expected = file.parts[-4:-1]
        pod = yaml.load(file.read_text(), yaml.CSafeLoader)
        failed = [failure.check for failure in evaluate(pod["spec"], pod["metadata"], level, version)]
        named = file.stem.rstrip("0123456789")
        yield f"{level}/{version}/{expected}/{file.stem}", _reason(expected, named, failed)


def _reason(expected: str, named: str, failed: list[str]) -> str | None:
    if expected == "pass":
        return f"denied by {', '.join(failed)}" if failed else None
    if not failed:
        return "allowed"
    # One case stands for two checks where the restricted one replaces the baseline one in this version.
    names = {name.lower() for name in failed}
    replaced = {"hostpathvolumes": "restrictedvolumes", "capabilities_baseline": "capabilities_restricted",
                "seccompprofile_baseline": "seccompprofile_restricted", "procmount": "procmount_restricted"}
    return None if named in names or replaced.get(named) in names else f"denied by {', '.join(failed)}, not by {named}"
