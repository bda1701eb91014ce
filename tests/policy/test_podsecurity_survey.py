"""Standings of namespaces: who stops a level, by the one that nobody made; what was not read is never met."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.podsecurity import standard
from custody.policy.podsecurity.assessment import at_level
from custody.policy.podsecurity.configuration import DEFAULT, Configuration, Demand
from custody.policy.podsecurity.existing import Roll, entry, warnings
from custody.policy.podsecurity.survey import Standing, Survey
from custody.policy.podsecurity.workload import workload_of
from tests.cli.test_podsecurity import HOST, PLAIN, holders
from tests.fuzz.podsecurity import Draw
from tests.policy.test_podsecurity_engine import GOOD


def made(kind: str, name: str, spec: dict[str, Any], *, uid: str = "", owner: str = "",
         namespace: str = "shop") -> dict[str, Any]:
    document = next(document for document in holders(spec) if document["kind"] == kind)
    references = [{"uid": owner, "controller": True}] if owner else []
    return {**document, "metadata": {"name": name, "namespace": namespace, "uid": uid or name,
                                     "ownerReferences": references}}


def standing(*documents: dict[str, Any], configuration: Configuration = DEFAULT, version: str = "latest",
             unread: tuple[str, str] | None = None, labels: dict[str, str] | None = None) -> Standing:
    survey = Survey(configuration, version)
    survey.namespace("shop", labels or {})
    for document in documents:
        survey.add(document)
    if unread:
        survey.unread("shop", *unread)
    (result,) = survey.standings()
    return result


def test_pods_count_for_what_nobody_made() -> None:
    shop = standing(
        made("Pod", "web-1-x", HOST, owner="rs"), made("ReplicaSet", "web-1", HOST, uid="rs", owner="d"),
        made("Deployment", "web", GOOD["spec"], uid="d"), made("Pod", "job-x", PLAIN, owner="j"),
        made("Job", "job", PLAIN, uid="j", owner="c"), made("CronJob", "nightly", PLAIN, uid="c"),
        made("Pod", "of-a-custom-resource", PLAIN, owner="elsewhere"))
    assert shop.meets == "privileged"
    assert shop.next == "baseline"
    assert (shop.pods, shop.workloads) == (3, 3)
    (stops,) = shop.stopping("baseline")
    assert (stops.workloads, stops.pods, stops.reasons) == (("deployment web",), ("web-1-x",), "host namespaces")
    assert stops.example == "host namespaces (hostPID=true)"
    assert {workload for obstacle in shop.stopping("restricted") for workload in obstacle.workloads} == {
        "deployment web", "cronjob nightly", "pod of-a-custom-resource"}


def test_each_level_that_is_met() -> None:
    assert standing().meets == "restricted"
    assert standing().next == ""
    assert standing(made("Pod", "a", GOOD["spec"])).meets == "restricted"
    plain = standing(made("Deployment", "a", PLAIN))
    assert (plain.meets, plain.next, plain.tightens) == ("baseline", "restricted", True)
    enforced = {"pod-security.kubernetes.io/enforce": "baseline"}
    assert not standing(made("Deployment", "a", PLAIN), labels=enforced).tightens
    assert standing(made("Pod", "a", GOOD["spec"]), labels=enforced).tightens


def test_a_version_is_that_of_the_checks() -> None:
    probing = {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 1, "host": "x"}}}]}
    assert standing(made("Pod", "a", probing), version="v1.33").meets == "baseline"
    assert standing(made("Pod", "a", probing), version="v1.34").meets == "privileged"


def test_what_was_not_read_is_not_met_and_not_labelled() -> None:
    part = standing(made("Pod", "a", PLAIN), unread=("CronJob", "cronjobs.batch is forbidden"))
    assert (part.meets, part.next, part.tightens) == ("", "", False)
    assert part.unread == ("CronJob: cronjobs.batch is forbidden",)
    assert [obstacle.level for obstacle in part.obstacles] == ["restricted"]  # that much is known


def test_exempt_runtime_classes_and_namespaces() -> None:
    exempt = DEFAULT._replace(runtime_classes=frozenset({"gvisor"}))
    sandboxed = made("Pod", "a", {**HOST, "runtimeClassName": "gvisor"})
    assert standing(sandboxed, configuration=exempt).meets == "restricted"
    assert standing(sandboxed).meets == "privileged"
    shop = DEFAULT._replace(namespaces=frozenset({"shop"}), defaults={
        mode: Demand("privileged", "latest") for mode in ("enforce", "audit", "warn")})
    assert standing(made("Pod", "a", PLAIN), configuration=shop).exempt
    assert not standing(made("Pod", "a", PLAIN), configuration=shop).tightens


def test_owners_that_own_each_other_end() -> None:
    circle = standing(made("ReplicaSet", "a", HOST, uid="a", owner="b"), made("Pod", "p", HOST, owner="a"),
                      made("ReplicaSet", "b", HOST, uid="b", owner="a"))
    (stops,) = circle.stopping("baseline")
    assert stops.pods == ("p",)


def test_a_namespace_that_it_was_not_told_of_does_not_count() -> None:
    assert standing(made("Pod", "a", HOST, namespace="made-meanwhile")).pods == 0
    assert standing({"apiVersion": "v1", "kind": "Pod"}).pods == 0


def test_replicas_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    evaluate = standard.evaluate
    monkeypatch.setattr(standard, "evaluate", lambda *given: asked.append(given[2]) or evaluate(*given))
    many = standing(*(made("Pod", f"web-{number}", HOST, owner="rs") for number in range(500)))
    assert asked == [*standard.LEVELS]
    (stops,) = many.stopping("baseline")
    assert len(stops.pods) == 500


@pytest.mark.parametrize("document", [
    {"apiVersion": "v1", "kind": "Pod", "metadata": []}, {"apiVersion": "v1", "kind": "Pod", "metadata": {}},
    {"apiVersion": "v1", "kind": "Pod", "spec": "x"}, {"apiVersion": "apps/v1", "kind": "Deployment", "spec": []},
    {"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": 1}}}}},
    {"apiVersion": "v1", "kind": "ReplicationController", "spec": {"template": []}}])
def test_what_has_a_pod_and_does_not_say_which(document: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        workload_of(document)


def test_what_has_none() -> None:
    for document in ({"apiVersion": "v1", "kind": "Service"}, {"kind": "Pod", "apiVersion": "example.com/v1"},
                     {"apiVersion": "v1", "kind": "ReplicationController", "spec": {}},
                     {"apiVersion": "v1", "kind": "Deployment", "metadata": {"name": "a"}}, {}):
        assert workload_of(document) is None
    with pytest.raises(UnsupportedError, match=r"/spec/pods/0: example\.com/v1 Pod holds a pod spec"):
        workload_of({"kind": "Pod", "apiVersion": "example.com/v1", "spec": {"pods": [PLAIN]}})



JUNK: list[Any] = [None, 1, 0, -1, 10**30, 1.5, True, False, "x", "", [], {}, [1], [None], {"a": 1}, {"name": []}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything that stands in a document."""
    yield from [path] if path else []
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize("seed", range(5))
def test_of_broken_objects_there_is_an_error_or_an_answer(seed: int) -> None:
    """Of 20,000, 33 had no answer once: a runtime class that is a list."""
    draw = Draw(seed)
    answered = 0
    for number in range(200):
        document = draw.holder("x") if number % 2 else draw.pod("x")
        for _ in range(draw.pick(1, 1, 2, 3)):
            *path, last = draw.pick(*places(document))
            value = document
            for step in path:
                value = value[step]
            value[last] = copy.deepcopy(draw.pick(*JUNK))
        demand = Demand("restricted", draw.pick("latest", "v1.0", "v1.18", "v1.22"))
        with contextlib.suppress(CustodyError):
            workload = workload_of(document)
            answered += workload is not None and bool(at_level(workload, demand))
        survey, roll = Survey(DEFAULT), Roll()
        survey.namespace("", {})
        with contextlib.suppress(CustodyError):
            survey.add(document)
        with contextlib.suppress(CustodyError):
            roll.add([entry(document)])
            warnings("shop", demand, roll.answer())
        survey.standings()
    assert answered > 50
