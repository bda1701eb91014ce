"""os-release(5): which distribution this is."""

from __future__ import annotations

import shlex

from custody.sbom.catalogers.fact import OS_RELEASE, Fact


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    values: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            words = shlex.split(value)
            values[key] = words[0] if words else ""
    return (Fact(type=OS_RELEASE, name=values.get("ID", "linux"), version=values.get("VERSION_ID", ""),
                 supplier=values.get("PRETTY_NAME", values.get("NAME", ""))),)
