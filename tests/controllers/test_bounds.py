"""What a report may hold, when labels say that an object is to go, and what is registered for rules that generate."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from custody.admission.answered import Answered
from custody.admission.configuration import configurations
from custody.admission.endpoint import Endpoint
from custody.admission.review import Review
from custody.formats.policyreport import Result
from custody.policy import engines
from custody.policy.decide import decide
from custody.policy.kinds import UNCHECKED
from custody.policy.load import PolicySet
from custody.policy.model import Change, Context, Kind, Request, User
from custody.policy.phases import Course
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ApiError
from custody.services.controllers.changes import ChangeError
from custody.services.controllers.cleanup import Cleanup
from custody.services.controllers.events import Event
from custody.services.controllers.reports import MOST_BYTES, MOST_RESULTS, bounded
from custody.services.controllers.running import Controllers
from custody.services.controllers.scan import Scan
from custody.services.controllers.ttl import Ttl, due
from custody.services.controllers.updaterequests import Triggers, request_of, update_request
from tests.chainsaw.assertion import differences
from tests.controllers.engine import ROWS, making

MADE = datetime(2026, 11, 29, 12, tzinfo=UTC)


def result(number: int, outcome: str = "pass", message: str = "") -> Result:
    return Result(source="kyverno", policy=f"p{number:05}", result=outcome, message=message)


def test_a_report_has_so_many_results_failures_first_and_says_how_many_are_left_out() -> None:
    results = bounded([*(result(at) for at in range(MOST_RESULTS)), result(99999, "fail")])
    assert len(results) == MOST_RESULTS + 1
    assert [kept.result for kept in results].count("fail") == 1
    assert results[-1].message == "1 results do not fit into this report: 1 pass"
    assert results[-1].result == "error"
    assert bounded([result(1)]) == [result(1)]


def test_a_report_stays_below_what_etcd_takes() -> None:
    results = bounded([result(at, message="x" * 4096) for at in range(900)])
    assert len(msgspec.json.encode([kept.to_json() for kept in results])) < MOST_BYTES + 1000
    assert "do not fit into this report" in results[-1].message


@pytest.mark.parametrize(("label", "moment"), [
    ("90s", MADE + timedelta(seconds=90)), ("1h30m", MADE + timedelta(minutes=90)), ("2d", MADE + timedelta(days=2)),
    ("1 week", MADE + timedelta(weeks=1)), ("3min", MADE + timedelta(minutes=3)), ("-5m", MADE - timedelta(minutes=5)),
    ("2026-12-24", datetime(2026, 12, 24, tzinfo=UTC)),
    ("2026-12-24T180000Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
    ("whenever", None), ("", None), ("12", None), ("999999999999999999999d", None), ("1x", None)])
def test_a_label_says_when(label: str, moment: datetime | None) -> None:
    assert due(label, MADE) == moment


def test_the_api_server_is_asked_for_rules_that_generate_and_not_for_those_with_a_schedule(
        monkeypatch: pytest.MonkeyPatch) -> None:
    for row, engine in ROWS.items():
        monkeypatch.setitem(engines.ENGINES, row, engine)
    policies = PolicySet([making("a", "Secret"),
                          making("b", "ConfigMap", policy="CleanupPolicy", schedule="* * * * *")])
    written = configurations("https://127.0.0.1:9443", b"", policies)
    assert [document["kind"] for document in written] == ["ValidatingWebhookConfiguration"]
    assert [(rule["resources"], rule["operations"]) for rule in written[0]["webhooks"][0]["rules"]] == [
        (["secrets"], ["CREATE", "UPDATE"])]


@pytest.mark.parametrize(("reason", "lasting"), [("Forbidden", True), ("Invalid", True), ("Conflict", False),
                                                 ("AlreadyExists", False), ("InternalError", False)])
def test_a_refusal_that_another_attempt_cannot_mend_is_told_apart(reason: str, lasting: bool) -> None:
    change = Change(policy="p", rule="r", verb="create", object={"apiVersion": "v1", "kind": "Secret",
                                                                 "metadata": {"name": "a", "namespace": "b"}})
    error = ChangeError(change, ApiError("POST …", {"reason": reason, "message": "no"}, 403))
    assert error.lasting is lasting
    assert error.message == "create Secret b/a: no"


@pytest.mark.parametrize(("tree", "value", "count"), [
    ({"a": 1}, {"a": 1, "b": 2}, 0), ({"a": 1}, {"a": 2}, 1), ({"a": None}, {}, 1), ({"a": [1]}, {"a": [1, 2]}, 1),
    ({"(a > `1`)": True}, {"a": 2}, 0), ({"(length(a))": 2}, {"a": [1, 2]}, 0),
    ({"~.a": {"b": 1}}, {"a": [{"b": 1}]}, 0),
    ({"~.(a)": {"b": 1}}, {"a": [{"b": 1}, {"b": 2}]}, 1), ({"(a)->x": {"(@ == $x)": True}}, {"a": {"c": 1}}, 0),
    ({"a": "($name)"}, {"a": "n"}, 0), ({"a": True}, {"a": 1}, 1), ({"\\(a)\\": 1}, {"(a)": 1}, 0)])
def test_assertion_trees(tree: object, value: object, count: int) -> None:
    assert len(list(differences(tree, value, {"name": "n"}))) == count


def test_a_request_for_updates_has_no_values_of_secrets() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"a": "hunter2"}, "metadata": {
        "name": "s", "namespace": "a", "labels": {"b": "c"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2", "d": "e"}}}
    request = Request(operation="DELETE", kind=Kind("Secret"), namespace="a", name="s", old_object=secret)
    written = update_request(Policy("p", "kyverno"), request, "custody")
    assert "hunter2" not in json.dumps(written)
    kept = request_of(written).old_object
    assert kept is not None
    assert kept["metadata"] == {"name": "s", "namespace": "a", "labels": {"b": "c"}, "annotations": {"d": "e"}}
    other = {**secret, "kind": "ConfigMap"}
    assert request_of(update_request(Policy("p", "kyverno"), msgspec.structs.replace(
        request, kind=Kind("ConfigMap"), old_object=other), "custody")).old_object == other


@pytest.mark.parametrize(("kind", "told"), [("Event", 0), ("Pod", 2)])
def test_no_event_tells_of_an_event(kind: str, told: int) -> None:
    document = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [
        {"name": "r", "match": {"any": [{"resources": {"kinds": [kind]}}]},
         "validate": {"message": "no", "deny": {}}}]}}
    policies = PolicySet([document])
    controllers = Controllers.__new__(Controllers)
    snapshot = Snapshot(policies)
    events: list[Event] = []
    controllers._tell = events.extend  # type: ignore[method-assign]
    controllers._snapshot, controllers.leading = lambda: snapshot, False
    controllers.triggers = Triggers(None, "custody", lambda: snapshot)  # type: ignore[arg-type]
    request = Request.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "b"}})
    decision = decide(request, {}, policies, Context(now=MADE), at=Course.VALIDATING)
    controllers.observe(Answered(Review("admission.k8s.io/v1", "u", request), Endpoint(mutate=False), 0, "", decision))
    assert len(events) == told


@pytest.mark.parametrize(("reason", "again"), [("InternalError", True), ("Forbidden", True), ("Conflict", False)])
def test_what_is_due_and_could_not_be_deleted_is_tried_again(reason: str, again: bool) -> None:
    class Refusing:
        async def delete(self, *_: object, **__: object) -> bool:
            raise ApiError("DELETE …", {"reason": reason, "message": "no"}, 500)

    ttl = Ttl(Refusing(), None, lambda: MADE)  # type: ignore[arg-type]
    key = ApiResource(version="v1", kind="ConfigMap", plural="configmaps", namespaced=True), "a", "b"
    ttl._due[key] = MADE, "u"
    asyncio.run(ttl._sweep(MADE))
    assert (ttl._due.get(key, (MADE,))[0] > MADE) is again


@pytest.mark.parametrize("said", [{"lastExecutionTime": "never"}, {"lastExecutionTime": "2026-11-29T12:00:00"},
                                  {"lastExecutionTime": 5}, {"lastExecutionTime": ["x"]}, {}])
def test_a_status_that_names_no_time_stops_no_cleanup(said: dict[str, object]) -> None:
    policies = PolicySet([{
        "apiVersion": "kyverno.io/v2", "kind": "ClusterCleanupPolicy", "metadata": {"name": "p"},
        "spec": {"schedule": "*/5 * * * *", "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}}}])

    class Keeping:
        async def resource(self, *_: object) -> ApiResource:
            return ApiResource(group="kyverno.io", version="v2", kind="ClusterCleanupPolicy", plural="p",
                               namespaced=False)

        async def get(self, *_: object) -> dict[str, object]:
            return {"metadata": {"creationTimestamp": "2026-11-29T12:01:00Z"}, "status": said}

    snapshot = Snapshot(policies)
    cleanup = Cleanup(Keeping(), None, lambda: snapshot, None, None, lambda: MADE)  # type: ignore[arg-type]
    assert asyncio.run(cleanup._when(policies.policies[0], MADE)) == MADE + timedelta(minutes=5)


@pytest.mark.parametrize(("kind", "count"), [("PolicyReport", 0), ("Event", 0), ("Pod", 1)])
def test_no_report_tells_of_a_report(kind: str, count: int) -> None:
    policies = PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "background": False, "rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": [f"*/{kind}"]}}]},
                                        "validate": {"message": "no", "deny": {}}}]}}], kinds=UNCHECKED)
    scan = Scan(None, None, None, None, None, None, lambda: MADE)  # type: ignore[arg-type]
    request = Request.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "b",
                                                                                   "uid": "u"}})
    decision = decide(request, {}, policies, Context(now=MADE), at=Course.VALIDATING)
    assert decision.results
    scan.reviewed(request, decision, policies)
    assert len(scan._reviewed) == len(scan._waiting) == count


GENERATED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}


@pytest.mark.parametrize(("said", "triggers"), [(None, False), (True, False), (False, True)])
@pytest.mark.parametrize("kind", ["ClusterPolicy", "GeneratingPolicy"])
def test_what_controllers_ask_for_is_a_trigger_only_where_a_policy_says_so(kind: str, said: bool | None,
                                                                          triggers: bool) -> None:
    skip = {} if said is None else {"skipBackgroundRequests": said}
    spec = {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Secret"]}}]}, **skip, "generate": {
        "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "namespace": "b", "data": {"data": {}}}}]}
    if kind == "GeneratingPolicy":
        spec = {"evaluation": skip, "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}]},
            "generate": [{"expression": f"generator.Apply('b', [dyn({json.dumps(GENERATED)})])"}]}
    group = "kyverno.io/v1" if kind == "ClusterPolicy" else "policies.kyverno.io/v1"
    policies = PolicySet([{"apiVersion": group, "kind": kind, "metadata": {"name": "p"}, "spec": spec}])
    watching = Triggers(None, "custody", lambda: Snapshot(policies), ["custody"])  # type: ignore[arg-type]
    request = Request.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "b"}})
    watching.admitted(msgspec.structs.replace(request, user=User(username="ann")))
    assert watching._waiting.qsize() == 1
    watching.admitted(msgspec.structs.replace(request, user=User(username="custody")))
    assert watching._waiting.qsize() == 1 + triggers
