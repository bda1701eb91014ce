"""Which findings of kept images count: VEX statements, ignore files and options, read again at each look.

What cannot be read does not count, so that its findings appear again; `Words.unread` says why. A document that is
signed counts only on the terms that were given, and for the image that it is signed about, be it a file or beside that
image in its registry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from custody.errors import CustodyError
from custody.formats.bom import Catalog
from custody.formats.vex.statement import STATUSES
from custody.ports.advisories import AdvisoryReader
from custody.ports.findings import Aside, Findings, Word
from custody.ports.inventory import InventoryStore
from custody.services import statements
from custody.services.attestedvex import Heard
from custody.services.verify import Terms
from custody.vulns.component import components
from custody.vulns.findings import Finding
from custody.vulns.judgement import judge
from custody.vulns.report import ScanReport, scan, set_aside
from custody.vulns.severity import Severity
from custody.vulns.vex.waivers import Rules, Spoken, Waivers

_MOST = 10_000
"""Documents of a folder."""


class Kept(InventoryStore, Findings, Protocol):
    """The inventory with its findings."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """From where it is known what does not count."""

    vex: tuple[Path, ...] = ()
    """Documents, or folders of which each `.json` is one."""
    ignorefiles: tuple[Path, ...] = ()
    ignore_unfixed: bool = False
    severities: frozenset[Severity] | None = None
    attested: bool = False
    """What is signed about each image beside it, too (`services.attestedvex`)."""


class Words:
    """What was said at one moment."""

    def __init__(self, said: Said, now: datetime, terms: Terms | None = None, heard: Heard = Heard()) -> None:
        self._said, self._now, self._terms, self._heard = said, now, terms, heard
        self.unread: list[str] = list(heard.failures)
        self._spoken: list[Spoken] = []
        self._rules: list[Rules] = []
        self._signed: dict[str, list[Spoken]] = {}
        state = hashlib.sha256(repr((said.ignore_unfixed, sorted(said.severities or ()))).encode())
        for path in self._documents():
            state.update(self._read(path))
        for path in said.ignorefiles:
            state.update(self._read(path, rules=True))
        self._plain = Waivers(self._spoken, self._rules)
        signed = sorted(self._signed.items())
        standing = Waivers([entry for _, entries in signed for entry in entries]).standing(now)
        state.update(repr((self._plain.standing(now), signed, standing)).encode("utf-8", "backslashreplace"))
        if said.attested:
            spoken = sorted(heard.spoken.items())
            standing = Waivers([entry for _, entries in spoken for entry in entries]).standing(now)
            state.update(repr((spoken, sorted(heard.unknown), standing)).encode("utf-8", "backslashreplace"))
        self._silent = not (said.vex or said.ignorefiles or said.ignore_unfixed or said.attested
                            or said.severities is not None)
        self.state = "" if self._silent else state.hexdigest()
        """Another where something else counts; empty where nothing is said."""
        self.unknown = heard.unknown
        """Images of which nobody could ask what is attested."""

    def names(self) -> set[str] | None:
        """The vulnerabilities that are spoken of; None: any."""
        if self._said.ignore_unfixed or self._said.severities is not None or self._signed or self._said.attested:
            return None
        return self._plain.names()

    def aside(self, image: str, purls: Collection[str], store: Kept, advisories: AdvisoryReader) -> Aside:
        """What does not count of an image's findings in the packages of these URLs. What a signer said of an image that
        could not be asked for stays said.
        """
        if self._silent or not purls or (catalog := store.catalog(image)) is None:
            return {}
        matched: list[Finding] = []
        for package, component in components(catalog):
            if package.purl in purls:  # with its places, which rules may name
                matched += judge(msgspec.structs.replace(component, package=package), advisories).findings
        ignored, _ = set_aside(matched, catalog, self._now, waivers=self._waivers(image),
                               ignore_unfixed=self._said.ignore_unfixed, severities=self._said.severities)
        before = store.aside([image]).get(image, {}) if image in self._heard.unknown else {}
        known = {(finding.purl, finding.cve) for finding in matched}
        kept = {key: word for key, word in before.items()
                if key in known and word.status in STATUSES and word.by != statements.OWN_WORD}
        return kept | {(entry.finding.purl, entry.finding.cve): Word(
            status=entry.status, reason=entry.reason, by=entry.by, source=entry.source, until=entry.until)
            for entry in ignored}

    def scan(self, catalog: Catalog, advisories: AdvisoryReader, started: datetime, finished: datetime,
             oldest: timedelta) -> ScanReport:
        """What `vulns.report.scan` says of an image that is kept. Raises as that does."""
        return scan(catalog, advisories, started, finished=finished, max_age=oldest,
                    waivers=self._waivers(catalog.digest), ignore_unfixed=self._said.ignore_unfixed,
                    severities=self._said.severities)

    def _waivers(self, image: str) -> Waivers:
        attested, signed = self._heard.spoken.get(image, ()), self._signed.get(image, ())
        return Waivers([*self._spoken, *attested, *signed], self._rules) if attested or signed else self._plain

    def _documents(self) -> Iterator[Path]:
        for path in self._said.vex:
            try:
                inside = sorted(entry for entry in path.iterdir() if entry.suffix == ".json" and entry.is_file()
                                ) if path.is_dir() else [path]
            except OSError as error:
                self.unread.append(f"{path}: {error.strerror}")
                continue
            if len(inside) > _MOST:
                self.unread.append(f"{path}: {len(inside)} documents, of which {_MOST} are read")
            yield from inside[:_MOST]

    def _read(self, path: Path, *, rules: bool = False) -> bytes:
        """What stands for its content; of what is signed, that is what was heard."""
        try:
            if rules:
                (read,) = statements.read_rules([path])
                Waivers((), [read])  # its patterns may be none
                self._rules.append(read)
                return repr(read).encode()
            signed = statements.read_signed(path, self._terms, self._now)
            spoken = statements.read_file(path, "", None, self._now)[0] if signed is None else []
        except (CustodyError, OSError) as error:
            self.unread.append(error.message if isinstance(error, CustodyError) else f"{path}: {error.strerror}")
            return str(path).encode()
        if signed is not None:
            for subject in signed.subjects if signed.spoken else ():
                self._signed.setdefault(subject, []).extend(signed.spoken)
            self.unread += [f"{use.source}: {use.reason}" for use in signed.refused]
            if not (signed.spoken or signed.refused):
                self.unread.append(f"{path}: it is signed, and no VEX document")
            return str(path).encode()
        self._spoken += spoken
        return repr(spoken).encode("utf-8", "backslashreplace")


NOTHING = Words(Said(), datetime.min.replace(tzinfo=UTC))
"""Everything counts."""
