"""How templates, constraints and mutators are, said as Gatekeeper's pods say it: an entry of `status.byPod`.

Gatekeeper apis/status/v1beta1. Each replica writes its own entry and no other, under the version of the object that it
read, so that none loses another's; the one that leads takes out those of replicas that are gone, and says
`status.created` of a template. Entries of others, such as a Gatekeeper beside it, are left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from custody.admission.definitions import CONSTRAINTS, GATEKEEPER
from custody.errors import MalformedError
from custody.policy.gatekeeper.syncdata import requirements, said, unmet
from custody.policy.model import Kind
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.services.cluster.policies import Held
from custody.services.mirror import key_of, version_of

ALONE = "custody"
"""The id of the one entry that there was for all replicas, before each had its own."""
WEBHOOK = ["mutation-webhook", "webhook"]
LEADING = ["audit", "generate", "mutation-webhook", "status", "webhook"]
"""What a replica does, in Gatekeeper's words; more where it leads."""
CONFLICT = "ErrConflictingSchema"
"""The type of a mutator's error that contradicts another one."""
INGEST, CREATE, UPDATE, SYNC = "ingest_error", "create_error", "update_error", "sync_error"
"""Codes of a template's errors: its Rego or CEL is none; no kind can be made of it; the kind cannot be changed to it;
what it asks for is not kept. The last is custody's own."""
_CODE = re.compile(r"spec\.targets\[0\](?:\.(?:rego|libs|code)|: got 'no code')")
_LONGEST = 1024
_ATTEMPTS = 5


class Replica(NamedTuple):
    """Whose entry is written."""

    id: str
    """POD_RANDOM_MARK, which is no name of a pod, so that no entry of a Gatekeeper is taken for a replica's."""
    leads: bool = False
    live: frozenset[str] = frozenset()
    """With `leads`: the ids of all replicas that are not gone."""

    @property
    def mark(self) -> str:
        """The end of the ids of all replicas of this installation."""
        return self.id[self.id.rindex("_"):]

    def gone(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry is one of a replica that is not there any more."""
        known = str(entry.get("id"))
        return self.leads and known not in self.live and (known == ALONE or known.endswith(self.mark))


def id_of(identity: str, namespace: str, name: str) -> str:
    """Of the replica that holds Leases by `identity`, of the installation of this namespace and name."""
    mark = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:6]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', identity)[:200]}_{mark}"


def is_gatekeepers(held: Held) -> bool:
    return held.definition.category == GATEKEEPER


class Unmade(NamedTuple):
    """Why the API server did not take the kind of a template."""

    code: str
    """CREATE or UPDATE."""
    words: str


def wanted(held: Held, replica: Replica, *, made: Unmade | None = None, unsynced: Iterable[str] = ()) -> Object | None:
    """The status that an object of Gatekeeper's kinds should have; None where it has it, and for kinds without one.

    `made`: why the kind of a template could not be made. `unsynced`: what a template reads and nobody keeps, or what a
    Config names and is not kept.
    """
    if not held.definition.status:
        return None
    return _told(held.document.get("status"), replica, _entry(held, replica, made, unsynced),
                 _created(held, replica, made))


def _created(held: Held, replica: Replica, made: Unmade | None) -> Object:
    """What only who leads says of a template."""
    if held.definition.kind != "ConstraintTemplate" or not replica.leads:
        return {}
    return {"created": held.judged is not None and made is None}


def _told(written: object, replica: Replica, entry: Object, beside: Mapping[str, Any]) -> Object | None:
    """A status with this entry and what is beside it; None where it has both. Anybody may have written what is there,
    in any shape."""
    status: Mapping[str, Any] = written if isinstance(written, dict) else {}
    there = status.get("byPod")
    kept = [known for known in there if isinstance(known, dict) and known.get("id") != replica.id
            and not replica.gone(known)] if isinstance(there, list) else []
    told: Object = {"byPod": sorted([*kept, entry], key=lambda known: str(known.get("id"))), **beside}
    return None if all(status.get(name) == value for name, value in told.items()) else told


def _entry(held: Held, replica: Replica, made: Unmade | None, unsynced: Iterable[str]) -> Object:
    kind, group = held.definition.kind, held.definition.group
    metadata = held.document.get("metadata") or {}
    uid, in_force = metadata.get("uid"), held.judged is not None
    entry: Object = {"id": replica.id, "operations": LEADING if replica.leads else WEBHOOK,
                     "observedGeneration": metadata.get("generation", 0)}
    errors = [_error(INGEST, said) for said in (held.fault, held.outdated) if said]
    if kind == "ConstraintTemplate":
        entry["templateUID"] = uid
        errors = [_error(_code(held), held.fault)] if held.fault else []
        errors += [_error(made.code, made.words)] if made is not None else []
        errors += [_error(SYNC, said) for said in unsynced]
    elif group == CONSTRAINTS:
        entry |= {"constraintUID": uid, "enforced": in_force}
        errors = [{name: text for name, text in error.items() if name != "location"} for error in errors]
    else:  # their errors have a type, and neither code nor place: the API server drops what it does not know
        errors = [{"message": error["message"]} for error in errors]
    if group == "mutations.gatekeeper.sh":
        entry |= {"mutatorUID": uid, "enforced": in_force and not held.conflict}
        errors += [{"type": CONFLICT, "message": held.conflict[:_LONGEST]}] if held.conflict else []
    elif kind == "Provider":
        entry |= {"providerUID": uid, "active": not held.fault}
        errors = [{"type": "UpsertCache", **error} for error in errors]
    elif kind == "Config":
        entry["configUID"] = uid
        errors += [{"type": SYNC, "message": said[:_LONGEST]} for said in unsynced]
    elif kind == "ExpansionTemplate":
        entry["templateUID"] = uid
    if errors:
        entry["errors"] = errors
    return entry


async def write(cluster: ClusterObjects, held: Held, replica: Replica, *, made: Unmade | None = None,
                unsynced: Iterable[str] = ()) -> None:
    """Say how it is, where that is not said. Raises CustodyError."""
    if not held.definition.status:
        return
    await put(cluster, held.document, replica, _entry(held, replica, made, unsynced), _created(held, replica, made))


async def put(cluster: ClusterObjects, document: Object, replica: Replica, entry: Object,
              beside: Mapping[str, Any] = {}) -> None:
    """Make an object's status have this entry, and what is beside it; what other replicas write meanwhile is kept. That
    the object is gone is no error. Raises CustodyError."""
    said = _told(document.get("status"), replica, entry, beside)
    if said is None:
        return
    served = await cluster.resource(str(document["apiVersion"]), str(document["kind"]))
    if served is None:
        return
    namespace, name = key_of(document)
    version, uid = version_of(document), (document.get("metadata") or {}).get("uid")
    for attempt in range(_ATTEMPTS):
        try:
            await cluster.patch(served, name, namespace, {"metadata": {"resourceVersion": version}, "status": said},
                                subresource="status")
            return
        except ApiError as error:
            if error.missing:
                return
            if error.reason != "Conflict" or attempt + 1 == _ATTEMPTS:
                raise
        # By a list, which who watches may always have.
        newest = next(iter((await cluster.list(served, namespace, fields=f"metadata.name={name}")).items), None)
        if newest is None or newest["metadata"].get("uid") != uid or (
                newest["metadata"].get("generation") != document["metadata"].get("generation")):
            return  # what is to be said of it is not known yet: the watch will tell
        version, said = version_of(newest), _told(newest.get("status"), replica, entry, beside)
        if said is None:
            return


def unsynced(held: Held, kept: Collection[Kind]) -> list[str]:
    """What a template says that it reads and nobody keeps: its rules are told that there is none of it."""
    try:
        missing = unmet(requirements(held.document), kept)
    except MalformedError as error:
        return [error.message]
    return [f"no Config or SyncSet names {said(requirement)}" for requirement in missing]


def _code(held: Held) -> str:
    """As Gatekeeper's controller says it of a template that is wrong."""
    if held.unfit:
        return UPDATE
    return INGEST if _CODE.match(held.fault) else CREATE


def _error(code: str, fault: str) -> Object:
    """With the field that is wrong as its place, where the fault begins with one."""
    place, separator, _ = fault.partition(": ")
    named = bool(separator) and " " not in place
    return {"code": code, "message": fault[:_LONGEST], **({"location": place} if named else {})}
