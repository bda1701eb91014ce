"""Dates that lock files do not say, from registries that answer, have nothing, or are not there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.commands import custody
from tests.source.repositories import GitFolder
from tests.source.test_inputs import lock, manifest, npm

OLD, NEW = "2020-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z"
COMMAND = ("source", "check", "repo", "--allowed-signers", "allowed", "--allow-empty-db", "--cooldown", "7", "--online")
DIGEST = "a" * 64


class Registry:
    """JSON by path; all else is not there."""

    def __init__(self) -> None:
        self.documents: dict[str, object] = {}
        self.status = 404
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                document = registry.documents.get(self.path)
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(registry.status if document is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(name="registry")
def _registry() -> Iterator[Registry]:
    registry = Registry()
    thread = threading.Thread(target=registry.server.serve_forever, daemon=True)
    thread.start()
    yield registry
    registry.server.shutdown()
    registry.server.server_close()
    thread.join()


def checked(folder: Path, registry: Registry, files: dict[str, str], *more: str, private: str = "") -> tuple[int, str]:
    git = GitFolder(folder)
    git.commit("ann", "first", files=files)
    (folder / "allowed").write_text(git.allowed("ann"))
    (folder / "custody.toml").write_text(f"[source]\nprivate = [{private!r}]\ndates = {{npm = '{registry.url}/npm', "
                                         f"pypi = '{registry.url}/simple', golang = '{registry.url}/go'}}\n")
    done = custody(*COMMAND, *more, cwd=folder)
    return done.returncode, done.stdout + done.stderr


def test_npm(tmp_path: Path, registry: Registry) -> None:
    registry.documents = {"/npm/left": {"time": {"created": OLD, "1.0.0": NEW}},
                          "/npm/@team%2Fright": {"time": {"1.0.0": OLD}}, "/npm/gone": {"time": {"0.9.0": OLD}}}
    code, said = checked(tmp_path, registry, {
        "package.json": manifest("left", "@team/right", "gone", "@own/secret"), "package-lock.json": lock(
            npm(), npm("@team/right"), npm("gone"), npm("@own/secret"))}, private="@own/*")
    assert (code, "cooldown: left 1.0.0: released 2099-01-01, expected 7 days ago" in said) == (3, True)
    assert "! package-lock.json" in said
    assert "withdrawn: gone 1.0.0: its registry does not have it" in said
    assert "right 1.0.0: released" not in said
    assert sorted(registry.asked) == ["/npm/@team%2Fright", "/npm/gone", "/npm/left"]  # and nobody of the team's own


def test_pypi_by_the_bytes_that_are_locked(tmp_path: Path, registry: Registry) -> None:
    """A file that was added to an old release is a new one."""
    lines = ('version = 1\n[[package]]\nname = "Some_Thing"\nversion = "1.0"\nsource = { registry = '
             '"https://pypi.org/simple" }\nwheels = [{ url = "https://files.pythonhosted.org/a.whl", hash = "sha256:'
             + DIGEST + '" }]\n')
    files = [{"filename": "some_thing-1.0.tar.gz", "hashes": {"sha256": "b" * 64}, "upload-time": OLD},
             {"filename": "some_thing-1.0-py3-none-any.whl", "hashes": {"sha256": DIGEST}, "upload-time": NEW}]
    registry.documents = {"/simple/some-thing/": {"files": files}}
    code, said = checked(tmp_path, registry, {"uv.lock": lines})
    assert (code, "1.0: released 2099-01-01, expected 7 days ago" in said) == (3, True), said


def test_a_file_or_module_without_a_date_is_no_pass(tmp_path: Path, registry: Registry) -> None:
    lines = ('version = 1\n[[package]]\nname = "thing"\nversion = "1.0"\nsource = { registry = '
             '"https://pypi.org/simple" }\nwheels = [{ url = "https://files.pythonhosted.org/a.whl", hash = "sha256:'
             + DIGEST + '" }]\n')
    registry.documents = {"/simple/thing/": {"files": [{"filename": "a.whl", "hashes": {"sha256": DIGEST}}]},
                          "/go/a.example/b/@v/v1.2.0.info": {"Version": "v1.2.0"}}
    code, said = checked(tmp_path, registry, {
        "uv.lock": lines, "go.mod": "module a\nrequire a.example/b v1.2.0\n",
        "go.sum": f"a.example/b v1.2.0 h1:{'A' * 43}=\na.example/b v1.2.0/go.mod h1:{'A' * 43}=\n"})
    assert (code, "dates of 2 packages could not be asked for" in said, "says no date" in said) == (6, True, True), said


def test_gos_proxy(tmp_path: Path, registry: Registry) -> None:
    registry.documents = {"/go/github.com/!burnt!sushi/toml/@v/v1.2.0.info": {"Version": "v1.2.0", "Time": NEW}}
    code, said = checked(tmp_path, registry, {
        "go.mod": "module a\nrequire github.com/BurntSushi/toml v1.2.0\n",
        "go.sum": f"github.com/BurntSushi/toml v1.2.0 h1:{'A' * 43}=\n"
                  f"github.com/BurntSushi/toml v1.2.0/go.mod h1:{'A' * 43}=\n"})
    assert (code, "github.com/BurntSushi/toml v1.2.0: released 2099-01-01" in said) == (3, True), said


@pytest.mark.parametrize(("status", "body", "reason"), [
    (500, None, "answered 500"), (404, b"<html>", "one JSON document"), (404, b"[]", "answered no object"),
    (404, b'{"time": {"1.0.0": "yesterday"}}', "got 'yesterday'"),
    (404, b'{"versions": {"1.0.0": {}}}', "left: says no dates"),
    (404, b'{"time": {"1.0.0": null}}', "left 1.0.0: says no date")])
def test_who_does_not_answer_is_no_pass(tmp_path: Path, registry: Registry, status: int, body: bytes | None, reason: str
                                        ) -> None:
    registry.status = status
    registry.documents = {} if body is None else {"/npm/left": body}
    code, said = checked(tmp_path, registry, {"package.json": manifest("left"), "package-lock.json": lock(npm())})
    assert (code, reason in said) == (6, True), said


def test_usage(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text("")
    (tmp_path / "repo").mkdir()
    done = custody("source", "check", "repo", "--allowed-signers", "allowed", "--online", cwd=tmp_path)
    assert (done.returncode, "--cooldown DAYS" in done.stderr) == (2, True)
    (tmp_path / "custody.toml").write_text("[source]\ndates = {cargo = 'https://a.example'}\n")
    done = custody(*COMMAND, cwd=tmp_path)
    assert (done.returncode, "expected npm, pypi, golang" in done.stderr) == (2, True)
    (tmp_path / "custody.toml").write_text("[source]\nprivat = []\n")
    assert custody(*COMMAND, cwd=tmp_path).returncode == 2


def test_settings_and_flags_add_up(tmp_path: Path) -> None:
    git = GitFolder(tmp_path)
    git.commit("ann", "first", files={
        "package.json": manifest("@own/secret", "other-secret"),
        "package-lock.json": lock(npm("@own/secret"), npm("other-secret"))})
    (tmp_path / "allowed").write_text(git.allowed("ann"))
    (tmp_path / "custody.toml").write_text('[source]\nprivate = ["@own/*"]\n')
    done = custody(*COMMAND[:-3], "--private", "other-*", cwd=tmp_path)
    assert done.returncode == 3
    assert "dependency-confusion: @own/secret 1.0.0" in done.stdout
    assert "dependency-confusion: other-secret 1.0.0" in done.stdout
