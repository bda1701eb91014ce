"""Text of others in what people and programs read: it moves no cursor, starts no line, and says nothing for us."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cli.run import run
from custody.errors import MalformedError
from custody.formats import cyclonedx, spdx
from custody.formats.bom import Catalog, Package, from_purl
from custody.formats.purl import build, parse
from custody.sbom.catalog import catalog
from tests.contents.images import image, layout, tar
from tests.contents.test_scan import NOW

EVIL = "\x1b[2J\u202e\n::error::x"


def test_terminal_escapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    module = json.dumps({"name": f"@s/{EVIL}", "version": "1"}).encode()
    layout(tmp_path / "i", [tar([(f"a/{EVIL}.jar", b"PK"), ("n/node_modules/q/package.json", module)])])
    target = "oci:i"
    for arguments in (["sbom", target], ["sbom", target, "-o", "purls"],
                      ["scan", target, "--allow-empty-db", "--fail-on", "low"]):
        assert run(arguments) in (0, 4)
        out, err = capsys.readouterr()
        for line in (out + err).split("\n"):
            assert line.isprintable()
            assert not line.startswith("::")


def test_a_path_does_not_say_who_installed_a_package(tmp_path: Path) -> None:
    place = "s; installed by pkg:deb/debian/a@1; bundled in pkg:deb/debian/a@1; x/b-1.dist-info/METADATA"
    status = b"Package: a\nStatus: install ok installed\nVersion: 1\n"
    found = catalog(image(tmp_path, [(place, b"Name: b\nVersion: 1\n"), ("var/lib/dpkg/status", status)]))
    read = spdx.read(json.dumps(spdx.write(found, NOW, "0")).encode())
    assert {(package.name, package.owner, package.bundled_in) for package in read.packages} == {("a", "", ""),
                                                                                                ("b", "", "")}


@given(st.sampled_from(["npm", "golang", "pypi", "gem", "maven"]), st.text(min_size=1, max_size=20),
       st.text(max_size=8))
def test_any_name_makes_valid_documents(kind: str, name: str, version: str) -> None:
    try:
        purl = str(build(kind, name, namespace="g" if kind == "maven" else None, version=version))
    except (MalformedError, ValueError):
        return
    assert purl.isascii()
    assert purl.isprintable()
    package = from_purl(purl, None)
    whole = Catalog(name=name, digest="sha256:" + "0" * 64, packages=(package,))
    document = spdx.write(whole, NOW, "0")
    assert all(part.isascii() and part.replace("-", "").replace(".", "").isalnum() for part in (
        entry["SPDXID"] for entry in document["packages"]))
    for form in (spdx, cyclonedx):
        read = form.read(json.dumps(form.write(whole, NOW, "0")).encode())  # type: ignore[attr-defined]
        again: tuple[Package, ...] = read.packages
        assert [(str(parse(entry.purl)), entry.source) for entry in again] == [(purl, package.source)]
