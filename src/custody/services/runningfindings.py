"""What is wrong with the images that run, as the inventory has it now: and what of it appeared since they were let in.

VEX and ignore files count as they did when findings were judged last (`custody watch`). An image whose contents are not
kept is not judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from custody.ports.findings import Findings
from custody.ports.inventory import InventoryStore

_AT_ONCE = 1000
_SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")


class Store(InventoryStore, Findings, Protocol):
    """The inventory with its findings."""


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """Of one image."""

    digest: str
    kept: bool
    """Whether its contents are: else nobody can say anything."""
    severities: dict[str, int] = {}
    left_out: int = 0
    """By VEX or an ignore file."""
    since: tuple[str, ...] = ()
    """Vulnerabilities that appeared after it was let in, the worst first."""
    exploited: tuple[str, ...] = ()
    """Those that are known to be exploited."""


def running_findings(digests: Sequence[str], store: Store) -> list[Wrong]:
    """In the order of the digests; of an index, its images' together. Raises StorageError."""
    holders = {digest: [digest, *store.holders("index", digest)] for digest in digests}
    everyone = {image for images in holders.values() for image in images}
    kept = store.kept(everyone)
    admitted = {digest: min((row.first for row in rows if row.kind == "admission"), default=None)
                for digest, rows in store.seen(everyone).items()}
    appeared: dict[str, dict[str, object]] = {}
    last = 0
    while events := store.events(last, _AT_ONCE):
        last = events[-1].number
        for _, event in events:
            if event.change == "appeared" and event.cause in ("advisory", "matching", "cataloger"):
                for image in event.images:
                    since = admitted.get(image)
                    if since is not None and event.at > since:
                        appeared.setdefault(image, {})[event.finding.vulnerability] = event.at
    aside = store.aside(everyone)
    return [_wrong(digest, [image for image in holders[digest] if image in kept], store, aside, appeared)
            for digest in digests]


def _wrong(digest: str, images: Sequence[str], store: Store, aside: Mapping[str, Mapping[tuple[str, str], object]],
           appeared: Mapping[str, Mapping[str, object]]) -> Wrong:
    if not images:
        return Wrong(digest=digest, kept=False)
    severities: Counter[str] = Counter()
    left_out = 0
    since: dict[str, str] = {}
    exploited: dict[str, None] = {}
    for image in images:
        numbers = store.contents(image)
        purls = {numbered.number: numbered.component.package.purl for numbered in store.components(numbers)}
        for number, findings in store.findings(numbers).items():
            for finding in findings:
                if (purls.get(number, ""), finding.vulnerability) in aside.get(image, {}):
                    left_out += 1
                    continue
                severities[finding.severity if finding.decided else "undecided"] += 1
                if finding.vulnerability in appeared.get(image, {}):
                    since[finding.vulnerability] = finding.severity
                if finding.exploited:
                    exploited[finding.vulnerability] = None
    order = {severity: place for place, severity in enumerate(_SEVERITIES)}
    return Wrong(digest=digest, kept=True, severities=dict(severities), left_out=left_out,
                 since=tuple(sorted(since, key=lambda name: (order.get(since[name], 9), name))),
                 exploited=tuple(exploited))
