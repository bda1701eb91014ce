"""Cargo.lock (The Cargo Book, "Cargo.toml vs Cargo.lock"; cargo's `EncodableResolve`), versions 1 to 4."""

from __future__ import annotations

from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import hexadecimal, rows, table, toml_table, word, words
from custody.sbom.catalogers.fact import CRATES, Fact, unknown

_INDEXES = ("registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/")


def read(_path: str, content: bytes) -> Iterator[Fact]:
    document = toml_table(content)
    if not isinstance(document.get("package", []), list):
        raise ValueError("a lock file whose packages are no list")
    sums = table(document.get("metadata"))
    for row in [*rows(document.get("package")), *rows([document.get("root")])]:
        name, version, source = word(row.get("name")), word(row.get("version")), word(row.get("source"))
        if not name or not version:
            yield unknown("crate without a name or a version in a lock file")
            continue
        stated = row.get("checksum") or sums.get(f"checksum {name} {version} ({source})")
        yield Fact(type="cargo", name=name, version=version, hashes=hexadecimal("sha256", stated),
                   supplier=CRATES if source in _INDEXES else "",
                   requires=tuple("@".join(text.split(" ")[:2]) for text in words(row.get("dependencies"))),
                   qualifiers=(("vcs_url", source.partition("?")[0].partition("#")[0]
                                + f"@{source.rpartition('#')[2]}"),) if source.startswith("git+") else ())


CATALOGER = Cataloger(name="Cargo lock", version=1, types=("cargo",), read=read, declares=True, largest=16 << 20,
                      effort=10, paths=(named("Cargo.lock"),))
