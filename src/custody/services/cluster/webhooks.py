"""The API server told what to ask: webhook configurations that are always those of the policies that are in force.

Written by server-side apply, so what others add to them (cert-manager's caBundle, labels) stays. Nothing is written
where nothing is different.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from custody.admission.configuration import OWN_NAMESPACES, Service, configurations
from custody.admission.definitions import CONSTRAINTS, DEFINITIONS, GATEKEEPER, KYVERNO
from custody.admission.exemption import NONE, Exemption
from custody.admission.rules import named
from custody.policy.load import PolicySet
from custody.policy.resources import ApiResource
from custody.ports.cluster import ClusterObjects, Object
from custody.services.mirror import Mirror

_LOG = logging.getLogger(__name__)
MANAGER = "custody"
PART = {"app.kubernetes.io/part-of": "custody", "app.kubernetes.io/managed-by": "custody"}
POLICIES = "policies"
"""The path of the webhook that is asked about policies themselves."""
_RESOURCES = {kind: ApiResource(group="admissionregistration.k8s.io", version="v1", kind=kind, plural=plural)
              for kind, plural in (("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
                                   ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"))}
_NOISE = (("coordination.k8s.io", "leases"), ("", "events"), ("events.k8s.io", "events"),
          ("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews"),
          ("authorization.k8s.io", "selfsubjectaccessreviews"))
"""What a rule about every kind is not asked about: heartbeats, what is written about denials, and questions."""
_OWN = ("kyverno.io", "policies.kyverno.io", "reports.kyverno.io", "wgpolicyk8s.io", "openreports.io",
        CONSTRAINTS, *dict.fromkeys(definition.group for definition in DEFINITIONS
                                    if definition.category == GATEKEEPER), "status.gatekeeper.sh")
"""Groups of which it is not either: a policy that denies all could not be taken back, nor could reports be written."""


_KYVERNOS = (("MutatingWebhookConfiguration", "kyverno-resource-mutating-webhook-cfg"),
             ("ValidatingWebhookConfiguration", "kyverno-resource-validating-webhook-cfg"),
             ("ValidatingWebhookConfiguration", "kyverno-policy-validating-webhook-cfg"))
"""Kinds and names of the configurations that Kyverno keeps; the last is about policies."""


class Place(NamedTuple):
    """Where and as whom the webhook is called."""

    where: str | Service
    """`https://host:port`, or a Service."""
    namespace: str
    """custody's own: never asked about, so that it can start by itself."""
    name: str = "custody"
    """Of the configurations; that of the policies' webhook has `-policies` behind it."""
    exclude: Sequence[str] = OWN_NAMESPACES
    inject_ca_from: str = ""
    """NAMESPACE/CERTIFICATE of cert-manager, which then writes caBundle."""
    names: str = ""
    """`kyverno` or `custody`: whose configurations they are like; empty: Kyverno's where the cluster has its
    definitions."""
    exempt: Exemption = NONE
    """Namespaces that Gatekeeper's policies may leave alone."""


def wanted(place: Place, bundle: bytes, policies: PolicySet, *, kyvernos: bool = False) -> list[Object]:
    """The configurations for these policies, and the one of the policies' own webhook. `kyvernos`: those of Kyverno."""
    exclude = list(dict.fromkeys((*place.exclude, place.namespace)))
    documents = [*configurations(place.where, bundle, policies, exclude=exclude, as_kyverno=kyvernos,
                                exempt=place.exempt),
                 *_of_policies(place, bundle, as_kyverno=kyvernos)]
    noise = _noise(policies)
    for document in documents:
        metadata = document["metadata"]
        metadata["name"] = metadata["name"].replace("custody", place.name, 1)
        metadata["labels"] = {**metadata.get("labels", {}), **PART}
        if place.inject_ca_from:
            metadata.setdefault("annotations", {})["cert-manager.io/inject-ca-from"] = place.inject_ca_from
        for webhook in document["webhooks"]:
            if place.inject_ca_from:
                del webhook["clientConfig"]["caBundle"]
            if any("*" in resource for rule in webhook["rules"] if rule["apiGroups"] != [CONSTRAINTS]
                   for resource in rule["resources"]):
                webhook.setdefault("matchConditions", []).append({"name": "no-noise", "expression": noise})
    return documents


def _noise(policies: PolicySet) -> str:
    """What a webhook with a rule about every kind is not asked about: nothing that another rule names, for whose sake
    it is asked, whoever wrote the one about every kind."""
    asked = named((rule for policy in policies.policies for rule in policy.rules), policies.kinds)
    left = [(group, plural) for group, plural in _NOISE
            if not {(group, plural), ("*", plural), (group, "*")} & asked]
    tests = [f'(request.resource.group == "{group}" && request.resource.resource == "{plural}")'
             for group, plural in left]
    for group in _OWN:
        plurals = sorted(plural for of, plural in asked if of == group or (of == "*" and plural in _KNOWN[group]))
        if "*" not in plurals:
            but = f" && !(request.resource.resource in {json.dumps(plurals)})" if plurals else ""
            tests.append(f'(request.resource.group == "{group}"{but})')
    return "!(" + " || ".join(tests) + ")" if tests else "true"


_KNOWN = {group: frozenset(definition.plural for definition in DEFINITIONS if definition.group == group)
          for group in _OWN}


def _of_policies(place: Place, bundle: bytes, *, as_kyverno: bool) -> list[Object]:
    """Like Kyverno's there is one of its kinds alone, and Gatekeeper's have another."""
    own = ("custody-policies", "validate-policy.custody.internal")
    if not as_kyverno:
        return [_guarding(place, bundle, *own, _rules(KYVERNO) + _rules(GATEKEEPER))]
    return [_guarding(place, bundle, _KYVERNOS[2][1], "validate-policy.kyverno.svc", _rules(KYVERNO)),
            _guarding(place, bundle, *own, _rules(GATEKEEPER))]


def _rules(category: str) -> list[Object]:
    chosen = [definition for definition in DEFINITIONS if definition.category == category]
    resources = {group: sorted(definition.plural for definition in chosen if definition.group == group)
                 for group in dict.fromkeys(definition.group for definition in chosen)}
    if category == GATEKEEPER:
        resources[CONSTRAINTS] = ["*"]
    return [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "scope": "*",
             "resources": names} for group, names in resources.items()]


def _guarding(place: Place, bundle: bytes, name: str, webhook: str, rules: list[Object]) -> Object:
    client: dict[str, Any] = {"url": f"{place.where.rstrip('/')}/{POLICIES}"} if isinstance(place.where, str) else {
        "service": {"namespace": place.where.namespace, "name": place.where.name, "path": f"/{POLICIES}",
                    "port": place.where.port}}
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": [{
                "name": webhook, "clientConfig": {**client, "caBundle": base64.b64encode(bundle).decode()},
                "rules": rules, "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
                "matchPolicy": "Equivalent", "sideEffects": "None", "timeoutSeconds": 10}]}


class Webhooks:
    """The configurations in the cluster."""

    def __init__(self, cluster: ClusterObjects, place: Place) -> None:
        self.place = place
        self._warned = False
        self.changed = asyncio.Event()
        """Set when one is not as before, whoever wrote it."""
        self._cluster = cluster
        self.mirrors = {kind: Mirror(cluster, ["admissionregistration.k8s.io/v1"], kind, labels=_SELECTOR,
                                     changed=lambda *_: self.changed.set()) for kind in _RESOURCES}
        """Those that are custody's, whoever wrote them last."""

    async def synced(self) -> None:
        for mirror in self.mirrors.values():
            await mirror.synced.wait()

    async def like_kyvernos(self, *, defined: bool) -> bool:
        """Whether the configurations are those that Kyverno would write. `defined`: the cluster has its definitions.

        They are not where a Kyverno has written its own, which is left alone. Raises CustodyError.
        """
        if not (self.place.names == "kyverno" or (defined and not self.place.names)):
            return False
        for kind, name in _KYVERNOS:
            if ("", name) not in self.mirrors[kind].objects:
                there = await self._cluster.get(_RESOURCES[kind], name)
                if there is not None and not covers((there.get("metadata") or {}).get("labels"), PART):
                    if not self._warned:
                        _LOG.warning("%s %s is somebody else's: the configurations are named as custody's", kind, name)
                        self._warned = True
                    return False
        self._warned = False
        return True

    def current(self, documents: Sequence[Object]) -> bool:
        """Whether the API server asks just what these say, as far as the watch tells."""
        return not self._different(documents) and not self._surplus(documents)

    async def keep(self, documents: Sequence[Object]) -> None:
        """Make it ask that. What is new is asked before what is gone is not any more. Raises CustodyError."""
        for document in self._different(documents):
            resource = _RESOURCES[document["kind"]]
            there = await self._cluster.apply(resource, document, manager=MANAGER)
            if not says(there.get("webhooks"), document["webhooks"]):  # what somebody else wrote into it stays then
                await self._cluster.replace(resource, _instead(there, document))
        for kind, name in self._surplus(documents):
            await self._cluster.delete(_RESOURCES[kind], name)

    async def withdraw(self) -> None:
        """Nothing is asked any more. Raises CustodyError."""
        await self.keep([])

    def _different(self, documents: Sequence[Object]) -> list[Object]:
        different = []
        for document in documents:
            known = self.mirrors[document["kind"]].objects.get(("", document["metadata"]["name"]))
            if known is None or not covers(known, document) or not says(known.get("webhooks"), document["webhooks"]):
                different.append(document)
        return different

    def _surplus(self, documents: Sequence[Object]) -> list[tuple[str, str]]:
        kept = {(document["kind"], document["metadata"]["name"]) for document in documents}
        own = (self.place.name, f"{self.place.name}-policies", *(name for _, name in _KYVERNOS))
        return [(kind, name) for kind, mirror in self.mirrors.items() for _, name in mirror.objects
                if name in own and (kind, name) not in kept]


def _instead(there: Object, document: Object) -> Object:
    """The document in place of what is there, with the authorities that others wrote into it."""
    bundles = {hook["name"]: hook["clientConfig"].get("caBundle") for hook in there.get("webhooks") or ()}
    hooks = [{**hook, "clientConfig": {**({"caBundle": bundle} if (bundle := bundles.get(hook["name"])) else {}),
                                       **hook["clientConfig"]}} for hook in document["webhooks"]]
    metadata = {**there["metadata"], **document["metadata"]}
    for part in ("labels", "annotations"):
        if merged := {**(there["metadata"].get(part) or {}), **document["metadata"].get(part, {})}:
            metadata[part] = merged
    return {**document, "metadata": metadata, "webhooks": hooks}


async def withdraw(cluster: ClusterObjects, name: str) -> list[str]:
    """Let the API server ask nobody about objects; about policies it asks on. Their kinds and names, where there were
    any. Raises CustodyError."""
    gone = []
    for resource in _RESOURCES.values():
        for document in (await cluster.list(resource, labels=_SELECTOR)).items:
            own = str(document["metadata"]["name"])
            if own in asking(name) and await cluster.delete(resource, own):
                gone.append(f"{resource.kind} {own}")
    return gone


def asking(name: str) -> tuple[str, ...]:
    """How configurations about objects may be called, where custody's are called `name`."""
    return (name, *(kyvernos for _, kyvernos in _KYVERNOS[:2]))


_SELECTOR = ",".join(f"{name}={value}" for name, value in PART.items())


def covers(known: Any, said: Any) -> bool:
    """Whether what is said is there; beside it there may be defaults of the API server and what others wrote."""
    if isinstance(said, Mapping):
        return isinstance(known, Mapping) and all(name in known and covers(known[name], value)
                                                  for name, value in said.items())
    if isinstance(said, list):
        return isinstance(known, list) and len(known) == len(said) and all(map(covers, known, said))
    return bool(known == said)


_DEFAULTS: Object = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "scope": "*",
                     "failurePolicy": "Fail"}
"""What the API server writes where nothing is said."""


def says(known: object, said: object) -> bool:
    """Whether what is said is there and, beside defaults and who signs certificates, nothing else: a condition or a
    selector that somebody adds would let all pass."""
    if isinstance(said, Mapping):
        return isinstance(known, Mapping) and said.keys() <= known.keys() and all(
            says(value, said[name]) if name in said else name == "caBundle" or _DEFAULTS.get(name, known) == value
            for name, value in known.items())
    if isinstance(said, list):
        return isinstance(known, list) and len(known) == len(said) and all(map(says, known, said))
    return known == said
