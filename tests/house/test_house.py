"""The rules of the house that no linter knows."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import click
import pytest

from custody.cli.table import COMMANDS
from tests.cli.commands import custody
from tests.conftest import ROOT

SOURCES = sorted((ROOT / "src").rglob("*.py"))
HEAVY = ("asyncio", "aiohttp", "click", "cryptography", "msgspec", "rich", "starlette", "uvicorn", "yaml")


def loaded(*arguments: str) -> set[str]:
    """Top-level modules after a command."""
    script = ("import sys\nfrom custody.cli.main import main\n"
              f"main({list(arguments)!r})\nprint('LOADED', *sorted({{name.split('.')[0] for name in sys.modules}}))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(next(line for line in done.stdout.splitlines() if line.startswith("LOADED")).split()[1:])


def test_help_loads_no_library() -> None:
    assert loaded("--help").isdisjoint(HEAVY)
    assert loaded("--version").isdisjoint(HEAVY)


def test_verifying_loads_no_service_library(tmp_path: Path) -> None:
    custody("generate-key-pair", cwd=tmp_path, COSIGN_PASSWORD="")
    libraries = loaded("verify", "--key", str(tmp_path / "cosign.pub"), "--insecure-ignore-tlog",
                   f"127.0.0.1:1/x@sha256:{'0' * 64}")
    assert "cryptography" in libraries
    assert libraries.isdisjoint({"aiohttp", "rich", "starlette", "uvicorn", "yaml", "asn1crypto", "dulwich"})


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("up", "serve")])
def test_commands_import_no_server_and_no_async_client(name: str) -> None:
    libraries = loaded(name, "--help")
    assert "click" in libraries
    assert libraries.isdisjoint({"aiohttp", "rich", "starlette", "uvicorn"})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    def check(command: click.Command) -> None:
        assert command.help, command.name
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{command.name} {option.opts}"
        if isinstance(command, click.Group):
            context = click.Context(command)
            for inner in map(partial(command.get_command, context), command.list_commands(context)):
                assert inner is not None
                check(inner)

    check(importlib.import_module(COMMANDS[name][0]).command)


def test_reference_is_what_the_code_says() -> None:
    """Every command, setting and error is in docs/reference, as it is now."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "reference.py", "--check"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "docs/reference: up to date\n"), done.stderr
    settings = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert [line for line in settings.splitlines() if re.search(r"\|\s*\|$", line)] == []


def test_modules_stay_small() -> None:
    long = [f"{path.relative_to(ROOT)}: {count}" for path in SOURCES if (count := path.read_text().count("\n")) > 450]
    assert long == []


def test_only_verifiers_seal_evidence() -> None:
    callers = {path.relative_to(ROOT / "src").as_posix() for path in SOURCES
               if re.search(r"\bseal\(", path.read_text()) and path.name != "model.py"}
    assert callers == {"custody/sign/verify.py", "custody/sign/notary/evidence.py"}


def test_dependencies_are_listed_with_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    declared = set(project["project"]["dependencies"]) | set(groups["dev"]) | set(groups["build"])
    rows = re.findall(r"^\| ([a-z0-9, -]+) \| \S", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    listed = {name.strip() for row in rows for name in row.split(",")} - {"package"}
    assert listed == declared


def test_lock_names_public_registries_only() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_requirements_are_the_lock() -> None:
    """pip installs what uv would: the same versions, and only files whose hash the lock has."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    files = {package["name"]: (package["version"], {
        file["hash"] for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]})
        for package in packages if package["source"] != {"editable": "."}}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = {*project["project"]["dependencies"], *project["dependency-groups"]["build"]}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        names = set()
        for requirement in re.split(r"\n(?=\S)", path.read_text().strip()):
            name, version = re.match(r"([\w.-]+)==([\w.]+)", requirement).groups()  # type: ignore[union-attr]
            hashes = set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", requirement))
            names.add(name)
            assert (version, hashes) == files[name], f"{path.name}: {name}: scripts/lock writes it again"
        assert direct <= names, path.name


def test_no_path_of_a_workplace() -> None:
    workplace = re.compile(rb"(?<![\w.])/(?:work|farm)/|bash_jobs|tmp/scratch|\.pyenv|/opt/wheels|PIP_FIND_LINKS")
    folders = ("src", "tests", "docs", "bench", "examples", "scripts", "requirements", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")
             if path.is_file() and "__pycache__" not in path.parts]
    files += [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]  # git's, in a worktree
    naming = [str(path) for path in files if workplace.search(path.read_bytes()) and path != Path(__file__)]
    assert naming == []


AUDIT = """
import sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        print("SOCKET", event, arguments, file=sys.stderr)
sys.addaudithook(hook)
from custody.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("arguments", [
    ("verify", "--key", "k.pub", "--insecure-ignore-tlog", "registry.example.com/a@sha256:" + "0" * 64),
    ("sbom", "registry.example.com/a:1"), ("scan", "--allow-empty-db", "registry.example.com/a:1"),
    ("tree", "registry.example.com/a:1"), ("copy", "-r", "registry.example.com/a:1", "registry.example.com/b:1"),
    ("save", "--dir", "saved", "registry.example.com/a:1"), ("clean", "-f", "registry.example.com/a:1"),
    ("download", "signature", "registry.example.com/a:1"), ("triangulate", "registry.example.com/a:1"),
    ("sign", "--key", "k.key", "registry.example.com/a:1"),
    ("attest", "--key", "k.key", "--predicate", "bom.json", "registry.example.com/a:1"),
    ("attach", "sbom", "--sbom", "bom.json", "registry.example.com/a:1"),
    ("verify-attestation", "--key", "k.pub", "--insecure-ignore-tlog", "registry.example.com/a:1"),
    ("log", "info", "--log", "https://log.example.com", "--trusted-root", "trusted_root.json"),
    ("check", "registry.example.com/a:1", "--policy", "p.yaml"),
    ("notation", "sign", "registry.example.com/a:1"), ("notation", "list", "registry.example.com/a:1"),
    ("notation", "inspect", "registry.example.com/a:1"),
    ("notation", "login", "-u", "ann", "-p", "secret", "registry.example.com"),
])
def test_offline_opens_no_socket(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    from tests.cli.test_platform_commands import POLICY

    custody("generate-key-pair", "--output-key-prefix", "k", cwd=tmp_path, COSIGN_PASSWORD="")
    policy = POLICY.format(url="http://127.0.0.1:1").replace("ghcr.io/team", "registry.example.com")
    (tmp_path / "p.yaml").write_text(policy)
    (tmp_path / "bom.json").write_text('{"bomFormat": "CycloneDX", "specVersion": "1.6"}')
    custody("trust", "export", ".", "--url", "https://log.example.com", cwd=tmp_path)
    custody("notation", "certificate", "generate-test", "--default", "t", cwd=tmp_path, NOTATION_CONFIG=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", AUDIT, "--offline", *arguments], cwd=tmp_path, text=True,
                          capture_output=True, check=False,
                          env={**os.environ, "COSIGN_PASSWORD": "", "NOTATION_CONFIG": str(tmp_path)})
    assert "SOCKET" not in done.stderr
    assert "no sockets with --offline" in done.stderr + done.stdout
    assert done.returncode == (3 if arguments[0] == "check" else 6), done.stderr


def test_the_hook_sees_sockets(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", AUDIT, "sbom", "127.0.0.1:1/a:1"], cwd=tmp_path, text=True,
                          capture_output=True, check=False)
    assert "SOCKET socket.connect" in done.stderr
    assert done.returncode == 6


def test_help_into_a_closed_pipe() -> None:
    script = f"PYTHONUNBUFFERED=1 {sys.executable} -m custody.cli.main --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) in (("141\n", ""), ("0\n", ""))


def test_an_unknown_command(tmp_path: Path) -> None:
    done = custody("nonsense", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: No such command 'nonsense'.")
