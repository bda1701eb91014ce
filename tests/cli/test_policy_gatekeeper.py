"""`custody policy verify`, `apply --filename` and `expand`: what gator says, line by line."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from tests.conftest import oracle, peer
from tests.policy.gatekeeper.test_expansion import PODS, deployment, expansion
from tests.policy.gatekeeper.world import LABELS, Json, constraint, pod, template


def write(folder: Path, **documents: Any) -> Path:
    for name, document in documents.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(document if isinstance(document, list) else [document]))
    return folder


def suite(*cases: Json, **test: Any) -> Json:
    return {"apiVersion": "test.gatekeeper.sh/v1alpha1", "kind": "Suite", "tests": [
        {"name": "labels", "template": "template.yaml", "constraint": "constraint.yaml", "cases": list(cases), **test}]}


def case(name: str, **assertion: Any) -> Json:
    return {"name": name, "object": f"{name}.yaml", "assertions": [assertion]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, template=template(), constraint=constraint(match=PODS), good=pod("good", labels={"team": "x"}), bad=pod("bad"))


def test_a_suite_that_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, suite=suite(case("good", violations="no"), case("bad", violations=1, message="must provide labels")))
    assert run(["policy", "verify", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"ok\t{re.escape(str(folder))}/suite.yaml\t\d+\.\d{{3}}s", lines[0])
    assert lines[1:] == ["PASS"]


def test_an_assertion_that_does_not_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, suite=suite(case("good"), case("bad", violations="no", message="labels"), case("bad", violations=2)))
    assert run(["policy", "verify", str(folder / "suite.yaml")]) == 1
    out = capsys.readouterr().out
    assert "unexpected number of violations: got 0 violations but want at least 1: got messages []" in out
    assert 'got 1 violations containing "labels" but want none: got messages [you must provide labels: {"team"}]' in out
    assert "got 1 violations but want exactly 2" in out
    assert out.endswith("FAIL\n")


def test_names_choose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, suite=suite(case("good"), case("bad")))
    assert run(["policy", "verify", str(folder), "-v", "--run", "//^bad$"]) == 0
    out = capsys.readouterr().out
    assert "    === SKIP  good" in out
    assert re.search(r"    --- PASS: bad\t", out)
    assert run(["policy", "verify", str(folder), "--run", "a//b//c"]) == 2


def test_what_rego_prints_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, template=template(LABELS.replace("  count(missing)", '  print("asked for", missing)\n  count(missing)')),
          suite=suite(case("bad")))
    assert run(["policy", "verify", str(folder), "-v"]) == 0
    assert '        asked for {"team"}\n' in capsys.readouterr().out


@pytest.mark.parametrize(("change", "invalid", "code", "words"), [
    ({"labels": "x"}, True, 0, "PASS"), ({"label": []}, True, 1, "should have failed schema validation: got error"),
    ({"labels": []}, True, 1, "got no error"), ({"labels": "x"}, False, 1, "must be of type array")])
def test_constraints_that_are_meant_to_be_invalid(folder: Path, capsys: pytest.CaptureFixture[str], change: Json, invalid: bool,
                                                  code: int, words: str) -> None:
    write(folder, constraint=constraint(change), suite=suite(invalid=invalid))
    assert run(["policy", "verify", str(folder)]) == code
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("broken", "words"), [
    (suite(case("good"), template=""), "missing template"), (suite({"name": "x", "assertions": [{}]}), "must define object"),
    (suite({"name": "x", "object": "good.yaml"}), "assertions must be non-empty"), (suite(case("none")), "No such file"),
    (suite(case("two")), "exactly one object"), (suite(case("good"), template="constraint.yaml"), "not a ConstraintTemplate"),
    (suite(case("good"), constraint="good.yaml"), "not evaluated by custody yet"),
    (suite({"name": "x", "object": "empty-review.yaml", "assertions": [{}]}), "expected an AdmissionRequest")])
def test_suites_that_cannot_be_run_say_why(folder: Path, capsys: pytest.CaptureFixture[str], broken: Json, words: str) -> None:
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    write(folder, suite=broken, two=[pod("a"), pod("b")], **{"empty-review": review})
    assert run(["policy", "verify", str(folder)]) == 1
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "words"), [
    (["nothing"], "no such file or folder"), (["suite.yaml/..."], "is a file"), (["--trace", "."], "--trace"), (["x.txt"], "expected .yaml")])
def test_refusals(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str],
                  words: str) -> None:
    monkeypatch.chdir(folder)
    write(folder, suite=suite(case("good")))
    Path("x.txt").touch()
    assert run(["policy", "verify", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_suites_is_not_passed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "verify", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert ("no suites" in captured.err, captured.out) == (True, "")


def test_expansions_of_a_suite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, expansion=expansion(), deployment=deployment(),
          suite=suite(case("deployment", violations=1, message="Implied by pods"), expansion="expansion.yaml"))
    assert run(["policy", "verify", str(folder)]) == 0, capsys.readouterr().out


def test_one_heap_of_documents(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "apply", "--filename", str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out == 'v1/Pod default/bad: ["must-have"] Message: "you must provide labels: {\\"team\\"}"\n'
    (folder / "bad.yaml").unlink()
    assert run(["policy", "apply", "--filename", str(folder)]) == 0
    (folder / "constraint.yaml").unlink()
    assert run(["policy", "apply", "--filename", str(folder)]) == 2
    assert "no constraints among the documents" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["List", "PodList"])
def test_lists_are_taken_apart(folder: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    items = [pod("one"), pod("two")]
    if kind == "PodList":
        items = [{"metadata": item["metadata"], "spec": item["spec"]} for item in items]
    (folder / "bad.yaml").unlink()
    write(folder, listed={"apiVersion": "v1", "kind": kind, "items": items})
    assert run(["policy", "apply", "--filename", str(folder)]) == 1
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["v1/Pod default/one", "v1/Pod default/two"]


def test_that_nothing_was_judged_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [part for name in ("template", "constraint") for part in ("--filename", str(folder / f"{name}.yaml"))]
    assert run(["policy", "apply", *files]) == 0
    assert capsys.readouterr().err == "warning: no objects to judge among the documents\n"
    assert run(["policy", "apply", *files, "--filename", str(folder / "good.yaml")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("metadata", "reason"), [
    ("abc", "metadata: got a string, expected a mapping"), ([1], "metadata: got a list, expected a mapping"),
    ({"name": 3}, "metadata.name: got a number, expected text"), ({"name": "a", "namespace": [1]}, "metadata.namespace: got a list, expected text"),
    ({"name": "a", "labels": [1]}, "metadata.labels: got a list, expected a mapping")])
@pytest.mark.parametrize("command", [["apply", "--filename"], ["expand", "-n"], ["bench", "-n", "1", "-f"], ["sync", "test", "-f", "-n"]])
def test_metadata_that_is_none_is_refused_with_its_place(folder: Path, capsys: pytest.CaptureFixture[str], metadata: Any, reason: str,
                                                         command: list[str]) -> None:
    write(folder, odd=[pod("good"), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}])
    assert run(["policy", *command, str(folder)]) == 2
    captured = capsys.readouterr()
    assert f"{folder}/odd.yaml[1]: {reason}" in captured.err
    assert captured.out == ""


def test_only_what_denies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, constraint=constraint(enforcementAction="warn", match=PODS))
    assert run(["policy", "apply", "--filename", str(folder), "--output", "json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["enforcementAction"], row["metadata"]) == ("warn", {"details": {"missing": ["team"]}})
    assert run(["policy", "apply", "--filename", str(folder), "--deny-only", "--output", "json"]) == 0
    assert capsys.readouterr().out == "null\n"


@pytest.mark.parametrize(("point", "speaks"), [
    ("gator.gatekeeper.sh", True), ("*", True), ("audit.gatekeeper.sh", False), ("validation.gatekeeper.sh", False)])
def test_a_constraint_speaks_here_if_it_names_this_point(folder: Path, capsys: pytest.CaptureFixture[str], point: str,
                                                         speaks: bool) -> None:
    """As gator 3.23.1 has it, of objects and of what will come of them."""
    write(folder, constraint=constraint(enforcementAction="scoped", match=PODS, scopedEnforcementActions=[
        {"action": "deny", "enforcementPoints": [{"name": point}]}]), expansion=expansion(), deployment=deployment())
    assert run(["policy", "apply", "--filename", str(folder)]) == int(speaks)
    assert capsys.readouterr().out.count("Message:") == 2 * speaks
    write(folder, suite=suite(case("bad", violations="yes"), case("deployment", violations="yes"), expansion="expansion.yaml"))
    assert run(["policy", "verify", str(folder)]) == int(not speaks)


def test_what_cannot_be_expanded_is_an_error_that_denies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.yaml").unlink()
    broken = deployment()
    del broken["spec"]["template"]
    write(folder, constraint=constraint(match=PODS), expansion=expansion(), deployment=broken)
    assert run(["policy", "apply", "--filename", str(folder)]) == 1
    assert "spec.template" in capsys.readouterr().out


def test_expand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, all=[expansion(), deployment({"a": "b"}, hostNetwork=True)])
    assert run(["policy", "expand", "-n", str(tmp_path / "all.yaml")]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {
        "apiVersion": "v1", "kind": "Pod", "spec": {"hostNetwork": True}, "metadata": {
            "labels": {"a": "b"}, "name": "web-pod", "namespace": "default",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": ""}]}}
    assert run(["policy", "expand", "-n", str(tmp_path / "all.yaml"), "-f", "json", "-o", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["kind"] == "Pod"


def said_by(program: list[str]) -> Any:
    return json.loads(subprocess.run(program, capture_output=True, text=True, check=False).stdout or "null") or []


def test_gator_says_the_same_of_the_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All templates and constraints on all objects of the library, messages, details and actions included."""
    gator, library = peer("gator"), oracle("gatekeeper-library")
    names: set[tuple[str, str]] = set()
    heap: list[Json] = []
    for file in sorted(library.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if not document or document.get("kind") in (None, "Suite", "AdmissionReview") or "metadata" not in document:
                continue
            key = document["kind"], document["metadata"]["name"]
            if "gatekeeper.sh" in document["apiVersion"] and key in names:
                continue
            names.add(key)
            heap.append(document)
    file = write(tmp_path, heap=heap) / "heap.yaml"
    theirs = said_by([gator, "test", "-f", str(file), "-o", "json"])
    run(["policy", "apply", "--filename", str(file), "--output", "json"])
    ours = json.loads(capsys.readouterr().out)

    def row(result: Json) -> str:
        return json.dumps([result["constraint"], result["violatingObject"], result["msg"], (result.get("metadata") or {}).get("details") or {},
                           result["enforcementAction"]], sort_keys=True)

    assert len(theirs) > 500
    assert sorted(map(row, ours)) == sorted(map(row, theirs))
