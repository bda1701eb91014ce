"""Debian versions: `[epoch:]upstream[-revision]` (Debian Policy 5.6.12, deb-version(7))."""

from __future__ import annotations

import re
from typing import Any

_PIECES = re.compile(r"([^0-9]*)([0-9]*)")


def key(version: str) -> Any:
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "0", version.strip()
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    if not epoch.isdigit() or not rest:
        raise ValueError("not a Debian version")
    return int(epoch), _part(upstream), _part(revision or "0")


def _part(text: str) -> tuple[Any, ...]:
    """Non-digits and digits in turn; the 0 that ends each run of non-digits sorts after `~` and before all else."""
    result: list[Any] = []
    for letters, digits in _PIECES.findall(text):
        if letters or digits:
            result += [(*map(_order, letters), 0), int(digits or 0)]
    return (*result, (0,))


def _order(char: str) -> int:
    if char == "~":
        return -1
    return ord(char) if char.isalpha() else ord(char) + 0x110000
