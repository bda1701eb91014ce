"""Security databases of apk repositories: Alpine's, Wolfi's, Chainguard's (https://secdb.alpinelinux.org/v3.19/main.json).

    {"distroversion": "v3.19", "reponame": "main", "urlprefix": "https://dl-cdn.alpinelinux.org/alpine", "packages": [
        {"pkg": {"name": "openssl", "secfixes": {"3.1.4-r1": ["CVE-2023-5363"], "0": ["CVE-2022-3996"]}}}]}

Only fixes are stated; version 0 is a vulnerability that the package never had.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.ecosystems import normalise
from custody.errors import MalformedError
from custody.formats.advisories.fields import Fixes, document, items, mapping, optional, text, texts, until
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.osv import Advisory, Affected

MAX_SIZE = 256 << 20
_ID = re.compile(r"[A-Z][A-Z0-9]*[-_][A-Za-z0-9][A-Za-z0-9_-]*")
_OWNERS = (("wolfi", "Wolfi"), ("cgr.dev", "Chainguard"), ("chainguard", "Chainguard"), ("minimos", "MinimOS"),
           ("mini.dev", "MinimOS"))
"""What stands in the address of packages of a distribution without releases."""


def is_secdb(data: bytes) -> bool:
    return b'"packages"' in data and (b'"secfixes"' in data or b'"reponame"' in data)


def read(data: bytes, where: str) -> Snapshot:
    stated = mapping(document(data, where, MAX_SIZE), where)
    release, repository = optional(stated, "distroversion", where), text(stated, "reponame", where)
    if release:
        family, ecosystem, part = "Alpine", f"Alpine:{release}", f"{release}/{repository}"
    else:
        prefix = optional(stated, "urlprefix", where)
        family = next((name for mark, name in _OWNERS if mark in prefix), "")
        if not family:
            raise MalformedError(f"{where}: urlprefix", got=prefix,
                                 expected="the address of Wolfi's or Chainguard's packages, where no distroversion is")
        ecosystem, part = family, repository
    source = f"{family.lower()}-secdb"
    return Snapshot(source, part, _advisories(stated, family, ecosystem, source, where))


def _advisories(stated: dict[str, Any], family: str, ecosystem: str, source: str, where: str) -> Iterator[Advisory]:
    by_id: dict[tuple[str, ...], Fixes] = {}
    for place, row in enumerate(items(stated, "packages", where)):
        here = f"{where}: packages[{place}]"
        package = mapping(mapping(row, here).get("pkg"), f"{here}.pkg")
        said = Affected(ecosystem, normalise(ecosystem, text(package, "name", here)))
        never = Affected(said.ecosystem, said.name, status="not_affected", reason="never affected")
        fixes = package.get("secfixes")
        for version, names in mapping({} if fixes is None else fixes, f"{here}.secfixes").items():
            for line in texts({version: names}, version, f"{here}.secfixes"):
                for key in _names(line):
                    gathered = by_id.setdefault(key, Fixes())
                    if version == "0":
                        gathered.add(never)
                    else:
                        gathered.add(said, until(version))
    for key in sorted(by_id):
        yield Advisory(id=f"{family.upper()}-{key[0]}", modified="", withdrawn=False, aliases=key, summary="",
                       severity=(), ratings=(), affected=by_id[key].affected(), source=source)


def _names(line: str) -> list[tuple[str, ...]]:
    """Of an entry such as `CVE-2017-12135 XSA-226`: one vulnerability, by all its names; of several CVEs each."""
    names = [name.replace("_", "-", 1) for name in _ID.findall(line) if re.search(r"\d", name)]
    cves = [name for name in names if name.startswith("CVE-")]
    if len(cves) > 1:
        return [(name,) for name in dict.fromkeys(cves)]
    return [tuple(dict.fromkeys(cves + names))] if names else []
