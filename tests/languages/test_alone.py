"""policylang by itself: what its README shows, what importing it costs, and that it works where there is no custody."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import re2
import yaml

import policylang

ROOT = Path(__file__).parents[2]
PACKAGE = Path(policylang.__file__).parent
EXAMPLES = ROOT / "examples" / "policylang"
LANGUAGES = ("cel", "rego", "jmespath", "kpattern", "conditions", "variables", "falco")
ALLOWED = {"policylang", "yaml", "re2", "_cython_3_1_4", "cython_runtime"}

EVENTS = ({"evt.type": "execve", "container.id": "3ad7b26ded6d", "container.name": "web", "proc.name": "bash",
           "user.name": "root"},
          {"evt.type": "execve", "container.id": "host", "proc.name": "bash"})
PRINTED = {
    "images": "cel      ['proxy']\nrego     ['proxy']\njmespath ['proxy']\npattern  Mismatch(message=\"resource value "
              "'docker.io/envoy:1.31' does not match 'ghcr.io/*' at path /spec/containers/1/image/\", "
              "path='/spec/containers/1/image/', skip=False)\n",
    "shells": "Warning: bash was started in web by root\n"}


def test_the_readme_is_right() -> None:
    result = doctest.testfile(str(PACKAGE / "README.md"), module_relative=False)
    assert result.attempted >= 12
    assert result.failed == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_importing_a_language_imports_little(language: str) -> None:
    code = ("import sys; before = set(sys.modules)\n"
            f"import policylang.{language} as language\n"
            "[getattr(language, name) for name in getattr(language, '__all__', ())]\n"
            "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))")
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                             env={"PYTHONPATH": str(PACKAGE.parent)}).stdout
    packages = {name for name in printed.split() if name not in sys.stdlib_module_names
                and not name.startswith(("_sysconfigdata", "_cython_"))}
    assert packages - ALLOWED == set()


def test_every_example_is_run() -> None:
    assert {example.stem for example in EXAMPLES.glob("*.py")} == set(PRINTED)


@pytest.mark.parametrize("example", PRINTED)
def test_it_works_without_custody(example: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "policylang", ignore=shutil.ignore_patterns("__pycache__"))
    libraries = {str(Path(module.__file__ or "").parents[1]) for module in (yaml, re2)}
    code = ("import runpy, sys\n"
            f"sys.path += {[str(tmp_path), *libraries]!r}\n"
            "sys.modules['custody'] = None  # importing it fails, as where it is not installed\n"
            f"runpy.run_path({str(EXAMPLES / f'{example}.py')!r})\n"
            f"import policylang; assert policylang.__file__.startswith({str(tmp_path)!r})\n")
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], input="\n".join(map(json.dumps, EVENTS)),
                         capture_output=True, text=True, cwd=tmp_path)
    assert ran.stderr == ""
    assert ran.stdout == PRINTED[example]
