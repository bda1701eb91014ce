"""The documents: one map with every page in it once, and no link that leads nowhere."""

from __future__ import annotations

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


def test_what_a_broken_link_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `code` heading, of two\n## Twice\n## Twice\n```\n[x](no.md)\n# no heading\n```\n"
                    "[a](page.md) [b](#a-code-heading-of-two) [c](#twice-1) [d](page.md#twice) [e](https://x.example/) "
                    "[f](no.md) [g](#twice-2) [h](page.md#no-heading) [`i[0]`](other.md#x)\n")
    assert broken(page) == ["no.md", "#twice-2", "page.md#no-heading", "other.md#x"]
