"""`custody netpol explain`: may this reach that, and which rule says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from custody.cli import contents, netpol_documents
from custody.errors import DeniedError, MalformedError, NotJudgedError, UsageError
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.network import names
from custody.network.addresses import address_text
from custody.network.connectivity import Connectivity
from custody.network.intervals import EMPTY, Intervals
from custody.network.judgement import End, Half, Judgement, Spoken, Verdict, judge
from custody.network.ports import port, split, typed
from custody.services.documents import Format, encode, json_bytes


class _Told(NamedTuple):
    source: str
    target: str
    port: str
    judgement: Judgement


def _text(told: list[_Told], _now: datetime) -> bytes:
    return encode("".join(visible(line) + "\n" for answer in told for line in _lines(answer)))


def _lines(told: _Told) -> Iterator[str]:
    judgement = told.judgement
    yield f"{told.source} → {told.target} {told.port}: {judgement.verdict.value}"
    for half, name in ((judgement.egress, told.source), (judgement.ingress, told.target)):
        if half is None:
            continue
        yield f"  {half.direction.value} of {name}: {half.verdict.value}: {half.reason}{_place(half.decided)}"
        for passed in half.passed:
            yield f"    passed on by {passed.policy.identity} {passed.rule.where}{_place(passed)}"
        for uncertain in half.uncertain:
            yield (f"    {uncertain.policy.identity} {uncertain.rule.where} may {uncertain.rule.action.value} it: "
                   f"{'; '.join(uncertain.reasons)}")
        if half.selecting and (half.decided is None or len(half.selecting) > 1):
            yield "    selected by " + ", ".join(dict.fromkeys(str(policy.identity) for policy in half.selecting))
        for note in half.notes:
            yield f"    {note}"
    for note in judgement.notes:
        yield f"  {note}"


def _place(spoken: Spoken | None) -> str:
    return f" ({spoken.policy.where})" if spoken is not None else ""


def _json(told: list[_Told], _now: datetime) -> bytes:
    return json_bytes({"connections": [
        {"from": answer.source, "to": answer.target, "port": answer.port, "verdict": answer.judgement.verdict.value,
         "egress": _half(answer.judgement.egress), "ingress": _half(answer.judgement.ingress),
         "notes": answer.judgement.notes} for answer in told]})


def _half(half: Half | None) -> dict[str, Any] | None:
    if half is None:
        return None
    return {"verdict": half.verdict.value, "reason": half.reason, "notes": half.notes,
            "selecting": list(dict.fromkeys(str(policy.identity) for policy in half.selecting)),
            "isolating": list(dict.fromkeys(str(policy.identity) for policy in half.isolating)),
            "decided": _spoken(half.decided) if half.decided else None,
            "passed": [_spoken(spoken) for spoken in half.passed],
            "uncertain": [_spoken(spoken) for spoken in half.uncertain]}


def _spoken(spoken: Spoken) -> dict[str, Any]:
    return {"policy": str(spoken.policy.identity), "document": spoken.policy.where, "rule": spoken.rule.where,
            "name": spoken.rule.name, "action": spoken.rule.action.value, "reasons": list(spoken.reasons)}


_FORMATS = {"text": Format(_text), "json": Format(_json)}


@click.command("explain")
@netpol_documents.targets
@click.option("--from", "source", required=True, metavar="NAME|ADDRESS", help="Who connects: NAMESPACE/POD, "
              "NAMESPACE/WORKLOAD, NAMESPACE/SERVICE, or an address.")
@click.option("--to", "target", required=True, metavar="NAME|ADDRESS", help="To whom.")
@click.option("--port", "word", required=True, metavar="PORT[/PROTOCOL]",
              help="443/TCP, or the name that the target's pods give a port; TCP where no protocol is named.")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: text.")
def command(targets: tuple[str, ...], kubeconfig: Path | None, source: str, target: str, word: str,
            chosen: tuple[str, ...]) -> None:
    """May --from reach --to on --port, and which policy and rule say so, for each direction.

    Of a name that means several pods, those that differ are told apart. Exit 3 where a connection is denied, 4 where
    only that depends on the network plugin or on something that is not modelled.
    """
    plan = contents.outputs(chosen, _FORMATS, "text")
    engine = netpol_documents.engine(netpol_documents.load(targets, kubeconfig))
    sources, ends = (names.ends(name, engine.topology, flag) for name, flag in ((source, "--from"), (target, "--to")))
    if sources[0].pod is None and ends[0].pod is None:
        raise UsageError(f"{source} and {target} are addresses of no pods: no policy speaks of them")
    told = [_Told(_name(left), _name(right), "/".join(map(str, reversed(split(number)))),
                  judge(engine, left, right, number))
            for left in _distinct(engine, sources) for known in _distinct(engine, ends)
            for right in (_beside(engine, left, known, ends),) for number in _numbers(word, right)]
    contents.deliver(plan, _FORMATS, told, system_clock())
    verdicts = {answer.judgement.verdict for answer in told}
    if Verdict.DENIED in verdicts:
        raise DeniedError(f"{source} cannot reach {target} on {word}" if len(verdicts) == 1 else
                          f"not all of {source} can reach all of {target} on {word}")
    if Verdict.DEPENDS in verdicts:
        raise NotJudgedError(f"whether {source} can reach {target} on {word} is not said by the policies alone")


def _name(end: End) -> str:
    return end.pod.place if end.pod is not None else address_text(end.address or 0)


def _distinct(engine: Connectivity, listed: list[End]) -> list[End]:
    """A pod of each class of equal ones."""
    kept: dict[int, End] = {}
    for end in listed:
        kept.setdefault(engine.classes.of(end.pod) if end.pod is not None else -1, end)
    return list(kept.values())


def _beside(engine: Connectivity, left: End, right: End, listed: list[End]) -> End:
    """Another pod of the right end's class, where the left end is the same pod: it is not to meet itself."""
    if left.pod is None or right.pod is None or left.pod.place != right.pod.place:
        return right
    number = engine.classes.of(right.pod)
    return next((end for end in listed if end.pod is not None and end.pod.place != left.pod.place
                 and engine.classes.of(end.pod) == number), right)


def _numbers(word: str, target: End) -> list[int]:
    """The port's numbers as the engine knows them."""
    name, slash, protocol = word.partition("/")
    if name[:1].isdigit() and name.replace("-", "").isdecimal():
        chosen = typed(word)
        if len(chosen) != 1:
            raise MalformedError("--port", got=word, expected="a single port",
                                 hint="`custody netpol connectivity` takes ranges")
    else:
        chosen = _named(name, protocol.upper() if slash else "", target)
        if not chosen:
            raise MalformedError("--port", got=word,
                                 expected=f"a port's number, or the name of a port of {_name(target)}")
    return [first for first, _ in chosen]


def _named(name: str, protocol: str, target: End) -> Intervals:
    result = EMPTY
    for named in target.pod.ports if target.pod is not None else ():
        if named.name == name and protocol in ("", named.protocol):
            result |= port(named.protocol, named.number)
    return result
