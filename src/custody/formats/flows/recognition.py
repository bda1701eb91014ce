"""Which form a flow log has, by its first line that has one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.formats.flows import awsvpc, calico, conntrack, gcpvpc, hubble
from custody.formats.flows.lines import MAX_LINE, Line, lines
from custody.formats.flows.record import Flow, Passed

Read = Callable[[bytes], Flow | Passed]
FORMATS = (hubble.NAME, calico.NAME, conntrack.NAME, awsvpc.NAME, gcpvpc.NAME)
_LOOKED_AT = 100
_AWS = re.compile(rb"(?:\d{4}-\d\d-\d\dT\S{1,30} )?\d{1,2} (?:\d{12}|unknown|-) eni-\S{1,40} ")
_CONNTRACK = re.compile(rb"(?:\[\d{1,12}(?:\.\d{1,9})?\]\s{0,20})?(?:\[[A-Z]{1,20}\] )?(?:ipv[46] {1,20}\d{1,3} )?"
                        rb"[a-z0-9]{1,16} {1,20}\d{1,3} ")
_ARRAY = UnsupportedError(
    "--format", "a JSON document over several lines is not read", hint="one object a line: jq -c '.[]' FILE")


Told = tuple[int, Flow | Passed | MalformedError]
"""The number of a line, and what it says: a flow, why it is none, or why it cannot be read."""


def read(pieces: Iterable[bytes], where: str, form: str = "", fields: Sequence[str] = ()) -> Iterator[Told]:
    """Every line of a file that is not empty, in its order; `form` is one of FORMATS, or empty to recognise it.

    `fields` are those of AWS's custom format where the file has no header. Raises UnsupportedError for what no format
    is, and for binary files; MalformedError for gzip that is broken.
    """
    source = lines(pieces, where)
    head: list[Line] = []
    if not form:
        head = list(islice((line for line in source if line[1] is None or line[1].strip()), _LOOKED_AT))
        form = _recognised(head, where)
    if fields and form != awsvpc.NAME:
        raise UsageError(f"--fields: {where} is {form}, expected {awsvpc.NAME}")
    reader = _READERS[form] if form != awsvpc.NAME else awsvpc.reader(fields)
    for number, content in chain(head, source):
        if content is None:
            yield number, MalformedError("", got=f"more than {MAX_LINE} bytes", expected="a shorter line")
            continue
        if not content or content.isspace():
            continue
        try:
            yield number, reader(content)
        except MalformedError as error:
            yield number, error


_READERS: dict[str, Read] = {hubble.NAME: hubble.read, calico.NAME: calico.read, conntrack.NAME: conntrack.read,
                             gcpvpc.NAME: gcpvpc.read}


def _recognised(head: Iterable[Line], where: str) -> str:
    """A line that has no form of any is passed over here, and told of as one that cannot be read."""
    first = ""
    for _, content in head:
        if content is None:
            continue
        if content.lstrip()[:1] in (b"[", b"{") and (form := _of_json(content)):
            return form
        if _AWS.match(content) or awsvpc.is_header(content.decode("ascii", "replace").split(None, 200)):
            return awsvpc.NAME
        if _CONNTRACK.match(content.lstrip()) and b"src=" in content:
            return conntrack.NAME
        first = first or content[:60].decode("utf-8", "replace")
    if first.strip() in ("[", "{"):
        raise _ARRAY
    if not first:
        raise MalformedError(where, got="no line", expected="a flow log")
    raise UnsupportedError(where, f"no format of flow logs begins like {first!r}",
                           hint=f"--format {'|'.join(FORMATS)}")


def _of_json(content: bytes) -> str:
    if content.lstrip()[:1] == b"[" and content.lstrip()[1:2] in (b"", b"{", b"\n"):
        raise _ARRAY
    if b'"num_flows"' in content or b'"dest_name_aggr"' in content or b'"source_name_aggr"' in content:
        return calico.NAME
    if b'"dest_ip"' in content and b'"connection"' in content:
        return gcpvpc.NAME
    if b'"flow"' in content or b'"verdict"' in content or b'"lost_events"' in content or b'"node_status"' in content:
        return hubble.NAME
    return ""
