"""A new cataloger is one file (`toy.py`) and one row; a new ecosystem one row more. What is wrong with one is said."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from custody import ecosystems, versions
from custody.cli.run import run
from custody.ecosystems import BY_OSV, ECOSYSTEMS, Ecosystem
from custody.sbom import catalogers, dependencies
from custody.sbom.catalog import catalog
from custody.sbom.catalogers.cataloger import Cataloger
from custody.sbom.catalogers.fact import Fact
from tests.contents import toy
from tests.contents.images import image, layout, tar
from tests.contents.test_scan import CRITICAL, record

_PATH = "app/vendor/composer/toys.json"
_INSTALLED = json.dumps({"packages": [
    {"name": "monolog/monolog", "version": "v2.9.1", "license": ["MIT"],
     "require": {"php": ">=7.2", "psr/log": "^1.0"}},
    {"name": "psr/log", "version": "1.1.0RC2"}]}).encode()


def _use(monkeypatch: pytest.MonkeyPatch, cataloger: Cataloger) -> None:
    monkeypatch.setattr(catalogers, "_TABLE", catalogers.table((*catalogers.CATALOGERS, cataloger)))


def _scan(records: Iterable[dict[str, object]], capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    layout(Path("image"), [tar([(_PATH, _INSTALLED)])])
    Path("records").mkdir()
    for entry in records:
        Path(f"records/{entry['id']}.json").write_text(json.dumps(entry))
    assert run(["db", "import", "records"]) == 0
    capsys.readouterr()
    assert run(["scan", "oci:image", "-o", "json"]) == 0
    findings: list[dict[str, str]] = json.loads(capsys.readouterr().out)["findings"]
    return findings


def test_from_an_image_to_an_sbom_and_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    _use(monkeypatch, toy.CATALOGER)
    findings = _scan([
        record("GHSA-1", [{"introduced": "0"}, {"fixed": "1.1.0"}], ecosystem="Packagist", package="psr/Log",
               severity=[CRITICAL]),
        record("GHSA-2", [{"introduced": "0"}, {"fixed": "2.9.1"}], ecosystem="Packagist", package="monolog/monolog")],
        capsys)
    assert [(found["purl"], found["ecosystem"]) for found in findings] == [
        ("pkg:composer/psr/log@1.1.0RC2", "Packagist")]
    assert run(["sbom", "oci:image", "-o", "cyclonedx-json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(part["name"], part["purl"]) for part in document["components"]] == [
        ("monolog/monolog", "pkg:composer/monolog/monolog@2.9.1"), ("psr/log", "pkg:composer/psr/log@1.1.0RC2")]
    assert {"ref": "pkg:composer/monolog/monolog@2.9.1", "dependsOn": ["pkg:composer/psr/log@1.1.0RC2"]} in (
        document["dependencies"])


def test_a_new_ecosystem_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    """Of its own name in OSV, with Debian's order of versions and its own rule for names."""
    monkeypatch.chdir(tmp_path)
    row = Ecosystem(type="toy", osv="Toys", order="deb", compared=ecosystems.python, resolver="names", trivy="toy-pkg")
    monkeypatch.setitem(ECOSYSTEMS, "toy", row)
    monkeypatch.setitem(BY_OSV, "Toys", row)
    _use(monkeypatch, replace(toy.CATALOGER, types=("toy",), read=lambda _path, _content: [
        Fact(type="toy", name="Big_Bear", version="1.0~rc1", requires=("lion|Bear.Eyes",)),
        Fact(type="toy", name="Bear.Eyes", version="1")]))
    findings = _scan([
        record("T-1", [{"introduced": "0"}, {"fixed": "1.0"}], ecosystem="Toys", package="big.bear"),
        record("T-2", [{"introduced": "0"}, {"fixed": "1.0~alpha"}], ecosystem="Toys", package="big.bear")], capsys)
    assert [(found["id"], found["purl"]) for found in findings] == [("T-1", "pkg:toy/Big_Bear@1.0~rc1")]
    [bear] = [package for package in catalog(image(tmp_path / "i", [(_PATH, b"")])).packages if package.requires]
    assert (bear.purl, bear.requires) == ("pkg:toy/Big_Bear@1.0~rc1", ("pkg:toy/Bear.Eyes@1",))


def test_a_cataloger_of_a_type_without_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cataloger composer: the type 'compser' has no row in custody\.ecosystems"):
        catalogers.table((*catalogers.CATALOGERS, replace(toy.CATALOGER, types=("compser",))))
    with pytest.raises(ValueError, match="two catalogers, or two kinds that are counted, have one name"):
        catalogers.table((*catalogers.CATALOGERS, replace(toy.CATALOGER, name="npm")))


@pytest.mark.parametrize(("fact", "types"), [
    (Fact(type="pear", name="a", version="1"), ("composer",)),
    (Fact(type="npm", name="a", version="1"), ("composer",)),
    (Fact(type="composer", name="a/b", version="1"), None),
    (Fact(type="composer", name="a/b", version="1", purl="a/b"), None),
    (Fact(type="composer", name="a/b", version="1", purl="pkg:npm/b"), None)])
def test_a_fact_without_a_way_to_its_package_url_is_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fact: Fact, types: tuple[str, ...] | None) -> None:
    """It would be a bare name, or nothing, where people read package URLs."""
    _use(monkeypatch, replace(toy.CATALOGER, types=types, read=lambda _path, _content: [fact]))
    with pytest.raises(TypeError, match=f"cataloger composer: got a fact of type '{fact.type}' and package URL "):
        catalog(image(tmp_path / "i", [(_PATH, b"")]))


@pytest.mark.parametrize("row", [*ECOSYSTEMS.values(), *BY_OSV.values()],
                         ids=lambda row: getattr(row, "type", "") or row.osv)
def test_rows_name_what_there_is(row: ecosystems.Spoken) -> None:
    assert row.order is None or row.order in versions.ORDERS
    assert not isinstance(row, Ecosystem) or row.resolver in dependencies.RESOLVERS
    assert row.compared(row.compared("A_b.C")) == row.compared("A_b.C")


def test_every_order_and_every_resolver_has_a_row() -> None:
    assert set(versions.ORDERS) == set(get_args(ecosystems.Order)) == {
        row.order for row in (*BY_OSV.values(), *ecosystems.ECOSYSTEMS.values())} - {None}
    assert set(dependencies.RESOLVERS) == set(get_args(ecosystems.Resolver)) == {
        row.resolver for row in ECOSYSTEMS.values()}


def test_what_is_only_asked_for_is_not_looked_for_in_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock file beside the packages says what somebody wanted there, and folders of sources are read for that."""
    lock = replace(toy.CATALOGER, declares=True)
    for name, declared in (("_TABLE", False), ("_FOLDERS", True)):
        monkeypatch.setattr(catalogers, name, catalogers.table((*catalogers.CATALOGERS, lock), (), declared=declared))
    assert catalogers.choose(_PATH) is None
    assert catalogers.choose(_PATH, declared=True) == "composer"
    assert catalog(image(tmp_path / "i", [(_PATH, _INSTALLED)])).packages == ()
    facts = catalogers.read("composer", _PATH, _INSTALLED)
    assert [fact.declared for fact in facts] == [True, True]
    placed = [(fact, _PATH, f"pkg:composer/{fact.name}") for fact in facts]
    assert dependencies.resolve(placed) == {"pkg:composer/monolog/monolog": {"pkg:composer/psr/log"}}
