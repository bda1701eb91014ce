"""Generated objects that follow their policy, their trigger and their source (`synchronize`).

They are known by Kyverno's labels, so that custody takes over what a Kyverno made, and the other way round. Changed or
deleted, they are made again as their policy says; when their trigger goes, is not meant any more, or their source goes,
they go; when their policy or rule goes, they go unless they are to be orphans.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec

from custody.errors import CustodyError
from custody.policy.kinds import Kinds
from custody.policy.model import Change, Request
from custody.policy.phases import Phase
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects, Object
from custody.services.controllers.following import Following
from custody.services.controllers.generating import Generating, Job, PolicyKey
from custody.services.controllers.named import Reference, is_scheduled, resources_of, source_of, version_of
from custody.services.mirror import Mirror

_LOG = logging.getLogger(__name__)
_LABEL = "generate.kyverno.io/"
POLICY, POLICY_NAMESPACE, RULE = _LABEL + "policy-name", _LABEL + "policy-namespace", _LABEL + "rule-name"
UID = _LABEL + "trigger-uid"
_MOST = 1000
"""Kinds, and sources, that are followed."""
_AGAIN = 60.0
"""Seconds within which one object is not made again more than a few times: another controller undoes it."""
_TIMES = 5

Followed = tuple[str, str]
"""apiVersion and kind."""


class Downstream:
    """`run` while this replica leads. `changed` tells it that there are other policies."""

    def __init__(self, cluster: ClusterObjects, snapshot: Callable[[], Snapshot], kinds: Callable[[], Awaitable[Kinds]],
                 generating: Generating) -> None:
        self._cluster, self._snapshot, self._kinds, self._generating = cluster, snapshot, kinds, generating
        self._mirrors: Following[Followed] = Following()
        self._triggers: Following[ApiResource] = Following()
        self._originals: Following[Reference] = Following()
        self._sources: dict[Reference, set[tuple[PolicyKey, Reference]]] = {}
        self._documents: dict[PolicyKey, Object] = {}
        self._again: dict[Reference, list[float]] = {}
        self._woken = asyncio.Event()
        self._todo: list[Callable[[], Awaitable[None]]] = []
        generating.settled = self.settled

    def changed(self) -> None:
        self._later(self._policies_changed)

    def _later(self, work: Callable[[], Awaitable[None]]) -> None:
        self._todo.append(work)
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            self.changed()
            self._later(self._adopt)
            while True:
                self._woken.clear()
                while self._todo:
                    work = self._todo.pop(0)
                    try:
                        await work()
                    except CustodyError as error:
                        _LOG.warning("generated objects: %s", error.message)
                await self._woken.wait()
        finally:
            for following in (self._mirrors, self._triggers, self._originals):
                await following.close()

    # What was carried out

    async def settled(self, policy: Policy, trigger: Reference, changes: tuple[Change, ...]) -> None:
        key = policy.name, policy.kind
        document = source_of(self._snapshot().policies, policy)
        for change in changes:
            if change.verb in ("create", "apply") and synchronizes(document, change.rule):
                self._follow(Reference.of(change.object))
                if change.source:
                    self._follow_source(Reference.of(_named(change.source)), key, trigger)
        spoken = {change.rule for change in changes}
        for downstream in self._of_trigger(key, trigger):
            if _label(downstream, RULE) not in spoken and synchronizes(document, _label(downstream, RULE)) and (
                    _label(downstream, RULE) or not spoken):
                await self._delete(Reference.of(downstream))

    def _follow(self, about: Reference) -> None:
        followed = about.api_version, about.kind
        if followed in self._mirrors or len(self._mirrors) >= _MOST:
            return
        self._mirrors.follow(followed, Mirror(self._cluster, [about.api_version], about.kind, labels=POLICY,
                                              changed=self._downstream_changed))

    def _follow_source(self, source: Reference, policy: PolicyKey, trigger: Reference) -> None:
        self._sources.setdefault(source, set()).add((policy, trigger))
        if source in self._originals or len(self._originals) >= _MOST:
            return

        def changed(before: Object | None, after: Object | None) -> None:
            if before is not None:  # the first sight of it is no change
                self._later(lambda: self._source_changed(source, gone=after is None))
        self._originals.follow(source, Mirror(self._cluster, [source.api_version], source.kind,
                                              namespace=source.namespace, fields=f"metadata.name={source.name}",
                                              changed=changed))

    async def _source_changed(self, source: Reference, *, gone: bool) -> None:
        for policy, trigger in [*self._sources.get(source, ())]:
            if not gone:
                await self._redo(policy, trigger)
                continue
            for downstream in self._of_trigger(policy, trigger):
                if Reference.of(downstream).kind == source.kind:
                    await self._delete(Reference.of(downstream))

    # What others do

    def _downstream_changed(self, before: Object | None, after: Object | None) -> None:
        document = after or before
        if document is None or before is None:
            return
        about = Reference.of(document)._replace(uid="")
        now = asyncio.get_running_loop().time()
        times = [moment for moment in self._again.get(about, []) if moment > now - _AGAIN]
        if len(times) >= _TIMES:
            return
        self._again[about] = [*times, now]
        if len(self._again) > 10_000:
            self._again.clear()
        self._later(lambda: self._again_made(document))

    async def _again_made(self, downstream: Object) -> None:
        for key, policy in self._documents.items():
            if _is_of(downstream, key) and synchronizes(policy, _label(downstream, RULE)):
                trigger = self._trigger(_label(downstream, UID))
                if trigger is not None:
                    await self._redo(key, Reference.of(trigger))

    async def _redo(self, policy: PolicyKey, trigger: Reference) -> None:
        document = self._trigger(trigger.uid)
        if document is not None:
            self._generating.add(Job(policy, Request.create(document)))

    def _trigger(self, uid: str) -> Object | None:
        return next((document for mirror in self._triggers.values() for document in mirror.objects.values()
                     if document["metadata"].get("uid") == uid), None) if uid else None

    def _trigger_changed(self, before: Object | None, after: Object | None) -> None:
        if before is not None and after is None:
            self._later(lambda: self._trigger_gone(str(before["metadata"].get("uid"))))

    async def _trigger_gone(self, uid: str) -> None:
        for downstream in [*self._all()]:
            if _label(downstream, UID) == uid and any(
                    _is_of(downstream, key) and synchronizes(policy, _label(downstream, RULE))
                    for key, policy in self._documents.items()):
                await self._delete(Reference.of(downstream))

    # Policies

    async def _policies_changed(self) -> None:
        policies = self._snapshot().policies
        now = {(rule.policy.name, rule.policy.kind): source_of(policies, rule.policy)
               for rule in policies.of(Phase.GENERATE) if not is_scheduled(rule.policy)}
        before, self._documents = self._documents, now
        await self._follow_triggers()
        for key, document in before.items():
            after = now.get(key)
            if after is not None and after.get("spec") == document.get("spec"):
                continue
            for downstream in [*self._all()]:
                rule = _label(downstream, RULE)
                if not _is_of(downstream, key) or not synchronizes(document, rule):
                    continue
                if after is None or not has_rule(after, rule):
                    if not orphans(document, rule):
                        await self._delete(Reference.of(downstream))
                elif trigger := self._trigger(_label(downstream, UID)):
                    await self._redo(key, Reference.of(trigger))
        for key, document in now.items():
            if key not in before or before[key].get("spec") != document.get("spec"):
                await self._existing(key, document)

    async def _follow_triggers(self) -> None:
        kinds = await self._kinds()
        triggers = {resource for rule in self._snapshot().policies.of(Phase.GENERATE)
                  if synchronizes(source_of(self._snapshot().policies, rule.policy), rule.name)
                  for resource in resources_of(rule, kinds)}
        for resource in set(self._triggers) - triggers:
            await self._triggers.drop(resource)
        for resource in triggers - set(self._triggers):
            self._triggers.follow(resource, Mirror(self._cluster, [version_of(resource)], resource.kind,
                                                   changed=self._trigger_changed))

    async def _existing(self, key: PolicyKey, document: Object) -> None:
        """Ask a policy about what is there already, where it says so."""
        kinds = await self._kinds()
        triggers = {resource for rule in self._snapshot().policies.of(Phase.GENERATE)
                  if (rule.policy.name, rule.policy.kind) == key and asks_existing(document, rule.name)
                  for resource in resources_of(rule, kinds)}
        namespace = key[0].rpartition("/")[0]
        for resource in triggers:
            for trigger in (await self._cluster.list(resource, namespace if resource.namespaced else "")).items:
                trigger["metadata"].pop("managedFields", None)
                self._generating.add(Job(key, _of_existing(key, trigger)))

    async def _adopt(self) -> None:
        """What was generated before this replica led is followed from now on."""
        if not any(synchronizes(document, "") for document in self._documents.values()):
            return
        for resource in (await self._kinds()).resources:
            try:
                listing = await self._cluster.list(resource, labels=POLICY)
            except CustodyError:  # no list, or no permission: then nothing of it was generated here either
                continue
            if listing.items:
                self._follow(Reference.of(listing.items[0]))

    # Labels

    def _all(self) -> Iterator[Object]:
        for mirror in self._mirrors.values():
            yield from mirror.objects.values()

    def _of_trigger(self, policy: PolicyKey, trigger: Reference) -> list[Object]:
        return [document for document in self._all()
                if trigger.uid and _label(document, UID) == trigger.uid and _is_of(document, policy)]

    async def _delete(self, about: Reference) -> None:
        resource = await self._cluster.resource(about.api_version, about.kind)
        if resource is not None:
            await self._cluster.delete(resource, about.name, about.namespace, uid=about.uid)


def _of_existing(policy: PolicyKey, trigger: Object) -> Request:
    """A policy of policies.kyverno.io tells what was asked for from what lies there (evaluation.admission)."""
    request = Request.create(trigger)
    return msgspec.structs.replace(request, existing=True) if policy[1].endswith("MutatingPolicy") else request


def _named(source: Mapping[str, Any]) -> Object:
    """A reference as Change.source has it, as a document."""
    return {"apiVersion": source.get("apiVersion"), "kind": source.get("kind"),
            "metadata": {"namespace": source.get("namespace"), "name": source.get("name")}}


def _label(document: Object, name: str) -> str:
    return str((document["metadata"].get("labels") or {}).get(name) or "")


def _is_of(downstream: Object, policy: PolicyKey) -> bool:
    namespace, _, name = policy[0].rpartition("/")
    return _label(downstream, POLICY) == name and _label(downstream, POLICY_NAMESPACE) == namespace


def _rules(document: Object, name: str) -> list[Mapping[str, Any]]:
    """The `generate` and `mutate` of a Kyverno policy's rules; of all where no rule is named."""
    listed = (document.get("spec") or {}).get("rules")
    return [part for rule in listed or () if isinstance(rule, dict) and name in ("", rule.get("name"))
            for part in (rule.get("generate") or rule.get("mutate"),) if isinstance(part, dict)]


def _evaluation(document: Object, field: str) -> Any:
    """Of a policy of policies.kyverno.io: `evaluation.FIELD.enabled`."""
    part = ((document.get("spec") or {}).get("evaluation") or {}).get(field)
    return part.get("enabled") if isinstance(part, dict) else None


def has_rule(document: Object, name: str) -> bool:
    """Whether a policy has a rule of this name; policies of policies.kyverno.io are one rule."""
    return "rules" not in (document.get("spec") or {}) or bool(_rules(document, name))


def synchronizes(document: Object, rule: str) -> bool:
    return _evaluation(document, "synchronize") is True or any(
        part.get("synchronize") is True for part in _rules(document, rule))


def orphans(document: Object, rule: str) -> bool:
    """Whether what a rule generated stays when it goes."""
    if _evaluation(document, "orphanDownstreamOnPolicyDelete") is True:
        return True
    return any(part.get("orphanDownstreamOnPolicyDelete") is True for part in _rules(document, rule))


def asks_existing(document: Object, rule: str) -> bool:
    """Whether a rule speaks of what was there before it."""
    spec = document.get("spec") or {}
    if _evaluation(document, "generateExisting") is True or _evaluation(document, "mutateExisting") is True:
        return True
    for part in _rules(document, rule):
        own = part.get("generateExisting")
        if own if own is not None else spec.get("generateExisting") or spec.get("generateExistingOnPolicyUpdate"):
            return True
        if part.get("mutateExistingOnPolicyUpdate") or (part.get("targets") and
                                                        spec.get("mutateExistingOnPolicyUpdate")):
            return True
    return False
