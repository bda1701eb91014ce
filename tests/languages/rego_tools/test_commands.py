"""`custody rego eval`, `check` and `test`, beside `opa` where it is installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from custody.cli.rego_test import _duration
from custody.cli.run import _custody
from tests.conftest import peer

POLICY = """package p

import rego.v1

allow if {
\tinput.user == "ann"
\tprint("hello", input.user)
}

deny contains msg if {
\tsome c in input.containers
\tnot startswith(c.image, "good/")
\tmsg := sprintf("bad image %v from %v", [c.image, data.registries])
}
"""
TESTS = """package p_test

import rego.v1
import data.p

test_allow if p.allow with input as {"user": "ann"}

test_fail if p.allow with input as {"user": "bob"}

todo_test_later if false

test_cases[note] if {
\tsome note, tc in {"one": {"a": 1}, "two": {"a": 2}}
\ttc.a == 1
}
"""
INPUT = {"user": "ann", "containers": [{"image": "x"}, {"image": "good/y"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.rego").write_text(POLICY)
    (tmp_path / "p_test.rego").write_text(TESTS)
    (tmp_path / "data.yaml").write_text("registries: [a, b]\n")
    (tmp_path / "input.json").write_text(json.dumps(INPUT))
    return tmp_path


def custody(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(_custody, ["rego", *arguments], input=given, standalone_mode=False)


@pytest.mark.peer
@pytest.mark.parametrize("form", ["json", "values", "bindings", "raw", "pretty"])
@pytest.mark.parametrize("query", ["data.p.allow", "data.p", "x := data.p.deny", "x = [1, 2][_]; y = {\"a\": x}",
                                   "1 = 2", "data.p.deny[x]", "input.user", "sprintf(\"%v\", [{1, 2}])"])
def test_eval_prints_what_opa_prints(folder: Path, query: str, form: str) -> None:
    arguments = ["eval", "-d", str(folder / "p.rego"), "-d", str(folder / "data.yaml"),
                 "-i", str(folder / "input.json"), "-f", form, query]
    theirs = subprocess.run([peer("opa"), *arguments], capture_output=True, check=True, text=True).stdout
    mine = custody(*arguments)
    assert (json.loads(mine.stdout) == json.loads(theirs)) if form == "json" else mine.stdout == theirs


def test_fail_and_fail_defined() -> None:
    assert custody("eval", "--fail", "1 = 2").return_value == 3
    assert custody("eval", "--fail", "1 = 1").return_value == 0
    assert custody("eval", "--fail-defined", "1 = 1").return_value == 3


def test_input_and_query_from_stdin(folder: Path) -> None:
    found = custody("eval", "-I", "-f", "raw", "-d", str(folder / "p.rego"), "data.p.allow", given=json.dumps(INPUT))
    assert (found.stdout, found.stderr) == ("true\n", "hello ann\n")
    assert custody("eval", "--stdin", "-f", "raw", given="1 + 1").stdout == "2\n"
    assert custody("eval", "-i", "-", "-f", "raw", "input.a", given="a: ü").stdout == "ü\n"


def test_data_below_a_prefix(folder: Path) -> None:
    found = custody("eval", "-d", f"a.b:{folder / 'data.yaml'}", "-f", "raw", "data.a.b.registries[0]")
    assert found.stdout == "a\n"


def test_an_error_of_a_builtin_ends_a_strict_evaluation() -> None:
    assert custody("eval", "1 / 0").return_value == 0
    found = custody("eval", "--strict-builtin-errors", "1 / 0")
    assert found.return_value == 1
    assert json.loads(found.stdout)["errors"] == [{"message": "div: divide by zero", "code": "eval_builtin_error",
                                                   "location": {"file": "query", "row": 1}}]
    assert "div: divide by zero" in str(custody("eval", "-f", "raw", "--strict-builtin-errors", "1 / 0").exception)


def test_halves_of_surrogate_pairs_in_json_become_a_character() -> None:
    assert custody("eval", "-I", "-f", "raw", "input", given='"\\ud83d x"').stdout == "\ufffd x\n"
    assert custody("eval", "-f", "raw", r'json.unmarshal("{\"\\ud83d\": 1}")').stdout == '{"\ufffd":1}\n'


def test_http_send_is_an_error_not_undefined() -> None:
    found = custody("eval", "-f", "raw", 'not http.send({"method": "get", "url": "http://x"})')
    assert "http.send: access to the network is not given" in str(found.exception)
    found = custody("eval", 'http.send({"method": "get", "url": "http://x"})')
    assert json.loads(found.stdout)["errors"] == [{"message": "http.send: access to the network is not given",
                                                   "code": "eval_builtin_error"}]


def test_an_empty_query_is_refused() -> None:
    assert "the query is empty" in str(custody("eval", " ").exception)


@pytest.mark.parametrize("printed", ['print("a")', "print(1)", "print()", 'print("a", [1], input.x)'])
def test_print_takes_any_number_of_values(printed: str) -> None:
    found = custody("eval", "-f", "pretty", printed)
    assert found.stdout == "true\n"
    assert len(found.stderr.splitlines()) == 1


def test_durations_are_gos() -> None:
    assert [_duration(seconds) for seconds in (2.5, 0.0302500001, 30.225001e-6, 5e-9, 3.0)] == [
        "2.5s", "30.25ms", "30.225µs", "5ns", "3s"]


def test_explain_names_the_expression_that_failed(folder: Path) -> None:
    (folder / "input.json").write_text('{"user": "bob"}')
    found = custody("eval", "--explain", "fails", "-d", str(folder / "p.rego"), "-i", str(folder / "input.json"),
                    "data.p.allow")
    assert 'Fail input.user == "ann"' in found.stderr


def test_check_points_at_the_place(tmp_path: Path) -> None:
    bad = tmp_path / "bad.rego"
    bad.write_text("package bad\n\np if { x }\n")
    found = custody("check", str(bad))
    assert found.return_value == 2
    assert f"{bad}:3:8: rego_unsafe_var_error: var x is unsafe\n  p if {{ x }}\n         ^" in found.stderr
    error = json.loads(custody("check", "-f", "json", str(bad)).stdout)["errors"][0]
    assert error == {"message": "var x is unsafe", "code": "rego_unsafe_var_error",
                     "location": {"file": str(bad), "row": 3, "col": 8}}


def test_tests_pass_fail_and_are_left_out(folder: Path) -> None:
    found = custody("test", "-v", str(folder))
    assert found.return_value == 2
    for line in ("data.p_test.test_allow: PASS", "data.p_test.test_fail: FAIL", "data.p_test.todo_test_later: SKIPPED",
                 "  one: PASS", "  two: FAIL", "PASS: 2/5", "FAIL: 2/5", "SKIPPED: 1/5"):
        assert line in found.stdout
    listed = {each["name"]: each for each in json.loads(custody("test", "-f", "json", str(folder)).stdout)}
    assert listed["test_cases"]["sub_results"] == {"one": {"name": "one"}, "two": {"name": "two", "fail": True}}
    assert custody("test", "-r", "allow", str(folder)).return_value == 0


def test_coverage_and_its_threshold(folder: Path) -> None:
    report = json.loads(custody("test", "-r", "allow", "--coverage", str(folder)).stdout)
    assert report["files"][str(folder / "p.rego")]["not_covered"] == [{"start": {"row": 10}, "end": {"row": 13}}]
    assert custody("test", "-r", "allow", "--threshold", "99", str(folder)).return_value == 2
    assert custody("test", "-r", "allow", "--threshold", "20", str(folder)).return_value == 0
