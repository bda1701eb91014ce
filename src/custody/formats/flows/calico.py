"""Flow logs of Calico Enterprise and Cloud as their files have them, one JSON object a line.

(docs.tigera.io, "Flow log data types"; the field names of its file and Elasticsearch output, `_source` of the latter
too.) Both nodes report: `reporter` says which. What was aggregated is `-` or null, and names become `web-7d4b-*`.
`num_flows` counts connections. Replies are in the record of their connection.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from custody.errors import MalformedError
from custody.formats.flows.record import Flow, Kind, Passed, Side, Verdict, address, protocol_of, seconds

NAME = "calico"
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_PROTOCOLS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP", "icmp": "ICMP", "icmp6": "ICMPv6", "icmpv6": "ICMPv6"}
_KINDS = {"wep": Kind.POD, "hep": Kind.NODE, "net": Kind.OUTSIDE, "ns": Kind.OUTSIDE}
_NOTHING = ("-", "")


class _Labels(msgspec.Struct, gc=False):
    labels: tuple[str, ...] = ()


class _Log(msgspec.Struct, gc=False):
    action: Literal["allow", "deny"]
    reporter: Literal["src", "dst"]
    proto: str | int
    source_type: str
    dest_type: str
    start_time: int | str = 0
    end_time: int | str = 0
    source_ip: str | None = None
    source_name: str = "-"
    source_name_aggr: str = "-"
    source_namespace: str = "-"
    source_labels: _Labels | None = None
    dest_ip: str | None = None
    dest_name: str = "-"
    dest_name_aggr: str = "-"
    dest_namespace: str = "-"
    dest_port: _Port | None = None
    dest_labels: _Labels | None = None
    dest_domains: tuple[str, ...] | None = None
    num_flows: _Count = 1


class _Hit(msgspec.Struct, gc=False):
    source: _Log = msgspec.field(name="_source")


_decode = msgspec.json.Decoder(_Log).decode
_decode_hit = msgspec.json.Decoder(_Hit).decode


def read(line: bytes) -> Flow | Passed:
    """Raises MalformedError, naming the field."""
    try:
        log = _decode_hit(line).source if b'"_source"' in line else _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("", got=str(error)[:200], expected="a flow log of Calico") from None
    if isinstance(log.proto, int) or (log.proto.isdecimal() and log.proto.isascii()):
        protocol = protocol_of(int(str(log.proto)[:4]))
    elif not (protocol := _PROTOCOLS.get(log.proto.lower(), "")):
        raise MalformedError("proto", got=log.proto[:60], expected="a protocol's name or number")
    if protocol in ("TCP", "UDP", "SCTP") and not log.dest_port:
        return Passed("the port was aggregated away")
    return Flow(
        source=_side(log.source_type, log.source_ip, log.source_namespace, log.source_name, log.source_name_aggr,
                     log.source_labels, None),
        destination=_side(log.dest_type, log.dest_ip, log.dest_namespace, log.dest_name, log.dest_name_aggr,
                          log.dest_labels, log.dest_domains),
        protocol=protocol, port=log.dest_port or 0, count=log.num_flows,
        verdict=Verdict.ALLOWED if log.action == "allow" else Verdict.DENIED,
        first=_moment(log.start_time), last=_moment(log.end_time),
        observer="source" if log.reporter == "src" else "destination")


def _side(kind: str, text: str | None, namespace: str, name: str, aggregated: str, labels: _Labels | None,
          domains: tuple[str, ...] | None) -> Side:
    if kind not in _KINDS:
        raise MalformedError("source_type or dest_type", got=kind[:60], expected="wep, hep, ns or net")
    pod = prefix = ""
    if kind == "wep":
        if name not in _NOTHING:
            pod = name
        elif aggregated.endswith("*"):
            prefix = aggregated[:-1]
        elif aggregated not in _NOTHING:
            pod = aggregated
    return Side(address=address(text) if text else "", namespace="" if namespace in _NOTHING else namespace, pod=pod,
                prefix=prefix, labels=labels.labels if labels else (), kind=_KINDS[kind], names=domains or ())


def _moment(time: int | str) -> int:
    if isinstance(time, str):
        return seconds(time, "start_time or end_time")
    return time if 0 <= time < 1 << 40 else 0
