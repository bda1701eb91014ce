"""Is what runs what was admitted? Containers of a cluster beside the records of admission, each with a state.

No record is a state, and that no record is kept at all is another: then nobody can say anything of any container.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.formats import reference
from custody.formats.containers import Running, of_pod, owners
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.members import object_of, text_of
from custody.services.admissions import Admissions, is_denied

_MIRROR = "kubernetes.io/config.mirror"
_GENERATED = "(generated)"
_SYSTEM = ("kube-system", "kube-public", "kube-node-lease")


class State(enum.StrEnum):
    MATCHED = "matched"
    MOVED = "tag moved"
    """It runs what was admitted, and its tag means another image by now; or its tag meant another one when it was
    pulled than when it was admitted."""
    ANOTHER = "another digest"
    """This pod was admitted with another image than the one that runs."""
    DENIED = "denied"
    """The last decision about this pod was no, and it runs."""
    UNRECORDED = "no record"
    UNKNOWN = "unknown"

    @property
    def drifted(self) -> bool:
        return self in (State.MOVED, State.ANOTHER, State.DENIED, State.UNRECORDED)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Of one container."""

    state: State
    reason: str
    namespace: str
    pod: str
    container: str
    workload: str
    """`Deployment/web`; the pod itself where nothing owns it."""
    image: str
    digest: str
    admitted: tuple[str, ...] = ()
    """Digests that were let in with this pod or its owners."""
    at: str = ""
    """When the image was let in last with them, RFC 3339; or when the decision was made."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    findings: tuple[Finding, ...]
    pods: int
    recorded: bool
    """Whether any record of admission is kept here."""

    @property
    def counts(self) -> Mapping[State, int]:
        counted = Counter(finding.state for finding in self.findings)
        return {state: counted[state] for state in State}


Meaning = Callable[[str], str | None]
"""The digest that an image's name means in its registry now; None where nobody could be asked."""


def reconcile(pods: Sequence[Mapping[str, Any]], admissions: Admissions, *, runtime: Iterable[Running] = (),
              exempt: Callable[[str], bool] = lambda _: False, meaning: Meaning | None = None) -> Report:
    """Each container of these pods, and of what a container runtime lists beside them. Raises StorageError."""
    containers = [(pod, container) for pod in pods for container in of_pod(pod)]
    known = {container.identifier for _, container in containers if container.identifier}
    uids = {text_of(object_of(dict(pod), "metadata"), "uid") for pod in pods}
    beside = [container for container in runtime if container.identifier not in known]
    digests = {container.digest for _, container in containers if container.digest} | {
        container.digest for container in beside if container.digest}
    families = admissions.family(sorted(digests))
    admitted = admissions.seen({digest for family in families.values() for digest in family})
    recorded = bool(admitted) or admissions.first is not None or any(
        admissions.let_in(place) for pod, container in containers for place in _own(container, owners(pod)))
    judge = _Judge(admissions, families, admitted, exempt, meaning, recorded=recorded)
    findings = [judge.of_pod(pod, container) for pod, container in containers]
    findings += [judge.beside(container, uids) for container in beside]
    return Report(findings=tuple(findings), pods=len(pods), recorded=recorded)


class _Judge:
    def __init__(self, admissions: Admissions, families: Mapping[str, frozenset[str]],
                 admitted: Mapping[str, Sequence[Any]], exempt: Callable[[str], bool], meaning: Meaning | None, *,
                 recorded: bool) -> None:
        self._admissions, self._families, self._admitted = admissions, families, admitted
        self._exempt, self._meaning, self._recorded = exempt, meaning, recorded

    def of_pod(self, pod: Mapping[str, Any], container: Running) -> Finding:
        above = owners(pod)
        workload = "/".join(above[-1]) if above else f"Pod/{container.pod}"

        def said(state: State, reason: str, let_in: Iterable[str] = (), at: str = "") -> Finding:
            return Finding(state=state, reason=reason, namespace=container.namespace, pod=container.pod,
                           container=container.name, workload=workload, image=container.image, digest=container.digest,
                           admitted=tuple(let_in), at=at)

        if not container.identifier and not container.digest:
            return said(State.UNKNOWN, "it has not been started: nobody says yet which image it runs")
        if not container.digest:
            return said(State.UNKNOWN, "the node names no digest of a manifest (imageID)")
        if not self._recorded:
            return said(State.UNKNOWN, "no record of admission is kept here")
        family = self._families[container.digest]
        places = self._places(container, above)
        matched = [row for digest in family for row in self._admitted.get(digest, ()) if row.where in places]
        decided = self._admissions.decided(container.namespace, "Pod", container.pod)
        if is_denied(decided) and decided is not None and not any(row.last > decided.at for row in matched):
            return said(State.DENIED, f"it was denied, and runs: {decided.reason}", at=format_rfc3339(decided.at))
        if matched:
            return self._matched(said, container, family, max(row.last for row in matched))
        let_in = next((digests for place in _own(container, above) if (digests := self._admissions.let_in(place))),
                      None)
        if let_in:
            return self._another(said, container, let_in)
        return said(State.UNRECORDED, self._why(pod, container, family))

    def beside(self, container: Running, uids: Collection[str]) -> Finding:
        """Of a container that the runtime lists and no pod of the API server has."""
        reason = ("the API server's pod does not have this container" if container.uid in uids else
                  "the API server knows no such pod: a static pod whose mirror was removed, or one that is gone"
                  if container.uid else "it belongs to no pod: somebody started it at the container runtime")
        state = State.UNRECORDED if self._recorded else State.UNKNOWN
        return Finding(state=state, reason=reason, namespace=container.namespace, pod=container.pod,
                       container=container.name or container.identifier[:12], image=container.image,
                       digest=container.digest, workload=f"Pod/{container.pod}" if container.pod else "none")

    @staticmethod
    def _places(container: Running, above: Sequence[tuple[str, str]]) -> set[str]:
        """How admissions of this pod and of its owners are noted."""
        return {*_own(container, above), *([f"{container.namespace}/Pod/{_GENERATED}"] if above else [])}

    def _matched(self, said: Callable[..., Finding], container: Running, family: Collection[str],
                 at: datetime) -> Finding:
        moment = format_rfc3339(at)
        now = self._meaning(container.image) if self._meaning is not None and _is_tagged(container.image) else None
        if now is not None and now not in family:
            return said(State.MOVED, f"its tag means {now} by now: who pulls it again gets another image", at=moment)
        through = "" if container.digest in self._admitted else " (the index was, and this is an image of it)"
        return said(State.MATCHED, f"admitted{through}", at=moment)

    @staticmethod
    def _another(said: Callable[..., Finding], container: Running, let_in: Sequence[str]) -> Finding:
        if _is_tagged(container.image):
            return said(State.MOVED, "its tag meant another image when it was admitted than when it was pulled", let_in)
        return said(State.ANOTHER, "this pod was admitted with other images, and not with this one", let_in)

    def _why(self, pod: Mapping[str, Any], container: Running, family: Collection[str]) -> str:
        """Why there may be no record, as far as can be told."""
        metadata = object_of(dict(pod), "metadata")
        elsewhere = sorted({row.where for digest in family for row in self._admitted.get(digest, ())})
        known = f"; the image was admitted elsewhere, as {elsewhere[0]}" if elsewhere else ""
        if _MIRROR in object_of(metadata, "annotations") or any(kind == "Node" for kind, _ in owners(pod)):
            return f"a static pod: the node's own folder asks for it, and no webhook is asked{known}"
        if container.ephemeral:
            return f"an ephemeral container: no admission of it is noted{known}"
        if container.namespace in _SYSTEM or self._exempt(container.namespace):
            return f"its namespace is exempt{known}"
        first, created = self._admissions.first, _moment(text_of(metadata, "creationTimestamp"))
        if created is not None and first is not None:
            if created < first:
                return f"created before the first decision that is kept ({format_rfc3339(first)}){known}"
            if not self._admissions.answered_around(created):
                return (f"no decision at all is kept of the ten minutes around its creation, "
                        f"{format_rfc3339(created)}: the webhook may have been down{known}")
            return f"the webhook answered when it was created, and was not asked about it or let nothing in{known}"
        return f"nothing tells why{known}"


def _own(container: Running, above: Sequence[tuple[str, str]]) -> list[str]:
    """How admissions of a pod by its name, and of its owners, are noted."""
    place = container.namespace
    return [f"{place}/Pod/{container.pod}", *(f"{place}/{kind}/{name}" for kind, name in above)]


def _is_tagged(image: str) -> bool:
    try:
        return reference.parse(image).digest is None
    except MalformedError:
        return False


def _moment(text: str) -> datetime | None:
    try:
        return parse_rfc3339(text, "creationTimestamp")
    except MalformedError:
        return None


def drifted(report: Report) -> Iterator[Finding]:
    return (finding for finding in report.findings if finding.state.drifted)
