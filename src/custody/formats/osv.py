"""Advisories as OSV writes them (https://ossf.github.io/osv-schema/, version 1.7): the parts that matching needs.

What other publishers write is read into the same types (`formats.advisories`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

import msgspec

from custody.ecosystems import Distribution, canonical, normalise, of_osv
from custody.errors import MalformedError, UnsupportedError
from custody.kit import members, strictjson
from custody.kit.clock import parse_rfc3339

MAX_SIZE = 16 * 1024 * 1024
_MAX_LIST, _LONGEST = 100_000, 4096
_EVENTS = ("introduced", "fixed", "last_affected", "limit")
_RANGES = ("SEMVER", "ECOSYSTEM", "GIT")
_CVE = re.compile(r"(?:[A-Z]+-)?(CVE-[0-9]{4}-[0-9]{1,19})\Z")
_ERRATA = re.compile(r"(?:AL|RH|RL|EL|OE|CE)[BE]A-")
_TITLE = re.compile(r"(Critical|Important|Moderate|Low): ")
_TELLING = re.compile(r"(?:severity|urgency|priority|threat|cvss)|(?:nvd|metrics?|ratings?|impact|level|text|value|"
                      r"vector|base_?score|score)\Z", re.IGNORECASE)
_SCORED = re.compile(r"(?:base_?)?score\Z|cvss", re.IGNORECASE)
_MAX_RATINGS = 32
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}

Status = Literal["", "not_affected", "will_not_fix", "fix_deferred", "end_of_life", "under_investigation"]
"""What a publisher says of a package beyond versions; empty: nothing. `not_affected` has no ranges; of the others the
ranges say which versions are affected, and that there is no fix says why."""


class Range(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: str
    """`SEMVER` or `ECOSYSTEM`; GIT ranges speak of commits and are left out. `UNREAD`: a constraint that custody does
    not read, which stands where a version would."""
    events: tuple[tuple[str, str], ...]
    """(`introduced` | `fixed` | `last_affected` | `limit`, version), as they stand in the record; where OSV cannot say
    what is stated, also `after`: the versions behind one, and not that."""


class Affected(msgspec.Struct, frozen=True, array_like=True, gc=False):
    ecosystem: str
    name: str
    """As `ecosystems.normalise` spells it."""
    ranges: tuple[Range, ...] = ()
    versions: tuple[str, ...] = ()
    severity: tuple[tuple[str, str], ...] = ()
    ratings: tuple[str, ...] = ()
    status: Status = ""
    reason: str = ""
    """Why, in the publisher's words: `no-dsa: Minor issue`, `vulnerable_code_not_present`."""
    module: str = ""
    """The stream that the package must be of, `nodejs:18` (rpm's modularity); empty: it is of none."""
    by: Literal["", "source", "binary"] = ""
    """Whose name it is, a built package's or that of what packages are built from; empty: as its ecosystem goes."""

class Advisory(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record. Times are RFC 3339 text as it was written."""

    id: str
    modified: str
    withdrawn: bool
    aliases: tuple[str, ...]
    summary: str
    severity: tuple[tuple[str, str], ...]
    """(`CVSS_V2` | `CVSS_V3` | `CVSS_V4` | `Ubuntu`, vector or word)."""
    ratings: tuple[str, ...]
    """What the publisher says elsewhere of how bad it is: words, CVSS vectors, scores, in its own spelling."""
    affected: tuple[Affected, ...]
    upstream: tuple[str, ...] = ()
    """The vulnerabilities that this record is of: one is the same vulnerability, several are what a bundle mends."""
    source: str = "osv"
    """Who published it: the name of a row of `vulns.sources`, and of OSV records the database that they are of."""
    part: str = ""
    """Which of a publisher's documents it stands in, where each is the whole truth of a part: `v3.19/main`."""
    published: str = ""
    hashes: tuple[str, ...] = ()
    """Files that are malicious: `sha256:…`."""

    @property
    def cves(self) -> frozenset[str]:
        """The CVEs that this record is, by its own name (`DEBIAN-CVE-2026-0001`) and its aliases."""
        return frozenset(filter(None, map(cve_of, (self.id, *self.aliases))))

    @property
    def vulnerability(self) -> bool:
        """False for errata that mend a bug or bring something new, and name no vulnerability."""
        return not (_ERRATA.match(self.id) and not self.cves and not any(map(cve_of, self.upstream)))


def read(data: bytes, where: str = "advisory") -> Advisory:
    """Raises MalformedError and UnsupportedError, naming the field."""
    document = members.mapping(strictjson.loads(data, where, max_size=MAX_SIZE, max_depth=64), where)
    schema = document.get("schema_version", "1.0.0")
    if not isinstance(schema, str) or not schema.startswith("1."):
        raise UnsupportedError(f"{where}: schema_version", f"{schema!r} is not version 1 of the OSV schema")
    name = members.text(document, "id", where, _LONGEST)
    parse_rfc3339(document.get("modified"), f"{where}: modified")
    withdrawn = document.get("withdrawn") is not None
    if withdrawn:  # what is no time must not silence a record
        parse_rfc3339(document["withdrawn"], f"{where}: withdrawn")
    affected = [_affected(row, f"{where}: affected[{place}]")
                for place, row in enumerate(members.items(document, "affected", where, _MAX_LIST))]
    known = tuple(row for row in affected if row is not None)
    return Advisory(
        name, members.text(document, "modified", where, _LONGEST), withdrawn,
        tuple(_texts(document, "aliases", where)), str(document.get("summary") or _first_line(document))[:500],
        _severity(document, where), (*_ratings(document), *_title(document)), known,
        _upstream(document, known, where), source=_database(name), published=_published(document, where),
        hashes=_hashes(document))


def cve_of(name: str) -> str | None:
    """The CVE that an identifier names: itself, or behind a distribution's prefix, as in `UBUNTU-CVE-2026-0001`."""
    return _cve_of(name) if "CVE-" in name else None


@lru_cache(maxsize=65536)
def _cve_of(name: str) -> str | None:
    match = _CVE.match(name)
    return match[1] if match else None


def _affected(value: Any, where: str) -> Affected | None:
    affected = members.mapping(value, where)
    if "package" not in affected:
        return None  # a commit range of a repository
    package = members.mapping(affected["package"], f"{where}.package")
    ecosystem = canonical(members.text(package, "ecosystem", f"{where}.package", _LONGEST))
    name = normalise(ecosystem, members.text(package, "name", f"{where}.package", _LONGEST))
    ranges = []
    for place, span in enumerate(members.items(affected, "ranges", where, _MAX_LIST)):
        here = f"{where}.ranges[{place}]"
        kind = members.mapping(span, here).get("type")
        if kind not in _RANGES:
            raise MalformedError(f"{here}.type", got=kind, expected=" or ".join(_RANGES))
        events = tuple(_event(event, f"{here}.events") for event in members.items(span, "events", here, _MAX_LIST))
        if not any(event == "introduced" for event, _ in events):
            raise MalformedError(f"{here}.events", got="no introduced", expected="at least one")
        if kind != "GIT":
            ranges.append(Range(kind, events))
    return Affected(ecosystem, name, tuple(ranges), tuple(_texts(affected, "versions", where)),
                    _severity(affected, where), _ratings(affected))


def _upstream(document: dict[str, Any], affected: tuple[Affected, ...], where: str) -> tuple[str, ...]:
    """`upstream`; of a distribution's record without one, the CVEs among `related`.

    Distributions wrote there what a bundle mends, before OSV 1.7 had `upstream`; in all others `related` is what it
    says: another vulnerability.
    """
    stated = tuple(dict.fromkeys(_texts(document, "upstream", where)))
    related = _texts(document, "related", where)
    if stated or not affected or not all(isinstance(of_osv(entry.ecosystem), Distribution) for entry in affected):
        return stated
    return tuple(dict.fromkeys(name for name in related if cve_of(name)))


def _database(name: str) -> str:
    """The home database of an identifier (OSV schema, "id"): `osv/ghsa` of GHSA-…."""
    prefix = name.partition("-")[0].lower()
    return f"osv/{prefix}" if prefix.isalnum() and len(prefix) <= 32 else "osv"


def _published(document: dict[str, Any], where: str) -> str:
    if document.get("published") is None:
        return ""
    parse_rfc3339(document["published"], f"{where}: published")
    return str(document["published"])


def _hashes(document: dict[str, Any]) -> tuple[str, ...]:
    """Of malicious archives and files, from `indicators` and `iocs` (ossf/malicious-packages, `database_specific` of a
    record and of its packages); hashes elsewhere, as of `malicious-packages-origins`, are of reports.
    """
    hashes: list[str] = []

    def take(value: Any, kind: str, depth: int) -> None:
        if isinstance(value, str):
            named, _, digest = value.lower().rpartition(":")
            algorithm = (named or kind).replace("-", "")
            if algorithm in ("hash", "hashes"):
                algorithm = next((name for name, size in _HASHES.items() if size == len(digest)), "")
            if len(digest) == _HASHES.get(algorithm) and re.fullmatch("[0-9a-f]+", digest):
                hashes.append(f"{algorithm}:{digest}")
        elif isinstance(value, list) and depth:
            for item in value[:_MAX_LIST]:
                take(item, kind, depth - 1)
        elif isinstance(value, dict) and depth:
            for key, item in value.items():
                take(item, key.lower(), depth - 1)

    affected = document.get("affected")
    for place in (document, *(affected if isinstance(affected, list) else ())):
        specific = place.get("database_specific") if isinstance(place, dict) else None
        if isinstance(specific, dict):
            for key in ("indicators", "iocs"):
                take(specific.get(key), key, 6)
    return tuple(dict.fromkeys(hashes[:_MAX_LIST]))


def _event(value: Any, where: str) -> tuple[str, str]:
    event = members.mapping(value, where)
    if len(event) != 1 or next(iter(event)) not in _EVENTS:
        raise MalformedError(where, got=event, expected=f"one of {', '.join(_EVENTS)}")
    kind = next(iter(event))
    return kind, members.text(event, kind, where, _LONGEST)


def _severity(entry: dict[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    result = []
    for place, stated in enumerate(members.items(entry, "severity", where, _MAX_LIST)):
        here = f"{where}.severity[{place}]"
        members.mapping(stated, here)
        result.append((members.text(stated, "type", here, _LONGEST), members.text(stated, "score", here, _LONGEST)))
    return tuple(result)


def _ratings(entry: dict[str, Any]) -> tuple[str, ...]:
    """What `database_specific` and `ecosystem_specific` say below a key that speaks of severity, whatever its name."""
    ratings: list[str] = []

    def take(value: Any, depth: int, scored: bool) -> None:
        if len(ratings) >= _MAX_RATINGS:
            return
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and len(value) <= 256 and (scored or not value[:1].isdigit()):
            ratings.append(value)
        elif isinstance(value, list) and depth:
            for item in value[:_MAX_RATINGS]:
                take(item, depth - 1, scored)
        elif isinstance(value, dict) and depth:
            for key, item in value.items():
                if _telling(key):
                    take(item, depth - 1, bool(_SCORED.search(key)))

    for name in ("database_specific", "ecosystem_specific"):
        if isinstance(place := entry.get(name), dict):
            take(place, 4, False)
    return tuple(dict.fromkeys(ratings))


def _telling(key: str) -> bool:
    """`severity`, `cvss_v3`, `baseSeverity`, `vectorString`; no metric of a vector, such as `availabilityImpact`."""
    return bool(_TELLING.match(key) or key.lower().endswith(("severity", "urgency", "priority", "vectorstring")))


def _title(document: dict[str, Any]) -> tuple[str, ...]:
    """`Important: kernel security update`, as Red Hat's errata and those after them are called."""
    summary = document.get("summary")
    match = _TITLE.match(summary) if isinstance(summary, str) else None
    return (match[1],) if match else ()


def _first_line(document: dict[str, Any]) -> str:
    details = document.get("details")
    return details.strip().partition("\n")[0] if isinstance(details, str) else ""





def _texts(entry: dict[str, Any], key: str, where: str) -> list[str]:
    value = members.items(entry, key, where, _MAX_LIST)
    if not all(isinstance(text, str) for text in value):
        raise MalformedError(f"{where}.{key}", got=value, expected="texts")
    return value
