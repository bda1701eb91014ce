"""A runtime attestation: what was seen of an image while it ran, and how much of it could be seen.

The predicate is in-toto's runtime trace (in-toto attestation spec/predicates/runtime-trace.md, v0.1), with one
extension field, `custody`: period, containers, losses, and the gaps in what was seen. A trace with gaps is a true
statement too; what follows from a trace follows only from one without.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from custody.errors import MalformedError
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.members import object_of, text_of
from custody.runtime.egress import Baseline
from custody.runtime.executables import Executables, Verdict
from custody.runtime.executed import TYPES
from custody.runtime.opening import NAMES, READS
from custody.runtime.witness import Seen

PREDICATE_TYPE = "https://in-toto.io/attestation/runtime-trace/v0.1"
MONITOR = "https://custody.internal/monitor/runtime/v1"
PROCESS = "https://custody.internal/runtime/containers/v1"
_NANOSECONDS = 1_000_000_000
_RECENT = timedelta(minutes=5)
"""A watch writes down what it saw more often than that."""
_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_ALIEN = (Verdict.UNKNOWN, Verdict.MODIFIED, Verdict.COPIED)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What one watch saw, as it is kept: from its start on, on its node."""

    node: str
    since: str
    """RFC 3339: when it began to look, and when this was written."""
    until: str
    covers: tuple[str, ...]
    """Event types that its inputs tell."""
    losses: dict[str, int]
    images: dict[str, Seen]


class Live(NamedTuple):
    """A container that runs the image now, as the cluster says."""

    identifier: str
    node: str
    started: str
    """RFC 3339; empty where the cluster does not say."""


def trace(digest: str, kept: Sequence[Kept], now: datetime, *, cluster: str, live: Collection[Live] | None,
          files: Executables | None, baseline: Baseline | None = None, names: Collection[str] = (), nameless: int = 0
          ) -> dict[str, Any]:
    """The predicate, as of `now`. `live`: None where nobody said which containers run. `names`: digests that mean the
    image beside its own, of the index or the configuration; `nameless`: containers that run, and of which neither
    node nor watch says which image they run. Raises MalformedError for a cluster's name that is no part of a URI, and
    where no watch saw the image.
    """
    if not _CLUSTER.match(cluster):
        raise MalformedError("cluster", got=cluster[:200], expected="letters, digits, '.', '_' and '-', at most 100")
    meant = {digest, *names}
    seen = [(watch, _merged(runs)) for watch in kept
            if (runs := [watch.images[name] for name in sorted(meant & watch.images.keys())])]
    if not seen:
        raise MalformedError(digest, got="no watch that saw it run", expected="at least one")
    start, end = _period(seen, live)
    executed = sorted({_real(files, path) for _, run in seen for path in run.executed})
    opened = sorted({_real(files, path) for _, run in seen for path in run.opened})
    alien = sorted({path for _, run in seen for path in run.alien})
    verdicts: Counter[str] = Counter()
    for _, run in seen:
        verdicts.update(run.verdicts)
    losses: Counter[str] = Counter()
    for watch, run in seen:
        losses.update(watch.losses)
        if run.losses:
            losses["paths"] += run.losses
    containers = {container for _, run in seen for container in run.containers}
    own = {
        "version": 1, "from": format_rfc3339(start), "to": format_rfc3339(end), "nodes": sorted({
            watch.node for watch, _ in seen}), "containers": len(containers),
        "running": None if live is None else len(live), "executions": sum(run.executions for _, run in seen),
        "verdicts": {str(verdict): verdicts.get(verdict, 0) for verdict in Verdict},
        "unknownExecutables": alien[:1000], "unlike": sum(len(run.unlike) for _, run in seen),
        "losses": dict(sorted(losses.items())), "covers": sorted({kind for watch, _ in seen for kind in watch.covers}),
        "opened": all({READS, *NAMES} <= set(watch.covers) for watch, _ in seen),
        "renamed": sorted({path for _, run in seen for path in run.aliased})}
    own["gaps"] = [*_unwatched(seen, live, now), *_gaps(seen, live, files, verdicts, losses), *(
        [f"{amount(nameless, 'container')} ran of which nobody says the image"] if nameless else [])]
    log: dict[str, Any] = {"process": [_file(files, path) for path in executed],
                           "fileAccess": [_resource(files, path) for path in opened]}
    if baseline is not None:
        log["network"] = [_network(str(destination.host), destination.port, destination.protocol)
                          for destination in sorted(baseline.destinations, key=str)]
    return {
        "monitor": {"type": MONITOR, "tracePolicy": {"events": own["covers"]}},
        "monitoredProcess": {"hostID": f"k8s://{cluster}", "type": PROCESS, "event": f"{digest} on {cluster}"},
        "monitorLog": log, "metadata": {"buildStartedOn": own["from"], "buildFinishedOn": own["to"]}, "custody": own}


def _period(seen: Sequence[tuple[Kept, Seen]], live: Collection[Live] | None) -> tuple[datetime, datetime]:
    """From the first event of the image to the last; where it still runs, to when its node was looked at last."""
    start = min(_moment(run.first, watch) for watch, run in seen)
    nodes = {container.node for container in live or ()}
    end = max(parse_rfc3339(watch.until, "until") if watch.node in nodes else _moment(run.last, watch)
              for watch, run in seen)
    return start, max(start, end)


def _unwatched(seen: Sequence[tuple[Kept, Seen]], live: Collection[Live] | None, now: datetime) -> list[str]:
    """When nobody looked at a node: between two watches, and since the last one."""
    gaps = []
    nodes: dict[str, list[Kept]] = {}
    for watch, _ in seen:
        nodes.setdefault(watch.node, []).append(watch)
    running = {container.node for container in live or ()}
    for node, watches in sorted(nodes.items()):
        watches.sort(key=lambda watch: parse_rfc3339(watch.since, "since"))
        for before, after in itertools.pairwise(watches):
            if parse_rfc3339(after.since, "since") > parse_rfc3339(before.until, "until"):
                gaps.append(f"nobody looked at {node or 'a node'} from {before.until} to {after.since}")
        last = max(parse_rfc3339(watch.until, "until") for watch in watches)
        if node in running and now - last > _RECENT:
            gaps.append(f"nobody looks at {node or 'a node'} since {format_rfc3339(last)}")
    return gaps


def _gaps(seen: Sequence[tuple[Kept, Seen]], live: Collection[Live] | None, files: Executables | None,
          verdicts: Mapping[str, int], losses: Mapping[str, int]) -> list[str]:
    """Why it was not all seen; empty where it was."""
    gaps = []
    if any(not set(watch.covers) & TYPES for watch, _ in seen):
        gaps.append("no input of some node tells what is executed")
    if losses:
        gaps.append("events were lost: " + ", ".join(f"{count} {kind}" for kind, count in sorted(losses.items())))
    if verdicts.get(Verdict.NOT_JUDGED):
        gaps.append(f"{verdicts[Verdict.NOT_JUDGED]} executions were not judged")
    if files is None:
        gaps.append("the image's files are not indexed")
    elif files.unread:
        gaps.append(f"{len(files.unread)} files or lists of the image could not be read")
    if live is None:
        gaps.append("nobody said which containers run")
        return gaps
    looked: dict[str, datetime] = {}
    for watch, _ in seen:
        since = parse_rfc3339(watch.since, "since")
        looked[watch.node] = min(since, looked.get(watch.node, since))
    witnessed = {container[:12] for _, run in seen for container in run.containers}
    unseen = [container for container in live if container.identifier[:12] not in witnessed]
    if unseen:
        gaps.append(f"{len(unseen)} of {len(live)} containers that run were not seen")
    early = [container for container in live if container.identifier[:12] in witnessed and (
        not container.started or container.node not in looked
        or parse_rfc3339(container.started, "started") < looked[container.node])]
    if early:
        gaps.append(f"{len(early)} of {len(live)} containers were started before anybody looked, or nobody knows when")
    return gaps


def _real(files: Executables | None, path: str) -> str:
    entries = files.at(path) if files is not None else []
    return entries[0].path if entries else path


def _file(files: Executables | None, path: str) -> dict[str, Any]:
    entry = next(iter(files.at(path)), None) if files is not None else None
    said: dict[str, Any] = {"path": f"/{path}"}
    if entry is not None:
        said |= {"digest": {"sha256": entry.sha256}} if entry.sha256 else {}
        said |= {"package": entry.owner} if entry.owner else {}
    return said


def _resource(files: Executables | None, path: str) -> dict[str, Any]:
    entry = next(iter(files.at(path)), None) if files is not None else None
    return {"name": f"/{path}", **({"digest": {"sha256": entry.sha256}} if entry and entry.sha256 else {})}


def _network(host: str, port: int | None, protocol: str) -> dict[str, Any]:
    try:
        ipaddress.ip_address(host)
        said: dict[str, Any] = {"ip": host}
    except ValueError:
        said = {"hostname": host}
    return {**said, **({"port": port} if port is not None else {}), "protocol": protocol}


def _moment(nanoseconds: int, watch: Kept) -> datetime:
    """Within the watch: whatever an event says of its time, nobody looked before, or has looked since."""
    since, until = parse_rfc3339(watch.since, "since"), parse_rfc3339(watch.until, "until")
    first, last = (int(moment.timestamp()) * _NANOSECONDS for moment in (since, until))
    return (since if nanoseconds <= first else until if nanoseconds >= last else
            datetime.fromtimestamp(nanoseconds / _NANOSECONDS, UTC))


def _merged(runs: Sequence[Seen]) -> Seen:
    """What was seen of one image under several digests."""
    if len(runs) == 1:
        return runs[0]
    verdicts: Counter[str] = Counter()
    for run in runs:
        verdicts.update(run.verdicts)
    return Seen(
        first=min(run.first for run in runs), last=max(run.last for run in runs), verdicts=dict(verdicts),
        executions=sum(run.executions for run in runs), losses=sum(run.losses for run in runs),
        executed={path for run in runs for path in run.executed}, opened={path for run in runs for path in run.opened},
        aliased={path for run in runs for path in run.aliased}, alien={path for run in runs for path in run.alien},
        containers={container for run in runs for container in run.containers},
        unlike={container: why for run in runs for container, why in run.unlike.items()}, image=runs[0].image)


class Trace(NamedTuple):
    """What follows of one that custody wrote."""

    start: datetime
    end: datetime
    gaps: tuple[str, ...]
    executed: frozenset[str]
    """Paths without a leading slash."""
    opened: frozenset[str] | None
    """None where nobody looked."""
    renamed: tuple[str, ...]
    """Files and folders that got another name."""
    alien: tuple[str, ...]
    unlike: int
    cluster: str


def read(predicate: Any, where: str = "runtime trace") -> Trace:
    """Raises MalformedError, naming the field; also for a trace of another monitor, of which custody knows nothing."""
    if not isinstance(predicate, dict):
        raise MalformedError(where, got=type(predicate).__name__, expected="an object")
    monitor = text_of(object_of(predicate, "monitor"), "type")
    if monitor != MONITOR:
        raise MalformedError(f"{where}.monitor.type", got=monitor, expected=MONITOR)
    own = object_of(predicate, "custody")
    if own.get("version") != 1:
        raise MalformedError(f"{where}.custody.version", got=own.get("version"), expected="1")
    gaps, unlike = own.get("gaps"), own.get("unlike")
    alien, opened = own.get("unknownExecutables"), own.get("opened")
    if not isinstance(gaps, list) or not all(isinstance(gap, str) for gap in gaps):
        raise MalformedError(f"{where}.custody.gaps", got=gaps, expected="a list of texts")
    renamed = own.get("renamed")
    if not isinstance(renamed, list) or not all(isinstance(path, str) for path in renamed):
        raise MalformedError(f"{where}.custody.renamed", got=renamed, expected="a list of texts")
    if not isinstance(alien, list) or not isinstance(unlike, int) or not isinstance(opened, bool):
        raise MalformedError(f"{where}.custody", got=sorted(own), expected="unknownExecutables, unlike and opened")
    verdicts = object_of(own, "verdicts")
    strangers = [str(path) for path in alien] or [
        str(verdict) for verdict in _ALIEN if verdicts.get(str(verdict)) not in (0, None)]
    log = object_of(predicate, "monitorLog")
    return Trace(
        parse_rfc3339(text_of(own, "from"), f"{where}.custody.from"), parse_rfc3339(text_of(own, "to"),
                                                                                   f"{where}.custody.to"),
        tuple(gaps), frozenset(_paths(log, "process", "path", where)),
        frozenset(_paths(log, "fileAccess", "name", where)) if opened else None, tuple(renamed), tuple(strangers),
        unlike, text_of(object_of(predicate, "monitoredProcess"), "hostID").removeprefix("k8s://"))


def _paths(log: dict[str, Any], field: str, name: str, where: str) -> Iterable[str]:
    listed = log.get(field)
    if not isinstance(listed, list):
        raise MalformedError(f"{where}.monitorLog.{field}", got=listed, expected="a list")
    for place, entry in enumerate(listed):
        path = text_of(entry, name) if isinstance(entry, dict) else ""
        if not path.startswith("/"):
            raise MalformedError(f"{where}.monitorLog.{field}[{place}].{name}", got=path, expected="a path from / on")
        yield path[1:]
