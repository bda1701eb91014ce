"""Whether a version is affected, as the OSV schema defines it ("Evaluation"), and which event says so."""

from __future__ import annotations

from typing import Any, NamedTuple

from custody.errors import CustodyError
from custody.formats.osv import Affected, Range
from custody.versions import key


class Match(NamedTuple):
    """Why a version is affected."""

    event: str
    """`introduced 2.0, fixed 2.3` or `listed in versions`."""
    fixed: str
    """The next version without it; empty where none is known."""


def affected_by(affected: Affected, version: str) -> Match | None:
    """Raises MalformedError or UnsupportedError where the versions cannot be put in order: that is not a "no"."""
    undecided: CustodyError | None = None
    for span in affected.ranges:
        try:
            match = _in_range(affected.ecosystem, span, version)
        except CustodyError as error:
            undecided = error
            continue
        if match:
            return match
    if version in affected.versions:  # affected, whatever the ranges say
        return Match("listed in versions", _next_fix(affected, version))
    if undecided is not None:
        raise undecided
    # Two spellings of one version are one version, where the ecosystem says so.
    if affected.versions:
        mine = key(affected.ecosystem, version)
        for stated in affected.versions:
            try:
                if key(affected.ecosystem, stated) == mine:
                    return Match("listed in versions", _next_fix(affected, version))
            except CustodyError:
                continue
    return None


def _in_range(ecosystem: str, span: Range, version: str) -> Match | None:
    mine = _key(ecosystem, span, version)
    limits = [stated for kind, stated in span.events if kind == "limit" and stated != "*"]
    if limits and not any(mine < _key(ecosystem, span, limit) for limit in limits):
        return None
    vulnerable, introduced, ended = False, "", ""
    for place, kind, stated in sorted(((_place(ecosystem, span, stated), kind, stated) for kind, stated in span.events
                                       if kind != "limit"), key=lambda event: (event[0], event[1] != "introduced")):
        here = None if place[0] == 0 else place[1]
        if kind == "introduced" and (here is None or mine >= here):
            vulnerable, introduced = True, stated
        elif (kind == "fixed" and (here is None or mine >= here)) or (kind == "last_affected" and here is not None
                                                                     and mine > here):
            vulnerable = False
        elif vulnerable and kind != "introduced":
            ended = f"{kind} {stated}"
            break
    if not vulnerable:
        return None
    fixed = ended.removeprefix("fixed ") if ended.startswith("fixed ") else ""
    return Match(f"introduced {introduced}" + (f", {ended}" if ended else ""), fixed)


def _key(ecosystem: str, span: Range, version: str) -> Any:
    if span.kind == "SEMVER":
        return key("npm", version)
    return key(ecosystem, version)


def _place(ecosystem: str, span: Range, version: str) -> tuple[int, Any]:
    """`0` stands before every version."""
    return (0, 0) if version == "0" else (1, _key(ecosystem, span, version))


def _next_fix(affected: Affected, version: str) -> str:
    """The first fixed version after this one, of any range that can be ordered."""
    later = []
    for span in affected.ranges:
        try:
            mine = _key(affected.ecosystem, span, version)
            later += [(place, stated) for kind, stated in span.events
                      if kind == "fixed" and (place := _key(affected.ecosystem, span, stated)) > mine]
        except CustodyError:
            continue
    return min(later)[1] if later else ""
