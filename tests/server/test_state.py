"""The data directory: nobody else's to enter, unseen by git; each role's keys made by that role alone."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import stat
import subprocess
from pathlib import Path

import pytest

from custody.errors import AuthenticationError, MalformedError, UsageError
from custody.kit.clock import system_clock
from custody.kit.folder import state_folder
from custody.policy.load import PolicySet
from custody.server.platform import ROLES, running
from custody.settings import Settings
from custody.trust.roots import parse_signing_config, parse_trusted_root
from custody.wiring import Platform
from tests.cli.commands import custody


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("command", [
    ["trust", "token", "--email", "a@b.example"], ["trust", "export", "out"], ["db", "status"],
    ["scan", "."], ["sbom", "oci:nowhere"]])
def test_data_dir_into_git(tmp_path: Path, command: list[str]) -> None:
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    custody(*command, cwd=tmp_path)
    assert mode(tmp_path / ".custody") == 0o700
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    staged = subprocess.run(["git", "status", "--short"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert ".custody" not in staged.stdout


@pytest.mark.parametrize("role", ROLES)
def test_whichever_role_is_first_makes_it(tmp_path: Path, role: str) -> None:
    start(tmp_path / "data", role)
    assert mode(tmp_path / "data") == 0o700
    assert (tmp_path / "data" / ".gitignore").read_text().endswith("\n*\n")


def test_a_umask_takes_nothing_and_gives_nothing(tmp_path: Path) -> None:
    for number, umask in enumerate((0, 0o077, 0o277)):
        before = os.umask(umask)
        try:
            folder = state_folder(tmp_path / str(number))
        finally:
            os.umask(before)
        assert mode(folder) == 0o700


def test_a_folder_that_others_made_keeps_its_mode(tmp_path: Path) -> None:
    """A web server may read the log's tiles in it, and a project's own folder must not vanish from git."""
    tmp_path.chmod(0o755)
    state_folder(tmp_path)
    assert mode(tmp_path) == 0o755
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / ".custody"  # made by an older version
    old.mkdir(mode=0o750)
    state_folder(old)
    assert (old / ".gitignore").read_text().endswith("\n*\n")
    (old / ".gitignore").write_text("mine\n")
    state_folder(old)
    assert (old / ".gitignore").read_text() == "mine\n"


def test_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, reason in ((tmp_path / "file", "Not a directory"), (tmp_path / "file" / "in", "File exists")):
        with pytest.raises(UsageError, match=reason) as caught:
            state_folder(place)
        assert str(place) in caught.value.message
        assert "CUSTODY_DATA_DIR" in (caught.value.hint or "")


def start(folder: Path, *roles: str) -> set[str]:
    """The names of the keys after these roles ran."""

    async def main() -> None:
        async with running(Settings(data_dir=str(folder)), roles, policies=PolicySet([])):
            pass

    asyncio.run(main())
    return {path.name for path in folder.rglob("*.key")}


def test_admission_makes_authority(tmp_path: Path) -> None:
    assert start(tmp_path / "one", "admission") == {"ca.key", "tls.key"}  # of its serving certificate
    assert start(tmp_path / "two", "admission", "registry") == {"ca.key", "tls.key"}
    assert start(tmp_path / "three", "registry") == set()


def test_each_role_makes_its_own_keys(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert start(folder, "log") == {"log.key"}
    root = parse_trusted_root((folder / "trust" / "trusted_root.json").read_bytes())
    assert (len(root.tlogs), root.certificate_authorities, root.timestamp_authorities) == (1, (), ())
    assert start(folder, "tsa") == {"log.key", "tsa.key", "tsa-root.key"}
    assert start(folder, "ca") == {"log.key", "tsa.key", "tsa-root.key", "root.key", "intermediate.key", "ctlog.key"}
    assert "oidc.key" in start(folder, "oidc")
    root = parse_trusted_root((folder / "trust" / "trusted_root.json").read_bytes())
    config = parse_signing_config((folder / "trust" / "signing_config.json").read_bytes())
    assert {len(part) for part in (root.tlogs, root.certificate_authorities, root.ctlogs,
                                   root.timestamp_authorities, config.ca, config.oidc, config.rekor, config.tsa)} == {1}


def test_a_token_needs_the_issuers_key_and_no_other(tmp_path: Path) -> None:
    assert custody("trust", "token", "--email", "a@b.example", cwd=tmp_path).returncode == 0
    assert {path.name for path in (tmp_path / ".custody").rglob("*.key")} == {"oidc.key"}
    keys = json.loads((tmp_path / ".custody" / "trust" / "oidc.jwks").read_bytes())["keys"]
    assert [set(key) & {"d", "k"} for key in keys] == [set()]  # public halves


def test_the_authority_trusts_the_issuer_by_its_public_key(tmp_path: Path) -> None:
    """Whichever of the two starts first, and without reading oidc.key."""
    settings = Settings(data_dir=str(tmp_path))
    authority, other = Platform(settings, "http://127.0.0.1:1"), Platform(settings, "http://127.0.0.1:1")
    stranger = Platform(Settings(data_dir=str(tmp_path / "stranger")), "http://127.0.0.1:1")

    async def main() -> None:
        verifier = authority.ca.identities
        with pytest.raises(AuthenticationError, match=r"oidc\.jwks: no such file: no key of this issuer is known"):
            await verifier.verify(stranger.people.mint_email("a@b.example"), system_clock())
        token = other.people.mint_email("a@b.example")
        (tmp_path / "trust" / "oidc.key").write_bytes(b"not for you")
        assert (await verifier.verify(token, system_clock())).challenge == "a@b.example"
        with pytest.raises(AuthenticationError, match="is none of the issuer's keys"):
            await verifier.verify(stranger.people.mint_email("a@b.example"), system_clock())
        (tmp_path / "trust" / "oidc.jwks").write_text("{}")
        with pytest.raises(MalformedError, match=r"oidc\.jwks"):
            await verifier.verify(token, system_clock())

    try:
        asyncio.run(main())
    finally:
        authority.close()


def _export(folder: str, role: str) -> None:
    for _ in range(10):
        Platform(Settings(data_dir=folder), f"http://{role}.example").export([role])


def test_roles_that_start_together_lose_no_part(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_export, args=(str(tmp_path), role)) for role in ("ca", "log", "tsa", "oidc")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    config = parse_signing_config((tmp_path / "trust" / "signing_config.json").read_bytes())
    assert [service.url.partition("//")[2].partition(".")[0]
            for service in (*config.ca, *config.rekor, *config.tsa, *config.oidc)] == ["ca", "log", "tsa", "oidc"]


@pytest.mark.parametrize("name", ["ca.key", "tls.key"])
def test_a_serving_key_that_others_may_read_is_refused(tmp_path: Path, name: str) -> None:
    start(tmp_path / "data", "admission")
    (tmp_path / "data" / "admission" / name).chmod(0o644)
    with pytest.raises(UsageError, match=rf"{name}: others may read it \(mode 644\), expected 600"):
        start(tmp_path / "data", "admission")
