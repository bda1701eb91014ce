"""Trivy's database, schema 2 (github.com/aquasecurity/trivy-db): a bbolt file, and `metadata.json` beside it.

    data-source       {bucket: {"ID": "debian", "Name": …, "URL": …}}
    "debian 12"       {package: {"CVE-…": {"FixedVersion": …, "Status": …, "Severity": …}}}
    "npm::GitHub …"   {package: {"CVE-…": {"VulnerableVersions": […], "PatchedVersions": […], "VendorIDs": ["GHSA-…"]}}}
    "Red Hat"         {package or "nodejs:18::package": {"CVE-…" or "RHSA-…": {"Entries": [{"Affected": [0, 4], …}]}}}
    "Red Hat CPE"     {"cpe": {"0": "cpe:/o:redhat:enterprise_linux:9::baseos"}, …}
    vulnerability     {"CVE-…": {"Title": …, "VendorSeverity": {"nvd": 3}, "CVSS": {"nvd": {"V3Vector": …}}, …}}

What a bucket says is one part of the source `trivy-db/ID`; what NVD says of severities is `trivy-db/nvd`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

import msgspec

from custody import ecosystems
from custody.ecosystems import normalise
from custody.errors import MalformedError, UnsupportedError
from custody.formats.advisories.fields import EVERY, until
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.bolt import Bucket, Database
from custody.formats.osv import Advisory, Affected, Range, Status, cve_of
from custody.vulns.databases.constraints import ranges, undecidable, with_fixes

SCHEMA = 2
PREFIX = "trivy-db/"
_SUMMARY = 500
_LONGEST = 16 << 20
_OWN = (b"data-source", b"vulnerability", b"Red Hat CPE", b"advisory-detail", b"vulnerability-detail",
        b"vulnerability-id", b"trivy")
_STATUSES: tuple[Status, ...] = ("", "not_affected", "", "", "under_investigation", "will_not_fix", "fix_deferred",
                                 "end_of_life")
"""By number (types/status.go): unknown, not_affected, affected, fixed, …"""
_SEVERITIES = ("", "low", "medium", "high", "critical")
_By = Literal["", "source", "binary"]


class _System(NamedTuple):
    """How the buckets of a distribution begin, whose they are, and whose names they have."""

    begins: str
    id: str
    by: _By


_SYSTEMS = (
    _System("debian ", "debian", "source"), _System("ubuntu ", "ubuntu", "source"),
    _System("alpine ", "alpine", "source"), _System("wolfi", "wolfi", "source"),
    _System("chainguard", "chainguard", "source"), _System("minimos", "minimos", "source"),
    _System("echo", "echo", "source"), _System("rocky ", "rocky", "binary"), _System("alma ", "almalinux", "binary"),
    _System("amazon linux ", "amzn", "binary"), _System("Oracle Linux ", "ol", "binary"),
    _System("Photon OS ", "photon", "source"), _System("CBL-Mariner ", "mariner", "source"),
    _System("Azure Linux ", "azurelinux", "source"), _System("openSUSE Leap ", "opensuse-leap", "binary"),
    _System("openSUSE Tumbleweed", "opensuse-tumbleweed", "binary"))
_SUSE = re.compile(r"SUSE Linux Enterprise ([0-9]+(?:\.[0-9]+)?)\Z")
_LANGUAGES = {"npm": "npm", "composer": "Packagist", "pip": "PyPI", "rubygems": "RubyGems", "cargo": "crates.io",
              "nuget": "NuGet", "maven": "Maven", "go": "Go", "erlang": "Hex", "pub": "Pub", "swift": "SwiftURL",
              "bitnami": "Bitnami", "julia": "Julia"}


class _Source(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="ID", default="")


class _Cve(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="ID", default="")
    severity: int = 0


class _Stated(msgspec.Struct, rename="pascal"):
    """An advisory of any bucket, and an entry of an advisory."""

    vendor_ids: tuple[str, ...] | None = msgspec.field(name="VendorIDs", default=None)
    status: int = 0
    severity: int = 0
    fixed_version: str = ""
    affected_version: str = ""
    vulnerable_versions: tuple[str, ...] | None = None
    patched_versions: tuple[str, ...] | None = None
    unaffected_versions: tuple[str, ...] | None = None
    cves: tuple[_Cve, ...] | None = None
    affected: tuple[int, ...] | None = None
    entries: tuple[_Stated, ...] | None = None


class _Cvss(msgspec.Struct):
    v2: str = msgspec.field(name="V2Vector", default="")
    v3: str = msgspec.field(name="V3Vector", default="")
    v4: str = msgspec.field(name="V40Vector", default="")

    def vectors(self) -> tuple[tuple[str, str], ...]:
        return tuple((kind, vector) for kind, vector in (("CVSS_V4", self.v4), ("CVSS_V3", self.v3),
                                                         ("CVSS_V2", self.v2)) if vector)


class _Detail(msgspec.Struct, rename="pascal"):
    title: str = ""
    description: str = ""
    vendor_severity: dict[str, int] | None = None
    cvss: dict[str, _Cvss] | None = msgspec.field(name="CVSS", default=None)
    published: str = msgspec.field(name="PublishedDate", default="")

    def vectors(self, source: str) -> tuple[tuple[str, str], ...]:
        stated = (self.cvss or {}).get(source)
        return stated.vectors() if stated else ()

    def words(self, source: str) -> tuple[str, ...]:
        return _words((self.vendor_severity or {}).get(source, 0))


_T = TypeVar("_T")
_SOURCE, _STATED, _DETAIL = (msgspec.json.Decoder(_Source), msgspec.json.Decoder(_Stated),
                             msgspec.json.Decoder(_Detail))
_NOTHING = _Detail()


class TrivyDatabase:
    """What is in a file. Walked once."""

    def __init__(self, database: Database, where: str) -> None:
        """Raises UnsupportedError for another schema."""
        root = database.root
        sources, details = root.bucket(b"data-source"), root.bucket(b"vulnerability")
        if sources is None or details is None:
            raise UnsupportedError(where, "a bbolt file without the buckets data-source and vulnerability",
                                   hint=f"Trivy's database of schema {SCHEMA} is read")
        self._root, self._sources, self._details, self._where = root, sources, details, where
        self.left_out: dict[str, int] = {}
        """How many records were left out, by why."""

    def said(self) -> Iterator[Snapshot]:
        """Raises MalformedError: all of it counts or none."""
        for key, bucket in self._root.buckets():
            if key in _OWN:
                continue
            name = self._name(key)
            source = self._decoded(_SOURCE, self._sources.get(key), f"data-source {name}").id or "unknown"
            if name == "Red Hat":
                yield Snapshot(PREFIX + source, name, self._advisories(source, name, self._red_hat(bucket)))
            elif rows := self._rows(name, bucket):
                yield Snapshot(PREFIX + source, name, self._advisories(source, name, rows))
        yield Snapshot(PREFIX + "nvd", "", self._severities())

    def _rows(self, name: str, bucket: Bucket) -> Iterable[tuple[str, tuple[str, ...], Affected]] | None:
        """Each entry with the vulnerability's name and its other names; None for a bucket of no ecosystem here."""
        language, colons, _ = name.partition("::")
        if colons and language in _LANGUAGES:
            return self._language(_LANGUAGES[language], bucket)
        system = next((row for row in _SYSTEMS if name.startswith(row.begins)), None)
        if match := _SUSE.match(name):
            return self._system(ecosystems.of_release("sles", match[1]), "binary", bucket)
        if system is None:
            self._leave_out(f"of {name}, an ecosystem that custody has none for", sum(
                1 for _, package in bucket.buckets() for _ in package.items()))
            return None
        release = name[len(system.begins):].strip()
        ecosystem = "Alpine:edge" if (system.id, release) == ("alpine", "edge") else ecosystems.of_release(
            system.id, release or "0")
        return self._system(ecosystem, system.by, bucket)

    def _stated(self, bucket: Bucket) -> Iterator[tuple[str, str, _Stated]]:
        """(package, vulnerability, what is said)."""
        for package, vulnerabilities in bucket.buckets():
            name = self._name(package)
            for key, value in vulnerabilities.items():
                yield name, (vulnerability := self._name(key)), self._decoded(
                    _STATED, value, f"{name}: {vulnerability}")

    def _language(self, ecosystem: str, bucket: Bucket) -> Iterator[tuple[str, tuple[str, ...], Affected]]:
        for package, vulnerability, stated in self._stated(bucket):
            vulnerable, patched = stated.vulnerable_versions or (), stated.patched_versions or ()
            secure = (*patched, *(stated.unaffected_versions or ()))
            try:
                if "" in (*vulnerable, *patched):  # Trivy reports such a one whatever the version is
                    spans: tuple[Range, ...] = (EVERY,)
                elif vulnerable or secure:
                    spans = with_fixes(ecosystem, ranges(ecosystem, vulnerable, secure), patched)
                else:
                    self._leave_out("that name no versions", 1)
                    continue
            except UnsupportedError:
                spans = undecidable(" || ".join(vulnerable or secure))
            yield vulnerability, stated.vendor_ids or (), Affected(
                ecosystem, normalise(ecosystem, package), spans, ratings=_words(stated.severity))

    def _system(self, ecosystem: str | None, by: _By, bucket: Bucket
                ) -> Iterator[tuple[str, tuple[str, ...], Affected]]:
        if ecosystem is None:
            return
        for package, vulnerability, stated in self._stated(bucket):
            module, _, name = package.rpartition("::")
            for entry in stated.entries or (stated,):
                kind = next((f":{kind}" for kind in ("ksplice", "fips") if kind in entry.fixed_version), "") if (
                    ecosystem.startswith("Oracle")) else ""
                yield vulnerability, (), self._entry(ecosystem + kind, name, entry, module, by)

    def _red_hat(self, bucket: Bucket) -> Iterator[tuple[str, tuple[str, ...], Affected]]:
        """Repositories are known by their CPE; `ecosystems.canonical` says which of them are a release's own."""
        products = self._products()
        for package, vulnerability, stated in self._stated(bucket):
            module, _, name = package.rpartition("::")
            for entry in stated.entries or ():
                places = dict.fromkeys(products[number] for number in entry.affected or () if number in products)
                for cve in entry.cves or ():
                    called = vulnerability if cve_of(vulnerability) else cve.id or vulnerability
                    for ecosystem in places:
                        yield called, (), self._entry(ecosystem, name, entry, module, "binary", cve.severity)

    def _products(self) -> Mapping[int, str]:
        listed = self._root.bucket(b"Red Hat CPE")
        names = listed.bucket(b"cpe") if listed else None
        products: dict[int, str] = {}
        for key, value in names.items() if names else ():
            cpe = self._decoded(_TEXT, value, "Red Hat CPE")
            number = self._name(key)
            if number.isdigit() and (match := re.match(r"cpe:/[ao]:redhat:(.+)\Z", cpe)):
                products[int(number)] = ecosystems.canonical(f"Red Hat:{match[1]}")
        return products

    @staticmethod
    def _entry(ecosystem: str, name: str, stated: _Stated, module: str, by: _By, severity: int = 0) -> Affected:
        status = _STATUSES[stated.status] if 0 <= stated.status < len(_STATUSES) else ""
        if status == "not_affected" and not stated.fixed_version:
            spans: tuple[Range, ...] = ()
        elif stated.affected_version:
            fixed = (("fixed", stated.fixed_version),) if stated.fixed_version else ()
            spans = (Range("ECOSYSTEM", (("introduced", stated.affected_version), *fixed)),)
        else:
            spans = (until(stated.fixed_version),) if stated.fixed_version else (EVERY,)
        return Affected(ecosystem, normalise(ecosystem, name), spans, ratings=_words(stated.severity or severity),
                        status="" if stated.fixed_version else status, module=module, by=by)

    def _advisories(self, source: str, part: str, rows: Iterable[tuple[str, tuple[str, ...], Affected]]
                    ) -> Iterator[Advisory]:
        """An advisory for each vulnerability that a bucket speaks of, since buckets are by package."""
        affected: dict[str, dict[Affected, None]] = {}
        aliases: dict[str, dict[str, None]] = {}
        for vulnerability, names, entry in rows:
            affected.setdefault(vulnerability, {})[entry] = None
            aliases.setdefault(vulnerability, {}).update(dict.fromkeys(names))
        for vulnerability, entries in affected.items():
            detail = self._detail(vulnerability)
            yield Advisory(
                id=vulnerability, modified="", withdrawn=False, aliases=tuple(aliases[vulnerability]),
                summary=_summary(detail), severity=detail.vectors(source), ratings=detail.words(source),
                affected=tuple(entries), source=PREFIX + source, part=part, published=detail.published)

    def _severities(self) -> Iterator[Advisory]:
        for key, value in self._details.items():
            name = self._name(key)
            detail = self._decoded(_DETAIL, value, name)
            severity, words = detail.vectors("nvd"), detail.words("nvd")
            if severity or words:
                yield Advisory(id=name, modified="", withdrawn=False, aliases=(), summary=_summary(detail),
                               severity=severity, ratings=words, affected=(), source=PREFIX + "nvd",
                               published=detail.published)

    def _detail(self, vulnerability: str) -> _Detail:
        value = self._details.get(vulnerability.encode())
        return _NOTHING if value is None else self._decoded(_DETAIL, value, vulnerability)

    def _decoded(self, decoder: msgspec.json.Decoder[_T], value: bytes | Bucket | None, name: str) -> _T:
        if not isinstance(value, bytes):
            value = b"{}"
        if len(value) > _LONGEST:
            raise MalformedError(f"{self._where}: {name}", got=f"{len(value)} bytes", expected=f"at most {_LONGEST}")
        try:
            return decoder.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise MalformedError(f"{self._where}: {name}", got=str(error), expected="what Trivy keeps there") from None

    def _name(self, key: bytes) -> str:
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise MalformedError(self._where, got=key[:80], expected="a name in UTF-8") from None

    def _leave_out(self, why: str, records: int) -> None:
        if records:
            self.left_out[why] = self.left_out.get(why, 0) + records


_TEXT = msgspec.json.Decoder(str)


def _words(severity: int) -> tuple[str, ...]:
    return (_SEVERITIES[severity],) if 0 < severity < len(_SEVERITIES) else ()


def _summary(detail: _Detail) -> str:
    return next((line[:_SUMMARY] for text in (detail.title, detail.description)
                 if (line := text.strip().partition("\n")[0])), "")
