"""Where a list goes on: the Link header (RFC 8288 section 3; distribution-spec, "Listing Tags", "Listing Referrers").

A list ends where no link says "next". So a header that cannot be read is an error and not the end: what is on the pages
after it would be hidden.
"""

from __future__ import annotations

import re

from custody.errors import MalformedError

_LINK = re.compile(r"""[\s,]*+<(?P<target>[^<>]*)>
    (?P<parameters>(?:\s*+;\s*+(?:[^\s=;,"<>]++(?:\s*+=\s*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*"|[^\s=;,"<>]*+))?)?)*)\s*+(?:,|\Z)""",
                   re.VERBOSE)
_PARAMETER = re.compile(r""";\s*(?P<name>[^\s=;,"<>]+)
    (?:\s*=\s*(?:"(?P<quoted>[^"\\]*+(?:\\.[^"\\]*+)*)"|(?P<plain>[^\s=;,"<>]*+)))?""", re.VERBOSE)
_LONGEST = 16 * 1024


def next_link(header: str, place: str) -> str | None:
    """The target of the one link whose relations include `next`; None where none does. Raises MalformedError."""
    targets: list[str] = []
    at = 0
    text = header.rstrip(" \t,")
    while at < len(text):
        match = _LINK.match(text, at) if len(text) <= _LONGEST else None
        relations = None if match is None else _relations(match["parameters"])
        if match is None or relations is None:
            raise MalformedError(f"{place}: Link", got=header, expected='<URL>; rel="next", or another relation')
        at = match.end()
        if "next" in relations:
            targets.append(match["target"])
    if len(set(targets)) > 1:
        raise MalformedError(f"{place}: Link", got=header, expected="one next page")
    return targets[0] if targets else None


def _relations(parameters: str) -> list[str] | None:
    """Relation types in lower case; of several `rel` the first counts (RFC 8288 section 3.3). None: there is none."""
    for parameter in _PARAMETER.finditer(parameters):
        if parameter["name"].lower() == "rel":
            value = parameter["plain"] if parameter["quoted"] is None else parameter["quoted"]
            return (value or "").lower().strip("'").split() or None
    return None
