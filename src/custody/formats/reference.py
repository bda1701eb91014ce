"""Names of images: `[registry/]repository[:tag][@digest]` (distribution's reference grammar), and their one form.

As everywhere in the field, a name without a registry is on `docker.io`, one without a namespace there is in `library/`,
and one with neither tag nor digest means the tag `latest`. An image has one name here, whatever its spelling: the host
is in lower case, its port is without leading zeros and left off where it is 443, IPv6 addresses are in their short
form, and the aliases of Docker Hub are `docker.io`. Only `:443` is left off: whether port 80 is the same server as no
port depends on who asks. A host of one label keeps it (`registry:443/app`), because `registry/app` is on Docker Hub.

Stricter than the grammar, names that no node could pull are refused: ports beyond 65535, labels of more than 63
characters, brackets around what is no IPv6 address.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from custody.errors import MalformedError
from custody.kit.digest import ALGORITHMS, is_digest

DOCKER_HUB = "docker.io"
LAYOUT = "oci:"
"""Before the path of an OCI image layout, in place of a registry (containers-transports(5))."""
_HUB_ALIASES = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_HOST = re.compile(r"(?P<name>[a-zA-Z0-9.-]+|\[(?P<ipv6>[0-9a-fA-F:]+)\])(?::(?P<port>[0-9]+))?\Z")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}\Z")
_LONGEST = 255
_LONGEST_HOST, _LONGEST_LABEL = 253, 63
"""Octets of a domain name and of one label (RFC 1035 section 2.3.4)."""


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
    """The image's one name. Raises MalformedError, naming `where`, for what no node would pull."""
    expected = "an image such as registry.example.com/team/app:1.0 or …@sha256:<64 hex digits>"
    if not isinstance(text, str):
        raise MalformedError(where, got=text, expected=expected)
    if _IDENTIFIER.match(text):
        raise MalformedError(where, got=text, expected="a name, not 64 hexadecimal digits alone")
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise MalformedError(where, got=text, expected=f"a digest after the @: {ALGORITHMS}")
    tag: str | None = None
    colon = rest.rfind(":")
    if colon > rest.rfind("/"):
        rest, tag = rest[:colon], rest[colon + 1:]
        if not _TAG.match(tag):
            raise MalformedError(where, got=text, expected="a tag of letters, digits, '.', '_' and '-' after the ':'")
    head, slash, tail = rest.partition("/")
    if slash and (_looks_like_host(head) or head != head.lower()):
        registry, path = _host(head, text, where), tail
    else:
        registry, path = DOCKER_HUB, rest
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not is_repository(path):
        raise MalformedError(where, got=text, expected=expected)
    if tag is None and not at:
        tag = "latest"
    return Reference(registry, path, tag, digest or None)


def parse_host(text: str, where: str = "registry") -> str:
    """The one form of a registry's `host[:port]`. Raises MalformedError."""
    return _host(text, text, where)


def spellings(ref: Reference) -> frozenset[str]:
    """Every way to write this image that a policy's pattern may have in mind; each parses to the same name.

    `registry/repository` with `:tag`, `@digest` and both (as far as `ref` has them; bare where that is the same),
    the registry also with `:443`, Docker Hub also by its aliases and by none, `library/` there also left off. A rule
    that guards matches when any of them matches; a rule that exempts compares `str(ref)` alone.
    """
    paths = {ref.repository}
    if ref.registry == DOCKER_HUB:
        short = ref.repository.removeprefix("library/")
        if "/" not in short:
            paths.add(short)
        names = {f"{host}{port}/{path}" for host in _HUB_ALIASES for port in ("", ":443") for path in paths}
        names |= {path for path in paths if _reads_as_hub(path)}
    else:
        has_port = re.search(r":[0-9]+\Z", ref.registry) is not None
        names = {f"{ref.registry}{port}/{ref.repository}" for port in ([""] if has_port else ["", ":443"])}
    endings = {f":{ref.tag}"} if ref.tag else set()
    if ref.digest:
        endings |= {f"@{ref.digest}", *(f"{ending}@{ref.digest}" for ending in endings)}
    elif ref.tag in (None, "latest"):
        endings |= {"", ":latest"}
    return frozenset(name + ending for name in names for ending in endings)


def is_repository(path: str) -> bool:
    return len(path) <= _LONGEST and _PATH.match(path) is not None


def is_layout(text: str) -> bool:
    return text.startswith(LAYOUT)


def is_tag(text: str) -> bool:
    return _TAG.match(text) is not None


def _looks_like_host(head: str) -> bool:
    return "." in head or ":" in head or head == "localhost"


def _reads_as_hub(path: str) -> bool:
    """Whether a path alone is read as one of Docker Hub."""
    head, slash, _ = path.partition("/")
    return not (slash and _looks_like_host(head)) and not _IDENTIFIER.match(path)


def _is_domain(name: str) -> bool:
    return len(name) <= _LONGEST_HOST and all(
        0 < len(label) <= _LONGEST_LABEL and label[0] != "-" != label[-1] for label in name.split("."))


def _host(head: str, text: str, where: str) -> str:
    match = _HOST.match(head)
    if match is None or not (match["ipv6"] or _is_domain(match["name"])):
        raise MalformedError(where, got=text, expected="a registry's host name or [IPv6 address], perhaps with :port")
    name = match["name"].lower()
    if match["ipv6"]:
        try:
            name = f"[{ipaddress.IPv6Address(match['ipv6']).compressed}]"
        except ipaddress.AddressValueError:
            raise MalformedError(where, got=text, expected="an IPv6 address in the brackets") from None
    port = match["port"]
    # Python refuses to convert thousands of digits, so the length is judged first.
    number = int(port.lstrip("0")[:6] or "0") if port else 443
    if not 0 < number < 65536:
        raise MalformedError(where, got=text, expected="a port from 1 to 65535")
    if number != 443:
        return f"{name}:{number}"
    if name in _HUB_ALIASES:
        return DOCKER_HUB
    return name if _looks_like_host(name) else f"{name}:443"
