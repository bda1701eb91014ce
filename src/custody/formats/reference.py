"""Names of images: `[registry/]repository[:tag][@digest]` (distribution's reference grammar).

As everywhere in the field, a name without a registry is on `docker.io`, one without a namespace there is in `library/`,
and one with neither tag nor digest means the tag `latest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from custody.errors import MalformedError
from custody.kit.digest import is_digest

_DOMAIN = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?\Z")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """One image name, whole: registry and repository are always there, tag and digest may be."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """`registry/repository`."""
        return f"{self.registry}/{self.repository}"

    @property
    def identifier(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> Reference:
        return replace(self, digest=digest)

    def tagged(self, tag: str) -> Reference:
        return replace(self, tag=tag, digest=None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.name + tag + (f"@{self.digest}" if self.digest else "")


def parse(text: str, where: str = "image") -> Reference:
    """Raises MalformedError, naming `where`."""
    expected = "an image such as registry.example.com/team/app:1.0 or …@sha256:<64 hex digits>"
    if not isinstance(text, str):
        raise MalformedError(where, got=text, expected=expected)
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise MalformedError(where, got=text, expected="sha256:<64 hex digits> after the @")
    tag: str | None = None
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1:]
        if not _TAG.match(tag):
            raise MalformedError(where, got=text, expected="a tag of letters, digits, '.', '_' and '-' after the ':'")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        registry, path = head, tail
    else:
        registry, path = "docker.io", rest if slash else f"library/{rest}"
    if registry == "index.docker.io":
        registry = "docker.io"
    if not _DOMAIN.match(registry) or not _PATH.match(path) or len(path) > _LONGEST:
        raise MalformedError(where, got=text, expected=expected)
    if tag is None and not at:
        tag = "latest"
    return Reference(registry, path, tag, digest or None)


def is_repository(path: str) -> bool:
    return len(path) <= _LONGEST and _PATH.match(path) is not None


def is_tag(text: str) -> bool:
    return _TAG.match(text) is not None
