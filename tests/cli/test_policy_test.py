"""`custody policy test`: rows, counts and exit codes of kyverno-test.yaml."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from tests.cli.test_check import pod, policy


def write(folder: Path, **fields: Any) -> Path:
    """A test of one policy about privileged containers on two pods, of which the second is wrong."""
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy("privileged")))
    (folder / "pods.yaml").write_text(yaml.safe_dump_all([pod("good"), pod("bad", privileged=True)]))
    document = {"apiVersion": "cli.kyverno.io/v1alpha1", "kind": "Test", "metadata": {"name": "t"},
                "policies": ["policy.yaml"], "resources": ["pods.yaml"], "results": [
                    {"policy": "privileged", "rule": "r", "resources": ["good"], "kind": "Pod", "result": "pass"},
                    {"policy": "privileged", "rule": "r", "resources": ["bad"], "kind": "Pod", "result": "fail"}]}
    (folder / "kyverno-test.yaml").write_text(yaml.safe_dump(document | fields))
    return folder


def test_rows_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "test", str(write(tmp_path))]) == 0
    out, err = capsys.readouterr()
    assert "│ 1  │ privileged │ r    │ v1/Pod/shop/good │ Pass   │ Ok     │" in out
    assert out.endswith("\nTest Summary: 2 tests passed and 0 tests failed\n\n")
    assert "Applying 1 policy to 2 resources with 0 exceptions ..." in err


def test_a_row_that_differs_fails_with_what_was_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [{"policy": "privileged", "rule": "r", "resources": ["bad"], "kind": "Pod", "result": "pass"}]
    assert run(["policy", "test", str(write(tmp_path, results=wrong)), "--detailed-results"]) == 1
    out, err = capsys.readouterr()
    assert "Want pass, got fail" in out
    assert "0 tests passed and 1 tests failed" in out
    assert "error: 1 tests failed" in err


def test_a_policy_that_is_not_there_is_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [{"policy": "other", "rule": "r", "resources": ["bad"], "kind": "Pod", "result": "fail"}]
    assert run(["policy", "test", str(write(tmp_path, results=wrong)), "--fail-only"]) == 1
    out = capsys.readouterr().out
    assert "Test Summary: 1 out of 1 tests failed" in out
    assert "Not found" in out


def test_a_policy_that_custody_does_not_evaluate_is_not_found(tmp_path: Path,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path)
    unknown = policy("privileged")
    unknown["spec"]["surprise"] = True
    (folder / "policy.yaml").write_text(yaml.safe_dump(unknown))
    assert run(["policy", "test", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out.count("Not found") == 2
    assert "spec.surprise" in err


@pytest.mark.parametrize("output", ["json", "yaml", "markdown", "junit"])
def test_outputs_have_the_same_rows(output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "test", str(write(tmp_path)), "-o", output, "--detailed-results"]) == 0
    text = capsys.readouterr().out.partition("\nTest Summary")[0].strip()
    match output:
        case "junit":
            suites = ET.fromstring(text)
            assert (suites.get("tests"), suites.get("failures")) == ("2", "0")
            assert [case.get("name") for case in suites.iter("testcase")] == ["v1/Pod/shop/good", "v1/Pod/shop/bad"]
        case "markdown":
            assert text.splitlines()[2].startswith("| 1 | privileged | r | v1/Pod/shop/good | Pass | Ok | ")
        case _:
            rows = json.loads(text) if output == "json" else yaml.safe_load(text)
            assert [(row["ID"], row["RESOURCE"], row["RESULT"]) for row in rows] == [
                (1, "v1/Pod/shop/good", "Pass"), (2, "v1/Pod/shop/bad", "Pass")]
            assert rows[1]["Message"].startswith("validation error: no.")


def test_a_selector_chooses_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(write(tmp_path))
    assert run(["policy", "test", folder, "-t", "policy=priv*, rule=r, resource=bad"]) == 0
    assert "1 tests passed" in capsys.readouterr().out
    assert run(["policy", "test", folder, "-t", "policy=none"]) == 0
    assert "0 tests passed" in capsys.readouterr().out
    run(["policy", "test", folder, "-t", "colour=red"])
    assert "Parameter can only be policy, rule or resource" in capsys.readouterr().err


def test_no_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "test", str(tmp_path)]) == 0
    assert "No test yamls available" in capsys.readouterr().out
    assert run(["policy", "test", str(tmp_path), "--require-tests"]) == 1
    assert "no tests found" in capsys.readouterr().err


@pytest.mark.parametrize(("fields", "words"), [
    ({"surprise": 1}, "surprise"),
    ({"apiVersion": ""}, "a test without apiVersion or kind"),
    ({"results": [{"policy": "p", "operation": "CONNECT", "result": "pass", "kind": "Pod"}]}, "CREATE, UPDATE, DELETE"),
    ({"apiCallResponses": [{"url": "/x", "response": {"body": {}}}]}, "absolute http or https URL"),
    ({"apiCallResponses": [{"urlPath": "/x", "response": {}}]}, "response.body"),
    ({"globalContextEntries": [{"name": "e"}]}, "one of data, resources, resourceFiles"),
    ({"globalContextEntries": [{"name": "e", "resourceFiles": ["../x.yaml"]}]}, "in the test's folder"),
])
def test_a_file_that_says_what_nobody_reads_is_refused(fields: dict[str, Any], words: str, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "test", str(write(tmp_path, **fields))]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "found 1 errors after loading tests" in err


def test_http_payloads_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "test", str(write(tmp_path, httpPayloads=["x.json"]))]) == 2
    assert "httpPayloads" in capsys.readouterr().err


def test_git_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "test", "https://example.test/owner/repo"]) == 2
    assert run(["policy", "test", str(tmp_path), "-b", "main"]) == 2
    assert "git clone" in capsys.readouterr().err


def test_values_say_the_operation_and_labels_of_namespaces(tmp_path: Path) -> None:
    matched = policy("privileged")
    matched["spec"]["rules"][0]["preconditions"] = {"all": [
        {"key": "{{request.operation}}", "operator": "Equals", "value": "UPDATE"}]}
    folder = write(tmp_path, values={"globalValues": {"request.operation": "UPDATE"}})
    (folder / "policy.yaml").write_text(yaml.safe_dump(matched))
    assert run(["policy", "test", str(folder)]) == 0
    write(tmp_path)
    (folder / "policy.yaml").write_text(yaml.safe_dump(matched))
    assert run(["policy", "test", str(folder)]) == 1  # CREATE: the precondition does not hold


def test_a_result_with_an_operation_is_of_a_request_of_its_own(tmp_path: Path) -> None:
    matched = policy("privileged")
    matched["spec"]["rules"][0]["preconditions"] = {"all": [
        {"key": "{{request.operation}}", "operator": "Equals", "value": "UPDATE"}]}
    folder = write(tmp_path, results=[
        {"policy": "privileged", "rule": "r", "resources": ["bad"], "kind": "Pod", "result": "skip"},
        {"policy": "privileged", "rule": "r", "resources": ["bad"], "kind": "Pod", "result": "fail",
         "operation": "UPDATE"}])
    (folder / "policy.yaml").write_text(yaml.safe_dump(matched))
    assert run(["policy", "test", str(folder)]) == 0


@pytest.mark.parametrize(("name", "fields"), [
    ("kyverno-test.yaml", None), ("pipe.yaml", {"resources": ["pipe.yaml"]}),
    ("pipe.yaml", {"policies": ["pipe.yaml"]}),
    ("pipe.yaml", {"variables": "pipe.yaml"}), ("pipe.yaml", {"userinfo": "pipe.yaml"}),
    ("pipe.yaml", {"globalContextEntries": [{"name": "e", "resourceFiles": ["pipe.yaml"]}]})])
def test_a_pipe_among_the_files_of_a_test_is_not_waited_for(name: str, fields: dict[str, Any] | None, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, **(fields or {}))
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    assert run(["policy", "test", str(tmp_path)]) != 0
    out, err = capsys.readouterr()
    assert "got a pipe, socket or device, expected a file" in out + err
