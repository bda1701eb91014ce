"""The kernel's connection tracking: `conntrack -L`, `conntrack -E`, both with `-o timestamp,extended,id`, and
/proc/net/nf_conntrack.

(conntrack-tools 1.4.7; net/netfilter/nf_conntrack_standalone.c.) A line has the connection twice: as its client began
it, and the reply that is expected. Where an address was translated, the reply comes from the pod behind the Service:
that is the destination. An entry is on the node through which it went, in seconds that are counted down, so that only
`-o timestamp` says when.
"""

from __future__ import annotations

from custody.errors import MalformedError
from custody.formats.flows.record import PROTOCOLS, Flow, Passed, Side, Verdict, address

NAME = "conntrack"
_EVENTS = (b"[NEW]", b"[UPDATE]", b"[DESTROY]")
_EMPTY = Passed("an empty line, or what conntrack says of itself")
_WITH_PORTS = (b"tcp", b"udp", b"sctp", b"dccp", b"udplite")
_LONGEST = 256
"""Bytes of one tuple; two IPv6 addresses in full and two ports have 107."""


def read(line: bytes) -> Flow | Passed:
    """Raises MalformedError, naming the field."""
    begin = line.find(b"src=")
    words = line[:_LONGEST if begin < 0 else min(begin, _LONGEST)].split()
    at = 0
    if words and words[0][:1] == b"[" and words[0][1:2].isdigit():
        at = _moment(words.pop(0))
    event = words.pop(0) if words and words[0] in _EVENTS else b""
    if words and words[0] in (b"ipv4", b"ipv6"):
        del words[:2]
    if not words or words[0] == b"conntrack":
        return _EMPTY
    back = line.find(b" src=", begin + 4) + 1
    if begin < 0 or not back or len(words) < 2 or not words[1].isdigit() or len(words[1]) > 3:
        raise MalformedError("", got=line[:100].decode("ascii", "replace"),
                             expected="a protocol, its number, the tuple of the connection and that of its reply")
    number = int(words[1])
    name = PROTOCOLS.get(number) or f"protocol {number}"
    state = words[-1] if len(words) > 2 and words[-1].isupper() else b""
    ported = words[0] in _WITH_PORTS
    source, _ = _tuple(line, begin, ported=False)
    destination, port = _tuple(line, back, ported=ported)
    unreplied = b"[UNREPLIED]" in line
    # A connection that is refused is replied to, and never assured; a datagram needs no answer.
    failed = b"[ASSURED]" not in line if name == "TCP" else unreplied and name not in ("UDP", "ICMP", "ICMPv6")
    verdict = Verdict.UNANSWERED if failed else Verdict.ALLOWED
    return Flow(source=Side(source), destination=Side(destination), protocol=name, port=port, verdict=verdict,
                first=at, last=at, count=1 if _counts(event, name, state, unreplied) else 0,
                answered=not (failed or unreplied))


def _counts(event: bytes, protocol: str, state: bytes, unreplied: bool) -> bool:
    """One event of each connection: with TCP that it is established, else that it is new."""
    if not event:
        return True
    if protocol == "TCP":
        return state == b"ESTABLISHED" and event != b"[DESTROY]"
    if protocol == "SCTP":
        return state == b"ESTABLISHED" or (unreplied and event == b"[NEW]")
    return event == b"[NEW]"


def _tuple(line: bytes, begin: int, *, ported: bool) -> tuple[str, int]:
    """Who sends it, and from which port: of a reply, who listens."""
    words = line[begin:begin + _LONGEST].split(None, 4)
    if len(words) < 2 or words[1][:4] != b"dst=":
        raise MalformedError("dst=", got=line[begin:begin + 100].decode("ascii", "replace"), expected="src= and dst=")
    sender = address(words[0][4:].decode("ascii", "replace"))
    if not ported:
        return sender, 0
    text = words[2][6:] if len(words) > 2 and words[2][:6] == b"sport=" else b""
    if not (text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise MalformedError("sport= of the reply", got=text[:60].decode("ascii", "replace") or "nothing",
                             expected="0 to 65535")
    return sender, int(text)


def _moment(word: bytes) -> int:
    """`[1796070742.454774]`"""
    whole = word[1:-1].partition(b".")[0]
    if word[-1:] != b"]" or not (whole.isdigit() and len(whole) <= 12):
        raise MalformedError("timestamp", got=word[:60].decode("ascii", "replace"), expected="[SECONDS.MICROSECONDS]")
    return int(whole)
