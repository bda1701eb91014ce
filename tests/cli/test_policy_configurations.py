"""`policy test --policy` and `policy verify --policy`: conftest's way, and what is refused by name."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from custody.cli.run import run
from custody.errors import MalformedError
from custody.services.configurations import reading
from tests.conftest import peer
from tests.kit.test_visible import SERVICES

RULES = """package main

deny contains msg if { input.kind == "Deployment"; not input.safe; msg := "not safe" }
warn_size contains {"msg": "large", "size": input.size} if { input.size > 2 }
violation_b contains {"msg": "b", "_loc": {"file": "other.yaml", "line": 3}} if { input.b }
exception contains ["b"] if { input.excused }
test_deny if { count(deny) == 1 with input as {"kind": "Deployment"} }
todo_test_later if { false }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "main.rego").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["policy", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def results(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(said(capsys, "test", "-p", "policy", "-o", "json", *arguments)[1])


@pytest.mark.parametrize(("name", "text", "input_text"), [
    ("a.yaml", "kind: Deployment\nsize: 1000000\n", "1e+06"), ("a.json", '{"size": 3}', "3"), ("a.toml", "size = 3", "3"),
    ("a.ini", "[s]\nsize = 3", None), (".env", "size=3", None), ("a.properties", "size=3", None), ("a.xml", "<a><size>3</size></a>", None)])
def test_files_of_any_format(folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, input_text: str | None) -> None:
    (folder / "policy" / "main.rego").write_text('package main\nwarn contains sprintf("%v", [json.marshal(input)]) if true\n')
    (folder / name).write_text(text)
    [result] = results(capsys, name)
    message = result["warnings"][0]["msg"]
    assert "size" in message
    assert "3" in message or "1e+06" in message
    assert input_text is None or input_text in message


def test_documents_are_judged_one_by_one_and_counted_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").write_text("kind: Deployment\n---\nkind: Deployment\nsafe: true\n---\nb: true\n---\nb: true\nexcused: true\nsize: 3\n")
    [result] = results(capsys, "a.yaml")
    assert result == {
        "filename": "a.yaml", "namespace": "main", "successes": 8,
        "warnings": [{"msg": "large", "metadata": {"query": "data.main.warn_size", "size": 3}}],
        "failures": [{"msg": "not safe", "metadata": {"query": "data.main.deny"}},
                     {"msg": "b", "loc": {"file": "other.yaml", "line": 3}, "metadata": {"query": "data.main.violation_b"}}],
        "exceptions": [{"msg": 'data.main.exception[_][_] == "b"'}]}


@pytest.mark.parametrize(("text", "flags", "code"), [
    ("kind: Deployment", [], 1), ("kind: Deployment", ["--fail-on-warn"], 2), ("kind: Deployment", ["--no-fail"], 0), ("size: 3", [], 0),
    ("size: 3", ["--fail-on-warn"], 1), ("kind: Pod", ["--fail-on-warn"], 0), ("a: [", [], 1)])
def test_exit_codes(folder: Path, capsys: pytest.CaptureFixture[str], text: str, flags: list[str], code: int) -> None:
    (folder / "a.yaml").write_text(text)
    assert said(capsys, "test", "-p", "policy", *flags, "a.yaml")[0] == code


def test_namespaces_combination_and_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "more.rego").write_text(
        'package k8s.pods\nwarn contains sprintf("%v %v %v", [count(input), data.limits.most, data.conftest.file.name]) if true\n')
    (folder / "d" / "limits").mkdir(parents=True)
    (folder / "d" / "limits" / "a.yaml").write_text("most: 7\n")
    (folder / "a.yaml").write_text("a: 1\n---\na: 2\n")
    (folder / "b.json").write_text("{}")
    [result] = results(capsys, "-n", "k8s.*", "--combine", "-d", "d", "a.yaml", "b.json")
    assert (result["filename"], result["namespace"], result["warnings"][0]["msg"]) == ("Combined", "k8s.pods", "3 7 Combined")
    assert {result["namespace"] for result in results(capsys, "--all-namespaces", "-d", "d", "a.yaml")} == {"main", "k8s.pods"}


def test_rego_v0_is_another_syntax(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "main.rego").write_text('package main\ndeny[msg] { msg := "old" }\n')
    (folder / "a.json").write_text("{}")
    assert said(capsys, "test", "-p", "policy", "a.json")[0] == 1
    code, out, _ = said(capsys, "test", "-p", "policy", "--rego-version", "v0", "a.json")
    assert (code, "FAIL - a.json - main - old" in out) == (1, True)


def test_if_without_contains_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "main.rego").write_text('package main\ndeny[msg] if { msg := "lost" }\n')
    (folder / "a.json").write_text("{}")
    code, out, err = said(capsys, "test", "-p", "policy", "a.json")
    assert (code, out) == (1, "")
    assert "main.rego:2: deny has 'if' without 'contains'" in err


def test_what_no_rule_judged_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.json").write_text("{}")
    code, _, err = said(capsys, "test", "-p", "policy", "-n", "nowhere", "a.json")
    assert code == 0
    assert "warning: no rule judged" in err


@pytest.mark.parametrize(("rules", "query", "value"), [
    ("deny if { input.bad }", "data.main.deny", "a boolean"), ('deny := "no" if input.bad', "data.main.deny", "a string"),
    ('warn_x := {"msg": "no"} if input.bad', "data.main.warn_x", "a map"), ("default deny := false", "data.main.deny", "a boolean")])
def test_a_rule_that_is_no_set_is_said(folder: Path, capsys: pytest.CaptureFixture[str], rules: str, query: str, value: str) -> None:
    (folder / "policy" / "main.rego").write_text(f"package main\n{rules}\n")
    (folder / "a.json").write_text('{"bad": true}')
    code, out, err = said(capsys, "test", "-p", "policy", "a.json")
    assert (code, "1 passed" in out) == (0, True)  # as conftest
    assert f"warning: a.json: {query} is {value}, neither a set nor a list, and counts for nothing\n" in err


def test_a_set_of_nothing_is_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "main.rego").write_text("package main\ndeny contains 1 if false\nwarn := []\n")
    (folder / "a.json").write_text("{}")
    assert said(capsys, "test", "-p", "policy", "a.json")[2] == ""


@pytest.mark.parametrize(("text", "line"), [
    ("a: 1\n--- \nkind: Deployment\n", 2), ("a: 1\r\nc: 2\n---\nkind: Deployment\n", 3), ("a: 1\n--- # next\nkind: Deployment\n", 2),
    ("a: 1\n---\nc: 1\n...\nkind: Deployment\n", 4), ("# c\n---\t\na: 1\n--- {kind: Deployment}\n", 4), ("---  \n---\t\nkind: Deployment\n", 2)])
def test_documents_that_are_not_read_are_said(folder: Path, capsys: pytest.CaptureFixture[str], text: str, line: int) -> None:
    (folder / "a.yaml").write_bytes(text.encode())
    code, _, err = said(capsys, "test", "-p", "policy", "a.yaml")
    assert code == 0  # as conftest
    assert f"warning: a.yaml: what stands behind line {line} is not read, as in conftest" in err


@pytest.mark.parametrize("text", [
    "--- \na: 1\n", "# c\n--- # d\na: 1\n...\n# e\n", "a: 1\n---\nb: 1\n", "a: 1\n--- \n\n", "a: |\n  ---\n  ...\n", "%YAML 1.2\n---\na: 1\n...\n"])
def test_documents_that_are_read_are_not(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (folder / "a.yaml").write_text(text)
    assert "is not read" not in said(capsys, "test", "-p", "policy", "a.yaml")[2]


def test_packages_whose_names_stand_in_brackets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "main.rego").write_text('package foo["bar-baz"]["in"].x\ndeny contains "no" if true\ntest_x if true\n')
    (folder / "a.json").write_text("{}")
    for chosen in (("--all-namespaces",), ("-n", 'foo["bar-baz"]["in"].x'), ("-n", "foo*")):
        [result] = results(capsys, *chosen, "a.json")
        assert result["namespace"] == 'foo["bar-baz"]["in"].x'
        assert result["failures"] == [{"msg": "no", "metadata": {"query": 'data.foo["bar-baz"]["in"].x.deny'}}]
    assert "1 passed" in said(capsys, "verify", "-p", "policy", "-n", 'foo["bar-baz"]["in"].x')[1]


@pytest.mark.parametrize("rules", ["deny contains \"no\" if true", "warn contains \"no\" if true", "deny contains 1 if false",
                                   "deny contains \"no\" if true\nexception contains [\"\"] if true"])
def test_a_file_s_name_cannot_begin_a_command_of_azure(folder: Path, capsys: pytest.CaptureFixture[str], rules: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "policy" / "main.rego").write_text(f"package main\n{rules}\n")
    name = "a\n##vso[task.setvariable variable=x]y\r.json"
    (folder / name).write_text("{}")
    for service in SERVICES:
        monkeypatch.delenv(service, raising=False)
    for set_by_ci, shown in (({}, "a%0A##vso[task.setvariable variable=x]y%0D.json"),
                             ({"TF_BUILD": "True"}, "a%0A#\\#vso[task.setvariable variable=x]y%0D.json")):
        for variable, value in set_by_ci.items():
            monkeypatch.setenv(variable, value)
        out = said(capsys, "test", "-p", "policy", "-o", "azuredevops", name)[1]
        assert shown in out
        assert not [line for line in out.splitlines() if line.startswith("##vso[task.setvariable")]


@pytest.mark.parametrize(("name", "reason"), [
    ("a.tf", "parser hcl2: such files are not read by custody"), ("a.cue", "parser cue"), ("a.jsonnet", "parser jsonnet"), ("nginx.conf", "parser nginx"),
    ("Jenkinsfile", "parser groovy"), ("a.txt", "got 'txt', expected one of")])
def test_formats_that_are_not_read_are_refused_by_name(folder: Path, capsys: pytest.CaptureFixture[str], name: str, reason: str) -> None:
    (folder / name).write_text("x")
    code, out, err = said(capsys, "test", "-p", "policy", name)
    assert (code, out) == (1, "")
    assert reason in err


def test_a_folder_with_a_file_that_is_not_read_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "a.yaml").write_text("a: 1")
    (folder / "in" / "main.tf").write_text("x")
    (folder / "in" / "notes.txt").write_text("x")
    assert said(capsys, "test", "-p", "policy", "in")[0] == 1
    assert said(capsys, "test", "-p", "policy", "--ignore", r"\.tf$", "in")[0] == 0


@pytest.mark.parametrize(("flag", "arguments"), [("--trace", ["--trace"]), ("--update", ["--update", "oci://x"]), ("--proto-file-dirs", ["--proto-file-dirs", "x"])])
def test_what_is_not_obeyed_is_refused_by_name(folder: Path, capsys: pytest.CaptureFixture[str], flag: str, arguments: list[str]) -> None:
    (folder / "a.json").write_text("{}")
    code, _, err = said(capsys, "test", "-p", "policy", "a.json", *arguments)
    assert code == 1
    assert f"{flag}: not obeyed by custody" in err


@pytest.mark.parametrize("arguments", [["--combine"], ["--parser", "yaml"], ["-n", "main"], ["--fail-on-warn"], ["-o", "tap"]])
def test_options_of_one_way_are_refused_in_the_other(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, _, err = said(capsys, "test", str(folder), *arguments)
    assert code == 2
    assert arguments[0] in err or "--output" in err
    assert said(capsys, "test", "-p", "policy", "--fail-only", "x")[0] == 2


def test_tests_in_rego(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "verify", "-p", "policy")
    assert (code, out.splitlines()[-1]) == (0, "2 tests, 1 passed, 0 warnings, 0 failures, 0 exceptions, 1 skipped")
    (folder / "policy" / "bad_test.rego").write_text("package main\ntest_wrong if { false }\n")
    code, out, _ = said(capsys, "verify", "-p", "policy")
    assert code == 1
    assert "FAIL - policy/bad_test.rego -  - data.main.test_wrong" in out


def test_parse_config_reads_what_a_rule_gives_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "main.rego").write_text('package main\ndeny contains x if { x := parse_config("yaml", "a: b").a }\n')
    (folder / "a.json").write_text("{}")
    assert results(capsys, "a.json")[0]["failures"][0]["msg"] == "b"


def test_files_that_a_rule_reads_lie_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "main.rego").write_text("""package main
deny contains x if { x := parse_config_file("../b.yaml").b }
deny contains y.contents.b if { some y in parse_combined_config_files(["../b.yaml", "../c.jsonc"]); y.path == "c.jsonc" }
""")
    (folder / "a.json").write_text("{}")
    (folder / "b.yaml").write_text("b: one\n")
    (folder / "c.jsonc").write_text('// why\n{"b": /* not three */ "two"}\n')
    assert [each["msg"] for each in results(capsys, "a.json")[0]["failures"]] == ["one", "two"]


@pytest.mark.parametrize(("name", "text", "words"), [
    ("absent.yaml", None, "absent.yaml: No such file or directory"), ("b.json", "{", "b.json: got"), ("b.tf", "x", "parser hcl2: such files are not read"),
    ("passwd", "x", "policy/main.rego: parse_config_file: passwd: the format by its name: got '', expected one of codeowners")])
def test_a_file_that_a_rule_cannot_read_is_no_pass(folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, words: str) -> None:
    (folder / "policy" / "main.rego").write_text(f'package main\ndeny contains "b" if {{ parse_config_file("../{name}").b }}\n')
    (folder / "a.json").write_text("{}")
    if text is not None:
        (folder / name).write_text(text)
    code, _, errors = said(capsys, "test", "-p", "policy", "a.json")
    assert code == 1
    assert words in errors


def test_modules_of_several_folders_that_read_files_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy" / "inner").mkdir()
    for place in ("a.rego", "inner/b.rego"):
        (folder / "policy" / place).write_text('package main\ndeny contains "b" if { parse_config_file("b.yaml").b }\n')
    (folder / "a.json").write_text("{}")
    code, _, errors = said(capsys, "test", "-p", "policy", "a.json")
    assert code == 1
    assert "its folder is another than that of policy/a.rego: parse_config_file" in errors


@pytest.mark.parametrize(("text", "read"), [
    ('// a\n{"a": "// no", "b": 1 /* two\nlines */, # c\n"c": "\\"#"}', {"a": "// no", "b": 1.0, "c": '"#'}), ("\ufeff[]", []), ("1 // it's \"so\"\r\n", 1.0)])
def test_json_with_comments(tmp_path: Path, text: str, read: Any) -> None:
    (tmp_path / "a.jsonc").write_text(text, newline="")
    assert reading.read([str(tmp_path / "a.jsonc")], "", b"", {}) == {str(tmp_path / "a.jsonc"): read}


@pytest.mark.parametrize(("text", "words"), [
    ("[1, /* 2]", "a.jsonc:1: got '/*', expected */ behind it"), ("[1,]", "expected JSON"), ("", "expected JSON"), ("/" * 5, "expected JSON"), ("{'a': 1}", "expected JSON"), ("[" * 20000, "expected JSON")])
def test_what_is_no_json_with_comments(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.jsonc").write_text(text)
    with pytest.raises(MalformedError) as refused:
        reading.read([str(tmp_path / "a.jsonc")], "", b"", {})
    assert words in refused.value.message


def test_owners_of_code(tmp_path: Path) -> None:
    (tmp_path / "CODEOWNERS").write_text("# all\n*  @a @org/team x@y.org # c #d\r\n\n/a\\ b\n")
    assert [*reading.read([str(tmp_path / "CODEOWNERS")], "", b"", {}).values()] == [{"rules": [
        {"pattern": "*", "owners": [{"type": "username", "value": "a"}, {"type": "team", "value": "org/team"}, {"type": "email", "value": "x@y.org"}],
         "comment": "c #d", "lineNumber": 2.0}, {"pattern": "/a\\ b", "owners": [], "comment": "", "lineNumber": 4.0}]}]


@pytest.mark.parametrize(("text", "words"), [
    ("a @b/c/d", "CODEOWNERS:1: got '@b/c/d', expected an owner"), ("\n[x] @a", "CODEOWNERS:2: got '[', expected a letter that patterns have"), ("a !b", "got '!', expected a letter that owners have"),
    ("a*** @a", "got 'a***', expected at most two asterisks"), ("\u00e9", "expected a letter that patterns have"), ("a" * 70000, "expected at most 65536")])
def test_what_are_no_owners_of_code(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "CODEOWNERS").write_text(text)
    with pytest.raises(MalformedError) as refused:
        reading.read([str(tmp_path / "CODEOWNERS")], "", b"", {})
    assert words in refused.value.message


@pytest.mark.parametrize("output", ["stdout", "tap", "table", "junit", "github", "azuredevops", "sarif"])
def test_each_output_names_what_failed(folder: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    (folder / "a.yaml").write_text("kind: Deployment\nsize: 4\n")
    code, out, _ = said(capsys, "test", "-p", "policy", "-o", output, "a.yaml")
    assert code == 1
    assert "not safe" in out
    assert "large" in out
    if output == "junit":
        assert ElementTree.fromstring(out.split("\n", 1)[1]).find("testsuite").attrib["failures"] == "2"  # type: ignore[union-attr]
    if output == "sarif":
        assert [result["level"] for result in json.loads(out)["runs"][0]["results"]] == ["error", "warning"]


@pytest.mark.parametrize("output", ["github", "azuredevops"])
def test_a_message_cannot_begin_a_command_of_the_service(folder: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    (folder / "policy" / "main.rego").write_text('package main\ndeny contains "x\\n::add-mask::y\\n##vso[task.complete]" if true\n')
    (folder / "a.json").write_text("{}")
    out = said(capsys, "test", "-p", "policy", "-o", output, "a.json")[1]
    assert not any(line.startswith(("::add-mask", "##vso[task.complete")) for line in out.splitlines())


@pytest.mark.parametrize("output", ["stdout", "json", "tap", "table", "azuredevops"])
def test_conftest_prints_the_same(folder: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    (folder / "a.yaml").write_text("kind: Deployment\nsize: 4\n---\nb: true\nexcused: true\n")
    theirs = subprocess.run([peer("conftest"), "test", "--no-color", "-o", output, "a.yaml"], capture_output=True, text=True, check=False)
    code, out, _ = said(capsys, "test", "-p", "policy", "-o", output, "a.yaml")
    assert (code, sorted(out.splitlines())) == (theirs.returncode, sorted(theirs.stdout.splitlines()))
