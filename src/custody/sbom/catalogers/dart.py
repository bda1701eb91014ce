"""Dart: pubspec.lock (dart.dev, "The lockfile"). What a program was compiled from is not in it any more."""

from __future__ import annotations

from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import hexadecimal, indented, table, word
from custody.sbom.catalogers.fact import Fact, unknown

_PUBLIC = ("https://pub.dev", "https://pub.dartlang.org")


def read(_path: str, content: bytes) -> Iterator[Fact]:
    packages = indented(content).get("packages")
    if not isinstance(packages, (dict, str)):
        raise ValueError("pubspec.lock without packages")
    for name, value in table(packages).items():
        row = table(value)
        source, version, said = word(row.get("source")), word(row.get("version")), table(row.get("description"))
        if source in ("sdk", "path"):
            continue  # of the SDK, which has no version of its own here; a folder beside
        if not version:
            yield unknown("Dart package without a version in a lock file")
            continue
        host = word(said.get("url")).rstrip("/")
        qualifiers = (("hosted_url", host),) if source == "hosted" and host and host not in _PUBLIC else (
            ("vcs_url", f"{host}@{word(said.get('resolved-ref'))}"),) if source == "git" else ()
        yield Fact(type="pub", name=name, version=version, hashes=hexadecimal("sha256", said.get("sha256")),
                   scope="dev" if word(row.get("dependency")) == "direct dev" else "", qualifiers=qualifiers)


CATALOGER = Cataloger(name="pub lock", version=1, types=("pub",), read=read, declares=True, paths=(
    named("pubspec.lock"),))
