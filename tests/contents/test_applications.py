"""WordPress, and models of machine learning."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from tests.contents.images import image

PLUGIN = b"""<?php
/**
 * Plugin Name: Akismet Anti-spam: Spam Protection
 * Version: 5.3.1
 * Author: Automattic
 * License: GPLv2 or later
 */
"""


def test_wordpress_and_what_is_in_it(tmp_path: Path) -> None:
    found = catalog(image(tmp_path / "i", [
        ("app/wp-includes/version.php", b"<?php\n$wp_version = '6.4.2';\n$wp_db_version = 56657;\n"),
        ("app/wp-content/plugins/akismet/akismet.php", PLUGIN), ("app/wp-content/plugins/a/a.php", b"<?php"),
        ("app/wp-content/plugins/b/b.php", b"/*\nPlugin Name: B\n*/"),
        ("app/wp-content/themes/twenty/style.css", b"/*\nTheme Name: Twenty\nVersion: 1.2\n*/")]))
    assert [package.purl for package in found.packages] == [
        "pkg:generic/wordpress-plugin-akismet@5.3.1", "pkg:generic/wordpress-theme-twenty@1.2",
        "pkg:generic/wordpress@6.4.2"]
    assert found.packages[0].licenses == ("GPL-2.0-or-later",)
    assert found.packages[2].cpes == ("cpe:2.3:a:wordpress:wordpress:6.4.2:*:*:*:*:*:*:*",)
    assert [unknown.kind for unknown in found.unknowns] == ["WordPress plugin without a version"]


def _text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def gguf(*pairs: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs)) + b"".join(pairs)


NAME = _text("general.name") + struct.pack("<I", 8) + _text("Tiny Llama 1.1B")
TOKENS = _text("tokens") + struct.pack("<IIQ", 9, 8, 2) + _text("a") + _text("b")
NUMBERS = _text("scores") + struct.pack("<IIQ", 9, 6, 2) + bytes(8) + b""
LICENSE = _text("general.license") + struct.pack("<I", 8) + _text("apache-2.0")


@pytest.mark.parametrize("content", [
    gguf(NAME, LICENSE), gguf(_text("x") + struct.pack("<IQ", 10, 1), TOKENS, NUMBERS, NAME, LICENSE),
    gguf(NAME, LICENSE, _text("more") + struct.pack("<IIQ", 9, 8, 1000))])
def test_models_of_gguf(content: bytes) -> None:
    [fact] = read("machine learning model", "m.gguf", content)
    assert (fact.name, fact.licenses) == ("Tiny-Llama-1.1B", ("apache-2.0",))


@pytest.mark.parametrize(("content", "kind"), [
    (gguf(version=1), "unreadable machine learning model file"), (b"", "unreadable machine learning model file"),
    (gguf(), "machine learning model without a name"), (bytes(8), "unreadable machine learning model file"),
    (struct.pack("<Q", 1 << 60), "unreadable machine learning model file"),
    (gguf(_text("x") + struct.pack("<I", 99)), "unreadable machine learning model file"),
    (struct.pack("<Q", 2) + b"{}", "machine learning model without a name")])
def test_models_that_say_nothing(content: bytes, kind: str) -> None:
    assert [fact.name for fact in read("machine learning model", "m.gguf", content)] == [kind]


def test_models_of_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"modelspec.title": "A/B", "modelspec.license": "MIT"}, "w": {}}).encode()
    found = catalog(image(tmp_path / "i", [("m/a.safetensors", struct.pack("<Q", len(header)) + header + bytes(100))]))
    assert [(package.purl, package.licenses) for package in found.packages] == [("pkg:generic/A-B", ("MIT",))]


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_model_is_bounded(noise: bytes, cut: int) -> None:
    content = gguf(NAME, TOKENS)
    read("machine learning model", "m.gguf", content[:cut + 20] + noise)
