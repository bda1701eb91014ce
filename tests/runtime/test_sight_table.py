"""The guide's table of stock rules that an input can never make true is what the code says."""

from __future__ import annotations

from custody.runtime.sight import INPUTS
from policylang import falco
from tests.conftest import ROOT, oracle


def test_the_table_of_the_guide() -> None:
    folder = oracle("falco-rules") / "rules"
    rules = falco.load({name: (folder / name).read_text() for name in (
        "falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")}).rules
    expected = []
    for rule in rules:
        cells = [(INPUTS[name].blind(rule) or "").rpartition(" never tells ")[2] for name in ("tetragon", "tracee")]
        if any(cells):
            expected.append(f"| {rule.name} | {cells[0]} | {cells[1]} |")
    lines = (ROOT / "docs" / "guides" / "runtime-watch.md").read_text().splitlines()
    start = lines.index("| rule | Tetragon does not tell | Tracee does not tell |") + 2
    assert lines[start:start + len(expected) + 1] == [*expected, ""]
    assert 0 < len(expected) < len(rules)
