"""What policies will do that their authors may not mean: of a policy, of a rule beside others, and of pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from custody.network.addresses import EVERYWHERE, V4, V6, number, texts
from custody.network.atoms import pieces
from custody.network.connectivity import Asked, Connectivity
from custody.network.intervals import EMPTY
from custody.network.model import Action, Direction, Pod, Policy, Rule
from custody.network.ports import ALL, key
from custody.network.selector import Scope, tests
from custody.network.tiers import Part, Space

_S = TypeVar("_S", bound=Space)

METADATA = {"169.254.169.254": "the cloud's metadata service"}
"""Addresses at which a cloud gives credentials to whoever asks."""
LEVELS = ("note", "warning", "error")
"""The lowest first."""
_DNS = key("UDP", 53)
_NAMED = 3
"""How many names a message has."""


class Finding(NamedTuple):
    code: str
    level: str
    subject: str
    """The policy, or the workload or namespace."""
    where: str
    """The document and field; empty where it is about no document."""
    message: str


def findings(engine: Connectivity) -> list[Finding]:
    """All of them, policies' first, in the order of their documents."""
    result: list[Finding] = []
    policies = engine.policies
    for policy in policies:
        result += _of_policy(engine, policy)
    result += _unheard(engine)
    result += _ties(engine)
    result += _of_namespaces(engine)
    result += _of_workloads(engine)
    return list(dict.fromkeys(result))


def _of_policy(engine: Connectivity, policy: Policy) -> Iterator[Finding]:
    name, where = str(policy.identity), policy.where
    for note in policy.notes:
        yield Finding(note.code, "warning", name, note.where, note.text)
    subjects = engine.classes.bits(policy.subject) & engine.classes.live
    if not subjects:
        yield Finding("selects-nothing", "warning", name, where, "it selects none of the pods that are known")
    for direction in Direction:
        section = policy.section(direction)
        for rule in section.rules if section else ():
            yield from _of_rule(engine, policy, rule, direction, subjects)


def _of_rule(engine: Connectivity, policy: Policy, rule: Rule, direction: Direction, subjects: int
             ) -> Iterator[Finding]:
    name, where = str(policy.identity), f"{policy.where}: {rule.where}"
    word = "from" if direction is Direction.INGRESS else "to"
    region = engine.classes.region(rule.peers)
    live = engine.classes.live
    if rule.peers and not ((region.pods | region.maybe) & live or region.addresses):
        yield Finding("peers-match-nothing", "warning", name, where, "its peers are none of the pods that are known")
    if rule.action is Action.ALLOW and not rule.narrower:
        everybody = region.pods & live == live and not (V4 - region.addresses) and not (V6 - region.addresses)
        blocks = [space for space in (V4, V6) if not space - region.addresses]
        if everybody and rule.ports.numbers == ALL:
            yield Finding("allows-all", "warning", name, where, f"it allows everything {word} everybody")
        elif blocks:
            families = " and ".join("IPv4" if space == V4 else "IPv6" for space in blocks)
            yield Finding("any-address", "warning", name, where, f"it allows all {families} addresses, {word} anywhere")
    yield from _port_names(engine, rule, direction, subjects, name, where)
    yield from _overlaps(rule, name, where)


def _port_names(engine: Connectivity, rule: Rule, direction: Direction, subjects: int, name: str, where: str
                ) -> Iterator[Finding]:
    region = engine.classes.region(rule.peers)
    chosen = subjects if direction is Direction.INGRESS else (region.pods | region.maybe) & engine.classes.live
    for port, protocol in rule.ports.names:
        if chosen and not chosen & engine.classes.having(port, protocol):
            whose = "the pods that it selects" if direction is Direction.INGRESS else "its peers"
            yield Finding("unknown-port-name", "warning", name, where,
                          f"none of {whose} has a port named {port}" + (f" of {protocol}" if protocol else ""))


def _overlaps(rule: Rule, name: str, where: str) -> Iterator[Finding]:
    blocks = [peer.within if peer.within is not None else peer.outside for peer in rule.peers
              if peer.within or (peer.pods is None and peer.outside)]
    for at, block in enumerate(blocks):
        beside = EMPTY
        for index, space in enumerate(blocks):
            if index != at and not (space == block and index > at):
                beside |= space
        if block and not block - beside:
            yield Finding("contained-block", "note", name, where,
                          f"{', '.join(texts(block, 2))} is in its other blocks already")


def _unheard(engine: Connectivity) -> Iterator[Finding]:
    """Rules that match something, all of which earlier rules decide, for whatever pods the policy selects."""
    heard: set[tuple[str, str]] = set()
    silent: dict[tuple[str, str], tuple[Asked, list[Asked]]] = {}
    for direction in Direction:
        seen: set[tuple[object, ...]] = set()
        for selected, numbers in engine.like(direction).items():
            for bit in numbers:
                shape = (selected, engine.classes.samples[bit].ports)
                if shape in seen:
                    continue
                seen.add(shape)
                asked = engine.asked(bit, direction)
                for at, effect in enumerate(_effects(asked, engine.classes.live)):
                    place = (asked[at].policy.where, asked[at].rule.where)
                    if effect:
                        heard.add(place)
                    elif effect is False and place not in silent:
                        silent[place] = (asked[at], _before(asked, at))
    for place, (unheard, before) in silent.items():
        if place not in heard:
            by = ", ".join(f"{asked.policy.identity} {asked.rule.where}" for asked in before[:_NAMED])
            yield Finding("never-asked", "warning", str(unheard.policy.identity), f"{place[0]}: {place[1]}",
                          f"it changes nothing: earlier rules decide all that it matches, {by}"
                          + (" and more" if len(before) > _NAMED else ""))


def _effects(asked: Sequence[Asked], live: int) -> Iterator[bool | None]:
    """Of each rule whether it decides anything that none before did; None where it matches nothing at all here.

    Raises UnsupportedError where rules and peers meet too often (`atoms.MOST`).
    """
    matched, hit = [False] * len(asked), [False] * len(asked)
    _take([(at, part) for at, rule in enumerate(asked) for part in rule.pods], live, matched, hit)
    _take([(at, part) for at, rule in enumerate(asked) for part in rule.addresses], EVERYWHERE, matched, hit)
    passed = False
    for at, rule in enumerate(asked):
        before = asked[at - 1] if at else None
        if before is not None and before.policy.tier != rule.policy.tier and passed:
            yield from (True for _ in asked[at:])  # what was passed is open again: nothing is said of later tiers
            return
        passed = passed or (rule.rule.action is Action.PASS and hit[at])
        yield hit[at] if matched[at] else None


def _take(parts: Sequence[tuple[int, Part[_S]]], universe: _S, matched: list[bool], hit: list[bool]) -> None:
    """Marks the rules whose parts match a peer, and those that decide something there: piece by piece, in order."""
    chosen = [(at, part) for at, part in parts if part.ports]
    spaces = [space for _, part in chosen for space in (part.space, part.maybe)]
    for numbers, space in pieces(spaces, universe).items():
        undecided = ALL
        for meeting in numbers if space else ():
            at, part = chosen[meeting // 2]
            matched[at] = True
            left = undecided - part.ports
            if left != undecided:
                hit[at] = True
                if part.certain and not meeting % 2:
                    undecided = left


def _before(asked: Sequence[Asked], at: int) -> list[Asked]:
    """Rules that decide some of what this one matches: those that are named, and one more where there are more."""
    own = asked[at]
    return list(islice((rule for rule in asked[:at] if any(
        part.ports & mine.ports and (part.space & mine.space)
        for mine in own.pods for part in rule.pods) or any(
        part.ports & mine.ports and (part.space & mine.space)
        for mine in own.addresses for part in rule.addresses)), _NAMED + 1))


def _ties(engine: Connectivity) -> Iterator[Finding]:
    """Policies of equal priority that select the same pods: where they meet, nobody knows which is asked."""
    told: set[tuple[str, str]] = set()
    for direction in Direction:
        for numbers in engine.like(direction).values():
            selecting = engine.selecting(numbers[0], direction)
            for at, policy in enumerate(selecting):
                for peer in selecting[at + 1:]:
                    pair = (str(policy.identity), str(peer.identity))
                    if policy.tier.ordered and (policy.tier, policy.order) == (peer.tier, peer.order) and (
                            pair not in told and policy.identity != peer.identity):
                        told.add(pair)
                        yield Finding("equal-priority", "warning", pair[1], peer.where, (
                            f"{pair[0]} has priority {policy.order:g} too and selects the same pods: the plugin "
                            "decides which is asked first"))


def _of_namespaces(engine: Connectivity) -> Iterator[Finding]:
    topology = engine.topology
    covered = {pod.namespace for bit, pods in enumerate(engine.classes.members) for pod in pods.values()
               if any(engine.selecting(bit, direction) for direction in Direction)}
    for name in sorted({pod.namespace for pod in topology.pods}):
        if name not in covered:
            yield Finding("no-policy", "warning", f"namespace {name}", "", "no policy selects any pod of it")
    if any(_asks_namespaces(policy) for policy in engine.policies):
        for name in sorted(namespace.name for namespace in topology.namespaces.values() if not namespace.declared):
            yield Finding("unknown-namespace", "note", f"namespace {name}", "", "its Namespace is not among the "
                          "documents: selectors of namespaces see its name, and no other labels")


def _asks_namespaces(policy: Policy) -> bool:
    """Whether a selector of it is about labels of namespaces."""
    expressions = [policy.subject, *(peer.pods for section in (policy.ingress, policy.egress) if section is not None
                                     for rule in section.rules for peer in rule.peers if peer.pods is not None)]
    return any(test.scope is Scope.NAMESPACE for expression in expressions for test in tests(expression))


def _of_workloads(engine: Connectivity) -> Iterator[Finding]:
    """What pods of each namespace can do, told once for a namespace."""
    open_to: dict[tuple[str, str, str], list[Pod]] = {}
    for bit, pods in enumerate(engine.classes.members):
        for pod in pods.values():
            for code, text in _reached(engine, bit, pod):
                open_to.setdefault((pod.namespace, code, text), []).append(pod)
    for (namespace, name, text), pods_of in sorted(open_to.items()):
        names = sorted({pod.shown.partition("/")[2] for pod in pods_of})
        shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        yield Finding(name, "warning" if name != "open-ingress" else "note", f"namespace {namespace}", "",
                      f"{text}: {shown}")


def _reached(engine: Connectivity, bit: int, pod: Pod) -> Iterator[tuple[str, str]]:
    reach = engine.reach(bit, Direction.EGRESS)
    for address, service in METADATA.items():
        outcome = reach.outside(number(address))
        if key("TCP", 80) in outcome.allowed:
            yield "metadata-reachable", f"may reach {address}, {service}"
    if engine.isolated(bit, Direction.EGRESS):
        passes = [outcome for outcome in (*reach.pods, *reach.addresses) if outcome.allowed or outcome.depends]
        if passes and not any(_DNS in outcome.allowed or _DNS in outcome.depends for outcome in passes):
            yield "no-dns", "may reach some, and no name server (53/UDP) to ask for their addresses"
    if not engine.isolated(bit, Direction.INGRESS) and pod.ports:
        yield "open-ingress", "may be reached by whoever sends to them"
