"""What a registry asks for in WWW-Authenticate (RFC 9110 section 11.6.1), and what a token may do (distribution,
spec/auth/scope.md)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PART = re.compile(r"""[\s,]*+(?:
    (?P<key>[A-Za-z][\w-]*)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"=]+)(?=[\s,]|\Z))
    |(?P<scheme>[A-Za-z][\w-]*)(?=[\s,]|\Z)
    |(?P<other>[^\s,]+)|\Z)""", re.VERBOSE | re.ASCII)


_LONGEST = 16 * 1024
"""Characters of all values together: more is not read, on the loop that serves everybody."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme, in lower case, with its parameters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of the header's values, in order; what cannot be read is left out."""
    challenges: list[Challenge] = []
    parameters: dict[str, str] = {}
    for match in _PART.finditer(header if len(header) <= _LONGEST else ""):
        if match["scheme"]:
            parameters = {}
            challenges.append(Challenge(match["scheme"].lower(), parameters))
        elif match["key"] and challenges:
            value = match["plain"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
            parameters.setdefault(match["key"].lower(), value)
    return challenges


def choose(header: str) -> Challenge | None:
    """The challenge to answer: Bearer before Basic, as the field's clients do; None where there is neither."""
    challenges = parse_challenges(header)
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or challenge.parameters.get("realm")):
                return challenge
    return None


def merged_scopes(*scopes: str) -> tuple[str, ...]:
    """Scopes such as `repository:app:pull`, separated by spaces, with one entry for each resource and all its actions.

    What the client asks for is kept even where a challenge names less: a registry that answers a HEAD names `pull`,
    and the push that follows would need another token.
    """
    actions: dict[str, list[str]] = {}
    for scope in _split(scopes):
        resource, colon, asked = scope.rpartition(":")
        known = actions.setdefault(resource if colon else scope, [])
        known += [action for action in asked.split(",") if colon and action and action not in known]
    return tuple(f"{resource}:{','.join(asked)}" if asked else resource for resource, asked in actions.items())


def _split(scopes: Iterable[str]) -> list[str]:
    return [scope for text in scopes for scope in text.split(" ") if scope]
