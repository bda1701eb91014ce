"""Flow logs of AWS VPCs as text: version 2's fields, or those of a custom format in the order of the header.

(docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html.) A file of S3 begins with a header; what comes from
CloudWatch may have a time before each record and no header. A record is one direction of a connection in a window of
some minutes: `tcp-flags` says which side began it, else the ports do. `pkt-srcaddr` and `pkt-dstaddr` are the pods'
addresses where `srcaddr` is an interface's. SKIPDATA is a window in which records were lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
_FLAGS_TOLD = (2, 18)
"""AWS keeps SYN and SYN with ACK in `tcp-flags`, and no ACK alone."""


def is_header(words: Sequence[str]) -> bool:
    return "dstport" in words and "protocol" in words


def reader(fields: Sequence[str] = ()) -> Callable[[bytes], Flow | Passed]:
    """Reads lines in the order of `fields`, or by the header once there is one; version 2 until then.

    Raises UnsupportedError for fields from which no connection can be made.
    """
    current = _columns(fields or DEFAULT)
    previous = [current]

    def read(line: bytes) -> Flow | Passed:
        """Raises MalformedError, naming the field, and UnsupportedError for a header."""
        words = line.decode("ascii", "replace").split(None, 200)
        if not words:
            return _EMPTY
        if is_header(words):
            previous[0] = _columns(words)
            return _HEADER
        columns, width = previous[0]
        if len(words) == width + 1 and words[0][-1:] == "Z" and words[0][4:5] == "-":
            del words[0]  # CloudWatch's time of arrival
        if len(words) != width:
            raise MalformedError("", got=f"{len(words)} fields", expected=f"{width}",
                                 hint="--fields for a custom format without a header")
        return _record(words, columns)

    return read


def _columns(fields: Sequence[str]) -> tuple[dict[str, int], int]:
    if len(set(fields)) != len(fields):
        raise MalformedError("fields", got="a field twice", expected="each once")
    columns = {field: at for at, field in enumerate(fields)}
    if absent := [field for field in _NEEDED if field not in columns]:
        raise UnsupportedError("fields", f"no connection can be told without {', '.join(absent)}")
    for name in ("src", "dst"):
        if f"{name}addr" not in columns and f"pkt-{name}addr" not in columns:
            raise UnsupportedError("fields", f"no connection can be told without {name}addr")
    return columns, len(fields)


def _record(words: list[str], columns: dict[str, int]) -> Flow | Passed:
    def cell(name: str) -> str:
        at = columns.get(name)
        return "-" if at is None else words[at]

    status = cell("log-status")
    if status == "NODATA":
        return _NOTHING
    if status == "SKIPDATA":
        return _SKIPPED
    if status not in ("OK", "-"):
        raise MalformedError("log-status", got=status[:60], expected="OK, NODATA or SKIPDATA")
    protocol = protocol_of(_number(cell("protocol"), "protocol", 255))
    source, destination = cell("pkt-srcaddr"), cell("pkt-dstaddr")
    source = cell("srcaddr") if source == "-" else source
    destination = cell("dstaddr") if destination == "-" else destination
    port, guessed = 0, False
    if protocol in ("TCP", "UDP", "SCTP"):
        port = _number(cell("dstport"), "dstport", 65535)
        flags = cell("tcp-flags")
        begun: bool | None = None
        if protocol == "TCP" and flags != "-" and (number := _number(flags, "tcp-flags", 255)) & _SYN:
            begun = not number & _ACK
        if begun is None:
            asked = cell("srcport")
            begun = begun_by_source(_number(asked, "srcport", 65535), port) if asked != "-" else None
            guessed = True
        if begun is None:
            return UNCLEAR
        if not begun:
            return REPLY
    action = cell("action")
    if action not in ("ACCEPT", "REJECT"):
        raise MalformedError("action", got=action[:60], expected="ACCEPT or REJECT")
    direction = cell("flow-direction")
    return Flow(source=Side(address=address(source)), destination=Side(address=address(destination)),
                protocol=protocol, port=port, verdict=Verdict.ALLOWED if action == "ACCEPT" else Verdict.DENIED,
                first=_time(cell("start")), last=_time(cell("end")), guessed=guessed,
                observer="destination" if direction == "ingress" else "source" if direction == "egress" else "")


def _time(text: str) -> int:
    return 0 if text == "-" else _number(text, "start or end", 1 << 40)


def _number(text: str, field: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 15 and int(text) <= most):
        raise MalformedError(field, got=text[:60], expected=f"0 to {most}")
    return int(text)
