"""os-release(5): which distribution this is."""

from __future__ import annotations

import shlex

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import OS_RELEASE, Fact

_KEYS = frozenset(("ID", "VERSION_ID", "PRETTY_NAME", "NAME"))
_LONGEST = 1024
PLACES = ("etc/os-release", "usr/lib/os-release")
"""In the order in which os-release(5) has them read."""


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    values: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key in _KEYS:
            values[key] = value
    for key, value in values.items():
        if len(value) > _LONGEST:
            raise ValueError(f"{key} of {len(value)} characters, expected at most {_LONGEST}")
        words = shlex.split(value)
        values[key] = words[0] if words else ""
    return (Fact(type=OS_RELEASE, name=values.get("ID", "linux"), version=values.get("VERSION_ID", ""),
                 supplier=values.get("PRETTY_NAME", values.get("NAME", ""))),)


CATALOGER = Cataloger(name="os-release", version=1, read=read, largest=16 << 10, cost=256 << 10, places=PLACES,
                      paths=(named("os-release", pattern=r"(?:etc|usr/lib)/os-release"),))
