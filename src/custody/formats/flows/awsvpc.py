"""Flow logs of AWS VPCs as text: version 2's fields, or those of a custom format in the order of the header.

(docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html.) A file of S3 begins with a header; what comes from
CloudWatch may have a time before each record and no header. A record is one direction of a connection in a window of
some minutes: `tcp-flags` says which side began it, else the ports do. `pkt-srcaddr` and `pkt-dstaddr` are the pods'
addresses where `srcaddr` is an interface's. SKIPDATA is a window in which records were lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.formats.flows.record import (
    REPLY,
    UNCLEAR,
    Flow,
    Passed,
    Side,
    Verdict,
    address,
    begun_by_source,
    protocol_of,
)

NAME = "aws-vpc"
DEFAULT = ("version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets",
           "bytes", "start", "end", "action", "log-status")
FIELDS = frozenset({
    *DEFAULT, "vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr", "region",
    "az-id", "sublocation-type", "sublocation-id", "pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction",
    "traffic-path", "ecs-cluster-arn", "ecs-cluster-name", "ecs-container-instance-arn", "ecs-container-instance-id",
    "ecs-container-id", "ecs-second-container-id", "ecs-service-name", "ecs-task-definition-arn", "ecs-task-arn",
    "ecs-task-id", "reject-reason", "resource-id", "encryption-status"})
"""Of versions 2 to 10; a header may have others beside those that are read."""
_NEEDED = ("dstport", "protocol", "action")
_NOTHING = Passed("no traffic in the window (NODATA)")
_SKIPPED = Passed("records of a window were lost (SKIPDATA)", lost=1)
_HEADER = Passed("a header")
_EMPTY = Passed("an empty line")
_SYN, _ACK = 2, 16
"""AWS keeps SYN and SYN with ACK in `tcp-flags`, and no ACK alone."""


def is_header(words: Sequence[str]) -> bool:
    return "dstport" in words and "protocol" in words


def reader(fields: Sequence[str] = ()) -> Callable[[bytes], Flow | Passed]:
    """Reads lines in the order of `fields`, or by the header once there is one; version 2 until then.

    Raises UnsupportedError for fields from which no connection can be made.
    """
    current = _columns(fields or DEFAULT)

    def read(line: bytes) -> Flow | Passed:
        """Raises MalformedError, naming the field, and UnsupportedError for a header."""
        nonlocal current
        words = line.decode("ascii", "replace").split(None, 200)
        if not words:
            return _EMPTY
        if not words[0][:1].isdigit() and is_header(words):
            current = _columns(words)
            return _HEADER
        columns, width = current
        if len(words) == width + 1 and words[0][-1:] == "Z" and words[0][4:5] == "-":
            del words[0]  # CloudWatch's time of arrival
        if len(words) != width:
            raise MalformedError("", got=f"{len(words)} fields", expected=f"{width}",
                                 hint="--fields for a custom format without a header")
        words.append("-")  # where a column is that the format does not have
        return _record(words, columns)

    return read


class _Columns(NamedTuple):
    """Where fields are; -1 of those that are not there."""

    status: int
    protocol: int
    source: int
    real_source: int
    destination: int
    real_destination: int
    source_port: int
    port: int
    flags: int
    action: int
    direction: int
    start: int
    end: int


_NAMES = ("log-status", "protocol", "srcaddr", "pkt-srcaddr", "dstaddr", "pkt-dstaddr", "srcport", "dstport",
          "tcp-flags", "action", "flow-direction", "start", "end")


def _columns(fields: Sequence[str]) -> tuple[_Columns, int]:
    if len(set(fields)) != len(fields):
        raise MalformedError("fields", got="a field twice", expected="each once")
    if absent := [field for field in _NEEDED if field not in fields]:
        raise UnsupportedError("fields", f"no connection can be told without {', '.join(absent)}")
    for name in ("src", "dst"):
        if f"{name}addr" not in fields and f"pkt-{name}addr" not in fields:
            raise UnsupportedError("fields", f"no connection can be told without {name}addr")
    return _Columns(*(list(fields).index(name) if name in fields else -1 for name in _NAMES)), len(fields)


def _record(words: list[str], columns: _Columns) -> Flow | Passed:
    status = words[columns.status]
    if status == "NODATA":
        return _NOTHING
    if status == "SKIPDATA":
        return _SKIPPED
    if status not in ("OK", "-"):
        raise MalformedError("log-status", got=status[:60], expected="OK, NODATA or SKIPDATA")
    protocol = protocol_of(_number(words[columns.protocol], "protocol", 255))
    port, guessed = 0, False
    if protocol in ("TCP", "UDP", "SCTP"):
        port = _number(words[columns.port], "dstport", 65535)
        flags, begun = words[columns.flags], None
        if protocol == "TCP" and flags != "-" and (number := _number(flags, "tcp-flags", 255)) & _SYN:
            begun = not number & _ACK
        if begun is None:
            asked = words[columns.source_port]
            begun = begun_by_source(_number(asked, "srcport", 65535), port) if asked != "-" else None
            guessed = True
        if begun is None:
            return UNCLEAR
        if not begun:
            return REPLY
    action = words[columns.action]
    if action not in ("ACCEPT", "REJECT"):
        raise MalformedError("action", got=action[:60], expected="ACCEPT or REJECT")
    direction = words[columns.direction]
    source, destination = words[columns.real_source], words[columns.real_destination]
    return Flow(source=Side(address(words[columns.source] if source == "-" else source)),
                destination=Side(address(words[columns.destination] if destination == "-" else destination)),
                protocol=protocol, port=port, verdict=Verdict.ALLOWED if action == "ACCEPT" else Verdict.DENIED,
                first=_time(words[columns.start]), last=_time(words[columns.end]), guessed=guessed,
                observer="destination" if direction == "ingress" else "source" if direction == "egress" else "")


def _time(text: str) -> int:
    return 0 if text == "-" else _number(text, "start or end", 1 << 40)


def _number(text: str, field: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and (number := int(text)) <= most):
        raise MalformedError(field, got=text[:60], expected=f"0 to {most}")
    return number
