"""Docker's and Podman's credential files in all their forms, and helpers that misbehave."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from custody.errors import AuthenticationError, CustodyError, MalformedError
from custody.kit import program as programs
from custody.registry.credentials import Credential, find_credential

ANN = {"auth": base64.b64encode(b"ann:se:cret").decode()}
AS_ANN = Credential("ann", "se:cret")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def config(environ: dict[str, str], document: Any) -> None:
    write(Path(environ["HOME"]) / ".docker" / "config.json", document)


@pytest.mark.parametrize("key", ["ghcr.io", "https://ghcr.io", "https://ghcr.io/", "http://ghcr.io", "GHCR.io:443",
                                 "https://ghcr.io/v1/", "https://ghcr.io/v2/", "ghcr.io/v2", "ghcr.io/org",
                                 "ghcr.io/org/app"])
def test_keys_of_auths(environ: dict[str, str], key: str) -> None:
    config(environ, {"auths": {"other.io": {"auth": ""}, key: ANN}})
    assert find_credential("ghcr.io", "org/app", environ) == AS_ANN


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io",
                                 "https://registry-1.docker.io/v2/"])
def test_docker_hub(environ: dict[str, str], key: str) -> None:
    config(environ, {"auths": {key: ANN}})
    assert find_credential("docker.io", "library/nginx", environ) == AS_ANN
    assert find_credential("registry-1.docker.io", "library/nginx", environ) == AS_ANN


@pytest.mark.parametrize("key", ["ghcr.io.evil.example", "xghcr.io", "ghcr.io:5000", "ghcr.io/or", "ghcr.io/org/ap",
                                 "ghcr.io/org/app/more", "io", "", "https://", "[::", "http://ghcr.io:80"])
def test_keys_of_others(environ: dict[str, str], key: str) -> None:
    config(environ, {"auths": {key: ANN}})
    assert find_credential("ghcr.io", "org/app", environ) is None


def test_the_most_specific_namespace_wins(environ: dict[str, str]) -> None:
    config(environ, {"auths": {name: {"username": name, "password": "x"} for name in
                               ("quay.io", "quay.io/org/app", "quay.io/org")}})
    for repository, name in [("org/app", "quay.io/org/app"), ("org/app/sub", "quay.io/org/app"),
                             ("org/b", "quay.io/org"), ("organ/b", "quay.io")]:
        credential = find_credential("quay.io", repository, environ)
        assert credential is not None
        assert credential.username == name


@pytest.mark.parametrize(("entry", "expected"), [
    ({"username": "a", "password": "b"}, Credential("a", "b")),
    ({"identitytoken": "T"}, Credential(identity_token="T")),
    ({**ANN, "identitytoken": "T"}, Credential("ann", "se:cret", "T")),
    ({"registrytoken": "R"}, Credential(registry_token="R")),
    ({"auth": base64.b64encode(b"ann:x\0\0").decode()}, Credential("ann", "x")),
    ({}, None), ({"auth": ""}, None), ({"email": "a@b"}, None),
])
def test_entries(environ: dict[str, str], entry: dict[str, str], expected: Credential | None) -> None:
    config(environ, {"auths": {"ghcr.io": entry}})
    assert find_credential("ghcr.io", "", environ) == expected


def test_places_in_order(environ: dict[str, str], tmp_path: Path) -> None:
    """Each place is used, and hides those after it."""
    places: list[tuple[str, Path | None]] = [
        ("config", tmp_path / ".config" / "containers" / "auth.json"),
        ("runtime", tmp_path / "run" / "containers" / "auth.json"),
        ("home", tmp_path / ".docker" / "config.json"), ("file", tmp_path / "auth.json"),
        ("docker", tmp_path / "docker" / "config.json"), ("inline", None)]
    for name, path in places:
        document = {"auths": {"ghcr.io": {"username": name, "password": "x"}}}
        if path is None:
            environ["DOCKER_AUTH_CONFIG"] = json.dumps(document)
        else:
            write(path, document)
        if name == "file":
            environ["REGISTRY_AUTH_FILE"] = str(path)
        if name == "docker":
            environ["DOCKER_CONFIG"] = str(tmp_path / "docker")
        credential = find_credential("ghcr.io", "", environ)
        assert credential is not None
        assert credential.username == name


def test_xdg_config_home(environ: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "xdg" / "containers" / "auth.json", {"auths": {"ghcr.io": ANN}})
    assert find_credential("ghcr.io", "", environ) is None
    assert find_credential("ghcr.io", "", {**environ, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == AS_ANN


@pytest.mark.parametrize(("document", "reason"), [
    ("{", "expected one JSON document"), ("[]", "expected an object with auths"),
    ({"auths": []}, "auths: got a list"), ({"credHelpers": "x"}, "credHelpers: got a string"),
    ({"auths": {"ghcr.io": 3}}, "expected an object with auth"),
    ({"auths": {"ghcr.io": {"auth": "%%"}}}, "not base64 of name:password"),
    ({"auths": {"ghcr.io": {"auth": base64.b64encode(b"nocolon").decode()}}}, "not base64 of name:password"),
    ({"auths": {"ghcr.io": {"auth": 7}}}, "auth: got a number, expected text"),
    ({"credsStore": "../evil"}, "expected NAME of a program"),
    ({"credHelpers": {"ghcr.io": 3}}, "expected NAME of a program"),
])
def test_a_broken_file_is_named(environ: dict[str, str], document: Any, reason: str) -> None:
    config(environ, document)
    with pytest.raises((MalformedError, AuthenticationError), match=reason) as caught:
        find_credential("ghcr.io", "", environ)
    assert "config.json" in caught.value.message


def test_a_file_that_cannot_be_read_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".docker" / "config.json").mkdir(parents=True)
    with pytest.raises(AuthenticationError, match=r"config\.json: Is a directory"):
        find_credential("ghcr.io", "", environ)


# Helpers


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "docker-credential-mine"


def script(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\nread server || true\n{text}\n")
    program.chmod(0o755)


def test_helpers_by_host_and_for_all(environ: dict[str, str], program: Path) -> None:
    script(program, """case "$server" in
      https://index.docker.io/v1/) echo '{"Username":"hub","Secret":"s"}';;
      ghcr.io) echo '{"Username":"<token>","Secret":"T"}';;
      quay.io/org) echo '{"Username":"org","Secret":"s"}';;
      https://old.example/v1/) echo '{"Username":"old","Secret":"s"}';;
      *) echo credentials not found in native keychain; exit 1;; esac""")
    config(environ, {"credsStore": "mine", "auths": {"https://old.example/v1/": {}, "file.example": ANN}})
    assert find_credential("docker.io", "library/x", environ) == Credential("hub", "s")
    assert find_credential("ghcr.io", "", environ) == Credential(identity_token="T")
    assert find_credential("old.example", "", environ) == Credential("old", "s")
    assert find_credential("file.example", "", environ) == AS_ANN
    assert find_credential("nobody.example", "", environ) is None
    config(environ, {"credHelpers": {"ghcr.io": "mine", "quay.io/org": "mine"}, "credsStore": "absent"})
    assert find_credential("ghcr.io", "", environ) == Credential(identity_token="T")
    assert find_credential("quay.io", "org/app", environ) == Credential("org", "s")


@pytest.mark.parametrize(("text", "reason"), [
    ("echo oh no; exit 3", "for ghcr.io: ended with 3: oh no"),
    ("exit 1", "ended with 1: no words"),
    ("printf '\\033[2Jbad'; exit 1", r"ended with 1:  \[2Jbad$"),
    ("echo secret-words", "got something else than an object with Username and Secret$"),
    ("echo '[]'", "got something else than an object"),
    ("echo '{\"Username\": 7}'", "got something else than an object"),
    ("head -c 70000 /dev/zero", "got more than 65536 bytes"),
    ("yes", "got more than 65536 bytes"),
])
def test_helpers_that_fail(environ: dict[str, str], program: Path, text: str, reason: str) -> None:
    script(program, text)
    config(environ, {"credsStore": "mine"})
    with pytest.raises(AuthenticationError, match=f"docker-credential-mine.*{reason}") as caught:
        find_credential("ghcr.io", "", environ)
    assert "secret-words" not in caught.value.message


def test_a_helper_that_is_not_there(environ: dict[str, str]) -> None:
    config(environ, {"credsStore": "absent"})
    with pytest.raises(CustodyError, match="docker-credential-absent: No such file"):
        find_credential("ghcr.io", "", environ)


def test_a_helper_that_hangs_ends_with_its_children(environ: dict[str, str], program: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "DEADLINE", 0.5)
    script(program, f"sleep 300 & echo $! > {tmp_path}/child\nsleep 300")
    config(environ, {"credsStore": "mine"})
    with pytest.raises(AuthenticationError, match=r"docker-credential-mine: not answered within 0\.5 s"):
        find_credential("ghcr.io", "", environ)
    child = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
    for _ in range(200):
        if not child.exists() or child.read_text().rpartition(") ")[2].startswith("Z"):
            return
        time.sleep(0.05)
    pytest.fail("the helper's child still runs")
