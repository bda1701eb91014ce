"""Scans, reports, events and what policies do to other objects, in a real API server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.policy.decide import decide
from custody.policy.model import Context, Request, User
from tests.controllers.conftest import Replica, Scenario, until
from tests.controllers.engine import config_map, making

pytestmark = pytest.mark.peer


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"containers": [{"name": "a", "image": "registry.example.com/a:1"}]}}


def labelled(name: str, message: str = "team is required", **annotations: str) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": name, "annotations": {
                "pod-policies.kyverno.io/autogen-controllers": "none", **annotations}},
            "spec": {"validationFailureAction": "Audit", "background": True, "rules": [{
                "name": "label", "match": {"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["default"]}}]},
                "validate": {"message": message, "pattern": {"metadata": {"labels": {"team": "?*"}}}}}]}}


async def report_of(replica: Replica, made: dict[str, Any]) -> dict[str, Any] | None:
    return await replica.get("PolicyReport", made["metadata"]["uid"], "default", "wgpolicyk8s.io/v1alpha2")


def test_each_object_has_a_report_that_follows_it_and_the_policies(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        good, bad = await replica.create(pod("good", team="a")), await replica.create(pod("bad"))
        replica.set(labelled("team", **{"policies.kyverno.io/severity": "high"}))
        report = await until(lambda: report_of(replica, bad))
        assert report["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kyverno"}
        owner = report["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "bad", bad["metadata"]["uid"])
        assert report["scope"]["name"] == "bad"
        assert report["summary"] == {"pass": 0, "fail": 1, "warn": 0, "error": 0, "skip": 0}
        result = report["results"][0]
        assert (result["policy"], result["rule"], result["result"], result["severity"], result["source"]) == (
            "team", "label", "fail", "high", "kyverno")
        assert result["properties"] == {"process": "background scan"}
        assert (await until(lambda: report_of(replica, good)))["summary"]["pass"] == 1
        # Nothing is written again where nothing changed.
        writes = replica.controllers.reports.writes
        replica.set(labelled("team", **{"policies.kyverno.io/severity": "high"}))
        await until(lambda: _idle(replica))
        assert replica.controllers.reports.writes == writes
        # The object changes.
        pods = await replica.client.resource("v1", "Pod")
        assert pods is not None
        await replica.client.patch(pods, "bad", "default", {"metadata": {"labels": {"team": "b"}}})
        await until(lambda: _summary(replica, bad, "pass", 1))
        # Another policy comes, another goes; each is judged alone.
        judged = replica.controllers.scan.judged
        replica.set(labelled("team", **{"policies.kyverno.io/severity": "high"}), labelled("again", "again"))
        await until(lambda: _summary(replica, good, "pass", 2))
        await until(lambda: _idle(replica))
        assert replica.controllers.scan.judged == judged + 2
        replica.set()
        await until(lambda: _gone(replica, good))
        for made in (good, bad):
            await replica.delete(made)

    leading(scenario)


async def _idle(replica: Replica) -> bool:
    return replica.controllers.scan.idle


async def _summary(replica: Replica, made: dict[str, Any], outcome: str, count: int) -> bool:
    report = await report_of(replica, made)
    return report is not None and report["summary"][outcome] == count


async def _gone(replica: Replica, made: dict[str, Any]) -> bool:
    return await report_of(replica, made) is None


def test_violations_of_a_scan_are_events_on_the_policy_and_the_object(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        bad = await replica.create(pod("told"))
        replica.set(labelled("telling"))

        async def two() -> list[dict[str, Any]]:
            events = [event for event in await replica.events("PolicyViolation") if "telling" in str(event)]
            return events if len(events) == 2 else []
        events = {event["regarding"]["kind"]: event for event in await until(two)}
        message = "validation error: team is required. rule label failed at path /metadata/labels/"
        assert events["ClusterPolicy"]["note"] == f"Pod default/told: [label] fail; {message}"
        assert events["ClusterPolicy"]["regarding"]["uid"] == "a-uid"
        assert events["ClusterPolicy"]["related"]["name"] == "told"
        assert events["Pod"]["note"] == f"policy telling/label fail: {message}"
        assert {event["reportingController"] for event in events.values()} == {"kyverno-scan"}
        assert {event["type"] for event in events.values()} == {"Warning"}
        await replica.delete(bad)

    leading(scenario)


def test_a_replica_that_takes_over_removes_reports_in_which_nothing_is_said_and_keeps_what_reviews_said(
        leading: Scenario) -> None:
    made: dict[str, Any] = {}

    async def before(replica: Replica) -> None:
        made["pod"] = await replica.create(pod("left"))
        replica.set(labelled("left"))
        await until(lambda: report_of(replica, made["pod"]))

    async def after(replica: Replica) -> None:
        await until(lambda: _gone(replica, made["pod"]))
        # What a review said, of a policy that no scan asks.
        quiet = labelled("quiet")
        quiet["spec"]["background"] = False
        replica.set(quiet)
        request = Request.create(made["pod"])
        decision = decide(request, {}, replica.policies, Context(now=datetime.now(UTC)))
        replica.controllers.scan.reviewed(request, decision, replica.policies)
        report = await until(lambda: report_of(replica, made["pod"]))
        assert report["results"][0]["properties"] == {"process": "admission review"}
        made["quiet"] = quiet

    async def again(replica: Replica) -> None:
        replica.set(made["quiet"], labelled("loud"))
        await until(lambda: _summary(replica, made["pod"], "fail", 2))
        await replica.delete(made["pod"])

    for scenario in (before, after):
        leading(scenario)
    leading(again, made["quiet"])


def test_what_is_generated_follows_its_trigger_and_its_policy(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        policy = making("follow", "Secret", synchronize=True, object=config_map("made-NAME", "default", a="1"))
        replica.set(policy)
        trigger = await replica.admit({"apiVersion": "v1", "kind": "Secret",
                                       "metadata": {"name": "trigger", "namespace": "default"}})

        def made(value: str | None) -> Any:
            async def same() -> bool:
                there = await replica.get("ConfigMap", "made-trigger", "default")
                return (there["data"]["a"] if there else None) == value
            return same
        await until(made("1"))
        await until(lambda: _no_update_requests(replica))
        await asyncio.sleep(0.5)  # until what was made is watched
        # Somebody deletes it, somebody changes it.
        await replica.delete(config_map("made-trigger", "default"))
        await until(made("1"))
        maps = await replica.client.resource("v1", "ConfigMap")
        assert maps is not None
        await replica.client.patch(maps, "made-trigger", "default", {"data": {"a": "2"}})
        await until(made("1"))
        # Its policy changes, its trigger goes, its policy goes.
        replica.set(making("follow", "Secret", synchronize=True, object=config_map("made-NAME", "default", a="3")))
        await until(made("3"))
        await replica.delete(trigger)
        await until(made(None))
        await replica.admit({"apiVersion": "v1", "kind": "Secret",
                             "metadata": {"name": "trigger", "namespace": "default"}})
        await until(made("3"))
        await asyncio.sleep(0.3)
        replica.set()
        await until(made(None))

    leading(scenario)


async def _no_update_requests(replica: Replica) -> bool:
    return not await replica.listed("kyverno.io/v2", "UpdateRequest", "custody")


def test_dry_runs_and_custodys_own_changes_trigger_nothing(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        replica.controllers.triggers._own = frozenset({"custody"})
        replica.set(making("quiet", "Secret", object=config_map("quiet-NAME", "default")))
        secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default"}}
        await replica.admit({**secret, "metadata": {"name": "dry", "namespace": "default"}}, dry_run=True)
        await replica.admit({**secret, "metadata": {"name": "own", "namespace": "default"}},
                            user=User(username="custody"))
        await replica.admit({**secret, "metadata": {"name": "other", "namespace": "default"}})
        await until(lambda: replica.get("ConfigMap", "quiet-other", "default"))
        assert await replica.get("ConfigMap", "quiet-dry", "default") is None
        assert await replica.get("ConfigMap", "quiet-own", "default") is None
        assert replica.controllers.triggers.written == 1

    leading(scenario)


def test_what_is_refused_for_good_is_told_once_and_not_tried_again(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        replica.set(making("wrong", "Secret", object=config_map("NOT A NAME", "default")))
        await replica.admit({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "t", "namespace": "default"}})

        async def told() -> list[dict[str, Any]]:
            return [event for event in await replica.events("PolicyError") if event["regarding"]["name"] == "wrong"]
        events = await until(told)
        assert "policy wrong error: apply ConfigMap default/NOT A t: " in events[0]["note"]
        assert "is invalid" in events[0]["note"]
        await until(lambda: _no_update_requests(replica))
        await asyncio.sleep(1)
        assert len(await told()) == 1
        assert replica.controllers.generating.failed == 1

    leading(scenario)


def test_a_policy_may_ask_for_what_was_there_before_it(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        await replica.create({"apiVersion": "v1", "kind": "ServiceAccount",
                              "metadata": {"name": "old", "namespace": "default"}})
        replica.set(making("existing", "ServiceAccount", existing=True,
                           object=config_map("existing-NAME", "default")))
        await until(lambda: replica.get("ConfigMap", "existing-old", "default"))

    leading(scenario)


def test_update_requests_of_a_replica_that_ended_are_worked_off(leading: Scenario) -> None:
    policy = making("later", "Secret", object=config_map("later-NAME", "default"))

    async def scenario(replica: Replica) -> None:
        from custody.policy.load import PolicySet
        from custody.services.controllers.updaterequests import update_request
        trigger = await replica.create({"apiVersion": "v1", "kind": "Secret",
                                        "metadata": {"name": "waits", "namespace": "default"}})
        written = update_request(PolicySet([policy]).policies[0], Request.create(trigger), "custody", "x")
        assert "object" not in written["spec"]["context"]["admissionRequestInfo"]["admissionRequest"]
        replica.set(policy)
        await replica.create(written)
        await until(lambda: replica.get("ConfigMap", "later-waits", "default"))
        await until(lambda: _no_update_requests(replica))

    leading(scenario)


def test_a_label_says_how_long_an_object_lives(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        for name, value in (("soon", "1s"), ("late", "2199-01-01"), ("odd", "whenever")):
            document = config_map(name, "default")
            document["metadata"]["labels"] = {"cleanup.kyverno.io/ttl": value}
            await replica.create(document)

        async def gone() -> bool:
            return await replica.get("ConfigMap", "soon", "default") is None
        await until(gone)
        assert await replica.get("ConfigMap", "late", "default")
        assert await replica.get("ConfigMap", "odd", "default")

    leading(scenario)


def test_a_schedule_deletes_what_a_policy_names(leading: Scenario) -> None:
    async def scenario(replica: Replica) -> None:
        for name, labels in (("old", {"stale": "yes"}), ("new", {})):
            await replica.create({"apiVersion": "v1", "kind": "ServiceAccount",
                                  "metadata": {"name": f"sweep-{name}", "namespace": "default", "labels": labels}})
        replica.set(making("sweep", "ServiceAccount", policy="CleanupPolicy", verb="delete", where={"label": "stale"},
                           schedule="* * * * * * *"))

        async def gone() -> bool:
            return await replica.get("ServiceAccount", "sweep-old", "default") is None
        await until(gone)
        assert await replica.get("ServiceAccount", "sweep-new", "default")

        async def told() -> list[dict[str, Any]]:
            return [event for event in await replica.events("PolicyApplied") if event["regarding"]["name"] == "sweep"]
        events = await until(told)
        assert events[0]["note"] == "successfully cleaned up the target resource ServiceAccount/default/sweep-old"
        assert events[0]["reportingController"] == "kyverno-cleanup"

    leading(scenario)
