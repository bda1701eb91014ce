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
_EVENTS = ("[NEW]", "[UPDATE]", "[DESTROY]")
_PORTS = ("TCP", "UDP", "SCTP", "DCCP", "UDPLITE")
_EMPTY = Passed("an empty line, or what conntrack says of itself")
_MOST = 200
"""Words of a line; the longest that conntrack writes has about forty."""


def read(line: bytes) -> Flow | Passed:
    """Raises MalformedError, naming the field."""
    words = line.decode("ascii", "replace").split(None, _MOST)
    at = 0
    if words and words[0][0] == "[" and words[0][1:2].isdigit():
        at = _moment(words.pop(0))
    event = words.pop(0) if words and words[0] in _EVENTS else ""
    if words and words[0] in ("ipv4", "ipv6"):
        del words[:2]
    if not words or words[0] == "conntrack":
        return _EMPTY
    if len(words) < 4 or not words[1].isdecimal() or len(words[1]) > 3:
        raise MalformedError("", got=" ".join(words[:3])[:100], expected="a protocol, its number and a tuple src= dst=")
    number = int(words[1])
    name = PROTOCOLS.get(number) or f"protocol {number}"
    state = words[3] if words[3].isupper() and words[2].isdecimal() else words[2] if words[2].isupper() else ""
    forward, backward = _tuples(words)
    protocol, port = name, 0
    if words[0].upper() in _PORTS:
        port = _port(backward.get("sport", forward.get("dport", "")))
    unreplied = "[UNREPLIED]" in words
    # a datagram needs no answer
    verdict = Verdict.UNANSWERED if unreplied and name not in ("UDP", "ICMP", "ICMPv6") else Verdict.ALLOWED
    return Flow(source=Side(address=address(forward["src"])), destination=Side(address=address(backward["src"])),
                protocol=protocol, port=port, verdict=verdict, first=at, last=at,
                count=1 if _counts(event, name, state, unreplied) else 0)


def _counts(event: str, protocol: str, state: str, unreplied: bool) -> bool:
    """One event of each connection: with TCP that it is established, else that it is new."""
    if not event:
        return True
    if protocol == "TCP":
        return state == "ESTABLISHED" and event != "[DESTROY]"
    return event == "[NEW]" if protocol != "SCTP" else state == "ESTABLISHED" or (unreplied and event == "[NEW]")


def _tuples(words: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The first occurrences of the fields are the original's, the second ones the reply's; nobody reads later ones."""
    forward: dict[str, str] = {}
    backward: dict[str, str] = {}
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if equals and key in ("src", "dst", "sport", "dport"):
            (backward if key in forward else forward).setdefault(key, value)
    if not ("src" in forward and "dst" in forward and "src" in backward and "dst" in backward):
        raise MalformedError("src= dst=", got=f"{len(forward) + len(backward)} fields of tuples",
                             expected="the tuple of the connection and that of its reply")
    return forward, backward


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535):
        raise MalformedError("sport= of the reply", got=text[:60] or "nothing", expected="0 to 65535")
    return int(text)


def _moment(word: str) -> int:
    """`[1796070742.454774]`"""
    whole = word[1:-1].partition(".")[0]
    if word[-1] != "]" or not (whole.isdecimal() and whole.isascii() and len(whole) <= 12):
        raise MalformedError("timestamp", got=word[:60], expected="[SECONDS.MICROSECONDS]")
    return int(whole)
