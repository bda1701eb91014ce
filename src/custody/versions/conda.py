"""Conda versions: `[epoch!]version[+local]` (conda.models.version.VersionOrder, conda-build "Package naming")."""

from __future__ import annotations

import re
from typing import Any

from custody.versions.padding import padded

_SHAPE = re.compile(r"(?:([0-9]+)!)?([*.!_0-9a-z-]+?)(?:\+([*._0-9a-z-]+))?\Z")
_RUNS = re.compile(r"[0-9]+|[^0-9]+")
_ZERO = (2, 0, "")


def key(version: str) -> Any:
    match = _SHAPE.match(version.strip().lower())
    if match is None or "!" in match[2]:
        raise ValueError("not a conda version")
    return int(match[1] or 0), _parts(match[2]), _parts(match[3] or "")


def _parts(text: str) -> tuple[Any, ...]:
    text = text.replace("-", "_")
    trailing = text.endswith("_")  # 1.0.1_ is a version before 1.0.1a, as OpenSSL counts
    names = text.rstrip("_").replace("_", ".") if trailing else text.replace("_", ".")
    parts = names.split(".") if names else []
    if trailing and parts:
        parts[-1] += "_"
    if not all(parts):
        raise ValueError("empty part")
    return padded([padded([_item(run) for run in runs], _ZERO) for runs in map(_runs, parts)], padded((), _ZERO))


def _runs(part: str) -> list[str]:
    runs = _RUNS.findall(part)
    return runs if part[0].isdigit() else ["0", *runs]


def _item(run: str) -> tuple[int, int, str]:
    """`dev` before all other words, words before numbers, `post` behind them."""
    if run.isdigit():
        return 2, int(run), ""
    return (0, 0, "") if run == "dev" else (3, 0, "") if run == "post" else (1, 0, run)
