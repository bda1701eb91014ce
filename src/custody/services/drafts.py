"""Drafts of what a law asks for when a vulnerability is exploited, from what the inventory and the advisories know.

    cra  Regulation (EU) 2024/2847 (Cyber Resilience Act), Article 14(2): early warning, notification, final report
    vdr  FedRAMP Vulnerability Detection and Response, VER-RPT-VDT: what a report says of each vulnerability

A draft says nothing that nobody knows: such a field has no value, and is listed as one to be filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from custody.errors import MissingEvidenceError, UsageError
from custody.formats.intoto import Statement, Subject
from custody.formats.kev import Exploited
from custody.formats.osv import Advisory
from custody.kit.clock import format_rfc3339
from custody.kit.visible import visible
from custody.ports.advisories import AdvisoryReader
from custody.ports.findings import Findings
from custody.services.affected import Affected, Answer
from custody.vulns.severity import rate

PREDICATE_TYPES = {"cra": "https://custody.internal/draft/cra-article-14/v1",
                   "vdr": "https://custody.internal/draft/fedramp-vdr/v1"}
_AT_ONCE = 1000
_EARLY, _NOTIFIED, _FINAL = timedelta(hours=24), timedelta(hours=72), timedelta(days=14)
_RULES = {"cra": "Regulation (EU) 2024/2847, Article 14(2)", "vdr": "FedRAMP VER-RPT-VDT"}


class Field(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: Any = None
    """Text, a number, a truth, or a list of texts; None where it must be filled in."""
    source: str = ""
    """Who says so."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    rule: str
    due: str = ""
    """RFC 3339; empty where nothing is due, or it is not known when."""
    fields: tuple[Field, ...]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    rule: str
    vulnerability: str
    drafted: str
    images: tuple[str, ...]
    """Digests of those that are affected."""
    sections: tuple[Section, ...]

    def to_json(self) -> dict[str, Any]:
        return {**msgspec.to_builtins(self), "toBeFilledIn": [
            f"{section.title}: {field.name}" for section in self.sections for field in section.fields
            if field.value is None]}

    def to_markdown(self) -> str:
        lines = [f"# Draft: {_text(self.vulnerability)}", "",
                 f"For {_text(self.rule)}. Drafted at {self.drafted} by custody; nobody has checked it yet.", ""]
        for section in self.sections:
            due = f", due {section.due}" if section.due else ""
            lines += [f"## {section.title} ({section.rule}{due})", "", "| | | source |", "|---|---|---|"]
            lines += [f"| {_text(field.name)} | {_cell(field.value)} | {_text(field.source)} |"
                      for field in section.fields]
            lines.append("")
        return "\n".join(lines)

    def statement(self) -> Statement:
        """About the affected images. Raises MissingEvidenceError where there are none."""
        if not self.images:
            raise MissingEvidenceError("no image is affected: there is nothing that a statement could be about")
        return Statement(tuple(Subject({"sha256": digest.removeprefix("sha256:")}, "", {}) for digest in self.images),
                         PREDICATE_TYPES[self.kind], self.to_json())


class _Facts:
    """What is known of one vulnerability."""

    def __init__(self, answer: Answer, records: Sequence[Advisory], exploited: Exploited | None,
                 seen: datetime | None, noticed: datetime | None) -> None:
        self.answer, self.records, self.exploited = answer, records, exploited
        self.seen, self.noticed = seen, noticed
        self.names = sorted({name for record in records for name in (record.id, *record.aliases)})

    @property
    def severity(self) -> Field:
        rated = [(rate(record), record.id) for record in self.records]
        worst = max(rated, key=lambda row: row[0].severity, default=None)
        if worst is None or str(worst[0].severity) == "unknown":
            return Field(name="severity")
        vector = f" ({worst[0].vector})" if worst[0].vector else ""
        return Field(name="severity", value=f"{worst[0].severity}{vector}", source=worst[1])

    @property
    def description(self) -> Field:
        record = next((record for record in self.records if record.summary), None)
        return Field(name="description of the vulnerability", value=record.summary if record else None,
                     source=record.id if record else "")

    @property
    def exploitation(self) -> Field:
        if self.exploited is None:
            return Field(name="active exploitation")
        more = ", by ransomware" if self.exploited.ransomware else ""
        return Field(name="active exploitation", value=f"known since {self.exploited.added}{more}",
                     source="CISA KEV catalogue")

    @property
    def corrected(self) -> Field:
        versions = sorted({f"{row.package}: {', '.join(row.fixed)}" for row in self.answer.affected if row.fixed})
        return Field(name="versions in which it is fixed", value=versions or None,
                     source=", ".join(self.answer.advisories) if versions else "")

    @property
    def unfixed(self) -> list[str]:
        return sorted({f"{row.package} {row.version}" for row in self.answer.affected if not row.fixed})

    def products(self) -> Field:
        where = self.answer.where
        return _listed("images that have it", (
            f"{(where[image].names or ('without a name',))[0]}@{image}: {', '.join(sorted(packages))}"
            for image, packages in _packages(self.answer.affected).items()))

    def undecided(self) -> Field:
        return _listed("images of which it cannot be decided", (
            f"{image}: {', '.join(sorted(packages))}" for image, packages in _packages(self.answer.undecided).items()))

    def running(self) -> Field:
        return _listed("pods that run them", {
            pod for row in self.answer.affected for pod in self.answer.where[row.image].pods})


def draft(kind: str, answer: Answer, advisories: AdvisoryReader, store: Findings, now: datetime, *,
          aware: datetime | None = None, corrected: datetime | None = None) -> Draft:
    """`aware` is when the manufacturer or provider became aware, `corrected` when a corrective measure was available:
    both begin times that the law counts, and are nobody's to guess. Raises UsageError where the question is about no
    vulnerability.
    """
    if not answer.advisories:
        raise UsageError(f"--report: is about a vulnerability, and {answer.question!r} is none",
                         hint="custody affected CVE-… --report cra")
    records = advisories.named(answer.advisories)
    names = {name for record in records for name in (record.id, *record.aliases, *record.cves)}
    entry = next(iter(advisories.exploited(sorted(cve for record in records for cve in record.cves)).values()), None)
    facts = _Facts(answer, records, entry, *_events(store, names))
    return Draft(kind=kind, rule=_RULES[kind], vulnerability=answer.question, drafted=format_rfc3339(now),
                 images=tuple(sorted({row.image for row in answer.affected})),
                 sections=_SECTIONS[kind](facts, aware, corrected))


def _cra(facts: _Facts, aware: datetime | None, corrected: datetime | None) -> tuple[Section, ...]:
    names = Field(name="vulnerability", value=facts.names, source=", ".join(facts.answer.advisories))
    awareness = Field(name="when the manufacturer became aware", value=_time(aware),
                      source="--aware" if aware else "")
    return (
        Section(title="Early warning", rule="Article 14(2)(a)", due=_time(aware, _EARLY) or "", fields=(
            names, awareness, facts.exploitation, Field(name="product with digital elements"),
            Field(name="Member States in which it was made available"))),
        Section(title="Notification", rule="Article 14(2)(b)", due=_time(aware, _NOTIFIED) or "", fields=(
            names, facts.products(), facts.undecided(), facts.running(), facts.description,
            Field(name="general nature of the exploit"), facts.corrected,
            Field(name="without a fixed version", value=facts.unfixed, source="advisories"),
            Field(name="corrective or mitigating measures taken"),
            Field(name="measures that users can take"), Field(name="how sensitive this information is"))),
        Section(title="Final report", rule="Article 14(2)(c)", due=_time(corrected, _FINAL) or "", fields=(
            facts.description, facts.severity, Field(name="impact"),
            Field(name="malicious actor that has exploited or is exploiting it"), facts.corrected,
            Field(name="when a corrective or mitigating measure was available", value=_time(corrected),
                  source="--corrected" if corrected else ""),
            Field(name="details of the security update or other corrective measures"))),
        Section(title="What custody saw", rule="facts", fields=_seen(facts)))


def _vdr(facts: _Facts, aware: datetime | None, _corrected: datetime | None) -> tuple[Section, ...]:
    detected = aware or facts.seen
    return (
        Section(title="Vulnerability", rule="VER-RPT-VDT", fields=(
            Field(name="provider's tracking identifier"),
            Field(name="time of detection", value=_time(detected),
                  source="--aware" if aware else "custody watch" if detected else ""),
            Field(name="source of detection", value="scan of kept images against advisories", source="custody"),
            Field(name="time of completed evaluation"), Field(name="internet-reachable"),
            Field(name="likely exploitable"), facts.exploitation,
            Field(name="potential agency impact, then and now (N1 to N5)"),
            Field(name="completed reductions of that impact, with times"),
            Field(name="next reduction: estimated time and target"), Field(name="overdue, or likely to be"),
            Field(name="final disposition"))),
        Section(title="Supplementary information", rule="VER-RPT-VDT", fields=(
            Field(name="names", value=facts.names, source=", ".join(facts.answer.advisories)), facts.description,
            facts.severity, facts.products(), facts.undecided(), facts.running(), facts.corrected,
            Field(name="without a fixed version", value=facts.unfixed, source="advisories"),
            Field(name="CISA's due date", value=facts.exploited.due if facts.exploited else None,
                  source="CISA KEV catalogue" if facts.exploited else ""))),
        Section(title="What custody saw", rule="facts", fields=_seen(facts)))


_SECTIONS: Mapping[str, Callable[[_Facts, datetime | None, datetime | None], tuple[Section, ...]]] = {
    "cra": _cra, "vdr": _vdr}


def _seen(facts: _Facts) -> tuple[Field, ...]:
    answer = facts.answer
    return (Field(name="first told of in an image", value=_time(facts.seen),
                  source="custody watch" if facts.seen else ""),
            Field(name="first told of as exploited", value=_time(facts.noticed),
                  source="custody watch" if facts.noticed else ""),
            Field(name="images that were asked", value=answer.images, source="custody"),
            Field(name="the newest of them was kept at", value=answer.newest or None, source="custody"))


def _events(store: Findings, names: set[str]) -> tuple[datetime | None, datetime | None]:
    """When it first appeared in an image, and when it was first told of as exploited, of the events that are kept."""
    appeared: datetime | None = None
    noticed: datetime | None = None
    last = 0
    while events := store.events(last, _AT_ONCE):
        last = events[-1].number
        for _, event in events:
            if event.change == "disappeared" or event.finding.vulnerability not in names or not event.finding.decided:
                continue
            appeared = appeared or (event.at if event.change == "appeared" else None)
            noticed = noticed or (event.at if event.finding.exploited else None)
    return appeared, noticed


def _packages(rows: Iterable[Affected]) -> dict[str, set[str]]:
    by_image: dict[str, set[str]] = {}
    for row in rows:
        by_image.setdefault(row.image, set()).add(f"{row.package} {row.version}")
    return by_image


def _listed(name: str, values: Iterable[str]) -> Field:
    """None of them is an answer too."""
    return Field(name=name, value=sorted(values), source="custody's inventory")


def _time(moment: datetime | None, after: timedelta = timedelta()) -> str | None:
    return format_rfc3339(moment + after) if moment is not None else None


def _cell(value: Any) -> str:
    if value is None:
        return "**to be filled in**"
    if isinstance(value, list):
        return "<br>".join(map(_text, value)) or "none"
    return _text(str(value))


def _text(text: str) -> str:
    """What others wrote, as nothing but text: no link, no HTML, no cell of its own."""
    return "".join(f"&#{ord(sign)};" if sign in "\\`*_[]<>|#!&~$" else sign for sign in visible(text))
