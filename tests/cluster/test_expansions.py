"""ExpansionTemplates that make each other without end: the one that closes the cycle is out of force, and no other."""

from __future__ import annotations

import random
from typing import Any

import pytest

from custody.admission.definitions import BY_KIND
from custody.policy.decide import decide
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.model import Context, Verdict
from custody.policy.rule import Rule
from custody.services.cluster import podstatus
from custody.services.cluster.policies import Collection, Held
from tests.cluster.test_constraints import CONSTRAINT, LEADER, TEMPLATE, reviewed, there
from tests.policy.gatekeeper.test_expansion import deployment, expansion
from tests.policy.gatekeeper.world import NOW, asked, constraint, template

EXPANSION = BY_KIND["expansion.gatekeeper.sh", "ExpansionTemplate"]
PODS = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}


def made(name: str, of: str, makes: str, *, at: str = "", version: int = 1) -> dict[str, Any]:
    """Of one kind another, in groups of their own but for Deployments and Pods; `at`: when it was created."""
    group, into = ({"Deployment": "apps", "Pod": ""}.get(kind, "x.io") for kind in (of, makes))
    document = there(expansion(name, applyTo=[{"groups": [group], "versions": ["v1"], "kinds": [of]}],
                               generatedGVK={"group": into, "version": "v1", "kind": makes}), version)
    if at:
        document["metadata"]["creationTimestamp"] = f"2026-01-{at}T00:00:00Z"
    return document


def following(*documents: dict[str, Any]) -> Collection:
    """Those templates, in this order, beside a constraint on pods."""
    collection = Collection()
    collection.put(TEMPLATE, there(template()))
    collection.put(CONSTRAINT, there(constraint(match=PODS)))
    for document in documents:
        collection.put(EXPANSION, document)
    return collection


def rules(collection: Collection) -> list[Rule]:
    return collection.compile(builtin().unchecked()).rules


def out(collection: Collection) -> dict[str, str]:
    """Names of templates that are not in force as they are, with why."""
    rules(collection)
    return {held.document["metadata"]["name"]: held.fault for held in collection.held.values() if held.fault}


def denies(collection: Collection) -> bool:
    """Whether a Deployment is denied for the pod that it will make."""
    policies = collection.compile(builtin().unchecked())
    return decide(asked(deployment()), {}, policies, Context(now=NOW)).verdict is Verdict.DENIED


def named(collection: Collection, name: str) -> Held:
    return next(held for (_, kind, _, at), held in collection.held.items() if (kind, at) == (EXPANSION.kind, name))


PODS_OF = made("pods", "Deployment", "Pod", at="05")


@pytest.mark.parametrize("name", ["aaa", "zzz"])
def test_who_comes_later_and_closes_a_cycle_is_out_whatever_it_is_called(name: str) -> None:
    collection = following(PODS_OF)
    assert denies(collection)
    collection.put(EXPANSION, made(name, "Pod", "Deployment", at="06"))
    for _ in range(2):
        assert denies(collection), "the one before judges on"
        assert [*out(collection)] == [name]
    assert out(collection)[name] == (
        f"spec.generatedGVK: got 'template {name} forms an expansion cycle with pods', expected templates that end")
    status = podstatus.wanted(named(collection, name), LEADER)
    assert status is not None
    assert [*status["byPod"][0]["errors"][0]] == ["message"]
    assert "errors" not in (podstatus.wanted(named(collection, "pods"), LEADER) or {})["byPod"][0]
    collection.drop(EXPANSION, PODS_OF)
    assert out(collection) == {}, "nothing is in its way any more"
    assert not denies(collection)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_replica_that_starts_puts_the_youngest_out_whatever_it_hears_first(order: tuple[int, ...]) -> None:
    documents = [made("b", "Deployment", "Pod", at="03"), made("c", "Pod", "Gadget", at="02"),
                 made("a", "Gadget", "Deployment", at="04")]
    collection = following(*(documents[at] for at in order))
    assert [*out(collection)] == ["a"]
    assert "with b, c" in out(collection)["a"]
    assert denies(collection)


def test_a_change_that_closes_a_cycle_leaves_what_it_was_before_in_force() -> None:
    collection = following(PODS_OF, made("gadgets", "Gadget", "Widget", at="01"))
    assert denies(collection)
    collection.put(EXPANSION, made("gadgets", "Pod", "Deployment", at="01", version=2))
    for _ in range(2):
        assert denies(collection)
        assert [*out(collection)] == ["gadgets"]
        assert out(collection)["gadgets"].endswith("the policy as it was before (resourceVersion 1) is in force")
    gadgets = named(collection, "gadgets")
    assert gadgets.judged is not None
    assert gadgets.judged["metadata"]["generation"] == 1
    again = following(PODS_OF, made("gadgets", "Pod", "Deployment", at="01", version=2))
    assert [*out(again)] == ["pods"], "where nothing was in force before, the youngest is out"


def test_one_that_closes_no_cycle_is_not_blamed_for_a_change_that_does() -> None:
    """`elder` is changed while nobody answers, and out; then only a label of `younger` is."""
    collection = following(made("elder", "Gadget", "Widget", at="01"), made("younger", "Pod", "Gadget", at="02"))
    assert out(collection) == {}
    collection.put(EXPANSION, made("elder", "Gadget", "Pod", at="01", version=2))
    assert [*out(collection)] == ["elder"]
    changed = made("younger", "Pod", "Gadget", at="02", version=2)
    changed["metadata"]["labels"] = {"team": "x"}
    collection.put(EXPANSION, changed)
    for _ in range(2):
        assert [*out(collection)] == ["elder"]
        assert named(collection, "younger").judged is changed
    assert "template elder forms an expansion cycle with younger" in out(collection)["elder"]


def test_both_changed_at_once_are_judged_by_what_is_in_force_in_the_end() -> None:
    collection = following(made("elder", "Gadget", "Widget", at="01"), made("younger", "Pod", "Gadget", at="02"))
    assert out(collection) == {}
    collection.put(EXPANSION, made("elder", "Gadget", "Deployment", at="01", version=2))
    collection.put(EXPANSION, made("younger", "Deployment", "Gadget", at="02", version=2))
    assert [*out(collection)] == ["younger"]
    judged = named(collection, "elder").judged
    assert judged is not None
    assert judged["metadata"]["generation"] == 2


def test_whoever_is_blamed_would_close_a_cycle_with_what_is_in_force() -> None:
    """Whatever is put and taken away in whatever order, and what is in force has none."""
    kinds = builtin().unchecked()
    chance = random.Random(7)
    blamed = 0
    for _ in range(60):
        collection = Collection()
        for step in range(12):
            name = chance.choice("abcdef")
            document = made(name, *chance.sample(["Pod", "Deployment", "Gadget", "Widget"], 2),
                            at=f"{'abcdef'.index(name) + 1:02}", version=step + 1)
            if chance.random() < 0.15:
                collection.drop(EXPANSION, document)
            else:
                collection.put(EXPANSION, document)
            if chance.random() < 0.3:
                continue  # several changes come together
            collection.compile(kinds)
            held = [*collection.held.values()]
            PolicySet.linking([one.compiled for one in held if one.compiled], [""] * sum(
                one.compiled is not None for one in held), kinds)
            for one in held:
                assert (one.judged is one.document) is not bool(one.fault)
                if one.fault:
                    blamed += 1
                    assert one.fresh is not None
                    closes = collection.closing(one.fresh, kinds)
                    assert closes
                    assert one.fault.startswith(closes)
    assert blamed > 100


def test_two_cycles_are_ended_by_two() -> None:
    collection = following(PODS_OF, made("one", "Pod", "Deployment", at="06"), made("x", "Gadget", "Widget", at="01"),
                           made("y", "Widget", "Gadget", at="02"))
    assert sorted(out(collection)) == ["one", "y"]
    assert denies(collection)


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_one_that_closes_a_cycle_is_refused_when_it_is_applied(operation: str) -> None:
    collection = following(PODS_OF)
    rules(collection)
    response = reviewed(collection, made("back", "Pod", "Deployment"), operation)
    assert response["allowed"] is False
    assert "template back forms an expansion cycle with pods" in response["status"]["message"]
    assert reviewed(collection, made("on", "Pod", "Gadget"), operation)["allowed"] is True
    assert reviewed(collection, made("pods", "Deployment", "Pod", version=2), operation)["allowed"] is True
