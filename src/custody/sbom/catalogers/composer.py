"""PHP packages: what Composer installed (`vendor/composer/installed.json`), composer.lock; the registry of PEAR."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.documents import Table, hexadecimal, json_object, rows, table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_FIELD = re.compile(r's:\d+:"(name|version|channel|release|license|_lastversion)";(?:s:\d+:"([^"]*)"|a:\d+:\{)')


def read_installed(path: str, content: bytes) -> Iterator[Fact]:
    """Of Composer 2 an object with `packages`, of Composer 1 their list alone."""
    if content.lstrip()[:1] == b"[":
        packages, dev = rows(strictjson.loads(content, path)), frozenset[str]()
    else:
        document = json_object(path, content)
        if not isinstance(document.get("packages"), list):
            raise ValueError("installed.json without packages")
        packages, dev = rows(document["packages"]), frozenset(words(document.get("dev-package-names")))
    for row in packages:
        yield _package(row, "dev" if word(row.get("name")) in dev else "")


def read_lock(path: str, content: bytes) -> Iterator[Fact]:
    document = json_object(path, content)
    if not isinstance(document.get("packages"), list):
        raise ValueError("composer.lock without packages")
    for key, scope in (("packages", ""), ("packages-dev", "dev")):
        for row in rows(document.get(key)):
            yield _package(row, scope)


def _package(row: Table, scope: str) -> Fact:
    name, version = word(row.get("name")), word(row.get("version"))
    if not version or "/" not in name:
        return unknown("Composer package without a name and a version")
    people = rows(row.get("authors"))
    return Fact(type="composer", name=name, version=re.sub(r"\Av(?=[0-9])", "", version), scope=scope,
                licenses=tuple(words(row.get("license"))), supplier=word(people[0].get("name")) if people else "",
                requires=tuple(needed for needed in table(row.get("require")) if "/" in needed),
                hashes=hexadecimal("sha1", table(row.get("dist")).get("shasum")))


def read_pear(_path: str, content: bytes) -> Iterator[Fact]:
    """`.registry/**/NAME.reg`: PHP's serialisation of an array (php.net, `serialize`); lengths are not needed here."""
    fields: dict[str, str] = {}
    inside = ""
    for match in _FIELD.finditer(content.decode("utf-8", "replace")):
        key, value = match[1], match[2]
        if value is None:
            inside = key
        elif key == "release" and inside == "version":
            fields.setdefault("version", value)
        else:
            fields.setdefault(key, value)
    if not fields.get("name") or not fields.get("version"):
        raise ValueError("a PEAR package without a name and a version")
    pecl = fields.get("channel") == "pecl.php.net"
    yield Fact(type="pecl" if pecl else "pear", name=fields["name"], version=fields["version"],
               licenses=(fields["license"],) if fields.get("license") else (),
               qualifiers=() if pecl or fields.get("channel", "pear.php.net") == "pear.php.net" else (
                   ("channel", fields["channel"]),))


INSTALLED = Cataloger(
    name="Composer", version=1, types=("composer",), read=read_installed, parsed=0.25, largest=16 << 20,
    listed=r"/composer/installed\.json\Z", paths=(
        named("installed.json", pattern=r"(?:.*/)?composer/installed\.json", examples=("composer/installed.json",)),))
LOCK = Cataloger(name="Composer lock", version=1, types=("composer",), read=read_lock, parsed=0.25, declares=True,
                 largest=32 << 20, paths=(named("composer.lock"),))
PEAR = Cataloger(name="PEAR package", version=1, types=("pear", "pecl"), read=read_pear, listed=r"\.reg\Z", paths=(
    ending("reg", pattern=r"(?:.*/)?php/\.registry/.*"),))
