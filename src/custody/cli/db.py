"""`custody db`: the advisories that `scan` matches with."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import click
import msgspec

from custody.cli.contents import columns
from custody.cli.db_update import export, import_, update
from custody.cli.run import settings
from custody.errors import MissingEvidenceError, UsageError
from custody.formats.osv import Advisory, Affected
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, parse_rfc3339, system_clock
from custody.kit.near import near
from custody.kit.visible import visible
from custody.ports.advisories import AdvisoryStore
from custody.vulns.severity import rate
from custody.wiring.local import advisories, java_archives

_SHOWN = 5
_INDEX = "java-archives"


@click.group("db")
def command() -> None:
    """The advisory database of this data directory. Nothing is downloaded but by `update`."""


for part in (import_, export, update):
    command.add_command(part)


@command.command("status")
@click.option("-o", "--output", "chosen", type=click.Choice(("table", "json")), default="table", show_default=True,
              help="What stdout gets.")
def status(chosen: str) -> None:
    """How many advisories there are, of whom, for which ecosystems, and how old."""
    store = _store()
    held, now = store.status(), system_clock()
    asked = [feed for feed in store.feeds() if feed.address != "archive"]
    index = java_archives(settings())
    if chosen == "json":
        print(json.dumps({**msgspec.to_builtins(held), "feeds": msgspec.to_builtins(asked),
                          "java_archives": index.count() if index else None}, indent=2))
        return
    print(f"advisories  {held.advisories}")
    print(f"newest      {format_rfc3339(held.newest) if held.newest else 'none: the database is empty'}")
    print(f"imported    {format_rfc3339(held.imported_at) if held.imported_at else 'never'}")
    print("exploited   " + ("none: no catalogue was imported" if held.exploited is None else
                            f"{held.exploited} known, version {visible(held.exploited_version)}"))
    print("scored      " + ("none: no EPSS scores were imported" if held.scored is None else
                            f"{held.scored} of {visible(held.scored_on)}"))
    print("archives    " + (f"{amount(index.count(), 'Java archive')} by their SHA-1" if index else
                            "none: no index of Java archives was imported"))
    for name, count in held.ecosystems.items():
        print(f"  {visible(name):<20} {count}")
    if held.sources:
        rows = [("SOURCE", "RECORDS", "NEWEST", "READ", "FROM")]
        rows += [(visible(source.name), str(source.records),
                  format_rfc3339(source.newest)[:10] if source.newest else "", f"{_age(source.imported_at, now)} ago",
                  visible(source.origin)) for source in held.sources]
        print(columns(rows), end="")
    for feed in asked:
        if feed.failure:
            age = f"read {_age(parse_rfc3339(feed.checked), now)} ago" if feed.checked else "never read"
            print(visible(f"warning: {feed.address}: {age}: {feed.failure}"), file=sys.stderr)


def _age(then: datetime, now: datetime) -> str:
    hours = max(0, int((now - then).total_seconds() // 3600))
    return f"{hours // 24} d" if hours >= 48 else f"{hours} h"


@command.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="SOURCE|ID…")
def remove(names: tuple[str, ...]) -> None:
    """Take a publisher's records out (SOURCE of `status`, or kev, epss, java-archives), or those of one identifier."""
    store = _store()
    for name in names:
        if name == _INDEX and (index := java_archives(settings())) is not None:
            count = index.count()
            index.clear()
        else:
            count = store.remove(name)
        if not count:
            raise UsageError(f"{name}: no source and no record is called that", hint="custody db status names sources")
        print(visible(f"{name}: {count} removed"), file=sys.stderr)


@command.command("list")
@click.option("--source", default="", metavar="SOURCE", help="Of this publisher only.")
@click.option("--ecosystem", default="", metavar="NAME", help="That speak of it, such as Debian:12, or Debian.")
def list_(source: str, ecosystem: str) -> None:
    """The identifiers of records, each with its publisher, when it was modified, and what it says first."""
    store = _store()
    held = store.status()
    for flag, name, known in (("--ecosystem", ecosystem, {part for text in held.ecosystems
                                                           for part in (text, text.partition(":")[0])}),
                              ("--source", source, {row.name for row in held.sources})):
        if name and name.casefold() not in {text.casefold() for text in known}:
            raise MissingEvidenceError(f"{flag} {name}: no record is of it", hint=near(
                name, known, "custody db status names those that are there"))
    ecosystem = ecosystem.casefold()
    for advisory in store.records(source):
        if ecosystem and not any(f"{entry.ecosystem}:".casefold().startswith(f"{ecosystem}:")
                                 for entry in advisory.affected):
            continue
        state = "withdrawn" if advisory.withdrawn else visible(advisory.summary)[:80]
        print(f"{visible(advisory.id)}\t{visible(advisory.source)}\t{advisory.modified}\t{state}")


@command.command("show")
@click.argument("name", metavar="ID")
@click.option("-o", "--output", "chosen", type=click.Choice(("table", "json")), default="table", show_default=True,
              help="What stdout gets.")
def show(name: str, chosen: str) -> None:
    """All that publishers say of a vulnerability: of which packages, versions, states, and why."""
    store = _store()
    records = store.speaking([name])
    cves = sorted({cve for advisory in records for cve in advisory.cves} | {name})
    exploited, scores = store.exploited(cves), store.scores(cves)
    if not records and not exploited and not scores:
        raise MissingEvidenceError(f"{name}: no record is or speaks of it", hint="custody db status says what is there")
    if chosen == "json":
        print(json.dumps({"advisories": [msgspec.to_builtins(_Shown.of(advisory)) for advisory in records],
                          "exploited": msgspec.to_builtins(list(exploited.values())),
                          "scores": msgspec.to_builtins(list(scores.values()))}, indent=2))
        return
    for known in exploited.values():
        print(visible(f"{known.cve} is known to be exploited since {known.added}" + ", by ransomware too"
                      * known.ransomware))
    for score in scores.values():
        print(f"{visible(score.cve)} EPSS {score.score:.5f}, percentile {score.percentile:.5f}")
    for advisory in records:
        rating = rate(advisory)
        print(visible(f"{advisory.id}  {advisory.source}  {rating.severity}  {advisory.modified}"))
        if advisory.summary:
            print(f"  {visible(advisory.summary)}")
        rows = [(visible(entry.ecosystem), visible(entry.name + f" ({entry.module})" * bool(entry.module)),
                 visible(_versions(entry)), visible(": ".join(text for text in (entry.status, entry.reason) if text)))
                for entry in advisory.affected]
        for line in columns(rows).splitlines() if rows else ():
            print(f"  {line}")


class _Shown(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A record by the names of its fields, which it is not kept with."""

    id: str
    source: str
    modified: str
    aliases: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    summary: str = ""
    severity: str = ""
    affected: list[dict[str, Any]] = []

    @classmethod
    def of(cls, advisory: Advisory) -> _Shown:
        return cls(id=advisory.id, source=advisory.source, modified=advisory.modified, aliases=advisory.aliases,
                   upstream=advisory.upstream, summary=advisory.summary, severity=str(rate(advisory).severity),
                   affected=[{"ecosystem": entry.ecosystem, "name": entry.name, "module": entry.module,
                              "ranges": [[list(event) for event in span.events] for span in entry.ranges],
                              "versions": entry.versions, "status": entry.status, "reason": entry.reason}
                             for entry in advisory.affected])


def _versions(entry: Affected) -> str:
    texts = [", ".join(f"{kind} {version}" for kind, version in span.events) for span in entry.ranges[:_SHOWN]]
    if len(entry.ranges) > _SHOWN:
        texts.append(f"and {len(entry.ranges) - _SHOWN} ranges more")
    if entry.versions:
        texts.append(f"{len(entry.versions)} versions" if len(entry.versions) > _SHOWN else ", ".join(entry.versions))
    return "; ".join(texts)


def _store() -> AdvisoryStore:
    return advisories(settings())
