"""Allowed signers: whose SSH keys may sign what, and when (ssh-keygen(1), "ALLOWED SIGNERS")."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from custody.errors import MalformedError, UnsupportedError
from custody.formats.sshsig import fingerprint, load_public_key
from custody.kit import regular

_EXPECTED = "principals [options] key-type base64-key"
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
_FIELD = re.compile(r'\s*((?:[^\s",]|"[^"]*"|,)+)')
_OPTION = re.compile(r'([a-z-]+)(?:="([^"]*)")?(?:,|\Z)')
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z?)\Z")
_MAX_SIZE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """One line: principals, their key, and for which namespaces and times it counts."""

    principals: tuple[str, ...]
    key: bytes
    namespaces: tuple[str, ...] = ()
    valid_after: datetime | None = None
    valid_before: datetime | None = None

    def is_for(self, email: str) -> bool:
        return _matches(self.principals, email)

    def allows(self, namespace: str) -> bool:
        return not self.namespaces or _matches(self.namespaces, namespace)

    def __str__(self) -> str:
        return f"{','.join(self.principals)} {fingerprint(self.key)}"


def parse_allowed_signers(text: str, where: str = "allowed signers") -> tuple[AllowedSigner, ...]:
    """Raises MalformedError or UnsupportedError, naming the line."""
    if len(text) > _MAX_SIZE:
        raise MalformedError(where, got=f"{len(text)} characters", expected=f"at most {_MAX_SIZE}")
    result = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            result.append(_line(line, f"{where}:{number}"))
    return tuple(result)


def read_allowed_signers(path: Path) -> tuple[AllowedSigner, ...]:
    try:
        text = regular.limited(path, _MAX_SIZE).decode()
    except UnicodeDecodeError:
        raise MalformedError(str(path), got="bytes that are not UTF-8", expected=_EXPECTED) from None
    return parse_allowed_signers(text, str(path))


def _line(line: str, where: str) -> AllowedSigner:
    fields = _FIELD.findall(line)
    if len(fields) < 3:
        raise MalformedError(where, got=line.strip(), expected=_EXPECTED)
    if fields[0].startswith(_KEY_TYPES):  # a line of id_ed25519.pub or of authorized_keys
        raise MalformedError(where, got=f"{fields[0]} at its beginning", expected=_EXPECTED,
                             hint=f'say whose key it is, such as: ann@myorg.example namespaces="git" {fields[0]} …')
    principals = tuple(fields[0].strip('"').split(","))
    rest = fields[1:]
    options = {} if rest[0].startswith(_KEY_TYPES) else dict(_options(rest.pop(0), where))
    if len(rest) < 2:
        raise MalformedError(where, got=line.strip(), expected="key type and base64 key at the end")
    try:
        key = base64.b64decode(rest[1], validate=True)
    except binascii.Error:
        raise MalformedError(where, got=rest[1], expected="a base64 key") from None
    kind, _ = load_public_key(key, where)
    if kind != rest[0]:
        raise MalformedError(where, got=f"{rest[0]} before a key of type {kind}", expected="the same type twice")
    namespaces = tuple(options["namespaces"].split(",")) if "namespaces" in options else ()
    return AllowedSigner(principals, key, namespaces, _moment(options.get("valid-after"), where),
                         _moment(options.get("valid-before"), where))


def _options(text: str, where: str) -> list[tuple[str, str]]:
    options, at = [], 0
    while at < len(text):
        match = _OPTION.match(text, at)
        if match is None or match[1] not in ("namespaces", "valid-after", "valid-before", "cert-authority"):
            raise UnsupportedError(where, f"option {text[at:]!r} is not known")
        if match[1] == "cert-authority":
            raise UnsupportedError(f"{where}: cert-authority", "SSH certificates are not verified by custody yet")
        options.append((match[1], match[2] or ""))
        at = match.end()
    return options


def _moment(text: str | None, where: str) -> datetime | None:
    if text is None:
        return None
    match = _TIME.match(text)
    try:
        if match is None:
            raise ValueError
        return datetime(*(int(part or 0) for part in match.groups()[:6]), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        raise MalformedError(where, got=text, expected="YYYYMMDD or YYYYMMDDHHMM[SS], taken as UTC") from None


def _matches(patterns: tuple[str, ...], text: str) -> bool:
    """OpenSSH's pattern lists: any pattern matches, and none that begins with `!` does."""
    if any(fnmatchcase(text, pattern[1:]) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(fnmatchcase(text, pattern) for pattern in patterns if not pattern.startswith("!"))
