"""Grype's database, schema 6 (github.com/anchore/grype, grype/db/v6): records, and what each says of packages.

    {"id": "CVE-…", "aliases": […], "severities": [{"scheme": "CVSS", "value": {"vector": …}, "rank": 1}], …}
    {"ranges": [{"version": {"constraint": "< 3.0.8-1", …}, "fix": {"version": "3.0.8-1", "state": "fixed"}}],
     "qualifiers": {"rpm_modularity": "nodejs:18", "architecture": "src"}, "cves": […]}

What a publisher says is the source `grype-db/PROVIDER`; of CISA's catalogue and FIRST's scores there is one each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from custody import ecosystems
from custody.ecosystems import normalise, of_osv
from custody.errors import MalformedError, UnsupportedError
from custody.formats.advisories.fields import EVERY, moment
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.epss import Epss, EpssScores
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.formats.osv import Advisory, Affected, Range, Status, cve_of
from custody.ports.scannerdb import Handle, ScannerTables, System, Vulnerability
from custody.vulns.databases.constraints import ranges, undecidable, with_fixes

MODEL, REVISION = 6, 1
PREFIX = "grype-db/"
_SUMMARY = 500
_Row = TypeVar("_Row")
_MOST = 5_000_000
_LANGUAGES = {"npm": "npm", "python": "PyPI", "java-archive": "Maven", "go-module": "Go", "gem": "RubyGems",
              "php-composer": "Packagist", "dotnet": "NuGet", "rust-crate": "crates.io", "dart-pub": "Pub",
              "swift": "SwiftURL", "hex": "Hex", "github-action": "GitHub Actions", "bitnami": "Bitnami",
              "R-package": "CRAN", "hackage": "Hackage", "jenkins-plugin": "Maven", "conan": "", "lua-rocks": ""}
"""By syft's types of packages."""
_IDS = {"amazonlinux": "amzn", "amazon": "amzn", "oraclelinux": "ol", "redhat": "rhel", "rockylinux": "rocky",
        "archlinux": "arch", "alma": "almalinux"}
_STATUSES: dict[str, Status] = {"wont-fix": "will_not_fix"}


class _Severity(msgspec.Struct):
    scheme: str = ""
    value: object = None
    rank: int = 0


class _Record(msgspec.Struct):
    description: str = ""
    aliases: tuple[str, ...] | None = None
    severities: tuple[_Severity, ...] | None = None


class _Version(msgspec.Struct, frozen=True):
    constraint: str = ""


class _Fix(msgspec.Struct, frozen=True):
    version: str = ""
    state: str = ""


class _Range(msgspec.Struct):
    version: _Version = _Version()
    fix: _Fix | None = None


class _Qualifiers(msgspec.Struct):
    module: str | None = msgspec.field(name="rpm_modularity", default=None)
    architecture: str | None = None
    rootio: bool | None = None


class _Package(msgspec.Struct):
    cves: tuple[str, ...] | None = None
    qualifiers: _Qualifiers | None = None
    ranges: tuple[_Range, ...] | None = None


class _Exploited(msgspec.Struct):
    cve: str = ""
    date_added: str | None = None
    due_date: str | None = None
    known_ransomware_campaign_use: str = ""


_T = TypeVar("_T")
_RECORD, _PACKAGE, _EXPLOITED = (msgspec.json.Decoder(_Record), msgspec.json.Decoder(_Package),
                                 msgspec.json.Decoder(_Exploited))


class GrypeDatabase:
    """What is in the tables of a file."""

    def __init__(self, tables: ScannerTables, where: str) -> None:
        """Raises UnsupportedError for another schema."""
        model, revision, addition = tables.schema()
        if model != MODEL or revision > REVISION:
            raise UnsupportedError(where, f"Grype's database of schema {model}.{revision}.{addition}; expected "
                                   f"{MODEL}.{REVISION}")
        self._tables, self._where = tables, where
        self.left_out: dict[str, int] = {}
        """How many records were left out, by why."""

    def said(self) -> Iterator[Snapshot | ExploitedCatalogue | EpssScores]:
        """Raises MalformedError: all of it counts or none."""
        for provider in self._tables.providers():
            yield Snapshot(PREFIX + provider, "", self._advisories(provider))
        built = moment(self._tables.built(), f"{self._where}: build_timestamp")
        if exploited := tuple(map(self._exploited, self._bounded(self._tables.exploited(), "known_exploited"))):
            yield ExploitedCatalogue(version=f"Grype's of {built[:10]}", released=built, entries=exploited)
        scores = []
        for cve, score, percentile in self._bounded(self._tables.scores(), "epss"):
            if not 0 <= score <= 1 or not 0 <= percentile <= 1:
                raise MalformedError(f"{self._where}: {cve}", got=(score, percentile), expected="numbers from 0 to 1")
            scores.append(Epss(cve=cve, score=score, percentile=percentile))
        if scores:
            day = moment(self._tables.scored() or self._tables.built(), f"{self._where}: epss_metadata")
            yield EpssScores(version="as Grype has it", day=day, entries=tuple(scores))

    def _bounded(self, rows: Iterator[_Row], table: str) -> Iterator[_Row]:
        for count, row in enumerate(rows):
            if count == _MOST:
                raise MalformedError(f"{self._where}: {table}", got=f"more than {_MOST} rows", expected="fewer")
            yield row

    def _advisories(self, provider: str) -> Iterator[Advisory]:
        for stated, handles in self._tables.records(provider):
            yield self._advisory(provider, stated, handles)

    def _advisory(self, provider: str, stated: Vulnerability, handles: list[Handle]) -> Advisory:
        where = f"{self._where}: {provider}: {stated.name}"
        record = self._decoded(_RECORD, stated.blob, where)
        named = dict.fromkeys(record.aliases or ())
        affected: dict[Affected, None] = {}
        for handle in handles:
            package = self._decoded(_PACKAGE, handle.blob, f"{where}: {handle.name}")
            named.update(dict.fromkeys(package.cves or ()))
            affected.update(dict.fromkeys(self._affected(handle, package)))
        named.pop(stated.name, None)
        # A bulletin of a distribution mends several vulnerabilities; everybody else's record is of one.
        bulletin = any(handle.system for handle in handles) and not cve_of(stated.name)
        severities = sorted(record.severities or (), key=lambda severity: severity.rank)
        return Advisory(
            id=stated.name, modified=moment(stated.modified, where) if stated.modified else "",
            withdrawn=bool(stated.withdrawn) or stated.status == "rejected", aliases=() if bulletin else tuple(named),
            summary=record.description.strip().partition("\n")[0][:_SUMMARY],
            severity=tuple(dict.fromkeys(pair for severity in severities if (pair := _vector(severity)))),
            ratings=tuple(dict.fromkeys(severity.value for severity in severities[:1] if isinstance(
                severity.value, str) and not _vector(severity))),
            affected=tuple(affected), upstream=tuple(named) if bulletin else (), source=PREFIX + provider,
            published=moment(stated.published, where) if stated.published else "")

    def _affected(self, handle: Handle, package: _Package) -> Iterator[Affected]:
        qualifiers = package.qualifiers or _Qualifiers()
        if handle.kind == "cpe":
            product = handle.name + (f":{handle.ecosystem}" if handle.ecosystem else "")
            yield from self._entries("CPE", product, package, handle.kind)
            return
        if qualifiers.rootio:
            self._leave_out("of Root.io's own builds")
            return
        ecosystem = self._ecosystem(handle)
        if not ecosystem:
            return
        for entry in self._entries(ecosystem, handle.name, package, handle.kind):
            if handle.ecosystem != "rpm":
                yield entry
                continue
            entry = msgspec.structs.replace(entry, module=":".join((qualifiers.module or "").split(":")[:2]))
            # Grype asks for the package's own name and for what it was built from, unless the record says which.
            if qualifiers.architecture != "src":
                yield msgspec.structs.replace(entry, by="binary")
            if qualifiers.architecture in (None, "src"):
                yield msgspec.structs.replace(entry, by="source")

    def _ecosystem(self, handle: Handle) -> str:
        """Empty, and counted, where custody has none."""
        system = handle.system
        if system is None:
            ecosystem = _LANGUAGES.get(handle.ecosystem, "")
            if not ecosystem:
                self._leave_out(f"of {handle.ecosystem}, an ecosystem that custody has none for")
            return ecosystem
        return self._release(system)

    def _release(self, system: System) -> str:
        names = (system.release, _IDS.get(system.name, system.name), _IDS.get(system.release, system.release))
        identifier = next((name for name in names if ecosystems.distribution(name)), "")
        minor = system.minor.zfill(2) if identifier == "ubuntu" and system.minor else system.minor
        version = f"{system.major}.{minor}" if minor else system.major or system.label
        if not identifier or not (version or ecosystems.of_release(identifier, "")):
            self._leave_out(f"of {system.name} {version}, a distribution that custody does not know")
            return ""
        if identifier == "rhel" and system.minor and not system.channel:
            return ""  # of each minor release the same stands there as of the major one
        ecosystem = "Alpine:edge" if (identifier, version) == ("alpine", "edge") else ecosystems.of_release(
            identifier, version or "0") or ""
        if system.channel:  # extended support is another product: `Red Hat:9.2:eus`
            return f"{(of_osv(ecosystem) or ecosystems.Spoken()).osv}:{version}:{system.channel}"
        return ecosystem

    def _entries(self, ecosystem: str, name: str, package: _Package, kind: str) -> Iterator[Affected]:
        """One; several where fixes of other states are stated apart."""
        name = normalise(ecosystem, name)
        if kind == "unaffected":
            yield Affected(ecosystem, name, status="not_affected", reason="as Grype's database has it")
            return
        by_state: dict[Status, dict[Range, None]] = {}
        for stated in package.ranges or (_Range(),):
            fix = stated.fix or _Fix()
            if fix.state == "not-affected":
                continue
            if stated.version.constraint in ("< 0", "<0"):  # of apk: never affected
                by_state.setdefault("not_affected", {})
                continue
            status = _STATUSES.get(fix.state, "")
            constraint = stated.version.constraint.replace("'", "").replace('"', "")
            if constraint in ("", "none (unknown)"):
                spans: tuple[Range, ...] = (EVERY,)
            else:
                try:
                    spans = ranges(ecosystem, [constraint])
                    spans = with_fixes(ecosystem, spans, [fix.version] if fix.version else ())
                except UnsupportedError:
                    spans = undecidable(constraint)
            by_state.setdefault(status, {}).update(dict.fromkeys(spans))
        for status, listed in by_state.items():
            yield Affected(ecosystem, name, tuple(listed), status=status)

    def _exploited(self, blob: bytes) -> Exploited:
        stated = self._decoded(_EXPLOITED, blob, f"{self._where}: exploited")
        return Exploited(cve=stated.cve, added=(stated.date_added or "")[:10], due=(stated.due_date or "")[:10],
                         ransomware=stated.known_ransomware_campaign_use.lower() == "known")

    @staticmethod
    def _decoded(decoder: msgspec.json.Decoder[_T], value: bytes, where: str) -> _T:
        try:
            return decoder.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise MalformedError(where, got=str(error), expected="what Grype keeps there") from None

    def _leave_out(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1


def _vector(severity: _Severity) -> tuple[str, str] | None:
    """(kind of CVSS, vector), where it is one."""
    value = severity.value
    if not isinstance(value, dict) or not isinstance(vector := value.get("vector"), str):
        return None
    version = str(value.get("version") or vector.removeprefix("CVSS:"))
    kind = {"4": "CVSS_V4", "3": "CVSS_V3"}.get(version[:1], "CVSS_V2")
    if kind != "CVSS_V2" and not vector.startswith("CVSS:"):
        vector = f"CVSS:{version}/{vector}"
    return kind, vector
