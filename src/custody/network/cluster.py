"""policy.networking.k8s.io: ClusterNetworkPolicy (v1alpha2, v1beta1), AdminNetworkPolicy and its baseline (v1alpha1).

Source: kubernetes-sigs/network-policy-api, apis/*/…_types.go. Rules are asked in order; equal priorities are a tie.
Pods on the host's network are neither subjects nor selected as peers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from custody.errors import MalformedError
from custody.formats.fields import Fields
from custody.network import ports as portsets
from custody.network import selector
from custody.network.addresses import EVERYWHERE, block
from custody.network.intervals import EMPTY
from custody.network.kubernetes import addresses, cidr, inside, merged, metadata, number, protocol
from custody.network.model import (
    ADMIN,
    ALL_PORTS,
    BASELINE,
    Action,
    Note,
    Peer,
    Policy,
    PortMatch,
    Rule,
    Section,
    Tier,
)
from custody.network.selector import Expression, Scope, both

GROUP = "policy.networking.k8s.io"
_TIERS = {"Admin": ADMIN, "Baseline": BASELINE}
_PRIORITIES = range(1001)
_BETA_WORDS = {"Accept": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
_ADMIN_WORDS = {"Allow": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
_BASELINE_WORDS = {"Allow": Action.ALLOW, "Deny": Action.DENY}


def cluster(document: dict[str, Any], where: str) -> list[Policy]:
    """A ClusterNetworkPolicy. Raises MalformedError, UnsupportedError."""
    fields, spec = _open(document, where, "ClusterNetworkPolicy", "v1alpha2", "v1beta1")
    tier = spec.need("tier", str)
    if tier not in _TIERS:
        raise MalformedError(spec.path("tier"), got=tier, expected="Admin or Baseline")
    return _policy("ClusterNetworkPolicy", fields, spec, _TIERS[tier], _priority(spec), _BETA_WORDS, 25, _protocols)


def admin(document: dict[str, Any], where: str) -> list[Policy]:
    """An AdminNetworkPolicy."""
    fields, spec = _open(document, where, "AdminNetworkPolicy", "v1alpha1")
    return _policy("AdminNetworkPolicy", fields, spec, ADMIN, _priority(spec), _ADMIN_WORDS, 100, _ports)


def baseline(document: dict[str, Any], where: str) -> list[Policy]:
    """A BaselineAdminNetworkPolicy, of which a cluster has one, named default."""
    fields, spec = _open(document, where, "BaselineAdminNetworkPolicy", "v1alpha1")
    [policy] = _policy("BaselineAdminNetworkPolicy", fields, spec, BASELINE, 0, _BASELINE_WORDS, 100, _ports)
    if policy.identity.name != "default":
        raise MalformedError(f"{where}.metadata.name", got=policy.identity.name,
                             expected="default, of which there is one")
    return [policy]


def _open(document: dict[str, Any], where: str, kind: str, *versions: str) -> tuple[Fields, Fields]:
    fields = Fields(document, where)
    fields.only("apiVersion", *(f"{GROUP}/{version}" for version in versions))
    fields.only("kind", kind)
    fields.any("status")
    return fields, Fields(fields.need("spec", dict), fields.path("spec"))


def _priority(spec: Fields) -> int:
    priority = spec.need("priority", int)
    if priority not in _PRIORITIES:
        raise MalformedError(spec.path("priority"), got=priority, expected="a number from 0 to 1000")
    return priority


def _policy(kind: str, fields: Fields, spec: Fields, tier: Tier, order: int, words: dict[str, Action], most: int,
            ports: Callable[[Fields], PortMatch | None]) -> list[Policy]:
    notes: list[Note] = []
    subject = _subject(Fields(spec.need("subject", dict), spec.path("subject")))
    sections: dict[str, Section | None] = {}
    for direction, end in (("ingress", "from"), ("egress", "to")):
        rules = [rule for part in _limited(spec, direction, most)
                 for rule in _rules(part, end, words, most, ports, notes)]
        sections[direction] = Section(tuple(rules), isolates=False) if rules else None
    spec.done()
    identity = metadata(fields, kind, namespaced=False)
    fields.done()
    return [Policy(identity, fields.where, subject, tier, order, sections["ingress"], sections["egress"],
                   host_subjects=False, notes=tuple(notes))]


def _limited(fields: Fields, name: str, most: int) -> list[Fields]:
    parts = fields.each(name)
    if len(parts) > most:
        raise MalformedError(fields.path(name), got=f"{len(parts)} items", expected=f"at most {most}")
    return parts


def _single(fields: Fields, *names: str) -> str:
    """The only field that is set. Raises MalformedError for none and for several."""
    present = [name for name in names if fields.peek(name) is not None]
    if len(present) != 1:
        raise MalformedError(fields.where, got=" and ".join(present) or "no field",
                             expected=f"exactly one of {', '.join(names)}")
    return present[0]


def _subject(fields: Fields) -> Expression:
    _single(fields, "namespaces", "pods")
    result = _pods(fields)
    fields.done()
    return result


def _pods(fields: Fields) -> Expression:
    """`namespaces` or `pods` of a subject or a peer."""
    if (namespaces := fields.inner("namespaces")) is not None:
        return selector.read(namespaces, Scope.NAMESPACE)
    pods = Fields(fields.need("pods", dict), fields.path("pods"))
    result = both(selector.read(Fields(pods.need("namespaceSelector", dict), pods.path("namespaceSelector")),
                                Scope.NAMESPACE),
                  selector.read(Fields(pods.need("podSelector", dict), pods.path("podSelector")), Scope.POD))
    pods.done()
    return result


def _rules(fields: Fields, end: str, words: dict[str, Action], most: int,
           ports: Callable[[Fields], PortMatch | None], notes: list[Note]) -> list[Rule]:
    """One rule; of peers by domain names another, since what those mean is not known."""
    word, name = fields.need("action", str), fields.take("name", str) or ""
    if word not in words:
        raise MalformedError(fields.path("action"), got=word, expected=" or ".join(words))
    if len(name) > 100:
        raise MalformedError(fields.path("name"), got=f"{len(name)} characters", expected="at most 100")
    matched = ports(fields)
    parts = _limited(fields, end, most)
    if not parts:
        raise MalformedError(fields.path(end), got="nothing", expected="at least one peer",
                             hint="namespaces: {} means the pods of all namespaces")
    peers: list[Peer] = []
    domains: list[str] = []
    nameless = False
    for part in parts:
        named = () if words is _BASELINE_WORDS else ("domainNames",)  # a baseline's egress peers have none
        chosen = _single(part, "namespaces", "pods", *(("nodes", "networks", *named) if end == "to" else ()))
        nameless = nameless or chosen in ("nodes", "networks", "domainNames")
        if chosen == "domainNames":
            if words[word] is not Action.ALLOW:
                raise MalformedError(part.path("domainNames"), got=f"a rule that says {word}",
                                     expected="domain names in rules that allow")
            domains += part.texts("domainNames")
        else:
            peers.append(_peer(part, chosen, notes))
        part.done()
    if nameless and matched is not None and matched.names:
        raise MalformedError(fields.path(end), got="peers without named ports",
                             expected="namespaces or pods beside a port's name")
    fields.done()
    match = ALL_PORTS if matched is None else matched
    rules = [Rule(words[word], tuple(peers), match, inside(fields), name)] if peers else []
    if domains:
        text = f"only to addresses of {', '.join(domains)}"
        rules.append(Rule(words[word], (Peer(outside=EVERYWHERE),), match, inside(fields), name, narrower=(text,)))
    return rules


def _peer(fields: Fields, chosen: str, notes: list[Note]) -> Peer:
    if chosen == "nodes":
        return Peer(nodes=selector.read(fields.inner("nodes"), Scope.POD))
    if chosen == "networks":
        space = EMPTY
        for at, text in enumerate(fields.texts("networks")):
            space |= block(cidr(text, f"{fields.path('networks')}[{at}]", notes))
        return addresses(space)
    return Peer(_pods(fields), host_pods=False)


def _protocols(fields: Fields) -> PortMatch | None:
    """v1alpha2's and v1beta1's; None where the rule has none."""
    if fields.peek("protocols") is None:
        fields.any("protocols")
        return None
    matched = [_protocol(part) for part in _limited(fields, "protocols", 25)]
    if not matched:
        raise MalformedError(fields.path("protocols"), got="none", expected="at least one, or no such field")
    return merged(matched)


def _protocol(fields: Fields) -> PortMatch:
    chosen = _single(fields, "tcp", "udp", "sctp", "destinationNamedPort")
    if chosen == "destinationNamedPort":
        match = PortMatch(names=((fields.need(chosen, str), None),))
    else:
        inner = Fields(fields.need(chosen, dict), fields.path(chosen))
        name = portsets.protocol_named(chosen.upper())
        port = inner.inner("destinationPort")
        if port is None:
            raise MalformedError(inner.where, got="no field", expected="destinationPort")
        inner.done()
        if _single(port, "number", "range") == "number":
            match = PortMatch(portsets.port(name, number(port.need("number", int), port.path("number"))))
        else:
            match = PortMatch(portsets.ports(name, *_range(Fields(port.need("range", dict), port.path("range")))))
        port.done()
    fields.done()
    return match


def _range(fields: Fields) -> tuple[int, int]:
    first = number(fields.need("start", int), fields.path("start"))
    last = number(fields.need("end", int), fields.path("end"))
    if first >= last:
        raise MalformedError(fields.path("end"), got=last, expected=f"more than start, {first}")
    fields.done()
    return first, last


def _ports(fields: Fields) -> PortMatch | None:
    """v1alpha1's."""
    if fields.peek("ports") is None:
        fields.any("ports")
        return None
    matched = [_port(part) for part in _limited(fields, "ports", 100)]
    if not matched:
        raise MalformedError(fields.path("ports"), got="none", expected="at least one, or no such field")
    return merged(matched)


def _port(fields: Fields) -> PortMatch:
    chosen = _single(fields, "portNumber", "portRange", "namedPort")
    if chosen == "namedPort":
        match = PortMatch(names=((fields.need("namedPort", str), None),))
    else:
        inner = Fields(fields.need(chosen, dict), fields.path(chosen))
        name = protocol(inner)
        if chosen == "portNumber":
            match = PortMatch(portsets.port(name, number(inner.need("port", int), inner.path("port"))))
            inner.done()
        else:
            match = PortMatch(portsets.ports(name, *_range(inner)))
    fields.done()
    return match


READERS: dict[str, Callable[[dict[str, Any], str], Sequence[Policy]]] = {
    "ClusterNetworkPolicy": cluster, "AdminNetworkPolicy": admin, "BaselineAdminNetworkPolicy": baseline}
"""By kind."""
