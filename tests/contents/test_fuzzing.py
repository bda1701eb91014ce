"""Every reader of hostile bytes is a row of `tests.fuzz.contents`, and what that once found stays mended."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from custody.errors import CustodyError
from custody.sbom import catalogers
from custody.sbom.catalogers.fact import Fact
from custody.vulns import sources
from tests.fuzz.contents import broken, rows

_ROWS = rows()
_CRASHES = {
    "a state that is a list": ("CycloneDX VEX", lambda document: document["vulnerabilities"][0]["analysis"].update(
        state=["not_affected"])),
    "a stream of a module that is a list": ("AlmaLinux", lambda document: document["data"][0]["modules"][0].update(
        stream=["18"]))}


def test_every_cataloger_has_a_row() -> None:
    programs = {"program", "Linux kernel", "Linux kernel module", "bun binary lock", "Portage licence", "Python egg",
                "rpm journal", "Nix journal", "opkg files", "Chisel"}
    """Whose rows have other names, or that say only that something is there."""
    assert set(catalogers._FOLDERS.rows) - set(_ROWS) <= programs


def test_every_source_of_advisories_has_a_row() -> None:
    read = {sources.of(data).one for data, reader in _ROWS.values() if reader.__name__ == "_advised"}
    assert read == {source.one for source in sources.SOURCES}


@pytest.mark.parametrize("name", _ROWS)
def test_a_document_as_its_maker_writes_it_is_read_and_its_pieces_break_nothing(name: str) -> None:
    data, read = _ROWS[name]
    assert read(data)
    chance = random.Random(name)
    for _ in range(20):
        try:
            read(broken(data, chance))
        except (CustodyError, ValueError):
            continue


@pytest.mark.parametrize("crash", _CRASHES)
def test_a_value_of_another_type_is_a_named_error(crash: str) -> None:
    name, change = _CRASHES[crash]
    document = json.loads(_ROWS[name][0])
    change(document)
    with pytest.raises(CustodyError, match="expected"):
        _ROWS[name][1](json.dumps(document).encode())


def test_a_record_that_is_no_csv_is_counted_and_ends_no_scan() -> None:
    said = catalogers.read("python record", "a.dist-info/RECORD", b"a\rb/c.so,\n")
    assert [fact.name for fact in said] == ["unreadable python record file"]


@pytest.mark.parametrize("error", [KeyError("a"), IndexError(), ZeroDivisionError(), RecursionError(),
                                   AttributeError()])
def test_what_a_reader_did_not_foresee_costs_that_file_and_not_the_image(
        error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Iterator[Fact]:
        yield from ()
        raise error

    row = catalogers.cataloger("npm")
    monkeypatch.setattr(type(row), "facts", fail)
    assert [fact.name for fact in catalogers.read("npm", "package.json", b"{}")] == ["unreadable npm file"]
