"""How templates, constraints and mutators are, said as Gatekeeper's pods say it: an entry of `status.byPod`.

Gatekeeper apis/status/v1beta1. custody's replicas judge by the same, so the one that leads has one entry for all;
entries of others, such as a Gatekeeper beside it, are left alone. A template also has `status.created`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from custody.admission.definitions import CONSTRAINTS, GATEKEEPER
from custody.errors import MalformedError
from custody.policy.gatekeeper.syncdata import requirements, said, unmet
from custody.policy.model import Kind
from custody.ports.cluster import Object
from custody.services.cluster.policies import Held

ID = "custody"
OPERATIONS = ["audit", "generate", "mutation-webhook", "status", "webhook"]
INGEST, CREATE, SYNC = "ingest_error", "create_error", "sync_error"
"""Codes of a template's errors: its code is none, its kind could not be made, what it asks for is not kept."""
_LONGEST = 1024


def is_gatekeepers(held: Held) -> bool:
    return held.definition.category == GATEKEEPER


def wanted(held: Held, *, made: str = "", unsynced: Iterable[str] = ()) -> Object | None:
    """The status that an object of Gatekeeper's kinds should have; None where it has it, and for kinds without one.

    `made`: why the kind of a template could not be made. `unsynced`: what a template reads and nobody keeps.
    """
    kind = held.definition.kind
    if not held.definition.status:
        return None
    metadata = held.document.get("metadata") or {}
    entry: Object = {"id": ID, "operations": OPERATIONS, "observedGeneration": metadata.get("generation", 0)}
    errors = [_error(INGEST, held.fault)] if held.fault else []
    if kind == "ConstraintTemplate":
        entry["templateUID"] = metadata.get("uid")
        errors += [_error(CREATE, made)] if made else []
        errors += [_error(SYNC, said) for said in unsynced]
    elif held.definition.group == CONSTRAINTS:
        entry |= {"constraintUID": metadata.get("uid"), "enforced": held.judged is not None}
    elif held.definition.group == "mutations.gatekeeper.sh":
        entry |= {"mutatorUID": metadata.get("uid"), "enforced": held.judged is not None}
    elif kind == "Provider":
        entry |= {"providerUID": metadata.get("uid"), "active": not held.fault}
        errors = [{"type": "UpsertCache", "message": error["message"]} for error in errors]
    elif kind == "Config":
        entry["configUID"] = metadata.get("uid")
    else:
        entry["templateUID"] = metadata.get("uid")
    if errors:
        if held.definition.group in (CONSTRAINTS, "expansion.gatekeeper.sh"):  # their errors have no place
            errors = [{name: text for name, text in error.items() if name != "location"} for error in errors]
        entry["errors"] = errors
    # Anybody may have written it, in any shape.
    written = held.document.get("status")
    status: Mapping[str, Any] = written if isinstance(written, dict) else {}
    there = status.get("byPod")
    foreign = [known for known in there if isinstance(known, dict) and known.get("id") != ID] if isinstance(
        there, list) else []
    told: Object = {"byPod": [*foreign, entry]}
    if kind == "ConstraintTemplate":
        told["created"] = held.judged is not None and not made
    if all(status.get(name) == value for name, value in told.items()):
        return None
    return told


def unsynced(held: Held, kept: Collection[Kind]) -> list[str]:
    """What a template says that it reads and nobody keeps: its rules are told that there is none of it."""
    try:
        missing = unmet(requirements(held.document), kept)
    except MalformedError as error:
        return [error.message]
    return [f"no Config or SyncSet names {said(requirement)}" for requirement in missing]


def _error(code: str, fault: str) -> Object:
    """With the field that is wrong as its place, where the fault begins with one."""
    place, separator, _ = fault.partition(": ")
    named = bool(separator) and " " not in place
    return {"code": code, "message": fault[:_LONGEST], **({"location": place} if named else {})}
