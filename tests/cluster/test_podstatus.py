"""Entries of `status.byPod`: one for each replica, which writes no other's, and none of replicas that are gone."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from custody.admission.definitions import BY_KIND
from custody.policy.kinds import builtin
from custody.ports.cluster import ApiError, Listing
from custody.services.cluster import podstatus
from custody.services.cluster.policies import Collection, Held
from tests.cluster.test_constraints import CONSTRAINT, TEMPLATE, collected, names, there
from tests.policy.gatekeeper.world import constraint, template

PLACE = "custody", "custody"
ONE, TWO, THREE = (podstatus.id_of(f"custody-{number}_0000000{number}", *PLACE) for number in (1, 2, 3))
ELSEWHERE = podstatus.id_of("custody-1_00000001", "custody", "other")


def held(status: Any = None) -> Held:
    document = {**there(constraint()), **({"status": status} if status is not None else {})}
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, document))
    names(collection)
    return collection.held["constraints.gatekeeper.sh", "K8sRequiredLabels", "", "must-have"]


def ids(status: Any) -> list[str]:
    return [entry["id"] for entry in status["byPod"]]


def leader(id_: str, *live: str) -> podstatus.Replica:
    return podstatus.Replica(id_, leads=True, live=frozenset({id_, *live}))


def test_ids_tell_pod_replica_and_installation() -> None:
    assert ONE.startswith("custody-1_00000001_")
    assert podstatus.Replica(ONE).mark == podstatus.Replica(TWO).mark != podstatus.Replica(ELSEWHERE).mark
    assert podstatus.id_of("no/name of a pod", *PLACE).startswith("no-name-of-a-pod_")


def test_each_replica_has_an_entry_and_writes_no_other() -> None:
    first = podstatus.wanted(held(), podstatus.Replica(ONE))
    assert first is not None
    assert first["byPod"][0]["operations"] == ["mutation-webhook", "webhook"]
    second = podstatus.wanted(held(first), podstatus.Replica(TWO))
    assert second is not None
    assert ids(second) == [ONE, TWO]
    assert second["byPod"][0] == first["byPod"][0]
    for id_ in (ONE, TWO):
        assert podstatus.wanted(held(second), podstatus.Replica(id_)) is None, "nobody has anything to write any more"


def test_who_leads_says_what_else_it_does() -> None:
    both = {"byPod": [entry for id_ in (ONE, TWO) if (said := podstatus.wanted(held(), podstatus.Replica(id_)))
                      for entry in said["byPod"]]}
    said = podstatus.wanted(held(both), leader(ONE, TWO))
    assert said is not None
    assert [entry["operations"] for entry in said["byPod"]] == [podstatus.LEADING, podstatus.WEBHOOK]
    assert podstatus.wanted(held(said), leader(ONE, TWO)) is None


def test_who_leads_takes_out_who_is_gone_and_nobody_else_does() -> None:
    foreign = [{"id": id_} for id_ in (ELSEWHERE, TWO, THREE, "custody", "gatekeeper-audit-5c9b", "custody-9")]
    written = podstatus.wanted(held({"byPod": foreign}), podstatus.Replica(ONE))
    assert written is not None
    assert ids(written) == sorted([ONE, *(entry["id"] for entry in foreign)])
    cleared = podstatus.wanted(held({"byPod": foreign}), leader(ONE, THREE))
    assert cleared is not None
    assert ids(cleared) == sorted([ONE, THREE, ELSEWHERE, "gatekeeper-audit-5c9b", "custody-9"])


def test_created_is_said_by_who_leads() -> None:
    collection = collected((TEMPLATE, there(template())))
    names(collection)
    [kept] = collection.held.values()
    assert "created" not in (podstatus.wanted(kept, podstatus.Replica(ONE)) or {})
    assert (podstatus.wanted(kept, leader(ONE)) or {})["created"] is True


class Contended:
    """A cluster in which somebody else writes between reading and writing, so often."""

    def __init__(self, document: dict[str, Any], others: int, *, gone: bool = False) -> None:
        self.document = copy.deepcopy(document)
        self.patches = 0
        self._others, self._gone = others, gone

    async def resource(self, *_: Any) -> Any:
        return self

    async def list(self, *_: Any, fields: str) -> Listing:
        assert fields == f"metadata.name={self.document['metadata']['name']}"
        return Listing([] if self._gone else [copy.deepcopy(self.document)], "1")

    async def patch(self, _: Any, __: str, ___: str, patch: Any, *, subresource: str) -> None:
        assert subresource == "status"
        self.patches += 1
        metadata = self.document["metadata"]
        if self._others:
            self._others -= 1
            metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
            self.document.setdefault("status", {}).setdefault("byPod", []).append({"id": f"other-{self._others}"})
        if patch["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ApiError("PATCH", {"reason": "Conflict", "message": "changed"}, 409)
        self.document["status"].update(patch["status"]) if "status" in self.document else (
            self.document.update(status=patch["status"]))


def test_what_others_write_meanwhile_is_kept() -> None:
    kept = held()
    cluster = Contended(kept.document, others=3)
    asyncio.run(podstatus.write(cluster, kept, podstatus.Replica(ONE)))  # type: ignore[arg-type]
    assert ids(cluster.document["status"]) == sorted([ONE, "other-0", "other-1", "other-2"])
    assert cluster.patches == 4


def test_who_never_gets_a_turn_says_so_and_writes_nothing() -> None:
    kept = held()
    cluster = Contended(kept.document, others=100)
    with pytest.raises(ApiError, match="changed"):
        asyncio.run(podstatus.write(cluster, kept, podstatus.Replica(ONE)))  # type: ignore[arg-type]
    assert cluster.patches == 5
    assert ONE not in ids(cluster.document["status"])


@pytest.mark.parametrize("how", ["gone", "another", "changed"])
def test_what_is_not_known_yet_is_not_spoken_of(how: str) -> None:
    kept = held()
    cluster = Contended(kept.document, others=1, gone=how == "gone")
    if how == "another":
        cluster.document["metadata"]["uid"] = "of another"
    elif how == "changed":
        cluster.document["metadata"]["generation"] = 2
    asyncio.run(podstatus.write(cluster, kept, podstatus.Replica(ONE)))  # type: ignore[arg-type]
    assert cluster.patches == 1
    assert ids(cluster.document["status"]) == ["other-0"]


def assign(name: str, location: str) -> dict[str, Any]:
    return there({"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "Assign", "metadata": {"name": name}, "spec": {
        "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}], "location": location,
        "parameters": {"assign": {"value": "x"}}}})


def test_mutators_that_contradict_each_other_are_not_enforced_and_say_so() -> None:
    kind = BY_KIND["mutations.gatekeeper.sh", "Assign"]
    collection = Collection()
    for document in (assign("listed", "spec.hosts[name: a].x"), assign("plain", "spec.hosts.a"),
                     assign("beside", "spec.other")):
        collection.put(kind, document)
    collection.compile(builtin().unchecked())
    said = {name: podstatus.wanted(kept, leader(ONE)) for (*_, name), kept in collection.held.items()}
    entries = {name: status["byPod"][0] for name, status in said.items() if status is not None}
    assert {name: entry["enforced"] for name, entry in entries.items()} == {
        "listed": False, "plain": False, "beside": True}
    [error] = entries["plain"]["errors"]
    assert error["type"] == "ErrConflictingSchema"
    assert "these contradict each other: Assign listed, Assign plain" in error["message"]
    collection.drop(kind, assign("listed", ""))
    collection.compile(builtin().unchecked())
    assert "errors" not in (podstatus.wanted(
        collection.held["mutations.gatekeeper.sh", "Assign", "", "plain"], leader(ONE)) or {})["byPod"][0]


