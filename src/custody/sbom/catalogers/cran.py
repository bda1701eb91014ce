"""R packages: DESCRIPTION of what is installed (R, "Writing R Extensions" 1.1.1), and renv.lock."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.kit.addresses import address
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import Table, hexadecimal, json_object, table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_NEED = re.compile(r"\s*([A-Za-z][A-Za-z0-9.]*)")


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    fields: dict[str, str] = {}
    key = ""
    for line in content.decode("utf-8", "replace").splitlines():
        if line[:1] in (" ", "\t") and key:
            fields[key] += " " + line.strip()
        else:
            key, _, value = line.partition(":")
            fields.setdefault(key, value.strip())
    if not fields.get("Package") or not fields.get("Version"):
        raise ValueError("a DESCRIPTION without Package and Version")
    needed = ",".join(fields.get(kind, "") for kind in ("Depends", "Imports", "LinkingTo"))
    requires = dict.fromkeys(match[1] for part in needed.split(",") if (match := _NEED.match(part)) and match[1] != "R")
    license_ = re.sub(r" {0,4}\+? {0,4}file LICEN[CS]E", "", fields.get("License", "")).strip()
    return (Fact(type="cran", name=fields["Package"], version=fields["Version"], requires=tuple(requires),
                 licenses=(license_,) if license_ else (), supplier=fields.get("Maintainer", ""),
                 homepage=address(re.split(r"[\s,]", fields.get("URL", ""), maxsplit=1)[0])),)


def read_lock(path: str, content: bytes) -> Iterator[Fact]:
    packages = json_object(path, content).get("Packages")
    if not isinstance(packages, dict):
        raise ValueError("renv.lock without Packages")
    for key, value in packages.items():
        row = table(value)
        name, version = word(row.get("Package")) or key, word(row.get("Version"))
        if not version:
            yield unknown("R package without a version in a lock file")
            continue
        yield Fact(type="cran", name=name, version=version, hashes=hexadecimal("md5", row.get("Hash")),
                   requires=_needs(row))


def _needs(row: Table) -> tuple[str, ...]:
    """`Requirements` are names; renv 1.1 has the fields of DESCRIPTION instead."""
    stated = [*words(row.get("Requirements")), *(text for kind in ("Depends", "Imports", "LinkingTo")
                                                 for text in words(row.get(kind)))]
    return tuple(dict.fromkeys(match[1] for text in stated if (match := _NEED.match(text)) and match[1] != "R"))


CATALOGER = Cataloger(name="R package", version=1, types=("cran",), read=read,
                      listed=r"/library/[^/]+/DESCRIPTION\Z", paths=(
                          named("DESCRIPTION", pattern=r".*library/(?:[^/]+/){1,3}DESCRIPTION"),))
LOCK = Cataloger(name="renv lock", version=1, types=("cran",), read=read_lock, declares=True, parsed=0.25,
                 largest=16 << 20, paths=(named("renv.lock"),))
