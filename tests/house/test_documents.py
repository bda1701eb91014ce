"""The documents: one map with every page in it once, and no link that leads nowhere."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAP = ROOT / "docs" / "README.md"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path != MAP)
LINKING = [MAP, *PAGES, *sorted(ROOT.glob("*.md")), *sorted((ROOT / "bench").rglob("*.md")),
           *sorted((ROOT / "src").rglob("*.md"))]
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]`]|`[^`]*`)*\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"[\w.-]*(?:/[\w.-]+)*\w\.py\b"
                   r"|\b(?:src|tests|bench|docs|examples|scripts)(?:/[\w.-]+)+(?![\w.*/-])/?")
_FOLDERS = ("src", "src/custody", "src/policylang", "tests", "bench")
"""In which a page may name a file without saying so."""
NAMING = [path for path in LINKING
          if path.name not in ("CHANGELOG.md", "CONTRIBUTING.md") and path.parent.name != "reference"]
"""Those that speak of what is there: a change log tells of what was, a recipe makes its files, references are made."""


def links(path: Path) -> list[str]:
    """Targets in this repository, as they are written: `page.md`, `page.md#heading`, `#heading`."""
    text = _FENCE.sub("", path.read_text())
    return [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]


def anchors(path: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them: in small letters, spaces as hyphens, most marks left out; the second
    of one name ends with -1."""
    names: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", path.read_text()), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = names[name] = names.get(name, -1) + 1
        result.add(f"{name}-{count}" if count else name)
    return result


def broken(path: Path) -> list[str]:
    """Links of a page that lead to no file, or to no heading of it."""
    result = []
    for target in links(path):
        name, _, anchor = target.partition("#")
        page = (path.parent / name) if name else path
        if not page.exists() or (anchor and (page.is_dir() or anchor not in anchors(page))):
            result.append(target)
    return result


def absent(path: Path) -> list[str]:
    """Files, modules that are run, and tests that a page names in `code`, and that are not there."""
    result = []
    for code in _CODE.findall(_FENCE.sub("", path.read_text())):
        result += [name for name in _FILE.findall(code) if not _is_file(name)]
        result += [module for module in re.findall(r"python -m ((?:tests|bench)[\w.]*)", code)
                   if not _is_file(f"{module.replace('.', '/')}.py") and not (ROOT / module.replace(".", "/")).is_dir()]
        if re.fullmatch(r"test_\w+_\w+", code) and code not in _tests():
            result.append(code)
    return result


def _is_file(name: str) -> bool:
    """Named from the top, from one of the usual folders, or as the last parts of a path."""
    return (any((ROOT / folder / name).exists() for folder in (".", *_FOLDERS))
            or any(f"/{path}".endswith(f"/{name}") for path in _python_files()))


@functools.cache
def _python_files() -> tuple[str, ...]:
    return tuple(path.relative_to(ROOT).as_posix() for folder in ("src", "tests", "bench", "scripts")
                 for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def _tests() -> frozenset[str]:
    """Names of test functions, and of files of them."""
    return frozenset(name for path in (ROOT / "tests").rglob("test_*.py")
                     for name in (path.stem, *re.findall(r"def (test_\w+)", path.read_text())))


def test_every_page_is_in_the_map_once() -> None:
    named = [(MAP.parent / target).resolve() for target in links(MAP)]
    assert sorted(named) == [page.resolve() for page in PAGES]


def test_the_map_has_four_kinds_of_pages() -> None:
    """What is learned, done, looked up and understood (diataxis.fr), and nothing beside them."""
    assert [heading.partition(":")[0] for heading in re.findall(r"^## (.+)$", MAP.read_text(), re.MULTILINE)] == [
        "Learn", "Do", "Look up", "Understand"]


@pytest.mark.parametrize("path", LINKING, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


@pytest.mark.parametrize("path", NAMING, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(path: Path) -> None:
    assert absent(path) == []


def test_what_is_absent(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`policy/decide.py` `decide.py` `src/custody/cli` `bench/registry` `python -m tests.guides NAME` "
                    "`test_what_is_absent` `python -m tests.oracles`\n```\n`no.py`\n```\n"
                    "`policy/decided.py` `tests/no_folder` `python -m bench.nothing` `ecide.py` `test_of_nothing`\n")
    assert absent(page) == ["policy/decided.py", "tests/no_folder", "bench.nothing", "ecide.py", "test_of_nothing"]


def test_what_a_broken_link_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `code` heading, of two\n## Twice\n## Twice\n```\n[x](no.md)\n# no heading\n```\n"
                    "[a](page.md) [b](#a-code-heading-of-two) [c](#twice-1) [d](page.md#twice) [e](https://x.example/) "
                    "[f](no.md) [g](#twice-2) [h](page.md#no-heading) [`i[0]`](other.md#x)\n")
    assert broken(page) == ["no.md", "#twice-2", "page.md#no-heading", "other.md#x"]
