"""What was said that findings do not count: VEX statements and rules of ignore files, and which of them were used.

1. Of the statements on a vulnerability, those count whose product is what was scanned (`product`).
2. Of those, the newest wins; of two of one time, the later one in the order in which they were given.
3. `not_affected` and `fixed` set a finding aside, `not_affected` only with a justification or an impact statement;
   `affected` and `under_investigation` do not, so that a newer one takes an older `not_affected` back.
4. A rule of an ignore file sets aside what it holds of, until it expires.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from custody.errors import CustodyError
from custody.formats.bom import Catalog
from custody.formats.ignorefile import Rule
from custody.formats.osv import cve_of
from custody.formats.vex.statement import Document, Product, Statement
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.vulns.findings import Finding
from custody.vulns.vex.product import Subject, package_key, packages_of
from custody.vulns.vex.rules import Asking

State = Literal["used", "unused", "outdated", "expired", "refused"]
_SKEW = timedelta(minutes=5)
_NO_REASON = "no reason is given"


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """A VEX document, and whose word it is."""

    document: Document
    source: str
    """The file, or the attestation."""
    by: str
    """The signer as a verifier knows it, or that it is the word of who runs the scan."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """An ignore file."""

    rules: tuple[Rule, ...]
    source: str


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one statement or rule."""

    state: State
    source: str
    place: str
    id: str
    """The vulnerability; what a rule without one asks for."""
    products: tuple[str, ...] = ()
    status: str = ""
    by: str = ""
    until: str = ""
    """When it stops counting, RFC 3339; empty: never."""
    reason: str = ""
    """Why findings do not count; of what was not used, why not."""
    findings: int = 0


class Waived(msgspec.Struct, frozen=True, kw_only=True):
    """Why one finding does not count."""

    status: str
    reason: str
    by: str
    source: str
    until: str


class _Statement:
    def __init__(self, statement: Statement, spoken: Spoken, order: int) -> None:
        self.statement, self.spoken = statement, spoken
        self.time = parse_rfc3339(statement.time) if statement.time else None
        self.order = order
        self.state: State = "unused"
        self.reason = "no finding is of this vulnerability"
        self.findings = 0

    @property
    def names(self) -> set[str]:
        """An alias that is another CVE is another vulnerability, whatever the document says."""
        statement = self.statement
        cve = cve_of(statement.vulnerability)
        return {statement.vulnerability, *(alias for alias in statement.aliases
                                           if cve is None or cve_of(alias) in (None, cve))}

    def refused(self, now: datetime) -> str:
        """Why it cannot count, whatever it is about; empty where it can."""
        statement = self.statement
        if statement.unread:
            return f"not read: {statement.unread}"
        if not statement.products:
            return "it names no product"
        if self.time is not None and self.time > now + _SKEW:
            return f"its time is in the future: {statement.time}"
        if statement.status == "not_affected" and not (statement.justification or statement.impact):
            return "not_affected without a justification or an impact statement"
        return ""


class _Rule:
    def __init__(self, asking: Asking, source: str) -> None:
        self.asking, self.rule, self.source = asking, asking.rule, source
        self.findings = 0


class Waivers:
    """All that was said. `refused` are documents that do not count at all, to be listed beside the rest."""

    def __init__(self, spoken: Iterable[Spoken] = (), rules: Iterable[Rules] = (), refused: Sequence[Use] = ()) -> None:
        """Raises MalformedError for rules with patterns that are none."""
        statements = [(entry, statement) for entry in spoken for statement in entry.document.statements]
        self._statements = [_Statement(statement, entry, order) for order, (entry, statement) in enumerate(statements)]
        self._rules = [_Rule(Asking(rule, entry.source), entry.source) for entry in rules for rule in entry.rules]
        self._refused = tuple(refused)
        self._by_name: dict[tuple[str, tuple[str, str] | None], dict[int, list[Product]]] = {}
        """By vulnerability and package: the statements, by their order, with those of their products that may be it. A
        document may have a statement for each package, and a statement a product for each."""
        for statement in self._statements:
            names = statement.names
            for product in statement.statement.products:
                for key in packages_of(product):
                    for name in names:
                        self._by_name.setdefault((name, key), {}).setdefault(statement.order, []).append(product)

    def names(self) -> set[str] | None:
        """The vulnerabilities that are spoken of; None: any."""
        if not all(rule.rule.id for rule in self._rules):
            return None
        return {name for statement in self._statements for name in statement.names} | {
            rule.rule.id for rule in self._rules}

    def standing(self, now: datetime) -> tuple[bool, ...]:
        """Which of the statements and rules can count now: it changes with the time alone."""
        return (*(not statement.refused(now) for statement in self._statements),
                *(_counts(rule.rule, now) for rule in self._rules))

    def judge(self, findings: Sequence[Finding], catalog: Catalog, now: datetime
              ) -> tuple[dict[int, Waived], tuple[Use, ...]]:
        """Why findings do not count, by their place in the list; and what became of each statement and rule."""
        if not self._statements and not self._rules:
            return {}, self._refused
        subject = Subject(catalog)
        packages = {package.purl: package for package in catalog.packages}
        called = {name for finding in findings for name in (finding.cve, finding.id, *finding.aliases)}
        waived: dict[int, Waived] = {}
        counting = {statement.order for statement in self._statements if not statement.refused(now)}
        for place, finding in enumerate(findings):
            if (word := self._stated(finding, subject, counting, now)) is not None:
                waived[place] = word
                continue
            for rule in self._rules:
                if _counts(rule.rule, now) and rule.asking.holds(finding, packages.get(finding.purl)):
                    rule.findings += 1
                    waived[place] = Waived(
                        status="ignored", reason=rule.rule.reason or _NO_REASON, source=rule.source,
                        by=rule.rule.by or "the user", until=_written(rule.rule.until))
                    break
        return waived, (*self._refused, *(_use_of(statement, called, now) for statement in self._statements),
                        *(_use(rule, now) for rule in self._rules))

    def _stated(self, finding: Finding, subject: Subject, counting: set[int], now: datetime) -> Waived | None:
        spoken: dict[int, _Statement] = {}
        for name in dict.fromkeys((finding.cve, finding.id, *finding.aliases)):
            for key in (None, package_key(finding.purl)):
                for order, products in self._by_name.get((name, key), {}).items():
                    if order in counting and order not in spoken and any(
                            subject.applies(product, finding.purl) for product in products):
                        spoken[order] = self._statements[order]
        if not spoken:
            return None
        newest = max(spoken.values(), key=lambda entry: (entry.time is not None, entry.time or now, entry.order))
        for statement in spoken.values():
            if statement is newest:
                statement.state, statement.findings = "used", statement.findings + 1
                statement.reason = _why(statement.statement)
            elif statement.state != "used":
                statement.state, statement.reason = "outdated", f"a newer one says {newest.statement.status}"
        said = newest.statement
        if said.status not in ("not_affected", "fixed"):
            return None
        return Waived(status=said.status, reason=_why(said), by=newest.spoken.by, until="",
                      source=f"{newest.spoken.source}: {said.place}")


def _counts(rule: Rule, now: datetime) -> bool:
    return not rule.unread and (rule.until is None or now < rule.until)


def _why(statement: Statement) -> str:
    words = [text for text in (statement.justification, statement.impact or statement.action) if text]
    return ": ".join(words)[:500] or f"stated as {statement.status}"


def _use_of(entry: _Statement, called: set[str], now: datetime) -> Use:
    said = entry.statement
    if entry.state == "unused" and (reason := entry.refused(now)):
        entry.state, entry.reason = "refused", reason
    elif entry.state == "unused" and not called.isdisjoint(entry.names):
        entry.reason = "no product of it is what was scanned"
    products = tuple(name for product in said.products for name in (*product.names[:1], *(
        part[0] for part in product.components if part)))
    return Use(state=entry.state, source=entry.spoken.source, place=said.place, id=said.vulnerability,
               status=said.status, by=entry.spoken.by, reason=entry.reason, findings=entry.findings,
               products=products[:20])


def _use(entry: _Rule, now: datetime) -> Use:
    rule = entry.rule
    state: State = "used" if entry.findings else "unused"
    reason = rule.reason or _NO_REASON if entry.findings else "no finding is what it asks for"
    if rule.unread:
        state, reason = "refused", rule.unread
    elif not _counts(rule, now):
        state, reason = "expired", f"it was to count until {_written(rule.until)}"
    asked = (*rule.purls, rule.name, *rule.paths, rule.kind, rule.language, rule.upstream, rule.fix_state)
    return Use(state=state, source=entry.source, place=rule.place, id=rule.id or next(filter(None, asked), ""),
               products=rule.purls[:20], status="ignored", by=rule.by or "the user", until=_written(rule.until),
               reason=reason, findings=entry.findings)


def _written(time: datetime | None) -> str:
    return format_rfc3339(time) if time else ""


def refusal(source: str, error: CustodyError | str, *, by: str = "") -> Use:
    """A document that does not count at all."""
    return Use(state="refused", source=source, place="", id="", by=by,
               reason=error if isinstance(error, str) else error.message)
