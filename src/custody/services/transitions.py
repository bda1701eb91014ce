"""What changed between two judgements, and the events that tell of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from custody.ports.findings import Aside, Cause, Change, Event, KeptFinding, Word

_NAMED = 100


def differences(before: Sequence[KeptFinding],
                 after: Sequence[KeptFinding]) -> Iterator[tuple[Change, KeptFinding, KeptFinding | None]]:
    old, new = ({finding.vulnerability: finding for finding in findings} for findings in (before, after))
    yield from (("appeared", finding, None) for name, finding in new.items() if name not in old)
    yield from (("changed", finding, old[name]) for name, finding in new.items()
                if name in old and finding != old[name])
    yield from (("disappeared", finding, None) for name, finding in old.items() if name not in new)


class ByPackage:
    """Findings by package, whatever its version, and vulnerability."""

    def __init__(self, findings: Iterable[tuple[str, KeptFinding]]) -> None:
        self.by_name: dict[tuple[str, str], tuple[str, KeptFinding]] = {}
        for purl, finding in findings:
            self.by_name.setdefault((purl.partition("@")[0], finding.vulnerability), (purl, finding))


def counting(findings: Iterable[tuple[str, KeptFinding]], aside: Aside) -> Iterator[tuple[str, KeptFinding]]:
    return ((purl, finding) for purl, finding in findings if (purl, finding.vulnerability) not in aside)


def events_of(change: Change, cause: Cause, now: datetime, purl: str, finding: KeptFinding,
              former: KeptFinding | None, images: Collection[str], before: Mapping[str, Aside],
              after: Mapping[str, Aside]) -> Iterator[Event]:
    """What a change of a component's finding is to images: for one in which it did not count and does now it appears,
    for one in which it ceases to it disappears.
    """
    key = purl, finding.vulnerability
    groups: dict[tuple[Change, Word | None], set[str]] = defaultdict(set)
    for image in images:
        counted = change != "appeared" and key not in before.get(image, {})
        word = after.get(image, {}).get(key)
        counts = change != "disappeared" and word is None
        if counted and counts:
            groups["changed", None].add(image)
        elif counts:
            groups["appeared", None].add(image)
        elif counted:
            groups["disappeared", word].add(image)
    for (told, word), some in groups.items():
        yield event_of(told, cause, now, purl, finding, some, former if told == "changed" else None, word)


def event_of(change: Change, cause: Cause, now: datetime, purl: str, finding: KeptFinding, images: Collection[str],
             before: KeptFinding | None = None, word: Word | None = None) -> Event:
    """With a word, that is the cause."""
    return Event(change=change, cause=cause if word is None else word.cause, word=word, at=now, purl=purl,
                 finding=finding, before=before, images=tuple(sorted(images)[:_NAMED]),
                 affected=len(images))
