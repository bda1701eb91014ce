"""`custody cel`: values and types on stdout, what is for people on stderr, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from custody.cli.cel import command
from custody.errors import of_language
from policylang.errors import LanguageError

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: a, image: "nginx:1"}, {name: b, image: "ghcr.io/x/y:v1"}]}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pod.yaml").write_text(POD)

    def cel(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
        from custody.cli.run import run as run_command

        done = CliRunner().invoke(command, list(arguments), input=given, standalone_mode=False)
        if done.exception is not None:
            raised = of_language(done.exception) if isinstance(done.exception, LanguageError) else done.exception
            return getattr(raised, "exit_code", run_command and -1), done.stdout, str(done.exception)
        return done.return_value or 0, done.stdout, done.stderr

    return cel


def test_a_value_from_an_argument_a_file_and_stdin(run: Run, tmp_path: Path) -> None:
    assert run("eval", "1 + 2") == (0, "3\n", "")
    assert run("eval", "-f", "-", "--set", "x=[1, null]", given="x\n") == (0, "[1, null]\n", "")
    (tmp_path / "rule.cel").write_text("x.y == 'a'\n")
    (tmp_path / "x.json").write_text('{"y": "a"}')
    assert run("eval", "-f", "rule.cel", "--var", "x=x.json") == (0, "true\n", "")
    assert run("eval", "a + b", "-i", "-", given="{a: 1, b: 2}") == (0, "3\n", "")


def test_values_are_printed_as_data(run: Run) -> None:
    code, out, _ = run("eval", "-o", "json",
                       "[b'a', duration('90s'), timestamp('2020-01-01T00:00:00Z'), optional.none()]")
    assert (code, json.loads(out)) == (0, {"value": ["YQ==", "90s", "2020-01-01T00:00:00Z", None], "type": "list(dyn)"})
    assert run("eval", "'text'")[1] == "text\n"
    assert run("eval", "{'a': 1u}")[1] == '{"a": 1}\n'


def test_a_resource_is_object_in_kubernetes_and_kyverno(run: Run) -> None:
    asked = "object.spec.containers.all(c, c.image.startsWith('ghcr.io/'))"
    assert run("eval", asked, "--env", "kubernetes:1.32", "-i", "pod.yaml") == (0, "false\n", "")
    assert run("eval", asked, "--env", "kubernetes", "-i", "pod.yaml", "--fail")[0] == 3
    assert run("eval", "object.spec.containers.map(c, image(c.image).registry())", "--env", "kyverno", "-i", "pod.yaml",
               "-o", "json", "--cost")[1] == ('{"value": ["index.docker.io", "ghcr.io"], "type": "list(string)", '
                                              '"cost": 36}\n')


def test_trace_and_cost_are_for_people(run: Run) -> None:
    code, out, said = run("eval", "x > 1 && x < 3", "--set", "x=2", "--trace", "--cost")
    assert (code, out) == (0, "true\n")
    assert said.splitlines() == ["1:1  x = 2", "1:1  x > 1 = true", "1:10  x = 2", "1:10  x < 3 = true",
                                 "1:1  x > 1 && x < 3 = true", "cost: 4"]


def test_exit_codes(run: Run) -> None:
    code, _, said = run("eval", "x / 0", "--set", "x=1")
    assert (code, said) == (1, "division by zero")
    code, out, said = run("eval", "1 +")
    assert (code, out) == (2, "")
    assert said.startswith("ERROR: <input>:1:4: Syntax error")
    assert run("eval", "nope")[0] == 2


@pytest.mark.parametrize(("arguments", "words"), [
    (["eval"], "got no expression or two"), (["eval", "1", "-f", "x"], "got no expression or two"),
    (["eval", "-f", "-", "-i", "-"], "got - more than once"),
    (["eval", "1", "--env", "mars"], "got --env mars, expected one of standard"),
    (["eval", "1", "--env", "kubernetes:1.2"], "got an unknown version"),
    (["eval", "1", "--env", "kyverno:Nope"], "got policy kind Nope"), (["eval", "1", "--set", "x"], "expected --set"),
    (["eval", "1", "--set", "x={"], "--set x: got '{', expected JSON"), (["eval", "1", "-i", "none.yaml"], "none.yaml"),
])
def test_usage_errors(run: Run, arguments: list[str], words: str) -> None:
    code, _, said = run(*arguments)
    assert code == 2
    assert words in said


def test_input_is_json_or_yaml_of_any_size(run: Run) -> None:
    items = [{"n": at} for at in range(30_000)]
    assert run("eval", "items.size()", "-i", "-", given=json.dumps({"items": items}))[1] == "30000\n"
    assert run("eval", "a", "-i", "-", given="a: [" + "1, " * 30_000 + "2]")[0] == 0
    assert run("eval", "a", "-i", "-", given='{"a": "ü😀"}')[1] == "ü😀\n"
    assert run("eval", "a == 9007199254740993", "-i", "-", given='{"a": 9007199254740993}')[1] == "true\n"
    assert run("eval", "type(a)", "-i", "-", given='{"a": 18446744073709551616}')[1] == "double\n"
    assert run("eval", "a", "-i", "-", given='{"a": "\\ud83d\\ude00\\ud83d"}')[1] == "😀\ufffd\n"


@pytest.mark.parametrize(("given", "words"), [
    ('{"a": 1e999}', "stdin: got '1e999', expected numbers"),
    ("", "stdin: got 'nothing'"), ("[1]", "stdin: got '[1]'"), ('{"a":', "expected JSON or YAML")])
def test_input_that_is_no_map(run: Run, given: str, words: str) -> None:
    code, _, said = run("eval", "a", "-i", "-", given=given)
    assert code == 2
    assert words in said


def test_bytes_that_are_not_utf8(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xff")
    assert run("eval", "-f", "latin")[2] == "latin:1:4: byte 0xff is not UTF-8"
    assert "got 'byte 0xff', expected UTF-8" in run("eval", "a", "-i", "latin")[2]


def test_json_has_no_infinity(run: Run) -> None:
    out = run("eval", "-o", "json", 'double("inf")')[1]
    assert json.loads(out, parse_constant=pytest.fail)["value"] == "Infinity"


def test_check_says_the_type_and_what_it_may_cost(run: Run) -> None:
    assert run("check", "1 + 1") == (0, "int\n", "")
    code, out, said = run("check", "object.spec.x == 1 && object.spec.y", "--env", "kubernetes", "--cost")
    assert (code, out, said) == (0, "bool\n", "estimated cost: 2 to 3\n")
    assert run("check", "object.x.size() > 1", "--cost", "--set", "object={}")[2] == "estimated cost: 3 to 3\n"
    assert run("check", "object.x == object.y", "--cost", "--set", "object={}")[2] == "estimated cost: 3 to no limit\n"
    code, _, said = run("check", "object.spec.x == 1 && y", "--env", "kubernetes")
    assert code == 2
    assert "undeclared reference to 'y'" in said
