"""Files, SBOMs and advisories that are made to hold custody: an end within the limits of a child, and never silence.

Each row is a folder that is scanned, or an SBOM that is converted: 20 s of CPU and 1.5 GiB (`tests.hostile.limits`).
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fuzz.broken import _PYTHON
from tests.hostile.limits import Children

M = 1 << 20
_IN_FOLDERS: dict[str, tuple[str, bytes | Callable[[], bytes], int, str]] = {
    # name of a file, its bytes, how many of them there are, what must be said of it
    "TOML with a key of 100,000 parts": ("uv.lock", b"a." * 100_000 + b"b=1", 5, "unreadable Python lock file: 5"),
    "TOML keys of 500 parts in many small files": ("uv.lock", b"a" + b".a" * 500 + b" = 1\n", 3000,
                                                   "unreadable Python lock file: 3000"),
    "TOML keys of many parts behind quotes": ("uv.lock", b'"a\\"" ' + b".a" * 500 + b' ."b" = 1\n', 5,
                                              "unreadable Python lock file: 5"),
    "TOML keys of many parts behind a text of lines": (
        "uv.lock", b'x = { y = """\n""", b' + b".b" * 500 + b' = "z"}\n', 5, "unreadable Python lock file: 5"),
    "TOML tables below each other": ("Cargo.lock", lambda: b"".join(
        b"[%b]\n" % b".".join([b"a"] * depth) for depth in range(1, 900)), 5, "unreadable Cargo lock file: 5"),
    "TOML keys in a deep table": ("pyproject.toml", lambda: b"[%b]\n" % b".".join([b"a"] * 5000) + b"b.c=1\n" * 100_000,
                                  3, "unreadable pyproject.toml file: 3"),
    "TOML a hundred thousand deep": ("uv.lock", b"a=" + b"[" * 100_000, 5, "unreadable Python lock file: 5"),
    "JSON a million deep": ("package-lock.json", b"[" * M, 5, "unreadable npm lock file: 5"),
    "JSON of objects a million deep": ("composer.lock", b'{"a":' * M, 5, "Composer lock"),
    "YAML in flow, a million deep": ("pnpm-lock.yaml", b"lockfileVersion: '9.0'\na: " + b"[" * M, 5,
                                     "unreadable pnpm lock file: 5"),
    "a key twice in one line of YAML": ("pnpm-lock.yaml", b"lockfileVersion: '9.0'\npackages:\n  a@1.0.0:\n"
                                        b"    resolution: {integrity: x, integrity: y}\n", 5,
                                        "unreadable pnpm lock file: 5"),
    "YAML that is indented ever further": ("pnpm-lock.yaml", lambda: b"".join(
        b" " * depth + b"a:\n" for depth in range(2000)), 5, "unreadable pnpm lock file: 5"),
    "YAML anchors that multiply": ("pubspec.lock", b"a: &a [x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b]\n", 5,
                                   "unreadable pub lock file: 5"),
    "XML entities that multiply": ("pom.xml", b'<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><project>'
                                   b"<artifactId>&b;</artifactId></project>", 5, "unreadable Maven project file: 5"),
    "XML that asks for a file": ("pom.xml", b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/hostname">]><project>'
                                 b"<groupId>&x;</groupId><artifactId>&x;</artifactId><version>1</version></project>", 5,
                                 "unreadable Maven project file: 5"),
    "XML a million deep": ("pom.xml", b"<a>" * M, 5, "unreadable Maven project file: 5"),
    "empty lines where an SBOM may be": ("a.dist-info/sboms/a.json", b"\n" * 65_536, 200,
                                         "unreadable embedded SBOM file: 200"),
    "quotes in a bun lock": ("bun.lock", b'"' * (4 * M), 3, "unreadable bun lock file: 3"),
    "quotes behind backslashes in a bun lock": ("bun.lock", b'"\\' * (2 * M), 3, "unreadable bun lock file: 3"),
    "commas in a bun lock": ("bun.lock", b", " * (2 * M), 3, "bun lock"),
    "lines of requirements": ("requirements.txt", b"a==1\n" * 700_000, 30, "beyond the image's"),
    "lines of a yarn lock": ("yarn.lock", lambda: b"".join(b'"@%d":\n' % n for n in range(200_000)), 30, "yarn lock"),
    "half of a surrogate pair": ("pnpm-lock.yaml", b'lockfileVersion: "9.0"\npackages:\n  "a@1.0\\ud800":\n'
                                 b"    resolution: {integrity: x}\n", 5, "npm package without a valid name: 5"),
    "an SQLite database cut short": ("usr/lib/sysimage/rpm/rpmdb.sqlite", b"SQLite format 3\0\x10\0" + bytes(M), 1,
                                     "unreadable rpm file: 1"),
    "a Berkeley database that points to itself": ("var/lib/rpm/Packages", bytes(12) + b"\x61\x15\x06\0" + b"\xff" * M,
                                                  1, "unreadable rpm file: 1"),
    "an NDB database of lies": ("var/lib/rpm/Packages.db", b"RpmP" + b"\xff" * M, 1, "unreadable rpm file: 1"),
    "a zip of end records": ("a.jar", b"PK\x05\x06" * 200_000, 5, "unreadable Java archive file: 5"),
    "a DLL of ones": ("a.dll", b"MZ" + b"\xff" * M, 5, "5"),
    "an ELF file of ones": ("a.so", b"\x7fELF\x02\x01" + b"\xff" * M, 5, "5"),
}


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children()
    yield made
    made.close()


def decent(children: Children, folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and all that was said: it ended by itself, and speaks to people."""
    ran = children.run(folder, *arguments)
    text = ran.stdout + ran.stderr
    assert ran.signal == 0, f"ended by signal {ran.signal} after {ran.seconds:.1f} s of CPU"
    assert not _PYTHON.search(ran.stderr), ran.stderr[-600:]
    return ran.code, text


@pytest.mark.parametrize("name", _IN_FOLDERS)
def test_a_file_is_counted_within_the_limits(name: str, children: Children, tmp_path: Path) -> None:
    path, made, copies, said = _IN_FOLDERS[name]
    content = made() if callable(made) else made
    for number in range(copies):
        place = tmp_path / "target" / (str(number) if copies > 1 else "") / path
        place.parent.mkdir(parents=True)
        if number:
            os.link(tmp_path / "target/0" / path, place)
        else:
            place.write_bytes(content)
    code, text = decent(children, tmp_path, "sbom", "rootfs:target" if copies == 1 else "dir:target", "-o", "purls")
    assert code == 0, text[-600:]
    assert said in text, text[-600:]
    assert not re.search(r"^pkg:", text, re.MULTILINE) or "beyond" in said, text[:300]


def statement(predicate: object) -> dict[str, object]:
    return {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://cyclonedx.org/bom", "subject": [],
            "predicate": predicate}


def in_each_other(depth: int) -> bytes:
    document: object = {"bomFormat": "CycloneDX", "specVersion": "1.6", "pad": "a" * M}
    for _ in range(depth):
        document = statement(document)
    return json.dumps(document).encode()


def cycles(count: int) -> bytes:
    names = [f"pkg:npm/n{number}@1" for number in range(count)]
    return json.dumps({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
            {"type": "library", "name": name[8:-2], "version": "1", "purl": name, "bom-ref": name} for name in names],
        "dependencies": [{"ref": name, "dependsOn": [name, names[number - 1], *names[:20]]}
                         for number, name in enumerate(names)]}).encode()


def below_each_other(depth: int) -> bytes:
    start = b'{"type":"library","name":"a","purl":"pkg:npm/a@1","components":['
    return b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[' + start * depth + b"]}" * depth + b"]}"


_DOCUMENTS: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "statements in each other": (lambda: in_each_other(60), 2, "a CycloneDX document"),
    "components ten thousand deep": (lambda: below_each_other(10_000), 2, "nesting deeper than"),
    "dependencies in circles": (lambda: cycles(5000), 0, "pkg:npm/n4999@1"),
    "tag-value of empty lines": (lambda: b"SPDXVersion: SPDX-2.3\n" + b"\n" * (8 * M), 0, "SPDX"),
    "spaces before no tag": (lambda: b" " * (8 * M), 2, ""),
    "tag-value that does not end": (lambda: b"SPDXVersion: SPDX-2.3\nPackageName: <text>" + b"a\n" * M, 2,
                                    "does not end"),
    "XML in each other": (lambda: b'<bom xmlns="http://cyclonedx.org/schema/bom/1.6">' + b"<components>" * 500_000, 2,
                          ""),
    "an envelope of an envelope": (lambda: json.dumps({"payloadType": "x", "payload": base64.b64encode(
        in_each_other(3)).decode(), "signatures": []}).encode(), 2,
                                   "expected a CycloneDX document"),
}


@pytest.mark.parametrize("name", _DOCUMENTS)
def test_a_document_ends_with_a_reason(name: str, children: Children, tmp_path: Path) -> None:
    make, expected, said = _DOCUMENTS[name]
    (tmp_path / "sbom.json").write_bytes(make())
    code, text = decent(children, tmp_path, "sbom", "convert", "sbom.json", "-o", "spdx-json")
    assert code == expected, text[-600:]
    assert said in text, text[-600:]
