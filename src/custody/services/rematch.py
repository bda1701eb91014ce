"""Keeps what is wrong with every kept image up to date: what advisories say anew is asked of the names that they name.

Each step may be broken off and done again: what was written is compared, so that no change is told twice or lost. Of
several that do so at once, on one store, one writes at a time; the others see it, and begin again with what is left.

    1.  components that came are judged, and nothing is told of them yet
    2.  images that came: a finding appears with them that the image before under the same name had not, one that only
        that one had disappears (cause: package); an image that is read otherwise now is compared with what it was
        (cause: cataloger)
    3.  names whose advisories changed: their components are judged again (cause: advisory)
    4.  where custody itself was updated, all others too (cause: matching)
    5.  where something else is said of what counts, the images that it may speak of (cause: vex, policy)

A finding is told of for those images in which it counts, and when it begins or ceases to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, TypeVar

import msgspec

from custody import __version__
from custody.errors import ConflictError
from custody.ports.advisories import AdvisoryChanges, AdvisoryReader
from custody.ports.findings import Aside, Cause, Change, Event, KeptFinding, Word
from custody.ports.inventory import Component, Numbered
from custody.services.counting import NOTHING, Kept, Words
from custody.services.transitions import ByPackage, counting, differences, event_of, events_of
from custody.vulns.component import RULES
from custody.vulns.judgement import Remembering, judge

_AT_ONCE = 1000
_ATTEMPTS = 1000
_Row = TypeVar("_Row")
_MATCHING = f"{__version__} {RULES}"


class Advisories(AdvisoryReader, AdvisoryChanges, Protocol):
    """Those that may have changed."""


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
            progress: Callable[[int], None] | None = None, words: Words = NOTHING) -> Refreshed:
    """Judge what is new and what changed; `words` say what does not count. Raises StorageError; ConflictError where
    others were quicker again and again.
    """
    done = Refreshed()
    for _ in range(_ATTEMPTS):
        try:
            _Turn(store, advisories, now, done, progress, words).run()
        except _OvertakenError:
            continue
        return done
    raise ConflictError(f"matching: others judged in between, {_ATTEMPTS} times")


class _OvertakenError(Exception):
    """Another judged since this turn began."""


class _Turn:
    """All steps once, as long as nobody else writes."""

    def __init__(self, store: Kept, advisories: Advisories, now: datetime, done: Refreshed,
                 progress: Callable[[int], None] | None, words: Words) -> None:
        self._words = words
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
        said = self._words.state != store.cursor("words")
        self._judge_new()
        if first and said:  # before anybody watched
            self._count_again(silent=True)
        self._tell_new(came, silent=first)
        touched: set[int] = set()
        if changes.complete:
            self._judge_again(_touched(store, changes.names, touched), "advisory")
        elif not unjudged:  # else all of them were new just now
            self._judge_again(_all(store, touched), "advisory")
        if updated:
            self._judge_again((row for row in _all(store, set()) if row.number not in touched), "matching")
        if said and not first:
            self._count_again()
        self._write({}, (), {"advisories": changes.cursor, "image": store.cursor("image") or "0",
                             "matching": _MATCHING})

    def _write(self, findings: Mapping[int, Sequence[KeptFinding]], events: Sequence[Event],
               cursors: Mapping[str, str], told: Collection[str] = (),
               aside: Mapping[str, Aside] = MappingProxyType({})) -> None:
        if not self._store.replace(findings, events, cursors, turn=self._turn, told=told, aside=aside):
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
                events, aside = self._came(digest)
                if events or aside:
                    self._write({}, events, {"image": str(number)}, [digest], {digest: aside})
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
            changes = list(differences(kept.get(number, ()), findings))
            if changes:
                different[number] = findings
                pending += [(number, component.package.purl, *change) for change in changes]
        if not different:
            return
        images: dict[int, set[str]] = defaultdict(set)
        for place in self._store.places(list(different)):
            images[place.component].add(place.image)
        before = self._store.aside({image for holders in images.values() for image in holders})
        after = self._aside(images, {number: purl for number, purl, *_ in pending}, before)
        events = [event for number, purl, change, finding, former in pending for event in events_of(
            change, cause, self._now, purl, finding, former, images[number], before, after)]
        self._write(different, events, {}, aside={image: entries for image, entries in after.items()
                                                  if entries != before.get(image, {})})

    def _aside(self, images: Mapping[int, Collection[str]], purls: Mapping[int, str], before: Mapping[str, Aside]
               ) -> dict[str, Aside]:
        """What will not count of these images, where findings of these components are others now."""
        touched: dict[str, set[str]] = defaultdict(set)
        for number, purl in purls.items():
            for image in images[number]:
                touched[image].add(purl)
        return {image: {**{key: word for key, word in before.get(image, {}).items() if key[0] not in names},
                        **self._words.aside(image, names, self._store, self._reader)}
                for image, names in touched.items() if self._words.state or image in before}

    def _came(self, digest: str) -> tuple[Sequence[Event], Aside]:
        """What an image changed that came: against itself, as it was read before, else against each image whose name
        it took; and what does not count of it.
        """
        store, now = self._store, self._now
        findings = _findings(store, digest)
        aside = self._words.aside(digest, {purl for purl, _ in findings}, store, self._reader)
        silent = {(purl.partition("@")[0], vulnerability): word for (purl, vulnerability), word in aside.items()}
        own = ByPackage(counting(findings, aside)).by_name
        former = store.former(digest)
        cause: Cause = "package" if former is None else "cataloger"
        if former is not None:
            replaced = [ByPackage(former).by_name]
        else:
            taken = list(_replaced(store, digest))
            words = store.aside(taken)
            replaced = [ByPackage(counting(_findings(store, image), words.get(image, {}))).by_name for image in taken]
        appeared = [row for name, row in own.items() if not replaced or any(name not in before for before in replaced)]
        disappeared = {name: row for before in replaced for name, row in before.items() if name not in own}
        return [*(event_of("appeared", cause, now, purl, finding, (digest,)) for purl, finding in appeared),
                *(event_of("disappeared", cause, now, purl, finding, (digest,), word=silent.get(name))
                  for name, (purl, finding) in disappeared.items())], aside

    def _count_again(self, *, silent: bool = False) -> None:
        """5."""
        before = self._store.aside()
        for digests in _batches(sorted(self._spoken_of() | set(before))):
            changed: dict[tuple[Change, str, str, Word], tuple[KeptFinding, set[str]]] = {}
            aside: dict[str, Aside] = {}
            for digest in digests:
                findings = _findings(self._store, digest)
                old = before.get(digest, {})
                new = self._words.aside(digest, {purl for purl, _ in findings}, self._store, self._reader)
                aside[digest] = new
                for purl, finding in findings:
                    key = purl, finding.vulnerability
                    if (key in old) != (key in new):
                        change: Change = "appeared" if key in old else "disappeared"
                        changed.setdefault((change, *key, old.get(key) or new[key]), (finding, set()))[1].add(digest)
            events = [] if silent else [
                event_of(change, word.cause, self._now, purl, finding, images, word=word)
                for (change, purl, _, word), (finding, images) in changed.items()]
            self._write({}, events, {}, aside={digest: entries for digest, entries in aside.items()
                                               if entries != before.get(digest, {})})
        self._write({}, (), {"words": self._words.state})

    def _spoken_of(self) -> set[str]:
        """The images of which something may be said."""
        names = self._words.names() if self._words.state else set()
        if names is None:
            return {digest for _, digest in _images(self._store, 0)}
        for record in self._reader.speaking(sorted(names)):
            names |= {record.id, *record.aliases, *record.cves}
        components = {number for name in names for number in self._store.having(name)}
        return {place.image for place in self._store.places(components)}


def _images(store: Kept, last: int) -> Iterator[tuple[int, str]]:
    while images := store.images(last, _AT_ONCE):
        last = images[-1][0]
        yield from images


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


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    batch: list[_Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _judged(component: Component, reader: AdvisoryReader) -> list[KeptFinding]:
    judgement = judge(component, reader)
    kept = {finding.cve: KeptFinding(
        vulnerability=finding.cve, record=finding.id, severity=finding.severity, matched=finding.matched,
        fixed=finding.fixed, exploited=finding.exploited is not None) for finding in judgement.findings}
    for unsure in judgement.undecided:
        kept.setdefault(unsure.id, KeptFinding(vulnerability=unsure.id, record=unsure.id, severity="unknown",
                                               matched=unsure.reason, decided=False))
    return [kept[name] for name in sorted(kept)]
