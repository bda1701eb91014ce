"""`custody policy apply`: flags, texts, outputs and exit codes, as `kyverno apply` has them."""

from __future__ import annotations

import io
import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from tests.cli.test_check import pod, policy

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A policy about privileged containers, and two pods, of which the second is wrong."""
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy("privileged")))
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump_all([pod("good"), pod("bad", privileged=True)]))
    return [str(tmp_path / "policy.yaml"), "-r", str(tmp_path / "pods.yaml")]


def audited(files: list[str]) -> list[str]:
    document = policy("privileged")
    document["spec"]["validationFailureAction"] = "Audit"
    Path(files[0]).write_text(yaml.safe_dump(document))
    return files


def test_failures_are_said_and_counted(files: list[str], capsys: Capture) -> None:
    assert run(["policy", "apply", *files]) == 1
    out, err = capsys.readouterr()
    assert "\nApplying 1 policy rule(s) to 2 resource(s)...\n" in out
    assert "policy privileged -> resource shop/Pod/bad failed:\n1 - r validation error: no." in out
    assert out.endswith("\npass: 1, fail: 1, warn: 0, error: 0, skip: 0 \n")
    assert "exit as there are policy violations" in err


def test_audit_is_a_failure_unless_it_is_to_warn(files: list[str], capsys: Capture) -> None:
    assert run(["policy", "apply", *audited(files)]) == 1
    assert run(["policy", "apply", *files, "--audit-warn"]) == 0
    assert "failed as audit warning" in capsys.readouterr().out
    assert run(["policy", "apply", *files, "--audit-warn", "--warn-exit-code", "3"]) == 3


def test_nothing_that_passes_may_be_a_warning(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap",
                                                        "metadata": {"name": "c"}}))
    assert run(["policy", "apply", *files]) == 0
    assert run(["policy", "apply", *files, "--warn-no-pass", "--warn-exit-code", "4"]) == 4


def test_a_policy_that_is_not_evaluated_is_an_error_and_named(files: list[str], capsys: Capture) -> None:
    document = policy("privileged")
    document["spec"]["surprise"] = True
    Path(files[0]).write_text(yaml.safe_dump(document))
    assert run(["policy", "apply", *files]) == 1
    out, err = capsys.readouterr()
    assert "Policies Skipped:\n1. privileged: " in err
    assert "spec.surprise" in err
    assert "error: 1, " in out


def test_a_report_has_every_result(files: list[str], capsys: Capture) -> None:
    assert run(["policy", "apply", *files, "-p"]) == 1
    report = yaml.safe_load(capsys.readouterr().out)
    assert (report["apiVersion"], report["kind"]) == ("openreports.io/v1alpha1", "ClusterReport")
    assert report["summary"] == {"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}
    assert [(entry["resources"][0]["name"], entry["result"]) for entry in report["results"]] == [
        ("good", "pass"), ("bad", "fail")]
    assert report["results"][0]["properties"] == {"process": "background scan"}
    assert run(["policy", "apply", *files, "-p", "--output-format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["summary"] == report["summary"]


def test_a_table(files: list[str], capsys: Capture) -> None:
    assert run(["policy", "apply", *files, "-t", "--detailed-results"]) == 1
    out = capsys.readouterr().out
    assert "│ 2  │ privileged │ r    │ shop/Pod/bad  │ Fail   │        │ validation error: no." in out


@pytest.mark.parametrize("form", ["sarif", "junit", "markdown"])
def test_forms_of_their_own_are_one_document(form: str, files: list[str], capsys: Capture) -> None:
    assert run(["policy", "apply", *files, "--output-format", form]) == 1
    out = capsys.readouterr().out
    match form:
        case "sarif":
            sarif = json.loads(out)["runs"][0]
            assert [(entry["ruleId"], entry["level"]) for entry in sarif["results"]] == [("privileged/r", "error")]
            assert sarif["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "v1/Pod/shop/bad"
        case "junit":
            assert ET.fromstring(out).get("failures") == "1"
        case _:
            assert "| 2 | privileged | r | shop/Pod/bad | Fail |  |" in out


def test_exceptions_are_made_for_what_fails(files: list[str], capsys: Capture) -> None:
    assert run(["policy", "apply", *files, "--generate-exceptions", "--generated-exception-ttl", "90m"]) == 1
    exception = yaml.safe_load(capsys.readouterr().out)
    assert exception["metadata"] == {"name": "privileged-r-shop-bad", "labels": {"cleanup.kyverno.io/ttl": "1h30m0s"}}
    assert exception["spec"] == {
        "exceptions": [{"policyName": "privileged", "ruleNames": ["r"]}],
        "match": {"all": [{"resources": {"kinds": ["Pod"], "names": ["bad"], "namespaces": ["shop"]}}]}}


def test_resources_and_policies_come_from_standard_input(files: list[str], capsys: Capture,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(Path(files[2]).read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin())
    assert run(["policy", "apply", files[0], "-r", "-"]) == 1
    Stdin.buffer = io.BytesIO(Path(files[0]).read_bytes())
    assert run(["policy", "apply", "-", *files[1:]]) == 1
    assert capsys.readouterr().out.count("shop/Pod/bad failed") == 2


@pytest.mark.parametrize(("arguments", "words"), [
    ([], "require policy"),
    (["p.yaml"], "resource file(s) or cluster required"),
    (["-", "-r", "-"], "a stdin pipe can be used for either policies or resources, not both"),
    (["p.yaml", "-r", "x", "--json", "y"], "both resource and json files can not be used together"),
    (["p.yaml", "-r", "x", "-s", "a=b", "-f", "v"], "either using set flag or values_file flag"),
    (["p.yaml", "-r", "x", "-n", "shop"], "it is of --cluster"),
    (["https://example.test/x", "-r", "x"], "git clone"),
    (["p.yaml", "-r", "x", "-b", "main"], "--git-branch"),
    (["p.yaml", "-r", "x", "--http-payload", "f"], "--http-payload"),
    (["p.yaml", "-r", "x", "--envoy-payload", "f"], "--envoy-payload"),
    (["p.yaml", "-r", "x", "--concurrent", "3"], "--concurrent"),
    (["p.yaml", "-r", "x", "--show-performance"], "--show-performance"),
    (["p.yaml", "-r", "x", "--context", "c"], "--kubeconfig"),
    (["p.yaml", "-r", "x", "-s", "request.object.a=b"], "not of the resource itself"),
    (["none.yaml", "-r", "x"], "none.yaml"),
])
def test_what_is_not_obeyed_is_refused(arguments: list[str], words: str, tmp_path: Path, capsys: Capture,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy("privileged")))
    assert run(["policy", "apply", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_who_asks_and_how_come_from_files(files: list[str], tmp_path: Path) -> None:
    document = policy("privileged")
    document["spec"]["background"] = False
    document["spec"]["rules"][0]["preconditions"] = {"all": [
        {"key": "{{request.userInfo.username || ''}}", "operator": "Equals", "value": "jane"},
        {"key": "{{request.operation}}", "operator": "Equals", "value": "UPDATE"}]}
    Path(files[0]).write_text(yaml.safe_dump(document))
    who, told = tmp_path / "who.yaml", tmp_path / "values.yaml"
    who.write_text(yaml.safe_dump({"apiVersion": "cli.kyverno.io/v1alpha1", "kind": "UserInfo",
                                   "userInfo": {"username": "jane", "groups": ["dev"]}, "clusterRoles": ["admin"]}))
    told.write_text(yaml.safe_dump({"apiVersion": "cli.kyverno.io/v1alpha1", "kind": "Values",
                                    "globalValues": {"request.operation": "UPDATE"}}))
    assert run(["policy", "apply", *files]) == 0
    assert run(["policy", "apply", *files, "-u", str(who), "-f", str(told)]) == 1
    assert run(["policy", "apply", *files, "-u", str(who), "-s", "request.operation=UPDATE"]) == 1


@pytest.mark.parametrize("document", [
    {"userInfo": {}}, {"apiVersion": "cli.kyverno.io/v1alpha1", "kind": "UserInfo", "surprise": 1}])
def test_a_file_of_who_asks_that_is_none_is_refused(document: dict[str, Any], files: list[str], tmp_path: Path) -> None:
    (tmp_path / "who.yaml").write_text(yaml.safe_dump(document))
    assert run(["policy", "apply", *files, "-u", str(tmp_path / "who.yaml")]) == 2


@pytest.mark.parametrize("place", ["policies", "resources"])
def test_a_pipe_in_a_folder_is_not_waited_for(place: str, files: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "a.yaml")
    folder = str(tmp_path / "folder")
    assert run(["policy", "apply", *([folder, *files[1:]] if place == "policies" else [files[0], "-r", folder])]) != 0
    assert "got a pipe, socket or device, expected a file" in "".join(capsys.readouterr())


def test_folders_that_link_to_each_other_are_read_once(tmp_path: Path, files: list[str], capsys: Capture) -> None:
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "policy.yaml").write_text(Path(files[0]).read_text())
    for at in range(4):
        (folder / "in" / f"up{at}").symlink_to(folder)
        (folder / f"down{at}").symlink_to(folder / "in")
    assert run(["policy", "apply", str(folder), *files[1:]]) == 1
    assert "Applying 1 policy rule(s) to 2 resource(s)" in capsys.readouterr().out


def test_what_is_changed_begins_on_a_line_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    document = policy("labels")
    document["spec"]["rules"][0].pop("validate")
    document["spec"]["rules"][0]["mutate"] = {"patchStrategicMerge": {"metadata": {"labels": {"a": "b"}}}}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump_all([pod("one"), pod("two")]))
    assert run(["policy", "apply", str(tmp_path / "policy.yaml"), "-r", str(tmp_path / "pods.yaml")]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("policy ")] == [
        "policy labels applied to shop/Pod/one:", "policy labels applied to shop/Pod/two:"]
    assert "\\n" not in out


def test_policies_of_a_list_are_told_of_by_their_file(files: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "List", "items": [policy("privileged")]}]}))
    assert run(["policy", "apply", *files]) == 1
    assert f"Warning: {files[0]}: kyverno.io/v1 ClusterPolicy is deprecated" in capsys.readouterr().err


def test_a_misspelt_policy_is_named_once_with_what_may_have_been_meant(files: list[str], capsys: Capture) -> None:
    document = policy("privileged")
    document["spec"]["rulez"] = document["spec"].pop("rules")
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    Path(files[0]).write_text(yaml.safe_dump_all([
        document, {**document, "kind": "ClusterPolcy"}, ["no map"], kustomization]))
    assert run(["policy", "apply", *files]) == 1
    refused = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines() if line[0].isdecimal()]
    assert refused[:3] == [
        "privileged: spec.rulez: not evaluated by custody yet (did you mean rules?)",
        "privileged: kind: kyverno.io/v1 ClusterPolcy is not evaluated by custody yet (did you mean ClusterPolicy?)",
        f"{files[0]}[2]: got a list, expected a map"]
    assert refused[3].startswith(f"{files[0]}[3]: kind: kustomize.config.k8s.io/v1beta1 Kustomization is not evaluated")
    assert "ClusterPolicy, Policy, " in refused[3]
