"""Files that set findings aside: custody's own, Trivy's and grype's; each rule with its reason and expiry, where given.

    .custodyignore      YAML: `ignore:` a list of rules with `id`, `reason`, and may be `packages` (package URLs),
                        `paths` (globs), `until` (a date, the last day that it counts) and `by`
    .trivyignore        lines: an identifier, `exp:2026-12-31` behind it, `#` comments
    .trivyignore.yaml   `vulnerabilities:` a list of `id`, `paths`, `purls`, `expired_at`, `statement`
    .grype.yaml         `ignore:` a list of `vulnerability`, `include-aliases`, `reason`, `fix-state`, `package`
                        (`name`, `version`, `type`, `language`, `location`, `upstream-name`), …

(Trivy docs/configuration/filtering.md; grype README, "Specifying matches to ignore".)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import msgspec

from custody.errors import MalformedError, UnsupportedError
from custody.formats import yaml
from custody.kit.clock import parse_rfc3339

_MAX_RULES = 50_000
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_OWN = ("id", "packages", "paths", "reason", "until", "by")
_TRIVY = ("id", "paths", "purls", "expired_at", "statement")
_TRIVY_KINDS = ("vulnerabilities", "misconfigurations", "secrets", "licenses")
_GRYPE = ("vulnerability", "include-aliases", "reason", "namespace", "fix-state", "package", "vex-status",
          "vex-justification", "match-type")
_GRYPE_PACKAGE = ("name", "version", "language", "type", "location", "upstream-name")
_FIX_STATES = ("fixed", "not-fixed", "wont-fix", "unknown")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold of a finding, all of it, for it to be set aside; empty fields ask for nothing."""

    place: str
    """`ignore[2]`, `line 7`."""
    id: str = ""
    own_name: bool = False
    """Whether `id` must be the finding's first name, and no alias of it."""
    purls: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Globs: `*` within a folder, `**` over folders."""
    name: str = ""
    """A regular expression (RE2) for the package's whole name."""
    version: str = ""
    kind: str = ""
    """A type of package, as grype calls it."""
    language: str = ""
    upstream: str = ""
    """A regular expression for the name of what it was built from."""
    fix_state: str = ""
    reason: str = ""
    by: str = ""
    until: datetime | None = None
    """When it stops counting; None: never."""
    unread: str = ""
    """Why it cannot count here."""


def read(data: bytes, where: str) -> tuple[Rule, ...]:
    """By the file's name. Raises MalformedError, UnsupportedError, naming the rule and the field."""
    name = PurePosixPath(where).name
    if name.endswith((".yaml", ".yml")) or name.startswith(".custodyignore"):
        documents = yaml.documents(data, where)
        document = documents[0] if documents else {}
        if len(documents) > 1 or not isinstance(document, dict):
            raise MalformedError(where, got=document, expected="one YAML mapping")
        if any(kind in document for kind in _TRIVY_KINDS):
            return _trivy(document, where)
        rows = _rows(document, "ignore", where)
        if name.startswith(".custodyignore") or not any(isinstance(row, dict) and _is_grypes(row) for row in rows):
            if unknown := [key for key in document if key != "ignore"]:
                raise UnsupportedError(f"{where}: {unknown[0]}", "this is no field of an ignore file")
            return tuple(_own(row, f"{where}: ignore[{place}]", f"ignore[{place}]") for place, row in enumerate(rows))
        return tuple(_grype(row, f"{where}: ignore[{place}]", f"ignore[{place}]") for place, row in enumerate(rows))
    return _lines(data, where)


def _is_grypes(row: dict[str, Any]) -> bool:
    return "id" not in row


def _own(row: Any, where: str, place: str) -> Rule:
    entry = _known(row, _OWN, where)
    rule = Rule(place=place, id=_text(entry, "id", where), purls=_texts(entry, "packages", where),
                paths=_texts(entry, "paths", where), reason=_text(entry, "reason", where), by=_text(entry, "by", where),
                until=_until(entry.get("until"), f"{where}.until", whole_day=True))
    if not rule.id:
        raise MalformedError(f"{where}.id", got=None, expected="a vulnerability: CVE-…, GHSA-…")
    if not rule.reason:
        raise MalformedError(f"{where}.reason", got=None, expected="why this does not count")
    return rule


def _trivy(document: dict[str, Any], where: str) -> tuple[Rule, ...]:
    if unknown := [key for key in document if key not in _TRIVY_KINDS]:
        raise UnsupportedError(f"{where}: {unknown[0]}", f"known are {', '.join(_TRIVY_KINDS)}")
    rules: list[Rule] = []
    for kind in _TRIVY_KINDS:
        for number, row in enumerate(_rows(document, kind, where)):
            place = f"{kind}[{number}]"
            entry = _known(row, _TRIVY, f"{where}: {place}")
            name = _text(entry, "id", f"{where}: {place}")
            if not name:
                raise MalformedError(f"{where}: {place}.id", got=None, expected="an identifier")
            rules.append(Rule(
                place=place, id=name, purls=_texts(entry, "purls", where), paths=_texts(entry, "paths", where),
                until=_until(entry.get("expired_at"), f"{where}: {place}.expired_at"),
                reason=_text(entry, "statement", where),
                unread="" if kind == "vulnerabilities" else f"it is about {kind}, and not about vulnerabilities"))
    return tuple(rules)


def _lines(data: bytes, where: str) -> tuple[Rule, ...]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedError(where, got="bytes", expected="lines of UTF-8 text") from None
    rules: list[Rule] = []
    reason = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            reason = line.strip().lstrip("#").strip() if words else ""  # the comment above it says why
            continue
        expiry = next((word.removeprefix("exp:") for word in words[1:] if word.startswith("exp:")), None)
        rules.append(Rule(place=f"line {number}", id=words[0], reason=reason,
                          until=_until(expiry, f"{where}: line {number}: exp")))
        if len(rules) > _MAX_RULES:
            raise MalformedError(where, got=f"more than {_MAX_RULES} rules", expected="fewer")
    return tuple(rules)


def _grype(row: Any, where: str, place: str) -> Rule:
    entry = _known(row, _GRYPE, where)
    package = _known(entry.get("package") or {}, _GRYPE_PACKAGE, f"{where}.package")
    fix_state = _text(entry, "fix-state", where)
    if fix_state and fix_state not in _FIX_STATES:
        raise MalformedError(f"{where}.fix-state", got=fix_state, expected=", ".join(_FIX_STATES))
    unread = next((f"{key}: nothing here is called so" for key in ("namespace", "match-type", "vex-status",
                                                                    "vex-justification") if entry.get(key)), "")
    rule = Rule(
        place=place, id=_text(entry, "vulnerability", where), own_name=entry.get("include-aliases") is not True,
        reason=_text(entry, "reason", where), fix_state=fix_state, name=_text(package, "name", where),
        version=_text(package, "version", where), kind=_text(package, "type", where),
        language=_text(package, "language", where), upstream=_text(package, "upstream-name", where),
        paths=tuple(filter(None, (_text(package, "location", where),))), unread=unread)
    asked = (rule.id, fix_state, rule.name, rule.version, rule.kind, rule.language, rule.upstream, *rule.paths)
    return rule if any(asked) or unread else msgspec.structs.replace(rule, unread="it asks for nothing")


def _rows(document: dict[str, Any], key: str, where: str) -> list[Any]:
    rows = document.get(key) or []
    if not isinstance(rows, list) or len(rows) > _MAX_RULES:
        raise MalformedError(f"{where}: {key}", got=rows, expected=f"a list of at most {_MAX_RULES} rules")
    return rows


def _known(row: Any, fields: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise MalformedError(where, got=row, expected="a mapping")
    if unknown := [key for key in row if key not in fields]:
        raise UnsupportedError(f"{where}: {unknown[0]}", f"known are {', '.join(fields)}")
    return row


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 4096:
        raise MalformedError(f"{where}.{key}", got=value, expected="text of at most 4096 characters")
    return value


def _texts(entry: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = entry.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise MalformedError(f"{where}.{key}", got=value, expected="a list of texts")
    return tuple(value)


def _until(value: Any, where: str, *, whole_day: bool = False) -> datetime | None:
    """A date (its first moment, as Trivy takes it, or its last) or a time of RFC 3339."""
    if value is None:
        return None
    if isinstance(value, str) and _DATE.match(value):
        try:
            return datetime.fromisoformat(value).replace(tzinfo=UTC) + timedelta(days=whole_day)
        except ValueError:
            raise MalformedError(where, got=value, expected="a date, YYYY-MM-DD") from None
    return parse_rfc3339(value, where)
