"""Which level the namespaces of a cluster meet today, and what stops the next one.

Counted are the pods that are there, as the API server's plug-in counts them when a namespace is labelled, and the
templates of what makes pods, which it does not look at: their next pods would be denied. What of a namespace could not
be read is kept beside it, and nothing is said of such a namespace that all of it would have to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from custody.policy.podsecurity import standard
from custody.policy.podsecurity.configuration import MODES, Configuration, Demand
from custody.policy.podsecurity.existing import entry
from custody.policy.podsecurity.workload import Workload, workload_of

KINDS = (("v1", "Pod"), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"),
         ("apps/v1", "ReplicaSet"), ("batch/v1", "CronJob"), ("batch/v1", "Job"), ("v1", "ReplicationController"),
         ("v1", "PodTemplate"))
"""By API version: what is read of a namespace."""
_MADE = frozenset({"ReplicaSet", "Job"})
"""Kinds that another one makes, whose template is that of what is made next."""
_GENERATIONS = 8


class Obstacle(NamedTuple):
    """Workloads that fail the same checks of a level, one of them as an example."""

    level: str
    reasons: str
    """The API server's: `host namespaces, hostPath volumes`."""
    workloads: tuple[str, ...]
    """`deployment web`, as nobody but the namespace itself owns them."""
    pods: tuple[str, ...]
    """Of those that are there; none where only templates fail."""
    example: str
    """Of the first workload: what it would have to change, in the API server's words."""


class Standing(NamedTuple):
    namespace: str
    demands: Mapping[str, Demand]
    """By mode: what its labels, or the defaults, say today."""
    problems: tuple[str, ...]
    """Of its labels."""
    exempt: bool
    pods: int
    workloads: int
    meets: str
    """The strictest level that all of it meets; "" where not all of it was read."""
    obstacles: tuple[Obstacle, ...]
    """To each level that it does not meet."""
    unread: tuple[str, ...]
    """`pods: pods is forbidden: …`."""

    @property
    def next(self) -> str:
        """The level that it does not meet yet; "" where it meets all, or that is not known."""
        at = standard.LEVELS.index(self.meets) + 1 if self.meets else len(standard.LEVELS)
        return standard.LEVELS[at] if at < len(standard.LEVELS) else ""

    @property
    def tightens(self) -> bool:
        """Whether it could enforce more than it does."""
        return bool(self.meets) and not self.exempt and (
            standard.LEVELS.index(self.meets) > standard.LEVELS.index(self.demands["enforce"].level))

    def stopping(self, level: str) -> Iterator[Obstacle]:
        return (obstacle for obstacle in self.obstacles if obstacle.level == level)


class _Counted(NamedTuple):
    """A pod or a template with the failed checks of each level."""

    title: str
    pod: str
    """Its name; "" for a template."""
    owner: str
    """The uid of what made it."""
    failures: Mapping[str, tuple[str, str]]
    """(reasons, in detail) by level, where it fails one."""


class _Namespace:
    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.counted: list[_Counted] = []
        self.owners: dict[str, tuple[str, str]] = {}
        """By uid: (title, uid of what made it)."""
        self.unread: dict[str, str] = {}


class Survey:
    """Told of namespaces, then of all that was read of each; `standings` are the result."""

    def __init__(self, configuration: Configuration, version: str = "latest") -> None:
        self._configuration = configuration
        self._version = version
        self._namespaces: dict[str, _Namespace] = {}
        self._known: dict[str, Mapping[str, tuple[str, str]]] = {}
        """Failures by shape: thousands of replicas are judged once."""

    @property
    def namespaces(self) -> list[str]:
        return [*self._namespaces]

    def namespace(self, name: str, labels: Mapping[str, str]) -> None:
        self._namespaces[name] = _Namespace(labels)

    def unread(self, namespace: str, kind: str, reason: str) -> None:
        """What of a kind could not be read of a namespace."""
        if (place := self._namespaces.get(namespace)) is not None:
            place.unread[kind] = reason

    def add(self, document: Mapping[str, Any]) -> None:
        """An object of KINDS. Raises MalformedError. One of a namespace that it was not told of does not count."""
        metadata = _map(document.get("metadata"))
        place = self._namespaces.get(str(metadata.get("namespace") or ""))
        if place is None or (workload := workload_of(document)) is None:
            return
        title = f"{workload.kind.lower()} {workload.name}"
        owner = _owner(metadata)
        if uid := metadata.get("uid"):
            place.owners[str(uid)] = (title, owner)
        if workload.kind in _MADE and owner:
            return
        runtime_class = workload.spec.get("runtimeClassName")
        exempt = isinstance(runtime_class, str) and runtime_class in self._configuration.runtime_classes
        failures = {} if exempt else self._failures(workload)
        place.counted.append(_Counted(title, workload.name if workload.kind == "Pod" else "", owner, failures))

    def _failures(self, workload: Workload) -> Mapping[str, tuple[str, str]]:
        shape = entry({"metadata": {**_map(workload.metadata), "name": ""}, "spec": workload.spec}).shape
        if (known := self._known.get(shape)) is None:
            failed = {level: standard.evaluate(workload.spec, workload.metadata, level, self._version)
                      for level in standard.LEVELS}
            known = self._known[shape] = {
                level: (", ".join(failure.reason for failure in failures), standard.aggregate(failures))
                for level, failures in failed.items() if failures}
        return known

    def standings(self) -> list[Standing]:
        """By name."""
        return [self._standing(name, place) for name, place in sorted(self._namespaces.items())]

    def _standing(self, name: str, place: _Namespace) -> Standing:
        demands, problems = self._configuration.demands(dict(place.labels))
        titles = {_root(counted, place.owners) for counted in place.counted}
        failed = {level for counted in place.counted for level in counted.failures}
        met = [level for level in standard.LEVELS if level not in failed]
        unread = tuple(f"{kind}: {reason}" for kind, reason in sorted(place.unread.items()))
        return Standing(name, {mode: demands[mode] for mode in MODES}, tuple(problems),
                        name in self._configuration.namespaces, sum(bool(counted.pod) for counted in place.counted),
                        len(titles), "" if unread else met[-1],
                        tuple(_obstacles(place.counted, place.owners, failed)), unread)


def _obstacles(counted: Iterable[_Counted], owners: Mapping[str, tuple[str, str]],
               failed: set[str]) -> Iterator[Obstacle]:
    for level in standard.LEVELS:
        groups: dict[str, list[tuple[str, _Counted]]] = {}
        for member in counted if level in failed else ():
            if level in member.failures:
                groups.setdefault(member.failures[level][0], []).append((_root(member, owners), member))
        for reasons, members in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
            members.sort(key=lambda member: (member[0], member[1].pod))
            yield Obstacle(level, reasons, tuple(dict.fromkeys(title for title, _ in members)),
                           tuple(member.pod for _, member in members if member.pod), members[0][1].failures[level][1])


def _root(counted: _Counted, owners: Mapping[str, tuple[str, str]]) -> str:
    """What nobody else made, of what made a pod: a Deployment of the pods of its ReplicaSets."""
    title, owner = counted.title, counted.owner
    for _ in range(_GENERATIONS):
        if owner not in owners:
            break
        title, owner = owners[owner]
    return title


def _owner(metadata: Mapping[str, Any]) -> str:
    references = metadata.get("ownerReferences")
    for reference in references if isinstance(references, list) else ():
        if isinstance(reference, dict) and reference.get("controller") is True:
            return str(reference.get("uid") or "")
    return ""


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
