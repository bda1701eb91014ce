"""`sbom --prove` of Go modules: the digest of their files, as golang.org/x/mod/sumdb/dirhash makes it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from custody.formats.bom import Proof
from custody.sbom.catalog import catalog
from custody.sbom.proof import gomodules, statements
from tests.contents.images import Member, image

FILES = {"go.mod": b"module github.com/Azure/x\n", "x.go": b"package x\n", "deep/er/y.go": b"package er\n",
         "LICENSE": b""}
MODULE, VERSION = "github.com/Azure/x", "v1.2.0"
PLACE = "go/pkg/mod/github.com/!azure/x@v1.2.0"
STORED = "go/pkg/mod/cache/download/github.com/!azure/x/@v/v1.2.0.ziphash"


def h1(files: dict[str, bytes], module: str = MODULE, version: str = VERSION) -> str:
    """By the text of dirhash.Hash1: `sha256sum $(find . -type f | sort) | sha256sum`, in base64."""
    lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {module}@{version}/{name}\n" for name in sorted(files))
    return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


def unpacked(files: dict[str, bytes] = FILES, place: str = PLACE) -> list[Member]:
    return [(f"{place}/{name}", data) for name, data in files.items()]


def gosum(digest: str, version: str = VERSION) -> bytes:
    return (f"{MODULE} {version} {digest}\n{MODULE} {version}/go.mod {h1({})}\n"
            f"example.com/elsewhere v1.0.0 {h1({})}\n").encode()


def proof(folder: Path, *layers: list[Member]) -> Proof:
    proven = catalog(image(folder, *layers), prove=True).proof
    assert proven is not None
    return proven


@pytest.mark.parametrize("stating", ["srv/go.sum", STORED])
def test_a_tree_that_is_what_was_stated(tmp_path: Path, stating: str) -> None:
    content = gosum(h1(FILES)) if stating.endswith("go.sum") else h1(FILES).encode()
    proven = proof(tmp_path, [*unpacked(), (stating, content)])
    assert (proven.stated, proven.same, proven.counts, proven.unreadable) == (1, 1, (), ())


@pytest.mark.parametrize("stating", ["srv/go.sum", STORED])
@pytest.mark.parametrize("name", list(FILES))
def test_one_byte_flipped_is_found_and_named(tmp_path: Path, stating: str, name: str) -> None:
    content = gosum(h1(FILES)) if stating.endswith("go.sum") else h1(FILES).encode()
    bent = {**FILES, name: bytes([*FILES[name][:-1], (FILES[name] or b"\0")[-1] ^ 1])}
    proven = proof(tmp_path, [*unpacked(bent), (stating, content)])
    [difference] = proven.differences
    assert (difference.path, difference.state, difference.package) == (PLACE, "changed", f"golang {MODULE} {VERSION}")
    assert difference.reason == f"its files have {h1(bent)}, and {stating} says {h1(FILES)}"
    assert (proven.stated, proven.same) == (1, 0)


@pytest.mark.parametrize("files", [
    {**FILES, "evil.go": b"package x\n"}, {name: data for name, data in FILES.items() if name != "x.go"},
    {("z.go" if name == "x.go" else name): data for name, data in FILES.items()}], ids=["added", "missing", "renamed"])
def test_a_tree_of_other_files(tmp_path: Path, files: dict[str, bytes]) -> None:
    proven = proof(tmp_path, [*unpacked(files), ("srv/go.sum", gosum(h1(FILES)))])
    assert [(entry.path, entry.state) for entry in proven.differences] == [(PLACE, "changed")]


def test_what_a_later_layer_changed_is_named_with_the_layer(tmp_path: Path) -> None:
    packed = image(tmp_path, [*unpacked(), (STORED, h1(FILES).encode())], [(f"{PLACE}/x.go", b"package y\n")])
    proven = catalog(packed, prove=True).proof
    assert proven is not None
    assert [(entry.path, entry.layer) for entry in proven.differences] == [(PLACE, packed.manifest.layers[1].digest)]


def test_two_words_that_differ_are_no_proof(tmp_path: Path) -> None:
    """Who changes a module and its cache's digest does not change the digest that its users wrote down."""
    bent = {**FILES, "x.go": b"package evil\n"}
    proven = proof(tmp_path, [*unpacked(bent), (STORED, h1(bent).encode()), ("srv/go.sum", gosum(h1(FILES)))])
    [difference] = proven.differences
    assert "srv/go.sum says" in difference.reason


def test_modules_that_are_elsewhere_or_not_there_are_no_difference(tmp_path: Path) -> None:
    proven = proof(tmp_path, [*unpacked(), ("srv/go.sum", gosum(h1(FILES), "v1.3.0")),
                              (STORED.replace("v1.2.0", "v9.0.0"), h1(FILES).encode())])
    assert (proven.stated, proven.differences) == (0, ())


def test_a_modules_own_sums_are_not_the_words_of_who_used_it(tmp_path: Path) -> None:
    proven = proof(tmp_path, [*unpacked(), (f"{PLACE}/go.sum", gosum(h1({}))), ("srv/testdata/go.sum", gosum(h1({})))])
    assert proven.stated == 0


@pytest.mark.parametrize(("content", "reason"), [
    (b"a b\n", "line 1 is no module, version and digest"), (b"\na v1 h1:AAAA\n", "line 2 is no h1: of 32 bytes"),
    (b"a v1 h1:" + b"A" * 42 + b"!=\n", "line 1 is no h1: of 32 bytes")])
def test_sums_that_are_none_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    proven = proof(tmp_path, [*unpacked(), ("srv/go.sum", content)])
    [unreadable] = proven.unreadable
    assert unreadable.startswith("srv/go.sum: ")
    assert reason in unreadable


def test_digests_of_kinds_to_come_are_passed_over() -> None:
    assert [*gomodules.gosum(b"a v1 h2:xyz\n")] == []
    assert statements.kind("go/pkg/mod/a@v1/go.sum") is None
