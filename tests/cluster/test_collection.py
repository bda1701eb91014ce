"""A thousand policies of which one changes: it alone is compiled, whoever asks for the set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from custody.admission.definitions import BY_KIND
from custody.policy import engines
from custody.policy.kinds import builtin
from custody.services.cluster.policies import Collection
from tests.cluster.replica import Cluster, Replica
from tests.cluster.test_run import cluster as definitions

cluster = definitions
DEFINITION = BY_KIND["kyverno.io", "ClusterPolicy"]


def policy(number: int, label: str = "bad", *, field: str = "pattern") -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": f"p{number}", "uid": str(number), "resourceVersion": label}, "spec": {"rules": [{
                "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "validate": {"message": "no", field: {"metadata": {"labels": {"app": f"!{label}"}}}}}]}}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the documents that were compiled, in their order."""
    names: list[str] = []
    compile_document = engines.compile_document

    def counting(document: Any, at: int, where: str) -> Any:
        names.append(document["metadata"]["name"])
        return compile_document(document, at, where)

    monkeypatch.setattr(engines, "compile_document", counting)
    return names


def test_what_did_not_change_is_not_compiled_again(compiled: list[str]) -> None:
    collection, kinds = Collection(), builtin()
    for number in range(200):
        collection.put(DEFINITION, policy(number))
    before = collection.compile(kinds)
    assert len(compiled) == len(before.policies) == 200
    collection.put(DEFINITION, policy(7, "worse"))
    after = collection.compile(kinds)
    assert compiled[200:] == ["p7"]
    assert after.digest != before.digest
    assert before.policies[7].rules is not after.policies[7].rules
    collection.drop(DEFINITION, policy(3))
    assert [policy.parts for policy in collection.compile(kinds).policies] == [(at,) for at in range(199)]
    assert [policy.parts for policy in before.policies] == [(at,) for at in range(200)], "who judges by it goes on"
    assert len(compiled) == 201
    # Other kinds are served: each is looked at again by them, and none compiled.
    assert collection.compile(kinds.unchecked()).digest == collection.compile(kinds).digest
    assert len(compiled) == 201


def test_a_change_that_cannot_be_compiled_leaves_the_one_before_in_force(compiled: list[str]) -> None:
    collection, kinds = Collection(), builtin()
    collection.put(DEFINITION, policy(1, "bad"))
    collection.put(DEFINITION, policy(2, "bad"))
    before = collection.compile(kinds)
    collection.put(DEFINITION, policy(1, "worse", field="patern"))
    assert collection.compile(kinds).digest == before.digest
    place = ("kyverno.io", "ClusterPolicy", "", "p1")
    assert "patern" in collection.held[place].fault
    assert "resourceVersion bad" in collection.held[place].fault
    collection.compile(kinds)
    assert compiled == ["p1", "p2", "p1"]
    collection.put(DEFINITION, policy(1, "worse"))
    assert collection.compile(kinds).digest != before.digest
    assert collection.held[place].ready
    collection.put(DEFINITION, policy(3, "bad", field="patern"))
    assert [policy.name for policy in collection.compile(kinds).policies] == ["p1", "p2"], "nothing was before it"


@pytest.mark.peer
def test_a_burst_of_policies_makes_one_set_a_second(cluster: Cluster, tmp_path: Path) -> None:
    count = 150
    replica = Replica(tmp_path / "replica", cluster, "--reports", "none").started(60)
    try:
        policies = [policy(number) for number in range(count)]
        for document in policies:
            document["metadata"] = {"name": document["metadata"]["name"]}
        begun = time.monotonic()
        cluster.do("apply", "--server-side", "-f", "-", given=policies)
        last = f"judges by {count} policies now"
        cluster.until(lambda: any(last in line for line in replica.lines), "all are in force", seconds=60)
        took = time.monotonic() - begun
        sets = [line for line in replica.lines if "judges by" in line]
        assert len(sets) <= took + 4, sets
    finally:
        replica.stop()
        cluster.do("delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all")
        cluster.do("delete", "clusterpolicies.kyverno.io", "--all")
