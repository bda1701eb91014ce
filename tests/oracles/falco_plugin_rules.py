"""falco-plugin-rules: the rule files of Falco's plugins, those of sources that custody knows. A row per item.

Files that append to another plugin's rules are loaded after those.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.oracles.falco_rules import rows

_FIRST = "plugins/k8saudit/rules/k8s_audit_rules.yaml"


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    first = folder / _FIRST
    before = {first.name: first.read_text()} if first.is_file() else {}
    for file in sorted(folder.rglob("rules/*.yaml")):
        name = str(file.relative_to(folder / "plugins"))
        extends = "k8saudit-" in name and "override:" in file.read_text()
        yield from rows(name, file.read_text(), before if extends else {})
