"""projectcalico.org/v3: NetworkPolicy, GlobalNetworkPolicy, Tier, and the sets of addresses that selectors mean.

Source: projectcalico/calico, api/pkg/apis/projectcalico/v3, and libcalico-go's syncersv1/updateprocessors/rules.go
for what selectors of a rule mean together. Rules are asked in order; what no rule of a tier matches is denied, for
pods that a policy of the tier selects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.fields import Fields
from custody.kit.near import near
from custody.network.addresses import EVERYWHERE, V4, V6, block
from custody.network.calicoselector import parse
from custody.network.intervals import EMPTY, Intervals
from custody.network.kubernetes import cidr, inside, metadata
from custody.network.model import (
    ADMIN,
    ALL_PORTS,
    BASELINE,
    DEFAULT,
    Action,
    Identity,
    Note,
    Peer,
    Policy,
    PortMatch,
    Rule,
    Section,
    Tier,
)
from custody.network.ports import ALL, LAST, PROTOCOLS, Protocol, is_number, ports
from custody.network.selector import (
    EVERYTHING,
    NOTHING,
    Expression,
    Labels,
    Not,
    Operator,
    Scope,
    Test,
    both,
    in_namespace,
    matches,
)

GROUP = "projectcalico.org"
_NAMESPACE = "projectcalico.org/namespace"
_ACCOUNT = "projectcalico.org/serviceaccount"
_ACTIONS = {"Allow": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
_NUMBERS: Mapping[int, Protocol] = {6: "TCP", 17: "UDP", 132: "SCTP"}
_SILENT = ("ICMP", "ICMPv6", "UDPLite")


@dataclass(frozen=True)
class AddressSet:
    """A NetworkSet or GlobalNetworkSet: addresses with labels, which selectors mean as they mean pods."""

    namespace: str
    labels: Mapping[str, str]
    addresses: Intervals
    identity: Identity


@dataclass
class Surroundings:
    """What policies refer to by name."""

    tiers: dict[str, Tier] = field(default_factory=lambda: {"default": DEFAULT})
    sets: list[AddressSet] = field(default_factory=list)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of namespaces, for the sets in them."""


def tier(document: dict[str, Any], where: str) -> Tier:
    """Of a Tier. Raises MalformedError, UnsupportedError."""
    fields = _open(document, where, "Tier")
    name = metadata(fields, "Tier", namespaced=False).name
    spec = fields.inner("spec") or Fields({}, fields.path("spec"))
    order, action = _order(spec), spec.take("defaultAction", str) or "Deny"
    if action not in ("Deny", "Pass"):
        raise MalformedError(spec.path("defaultAction"), got=action, expected="Deny or Pass")
    spec.done()
    fields.done()
    if name == DEFAULT.name:  # the API takes no others for it
        for field, given, own in (("order", order, DEFAULT.order), ("defaultAction", action, "Deny")):
            if given not in (own, math.inf):
                raise MalformedError(spec.path(field), got=given, expected=f"{own}, which that of the default tier is")
        order = DEFAULT.order
    if name in (ADMIN.name, BASELINE.name):
        raise MalformedError(f"{where}.metadata.name", got=name, expected="a name that no tier of Kubernetes has here")
    return Tier(name, order, ordered=False, denies=action == "Deny")


def address_set(document: dict[str, Any], where: str) -> AddressSet:
    """Of a NetworkSet or GlobalNetworkSet."""
    kind = str(document.get("kind"))
    fields = _open(document, where, "NetworkSet", "GlobalNetworkSet")
    meta = Fields(document.get("metadata"), f"{where}.metadata")
    identity = metadata(fields, kind, namespaced=kind == "NetworkSet")
    spec = fields.inner("spec") or Fields({}, fields.path("spec"))
    space = _nets(spec, "nets", [])
    spec.done()
    fields.done()
    return AddressSet(identity.namespace, meta.text_map("labels"), space, identity)


def _open(document: dict[str, Any], where: str, *kinds: str) -> Fields:
    fields = Fields(document, where)
    fields.only("apiVersion", f"{GROUP}/v3")
    fields.only("kind", *kinds)
    return fields


def _order(spec: Fields) -> float:
    order = spec.any("order")
    if order is None:
        return math.inf
    if isinstance(order, bool) or not isinstance(order, (int, float)) or math.isnan(order):
        raise MalformedError(spec.path("order"), got=order, expected="a number")
    return float(order)


def read(document: dict[str, Any], where: str, around: Surroundings) -> list[Policy]:
    """A NetworkPolicy or GlobalNetworkPolicy. Raises MalformedError, UnsupportedError."""
    kind = str(document.get("kind"))
    fields = _open(document, where, "NetworkPolicy", "GlobalNetworkPolicy")
    identity = metadata(fields, f"Calico {kind}", namespaced=kind == "NetworkPolicy")
    spec = fields.inner("spec") or Fields({}, fields.path("spec"))
    notes: list[Note] = []
    if kind == "GlobalNetworkPolicy":
        for name in ("doNotTrack", "preDNAT"):
            if spec.take(name, bool):
                raise UnsupportedError(spec.path(name), "policies for host endpoints are not evaluated by custody")
        spec.take("applyOnForward", bool)  # about host endpoints too: pods are judged alike
        scope = parse(spec.take("namespaceSelector", str) or "", spec.path("namespaceSelector"), _namespace_label)
    else:
        scope = in_namespace(identity.namespace)
    spec.texts("performanceHints")
    chosen = spec.take("tier", str) or "default"
    if chosen not in around.tiers:
        raise MalformedError(spec.path("tier"), got=chosen, expected="a Tier that is there",
                             hint=near(chosen, around.tiers, "give its Tier document too"))
    subject = both(scope, parse(spec.take("selector", str) or "", spec.path("selector"), _pod_label),
                   parse(spec.take("serviceAccountSelector", str) or "", spec.path("serviceAccountSelector"),
                         lambda key: (Scope.ACCOUNT, key)))
    order = _order(spec)
    reader = _Rules(identity.namespace, around, notes)
    ingress = reader.section(spec, "ingress")
    egress = reader.section(spec, "egress")
    types = spec.texts("types") or (["Ingress", "Egress"] if ingress and egress else ["Egress"] if egress else
                                    ["Ingress"])
    for at, word in enumerate(types):
        if word not in ("Ingress", "Egress"):
            raise MalformedError(f"{spec.path('types')}[{at}]", got=word, expected="Ingress or Egress")
    spec.done()
    fields.done()
    return [Policy(identity, where, subject, around.tiers[chosen], order,
                   ingress=Section(tuple(ingress), isolates=True) if "Ingress" in types else None,
                   egress=Section(tuple(egress), isolates=True) if "Egress" in types else None,
                   notes=tuple(notes))]


def _pod_label(key: str) -> tuple[Scope, str]:
    """Labels of an endpoint: the pod's own, and those that it has from its namespace and service account."""
    if key == _NAMESPACE:
        return Scope.ABOUT, "namespace"
    if key == _ACCOUNT:
        return Scope.ABOUT, "account"
    if key.startswith("pcns."):
        return _namespace_label(key.removeprefix("pcns."))
    if key.startswith("pcsa."):
        return Scope.ACCOUNT, key.removeprefix("pcsa.")
    return Scope.POD, key


def _namespace_label(key: str) -> tuple[Scope, str]:
    return (Scope.ABOUT, "namespace") if key == "projectcalico.org/name" else (Scope.NAMESPACE, key)


@dataclass
class _Entity:
    """`source` or `destination` of a rule."""

    pods: Expression
    selects: bool
    """Whether it is limited to endpoints, so that of addresses only those of sets match."""
    rejected: Expression
    nets: Intervals
    """Without notNets; everywhere where it names none."""
    limited: bool
    """Whether it names any."""
    ports: list[Any]
    not_ports: list[Any]
    services: str
    fields: Fields


class _Rules:
    def __init__(self, namespace: str, around: Surroundings, notes: list[Note]) -> None:
        self._namespace, self._around, self._notes = namespace, around, notes

    def section(self, spec: Fields, direction: str) -> list[Rule]:
        return [rule for part in spec.each(direction) if (rule := self._rule(part, direction)) is not None]

    def _rule(self, fields: Fields, direction: str) -> Rule | None:
        word = fields.need("action", str)
        if word not in (*_ACTIONS, "Log"):
            raise MalformedError(fields.path("action"), got=word, expected="Allow, Deny, Pass or Log")
        fields.any("metadata")
        version = fields.take("ipVersion", int)
        if version not in (None, 4, 6):
            raise MalformedError(fields.path("ipVersion"), got=version, expected="4 or 6")
        family = EVERYWHERE if version is None else V4 if version == 4 else V6
        narrower: list[str] = []
        if fields.any("http") is not None:
            if word != "Allow":
                raise MalformedError(fields.path("http"), got=f"action {word}", expected="http in Allow rules")
            narrower.append("only HTTP requests that match `http`")
        chosen = self._protocols(fields)
        for name in ("icmp", "notICMP"):
            fields.any(name)  # of protocols that have no ports: nothing that is judged here
        own = self._entity(fields, "destination" if direction == "ingress" else "source")
        peer = self._entity(fields, "source" if direction == "ingress" else "destination")
        target, source = (own, peer) if direction == "ingress" else (peer, own)
        fields.done()
        if word == "Log":
            return None
        match = self._ports(target, chosen)
        if source.ports or source.not_ports:
            self._ports(source, chosen)
            narrower.append("only from some source ports")
        if own.limited:
            narrower.append("only where the selected pod's own address is in `nets`")
        narrower += [f"only with endpoints of Service {end.services}" for end in (own, peer) if end.services]
        return Rule(_ACTIONS[word], (self._peer(peer, family),), match, inside(fields),
                    subject=both(own.pods, Not(own.rejected)) if own.rejected != NOTHING else own.pods,
                    narrower=tuple(narrower))

    def _protocols(self, fields: Fields) -> Intervals:
        """Ports of the protocols that a rule is about: none of those that are not judged."""
        result = ALL
        if (value := fields.any("protocol")) is not None:
            result = self._protocol(value, fields.path("protocol"))
        if (value := fields.any("notProtocol")) is not None:
            result -= self._protocol(value, fields.path("notProtocol"))
        return result

    def _protocol(self, value: Any, where: str) -> Intervals:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 255:
            return ports(_NUMBERS[value]) if value in _NUMBERS else EMPTY
        for protocol in PROTOCOLS:
            if isinstance(value, str) and value == protocol:
                return ports(protocol)
        if value in _SILENT:
            return EMPTY
        raise MalformedError(where, got=value, expected=f"{', '.join((*PROTOCOLS, *_SILENT))} or a number")

    def _entity(self, fields: Fields, name: str) -> _Entity:
        part = fields.inner(name) or Fields({}, fields.path(name))
        chosen, rejected = part.take("selector", str) or "", part.take("notSelector", str) or ""
        namespaces, accounts = part.take("namespaceSelector", str) or "", part.inner("serviceAccounts")
        service = part.inner("services")
        texts = ""
        if service is not None:
            if chosen or rejected or namespaces or accounts:
                raise MalformedError(service.where, got="selectors beside it", expected="services alone")
            texts = service.need("name", str)
            texts = f"{service.take('namespace', str) or self._namespace}/{texts}"
            service.done()
        account = self._accounts(accounts)
        selects = bool(chosen or account != EVERYTHING or namespaces or (rejected and self._namespace))
        scope: Expression = EVERYTHING
        if namespaces:
            scope = parse(namespaces, part.path("namespaceSelector"), _namespace_label,
                          everywhere=Test(Scope.ABOUT, "namespace", Operator.EXISTS),
                          global_=Not(Test(Scope.ABOUT, "namespace", Operator.EXISTS)))
        elif self._namespace and selects:
            scope = in_namespace(self._namespace)
        pods = both(scope, account, parse(chosen, part.path("selector"), _pod_label))
        nets, denied = _nets(part, "nets", self._notes), _nets(part, "notNets", self._notes)
        limited = bool(nets or denied)
        entity = _Entity(pods, selects,
                         parse(rejected, part.path("notSelector"), _pod_label) if rejected else NOTHING,
                         (nets or EVERYWHERE) - denied, limited, part.take("ports", list) or [],
                         part.take("notPorts", list) or [], texts, part)
        part.done()
        return entity

    def _accounts(self, fields: Fields | None) -> Expression:
        if fields is None:
            return EVERYTHING
        names, chosen = fields.texts("names"), fields.take("selector", str) or ""
        fields.done()
        named = Test(Scope.ABOUT, "account", Operator.IN, tuple(sorted(set(names)))) if names else EVERYTHING
        return both(named, parse(chosen, fields.path("selector"), lambda key: (Scope.ACCOUNT, key)))

    def _peer(self, entity: _Entity, family: Intervals) -> Peer:
        pods = both(entity.pods, Not(entity.rejected)) if entity.rejected != NOTHING else entity.pods
        space = self._sets(entity.pods) if entity.selects else EVERYWHERE
        if entity.rejected != NOTHING:
            space -= self._sets(entity.rejected)
        within = entity.nets & family
        return Peer(pods, within=within if entity.limited or family != EVERYWHERE else None, outside=space & within,
                    host_pods=None if entity.selects else True)

    def _sets(self, expression: Expression) -> Intervals:
        space = EMPTY
        for known in self._around.sets:
            about = {"namespace": known.namespace} if known.namespace else {}
            labels: Labels = {Scope.POD: known.labels, Scope.ACCOUNT: {}, Scope.ABOUT: about, Scope.NAMESPACE:
                              self._around.namespaces.get(known.namespace, {}) if known.namespace else {}}
            if matches(expression, labels):
                space |= known.addresses
        return space

    def _ports(self, entity: _Entity, chosen: Intervals) -> PortMatch:
        if not (entity.ports or entity.not_ports):
            return PortMatch(chosen) if chosen != ALL else ALL_PORTS
        protocols = [protocol for protocol in PROTOCOLS if chosen == ports(protocol)]
        if len(protocols) != 1:
            raise MalformedError(entity.fields.path("ports"), got="ports without one protocol",
                                 expected="`protocol` of the rule as TCP, UDP or SCTP")
        protocol = protocols[0]
        numbers, names = self._listed(entity.ports, entity.fields.path("ports"), protocol)
        denied, unnamed = self._listed(entity.not_ports, entity.fields.path("notPorts"), protocol)
        if entity.not_ports and names:
            raise UnsupportedError(entity.fields.path("notPorts"), "not evaluated beside names in ports")
        return PortMatch((numbers if entity.ports else chosen) - denied, tuple((name, protocol) for name in names),
                         tuple((name, protocol) for name in unnamed))

    def _listed(self, values: Iterable[Any], where: str, protocol: Protocol) -> tuple[Intervals, list[str]]:
        numbers, names = EMPTY, []
        for at, value in enumerate(values):
            path = f"{where}[{at}]"
            if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
                raise MalformedError(path, got=value, expected="a port, a range such as 8000:8100, or a port's name")
            first, colon, last = str(value).partition(":")
            if not (is_number(first) or isinstance(value, int)) and not colon:
                names.append(str(value))
                continue
            right = is_number(first) and (is_number(last) or not colon)
            low, high = (int(first), int(last or first)) if right else (1, 0)
            if not 0 <= low <= high <= LAST:
                raise MalformedError(path, got=value, expected=f"ports up to {LAST}, the lower one first")
            numbers |= ports(protocol, max(low, 1), high) if high else EMPTY
        return numbers, names


def _nets(fields: Fields, name: str, notes: list[Note]) -> Intervals:
    space = EMPTY
    for at, text in enumerate(fields.texts(name)):
        space |= block(cidr(text, f"{fields.path(name)}[{at}]", notes, bare=True))
    return space
