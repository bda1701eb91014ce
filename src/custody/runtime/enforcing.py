"""Which programs a container may not start, by the files of its image; and an alert of each that did not.

The question comes before the program runs, and the answer is given in the same call: what is not known by then is not
judged, and the settings say what becomes of it.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable
from typing import Any

from custody.runtime.containers import Container, Containers
from custody.runtime.event import Fields, Place, RuntimeEvent
from custody.runtime.executables import Judgement, Verdict
from custody.runtime.executed import TYPES, inside
from custody.runtime.executing import TAGS, Indexes, described, where
from policylang.falco import Alert

RULE = "Program refused"
_JUDGE = "fanotify"
ENFORCED = (Verdict.UNKNOWN, Verdict.MODIFIED, Verdict.COPIED, Verdict.VOLUME)


class Enforcing:
    """`allows` is the judge; as a detector it tells what was refused. `deny` are SHA-256, for whoever starts them."""

    types = TYPES

    def __init__(self, containers: Containers, *, indexes: Indexes | None = None,
                 verdicts: Collection[Verdict] = (), deny: Collection[str] = (), deny_late: bool = False,
                 runtimes: Collection[str] = ()) -> None:
        """Without `indexes` only `deny` counts. `runtimes` as of ExecutableDetector: they may always start."""
        self._containers, self._indexes = containers, indexes
        self._verdicts, self._deny = frozenset(verdicts), frozenset(deny)
        self._deny_late, self._runtimes = deny_late, frozenset(runtimes)

    def allows(self, fields: Fields) -> bool:
        """Of an event of a program that is about to run, with its path and `custody.exe.sha256`."""
        return self.refusal(fields) is None

    def refusal(self, fields: Fields) -> Judgement | None:
        """Why it does not start; None where it may."""
        sha256, path = _text(fields.get("custody.exe.sha256")), _text(fields.get("proc.exepath"))
        if sha256 and sha256 in self._deny:
            return Judgement(Verdict.UNKNOWN, path, f"sensing.deny has its digest, {sha256}")
        if self._deny and not sha256 and self._deny_late:
            return Judgement(Verdict.NOT_JUDGED, path, "its bytes could not be read, and sensing.late refuses that")
        if not self._verdicts or self._indexes is None or (sha256 and sha256 in self._runtimes):
            return None
        place, container = self._containers.place(fields)
        if not place.container_id:
            return None  # of the host
        judgement = self._judged(place, container, path, sha256)
        if judgement.verdict in self._verdicts:
            return judgement
        if judgement.verdict is Verdict.NOT_JUDGED and self._deny_late:
            return judgement._replace(reason=f"{judgement.reason}, and sensing.late refuses what is not judged")
        return None

    def _judged(self, place: Place, container: Container | None, path: str, sha256: str) -> Judgement:
        assert self._indexes is not None
        if not place.digest:
            return Judgement(Verdict.NOT_JUDGED, path, "nobody says which image the container runs")
        files = self._indexes.get(place.digest)
        if files is None:
            reason = self._indexes.ask(place.digest, place.image)
            return Judgement(Verdict.NOT_JUDGED, path, reason or "its image is still being read")
        if not sha256:  # of bytes that nobody read no verdict is sure enough to refuse by
            return Judgement(Verdict.NOT_JUDGED, path, "its bytes could not be read")
        return files.judge(inside(path), sha256, volumes=container.volumes if container else ())

    def prepare(self, identifier: str) -> None:
        """Have the image of a container read that is watched from now on."""
        container = self._containers.get(identifier)
        if self._verdicts and self._indexes is not None and container is not None and container.digest and (
                self._indexes.get(container.digest) is None):
            self._indexes.ask(container.digest, container.image)

    def __call__(self, event: RuntimeEvent) -> Iterable[Alert]:
        get = event.fields.get
        if event.origin != _JUDGE or get("evt.rawres") != -errno.EPERM:
            return ()
        judgement = self.refusal(event.fields)
        if judgement is None:  # its image was read meanwhile
            judgement = Judgement(Verdict.NOT_JUDGED, _text(get("proc.exepath")), "it was not judged in time")
        place, _ = self._containers.place(event.fields)
        told: dict[str, Any] = {
            **where(place), "proc.exepath": judgement.path, "proc.name": get("proc.name"),
            "proc.pname": get("proc.pname"), "user.uid": get("user.uid"), "custody.drift": str(judgement.verdict),
            "custody.drift.reason": judgement.reason, "custody.exe.sha256": get("custody.exe.sha256")}
        if judgement.entry is not None:
            told |= {"custody.image.path": f"/{judgement.entry.path}", "custody.image.layer": judgement.entry.layer}
        at = described(place) or "the host"
        return (Alert(rule=RULE, priority="Critical", source="custody", output_fields=told, tags=(*TAGS, "refused"),
                      output=f"{RULE}: {judgement.path or 'a program'} in {at}: {judgement.reason}", time=event.at,
                      hostname=place.node),)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
