"""Policies that the API server judges by itself, made of those that say so and kept in step with them.

`validate.cel.generate` of a ClusterPolicy, `autogen.validatingAdmissionPolicy` of a ValidatingPolicy and
`autogen.mutatingAdmissionPolicy` of a MutatingPolicy (Kyverno 1.19 pkg/controllers/admissionpolicygenerator). A policy
is the API server's once what was made of it lies there unchanged for some seconds, in which the API server takes it up;
until then, and where it cannot be made, the webhook judges. Names of what is made begin with `cpol-`, `vpol-`, `mpol-`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError
from custody.policy.cel.podtemplates import configs
from custody.policy.counting import is_exception
from custody.policy.kinds import Kinds
from custody.policy.kubernetes import emission, ruleemission
from custody.policy.kubernetes.ruleemission import names
from custody.ports.cluster import ApiError, ClusterObjects, Object, Served
from custody.services.cluster.policies import Collection, Held
from custody.services.cluster.webhooks import covers, says
from custody.services.mirror import Mirror, key_of

_PART = {"app.kubernetes.io/part-of": "custody"}
_SETTLED = 3.0
"""Seconds after which the API server judges by what it was given: it takes up changes each second."""
_GROUP = "admissionregistration.k8s.io"
_VERSIONS = {"ValidatingAdmissionPolicy": ("v1",), "MutatingAdmissionPolicy": ("v1", "v1beta1", "v1alpha1")}
_MADE = {"ClusterPolicy": "ValidatingAdmissionPolicy", "ValidatingPolicy": "ValidatingAdmissionPolicy",
         "MutatingPolicy": "MutatingAdmissionPolicy"}
_PLURALS = {"ValidatingAdmissionPolicy": "ValidatingAdmissionPolicies",
            "MutatingAdmissionPolicy": "MutatingAdmissionPolicies"}
Name = tuple[str, str]
"""Kind and name of a policy."""


class Emitted(NamedTuple):
    """What became of one policy."""

    generated: bool
    """Whether the API server judges by it, and the webhook is not asked."""
    message: str = ""
    """Why not; empty where it does."""


class _Wish(NamedTuple):
    documents: Sequence[Object]
    reason: str


class Emission:
    """What is made of the policies of a cluster."""

    def __init__(self, cluster: ClusterObjects) -> None:
        self.changed = asyncio.Event()
        """Set when something that was made is not as before, whoever wrote it."""
        self.pending = False
        """Whether something was made that the API server may not have taken up yet."""
        self.result: dict[Name, Emitted] = {}
        self._cluster = cluster
        labels = ",".join(f"{name}={value}" for name, value in _PART.items())
        self.mirrors = {kind: Mirror(cluster, [f"{_GROUP}/{version}" for version in versions], kind, labels=labels,
                                     changed=lambda *_: self.changed.set())
                        for made, versions in _VERSIONS.items() for kind in (made, f"{made}Binding")}
        self._since: dict[Name, tuple[tuple[str, ...], float]] = {}
        self._wishes: dict[Name, tuple[tuple[object, ...], _Wish]] = {}

    async def keep(self, collection: Collection, kinds: Kinds, *, leading: bool, manager: str) -> None:
        """Bring what lies there in step, where this replica leads, and `result`. Raises CustodyError."""
        exceptions = [held.judged for held in collection.compiled if held.judged is not None
                      and is_exception(held.judged)]
        result: dict[Name, Emitted] = {}
        asked_for: set[tuple[str, str]] = set()
        self.pending = False
        for held in collection.compiled:
            kind = held.definition.kind
            if kind not in _MADE or held.judged is None:
                continue
            name = kind, key_of(held.judged)[1]
            wish = self._wish(held, exceptions, kinds, manager)
            asked_for |= {(document["kind"], document["metadata"]["name"]) for document in wish.documents}
            result[name] = await self._made(name, wish, leading=leading)
        self._since = {name: since for name, since in self._since.items() if name in result}
        self._wishes = {name: wish for name, wish in self._wishes.items() if name in result}
        self.result = result
        if leading:
            # What came meanwhile was not looked at, and the webhook does not judge it yet: what it has is left to it.
            unseen = {(held.document.get("metadata") or {}).get("uid") for held in [*collection.held.values()]
                      if held.checked is None}
            for kind, mirror in self.mirrors.items():
                for (_, there), known in [*mirror.objects.items()]:
                    if (kind, there) not in asked_for and mirror.served is not None and not unseen & _owners(known):
                        await self._cluster.delete(mirror.served, there)

    async def _made(self, name: Name, wish: _Wish, *, leading: bool) -> Emitted:
        if not wish.documents:
            self._since.pop(name, None)
            return Emitted(False, wish.reason)
        made = _MADE[name[0]]
        for mirror in (self.mirrors[made], self.mirrors[f"{made}Binding"]):
            if mirror.failure is not None or not mirror.synced.is_set():
                self._since.pop(name, None)
                reason = mirror.failure or "what is there is not known yet"
                return Emitted(False, f"skip generating {made}: {reason}"[:1024])
        if self.mirrors[made].served is None or self.mirrors[f"{made}Binding"].served is None:
            return Emitted(False, f"skip generating {made}: requested but no {made} API/informers are available.")
        seen = []
        for document in wish.documents:
            mirror = self.mirrors[document["kind"]]
            served = mirror.served
            known = mirror.objects.get(("", document["metadata"]["name"]))
            if known is not None and served is not None and _is(known, document):
                seen.append(f"{known['metadata'].get('uid')}/{known['metadata'].get('generation')}")
            elif leading and (fault := await self._apply(made, document)) is not None:
                self._since.pop(name, None)
                return Emitted(False, fault)
        if len(seen) < len(wish.documents):
            self._since.pop(name, None)
            self.pending = True
            return Emitted(False)
        versions, now = tuple(seen), time.monotonic()
        since = self._since.get(name)
        if since is None or since[0] != versions:
            since = self._since[name] = versions, now
        settled = now - since[1] >= _SETTLED
        self.pending = self.pending or not settled
        return Emitted(settled)

    async def _apply(self, made: str, document: Object) -> str | None:
        """Why it could not be; None where it was."""
        mirror = self.mirrors[document["kind"]]
        served = mirror.served
        if served is None:
            return None
        name = document["metadata"]["name"]
        owner = document["metadata"]["ownerReferences"][0]["uid"]
        try:
            there = await self._cluster.get(served, name)
            metadata = (there or {}).get("metadata") or {}
            if there is not None and not covers(metadata.get("labels"), _PART) and not any(
                    reference.get("uid") == owner for reference in metadata.get("ownerReferences") or ()):
                return f"skip generating {made}: {name} is there, and not of this policy."
            whole = {**document, "apiVersion": _version(served)}
            if there is None:
                await self._cluster.create(served, whole)
            elif not _is(there, document):  # replaced, so that nothing stays of what somebody else wrote into it
                version = {"resourceVersion": metadata.get("resourceVersion")}
                await self._cluster.replace(served, {**whole, "metadata": {**document["metadata"], **version}})
        except ApiError as error:
            if error.reason == "Forbidden":
                bound = document["kind"].removeprefix(made)
                return f"insufficient permissions to generate {f'{made}{bound}s' if bound else _PLURALS[made]}"
            return f"skip generating {made}: {error.message}"[:1024]
        return None

    def _wish(self, held: Held, exceptions: Sequence[Object], kinds: Kinds, manager: str) -> _Wish:
        document: Object = held.judged or {}
        name = held.definition.kind, key_of(document)[1]
        naming = [exception for exception in exceptions if names(exception, document)]
        seen = (document, kinds, manager, *naming)
        known = self._wishes.get(name)
        if known is not None and len(known[0]) == len(seen) and all(
                before is now for before, now in zip(known[0], seen, strict=True)):
            return known[1]
        wish = _wished(document, naming, kinds, manager)
        self._wishes[name] = seen, wish
        return wish


def _wished(document: Object, exceptions: Sequence[Object], kinds: Kinds, manager: str) -> _Wish:
    made = _MADE[document["kind"]]
    if document["kind"] == "ClusterPolicy":
        reason = ruleemission.skipped(document, exceptions)
    else:
        reason = _skipped(document, made)
    if reason:
        return _Wish([], reason)
    try:
        if document["kind"] == "ClusterPolicy":
            specs = ruleemission.spec_of(document, exceptions, kinds)
            documents = emission.documents(document, *specs, manager=manager)
        else:
            documents = emission.admission_policy(document, exceptions, manager=manager)
    except CustodyError as error:
        return _Wish([], f"skip generating {made}: {error.message}"[:1024])
    except ValueError as error:
        return _Wish([], f"skip generating {made}: {error}"[:1024])
    metadata = document["metadata"]
    owner = {"apiVersion": document["apiVersion"], "kind": document["kind"], "name": metadata["name"],
             "uid": metadata.get("uid") or ""}
    for policy in documents:
        policy["metadata"]["labels"].update(_PART)
        policy["metadata"]["ownerReferences"] = [owner]
    return _Wish(documents, "")


def _skipped(document: Object, made: str) -> str:
    """Why none is made of a policy of policies.kyverno.io; "" where one is."""
    spec: Object = document.get("spec") or {}
    autogen, evaluation = spec.get("autogen") or {}, spec.get("evaluation") or {}
    if not (autogen.get(made[0].lower() + made[1:]) or {}).get("enabled"):
        return f"skip generating {made}: not enabled."
    if evaluation.get("useServerSideApply"):
        return (f"skip generating {made}: useServerSideApply is enabled, which mutates atomic fields that a native "
                f"{made} rejects.")
    if configs(document["kind"], spec):
        return f"skip generating {made}: pod controllers autogen is enabled."
    if (evaluation.get("admission") or {}).get("enabled") is False:
        return f"skip generating {made}: admission is disabled."
    if (evaluation.get("mutateExisting") or {}).get("enabled"):
        return f"skip generating {made}: mutateExisting is enabled, which the API server does not do."
    return ""


def _owners(known: Object) -> set[Any]:
    return {reference.get("uid") for reference in known["metadata"].get("ownerReferences") or ()}


def _is(known: Object, document: Object) -> bool:
    """Whether what is there says that and no more: a condition that somebody added would let all pass."""
    return covers(known.get("metadata"), document["metadata"]) and says(known.get("spec"), document["spec"])


def _version(served: Served) -> str:
    return f"{_GROUP}/{served.version}"
