"""Text of others in documents of ours: it forges no field, takes none in, and makes no reader silent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from custody.formats import sbom
from custody.formats.bom import Catalog, Distribution, Location, Package, Unknown, parse_unknown
from custody.services.documents import SBOMS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = ("<text>", "<TEXT>x", "a\nPackageName: forged", "x</text>\nPackageName: forged", "]]>", "<!--", "&lt;",
         "\x1b[31m", "a; installed by pkg:deb/debian/x@1", "; built package from: zz 9", "\u2028PackageName: z",
         "#", "NONE", " ")
FORMATS = [name for name in SBOMS if name not in ("github", "purls")]


def package(of: str, **said: Any) -> Package:
    return Package(type="npm", purl=f"pkg:npm/{of}@1", ecosystem="npm", source=of, source_version="1",
                   **{"name": of, "version": "1", **said})


def places(text: str) -> list[dict[str, Any]]:
    """A package with the text in one field."""
    return [*({field: text} for field in ("name", "version", "supplier", "author", "description", "homepage",
                                          "download", "copyright")),
            {"licenses": (text,)}, {"hashes": (("sha256", text),)}, {"cpes": (text,)},
            *({"locations": (Location(*("" if number != place else text for number in range(4))),)}
              for place in range(4))]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_of_a_package_is_nothing_but_text(form: str, text: str) -> None:
    for said in places(text):
        catalog = Catalog(name="n", digest="sha256:" + "0" * 64,
                          packages=(package("a"), package("b", **said), package("c", requires=("pkg:npm/a@1",))))
        read = sbom.read(SBOMS[form].write(catalog, NOW))
        assert read is not None
        assert [entry.purl for entry in read.packages] == ["pkg:npm/a@1", "pkg:npm/b@1", "pkg:npm/c@1"], said
        assert not read.unidentified, said
        assert not any(entry.owner or entry.bundled_in for entry in read.packages), said
        assert read.packages[2].requires == ("pkg:npm/a@1",), said
        assert {entry.source for entry in read.packages} <= {"a", "b", "c"}, said


@pytest.mark.parametrize("form", [form for form in FORMATS if "unknowns" not in SBOMS[form].loses])
@pytest.mark.parametrize("text", TEXTS)
def test_what_was_not_catalogued_is_never_lost(form: str, text: str) -> None:
    catalog = Catalog(name="n", digest="sha256:" + "0" * 64, packages=(package("a"),),
                      unknowns=(Unknown(kind=text, count=2), Unknown(kind="Java archive", count=3)))
    read = sbom.read(SBOMS[form].write(catalog, NOW))
    assert read is not None
    assert len(read.unknowns) == 2
    assert Unknown(kind="Java archive", count=3) in read.unknowns


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", TEXTS[:4])
def test_text_of_a_distribution_forges_no_package(form: str, text: str) -> None:
    for system in (Distribution(id=text, version="1", name=text), Distribution(id="debian", version=text, name="x")):
        catalog = Catalog(name=text, digest="sha256:" + "0" * 64, distribution=system, packages=(package("a"),))
        read = sbom.read(SBOMS[form].write(catalog, NOW))
        assert read is not None
        assert [entry.purl for entry in read.packages] == ["pkg:npm/a@1"]
        assert not read.unidentified


def test_an_unknown_that_cannot_be_read_is_one() -> None:
    assert parse_unknown("Java archive: 2, installed by pkg:deb/a") == Unknown(
        kind="Java archive", count=2, owner="pkg:deb/a")
    assert parse_unknown("many\nthings: all") == Unknown(kind="many things: all", count=1)
    assert parse_unknown("x" * 5000).kind == "x" * 200
    assert parse_unknown("") == Unknown(kind="something", count=1)
