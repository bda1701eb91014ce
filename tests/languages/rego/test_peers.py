"""Where regorus and OPA part, custody is with OPA; and its syntax trees are OPA's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.adapters.world import SystemWorld
from policylang import rego
from policylang.errors import LanguageError
from policylang.rego.syntax.treejson import module_json
from tests.conftest import oracle, peer
from tests.oracles import rego_cases
from tests.oracles.opa_cases import run as opa_cases

APART = {  # case of regorus → why it is not what OPA does
    "arithmetic/tests.yaml#2": "OPA adds decimal texts: 0.1 + 0.2 is 0.3",
    "arithmetic/tests.yaml#6": "wants a number as a text",
    "builtins/numbers/div.yaml#0": "OPA divides with more digits than a float64 has",
    "builtins/numbers/mod.yaml#6": "OPA takes the remainder of a whole float of any size",
    "builtins/strings/indexof.yaml#0": "OPA: an empty needle is an error",
    "builtins/strings/sprintf.yaml#1": "OPA has Go's verbs",
    "builtins/strings/sprintf.yaml#4": "OPA prints %!d(MISSING)",
    "data/tests.yaml#1": "OPA refuses base data where a rule is when it loads it; a rule wins here",
    "input/multiple.yaml#0": "many inputs in one: regorus' own notation",
    "rego-extensions/or/tests.yaml#0": "an `or` that OPA does not have",
    "rego-extensions/or/tests.yaml#1": "an `or` that OPA does not have",
    "rego.v1/tests.yaml#0": "OPA allows rego.v1 and future.keywords together",
    "rego.v1/tests.yaml#1": "OPA allows rego.v1 and future.keywords together",
    "some/tests.yaml#4": "OPA: nothing is in what is no collection",
    "some/tests.yaml#5": "OPA: nothing is in what is no collection",
    "some/tests.yaml#6": "OPA: nothing is in what is no collection",
    "some/tests.yaml#7": "OPA: nothing is in what is no collection",
}
OWN = {"data/tests.yaml#1", "input/multiple.yaml#0", "arithmetic/tests.yaml#6"}  # nothing that OPA could be asked


def test_what_regorus_has_otherwise_is_known_by_name() -> None:
    missed = {name.split(" ")[0] for name, reason in rego_cases.run(oracle("rego-cases")) if reason is not None}
    assert missed == set(APART)


@pytest.mark.peer
@pytest.mark.parametrize("name", sorted(set(APART) - OWN))
def test_there_opa_agrees(name: str, tmp_path: Path) -> None:
    path, _, at = name.partition("#")
    cases = yaml.load((oracle("rego-cases") / "tests/interpreter/cases" / path).read_text(), Loader=yaml.CSafeLoader)
    case = cases["cases"][int(at)]
    answers = {_opa(case, version, peer("opa"), tmp_path) == _ours(case, version) for version in (0, 1)}
    assert answers == {True}


def _opa(case: dict[str, Any], version: int, opa: Path, folder: Path) -> Any:
    for number, module in enumerate(case["modules"]):
        (folder / f"{number}.rego").write_text(module)
    (folder / "data.json").write_text(json.dumps(case.get("data") or {}))
    command = [opa, "eval", "-f", "json", "-d", folder, case["query"]] + ["--v0-compatible"] * (version == 0)
    found = json.loads(subprocess.run(command, capture_output=True, check=False, text=True).stdout)
    if "errors" in found:
        return "refused"
    return found["result"][0]["expressions"][0]["value"] if "result" in found else None


def _ours(case: dict[str, Any], version: int) -> Any:
    try:
        policy = rego.Policy({str(at): text for at, text in enumerate(case["modules"])}, version=version)
        results = policy.query(case["query"])(case.get("data") or {}, world=SystemWorld())
    except LanguageError:
        return "refused"
    return json.loads(json.dumps(rego.to_json(results[0].expressions[0]))) if results else None


@pytest.mark.peer
def test_syntax_trees_are_opa_s(tmp_path: Path) -> None:
    text = Path(__file__).with_name("tree.rego").read_text()
    (tmp_path / "input.json").write_text(json.dumps(text))
    query = 'rego.parse_module("tree.rego", input)'
    command = [peer("opa"), "eval", "-f", "json", "-i", tmp_path / "input.json", query]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    wanted = answer["result"][0]["expressions"][0]["value"]
    assert json.loads(json.dumps(module_json(rego.parse_module(rego.Source(text, "tree.rego"))))) == wanted


def test_opa_s_cases_are_all_right() -> None:
    assert [f"{name}: {reason}" for name, reason in opa_cases(oracle("opa-cases")) if reason is not None] == []
