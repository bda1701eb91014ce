"""`custody policy jp` beside `kyverno jp`."""

from __future__ import annotations

import io
import json
import random
import subprocess
from pathlib import Path

import pytest

from custody.cli.main import main
from policylang import jmespath
from policylang.source import SourceError
from tests.conftest import peer
from tests.languages.jmespath import cases


def test_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, query = tmp_path / "in.yaml", tmp_path / "q"
    data.write_text("a: {b: [1, 2.50, 'x<y']}\n")
    query.write_text("a.b[2]")
    assert main(["policy", "jp", "query", "-i", str(data), "-q", str(query), "a.b", "length(a.b)"]) == 0
    assert capsys.readouterr().out == ('# a.b\n[\n  1,\n  2.5,\n  "x\\u003cy"\n]\n# length(a.b)\n3\n'
                                       '# a.b[2]\n"x\\u003cy"\n')
    assert main(["policy", "jp", "query", "-i", str(data), "-u", "a.b[2]"]) == 0
    assert capsys.readouterr().out == "# a.b[2]\nx<y\n"
    assert main(["policy", "jp", "query", "-c", "-i", str(data), "a"]) == 0
    assert capsys.readouterr().out == '# a\n{"b":[1,2.5,"x\\u003cy"]}\n'


@pytest.mark.parametrize(("query", "message", "code"), [
    ("a ==", "failed to compile JMESPath: a ==, error: SyntaxError: Incomplete expression\n  a ==\n    ^", 2),
    ("nope", 'error evaluating JMESPath expression: Unknown key "nope" in path', 1),
    ("avg(`[]`)", "error marshalling result to JSON: json: unsupported value: NaN", 1),
])
def test_errors(query: str, message: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "in.json"
    data.write_text("{}")
    assert main(["policy", "jp", "query", "-i", str(data), query]) == code
    assert message in capsys.readouterr().err


def test_stdin(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def given(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    for arguments in (["a"], ["-i", "-", "a"]):
        given(b'{"a": 1}')
        assert main(["policy", "jp", "query", *arguments]) == 0
        assert capsys.readouterr().out == "# a\n1\n"
    given(b"\xff")
    assert main(["policy", "jp", "query", "a"]) == 2
    assert capsys.readouterr().err == "error: failed to read stdin: byte 0xff is not UTF-8\n"
    for arguments in (["-i", "-"], ["-i", "-", "-q", "-"], ["-q", "-"]):
        assert main(["policy", "jp", "query", *arguments]) == 2
        assert "expected it to be one of them" in capsys.readouterr().err
    given(b"a.b")
    assert main(["policy", "jp", "parse"]) == 0
    assert capsys.readouterr().out.startswith("# a.b\nASTSubexpression {\n")
    assert main(["policy", "jp", "query"]) == 2
    assert "at least one query or input object is required" in capsys.readouterr().err


def test_a_function_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "jp", "function", "split", "nosuch"]) == 2
    assert capsys.readouterr().err.startswith("error: got nosuch, expected names of functions\n")


def test_offline_looks_no_name_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "in.json"
    data.write_text("{}")
    assert main(["--offline", "policy", "jp", "query", "-i", str(data), "is_external_url('http://a.example')"]) == 6
    assert "off line" in capsys.readouterr().err


@pytest.mark.peer
def test_functions_are_kyvernos(capsys: pytest.CaptureFixture[str]) -> None:
    theirs = subprocess.run([peer("kyverno"), "jp", "function"], capture_output=True, text=True, check=True).stdout
    assert main(["policy", "jp", "function"]) == 0
    ours = capsys.readouterr().out

    def signatures(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(("Name:", "  Signature:"))]

    assert signatures(ours) == signatures(theirs)
    assert len(signatures(ours)) == 102


@pytest.mark.peer
def test_trees_are_kyvernos(capsys: pytest.CaptureFixture[str]) -> None:
    good = []
    for query, *_ in json.loads(cases.ANSWERS.read_text()):
        try:
            tree = jmespath.parse(query)
        except SourceError:
            continue
        if "Slice" not in jmespath.show(tree) and not query.startswith("-"):
            good.append(query)
    some = random.Random(3).sample(good, 250)
    theirs = subprocess.run([peer("kyverno"), "jp", "parse", "--", *some], capture_output=True, text=True, check=True)
    assert main(["policy", "jp", "parse", "--", *some]) == 0
    assert capsys.readouterr().out == theirs.stdout
