"""`custody watch`: what is wrong with every kept image, kept up to date; changes are told as they come."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec

from custody.cli import contents, gating, waiving
from custody.cli.bars import progress
from custody.cli.run import settings
from custody.cli.waiving import Waiving
from custody.errors import NetworkError, UsageError
from custody.formats.bom import Catalog
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.ports.cluster import ApiError
from custody.ports.findings import Event, Findings
from custody.ports.inventory import InventoryStore, Sightings
from custody.services.arrivals import Arrivals, Arrived
from custody.services.attestedvex import AttestedVex, Heard
from custody.services.contents import catalog_image, readers
from custody.services.counting import Said, Words
from custody.services.notify import Notifier, tell
from custody.services.rematch import refresh
from custody.services.running import see_pods
from custody.services.verify import Terms
from custody.vulns.severity import Severity
from custody.wiring import cluster_client, command_http, notify_key, registry_client, signers
from custody.wiring.local import advisories, counting, inventory, java_archives, layer_cache, queue

_AT_ONCE = 1000


@click.command("watch")
@click.argument("repositories", nargs=-1, metavar="[REPOSITORY]…")
@click.option("--once", is_flag=True, help="Look once, and end.")
@click.option("--interval", default=60.0, show_default=True, type=click.FloatRange(1, 86400), metavar="SECONDS",
              help="Time between two looks at images and advisories.")
@click.option("-o", "--output", "chosen", type=click.Choice(("table", "json")), default="table", show_default=True,
              help="How each change is written: a line for people, or a JSON object a line.")
@click.option("--since", type=click.IntRange(0), metavar="NUMBER",
              help="Tell the changes after this one again, by the number that each has. Default: only new ones.")
@click.option("--keep-events", default=90, show_default=True, type=click.IntRange(1, 3650), metavar="DAYS",
              help="For how long changes are kept.")
@click.option("--notify", "urls", multiple=True, metavar="URL",
              help="Who is told, by POST of a CloudEvent; repeatable. Default: custody.toml's `notify`. What is not "
                   "taken is sent again for two days. Needs CUSTODY_NOTIFY_SECRET.")
@click.option("--kubeconfig", metavar="FILE", help="Note at each look which images the pods of this cluster run, for "
                                                   "`affected`.")
@click.option("--vex", "vex", multiple=True, metavar="FILE|FOLDER|attested",
              help="Leave out what VEX says is not affected or fixed: a document, a folder whose .json are, or "
                   "`attested` for what is signed about each image in its registry; read at each look; repeatable. "
                   "Default for this and the next three: `counting` in custody.toml.")
@click.option("--ignorefile", "--ignore-file", "ignorefiles", multiple=True,
              type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Leave out what a .custodyignore, .trivyignore(.yaml) or .grype.yaml names; repeatable.")
@click.option("--ignore-unfixed", "--only-fixed", "ignore_unfixed", is_flag=True,
              help="Leave out what no fixed version is known for, unless it is known to be exploited.")
@click.option("--severity", "severities", multiple=True, callback=gating.severities, metavar="LEVEL[,LEVEL…]",
              help="Leave out findings of other severities, unless they are known to be exploited.")
@waiving.signer_options
@click.option("--dead", is_flag=True, help="List the messages that were given up, and end.")
@click.option("--revive", type=int, metavar="NUMBER", help="Send one of those again from now on, and end.")
def command(repositories: tuple[str, ...], once: bool, interval: float, chosen: str, since: int | None,
            keep_events: int, urls: tuple[str, ...], kubeconfig: str | None, dead: bool, revive: int | None,
            vex: tuple[str, ...], ignorefiles: tuple[Path, ...], ignore_unfixed: bool,
            severities: frozenset[Severity] | None, words: Waiving) -> None:
    """Match what is kept with advisories whenever one of both changes, and say what appeared, changed or disappeared,
    and why. Only names whose advisories changed are looked up; the first run matches everything and tells nothing.

    What counts changes too: when a VEX statement comes or goes, or a rule of an ignore file does, or its time is over.

    Each tag of a REPOSITORY (registry/name) is read and kept where it is not known yet. With --once, exit 6 where
    some could not be.
    """
    if dead or revive is not None:
        _buried(revive)
        return
    if words.signer and not vex:
        raise UsageError("--vex-…: no VEX to verify", hint="--vex FILE, or --vex attested")
    terms, given = words.with_vex(vex).terms(settings()), Said(
        vex=_paths(vex), ignorefiles=ignorefiles, ignore_unfixed=ignore_unfixed, severities=severities,
        attested=any(word in waiving.ATTESTED for word in vex))
    said = given
    if given == Said():
        said, terms = counting(settings())
    store, records, waiting = inventory(settings()), advisories(settings()), queue(settings())
    attested = AttestedVex(store, terms, system_clock) if said.attested and terms is not None else None
    told = _notified(urls or tuple(settings().notify))
    last = _newest(store)
    for notifier in told:
        notifier.begin(store, last)
    last = last if since is None else since
    while True:
        now = system_clock()
        if kubeconfig is not None:
            _look_at_pods(kubeconfig, store, now, fatal=once)
        unread = _look_at_tags(repositories, store) if repositories else ()
        counted = _words(said, terms, attested)
        if once and counted.unknown:
            raise NetworkError(f"not all images could be asked about: {visible(counted.unread[0])}")
        with progress("Matching packages") as advance:
            done = refresh(store, records, now, advance, counted)
        last = _tell(store, last, chosen)
        if once or done.images or done.appeared or done.changed or done.disappeared:
            print(f"{amount(done.images, 'new image')}, {amount(done.judged, 'package')} matched: "
                  f"{amount(done.appeared, 'finding')} appeared, {done.changed} changed, {done.disappeared} "
                  "disappeared", file=sys.stderr)
        for reason in asyncio.run(tell(told, store)):
            print(visible(f"warning: {reason}; it is tried again"), file=sys.stderr)
        store.prune(now - timedelta(days=keep_events))
        waiting.prune(now - timedelta(days=keep_events))
        if once and unread:
            raise NetworkError(f"not all images could be looked at: {visible(unread[0])}")
        if once:
            return
        time.sleep(interval)


def _paths(vex: tuple[str, ...]) -> tuple[Path, ...]:
    paths = tuple(Path(word) for word in vex if word not in waiving.ATTESTED)
    for path in paths:
        if not path.exists():
            raise UsageError(f"--vex {path}: no such file or folder", hint="a file, a folder, or `attested`")
    return paths


def _words(said: Said, terms: Terms | None, attested: AttestedVex | None) -> Words:
    async def look(asked: AttestedVex) -> Heard:
        async with registry_client(settings()) as client:
            return await asked.look(client)

    counted = Words(said, system_clock(), terms, asyncio.run(look(attested)) if attested else Heard())
    for reason in counted.unread:
        print(visible(f"warning: {reason}; it does not count"), file=sys.stderr)
    return counted


def _look_at_tags(repositories: tuple[str, ...], store: InventoryStore) -> Sequence[str]:
    """What could not be looked at, and why."""
    configured = settings()
    cache, archives = configured.state() / "cache", java_archives(configured)

    async def look() -> Arrived:
        async with registry_client(configured) as client:
            async def catalog(target: str) -> Catalog:
                return await catalog_image(target, client, cache, layer_cache(cache / "layers.db"), progress,
                                           archives=archives)

            return await Arrivals(client, store, queue(configured), system_clock, catalog, readers(archives),
                                  signers(configured, client, system_clock)).look(repositories)

    done = asyncio.run(look())
    for failure in done.failures:
        print(visible(f"warning: {failure}; it is tried again"), file=sys.stderr)
    if done.kept:
        print(f"{done.kept} of {done.tags} tags brought an image that was read and kept", file=sys.stderr)
    return done.failures


def _look_at_pods(kubeconfig: str, store: Sightings, now: datetime, *, fatal: bool) -> None:
    """A cluster that does not answer now is asked again at the next look."""
    async def look() -> None:
        cluster = cluster_client(settings().replace(kubeconfig=kubeconfig))
        try:
            await see_pods(cluster, store, now)
        finally:
            await cluster.cluster.close()

    try:
        asyncio.run(look())
    except (NetworkError, ApiError) as error:
        if fatal:
            raise
        print(visible(f"warning: {error.message}; which pods run is as it was"), file=sys.stderr)


def _notified(urls: tuple[str, ...]) -> list[Notifier]:
    if not urls:
        return []
    configured = settings().replace(notify=list(urls))
    key = notify_key(configured)
    assert key is not None
    waiting = queue(configured)
    return [Notifier(url, key, waiting, command_http(configured), system_clock, "/custody/watch")
            for url in dict.fromkeys(urls)]


def _buried(revive: int | None) -> None:
    waiting = queue(settings())
    if revive is not None and not waiting.revive(revive, system_clock()):
        raise UsageError(f"--revive {revive}: no message with this number was given up", hint="custody watch --dead")
    if revive is None:
        rows = [(str(job.number), job.key, str(job.attempts), job.reason) for job in waiting.buried()]
        sys.stdout.write(contents.columns([("NUMBER", "EVENT", "ATTEMPTS", "REASON"), *rows]) if rows else
                         "none was given up\n")


def _newest(store: Findings) -> int:
    last = 0
    while events := store.events(last, _AT_ONCE):
        last = events[-1].number
    return last


def _tell(store: Findings, last: int, chosen: str) -> int:
    """Those after the last one; the number of the last now."""
    while events := store.events(last, _AT_ONCE):
        for number, event in events:
            last = number
            if chosen == "json":
                sys.stdout.write(msgspec.json.encode({"number": number, **msgspec.to_builtins(event)}).decode() + "\n")
            else:
                print(_line(event))
        sys.stdout.flush()
    return last


def _line(event: Event) -> str:
    finding = event.finding
    where = f"{event.affected} image{'s' * (event.affected != 1)}"
    more = f" (was {event.before.severity})" if event.before and event.before.severity != finding.severity else ""
    fixed = f", fixed in {', '.join(finding.fixed)}" if finding.fixed else ""
    severity = finding.severity if finding.decided else "undecided"
    return visible(f"{format_rfc3339(event.at)} {event.change} {severity}{more} {finding.vulnerability} in "
                   f"{event.purl} ({event.cause}; {where}{fixed}{_said(event)})")


def _said(event: Event) -> str:
    """By whose word it does not count, or counted not until now."""
    if event.word is None:
        return ""
    now = "" if event.change == "disappeared" else "no longer "
    by = f" by {event.word.by}" if event.word.by else ""
    until = f", until {event.word.until}" if event.word.until else ""
    return f", {now}{event.word.status or 'left out'}{by}: {event.word.reason}{until}"
