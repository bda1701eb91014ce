"""A detector: what containers execute, beside what their images hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from custody.runtime.containers import Containers
from custody.runtime.event import Place, RuntimeEvent
from custody.runtime.executables import UNPLACED, Executables, Judgement, Verdict
from custody.runtime.executed import TYPES, Executed, executed
from custody.runtime.witness import Witness
from policylang.falco import Alert

_WAITING = 10_000
_EACH = 2_000
_TOLD = 10_000
_KNOWN = 50_000
_RULES = {
    Verdict.UNKNOWN: ("Executable not in its image", "Critical"),
    Verdict.MODIFIED: ("Executable is not the one of its image", "Critical"),
    Verdict.COPIED: ("Executable of the image under another name", "Warning"),
    Verdict.VOLUME: ("Executable on a volume", "Notice"),
    Verdict.NOT_JUDGED: ("Executables are not judged", "Notice")}
TAGS = ("custody", "drift", "container")


class Indexes(Protocol):
    """The images whose files are known."""

    def get(self, digest: str) -> Executables | None:
        """At once, or not at all. `digest` is of a manifest, of the index that named it, or of its configuration."""

    def ask(self, digest: str, image: str) -> str:
        """Have it read, if that can be. Empty while it is being read; else why it is not."""


class _Waiting(NamedTuple):
    program: Executed
    place: Place
    volumes: tuple[str, ...]
    at: int | None


class ExecutableDetector:
    """`custody.runtime.detecting.Detector`.

    What runs in an image that is not read yet waits for it, within bounds, and is judged with the first event after;
    or by `settle`. What is never judged is told once for each image and reason, and counted in the witness.
    """

    types = TYPES

    def __init__(self, indexes: Indexes, containers: Containers, witness: Witness, *,
                 runtimes: Collection[str] = (), volumes: bool = False) -> None:
        """`runtimes`: SHA-256 of programs of the container runtime itself, which start within a container (runc).
        `volumes`: tell also of what is executed on volumes.
        """
        self._indexes, self._containers, self._witness = indexes, containers, witness
        self._runtimes = frozenset(runtimes)
        self._volumes = volumes
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._held = 0
        self._told: set[tuple[str, str]] = set()
        self._known: dict[tuple[str, str, str | None], str] = {}
        """By image, path and digest, the paths of files that were found to be the image's: most are executed often."""

    def __call__(self, event: RuntimeEvent) -> Iterable[Alert]:
        place, container = self._containers.place(event.fields)
        if not place.container_id and not place.digest:
            return ()  # of the host
        alerts = [*self.settle()] if self._waiting else []
        for program in executed(event.fields):
            if program.sha256 is not None and program.sha256 in self._runtimes and not program.upper:
                continue  # one that the container wrote is a copy, and is judged
            alerts += self._one(_Waiting(program, place, container.volumes if container else (), event.at))
        return alerts

    def settle(self) -> Iterator[Alert]:
        """What waited for images that are read by now, or that nobody will read."""
        for digest in list(self._waiting):
            files = self._indexes.get(digest)
            reason = ""
            if files is None:
                # It may be known under several repositories, and one that has it is enough.
                images = dict.fromkeys(execution.place.image for execution in self._waiting[digest])
                reasons = [self._indexes.ask(digest, image) for image in images]
                if not all(reasons):
                    continue
                reason = reasons[0]
            waiting = self._waiting.pop(digest)
            self._held -= len(waiting)
            for execution in waiting:
                yield from (self._judged(execution, files) if files is not None else
                            self._unjudged(execution, reason))

    def _one(self, execution: _Waiting) -> Iterator[Alert]:
        digest = execution.place.digest
        if not digest:
            yield from self._unjudged(execution, "nobody says which image the container runs")
            return
        files = self._indexes.get(digest)
        if files is not None:
            yield from self._judged(execution, files)
            return
        reason = self._indexes.ask(digest, execution.place.image)
        if reason:
            yield from self._unjudged(execution, reason)
        elif self._held >= _WAITING:
            yield from self._unjudged(execution, f"more than {_WAITING} executions wait for their images to be read")
        elif len(self._waiting.get(digest, ())) >= _EACH:  # one image must not use up the room of all
            yield from self._unjudged(execution, f"more than {_EACH} executions wait for this image to be read")
        else:
            self._waiting.setdefault(digest, deque()).append(execution)
            self._held += 1

    def _judged(self, execution: _Waiting, files: Executables) -> Iterator[Alert]:
        program = execution.program
        if not program.path and program.sha256 is None:
            yield from self._unjudged(execution, "the input says neither path nor digest of what is executed")
            return
        if program.path.startswith(UNPLACED) and program.sha256 is None:
            yield from self._unjudged(execution, "the input says of no folder from which on a relative path is")
            return
        key = (files.digest, program.path, program.sha256)
        if (path := self._known.get(key)) is not None:
            self._saw(execution, Verdict.KNOWN, path)
            return
        judgement = files.judge(program.path, program.sha256, volumes=execution.volumes, upper=program.upper)
        if judgement.verdict is Verdict.KNOWN and judgement.entry is not None and program.sha256 is not None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[key] = judgement.entry.path
        self._saw(execution, judgement.verdict, judgement.entry.path if judgement.entry and judgement.verdict in (
            Verdict.KNOWN, Verdict.NOT_JUDGED) else judgement.path)
        if judgement.verdict is Verdict.KNOWN or (judgement.verdict is Verdict.VOLUME and not self._volumes):
            return
        if judgement.verdict is Verdict.NOT_JUDGED:
            # Of scripts nobody reads the bytes: that the image has the path is as much as is known.
            if not program.by and self._first(execution.place.digest, "unread"):
                yield self._alert(execution, judgement, files)
            return
        yield self._alert(execution, judgement, files)

    def _unjudged(self, execution: _Waiting, reason: str) -> Iterator[Alert]:
        place = execution.place
        self._saw(execution, Verdict.NOT_JUDGED, execution.program.path)
        if self._first(place.digest or place.container_id, reason):
            yield self._alert(execution, Judgement(Verdict.NOT_JUDGED, execution.program.path, reason), None)

    def _saw(self, execution: _Waiting, verdict: Verdict, path: str) -> None:
        place = execution.place
        if place.digest:
            self._witness.executed(place.digest, place.container_id or place.pod_uid, execution.at, verdict, path,
                                   place.image)

    def _first(self, about: str, reason: str) -> bool:
        if (about, reason) in self._told:
            return False
        if len(self._told) >= _TOLD:
            self._told.clear()
        self._told.add((about, reason))
        return True

    @staticmethod
    def _alert(execution: _Waiting, judgement: Judgement, files: Executables | None) -> Alert:
        rule, priority = _RULES[judgement.verdict]
        program, place, entry = execution.program, execution.place, judgement.entry
        fields: dict[str, Any] = {
            **where(place), "proc.exepath": program.path, "custody.drift": str(judgement.verdict),
            "custody.drift.reason": judgement.reason, "custody.exe.sha256": program.sha256}
        if program.by:
            fields["custody.drift.by"] = program.by
        if entry is not None:
            fields |= {"custody.image.path": f"/{entry.path}", "custody.image.layer": entry.layer,
                       "custody.image.package": entry.owner or None, "custody.image.sha256": entry.sha256 or None}
        if files is not None:
            fields["custody.sbom.signer"] = files.sbom or None
            if entry is not None and files.sbom:
                fields["custody.sbom.stated"] = entry.stated.name.lower()
        by = f" (run by {program.by})" if program.by else ""
        subject = program.path or "an executable"
        return Alert(rule=rule, priority=priority, source="custody", output_fields=fields, tags=TAGS,
                     output=f"{rule}: {subject}{by} in {described(place)}: {judgement.reason}", time=execution.at,
                     hostname=place.node)


def where(place: Place) -> dict[str, Any]:
    """The fields of an alert that say where it was."""
    return {"container.id": place.container_id or None, "container.name": place.container or None,
            "container.image": place.image or None, "container.image.digest": place.digest or None,
            "k8s.ns.name": place.namespace or None, "k8s.pod.name": place.pod or None,
            "k8s.pod.uid": place.pod_uid or None}


def described(place: Place) -> str:
    pod = f"{place.namespace}/{place.pod}" if place.pod else ""
    return pod or (f"container {place.container_id[:12]}" if place.container_id else place.digest)


