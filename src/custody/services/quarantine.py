"""Cutting one pod off the network, and letting it back: which objects change, in which order, and how to undo it.

NetworkPolicies only ever allow, so one more of them takes nothing away that another one allows. Four methods:

    labels          the pod loses its labels, and with them its Services, its controller (which makes another pod) and
                    the policies that select it by label; a policy without rules selects it by its quarantine label
    cluster-policy  a ClusterNetworkPolicy of the Admin tier denies, at priority 0; it knows no addresses outside for
                    ingress, so a policy without rules is beside it
    cilium          a CiliumNetworkPolicy denies: with Cilium a denial wins over whatever allows
    calico          a NetworkPolicy of Calico denies, before all others of its default tier

`plan` says what to do and asks nobody; `network.isolation` proves what it would do; `apply` does it. None of them ends
connections that are open (`OPEN`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from custody.errors import ConflictError, MalformedError, UnsupportedError, UsageError
from custody.kit import strictjson
from custody.network.owners import lasting
from custody.ports.cluster import ApiError, ClusterObjects, Object
from policylang.errors import Shape, Words

Method = Literal["labels", "cluster-policy", "cilium", "calico"]
METHODS: tuple[Method, ...] = get_args(Method)
LABEL = "custody.internal/quarantine"
"""On the pod, and on each object that was made for it: the pod's uid."""
KEPT = "custody.internal/labels-before-quarantine"
"""An annotation of the pod: its labels as JSON, for `release`."""
OPEN = "connections that are open now may survive, since plugins judge a connection when it begins"
SURPLUS = "its controller takes the pod back, and may remove a pod that is one too many: perhaps this one"
_MANAGER = "custody-quarantine"
_CALICO = "projectcalico.org/v3"


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is made, changed or removed."""

    verb: Literal["apply", "patch", "delete"]
    api_version: str
    kind: str
    namespace: str
    name: str
    body: Object
    """The document of `apply`, the JSON merge patch of `patch` (RFC 7386), empty for `delete`."""
    why: str

    @property
    def told(self) -> str:
        """`apply NetworkPolicy shop/custody-quarantine-web-1`"""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.verb} {self.kind} {place}"


def plan(pod: Object, policies: Iterable[Object] = (), method: Method = "labels") -> list[Change]:
    """What cuts this pod off, in the order in which it is done: first the policy, then the pod's labels.

    `pod` is the API server's, with its uid; `policies` are documents of whatever stands there, of which Calico's orders
    are looked at. Asks nobody and changes nothing. Whether it would isolate is another question, for
    `network.isolation`: plan, then prove, then apply. Raises UsageError for a pod that is in quarantine already,
    UnsupportedError for one whose labels cannot be changed, MalformedError for what is no pod.
    """
    if method not in METHODS:
        raise UsageError(f"method: got {method}, expected {', '.join(METHODS)}")
    metadata = _metadata(pod)
    namespace, name, uid = _text(metadata, "namespace"), _text(metadata, "name"), _uid(metadata)
    labels, annotations = _texts(metadata, "labels"), _texts(metadata, "annotations")
    if LABEL in labels:
        raise UsageError(f"pod {namespace}/{name} is in quarantine already", hint="--release lets it back")
    if "kubernetes.io/config.mirror" in annotations:
        raise UnsupportedError(f"pod {namespace}/{name}", "it is a static pod: its labels are its node's file's",
                               hint="move its manifest off the node")
    changes = _policies(method, namespace, f"custody-quarantine-{uid}", uid, policies)
    patched: dict[str, Any] = {LABEL: uid}
    if method == "labels":
        patched |= dict.fromkeys(labels)
    body = {"metadata": {"uid": uid, "labels": patched,
                         "annotations": {KEPT: json.dumps(labels, sort_keys=True, separators=(",", ":"))}}}
    if version := metadata.get("resourceVersion"):
        body["metadata"]["resourceVersion"] = version
    away = sorted(lasting(labels)) if method == "labels" else []
    return [*changes, Change(
        "patch", "v1", "Pod", namespace, name, body,
        f"the pod leaves what selects it by {', '.join(away)}" if away else "the pod is what the policy selects")]


def consequences(pod: Object, method: Method) -> list[str]:
    """What else comes of it, and what it does not do, for people."""
    told = [OPEN]
    metadata = _metadata(pod)
    owners = metadata.get("ownerReferences") or []
    owner = next((entry for entry in owners if isinstance(entry, dict) and entry.get("controller")), None)
    if method == "labels":
        said = f"{owner.get('kind')} {owner.get('name')}" if owner is not None else ""
        if owner is None:
            told.append("no controller makes another pod")
        elif owner.get("kind") == "StatefulSet":
            told.append(f"{said} cannot make another pod as long as this one has the name")
        else:
            told.append(f"{said} makes another pod, which may be attacked in the same way")
    return told


def release(pod: Object, made: Sequence[Object] = ()) -> list[Change]:
    """What lets a pod back: its labels as they were, then the objects `made` for it go, by their own label.

    Its controller takes it back and may remove one pod, perhaps this one. Raises UsageError for a pod that is not in
    quarantine, MalformedError where the labels of before are not to be had.
    """
    metadata = _metadata(pod)
    namespace, name, uid = _text(metadata, "namespace"), _text(metadata, "name"), _uid(metadata)
    labels, annotations = _texts(metadata, "labels"), _texts(metadata, "annotations")
    if LABEL not in labels:
        raise UsageError(f"pod {namespace}/{name} is not in quarantine", hint=f"it has no label {LABEL}")
    if labels[LABEL] != uid:  # somebody wrote it there: what has that uid's label is another pod's quarantine
        raise MalformedError(f"pod {namespace}/{name}: label {LABEL}", got=labels[LABEL], expected=f"its uid, {uid}",
                             hint="take the label away and put back the labels of before by hand")
    where = f"pod {namespace}/{name}: annotation {KEPT}"
    if KEPT not in annotations:
        raise MalformedError(where, got="nothing", expected="the labels of before, as JSON")
    before = strictjson.loads(annotations[KEPT], where, max_size=1 << 18)
    if not isinstance(before, dict) or not all(isinstance(value, str) for value in before.values()):
        raise MalformedError(where, got=Shape(before), expected="the labels of before, as JSON")
    body: Object = {"metadata": {"uid": uid, "labels": {**before, LABEL: None}, "annotations": {KEPT: None}}}
    changes = [Change("patch", "v1", "Pod", namespace, name, body, "the pod has the labels of before")]
    for document in made:
        about = _metadata(document)
        if _texts(about, "labels").get(LABEL) == uid and about.get("name") == f"custody-quarantine-{uid}":
            changes.append(Change("delete", _text(document, "apiVersion"), _text(document, "kind"),
                                  str(about.get("namespace") or ""), _text(about, "name"), {},
                                  "it was made for the quarantine of this pod"))
    return changes


async def apply(cluster: ClusterObjects, changes: Sequence[Change], *, dry_run: bool = True) -> list[Object]:
    """Carry the changes out one after the other; with `dry_run` the API server judges and keeps none.

    Gives the objects as the API server then has them. Stops at the first that fails: policies without the label on the
    pod touch nobody, so that what was done until then harms nothing, and the same call may be made again. Raises
    UnsupportedError where a kind is not served, ConflictError where the pod is another one than was planned for or was
    changed since, ApiError for all else that the API server refuses, NetworkError.
    """
    done: list[Object] = []
    resources = []
    for change in changes:
        resource = await cluster.resource(change.api_version, change.kind)
        if resource is None:
            raise UnsupportedError(f"{change.kind} of {change.api_version}", f"{cluster.url} serves no such kind",
                                   hint=f"--method: {', '.join(METHODS)}")
        resources.append(resource)
    for change, resource in zip(changes, resources, strict=True):
        try:
            if change.verb == "apply":
                done.append(await cluster.apply(resource, change.body, manager=_MANAGER, dry_run=dry_run))
            elif change.verb == "patch":
                done.append(await cluster.patch(resource, change.name, change.namespace, change.body,
                                                dry_run=dry_run))
            else:
                await cluster.delete(resource, change.name, change.namespace, dry_run=dry_run)
        except ApiError as error:
            if error.reason == "Conflict":
                raise ConflictError(f"{change.told}: it is not as it was planned for: {error.words[:500]}",
                                    hint="plan again") from None
            raise
    return done


def carried_out(documents: Iterable[Object], changes: Sequence[Change]) -> list[Object]:
    """The documents as they would be after the changes: for the proof, without a cluster."""
    result = list(documents)
    for change in changes:
        if change.verb == "apply":
            result.append(change.body)
            continue
        at = next((index for index, document in enumerate(result) if (
            document.get("apiVersion"), document.get("kind")) == (change.api_version, change.kind) and (
            _metadata(document).get("namespace") or ("default" if change.namespace else ""),
            _metadata(document).get("name")) == (change.namespace, change.name)), None)
        if at is None:
            raise UsageError(f"{change.told}: it is not among the documents")
        if change.verb == "delete":
            del result[at]
        else:
            result[at] = merged(result[at], change.body)
    return result


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _policies(method: Method, namespace: str, name: str, uid: str, standing: Iterable[Object]) -> list[Change]:
    own = {"name": name, "namespace": namespace, "labels": {LABEL: uid}}
    chosen = {"matchLabels": {LABEL: uid}}
    if method == "cilium":
        return [_made("cilium.io/v2", "CiliumNetworkPolicy", own, {
            "endpointSelector": chosen, "ingressDeny": [{"fromEntities": ["all"]}],
            "egressDeny": [{"toEntities": ["all"]}]}, "denies all, whatever allows")]
    if method == "calico":
        return [_made(_CALICO, "NetworkPolicy", own, {
            "order": _before(standing), "selector": f"{LABEL} == '{uid}'", "types": ["Ingress", "Egress"],
            "ingress": [{"action": "Deny"}], "egress": [{"action": "Deny"}]}, "denies all, before its tier's others")]
    closed = _made("networking.k8s.io/v1", "NetworkPolicy", own, {
        "podSelector": chosen, "policyTypes": ["Ingress", "Egress"]}, "isolates what has the label, and allows nothing")
    if method == "labels":
        return [closed]
    subject = {"pods": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                        "podSelector": chosen}}
    return [closed, _made("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", {
        "name": name, "labels": {LABEL: uid}}, {
        "tier": "Admin", "priority": 0, "subject": subject,
        "ingress": [{"name": "quarantine", "action": "Deny", "from": [{"namespaces": {}}]}],
        "egress": [{"name": "quarantine", "action": "Deny", "to": [
            {"namespaces": {}}, {"networks": ["0.0.0.0/0", "::/0"]}]}]}, "denies before every NetworkPolicy")]


def _made(api_version: str, kind: str, metadata: Object, spec: Object, why: str) -> Change:
    return Change("apply", api_version, kind, metadata.get("namespace", ""), metadata["name"],
                  {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}, why)


def _before(standing: Iterable[Object]) -> float:
    """An order before those of all of Calico's policies: the lowest is asked first."""
    orders = [spec["order"] for document in standing
              if str(document.get("apiVersion", "")).partition("/")[0] in ("projectcalico.org", "crd.projectcalico.org")
              and isinstance(spec := document.get("spec"), dict) and isinstance(spec.get("order"), (int, float))]
    return min([0.0, *(float(order) - 1 for order in orders)])


def _metadata(document: Object) -> Object:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise MalformedError("metadata", got=Shape(metadata), expected="a map")
    return metadata


def _text(document: Object, key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedError(key, got=value, expected="text")
    return value


def _uid(metadata: Object) -> str:
    """Of a pod that is there: by it nobody else is meant."""
    if not metadata.get("uid"):
        raise MalformedError(f"pod {metadata['namespace']}/{metadata['name']}: metadata.uid", got=Words("nothing"),
                             expected="the uid that the API server gave it",
                             hint="kubectl get pods -A -o yaml has them")
    return _text(metadata, "uid")


def _texts(document: Object, key: str) -> dict[str, str]:
    value = document.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise MalformedError(f"metadata.{key}", got=Shape(value), expected="a map of texts")
    return value
