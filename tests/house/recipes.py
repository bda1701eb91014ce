"""Reads the recipes of CONTRIBUTING.md and carries them out in a copy of the repository.

A recipe is a section below "To add something". Its first paragraph names, as `path`, every file that it touches. Then
come those files, each as a block below a line that begins with its path: whole where it is new, else as a `diff`
whose lines without a mark say where, and are in the file once, in one piece. What stands in `console` blocks is typed
in the copy, where `custody` and `python` are the copy's, and must print what stands below it (see tests.guides).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import guides
from tests.conftest import ROOT

DOCUMENT = ROOT / "CONTRIBUTING.md"
_CHAPTER = "## To add something\n"
_PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.\w+)`")
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Edit:
    path: str
    text: str
    is_diff: bool

    def apply(self, folder: Path) -> None:
        """Raises AssertionError where the file is not as the recipe says."""
        file = folder / self.path
        if not self.is_diff:
            assert not file.exists(), f"{self.path}: is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text)
            return
        lines = self.text.splitlines(keepends=True)
        assert all(line[0] in " +-\n" for line in lines), f"{self.path}: a line of no diff"
        before = "".join(line[1:] or "\n" for line in lines if line[0] != "+")
        after = "".join(line[1:] or "\n" for line in lines if line[0] != "-")
        text = file.read_text()
        assert text.count(before) == 1, f"{self.path}: these lines are in it {text.count(before)} times:\n{before}"
        file.write_text(text.replace(before, after))


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    paths: tuple[str, ...]
    """What its first paragraph says that it touches."""
    edits: tuple[Edit, ...]
    steps: tuple[guides.Step, ...]


def recipes() -> dict[str, Recipe]:
    """By name, as `A command`."""
    chapter = DOCUMENT.read_text().partition(_CHAPTER)[2].partition("\n## ")[0]
    return {name: _recipe(name, text) for name, _, text in
            (section.partition("\n") for section in re.split(r"^### ", chapter, flags=re.MULTILINE)[1:])}


def _recipe(name: str, text: str) -> Recipe:
    edits: list[Edit] = []
    steps: list[guides.Step] = []
    for block in _BLOCK.finditer(text):
        if block["language"] == "console":
            steps += guides.steps(block["body"].splitlines())
        else:
            before = text[:block.start()].rstrip().rpartition("\n")[2]
            path = _PATH.match(before)
            assert path, f"{name}: the block below {before!r} is of no file"
            edits.append(Edit(path[1], block["body"], block["language"] == "diff"))
    return Recipe(name, tuple(_PATH.findall(text.strip().partition("\n\n")[0])), tuple(edits), tuple(steps))


class Copy:
    """A copy of the repository in which a recipe is carried out, and a shell in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("src", "scripts", "docs", "tests", "examples"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        programs = folder / "bin"
        programs.mkdir()
        for name, module in (("custody", "-m custody.cli.main"), ("python", ""), ("ruff", "-m ruff")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
            program.chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CUSTODY_")}
        self._shell = guides.Shell(folder, environment | {
            "PATH": f"{programs}:{environment['PATH']}", "PYTHONPATH": f"{folder / 'src'}:{folder}"})

    def close(self) -> None:
        """End what runs in it."""
        self._shell.close()

    def apply(self, recipe: Recipe) -> None:
        """Its edits. Raises AssertionError where a file is not as the recipe says."""
        for edit in recipe.edits:
            edit.apply(self.folder)

    def changed(self) -> set[str]:
        """Files that are not as they were."""
        names = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}
        return {name for name in names if not name.startswith("bin/") and (
            not (ROOT / name).is_file() or (ROOT / name).read_bytes() != (self.folder / name).read_bytes())}

    def type(self, command: str) -> str:
        """What a command prints, errors included."""
        return self._shell.type(command)[1]

    def follow(self, recipe: Recipe) -> None:
        """Type its commands. Raises AssertionError with what one prints otherwise than the recipe says."""
        for step in recipe.steps:
            printed = self.type(step.command)
            pattern = guides.expression(step.expected)[0]
            assert re.fullmatch(pattern, printed.strip(), re.DOTALL), (
                f"$ {step.command}\n--- CONTRIBUTING.md\n{step.expected}\n--- typed\n{printed}")
