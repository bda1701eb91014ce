"""What BSI TR-03183-2 asks of a component that is one file, and who supplies what does not say so."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats import sbom
from custody.formats.bom import Catalog, Package
from custody.kit.addresses import address
from custody.sbom.catalog import catalog
from custody.sbom.catalogers.fact import Fact
from custody.sbom.score import score
from custody.sbom.suppliers import supplier
from custody.services.documents import SPELLINGS
from tests.contents.images import METADATA, OS_RELEASE, STATUS, go_program, image, rust_program
from tests.contents.jars import jar, library

_INNER = library("org.a", "b", "1.0")
_WAR = jar({"WEB-INF/lib/b-1.0.jar": _INNER, "META-INF/maven/org.w/w/pom.properties":
            "groupId=org.w\nartifactId=w\nversion=2\n"})
_GO = go_program("path\texample.org/x\nmod\tgithub.com/o/main\tv1.2.3\th1:x\ndep\tgo.example.org/dep\tv0.1.0\th1:y\n")
_RUST = rust_program([{"name": "tool", "version": "3.0.0", "source": "local", "root": True, "dependencies": [1]},
                      {"name": "serde", "version": "1.0.1", "source": "crates.io"}])
_NODE = {"name": "n", "version": "1.0.0", "repository": "github:o/n", "homepage": "https://n.example.org/",
         "maintainers": [{"name": "Nan", "email": "nan@example.org"}]}
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(name="shop")
def _shop(tmp_path: Path) -> Catalog:
    return catalog(image(tmp_path / "i", [
        ("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS), ("app/shop.war", _WAR),
        ("usr/local/bin/main", _GO), ("usr/local/bin/tool", _RUST), ("s/f.dist-info/METADATA", METADATA),
        ("app/node_modules/n/package.json", json.dumps(_NODE).encode())]))


def _by_name(packages: tuple[Package, ...]) -> dict[str, Package]:
    return {package.name: package for package in packages}


def _sha512(package: Package) -> str:
    return dict(package.hashes).get("sha512", "")


def test_a_package_that_is_one_file_bears_its_name_and_sha_512(shop: Catalog) -> None:
    known = _by_name(shop.packages)
    assert {name: (known[name].form, known[name].file, _sha512(known[name])) for name in (
        "org.w/w", "org.a/b", "github.com/o/main", "tool")} == {
            "org.w/w": ("archive", "shop.war", hashlib.sha512(_WAR).hexdigest()),
            "org.a/b": ("archive", "b-1.0.jar", hashlib.sha512(_INNER).hexdigest()),
            "github.com/o/main": ("program", "main", hashlib.sha512(_GO).hexdigest()),
            "tool": ("program", "tool", hashlib.sha512(_RUST).hexdigest())}
    assert {name: (known[name].form, known[name].file, _sha512(known[name])) for name in (
        "go.example.org/dep", "serde", "stdlib")} == dict.fromkeys(
            ("go.example.org/dep", "serde", "stdlib"), ("part", "", ""))
    assert {package.form for package in shop.packages if package.type in ("deb", "pypi", "npm")} == {"files"}


@pytest.mark.parametrize("form", ["cyclonedx-json", "cyclonedx-xml", "spdx-json@3.0.1"])
def test_it_is_said_in_every_format_that_bsi_takes(shop: Catalog, form: str) -> None:
    back = sbom.read(SPELLINGS[form].write(shop, NOW))
    assert back is not None
    for package, read in zip(shop.packages, sorted(back.packages, key=lambda package: package.purl), strict=True):
        assert (read.form, read.file, read.repository, read.homepage, _sha512(read)) == (
            package.form, package.file, package.repository, package.homepage, _sha512(package))
    [judged] = score(back, ("bsi",))
    of = {element.name: (element.has, element.of) for element in judged.elements}
    for name in ("file name", "SHA-512 of the deployable component", "executable property", "archive property",
                 "structured property", "address of the deployable component"):
        assert of[name] == (4, 4), name


def test_the_properties_are_bsis(shop: Catalog) -> None:
    document = json.loads(SPELLINGS["cyclonedx-json"].write(shop, NOW))
    components = {component["name"]: component for component in document["components"]}
    stated = {entry["name"]: entry["value"] for entry in components["b"]["properties"]}
    assert stated == {"bsi:component:filename": "b-1.0.jar", "bsi:component:executable": "executable",
                      "bsi:component:archive": "archive", "bsi:component:structured": "structured"}
    assert {"type": "distribution", "url": "file:///app/shop.war!/WEB-INF/lib/b-1.0.jar", "hashes": [
        {"alg": "SHA-512", "content": hashlib.sha512(_INNER).hexdigest()}]} in components["b"]["externalReferences"]
    assert not [entry for entry in components["libc6"]["properties"] if entry["name"].startswith("bsi:")]


def _scored(*components: dict[str, Any], **rest: Any) -> dict[str, tuple[int, int]]:
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": list(components), **rest}
    read = sbom.read(json.dumps(document).encode())
    assert read is not None
    return {element.name: (element.has, element.of) for element in score(read, ("bsi",))[0].elements}


def test_nobodys_silence_counts_as_many_files() -> None:
    component = {"type": "library", "name": "a", "version": "1", "purl": "pkg:npm/a@1"}
    said = _scored(component, vulnerabilities=[])
    assert said["file name"] == said["executable property"] == said["dependencies of each component"] == (0, 1)
    assert said["no vulnerabilities in it"] == (0, 1)
    stated = [{"name": "bsi:component:executable", "value": "non-executable"},
              {"name": "bsi:component:archive", "value": "archive"}]
    said = _scored({**component, "properties": stated, "bom-ref": "a"}, dependencies=[{"ref": "a"}])
    assert said["executable property"] == said["archive property"] == (1, 1)
    assert said["structured property"] == (0, 1)
    assert said["dependencies of each component"] == said["no vulnerabilities in it"] == (1, 1)


@pytest.mark.parametrize(("fact", "whose"), [
    (Fact(type="golang", name="github.com/Gorilla/mux/v2"), "github.com/Gorilla"),
    (Fact(type="golang", name="golang.org/x/net"), "golang.org"), (Fact(type="golang", name="stdlib"), "go.dev"),
    (Fact(type="golang", name="local"), ""), (Fact(type="maven", name="org.a/b"), "org.a"),
    (Fact(type="maven", name="b"), ""), (Fact(type="npm", name="@s/a"), "@s"), (Fact(type="npm", name="a"), ""),
    (Fact(type="npm", name="@s/a", repository="https://github.com/o/r.git"), "github.com/o"),
    (Fact(type="npm", name="a", repository="https://github.com.evil.example/o/r"), ""),
    (Fact(type="cargo", name="a"), ""), (Fact(type="cargo", name="a", purl="pkg:cargo/a@1"), "crates.io"),
    (Fact(type="cargo", name="a", purl="pkg:cargo/a@1?repository_url=x"), ""),
    (Fact(type="npm", name="@s/a", supplier="Ann"), "Ann")])
def test_nobody_is_made_up_as_the_supplier(fact: Fact, whose: str) -> None:
    assert supplier(fact) == whose


def test_suppliers_are_whom_the_package_names(shop: Catalog) -> None:
    known = _by_name(shop.packages)
    assert (known["n"].supplier, known["n"].repository, known["n"].homepage) == (
        "Nan <nan@example.org>", "https://github.com/o/n", "https://n.example.org/")
    assert (known["serde"].supplier, known["tool"].supplier) == ("crates.io", "")


@pytest.mark.parametrize(("stated", "url"), [
    ("git+https://github.com/a/b.git", "https://github.com/a/b.git"), ("git://a.org/b", "https://a.org/b"),
    ("git@github.com:a/b.git", "https://github.com/a/b.git"), (" http://a.org ", "http://a.org"),
    ("https://user:secret@a.org/b", "https://a.org/b"), ("javascript:alert(1)", ""), ("file:///etc/passwd", ""),
    ("https://a.org/${x}", ""), ("a.org", ""), (None, ""), (7, "")])
def test_addresses_are_of_pages(stated: object, url: str) -> None:
    assert address(stated) == url


@given(st.text(max_size=80) | st.text("htps:/@.git+ a", max_size=60).map("https://".__add__))
def test_an_address_is_one_or_nothing(text: str) -> None:
    url = address(text)
    assert not url or (url.startswith(("https://", "http://")) and url.isprintable() and " " not in url)


def test_a_property_alone_takes_no_component_out_of_what_is_asked() -> None:
    """Custody's own property in somebody else's SBOM: a component that says that it is many files names one of them."""
    def files(properties: dict[str, str]) -> tuple[bool, int, str]:
        found = sbom.read(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
            {"type": "library", "name": "a", "version": "1", "purl": "pkg:npm/a@1", "properties": [
                {"name": name, "value": value} for name, value in properties.items()]}]}).encode())
        assert found is not None
        hashed = next(element for element in score(found, ("bsi",))[0].elements
                      if element.name == "SHA-512 of the deployable component")
        return hashed.met, hashed.of, hashed.note.rpartition("; ")[2]

    assert files({"custody:form": "files"})[:2] == (False, 1)
    assert files({"custody:form": "part"})[:2] == (False, 1)
    assert files({"custody:form": "files", "syft:location:0:path": "/a/package.json"}) == (
        True, 0, "1 components say that they are many files, or a part of one, and were not asked")
