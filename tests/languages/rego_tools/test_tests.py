"""`custody rego test`: which rules are tests, what of a failing one is told, and what is compiled for them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from policylang.rego import Policy
from policylang.rego.compile import generator
from policylang.rego.run import testing
from tests.languages.rego_tools.test_commands import custody

DUPLICATES = """package a

allow if input.user == "ann"

# two tests share a name: OPA runs each; the second one fails
test_allow if allow with input as {"user": "ann"}

test_allow if not allow with input as {"user": "ann"}
"""
SHOWN = """a.rego:6:
data.a.test_allow: PASS (T)
a.rego:8:
data.a.test_allow#01: FAIL (T)
--------------------------------------------------------------------------------
FAILURES
--------------------------------------------------------------------------------
data.a.test_allow#01: FAIL (T)

  query:1        Enter data.a["test_allow#01"] = _  
  a.rego:8       | Enter data.a["test_allow#01"]  
  a.rego:8       | | Fail not data.a.allow with input as {"user": "ann"}  
  query:1        | Fail data.a["test_allow#01"] = _  

--------------------------------------------------------------------------------
PASS: 1/2
FAIL: 1/2
"""  # noqa: W291 - as `opa test -v` prints it


def test_rego_test_duplicate_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.rego").write_text(DUPLICATES)
    monkeypatch.chdir(tmp_path)
    found = custody("test", "-v", "a.rego")
    assert re.sub(r"\([0-9.]+[mµn]?s\)", "(T)", found.stdout) == SHOWN
    assert found.return_value == 2
    assert custody("test", "-r", r"test_allow$", "a.rego").return_value == 0  # only the first of them


MORE = """package b

vals := [1, 2]

gone if {
	some v in vals
	v > 5
}

conf := 1
conf := 2 if input.z == 3

test_called if {
	count(vals) == 2
	gone
}
test_error if conf == 1 with input.z as 3
test_function(x) if x == 1
test_case[name] if { some name, x in {"one": 1, "two": 2}; x == 1 }
test_set contains 1
test_three := 3
test_below.a.b if true
helper.test_named if false
todo_test_later if false
"""
STATES = {"test_called": "fail", "test_error": "error", "test_function": "error", "test_case": "fail",
          "test_set": "fail", "test_three": "fail", "test_below": "fail", "helper.test_named": "fail",
          "todo_test_later": "skip"}


def test_what_is_a_test_and_what_it_gave(tmp_path: Path) -> None:
    (tmp_path / "b.rego").write_text(MORE)
    found = json.loads(custody("test", "-f", "json", str(tmp_path)).stdout)
    states = {each["name"]: next((state for state in ("fail", "error", "skip") if state in each), "") for each in found}
    assert states == STATES
    errors = {each["name"]: each["error"]["message"] for each in found if "error" in each}
    assert "eval_conflict_error: rule data.b.conf produced conflicting values" in errors["test_error"]
    assert "function data.b.test_function used as reference, not called" in errors["test_function"]
    counted = custody("test", str(tmp_path)).stdout.splitlines()[-4:]
    assert counted == ["PASS: 1/10", "FAIL: 6/10", "SKIPPED: 1/10", "ERROR: 2/10"]  # cases are counted


def test_a_failing_test_tells_what_failed_in_the_rules_that_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "b.rego").write_text(MORE)
    lines = custody("test", "-v", "-r", "test_called", str(tmp_path)).stdout.splitlines()
    path = f"{tmp_path}/b.rego"
    space = " " * 7
    assert [line.strip() for line in lines if " | " in line and "query" not in line] == [
        f"{path}:13{space}| Enter data.b.test_called", f"{path}:5{space} | | Enter data.b.gone",
        f"{path}:7{space} | | | Fail gt(v, 5)", f"{path}:7{space} | | | Fail gt(v, 5)",
        f"{path}:15{space}| | Fail data.b.gone"]


def test_rego_test_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests ask for is compiled once, not once for each of them."""
    modules = {f"m{at}.rego": f"package m{at}\n\nimport data.lib\n\ndeny contains 1 if lib.bad\n" + "".join(
        f"test_{number} if count(deny) == 1 with input as {{\"x\": {number}}}\n" for number in range(3))
        for at in range(30)} | {"lib.rego": "package lib\n\nbad if input.x\n"}
    policy = Policy(modules, tests=True)
    compiled: list[str] = []
    generate = generator.generate
    monkeypatch.setattr(generator, "generate", lambda document, *more: (compiled.append(document.name),
                                                                        generate(document, *more))[1])
    found = testing.tests(policy)
    runner = testing.Runner(policy, found)
    outcomes = [runner.run(test) for test in found]
    assert [outcome.passed for outcome in outcomes] == [True] * 90
    assert len(compiled) == len(set(compiled)) == 30 * 4 + 1


def test_an_option_that_opa_has_and_custody_has_not_is_refused_by_name(tmp_path: Path) -> None:
    for option in ("--bench", "--count=2", "--timeout=5s", "--explain=full", "--var-values", "--parallel=4", "--watch"):
        result = custody("test", option, str(tmp_path))
        assert result.exception is not None
        assert option.partition("=")[0] in str(result.exception), option
