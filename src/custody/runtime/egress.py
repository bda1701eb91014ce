"""Where the containers of an image connect to: a baseline for each digest, and a detector of what lies outside.

A digest that is new learns for a while. Where its repository had another digest before, it begins with that one's
destinations, and what it adds is told as the difference.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from custody.errors import MalformedError
from custody.formats.telemetry.event import Fields
from custody.runtime.containers import Containers
from custody.runtime.event import Place, RuntimeEvent
from custody.runtime.executing import TAGS, described, where
from policylang.falco import Alert

_MOST = 2_000
_TOLD = 20_000
_IMAGES = 5_000
_NANOSECONDS = 1_000_000_000
_AHEAD = 3600 * _NANOSECONDS
"""A baseline that begins later than that from now on was begun by a clock that ran ahead: it has learned."""
_TEXT = re.compile(r"(?P<protocol>tcp|udp|sctp) (?P<host>[^\s]{1,300}):(?P<port>\*|[0-9]{1,5})\Z")
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?\Z")
_SERVICE = re.compile(r"(?:service|pod)/[a-z0-9.-]{1,63}/[a-z0-9.-]{1,253}\Z")


class Destination(NamedTuple):
    protocol: str
    """`tcp`, `udp`, `sctp`."""
    host: str
    """An address, a network (`10.0.0.0/8`), a DNS name (`*.example.org`), `service/NAMESPACE/NAME`,
    `pod/NAMESPACE/OWNER`."""
    port: int | None
    """None: any."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol} {host}:{'*' if self.port is None else self.port}"


def parse(text: str, where: str = "destination") -> Destination:
    """`tcp api.example.org:443`. Raises MalformedError."""
    match = _TEXT.match(text)
    if match is None:
        raise MalformedError(where, got=text[:300], expected="PROTOCOL HOST:PORT, such as tcp api.example.org:443")
    host = match["host"].removeprefix("[").removesuffix("]").lower()
    port = None if match["port"] == "*" else int(match["port"])
    if port is not None and not 0 < port < 65536:
        raise MalformedError(where, got=text, expected="a port from 1 to 65535, or *")
    if host.startswith(("service/", "pod/")):
        known = bool(_SERVICE.match(host))
    else:
        try:
            ipaddress.ip_network(host, strict=False)
            known = True
        except ValueError:
            known = _is_name(host)
    if not known:
        raise MalformedError(where, got=host[:300],
                             expected="an address, a network, a DNS name or service/NAMESPACE/NAME")
    return Destination(match["protocol"], host, port)


_ANY = Destination("", "", None)
State = Literal["learning", "learned", "declared"]


class Baseline(msgspec.Struct, kw_only=True):
    """Of one image."""

    digest: str
    image: str = ""
    """Its repository, as the runtime names it: by it a baseline is carried to the next digest."""
    state: State = "learning"
    """`declared`: somebody wrote it, and nothing is learned."""
    since: int = 0
    """Nanoseconds since 1970: when the first connection was seen."""
    destinations: set[Destination] = set()
    carried: set[Destination] = set()
    """Those that the digest before had."""
    previous: str = ""
    """That digest."""

    @property
    def added(self) -> set[Destination]:
        """What the digest before did not have; all where there was none."""
        return self.destinations - self.carried

    @property
    def unused(self) -> set[Destination]:
        """What the digest before had, and this one was not seen to use."""
        return self.carried - self.destinations

    def holds(self, destination: Destination, addresses: Sequence[str]) -> bool:
        """Whether it is in the baseline, under any of the names that are known for it."""
        allowed = self.destinations | self.carried
        for host in (destination.host, *addresses):
            for port in (destination.port, None):
                if destination._replace(host=host, port=port) in allowed:
                    return True
        return any(_within(destination, host, entry) for entry in allowed if entry.host[:2] == "*." or "/" in entry.host
                   for host in (destination.host, *addresses))


def _is_name(host: str) -> bool:
    """Of DNS, and no address."""
    return bool(_NAME.match(host)) and not re.fullmatch(r"[0-9./]+", host)


def _within(destination: Destination, host: str, entry: Destination) -> bool:
    if entry.protocol != destination.protocol or entry.port not in (None, destination.port):
        return False
    if entry.host.startswith("*."):
        return "/" not in host and host.endswith(entry.host[1:])  # a pod may be called as a host is
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.host, strict=False)
    except ValueError:
        return False


class Baselines:
    """By digest. What is learned is written by whoever keeps it: `changed` are those to be written."""

    def __init__(self, baselines: Iterable[Baseline] = (), *, window: float = 86_400.0) -> None:
        """`window`: seconds for which a digest learns, from its first connection on."""
        self._window = int(window * _NANOSECONDS)
        self._kept = {baseline.digest: baseline for baseline in baselines}
        self.changed: set[str] = set()
        self.losses = 0
        """Connections that no baseline had room for."""

    def get(self, digest: str) -> Baseline | None:
        return self._kept.get(digest)

    def all(self) -> list[Baseline]:
        return list(self._kept.values())

    def put(self, baseline: Baseline) -> None:
        self._kept[baseline.digest] = baseline
        self.changed.add(baseline.digest)

    def adopt(self, baseline: Baseline) -> None:
        """One that is kept already, in place of what was learned here."""
        self._kept[baseline.digest] = baseline

    def of(self, digest: str, image: str, at: int) -> Baseline | None:
        """That of a digest, made where there is none."""
        baseline = self._kept.get(digest)
        if baseline is None:
            if len(self._kept) >= _IMAGES:
                self.losses += 1
                return None
            before = self._before(image)
            carried = before.destinations | before.carried if before is not None else set()
            baseline = Baseline(digest=digest, image=image, since=at, destinations=set(), carried=carried,
                                previous=before.digest if before is not None else "")
            self.put(baseline)
        if baseline.state == "learning" and (at - baseline.since > self._window or
                                             time.time_ns() - baseline.since < -_AHEAD):
            baseline.state = "learned"
            self.changed.add(digest)
        return baseline

    def learn(self, baseline: Baseline, destination: Destination) -> bool:
        """Whether it is new, and there was room."""
        if destination in baseline.destinations:
            return False
        if len(baseline.destinations) >= _MOST:
            self.losses += 1
            return False
        baseline.destinations.add(destination)
        self.changed.add(baseline.digest)
        return True

    def _before(self, image: str) -> Baseline | None:
        """The newest of the same repository."""
        same = [baseline for baseline in self._kept.values() if image and baseline.image == image]
        return max(same, key=lambda baseline: baseline.since, default=None)


class EgressDetector:
    """`custody.runtime.detecting.Detector`."""

    types = frozenset(("connect", "sendto", "sendmsg"))

    def __init__(self, baselines: Baselines, containers: Containers, names: Mapping[str, str]) -> None:
        """`names`: what the cluster calls addresses: `service/shop/db`, `pod/shop/web`. It may change as it is read."""
        self._baselines, self._containers, self._names = baselines, containers, names
        self._told: set[tuple[str, Destination]] = set()

    def __call__(self, event: RuntimeEvent) -> Iterator[Alert]:
        if (reached := self._destination(event.fields)) is None:
            return
        destination, hosts = reached
        place, _ = self._containers.place(event.fields)
        if not place.digest:
            return  # of the host, or of a container of which nobody knows the image
        now = time.time_ns()
        # A clock that runs ahead would make an image learn until it is caught up with.
        at = min(max(event.at, 0), now) if event.at is not None else now
        baseline = self._baselines.of(place.digest, _repository(place.image), at)
        if baseline is None:
            yield from self._homeless(event, place, destination)
            return
        if baseline.state == "learning":
            new = not baseline.carried or not baseline.holds(destination, hosts)
            room = destination in baseline.destinations or len(baseline.destinations) < _MOST
            if (self._baselines.learn(baseline, destination) and new and baseline.previous) or (
                    not room and self._first(place.digest, destination)):
                yield self._alert(event, place, baseline, destination, room=room)
        elif not baseline.holds(destination, hosts) and self._first(place.digest, destination):
            yield self._alert(event, place, baseline, destination)

    def _first(self, digest: str, destination: Destination) -> bool:
        if (digest, destination) in self._told:
            return False
        if len(self._told) >= _TOLD:
            self._told.clear()
        self._told.add((digest, destination))
        return True

    def _homeless(self, event: RuntimeEvent, place: Place, destination: Destination) -> Iterator[Alert]:
        """A connection of an image for whose baseline there is no room: said once for each image."""
        if self._first(place.digest, _ANY):
            yield self._alert(event, place, Baseline(digest=place.digest, state="learned"), destination,
                              reason=f"connections are not judged: {_IMAGES} images have baselines, and this one none")

    def _destination(self, fields: Fields) -> tuple[Destination, list[str]] | None:
        """Where it goes to, by the best name that is known, and by its other names. Nothing of loopback and Unix
        sockets.
        """
        get = fields.get
        address, port = get("fd.rip") or get("fd.sip"), get("fd.rport") or get("fd.sport")
        if not isinstance(address, str) or not isinstance(port, int) or not 0 < port < 65536:
            return None
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return None
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        if parsed.is_loopback or parsed.is_unspecified:
            return None
        address = str(parsed)
        protocol = get("fd.l4proto")
        protocol = protocol if protocol in ("tcp", "udp", "sctp") else "tcp"
        name = get("fd.rip.name") or get("fd.sip.name")
        asked = name.lower().rstrip(".") if isinstance(name, str) else ""
        if not _is_name(asked):  # whoever keeps the zone of an address writes there what he likes
            asked = ""
        known = [host for host in (self._names.get(address), asked) if host]
        return Destination(protocol, (known or [address])[0], port), [*known[1:], address]

    @staticmethod
    def _alert(event: RuntimeEvent, place: Place, baseline: Baseline, destination: Destination, *, room: bool = True,
               reason: str = "") -> Alert:
        get = event.fields.get
        new = baseline.state == "learning" and room
        rule = "New destination beside the image before" if new else "Connection outside of the image's baseline"
        if not reason:
            known = len(baseline.destinations | baseline.carried)
            reason = (f"{_MOST} destinations are learned, and no more are" if not room else
                      f"the baseline of {baseline.previous[:19]} does not have it" if new else
                      f"{known} destinations are {baseline.state}, not this one")
        fields: dict[str, Any] = {
            **where(place), "proc.exepath": get("proc.exepath"), "proc.name": get("proc.name"),
            "custody.drift": "egress", "custody.drift.reason": reason, "custody.egress.destination": str(destination),
            "custody.egress.state": baseline.state, "custody.egress.previous": baseline.previous or None}
        return Alert(rule=rule, priority="Notice" if new else "Warning", source="custody", output_fields=fields,
                     tags=(*TAGS, "network"), time=event.at, hostname=place.node,
                     output=f"{rule}: {destination} from {described(place)}: {reason}")


def _repository(image: str) -> str:
    """Without tag and digest."""
    image = image.partition("@")[0]
    folder, slash, base = image.rpartition("/")
    return f"{folder}{slash}{base.partition(':')[0]}"


def to_json(baseline: Baseline) -> dict[str, Any]:
    """For `export`, and `of_json`."""
    return {"digest": baseline.digest, "image": baseline.image, "state": baseline.state, "since": baseline.since,
            "destinations": sorted(map(str, baseline.destinations)), "carried": sorted(map(str, baseline.carried)),
            "previous": baseline.previous}


def of_json(value: Any, where: str = "baseline") -> Baseline:
    """Raises MalformedError, naming the field."""
    if not isinstance(value, dict):
        raise MalformedError(where, got=value, expected="an object")
    if unknown := set(value) - {"digest", "image", "state", "since", "destinations", "carried", "previous"}:
        raise MalformedError(f"{where}.{min(unknown)}", got="an unknown field", expected="digest, image, state, …")
    digest = value.get("digest")
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise MalformedError(f"{where}.digest", got=digest, expected="sha256: and 64 hexadecimal digits")
    state = value.get("state", "declared")
    if state not in ("learning", "learned", "declared"):
        raise MalformedError(f"{where}.state", got=state, expected="learning, learned or declared")
    since = value.get("since", 0)
    if not isinstance(since, int) or isinstance(since, bool) or not 0 <= since < 1 << 63:
        raise MalformedError(f"{where}.since", got=since, expected="nanoseconds since 1970")
    sets: dict[str, set[Destination]] = {}
    for field in ("destinations", "carried"):
        listed = value.get(field, [])
        if not isinstance(listed, list) or len(listed) > _MOST or not all(isinstance(text, str) for text in listed):
            raise MalformedError(f"{where}.{field}", got=type(listed).__name__, expected=f"at most {_MOST} texts")
        sets[field] = {parse(text, f"{where}.{field}[{place}]") for place, text in enumerate(listed)}
    texts = {field: value.get(field, "") for field in ("image", "previous")}
    for field, said in texts.items():
        if not isinstance(said, str) or len(said) > 1000:
            raise MalformedError(f"{where}.{field}", got=said, expected="text")
    return Baseline(digest=digest, image=texts["image"], previous=texts["previous"], state=state, since=since,
                    destinations=sets["destinations"], carried=sets["carried"])
