"""Keeps what is wrong with every kept image up to date: what advisories say anew is asked of the names that they name.

Each step may be broken off and done again: what was written is compared, so that no change is told twice or lost. Of
several that do so at once, on one store, one writes at a time; the others see it, and begin again with what is left.

    1.  components that came are judged, and nothing is told of them yet
    2.  images that came: a finding appears with them that the image before under the same name had not, one that only
        that one had disappears (cause: package); an image that is read otherwise now is compared with what it was
        (cause: cataloger)
    3.  names whose advisories changed: their components are judged again (cause: advisory)
    4.  where custody itself was updated, all others too (cause: matching)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from custody import __version__
from custody.errors import ConflictError
from custody.ports.advisories import AdvisoryChanges, AdvisoryReader
from custody.ports.findings import Cause, Change, Event, Findings, KeptFinding
from custody.ports.inventory import Component, InventoryStore, Numbered
from custody.vulns.component import RULES
from custody.vulns.judgement import Remembering, judge

_AT_ONCE = 1000
_NAMED = 100
_ATTEMPTS = 1000
_MATCHING = f"{__version__} {RULES}"


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
    """Judge what is new and what changed. Raises StorageError; ConflictError where others were quicker again and again.
    """
    done = Refreshed()
    for _ in range(_ATTEMPTS):
        try:
            _Turn(store, advisories, now, done, progress).run()
        except _OvertakenError:
            continue
        return done
    raise ConflictError(f"matching: others judged in between, {_ATTEMPTS} times")


class _OvertakenError(Exception):
    """Another judged since this turn began."""


class _Turn:
    """All steps once, as long as nobody else writes."""

    def __init__(self, store: Kept, advisories: Advisories, now: datetime, done: Refreshed,
                 progress: Callable[[int], None] | None) -> None:
        self._turn = store.turn()
        self._store, self._advisories, self._reader = store, advisories, Remembering(advisories)
        self._now, self._done, self._progress = now, done, progress

    def run(self) -> None:
        store = self._store
        changes = self._advisories.changes(store.cursor("advisories"))
        first, unjudged = not store.cursor("image"), not store.cursor("component")
        updated = store.cursor("matching") not in ("", _MATCHING)
        self._done.whole = not changes.complete or updated
        came = list(_images(store, int(store.cursor("image") or 0)))  # those that come later wait until they are judged
        self._judge_new()
        self._tell_new(came, silent=first)
        touched: set[int] = set()
        if changes.complete:
            self._judge_again(_touched(store, changes.names, touched), "advisory")
        elif not unjudged:  # else all of them were new just now
            self._judge_again(_all(store, touched), "advisory")
        if updated:
            self._judge_again((row for row in _all(store, set()) if row.number not in touched), "matching")
        self._write({}, (), {"advisories": changes.cursor, "image": store.cursor("image") or "0",
                             "matching": _MATCHING})

    def _write(self, findings: Mapping[int, Sequence[KeptFinding]], events: Sequence[Event],
               cursors: Mapping[str, str], told: Collection[str] = ()) -> None:
        if not self._store.replace(findings, events, cursors, turn=self._turn, told=told):
            raise _OvertakenError
        self._turn += 1
        for event in events:
            setattr(self._done, event.change, getattr(self._done, event.change) + 1)

    def _advance(self, count: int) -> None:
        self._done.judged += count
        if self._progress:
            self._progress(count)

    def _judge_new(self) -> None:
        """1."""
        last = int(self._store.cursor("component") or 0)
        while batch := self._store.after(last, _AT_ONCE):
            last = batch[-1].number
            self._write({number: _judged(component, self._reader) for number, component in batch}, (),
                        {"component": str(last)})
            self._advance(len(batch))

    def _tell_new(self, came: Sequence[tuple[int, str]], *, silent: bool) -> None:
        """2. Nothing is told of those that were there before anybody watched."""
        for start in range(0, len(came), _AT_ONCE):
            batch = came[start:start + _AT_ONCE]
            for number, digest in [] if silent else batch:
                if events := _came(self._store, digest, self._now):
                    self._write({}, events, {"image": str(number)}, [digest])
            self._done.images += len(batch)
            self._write({}, (), {"image": str(batch[-1][0])}, [digest for _, digest in batch])

    def _judge_again(self, rows: Iterable[Numbered], cause: Cause) -> None:
        """3 and 4."""
        for batch in _batches(rows):
            self._judge_batch(batch, cause)
            self._advance(len(batch))

    def _judge_batch(self, batch: Sequence[Numbered], cause: Cause) -> None:
        kept = self._store.findings([number for number, _ in batch])
        different: dict[int, Sequence[KeptFinding]] = {}
        pending: list[tuple[int, str, Change, KeptFinding, KeptFinding | None]] = []
        for number, component in batch:
            findings = _judged(component, self._reader)
            changes = list(_differences(kept.get(number, ()), findings))
            if changes:
                different[number] = findings
                pending += [(number, component.package.purl, *change) for change in changes]
        if not different:
            return
        images: dict[int, set[str]] = defaultdict(set)
        for place in self._store.places(list(different)):
            images[place.component].add(place.image)
        self._write(different, [_event(change, cause, self._now, purl, finding, images[number], former)
                                for number, purl, change, finding, former in pending], {})


def _differences(before: Sequence[KeptFinding],
                 after: Sequence[KeptFinding]) -> Iterator[tuple[Change, KeptFinding, KeptFinding | None]]:
    old, new = ({finding.vulnerability: finding for finding in findings} for findings in (before, after))
    yield from (("appeared", finding, None) for name, finding in new.items() if name not in old)
    yield from (("changed", finding, old[name]) for name, finding in new.items()
                if name in old and finding != old[name])
    yield from (("disappeared", finding, None) for name, finding in old.items() if name not in new)


def _images(store: Kept, last: int) -> Iterator[tuple[int, str]]:
    while images := store.images(last, _AT_ONCE):
        last = images[-1][0]
        yield from images


class _Of:
    """Findings by package, whatever its version, and vulnerability."""

    def __init__(self, findings: Iterable[tuple[str, KeptFinding]]) -> None:
        self.by_name: dict[tuple[str, str], tuple[str, KeptFinding]] = {}
        for purl, finding in findings:
            self.by_name.setdefault((purl.partition("@")[0], finding.vulnerability), (purl, finding))


def _came(store: Kept, digest: str, now: datetime) -> Sequence[Event]:
    """What an image changed that came: against itself, as it was read before, else against each image whose name it
    took.
    """
    own = _Of(_findings(store, digest)).by_name
    former = store.former(digest)
    cause: Cause = "package" if former is None else "cataloger"
    replaced = ([_Of(former).by_name] if former is not None else
                [_Of(_findings(store, image)).by_name for image in _replaced(store, digest)])
    appeared = [row for name, row in own.items() if not replaced or any(name not in before for before in replaced)]
    disappeared = {name: row for before in replaced for name, row in before.items() if name not in own}
    return [*(_event("appeared", cause, now, purl, finding, (digest,)) for purl, finding in appeared),
            *(_event("disappeared", cause, now, purl, finding, (digest,)) for purl, finding in disappeared.values())]


def _replaced(store: Kept, digest: str) -> Iterator[str]:
    """The images that had its names when it came: of each name the one that was seen last before, though others may
    have come after.
    """
    names = {row.where: row.first for row in store.seen([digest]).get(digest, ()) if row.kind == "name"}
    told: set[str] = set()
    for name, came in names.items():
        holders = [image for image in store.holders("name", name) if image != digest]
        spans = {image: row for image, rows in store.seen(holders).items() for row in rows
                 if (row.kind, row.where) == ("name", name) and row.first < came}
        if spans:  # one that has the name again since was seen before too: when, nobody wrote down
            before = max(spans, key=lambda image: (spans[image].last < came, min(spans[image].last, came),
                                                   spans[image].first, image))
            if before not in told:
                told.add(before)
                yield before


def _findings(store: Kept, digest: str) -> list[tuple[str, KeptFinding]]:
    """Findings of an image with the package URLs of what has them."""
    kept = store.findings(store.contents(digest))
    components = dict(store.components(kept))
    return [(components[number].package.purl, finding) for number, findings in kept.items() for finding in findings
            if number in components]


def _touched(store: Kept, names: Iterable[tuple[str, str]], seen: set[int]) -> Iterator[Numbered]:
    """What advisories of these names speak of; their numbers are `seen` then."""
    for ecosystem, name in names:
        rows = store.advised(ecosystem, name) if ecosystem else store.components(store.having(name))
        for row in rows:
            if row.number not in seen:
                seen.add(row.number)
                yield row


def _all(store: Kept, seen: set[int]) -> Iterator[Numbered]:
    last = 0
    while batch := store.after(last, _AT_ONCE):
        last = batch[-1].number
        seen.update(row.number for row in batch)
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


def _event(change: Change, cause: Cause, now: datetime, purl: str, finding: KeptFinding, images: Collection[str],
           before: KeptFinding | None = None) -> Event:
    return Event(change=change, cause=cause, at=now, purl=purl, finding=finding, before=before,
                 images=tuple(sorted(images)[:_NAMED]), affected=len(images))


def _judged(component: Component, reader: AdvisoryReader) -> list[KeptFinding]:
    judgement = judge(component, reader)
    kept = {finding.cve: KeptFinding(
        vulnerability=finding.cve, record=finding.id, severity=finding.severity, matched=finding.matched,
        fixed=finding.fixed, exploited=finding.exploited is not None) for finding in judgement.findings}
    for unsure in judgement.undecided:
        kept.setdefault(unsure.id, KeptFinding(vulnerability=unsure.id, record=unsure.id, severity="unknown",
                                               matched=unsure.reason, decided=False))
    return [kept[name] for name in sorted(kept)]

