"""Keeps what is wrong with every kept image up to date: what advisories say anew is asked of the names that they name.

Each step may be broken off and done again: what was written is compared, so that no change is told twice or lost.

    1.  components that came are judged, and nothing is told of them yet
    2.  images that came: a finding appears with them that the image before under the same name had not, one that only
        that one had disappears (cause: package)
    3.  names whose advisories changed: their components are judged again (cause: advisory)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from custody.ports.advisories import AdvisoryChanges, AdvisoryReader
from custody.ports.findings import Cause, Change, Event, Findings, KeptFinding
from custody.ports.inventory import Component, InventoryStore, Numbered
from custody.vulns.judgement import Remembering, judge

_AT_ONCE = 1000
_NAMED = 100


class Advisories(AdvisoryReader, AdvisoryChanges, Protocol):
    """Those that may have changed."""


class Kept(InventoryStore, Findings, Protocol):
    """The inventory with its findings."""


class Refreshed(msgspec.Struct, kw_only=True):
    """What one run did."""

    images: int = 0
    """New ones."""
    judged: int = 0
    """Components, new or again."""
    whole: bool = False
    """Whether all were judged, since nobody knew what changed."""
    appeared: int = 0
    changed: int = 0
    disappeared: int = 0


def refresh(store: Kept, advisories: Advisories, now: datetime,
            progress: Callable[[int], None] | None = None) -> Refreshed:
    """Judge what is new and what changed. Raises StorageError."""
    changes = advisories.changes(store.cursor("advisories"))
    reader = Remembering(advisories)
    first, unjudged = not store.cursor("image"), not store.cursor("component")
    done = Refreshed(whole=not changes.complete)
    _judge_new(store, reader, done, progress)
    _tell_new(store, now, done, silent=first)
    if changes.complete:
        touched = _touched(store, changes.names)
    elif unjudged:
        touched = iter(())  # all of them were new just now
    else:
        touched = _all(store)
    for batch in _batches(touched):
        _judge_again(store, reader, batch, now, done)
        if progress:
            progress(len(batch))
    store.replace({}, (), {"advisories": changes.cursor, "image": store.cursor("image") or "0"})
    return done


def _judge_new(store: Kept, reader: AdvisoryReader, done: Refreshed, progress: Callable[[int], None] | None) -> None:
    """1."""
    last = int(store.cursor("component") or 0)
    while batch := store.after(last, _AT_ONCE):
        last = batch[-1].number
        store.replace({number: _judged(component, reader) for number, component in batch}, (),
                      {"component": str(last)})
        done.judged += len(batch)
        if progress:
            progress(len(batch))


def _tell_new(store: Kept, now: datetime, done: Refreshed, *, silent: bool) -> None:
    """2. Nothing is told of those that were there before anybody watched."""
    last = int(store.cursor("image") or 0)
    while images := store.images(last, _AT_ONCE):
        for number, digest in images:
            last = number
            events = () if silent else _came(store, digest, now)
            done.images += 1
            _count(done, events)
            if events:
                store.replace({}, events, {"image": str(last)})
        store.replace({}, (), {"image": str(last)})


def _came(store: Kept, digest: str, now: datetime) -> Sequence[Event]:
    """What an image changed that came, where it took another's place."""
    own = _purls(store, digest)
    former: dict[tuple[str, str], KeptFinding] = {}
    for name in [row.where for row in store.seen([digest]).get(digest, ()) if row.kind == "name"]:
        before = next((holder for holder in store.holders("name", name) if holder != digest), None)
        if before is not None:
            former |= _purls(store, before)
    vulnerable = {(purl.partition("@")[0], finding.vulnerability) for (purl, _), finding in former.items()}
    remaining = {(purl.partition("@")[0], finding.vulnerability) for (purl, _), finding in own.items()}
    return [*(_event("appeared", "package", now, purl, finding, (digest,)) for (purl, _), finding in own.items()
              if (purl.partition("@")[0], finding.vulnerability) not in vulnerable),
            *(_event("disappeared", "package", now, purl, finding, (digest,)) for (purl, _), finding in former.items()
              if (purl.partition("@")[0], finding.vulnerability) not in remaining)]


def _purls(store: Kept, digest: str) -> dict[tuple[str, str], KeptFinding]:
    """Findings of an image by package URL and vulnerability."""
    kept = store.findings(store.contents(digest))
    components = dict(store.components(kept))
    return {(components[number].package.purl, finding.vulnerability): finding
            for number, findings in kept.items() for finding in findings if number in components}


def _touched(store: Kept, names: Iterable[tuple[str, str]]) -> Iterator[Numbered]:
    seen: set[int] = set()
    for ecosystem, name in names:
        rows = store.advised(ecosystem, name) if ecosystem else store.components(store.having(name))
        for row in rows:
            if row.number not in seen:
                seen.add(row.number)
                yield row


def _all(store: Kept) -> Iterator[Numbered]:
    last = 0
    while batch := store.after(last, _AT_ONCE):
        last = batch[-1].number
        yield from batch


def _batches(rows: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    batch: list[Numbered] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _judge_again(store: Kept, reader: AdvisoryReader, batch: Sequence[Numbered], now: datetime,
                 done: Refreshed) -> None:
    """3."""
    kept = store.findings([number for number, _ in batch])
    different: dict[int, Sequence[KeptFinding]] = {}
    pending: list[tuple[int, str, Change, KeptFinding, KeptFinding | None]] = []
    for number, component in batch:
        before = {finding.vulnerability: finding for finding in kept.get(number, ())}
        findings = _judged(component, reader)
        after = {finding.vulnerability: finding for finding in findings}
        done.judged += 1
        if after == before:
            continue
        different[number] = findings
        purl = component.package.purl
        pending += [(number, purl, "appeared", finding, None) for name, finding in after.items() if name not in before]
        pending += [(number, purl, "changed", finding, before[name]) for name, finding in after.items()
                    if name in before and finding != before[name]]
        pending += [(number, purl, "disappeared", finding, None) for name, finding in before.items()
                    if name not in after]
    if not different:
        return
    images: dict[int, set[str]] = defaultdict(set)
    for place in store.places(list(different)):
        images[place.component].add(place.image)
    events = [_event(change, "advisory", now, purl, finding, images[number], former)
              for number, purl, change, finding, former in pending]
    _count(done, events)
    store.replace(different, events, {})


def _event(change: Change, cause: Cause, now: datetime, purl: str, finding: KeptFinding, images: Collection[str],
           before: KeptFinding | None = None) -> Event:
    return Event(change=change, cause=cause, at=now, purl=purl, finding=finding, before=before,
                 images=tuple(sorted(images)[:_NAMED]), affected=len(images))


def _count(done: Refreshed, events: Iterable[Event]) -> None:
    for event in events:
        setattr(done, event.change, getattr(done, event.change) + 1)


def _judged(component: Component, reader: AdvisoryReader) -> list[KeptFinding]:
    judgement = judge(component, reader)
    kept = {finding.cve: KeptFinding(
        vulnerability=finding.cve, record=finding.id, severity=finding.severity, matched=finding.matched,
        fixed=finding.fixed, exploited=finding.exploited is not None) for finding in judgement.findings}
    for unsure in judgement.undecided:
        kept.setdefault(unsure.id, KeptFinding(vulnerability=unsure.id, record=unsure.id, severity="unknown",
                                               matched=unsure.reason, decided=False))
    return [kept[name] for name in sorted(kept)]

