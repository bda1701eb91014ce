"""Names of built rpms as lists of errata write them: `bash-0:5.1.8-6.el9_1.aarch64`, with or without the epoch."""

from __future__ import annotations

import re
from typing import NamedTuple

from custody.errors import MalformedError

_NEVRA = re.compile(r"(?:(?P<early>[0-9]+):)?(?P<name>[^:/\s]+)-(?:(?P<epoch>[0-9]+):)?(?P<version>[^-:\s]+)-"
                    r"(?P<release>[^-:\s]+?)(?:\.(?P<arch>noarch|src|nosrc|x86_64|i[3-6]86|aarch64|ppc64le|ppc64|ppc|"
                    r"s390x?|armv[5-8][a-z]*|ia64|riscv64|loongarch64|sparc[0-9a-z]*))?\Z")


class Nevra(NamedTuple):
    name: str
    evr: str
    """`epoch:version-release`."""
    arch: str
    """Empty where it has none."""


def split(text: str, where: str) -> Nevra:
    """Raises MalformedError."""
    match = _NEVRA.match(text) if len(text) <= 1024 else None
    if match is None:
        raise MalformedError(where, got=text, expected="name-epoch:version-release.arch")
    epoch = match["epoch"] or match["early"] or "0"
    return Nevra(match["name"], f"{epoch}:{match['version']}-{match['release']}", match["arch"] or "")
