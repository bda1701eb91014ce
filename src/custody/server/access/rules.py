"""What callers may do: identities → repositories → actions, and nothing that no rule allows."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from custody.errors import MalformedError, UsageError
from custody.formats.namepattern import Pattern
from custody.settings.tables import Auth, Grant

Action = Literal["pull", "push", "delete", "catalog"]
HTPASSWD, CERTIFICATE = "htpasswd", "certificate"
_REPOSITORY = re.compile(r"[a-z0-9._*-]+(?:/[a-z0-9._*-]+)*")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, and who says so: `htpasswd`, `certificate`, or an OIDC issuer's URL."""

    by: str
    names: tuple[str, ...]
    """A certificate may have several; a rule about one of them is enough."""

    def __str__(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True, slots=True)
class _Rule:
    by: str
    identities: tuple[Pattern, ...]
    repositories: tuple[Pattern, ...]
    actions: frozenset[str]


class Rules:
    """Of `[auth]` in custody.toml. `ways` are how callers can be known: htpasswd, certificate, issuers' URLs."""

    def __init__(self, auth: Auth, ways: Sequence[str]) -> None:
        """Raises UsageError, MalformedError, naming the field."""
        if not ways:
            raise UsageError("auth: got no way to know who somebody is, expected htpasswd, issuers, or tls_client_ca",
                             hint="docs/guides/access.md")
        self._public = _patterns(auth.public, "auth.public", repositories=True)
        self._rules = tuple(_rule(grant, f"auth.allow[{number}]", ways) for number, grant in enumerate(auth.allow))

    def allows(self, caller: Caller | None, action: Action, repository: str) -> bool:
        """None is somebody who did not say who he is; `repository` is not looked at for catalog."""
        if action == "pull" and any(pattern.matches(repository) for pattern in self._public):
            return True
        return caller is not None and any(
            rule.by == caller.by and action in rule.actions
            and (action == "catalog" or any(pattern.matches(repository) for pattern in rule.repositories))
            and any(pattern.matches(name) for name in caller.names for pattern in rule.identities)
            for rule in self._rules)


def _rule(grant: Grant, where: str, ways: Sequence[str]) -> _Rule:
    by = grant.by
    if by is None:
        if len(ways) != 1:
            raise UsageError(f"{where}.by: got none, expected one of {', '.join(ways)}: there are several, and a name "
                             "that one of them gives is not the same name of another")
        by = ways[0]
    elif by not in ways:
        raise MalformedError(f"{where}.by", got=by, expected=f"one of {', '.join(ways)}")
    actions = frozenset(cast(Collection[str], grant.actions))
    if not grant.identities or not actions:
        raise UsageError(f"{where}: got no {'actions' if grant.identities else 'identities'}, expected some: "
                         "it would allow nothing")
    if (actions != {"catalog"}) != bool(grant.repositories):
        raise UsageError(f"{where}.repositories: got {len(grant.repositories)}, expected "
                         f"{'none: catalog is about all' if grant.repositories else 'patterns such as team/**'}")
    return _Rule(by, _patterns(grant.identities, f"{where}.identities"),
                 _patterns(grant.repositories, f"{where}.repositories", repositories=True), actions)


def _patterns(texts: Sequence[str], where: str, *, repositories: bool = False) -> tuple[Pattern, ...]:
    patterns = []
    for number, text in enumerate(texts):
        if repositories and not _REPOSITORY.fullmatch(text):
            raise MalformedError(f"{where}[{number}]", got=text,
                                 expected="a repository's name without its registry, in lower case, with * and **")
        patterns.append(Pattern(text, f"{where}[{number}]"))
    return tuple(patterns)
