"""Debian packages as dpkg records them: deb-control(5) stanzas of `status` and of distroless images' `status.d`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.fact import LICENSES, OWNS, Fact, unknown

_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]+)")
_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]+)\))?\Z")
_LICENSE = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
# What other catalogers would find: only those of a package's files are worth remembering.
_TELLING = re.compile(r"/(?:METADATA|PKG-INFO|package\.json|[^/]+\.(?:egg-info|jar|war|ear|gemspec|so))\Z|"
                      r"/s?bin/[^/]+\Z|\.dist-info/sboms/|/specifications/|/library/[^/]+/DESCRIPTION\Z|/ebin/[^/]+\.app\Z|"
                      r"\.(?:dll|exe|deps\.json|reg|rockspec|ko(?:\.[a-z]+)?)\Z|/release\Z|/composer/installed\.json\Z")
_IN_PLACE = frozenset(("installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"))
"""The states in which a package's files are all there (dpkg(1), "Package states"); `config-files` keeps only those."""
_MERGED = ("bin/", "sbin/", "lib/", "lib32/", "lib64/")


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    installed_by_place = "/status.d/" in f"/{path}"
    result = []
    for stanza in _stanzas(content.decode("utf-8", "replace")):
        status = stanza.get("Status", "").split()
        name, version = stanza.get("Package"), stanza.get("Version")
        state = status[-1] if status else "installed" if installed_by_place else ""
        if name and state == "half-installed":
            result.append(unknown("half-installed Debian package"))  # some of its files, or none
        if not name or not version or state not in _IN_PLACE:
            continue
        source = _SOURCE.match(stanza.get("Source", "").strip())
        depends = [stanza.get(key, "") for key in ("Pre-Depends", "Depends")]
        result.append(Fact(
            type="deb", name=name, version=version, arch=stanza.get("Architecture", ""),
            source=source[1] if source else name, source_version=(source[2] if source else None) or version,
            supplier=stanza.get("Maintainer", ""), vendor=stanza.get("Origin") or stanza.get("Vendor", ""),
            requires=tuple(_alternatives(", ".join(depends))),
            provides=tuple(_alternatives(stanza.get("Provides", "")))))
    return tuple(result)


def read_list(path: str, content: bytes) -> tuple[Fact, ...]:
    """`info/NAME[:ARCH].list`: what the package installed."""
    return _owned(path, ".list", content.decode("utf-8", "replace").splitlines())


def read_sums(path: str, content: bytes) -> tuple[Fact, ...]:
    """`status.d/NAME.md5sums` of distroless images: a digest and a path in each line."""
    lines = content.decode("utf-8", "replace").splitlines()
    return _owned(path, ".md5sums", ["/" + line.partition(" ")[2].lstrip().removeprefix("./") for line in lines])


def _owned(path: str, ending: str, lines: list[str]) -> tuple[Fact, ...]:
    name = path.rpartition("/")[2].removesuffix(ending).partition(":")[0]
    owned = []
    for line in lines:
        if _TELLING.search(line):
            file = line.lstrip("/")
            owned.append("usr/" + file if file.startswith(_MERGED) else file)
    return (Fact(type=OWNS, name=name, requires=tuple(owned)),) if owned else ()


def read_copyright(path: str, content: bytes) -> tuple[Fact, ...]:
    """The short names of a machine-readable copyright file (DEP-5); free text says nothing that is sure."""
    text = content.decode("utf-8", "replace")
    if "copyright-format" not in text[:2000]:
        return ()
    names = dict.fromkeys(match.strip() for match in _LICENSE.findall(text))
    return (Fact(type=LICENSES, name=path.split("/")[-2], licenses=tuple(names)),) if names else ()


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            if line[:1] not in (" ", "\t"):
                key, colon, value = line.partition(":")
                if colon:
                    fields[key] = value.strip()
        if fields:
            yield fields


def _alternatives(text: str) -> Iterator[str]:
    """`a (>= 1) | b, c` as `a|b` and `c`."""
    for group in text.split(","):
        names = [match[1] for choice in group.split("|") if (match := _NAME.match(choice))]
        if names:
            yield "|".join(names)
