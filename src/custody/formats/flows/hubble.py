"""Flows of Cilium as `hubble observe -o json` writes them: one GetFlowsResponse, or one Flow, a line.

(Cilium, api/v1/flow/flow.proto and api/v1/observer/observer.proto, as protojson with the fields' own names.) A line is
a packet that was seen at one point, so that one connection has several. Whether it is a reply is in `is_reply`; where
that is absent, TCP's flags or the ports say it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec

from custody.errors import MalformedError
from custody.formats.flows.record import (
    REPLY,
    UNCLEAR,
    Flow,
    Kind,
    Passed,
    Side,
    Verdict,
    address,
    begun_by_source,
    seconds,
)

NAME = "hubble"
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_VERDICTS = ("VERDICT_UNKNOWN", "FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED")
_BY_POLICY = frozenset({"POLICY_DENIED", "POLICY_DENY", "AUTH_REQUIRED"})
_BY_POLICY_NUMBERS = frozenset({133, 181, 189})
_ADDED = ("k8s:io.cilium.", "k8s:io.kubernetes.pod.namespace=")
_OF_NAMESPACE = "k8s:io.cilium.k8s.namespace.labels."
_RESERVED = {"reserved:host": Kind.NODE, "reserved:remote-node": Kind.NODE, "reserved:kube-apiserver": Kind.NODE,
             "reserved:world": Kind.OUTSIDE, "reserved:world-ipv4": Kind.OUTSIDE, "reserved:world-ipv6": Kind.OUTSIDE}


class _Flags(msgspec.Struct, gc=False):
    SYN: bool = False
    ACK: bool = False
    RST: bool = False


class _Ports(msgspec.Struct, gc=False):
    source_port: _Port = 0
    destination_port: _Port = 0
    flags: _Flags | None = None


class _Icmp(msgspec.Struct, gc=False):
    type: int = 0


class _Layer4(msgspec.Struct, gc=False):
    TCP: _Ports | None = None
    UDP: _Ports | None = None
    SCTP: _Ports | None = None
    ICMPv4: _Icmp | None = None
    ICMPv6: _Icmp | None = None


class _Addresses(msgspec.Struct, gc=False):
    source: str = ""
    destination: str = ""


class _Workload(msgspec.Struct, gc=False):
    name: str = ""
    kind: str = ""


class _Endpoint(msgspec.Struct, gc=False):
    cluster_name: str = ""
    namespace: str = ""
    labels: tuple[str, ...] = ()
    pod_name: str = ""
    workloads: tuple[_Workload, ...] = ()


_EMPTY = _Endpoint()


class _Flow(msgspec.Struct, gc=False):
    time: str | None = None
    verdict: str | int = ""
    drop_reason: int = 0
    drop_reason_desc: str | int = ""
    IP: _Addresses | None = None
    l4: _Layer4 | None = None
    source: _Endpoint | None = None
    destination: _Endpoint | None = None
    destination_names: tuple[str, ...] = ()
    traffic_direction: str | int = ""
    is_reply: bool | None = None
    node_name: str = ""
    """`cluster/node` where clusters have names."""


class _Lost(msgspec.Struct, gc=False):
    num_events_lost: int | str = 0
    source: str | int = ""


class _Line(_Flow, gc=False):
    flow: _Flow | None = None
    lost_events: _Lost | None = None
    node_status: msgspec.Raw = msgspec.Raw()
    agent_event: msgspec.Raw = msgspec.Raw()
    debug_event: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Line).decode


def read(line: bytes) -> Flow | Passed:
    """Raises MalformedError, naming the field."""
    try:
        answer = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("", got=str(error)[:200], expected="a flow of Hubble") from None
    if answer.flow is not None:
        return _flow(answer.flow)
    if answer.lost_events is not None:
        return Passed("Hubble says that it lost events", _lost(answer.lost_events.num_events_lost))
    if answer.verdict or answer.IP is not None or answer.source is not None:
        return _flow(answer)
    if answer.node_status or answer.agent_event or answer.debug_event:
        return Passed("an event of Hubble or of its agent that is no flow")
    raise MalformedError("flow", got="nothing", expected="a flow of Hubble")


def _flow(flow: _Flow) -> Flow | Passed:
    verdict = _VERDICTS[flow.verdict] if isinstance(flow.verdict, int) and 0 <= flow.verdict < len(_VERDICTS) \
        else flow.verdict
    if verdict == "DROPPED":
        if flow.drop_reason_desc not in _BY_POLICY and flow.drop_reason not in _BY_POLICY_NUMBERS \
                and flow.drop_reason_desc not in _BY_POLICY_NUMBERS:
            return Passed("dropped for another reason than a policy")
        became = Verdict.DENIED
    elif verdict in ("FORWARDED", "REDIRECTED", "AUDIT", "TRACED"):
        became = Verdict.ALLOWED
    elif verdict in ("VERDICT_UNKNOWN", "", "ERROR", "TRANSLATED"):
        return Passed("an event without a verdict, such as an address that was translated")
    else:
        raise MalformedError("verdict", got=str(verdict)[:60], expected=", ".join(_VERDICTS))
    if flow.is_reply:
        return REPLY
    protocol, ports, echo = _protocol(flow.l4)
    if not protocol:
        return Passed("neither TCP, UDP, SCTP nor ICMP")
    guessed = False
    if flow.is_reply is None:
        if ports is not None:
            begun, guessed = _begun(ports)
            if begun is None:
                return UNCLEAR
            if not begun:
                return REPLY
        elif not echo:
            return UNCLEAR
    addresses = flow.IP or _Addresses()
    own, named, _ = flow.node_name.partition("/")
    own = own if named else ""
    at = seconds(flow.time, "time") if flow.time else 0
    direction = flow.traffic_direction
    return Flow(
        source=_side(flow.source or _EMPTY, addresses.source, (), own),
        destination=_side(flow.destination or _EMPTY, addresses.destination, flow.destination_names, own),
        protocol=protocol, port=0 if ports is None else ports.destination_port, verdict=became, first=at, last=at,
        observer="destination" if direction in ("INGRESS", 1) else "source" if direction in ("EGRESS", 2) else "",
        guessed=guessed, answered=_answered(ports))


def _answered(ports: _Ports | None) -> bool | None:
    """The client acknowledges what it was answered; a SYN alone may be one that is refused, or dropped further on."""
    flags = ports.flags if ports is not None else None
    if flags is None or flags.RST:
        return None
    return True if flags.ACK else False if flags.SYN else None


def _protocol(layer: _Layer4 | None) -> tuple[str, _Ports | None, bool]:
    """Its name, its ports, and whether it is a request of ICMP."""
    if layer is None:
        return "", None, False
    if layer.TCP is not None:
        return "TCP", layer.TCP, False
    if layer.UDP is not None:
        return "UDP", layer.UDP, False
    if layer.SCTP is not None:
        return "SCTP", layer.SCTP, False
    if layer.ICMPv4 is not None:
        return "ICMP", None, layer.ICMPv4.type == 8
    if layer.ICMPv6 is not None:
        return "ICMPv6", None, layer.ICMPv6.type == 128
    return "", None, False


def _begun(ports: _Ports) -> tuple[bool | None, bool]:
    """Whether this side began it, and whether that is concluded from the ports."""
    flags = ports.flags
    if flags is not None and flags.SYN:
        return not flags.ACK, False
    return begun_by_source(ports.source_port, ports.destination_port), True


def _side(endpoint: _Endpoint, text: str, names: tuple[str, ...], own: str) -> Side:
    """`own` is the name of the recorder's cluster."""
    labels, namespaces, kind = _labels(endpoint.labels)
    if own and endpoint.cluster_name and endpoint.cluster_name != own:
        return Side(address=address(text) if text else "", kind=Kind.ELSEWHERE,
                    pod=f"{endpoint.cluster_name}: {endpoint.namespace}/{endpoint.pod_name}")
    workload = endpoint.workloads[0] if endpoint.workloads else None
    return Side(address=address(text) if text else "", namespace=endpoint.namespace, pod=endpoint.pod_name,
                workload=f"{workload.kind}/{workload.name}" if workload else "", labels=labels,
                namespace_labels=namespaces, names=names,
                kind=Kind.POD if endpoint.pod_name or endpoint.namespace else kind)


@lru_cache(16384)
def _labels(told: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], Kind]:
    """The pod's own, its namespace's, and what reserved ones say it is."""
    own = tuple(label[4:] for label in told if label.startswith("k8s:") and not label.startswith(_ADDED))
    namespaces = tuple(label.removeprefix(_OF_NAMESPACE) for label in told if label.startswith(_OF_NAMESPACE))
    return own, namespaces, next((_RESERVED[label] for label in told if label in _RESERVED), Kind.UNKNOWN)


def _lost(count: int | str) -> int:
    """protojson writes what has 64 bits as text."""
    text = str(count)
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise MalformedError("lost_events.num_events_lost", got=text[:60], expected="a number")
    return int(text)
