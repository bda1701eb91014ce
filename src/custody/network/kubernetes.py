"""networking.k8s.io/v1 NetworkPolicy (k8s.io/api/networking/v1, types.go): namespaced, allows, and isolates."""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError
from custody.formats.fields import Fields
from custody.network import ports as portsets
from custody.network import selector
from custody.network.addresses import Network, block, host_bits, network
from custody.network.intervals import EMPTY, Intervals
from custody.network.model import ALL_PORTS, Action, Identity, Note, Peer, Policy, PortMatch, Rule, Section
from custody.network.owners import valid_name, valid_port_name
from custody.network.ports import LAST, PROTOCOLS, Protocol, protocol_named
from custody.network.selector import EVERYTHING, Scope, both, in_namespace

KIND = "NetworkPolicy"


def read(document: dict[str, Any], where: str) -> list[Policy]:
    """The one policy of a document. Raises MalformedError, and UnsupportedError for fields that it does not have."""
    fields = Fields(document, where)
    fields.only("apiVersion", "networking.k8s.io/v1")
    fields.only("kind", KIND)
    fields.any("status")
    identity = metadata(fields, KIND, namespaced=True)
    spec = fields.inner("spec") or Fields({}, fields.path("spec"))
    subject = selector.read(spec.inner("podSelector"), Scope.POD)
    types = spec.texts("policyTypes")
    for at, word in enumerate(types):
        if word not in ("Ingress", "Egress"):
            raise MalformedError(f"{spec.path('policyTypes')}[{at}]", got=word, expected="Ingress or Egress")
    if len(types) > 2:
        raise MalformedError(spec.path("policyTypes"), got=f"{len(types)} items", expected="at most two")
    notes: list[Note] = []
    ingress = [_rule(rule, "from", identity.namespace, notes) for rule in spec.each("ingress")]
    egress = [_rule(rule, "to", identity.namespace, notes) for rule in spec.each("egress")]
    spec.done()
    fields.done()
    # Without policyTypes it is about ingress, and about egress where it has rules for it.
    speaks = types or (["Ingress", "Egress"] if egress else ["Ingress"])
    return [Policy(identity, where, both(in_namespace(identity.namespace), subject),
                   ingress=Section(tuple(ingress), isolates=True) if "Ingress" in speaks else None,
                   egress=Section(tuple(egress), isolates=True) if "Egress" in speaks else None,
                   notes=tuple(notes))]


def metadata(fields: Fields, kind: str, *, namespaced: bool) -> Identity:
    """Who it is: `default` is the namespace of what names none."""
    meta = Fields(fields.need("metadata", dict), fields.path("metadata"))
    namespace, name = meta.take("namespace", str) or "", meta.need("name", str)
    if not valid_name(name):
        raise MalformedError(meta.path("name"), got=name, expected="a name of a-z, 0-9, - and ., as the API server's")
    return Identity(kind, (namespace or "default") if namespaced else "", name)


def _rule(fields: Fields, end: str, namespace: str, notes: list[Note]) -> Rule:
    matched = [_port(port) for port in fields.each("ports")]
    peers = tuple(_peer(peer, namespace, notes) for peer in fields.each(end))
    fields.done()
    return Rule(Action.ALLOW, peers or (ANYBODY,), merged(matched) if matched else ALL_PORTS,
                inside(fields))


ANYBODY = Peer(EVERYTHING, outside=block(network("0.0.0.0/0")) | block(network("::/0")), host_pods=True,
               text="everybody")
"""All pods and all addresses."""


def merged(matched: list[PortMatch]) -> PortMatch:
    """Any of them."""
    numbers = EMPTY
    for match in matched:
        numbers |= match.numbers
    return PortMatch(numbers, tuple(dict.fromkeys(name for match in matched for name in match.names)))


def protocol(fields: Fields, name: str = "protocol") -> Protocol:
    """TCP where none is named. Raises MalformedError."""
    word = fields.take(name, str)
    word = "TCP" if word is None else word
    if word not in PROTOCOLS:
        raise MalformedError(fields.path(name), got=word, expected="TCP, UDP or SCTP")
    return protocol_named(word)


def number(value: int, where: str) -> int:
    if not 1 <= value <= LAST:
        raise MalformedError(where, got=value, expected=f"a port from 1 to {LAST}")
    return value


def _port(fields: Fields) -> PortMatch:
    chosen = protocol(fields)
    named, last = fields.any("port"), fields.take("endPort", int)
    fields.done()
    if isinstance(named, bool) or not isinstance(named, (int, str, type(None))):
        raise MalformedError(fields.path("port"), got=named, expected="a port's number or name")
    if last is not None:
        if not isinstance(named, int):
            raise MalformedError(fields.path("endPort"), got=last, expected="nothing where port is no number")
        if number(last, fields.path("endPort")) < named:
            raise MalformedError(fields.path("endPort"), got=last, expected=f"at least port, {named}")
    if isinstance(named, int):
        return PortMatch(portsets.ports(chosen, number(named, fields.path("port")), last or named))
    if isinstance(named, str):
        if not valid_port_name(named):
            raise MalformedError(fields.path("port"), got=named, expected="a port's number, or a name with a letter",
                                 hint=f"{named} is a number without quotes" if portsets.is_number(named) else None)
        return PortMatch(names=((named, chosen),))
    return PortMatch(portsets.ports(chosen))


def _peer(fields: Fields, namespace: str, notes: list[Note]) -> Peer:
    pods, namespaces, chosen = fields.inner("podSelector"), fields.inner("namespaceSelector"), fields.inner("ipBlock")
    fields.done()
    if chosen is not None:
        if pods is not None or namespaces is not None:
            raise MalformedError(fields.path("ipBlock"), got="selectors beside it", expected="an ipBlock alone")
        return addresses(ip_block(chosen, notes))
    if pods is None and namespaces is None:
        raise MalformedError(fields.where, got="no field", expected="podSelector, namespaceSelector or ipBlock",
                             hint="leave the list out to mean everybody")
    scope = in_namespace(namespace) if namespaces is None else selector.read(namespaces, Scope.NAMESPACE)
    return Peer(both(scope, selector.read(pods, Scope.POD)))


def addresses(chosen: Intervals) -> Peer:
    """Addresses, also those that pods have."""
    return Peer(EVERYTHING, within=chosen, outside=chosen, host_pods=True)


def ip_block(fields: Fields, notes: list[Note]) -> Intervals:
    """`cidr` without `except`. Raises MalformedError."""
    whole = cidr(fields.need("cidr", str), fields.path("cidr"), notes)
    result = block(whole)
    for at, text in enumerate(fields.texts("except")):
        where = f"{fields.path('except')}[{at}]"
        inner = cidr(text, where, notes)
        if not _strictly_inside(inner, whole):
            raise MalformedError(where, got=text, expected=f"a block inside of {whole}")
        result -= block(inner)
    fields.done()
    return result


def cidr(text: str, where: str, notes: list[Note], *, bare: bool = False) -> Network:
    """A block, and a note where it has bits beyond its mask. Raises MalformedError."""
    chosen = network(text, where, bare=bare)
    if host_bits(text):
        notes.append(Note(where, "host-bits", f"{text} is read as {chosen}"))
    return chosen


def inside(fields: Fields) -> str:
    """The path in its document: `spec.ingress[0]`."""
    return "spec" + fields.where.partition(".spec")[2] if ".spec" in fields.where else fields.where


def _strictly_inside(inner: Network, whole: Network) -> bool:
    """As the API server asks it of a new NetworkPolicy (ValidateIPBlock)."""
    return inner.version == whole.version and inner.prefixlen > whole.prefixlen and inner.subnet_of(whole)  # type: ignore[arg-type]
