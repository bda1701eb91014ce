"""A cataloger that changes has its own files of known layers read again, and no others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import CustodyError, UsageError
from custody.formats.bom import Catalog
from custody.registry.image import StoredImage
from custody.sbom import catalogers
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import CATALOGERS, apk, binaries, dpkg, npm, python
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.counted import COUNTED
from custody.sbom.catalogers.fact import Fact
from tests.contents.images import METADATA, OS_RELEASE, STATUS, Member, go_program, image
from tests.contents.test_layers import _Cache, names

_NODE = b'{"name":"n","version":"1"}'
_FILES: list[Member] = [
    ("s/f.dist-info/METADATA", METADATA), ("n/package.json", _NODE), ("usr/bin/g", go_program("mod\ta\tv1\n")),
    ("lib/apk/db/installed", b"P:musl\nV:1\n"), ("x.jar", b"PK"), ("s/m.egg-link", b"x"),
    ("nix/store/abc-x/package.json", _NODE), ("opt/m", METADATA),
    ("t/h.dist-info/METADATA", ("link", "opt/m")), ("gems.lock", b"rack 2.2.2")]


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of catalogers in the order in which they are asked of a file."""
    asked: list[str] = []

    def read(name: str, *arguments: object) -> tuple[Fact, ...]:
        asked.append(name)
        return catalogers.read(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("custody.sbom.layers.read", read)
    return asked


def _with(monkeypatch: pytest.MonkeyPatch, *rows: Cataloger) -> None:
    changed = {row.name: row for row in rows}
    kept = [changed.pop(row.name, row) for row in CATALOGERS]
    monkeypatch.setattr(catalogers, "_TABLE", catalogers.table([*kept, *changed.values()]))


def _renamed(_path: str, _content: bytes) -> Iterator[Fact]:
    yield Fact(type="npm", name="renamed", version="2")


def test_of_a_known_layer_only_what_a_changed_cataloger_reads_is_read(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    stored, cache = image(tmp_path / "i", _FILES), _Cache()
    first = catalog(stored, cache)
    assert {"python", "npm", "apk", "program"} <= set(asked)
    asked.clear()
    assert catalog(stored, cache) == first
    assert asked == []
    _with(monkeypatch, replace(npm.CATALOGER, version=npm.CATALOGER.version + 1, read=_renamed))  # type: ignore[operator]
    second = catalog(stored, cache)
    assert set(asked) == {"npm"}
    assert names(second) == names(first) - {"n"} | {"renamed"}
    assert second.unknowns == first.unknowns
    assert {package for package in second.packages if package.type != "npm"} == {
        package for package in first.packages if package.type != "npm"}
    asked.clear()
    assert catalog(stored, cache) == second
    assert asked == []
    assert len(cache) == 1


def test_a_layer_without_a_file_of_a_changed_cataloger_is_not_opened(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = image(tmp_path / "i", [("s/f.dist-info/METADATA", METADATA)], [("n/package.json", _NODE)])
    cache = _Cache()
    first = catalog(stored, cache)
    (tmp_path / "i/blobs/sha256" / stored.manifest.layers[0].digest[7:]).unlink()
    for version in (2, 2, 3):
        _with(monkeypatch, replace(npm.CATALOGER, version=version))
        assert catalog(stored, cache) == first
    (tmp_path / "i/blobs/sha256" / stored.manifest.layers[1].digest[7:]).unlink()
    assert catalog(stored, cache) == first
    _with(monkeypatch, replace(npm.CATALOGER, version=4))
    with pytest.raises(UsageError, match=stored.manifest.layers[1].digest[7:]):
        catalog(stored, cache)


def test_what_was_cached_is_what_would_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any change of versions a known layer gives what an unknown one does."""
    stored = image(tmp_path / "i", _FILES, [("a/b.dist-info", ("symlink", "/s/f.dist-info"))],
                   [("s/g", ("symlink", "/opt/m")), ("a/b.egg-info", ("link", "s/f.dist-info/METADATA"))])
    cache = _Cache()
    catalog(stored, cache)
    for row in CATALOGERS:
        _with(monkeypatch, replace(row, version=99))
        assert catalog(stored, cache) == catalog(stored), row.name


def test_a_new_cataloger_takes_over_what_was_counted(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    stored, cache = image(tmp_path / "i", _FILES), _Cache()
    first = catalog(stored, cache)
    assert "Python package in development" in {unknown.kind for unknown in first.unknowns}
    asked.clear()
    model = Cataloger(name="model", version=1, types=("maven",), paths=(named("m.egg-link"),),
                      read=lambda _path, _content: [Fact(type="maven", name="g/a", version="1")])
    _with(monkeypatch, model)
    second = catalog(stored, cache)
    assert asked == ["model"]
    assert names(second) == names(first) | {"g/a"}
    assert "Python package in development" not in {unknown.kind for unknown in second.unknowns}


def test_a_cataloger_that_is_gone_says_nothing_any_more(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    stored, cache = image(tmp_path / "i", _FILES), _Cache()
    first = catalog(stored, cache)
    asked.clear()
    rows: Sequence[Cataloger] = [row for row in CATALOGERS if row is not apk.CATALOGER]
    monkeypatch.setattr(catalogers, "_TABLE", catalogers.table(rows))
    assert names(catalog(stored, cache)) == names(first) - {"musl"}
    assert not set(asked) & {"npm", "python"}


def test_a_file_that_said_nothing_may_say_something_to_another(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = ("var/lib/dpkg/status.d/a", go_program("mod\ta\tv1\n"))
    stored, cache = image(tmp_path / "i", [program, ("var/lib/dpkg/status", STATUS)]), _Cache()
    assert "a" not in names(catalog(stored, cache))
    monkeypatch.setattr(catalogers, "_TABLE", catalogers.table(
        [row for row in CATALOGERS if row is not dpkg.PACKAGES]))
    assert names(catalog(stored, cache)) == {"a", "stdlib"}


_CONTENTS = (METADATA, STATUS, OS_RELEASE, _NODE, b"PK", b"P:musl\nV:1\nF:usr/bin\nR:g\n", go_program("mod\ta\tv1\n"),
             b"/usr/bin/g\n/s/f.dist-info/METADATA\n", b"MZ" + bytes(100))
_NAMES = ("var/lib/dpkg/status", "var/lib/dpkg/status.d/a", "var/lib/dpkg/status.d/a.md5sums", "opt/m", "x.jar",
          "a.dll", "var/lib/dpkg/info/a.list", "lib/apk/db/installed", "s/f.dist-info/METADATA", "s/f.dist-info/RECORD",
          "n/package.json", "node_modules/q/index.js", "usr/bin/g", "usr/bin/node", "opt/d/status", "etc/os-release",
          "nix/store/abc-x/bin/g", "nix/store/abc-x/package.json", "usr/share/doc/a/copyright", "t/h.egg-info")
_PLACES = (*_NAMES, "var/lib/dpkg", "opt/d", "s/f.dist-info", "usr", "lib", "node_modules/q", "z")


def _member(dice: random.Random) -> Member:
    name, kind = dice.choice(_NAMES), dice.randrange(12)
    if kind < 2:
        return dice.choice(_PLACES), ("symlink", "/" + dice.choice(_PLACES))
    if kind < 4:
        return name, ("link", dice.choice(_NAMES))
    folder, slash, base = name.rpartition("/")
    return (f"{folder}{slash}.wh.{base}", b"") if kind == 4 else (name, dice.choice(_CONTENTS))


@pytest.mark.parametrize("seed", range(60))
def test_any_image_after_any_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Of what was read before that is kept which would be read again, and nothing else."""
    dice = random.Random(seed)
    stored = image(tmp_path / "i", *([_member(dice) for _ in range(dice.randint(1, 7))]
                                     for _ in range(dice.randint(1, 3))))
    cache = _Cache()
    _said(stored, cache)
    for _ in range(3):
        rows = [replace(row, version=dice.randint(2, 9)) if dice.randrange(4) == 0 else row for row in CATALOGERS
                if row is binaries.CATALOGER or dice.randrange(8)]
        counted = [row for row in COUNTED if dice.randrange(8)] if dice.randrange(3) == 0 else COUNTED
        monkeypatch.setattr(catalogers, "_TABLE", catalogers.table(rows, counted))
        assert _said(stored, cache) == _said(stored, None)


def _said(stored: StoredImage, cache: _Cache | None) -> Catalog | str:
    try:
        return catalog(stored, cache)
    except CustodyError as error:
        return error.message


def test_kinds_that_are_counted_have_one_version(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    stored, cache = image(tmp_path / "i", _FILES), _Cache()
    first = catalog(stored, cache)
    asked.clear()
    monkeypatch.setattr(catalogers, "_TABLE", catalogers.table(
        counted=[replace(row, paths=(named("gems.lock"),)) if row.kind == "npm package without package.json" else row
                 for row in COUNTED]))
    second = catalog(stored, cache)
    assert [unknown.examples for unknown in second.unknowns if unknown.kind == "npm package without package.json"] == [
        ("gems.lock",)]
    assert second.packages == first.packages
    assert "python" not in asked


def test_bytes_that_nobody_knows_are_read_again(tmp_path: Path, asked: list[str]) -> None:
    stored, cache = image(tmp_path / "i", _FILES), _Cache()
    first = catalog(stored, cache)
    [key] = cache
    whole = cache[key]
    changed = [whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1:] for at in range(0, len(whole), 7)]
    for kept in (b"", b"\xc1", b"\x90", whole[:-1], b"\x95" + whole, whole[16:], *changed):
        cache[key] = kept
        asked.clear()
        assert catalog(stored, cache) == first
        assert "python" in asked


def test_what_another_cataloger_says_of_a_link_is_kept(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    stored = image(tmp_path / "i", [("opt/m", METADATA), ("s/f.dist-info/METADATA", ("symlink", "/opt/m")),
                                    ("var/lib/dpkg/status", STATUS)])
    cache = _Cache()
    first = catalog(stored, cache)
    _with(monkeypatch, replace(python.CATALOGER, version=2))
    asked.clear()
    assert catalog(stored, cache) == first
    assert set(asked) == {"python"}


@pytest.mark.parametrize("first", [go_program("mod\ta\tv1\n"), METADATA])
@pytest.mark.parametrize("last", [bytes(100), ("symlink", "/n"), b"Name: other\nVersion: 2\n\n"])
def test_what_a_link_took_from_a_file_that_was_replaced_is_kept(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes, last: bytes | tuple[str, str]) -> None:
    """Of a path that comes twice in a layer the cache knows the last; a hard link in between shares the first."""
    path = "s/f.dist-info/METADATA" if first == METADATA else "usr/bin/g"
    stored, cache = image(tmp_path / "i", [(path, first), ("opt/l", ("link", path)), (path, last),
                                           ("n/package.json", _NODE)]), _Cache()
    assert catalog(stored, cache) == catalog(stored)
    _with(monkeypatch, replace(npm.CATALOGER, version=9))
    assert catalog(stored, cache) == catalog(stored)
