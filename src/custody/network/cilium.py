"""cilium.io/v2: CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy.

Source: cilium/cilium, pkg/policy/api, pkg/k8s/apis/cilium.io/utils. Denials win over whatever allows; a direction that
a policy has rules for is denied by default; addresses in rules mean what is outside of the cluster, never pods; a rule
that names neither peers nor ports matches nothing. Requests, names and certificates that a rule asks for are not
modelled: such a rule may match.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.fields import Fields
from custody.kit.near import near
from custody.network import ports as portsets
from custody.network import selector
from custody.network.addresses import EVERYWHERE, V4, V6, block
from custody.network.intervals import EMPTY, Intervals
from custody.network.kubernetes import cidr, inside, merged, metadata
from custody.network.model import (
    ALL_PORTS,
    DEFAULT,
    NETWORK_POLICY_ORDER,
    Action,
    Identity,
    Note,
    Peer,
    Policy,
    PortMatch,
    Rule,
    Section,
)
from custody.network.ports import LAST, PROTOCOLS, Protocol
from custody.network.selector import (
    EVERYTHING,
    POD_NETWORK,
    Expression,
    Not,
    Operator,
    Scope,
    Test,
    both,
    in_namespace,
)

GROUP = "cilium.io"
_KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
_DENY_ORDER = -1.0
"""Before whatever allows."""
_NAMESPACE = "io.kubernetes.pod.namespace"
_NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels."
_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
_HOST_PODS = Peer(Not(POD_NETWORK), host_pods=True)
_NODES = Peer(nodes=EVERYTHING)
_PODS = Peer(EVERYTHING, host_pods=False)
_CLUSTER = (_PODS, _HOST_PODS, _NODES)
_ENTITIES: Mapping[str, tuple[Peer, ...]] = {
    "all": (Peer(EVERYTHING, outside=EVERYWHERE, host_pods=True),), "world": (Peer(outside=EVERYWHERE, nodeless=True),),
    "world-ipv4": (Peer(outside=V4, nodeless=True),), "world-ipv6": (Peer(outside=V6, nodeless=True),),
    "cluster": _CLUSTER, "none": (),
    "host": (_HOST_PODS, _NODES), "remote-node": (_HOST_PODS, _NODES), "init": (), "health": (), "unmanaged": (),
    "ingress": (), "kube-apiserver": (Peer(outside=EVERYWHERE),)}
_UNSURE = {"host": "only to or from the pod's own node", "remote-node": "only to or from other nodes",
           "kube-apiserver": "only to or from the API server"}
_Part = tuple[tuple[Peer, ...], tuple[str, ...]]
"""Peers, and what else has to be true of them."""
_L7 = ("http", "kafka", "dns", "l7proto", "l7")


def groups(documents: list[tuple[str, dict[str, Any]]]) -> dict[str, Intervals]:
    """Addresses of CiliumCIDRGroups, by name. Raises MalformedError, UnsupportedError."""
    result: dict[str, Intervals] = {}
    for where, document in documents:
        fields = Fields(document, where)
        fields.only("apiVersion", f"{GROUP}/v2", f"{GROUP}/v2alpha1")
        fields.only("kind", "CiliumCIDRGroup")
        name = metadata(fields, "CiliumCIDRGroup", namespaced=False).name
        spec = fields.inner("spec") or Fields({}, fields.path("spec"))
        space = EMPTY
        for at, text in enumerate(spec.texts("externalCIDRs")):
            space |= block(cidr(text, f"{spec.path('externalCIDRs')}[{at}]", []))
        spec.done()
        fields.done()
        if name in result:
            raise MalformedError(where, got=f"CiliumCIDRGroup {name} again", expected="each once")
        result[name] = space
    return result


def read(document: dict[str, Any], where: str, known: Mapping[str, Intervals]) -> list[Policy]:
    """Both kinds; `known` are CIDR groups by name. Raises MalformedError, UnsupportedError."""
    kind = str(document.get("kind"))
    fields = Fields(document, where)
    fields.only("apiVersion", f"{GROUP}/v2")
    fields.only("kind", *_KINDS)
    fields.any("status")
    identity = metadata(fields, kind, namespaced=kind == _KINDS[0])
    specs = [inner for inner in (fields.inner("spec"),) if inner is not None] + fields.each("specs")
    if not specs:
        raise MalformedError(fields.path("spec"), got="nothing", expected="spec or specs")
    fields.done()
    return [policy for spec in specs for policy in _Spec(spec, identity, where, known).policies()]


class _Spec:
    def __init__(self, spec: Fields, identity: Identity, where: str, known: Mapping[str, Intervals]) -> None:
        self._spec, self._identity, self._where, self._known = spec, identity, where, known
        self._notes: list[Note] = []

    def policies(self) -> list[Policy]:
        """What is denied, and what is allowed: two parts, of which the first is asked first."""
        spec = self._spec
        nodes = spec.any("nodeSelector")
        if nodes is not None and self._identity.kind == _KINDS[0]:
            raise MalformedError(spec.path("nodeSelector"), got="a CiliumNetworkPolicy",
                                 expected="it in a CiliumClusterwideNetworkPolicy")
        chosen = spec.inner("endpointSelector")
        if (chosen is None) == (nodes is None):
            raise MalformedError(spec.where, got="none or both", expected="endpointSelector or nodeSelector")
        for name in ("labels", "description", "log"):
            spec.any(name)
        defaults = spec.inner("enableDefaultDeny") or Fields({}, spec.path("enableDefaultDeny"))
        sections: dict[tuple[str, bool], Section | None] = {}
        for direction, end in (("ingress", "from"), ("egress", "to")):
            said = defaults.take(direction, bool)
            allows, denies = spec.each(direction), spec.each(f"{direction}Deny")
            isolates = bool(allows or denies) if said is None else said
            allowed = tuple(rule for part in allows for rule in self._rules(part, end, Action.ALLOW))
            denied = tuple(rule for part in denies for rule in self._rules(part, end, Action.DENY))
            sections[direction, True] = Section(allowed, isolates) if isolates or allows else None
            sections[direction, False] = Section(denied, isolates=False) if denied else None
        defaults.done()
        spec.done()
        if chosen is None:
            return []  # about nodes
        subject = self._subject(chosen)
        result = [Policy(self._identity, self._where, subject, DEFAULT, order, sections["ingress", allow],
                         sections["egress", allow], host_subjects=False, notes=tuple(self._notes) if allow else ())
                  for allow, order in ((False, _DENY_ORDER), (True, NETWORK_POLICY_ORDER))]
        return [part for part in result if part.ingress or part.egress] or result[1:]

    def _subject(self, fields: Fields) -> Expression:
        """The policy's own selector, which never leaves its namespace: a match of another one by value is overridden
        (ParseToCiliumRule adds its own), one by expression then selects nobody."""
        own = self._identity.namespace
        if not own:
            return self._labels(fields)
        named = [key for key in fields.peek("matchLabels") or () if _plain(str(key)) == _NAMESPACE]
        if named:
            labels = {key: value for key, value in fields.text_map("matchLabels").items() if key not in named}
            fields = Fields({"matchLabels": labels, "matchExpressions": fields.any("matchExpressions")}, fields.where)
        return both(in_namespace(own), self._labels(fields))

    def _selector(self, fields: Fields) -> Expression:
        """An EndpointSelector: of the policy's namespace, where it names no other."""
        keys = _keys(fields)
        expression = self._labels(fields)
        if any(_plain(key) == _NAMESPACE or _plain(key).startswith(_NAMESPACE_LABEL) for key in keys):
            return expression
        return both(in_namespace(self._identity.namespace), expression) if self._identity.namespace else expression

    def _labels(self, fields: Fields) -> Expression:
        parts: list[Expression] = []
        for key, value in fields.text_map("matchLabels").items():
            parts.append(Test(*self._label(key, fields.path("matchLabels")), Operator.IN, (value,)))
        for requirement in fields.each("matchExpressions"):
            key, operator = requirement.need("key", str), requirement.need("operator", str)
            values = requirement.texts("values")
            scope, name = self._label(key, requirement.path("key"))
            requirement.done()
            if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
                raise MalformedError(requirement.path("operator"), got=operator,
                                     expected="In, NotIn, Exists or DoesNotExist")
            if bool(values) != (operator in ("In", "NotIn")):
                raise MalformedError(requirement.path("values"), got=f"{len(values)} values",
                                     expected="values for In and NotIn, none for others")
            test = Test(scope, name, Operator.IN, tuple(sorted(set(values)))) if values else Test(scope, name)
            parts.append(Not(test) if operator in ("NotIn", "DoesNotExist") else test)
        fields.done()
        return both(*parts)

    def _label(self, key: str, where: str) -> tuple[Scope, str]:
        source, _, name = key.rpartition(":")
        if source not in ("", "k8s", "any"):
            raise UnsupportedError(where, f"labels of {source}, as in {key}, are not evaluated by custody",
                                   hint="entities such as host and world are, in fromEntities and toEntities")
        if name == _NAMESPACE:
            return Scope.ABOUT, "namespace"
        if name.startswith(_NAMESPACE_LABEL):
            return Scope.NAMESPACE, name.removeprefix(_NAMESPACE_LABEL)
        if name == _ACCOUNT:
            return Scope.ABOUT, "account"
        if name.startswith(("io.cilium.k8s.policy.", "io.cilium.k8s.namespace.")):
            raise UnsupportedError(where, f"{key} is not evaluated by custody")
        return Scope.POD, name

    def _rules(self, fields: Fields, end: str, action: Action) -> list[Rule]:
        """One rule, in parts where some of its peers or ports are not certain."""
        peers = self._peers(fields, end)
        narrower = ("only peers that authenticate",) if fields.any("authentication") is not None else ()
        icmps = fields.each("icmps")
        for part in icmps:
            part.each("fields")
        matches = self._ports(fields, action)
        fields.done()
        if not matches:
            if icmps or peers is None:
                return []  # about ICMP alone, or about nothing
            matches = [(ALL_PORTS, ())]
        if peers is None:
            peers = [(_ENTITIES["all"], ())]
        return [Rule(action, chosen, match, inside(fields), narrower=(*narrower, *unsure, *limits))
                for chosen, unsure in peers for match, limits in matches if chosen]

    def _peers(self, fields: Fields, end: str) -> list[_Part] | None:
        """None where the rule does not limit them: an empty list of peers means none."""
        result: list[_Part] = []
        names = {name: f"{end}{name}" for name in ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes", "Groups")}
        named = [name for name in (*names.values(), "toFQDNs", "toServices") if fields.peek(name) is not None]
        if fields.peek(f"{end}Requires") is not None:
            raise UnsupportedError(fields.path(f"{end}Requires"), "not evaluated by custody: Cilium has deprecated it",
                                   hint="say in *Deny what it is to refuse")
        certain = [Peer(self._selector(part), host_pods=False) for part in fields.each(names["Endpoints"])]
        for at, word in enumerate(fields.texts(names["Entities"])):
            if word not in _ENTITIES:
                raise MalformedError(f"{fields.path(names['Entities'])}[{at}]", got=word,
                                     expected="an entity of Cilium", hint=near(word, _ENTITIES))
            if word in _UNSURE:
                result.append((_ENTITIES[word], (_UNSURE[word],)))
            else:
                certain += _ENTITIES[word]
        space = EMPTY
        for at, text in enumerate(fields.texts(names["CIDR"])):
            space |= block(cidr(text, f"{fields.path(names['CIDR'])}[{at}]", self._notes, bare=True))
        for part in fields.each(names["CIDRSet"]):
            space |= self._block(part)
        if space:
            certain.append(Peer(outside=space, nodeless=True))
        certain += [Peer(nodes=selector.read(part, Scope.POD)) for part in fields.each(names["Nodes"])]
        if certain:
            result.append((tuple(certain), ()))
        if fields.any(names["Groups"]):
            result.append(((Peer(outside=EVERYWHERE, nodeless=True),), (f"only addresses of {names['Groups']}",)))
        if end == "to":
            result += self._elsewhere(fields)
        return result if named else None

    def _elsewhere(self, fields: Fields) -> list[_Part]:
        result: list[_Part] = []
        names: list[str] = []
        for part in fields.each("toFQDNs"):
            name, pattern = part.take("matchName", str), part.take("matchPattern", str)
            part.done()
            if (name is None) == (pattern is None):
                raise MalformedError(part.where, got="none or both", expected="matchName or matchPattern")
            names.append(str(name or pattern))
        if names:
            result.append(((Peer(outside=EVERYWHERE, nodeless=True),), (f"only to addresses of {', '.join(names)}",)))
        if services := fields.each("toServices"):
            for part in services:
                part.any("k8sService")
                part.any("k8sServiceSelector")
                part.done()
            result.append(((Peer(EVERYTHING, outside=EVERYWHERE, host_pods=None),),
                           ("only to endpoints of the services in toServices",)))
        return result

    def _block(self, fields: Fields) -> Intervals:
        group = fields.take("cidrGroupRef", str)
        if fields.peek("cidrGroupSelector") is not None:
            raise UnsupportedError(fields.path("cidrGroupSelector"), "not evaluated by custody yet",
                                   hint="name the CiliumCIDRGroup in cidrGroupRef")
        text = fields.take("cidr", str)
        if (group is None) == (text is None):
            raise MalformedError(fields.where, got="none or both", expected="cidr or cidrGroupRef")
        if group is not None:
            if group not in self._known:
                raise MalformedError(fields.path("cidrGroupRef"), got=group, expected="a CiliumCIDRGroup that is there",
                                     hint=near(group, self._known, "give its document too"))
            space = self._known[group]
        else:
            space = block(cidr(str(text), fields.path("cidr"), self._notes))
        for at, inner in enumerate(fields.texts("except")):
            where = f"{fields.path('except')}[{at}]"
            removed = block(cidr(inner, where, self._notes))
            if removed - space and group is None:
                raise MalformedError(where, got=inner, expected=f"a block inside of {text}")
            space -= removed
        fields.done()
        return space

    def _ports(self, fields: Fields, action: Action) -> list[tuple[PortMatch, tuple[str, ...]]]:
        result: list[tuple[PortMatch, tuple[str, ...]]] = []
        for part in fields.each("toPorts"):
            matched = [_port(port) for port in part.each("ports")]
            limits: list[str] = []
            rules = part.inner("rules")
            if action is Action.DENY and rules is not None:
                raise MalformedError(part.path("rules"), got="rules of requests", expected="ports alone in what denies")
            if rules is not None:
                limits += [f"only what its {name} rules allow" for name in _L7 if rules.any(name)]
                rules.done()
            if part.texts("serverNames"):
                limits.append("only to the names in serverNames")
            for name in ("terminatingTLS", "originatingTLS", "listener"):
                part.any(name)
            part.done()
            result.append((merged(matched) if matched else ALL_PORTS, tuple(limits)))
        return result


def _plain(key: str) -> str:
    return key.rpartition(":")[2]


def _keys(fields: Fields) -> list[str]:
    labels, expressions = fields.peek("matchLabels"), fields.peek("matchExpressions")
    return [*(labels if isinstance(labels, dict) else ()),
            *(str(part.get("key")) for part in expressions or () if isinstance(part, dict))] if isinstance(
                expressions, (list, type(None))) else list(labels or ())


def _port(fields: Fields) -> PortMatch:
    text, last = fields.need("port", str), fields.take("endPort", int)
    word = fields.take("protocol", str) or "ANY"
    fields.done()
    if word in ("ICMP", "ICMPv6", "VRRP", "IGMP"):
        return PortMatch()
    if word != "ANY" and word not in PROTOCOLS:
        raise MalformedError(fields.path("protocol"), got=word, expected="TCP, UDP, SCTP or ANY")
    chosen: tuple[Protocol, ...] = PROTOCOLS if word == "ANY" else (portsets.protocol_named(word),)
    if not portsets.is_number(text):
        if text.isdecimal():
            raise MalformedError(fields.path("port"), got=text, expected=f"ports up to {LAST}, or a name")
        return PortMatch(names=tuple((text, protocol) for protocol in chosen))
    first = int(text)
    if first > LAST or (last and not first <= last <= LAST):
        raise MalformedError(fields.path("endPort" if first <= LAST else "port"), got=last if first <= LAST else text,
                             expected=f"ports up to {LAST}, the lower one first")
    numbers = EMPTY
    for protocol in chosen:
        numbers |= portsets.ports(protocol) if first == 0 else portsets.ports(protocol, first, last or first)
    return PortMatch(numbers)
