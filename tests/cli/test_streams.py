"""What commands print where: the last net below every message, -q, --timeout, and errors that are nobody's."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.cli import deadline, run
from custody.cli.streams import Words
from custody.errors import CustodyError, NetworkError
from custody.trust.roots import TrustedRoot
from tests.cli.commands import custody
from tests.contents.images import layout, tar
from tests.kit.test_visible import SERVICES, commands

HOSTILE = "\x1b[2K\x1b[1A::error::forged\r##[error]x\u202e"


def words(*pieces: str, quiet: bool = False) -> str:
    own = io.StringIO()
    stream = Words(own)
    stream.quiet = quiet
    for piece in pieces:
        stream.write(piece)
    return own.getvalue()


def test_whatever_is_written_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVICES:
        monkeypatch.delenv(name, raising=False)
    assert words("a\x1b[2K", "\rb\n", "c\td\n") == "a\\x1b[2K\\rb\nc\td\n"


def test_a_line_in_pieces_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert words("x: ", "::error::\n") == "x: ::error::\n"
    assert words("  ", "::error::\n", "::group::", "::x\n") == "  \\::error::\n\\::group::::x\n"
    assert not commands(words("a\n::b\n", " ", "::c", "\n", "##[d]\n"))


def test_quiet_keeps_warnings_and_errors() -> None:
    said = words("remark\nwarning: one\n  more\nremark\n", "err", "or: two\n", "\nhint: three\n", "remark\n",
                 quiet=True)
    assert said == "warning: one\n  more\nerror: two\n\nhint: three\n"


def test_quiet(tmp_path: Path) -> None:
    layout(tmp_path / "image", [tar([("a", b"")])])
    loud = custody("sbom", "oci:image", cwd=tmp_path)
    assert "0 packages" in loud.stderr
    for arguments in (("-q", "sbom", "oci:image"), ("sbom", "-q", "oci:image"), ("sbom", "--quiet", "oci:image")):
        done = custody(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, loud.stdout)
        assert done.stderr == "warning: no package was found in it\n"
    assert "error: nosuch" in custody("-q", "sbom", "oci:nosuch", cwd=tmp_path).stderr


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("where", ["before", "after"])
def test_timeout_is_the_whole_commands(tmp_path: Path, where: str) -> None:
    with silent_server() as port:
        image = f"127.0.0.1:{port}/shop:1"
        began = time.monotonic()
        done = custody(*(("--timeout", "4s", "sbom", image) if where == "before" else
                         ("sbom", "--timeout=4000ms", image)), cwd=tmp_path)
    assert done.returncode == 6
    assert done.stderr == (f"error: --timeout: not done within 4 s, waiting for "
                           f"GET http://127.0.0.1:{port}/v2/shop/manifests/1\n") or "HEAD" in done.stderr
    assert time.monotonic() - began < 50  # a minute is what one silent connection gets otherwise


def test_timeout_of_a_service_that_drips(tmp_path: Path) -> None:
    """Every byte comes in time, and the whole never."""
    ended = threading.Event()
    (tmp_path / "root.json").write_bytes(TrustedRoot().to_json())

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b" ")

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        done = custody("log", "info", "--timeout", "1s", "--log", f"http://127.0.0.1:{port}", "--trusted-root",
                       "root.json", cwd=tmp_path)
        ended.set()
    assert done.returncode == 6
    assert f"waiting for the rest of http://127.0.0.1:{port}/api/v2/checkpoint" in done.stderr


def test_what_holds_the_end_up_is_ended_too(tmp_path: Path) -> None:
    script = ("import time\nfrom custody.cli import deadline, run\nimport custody.cli.main as main\n"
              "deadline.GRACE = 0.2\n"
              "def held(*_, **__):\n    while True:\n        try:\n            time.sleep(60)\n"
              "        except BaseException:\n            pass\n"
              "import custody.cli.sbom as sbom\nsbom.contents.open_catalog = held\n"
              "main.main(['sbom', '--timeout', '200ms', 'oci:x'])")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100,
                          check=False)
    assert (done.returncode, done.stderr) == (6, "error: --timeout: not done within 0.2 s\n")


@pytest.mark.parametrize(("text", "seconds"), [("3m0s", 180), ("1h", 3600), ("1.5s", 1.5), ("0", 0), ("0s", 0)])
def test_durations(text: str, seconds: float) -> None:
    assert deadline.Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "3", "-1s", "1x", "1e3s", "9999999999h", "s", "\u0661s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(CustodyError, match=r"--timeout: got .*, expected a duration such as 30s or 3m0s"):
        deadline.Duration().convert(text, None, None)


def test_a_timeout_for_a_service(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.run(["--timeout", "1s", "up"]) == 2
    assert "error: --timeout: up runs until it is stopped" in capsys.readouterr().err


def test_an_error_that_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("custody.cli.sbom.contents.open_catalog", lambda *_, **__: 1 // 0)
    assert run.run(["sbom", "oci:x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: internal error: ZeroDivisionError: integer division or modulo by zero (test_streams")
    assert "CUSTODY_TRACEBACK=1" in said
    monkeypatch.setenv("CUSTODY_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run.run(["sbom", "oci:x"])


def test_no_line_of_an_error_begins_as_another_error(monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NetworkError("one\nerror: two\n\nhint: three\n  four")

    monkeypatch.setattr("custody.cli.sbom.contents.open_catalog", fail)
    assert run.run(["sbom", "oci:x"]) == 6
    assert capsys.readouterr().err == "error: one\n  error: two\n\n  hint: three\n  four\n"


def hostile_commands(folder: Path) -> list[list[str]]:
    """Names of others wherever a command takes one: in words, files, what is in files, variables."""
    name = HOSTILE.replace("\x1b", "\x1b")
    (folder / name).write_text(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name!r}}}\n")
    (folder / "pod.yaml").write_text('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a\\u001b[2K\\n::error::b"},'
                                     '"spec":{"containers":[{"name":"c","image":"a\\u001b\\n::error::"}]}}')
    (folder / "policy.yaml").write_text(
        '{"apiVersion":"kyverno.io/v1","kind":"ClusterPolicy","metadata":{"name":"p\\u001b\\n::error::"},"spec":{"rules":'
        '[{"name":"r\\u001b\\n::error::","match":{"any":[{"resources":{"kinds":["Pod"]}}]},"validate":{"message":'
        '"m\\u001b[2K\\n::error::m","pattern":{"spec":{"x\\n::e":"y"}}}}]}}')
    (folder / "bad.yaml").write_text('{"apiVersion":"kyverno.io/v1","kind":"ClusterPolicy\\u001b\\n::error::"}')
    (folder / "bom.json").write_text('{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"component":'
                                     '{"type":"container","name":"n\\u001b\\n::error::"}},"components":[{"type":'
                                     '"library","name":"::error::\\u001b\\n::error::","version":"1\\r","purl":'
                                     '"pkg:pypi/x@1"}]}')
    (folder / "db.json").write_text('{"id":"A\\u001b\\n::error::","modified":"\\u001b\\n::error::"}')
    (folder / "odd.toml").write_text('"k\\u001b\\n::error::" = 1\n')
    layout(folder / "image", [tar([("etc/os-release", b"ID=a\x1b[2K\nVERSION_ID='::error::\x1b'\n"),
                                   ("a\x1b\n::error::.jar", b"PK\3\4")])])
    return [
        [name], ["sbom", name], ["sbom", f"oci:{name}"], ["sbom", "oci:image"], ["sbom", "-o", name, "oci:image"],
        ["sbom", "--platform", name, "oci:image"], ["scan", "sbom:bom.json"], ["scan", f"sbom:{name}"],
        ["db", "import", "db.json"], ["db", "import", name], ["db", "status"], ["--config", name, "db", "status"],
        ["--config", "odd.toml", "db", "status"], ["check", "pod.yaml", "--policy", "policy.yaml"],
        ["check", "pod.yaml", "--policy", "bad.yaml"], ["check", name, "--policy", "policy.yaml"],
        ["check", name + ":1", "--policy", "policy.yaml"], ["policy", "lint", "policy.yaml"],
        ["policy", "lint", "bad.yaml"], ["policy", "lint", name], ["policy", "podsecurity", "pod.yaml"],
        ["policy", "lint", "--coverage", "policy.yaml"], ["replay", name], ["sign", name],
        ["sign", "--key", name, "x:1"],
        ["verify", "--key", name, "x:1"], ["tree", name], ["trust", name], ["trust", "token", "--email", name],
        ["trust", "token", "--workload", "builder", "--subject", name],
        ["generate-key-pair", "--output-key-prefix", name],
        ["source", "check", name], ["build", name, "--repository", name, "-o", name],
        ["log", "info", "--log", name],
        ["registry", "history", name], ["backup", name + "/x"], ["restore", name], ["cel", "eval", name],
        ["rego", "eval", name], ["rego", "check", name], ["rego", "fmt", name], ["policy", "jp", "query", name],
        ["attach", "sbom", "--sbom", name, "x:1"], ["attest", "--predicate", name, "x:1"], ["admission", name],
        ["verify-attestation", "--type", name, "--key", name, "x:1"], ["serve", "--roles", name], ["completion", name],
        ["sign", "--oidc-provider", name, "x:1"], ["--timeout", name, "sbom", "oci:image"], ["demo", "--image", name],
    ]


def test_hostile_names_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error nothing raw, no command of a CI service and no traceback, whatever the command; nor on standard
    output, where it is for people."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COSIGN_PASSWORD", "x")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for arguments in hostile_commands(tmp_path):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(Words(err)):  # type: ignore[type-var]
            run.run(["--offline", *arguments])
        data = arguments[0] in ("generate-key-pair", "cel", "rego", "completion")  # for programs
        for said in (err.getvalue(),) if data else (out.getvalue(), err.getvalue()):
            assert not commands(said), (arguments, said)
            assert "Traceback" not in said, (arguments, said)
            assert "internal error" not in said, (arguments, said)
            assert all(char.isprintable() or char in "\n\t" for char in said), (arguments, said)


def test_no_color_and_a_terminal(tmp_path: Path) -> None:
    """On a terminal too names of others are shown escaped, and NO_COLOR is obeyed."""
    layout(tmp_path / "image", [tar([("usr/lib/python3/dist-packages/a-1.dist-info/METADATA",
                                      b"Metadata-Version: 2.1\nName: a\nVersion: 1\x1b[2K\n")])])
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, "-m", "custody.cli.main", "sbom", "oci:image"],
                  {**os.environ, "NO_COLOR": "1", "TERM": "xterm"})
    seen = b""
    with contextlib.suppress(OSError):
        while select.select([screen], [], [], 60)[0]:
            chunk = os.read(screen, 65536)
            if not chunk:
                break
            seen += chunk
    os.waitpid(pid, 0)
    os.close(screen)
    assert b": 1 package\r\n" in seen
    assert b"\x1b" not in seen


@pytest.mark.parametrize(("arguments", "reason"), [
    (("sbom", "oci:image", "-o", "purls=."), "-o purls=.: .: Is a directory"),
    (("sbom", "oci:image", "-o", "purls=.."), "-o purls=..: ..: Is a directory"),
    (("sbom", "oci:image", "-o", "purls=no/x"), "-o purls=no/x: no/x: No such file or directory"),
    (("sbom", "oci:image", "-o", "purls=file/x"), "-o purls=file/x: file/x: Not a directory"),
    (("sbom", "oci:image", "-o", "purls=x", "-o", "table=./x"), "-o: two formats for "),
    (("scan", "oci:image", "--allow-empty-db", "-o", "json=image"), "-o json=image: image: Is a directory"),
    (("sign", "--key", "k", "--bundle", ".", "x:1"), "--bundle .: Is a directory"),
    (("trust", "export", "file"), "trust export file: Not a directory"),
    (("check", "pod.yaml", "--policy", "policy.yaml", "--record", "file"), "--record file: Not a directory"),
    (("backup", "image"), "backup image: Is a directory"),
    (("backup", "no/x"), "backup no/x: No such file or directory"),
    (("generate-key-pair", "--output-key-prefix", "no/x"), "--output-key-prefix no/x.key: No such file or directory"),
    (("build", ".", "--repository", "https://x", "-o", "oci:new", "--provenance", ".."),
     "--provenance ..: Is a directory"),
])
def test_files_that_cannot_be_written_are_said_before_the_work(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
        reason: str) -> None:
    """Also the case output-dot-traceback. Images and policies would be errors too, if it came to them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "x")
    Path("image").mkdir()
    Path("file").write_text("as it was")
    Path("policy.yaml").write_text('{"apiVersion":"kyverno.io/v1","kind":"ClusterPolicy","metadata":{"name":"p"},"spec":'
                                   '{"rules":[{"name":"r","match":{"any":[{"resources":{"kinds":["Pod"]}}]},"validate":'
                                   '{"message":"m","pattern":{"spec":{"x":"y"}}}}]}}')
    assert run.run(list(arguments)) == 2
    assert f"error: {reason}" in capsys.readouterr().err
    assert Path("file").read_text() == "as it was"
