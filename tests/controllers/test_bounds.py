"""What a report may hold, when labels say that an object is to go, and what is registered for rules that generate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from custody.admission.configuration import configurations
from custody.formats.policyreport import Result
from custody.policy import engines
from custody.policy.load import PolicySet
from custody.policy.model import Change
from custody.ports.cluster import ApiError
from custody.services.controllers.changes import ChangeError
from custody.services.controllers.reports import MOST_BYTES, MOST_RESULTS, bounded
from custody.services.controllers.ttl import due
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
