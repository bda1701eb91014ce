"""Flow logs of Google Cloud's VPCs: log entries one JSON object a line, as sinks export them.

(cloud.google.com/vpc/docs/about-flow-logs-records.) A record is one direction of a connection in an interval, sampled:
what it does not have may have been all the same. Numbers of 64 bits are texts. With metadata it names GKE's pods.
"""

from __future__ import annotations

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
    protocol_of,
    seconds,
)

NAME = "gcp-vpc"
_Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_KINDS = {"DEPLOYMENT": "Deployment", "REPLICA_SET": "ReplicaSet", "STATEFUL_SET": "StatefulSet", "JOB": "Job",
          "DAEMON_SET": "DaemonSet", "CRON_JOB": "CronJob", "REPLICATION_CONTROLLER": "ReplicationController"}


class _Connection(msgspec.Struct, gc=False):
    src_ip: str
    dest_ip: str
    protocol: int
    src_port: _Port = 0
    dest_port: _Port = 0


class _Workload(msgspec.Struct, gc=False):
    workload_name: str = ""
    workload_type: str = ""


class _Pod(msgspec.Struct, gc=False):
    pod_name: str = ""
    pod_namespace: str = ""
    pod_workload: _Workload | None = None


class _Gke(msgspec.Struct, gc=False):
    pod: _Pod | None = None


class _Record(msgspec.Struct, gc=False):
    connection: _Connection
    reporter: str = ""
    start_time: str = ""
    end_time: str = ""
    src_gke_details: _Gke | None = None
    dest_gke_details: _Gke | None = None


class _Entry(msgspec.Struct, gc=False):
    payload: _Record | None = msgspec.field(default=None, name="jsonPayload")
    connection: _Connection | None = None


_decode = msgspec.json.Decoder(_Entry).decode
_decode_record = msgspec.json.Decoder(_Record).decode


def read(line: bytes) -> Flow | Passed:
    """A LogEntry, or its payload alone. Raises MalformedError, naming the field."""
    try:
        entry = _decode(line)
        record = entry.payload or (_decode_record(line) if entry.connection is not None else None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("", got=str(error)[:200], expected="a VPC flow log of Google Cloud") from None
    if record is None:
        raise MalformedError("jsonPayload.connection", got="nothing", expected="a VPC flow log of Google Cloud")
    wire = record.connection
    protocol = protocol_of(wire.protocol)
    port = 0
    if protocol in ("TCP", "UDP", "SCTP"):
        begun = begun_by_source(wire.src_port, wire.dest_port)
        if begun is None:
            return UNCLEAR
        if not begun:
            return REPLY
        port = wire.dest_port
    return Flow(source=_side(wire.src_ip, record.src_gke_details), destination=_side(
        wire.dest_ip, record.dest_gke_details), protocol=protocol, port=port, verdict=Verdict.ALLOWED,
        first=seconds(record.start_time, "start_time") if record.start_time else 0,
        last=seconds(record.end_time, "end_time") if record.end_time else 0, guessed=bool(port),
        observer="source" if record.reporter.startswith("SRC") else
        "destination" if record.reporter.startswith("DEST") else "")


def _side(text: str, details: _Gke | None) -> Side:
    pod = details.pod if details and details.pod else _Pod()
    owner = pod.pod_workload or _Workload()
    kind = _KINDS.get(owner.workload_type)
    return Side(address=address(text), namespace=pod.pod_namespace, pod=pod.pod_name,
                workload=f"{kind}/{owner.workload_name}" if kind and owner.workload_name else "",
                kind=Kind.POD if pod.pod_name else Kind.UNKNOWN)
