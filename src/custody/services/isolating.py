"""A pod of a cluster cut off the network and let back: planned, proved on all that stands there, done, proved again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from custody.errors import ConflictError, DeniedError, UsageError
from custody.kit.near import near
from custody.network import documents
from custody.network.connectivity import Connectivity
from custody.network.documents import Document, Unread
from custody.network.isolation import Isolation, isolation
from custody.ports.cluster import ClusterObjects
from custody.services import quarantine
from custody.services.networking import from_cluster
from custody.services.quarantine import Change, Method

Advance = Callable[[int], None] | None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What was planned, or done."""

    place: str
    changes: tuple[Change, ...]
    proof: Isolation | None
    """None of a release: nothing is to be proved."""
    unread: tuple[Unread, ...] = ()
    """Documents about the network that are not judged: the proof says nothing of them."""
    notes: tuple[str, ...] = ()
    done: bool = False


def planned(listed: Sequence[Document], place: str, method: Method = "labels") -> Quarantine:
    """Of the documents of a cluster. Raises UsageError where there is no such pod, and as quarantine.plan does."""
    pod = _pod(listed, place)
    changes = quarantine.plan(pod, [document for _, document in listed if documents.is_policy(document)], method)
    proof, unread = _proved(listed, place, changes)
    return Quarantine(place, tuple(changes), proof, unread, tuple(quarantine.consequences(pod, method)))


def planned_release(listed: Sequence[Document], place: str) -> Quarantine:
    """Raises UsageError where there is no such pod, and as quarantine.release does."""
    made = [document for _, document in listed if documents.is_policy(document)]
    return Quarantine(place, tuple(quarantine.release(_pod(listed, place), made)), None, (), (quarantine.SURPLUS,))


async def cut_off(cluster: ClusterObjects, place: str, method: Method = "labels", *, dry_run: bool = True,
                  partial: bool = False, advance: Advance = None, uid: str = "") -> Quarantine:
    """Cut the pod `namespace/name` off. Whether it is: `proof.whole`, of what stands once it is done.

    With `uid` no other pod of that name: ConflictError.

    Without `partial`, raises DeniedError where the plan would leave a way in or out, and nothing is done then. With
    `dry_run` the API server judges the changes and keeps none. Raises as quarantine.apply does.
    """
    listed = await from_cluster(cluster, advance)
    if uid and (metadata := _pod(listed, place).get("metadata")) and isinstance(metadata, dict) and (
            metadata.get("uid") != uid):
        raise ConflictError(f"pod {place}: another one has this name by now")
    plan = planned(listed, place, method)
    assert plan.proof is not None
    if not dry_run and not plan.proof.whole and not partial:
        raise NotIsolatedError(plan)
    await quarantine.apply(cluster, plan.changes, dry_run=dry_run)
    if dry_run:
        return plan
    proof, unread = _proved(await from_cluster(cluster, advance), place, ())
    return Quarantine(place, plan.changes, proof, unread, plan.notes, done=True)


async def let_back(cluster: ClusterObjects, place: str, *, dry_run: bool = True, advance: Advance = None) -> Quarantine:
    """Undo it. Raises as quarantine.apply does."""
    plan = planned_release(await from_cluster(cluster, advance), place)
    await quarantine.apply(cluster, plan.changes, dry_run=dry_run)
    return Quarantine(place, plan.changes, None, (), plan.notes, done=not dry_run)


class NotIsolatedError(DeniedError):
    """The plan would leave a way in or out: `plan.proof` says which."""

    code = "not_isolated"

    def __init__(self, plan: Quarantine) -> None:
        super().__init__(f"pod {plan.place} would not be cut off, and nothing was done",
                         hint="another method; or --partial does it all the same")
        self.plan = plan


def _pod(listed: Sequence[Document], place: str) -> dict[str, object]:
    pods = {f"{metadata.get('namespace') or 'default'}/{metadata.get('name')}": document for _, document in listed
            if (document.get("apiVersion"), document.get("kind")) == ("v1", "Pod")
            and isinstance(metadata := document.get("metadata"), dict)}
    if place not in pods:
        raise UsageError(f"there is no pod {place}", hint=near(place, pods))
    return pods[place]


def _proved(listed: Sequence[Document], place: str, changes: Sequence[Change]
            ) -> tuple[Isolation, tuple[Unread, ...]]:
    after = quarantine.carried_out([document for _, document in listed], changes)
    places = [where for where, _ in listed] + [change.told for change in changes if change.verb == "apply"]
    read = documents.read(list(zip(places, after, strict=True)))
    if all(pod.place != place for pod in read.topology.pods):
        raise UsageError(f"pod {place} has ended, or has gone: there is nothing to cut off")
    strange = [f"{kind} of {where}" for where, kind, _ in read.unread]
    return isolation(Connectivity(read.topology, read.policies), place, strange), read.unread
