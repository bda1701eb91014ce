"""The recipe of custody's own image: what is in it is in the commit, byte for byte, and nothing else is."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from custody.build.definition import parse_definition
from custody.formats.lockfile import parse_requirements
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "image"
BASE = (FOLDER / "base.lock").read_text().splitlines()


def module(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def assemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name in ("SOURCE", "INPUTS", "OUTPUT"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"CUSTODY_{name}", str(tmp_path / name))
    (tmp_path / "SOURCE" / "deploy" / "image").mkdir(parents=True)
    return module("assemble")


def locked(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "SOURCE" / "deploy" / "image" / "base.lock").write_text("package a 1 all a\n" + "\n".join(lines) + "\n")
    return tmp_path / "OUTPUT" / "1-debian"


def test_a_file_that_is_another_is_not_taken(assemble: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "library"
    file.write_bytes(b"as it was")
    name, digest = str(file).lstrip("/"), hashlib.sha256(b"as it was").hexdigest()
    layer = locked(tmp_path, f"{digest}  {name}", f"{digest}  usr/share/ca-certificates/mozilla/a.crt")
    file.write_bytes(b"as it is now")
    with pytest.raises(SystemExit, match=rf"library: got sha256:[0-9a-f]+, expected {digest} \(package a of another"):
        assemble.base(layer)


def test_a_file_or_a_link_that_is_missing_is_said(assemble: ModuleType, tmp_path: Path) -> None:
    layer = locked(tmp_path, f"{'a' * 64}  nowhere/library")
    with pytest.raises(SystemExit, match="/nowhere/library: no such file, expected that of package a"):
        assemble.base(layer)
    (tmp_path / "link").symlink_to("elsewhere")
    layer = locked(tmp_path, f"-> library  {str(tmp_path / 'link').lstrip('/')}")
    with pytest.raises(SystemExit, match="link: got -> elsewhere, expected -> library"):
        assemble.base(layer)


def test_no_shell_no_package_manager_and_nothing_that_is_no_file_of_a_package() -> None:
    lines = [line for line in BASE if not line.startswith("#")]
    assert lines[0].startswith("package ")
    assert all(re.fullmatch(r"package \S+ \S+ \S+ \S+|(?:[0-9a-f]{64}|-> \S+)  [^/\s]\S*", line) for line in lines)
    programs = [line.rpartition("/")[2] for line in lines if re.search(r"  (?:usr/)?s?bin/", line)]
    assert programs == ["python3.11"]


def test_the_wheels_are_those_that_make_installs() -> None:
    pytest.importorskip("packaging")
    assert (FOLDER / "wheels.lock").read_text() == module("lock").wheels(), "python deploy/image/lock.py"
    lock = parse_requirements((FOLDER / "wheels.lock").read_bytes(), "wheels.lock")
    assert not lock.problems
    assert {"hatchling", "aiohttp", "cryptography"} <= {entry.name for entry in lock.entries}


def test_it_runs_as_nobody_in_particular() -> None:
    image = parse_definition((ROOT / "custody-build.toml").read_bytes()).image
    assert (image.user, image.workdir) == ("65532:65532", "/data")
    assert image.entrypoint == ["/usr/bin/python3.11", "-I", "-m", "custody.cli.main"]
