"""Validating- and MutatingWebhookConfiguration for a custody that the API server reaches by a URL."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from custody.admission import families
from custody.admission.endpoint import (
    DEFAULT_SECONDS,
    GATEKEEPERS,
    Endpoint,
    division,
    part_of,
    registration,
    seconds_of,
)
from custody.admission.exemption import LABEL, NONE, PATH, Exemption, knows
from custody.admission.rules import Entry, entries, to_rules
from custody.errors import MalformedError
from custody.policy.load import PolicySet

OWN_NAMESPACES = ("kube-system", "custody")
"""Never sent to the webhook: where it runs itself, and what must start when it does not answer."""
_URL = re.compile(r"https://[^/?#@\s]+(/[^?#\s]*)?")
_SERVICE = re.compile(r"(?P<namespace>[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/"
                      r"(?P<name>[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PODS = {Entry("", "v1", resource, "Namespaced", operation) for resource in ("pods", "pods/ephemeralcontainers")
         for operation in ("CREATE", "UPDATE")}
_KINDS = {True: "MutatingWebhookConfiguration", False: "ValidatingWebhookConfiguration"}
_LABELS_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Service:
    """A Service of the cluster that the webhook is behind (v1 ServiceReference)."""

    namespace: str
    name: str
    port: int = 443

    @classmethod
    def parse(cls, text: str, where: str, *, port: bool = False) -> Service:
        """NAMESPACE/NAME, and where `port` allows it :PORT. Raises MalformedError."""
        match = _SERVICE.fullmatch(text)
        if match is None or (match["port"] and not (port and 1 <= int(match["port"]) <= 65535)):
            raise MalformedError(where, got=text, expected="NAMESPACE/NAME" + ("[:PORT]" if port else "")
                                 + ", such as custody/custody")
        return cls(match["namespace"], match["name"], int(match["port"] or 443))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of its certificate: the API server asks for the first, whatever the cluster's domain."""
        name = f"{self.name}.{self.namespace}.svc"
        return name, f"{name}.cluster.local"


def check_url(url: str, name: str = "url") -> None:
    """Raises MalformedError for what no webhook configuration may hold; `name` is the option that said it."""
    if not url.startswith("https://"):
        raise MalformedError(name, got=url, expected="https://…, the API server calls nothing else")
    if not _URL.fullmatch(url):
        raise MalformedError(name, got=url, expected="https://host[:port][/path], without user, query or fragment")


def configurations(place: str | Service, ca_bundle: bytes, policies: PolicySet | None = None, *,
                   failure_policy: str | None = None, timeout: int | None = None,
                   exclude: Sequence[str] = OWN_NAMESPACES, as_kyverno: bool = False,
                   exempt: Exemption = NONE) -> list[dict[str, Any]]:
    """At most two documents, mutating (where images are verified) and validating: what the policies name, and no more.

    Each failurePolicy and timeout that the policies ask for has a webhook of its own, whose path says which policies
    it asks; `failure_policy` and `timeout` (seconds, 1 to 30) are used for all of them instead. `place` is a
    `https://host:port`, or a Service. Without policies, pods are asked about. `as_kyverno`: where all policies are of
    its kinds, the configurations are those that it would write. Where namespaces may be `exempt`, Gatekeeper's policies
    have webhooks of their own, and another one says who may be. Raises UnsupportedError for a kind whose
    resource is not known.
    """
    if isinstance(place, str):
        check_url(place)
    for namespace in exclude:
        if not _LABEL.fullmatch(namespace):
            raise MalformedError("exclude", got=namespace, expected="the name of a namespace, such as kube-system")
    if failure_policy not in (None, "Fail", "Ignore"):
        raise MalformedError("failurePolicy", got=failure_policy, expected="Fail or Ignore")
    checks = [_label_check(place, ca_bundle, exclude)] if exempt else []
    if as_kyverno and policies is not None and families.known(policies):
        return [*families.documents(policies, lambda path: _client(place, path, ca_bundle), exclude),
                *([_document(False, checks)] if checks else [])]
    documents = []
    for mutate in (True, False):
        webhooks: list[dict[str, Any]] = []
        for endpoint in _endpoints(policies, mutate, failure_policy, timeout, apart=bool(exempt)):
            asked = _PODS if policies is None else entries(
                [rule for policy in policies.policies if endpoint.selects(policy) for rule in policy.rules],
                policies.kinds, mutate=mutate)
            if asked:
                webhook = _webhook(endpoint, place, ca_bundle, to_rules(asked), exclude,
                                   failure_policy or endpoint.failure_policy or _only(policies, "Fail"),
                                   timeout or endpoint.seconds or _seconds(policies))
                webhooks += _exempting(webhook, exempt) if endpoint.part == GATEKEEPERS else [webhook]
        if not mutate:
            webhooks += checks
        if webhooks:
            documents.append(_document(mutate, webhooks))
    return documents


def _document(mutate: bool, webhooks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": _KINDS[mutate], "metadata": {"name": "custody"},
            "webhooks": webhooks}


def _exempting(webhook: dict[str, Any], exempt: Exemption) -> list[dict[str, Any]]:
    """One webhook as two: of what lies in namespaces without the label, and in those with it that may not have it,
    however they came by it. A selector cannot tell names by how they begin, nor a match condition labels."""
    def where(operator: str) -> dict[str, Any]:
        chosen = webhook["namespaceSelector"]["matchExpressions"]
        return {"matchExpressions": [{"key": LABEL, "operator": operator}, *chosen]}

    return [{**webhook, "namespaceSelector": where("DoesNotExist")},
            {**copy.deepcopy(webhook), "name": f"labelled-{webhook['name']}", "namespaceSelector": where("Exists"),
             "matchConditions": [exempt.unnamed()]}]


def _label_check(place: str | Service, ca_bundle: bytes, exclude: Sequence[str]) -> dict[str, Any]:
    """The webhook that lets nobody but who is named carry the label, as Gatekeeper's."""
    return {"name": "check-ignore-label.gatekeeper.sh", "clientConfig": _client(place, PATH, ca_bundle),
            "rules": [{"apiGroups": [""], "apiVersions": ["*"], "resources": ["namespaces"],
                       "operations": ["CREATE", "UPDATE"], "scope": "*"}],
            "admissionReviewVersions": ["v1", "v1beta1"], "failurePolicy": "Fail", "matchPolicy": "Exact",
            "sideEffects": "None", "timeoutSeconds": _LABELS_SECONDS, "namespaceSelector": _not_in(exclude)}


def _not_in(exclude: Sequence[str]) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(exclude)}]}


def _endpoints(policies: PolicySet | None, mutate: bool, failure_policy: str | None,
               timeout: int | None, *, apart: bool) -> list[Endpoint]:
    """One that asks all policies where they agree: it keeps asking all when a policy is added.

    `apart`: where any of them are Gatekeeper's, those are asked by others than the rest.
    """
    apart = apart and policies is not None and any(map(knows, policies.policies))
    groups = {(None if failure_policy else policy.failure_policy, None if timeout else seconds_of(policy),
               part_of(policy) if apart else "") for policy in (policies.policies if policies else ())}
    if policies is None:
        return [Endpoint(mutate)]
    if len(groups) < 2 and not apart:
        return [Endpoint(mutate, None, None, registration(policies.policies))]
    divided = division(policies.policies, apart=apart)
    return sorted((Endpoint(mutate, failure, seconds, divided, part=part) for failure, seconds, part in groups),
                  key=lambda endpoint: endpoint.path)


def _only(policies: PolicySet | None, default: str) -> str:
    return next((policy.failure_policy for policy in policies.policies), default) if policies else default


def _seconds(policies: PolicySet | None) -> int:
    return next((seconds_of(policy) for policy in policies.policies), DEFAULT_SECONDS) if policies else DEFAULT_SECONDS


def _webhook(endpoint: Endpoint, place: str | Service, ca_bundle: bytes, rules: list[dict[str, Any]],
             exclude: Sequence[str], failure_policy: str, seconds: int) -> dict[str, Any]:
    """`endpoint` tells the failurePolicy and timeout only where policies differ in them."""
    client = _client(place, endpoint.path, ca_bundle)
    again = {"reinvocationPolicy": "IfNeeded"} if endpoint.mutate else {}
    return {
        "name": f"{endpoint.group}.custody.internal", "clientConfig": client, "rules": rules,
        "admissionReviewVersions": ["v1", "v1beta1"], "failurePolicy": failure_policy, "matchPolicy": "Equivalent",
        "sideEffects": "None", "timeoutSeconds": seconds,
        "namespaceSelector": _not_in(exclude), **again}


def _client(place: str | Service, path: str, ca_bundle: bytes) -> dict[str, Any]:
    where: dict[str, Any] = {"url": f"{place.rstrip('/')}/{path}"} if isinstance(place, str) else {
        "service": {"namespace": place.namespace, "name": place.name, "path": f"/{path}", "port": place.port}}
    return {**where, "caBundle": base64.b64encode(ca_bundle).decode()}


def to_yaml(documents: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, width=200)
