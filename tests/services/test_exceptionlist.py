"""Exceptions in a list, in what is explained, and at their end: everywhere at the same moment."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.adapters.sqlite.decisions import SqliteDecisions
from custody.admission.judging import Judging
from custody.admission.webhook import Admission
from custody.cli.main import main
from custody.policy.counting import Counting
from custody.policy.load import PolicySet
from custody.policy.model import Verdict
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.services.check import request_of
from custody.services.controllers.reports import results_of
from custody.services.controllers.scan import _ended
from custody.services.decisions import DecisionKeeper
from custody.services.exceptionlist import listed
from tests.admission.test_webhook import review
from tests.policy.exception_cases import exception as made
from tests.policy.exception_cases import of_rules, pod, policy, rules

OWN = "policies.custody.internal/exception-"
ENDS = datetime(2026, 12, 1, tzinfo=UTC)


def excused(name: str = "web", **more: str) -> dict[str, Any]:
    document = of_rules(name, {"any": [{"resources": {"kinds": ["Pod"]}}]})
    document["metadata"]["annotations"] = {f"{OWN}{key}": value for key, value in {
        "expires": "2026-12-01T00:00:00Z", "reason": "migration", "approver": "ann", **more}.items()}
    return document


async def _nothing(snapshot: Snapshot, images: list[str]) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("late", [timedelta(0), timedelta(milliseconds=1)])
def test_it_ends_at_the_same_moment_for_webhook_command_background_and_reports(late: timedelta) -> None:
    now = ENDS + late
    policies = PolicySet([rules(), excused()])
    judging = Judging(_nothing, lambda: now)

    def judged(at: Course) -> Any:
        request = request_of(pod("web"), policies, existing=at is Course.BACKGROUND)
        return asyncio.run(judging.judge(request, Snapshot(policies), at)).decision

    webhook = Admission(policies, _nothing, lambda: now)
    answer = json.loads(asyncio.run(webhook.review(json.dumps(review("docker.io/a")).encode())))
    over = now > ENDS
    assert answer["response"]["allowed"] is not over
    assert (judged(Course.ADMISSION).verdict is Verdict.DENIED) is over
    scanned = judged(Course.BACKGROUND)
    assert (scanned.verdict is Verdict.DENIED) is over
    (row,) = results_of(scanned, policies, 0, scanned=True)
    assert row.result == ("fail" if over else "skip")
    assert (row.properties.get("exception-approver"), row.properties.get("exception-expires")) == (
        (None, None) if over else ("ann", "2026-12-01T00:00:00Z"))
    assert _ended(policies.policies[0], now) == (["ex/web"] if over else [])  # so that scans judge it again


def test_the_list_says_who_until_when_and_how_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    documents = [rules(), excused(), excused("old", expires="2020-01-01T00:00:00Z"), made("none")]
    Path("p.yaml").write_text(yaml.safe_dump_all(documents))
    Path("custody.toml").write_text('policies = ["p.yaml"]\nexceptions = ["ex"]\n')
    store = SqliteDecisions(tmp_path / ".custody" / "decisions.db")
    now = ENDS - timedelta(days=1)
    keeper = DecisionKeeper(store, lambda: now, 7000, 1 << 30)
    webhook = Admission(PolicySet(documents), _nothing, lambda: now, observer=keeper)
    for uid in ("u-1", "u-2"):
        asyncio.run(webhook.review(json.dumps(review("docker.io/a", uid=uid)).encode()))
    keeper.close()
    store.close()
    assert main(["policy", "exceptions"]) == 0
    said = capsys.readouterr().out
    assert "until 2026-12-01T00:00:00Z, used in 2 decisions\n    from cp/r1\n    reason: migration" in said
    assert "ex/old  expired, until 2020-01-01T00:00:00Z, used in 0 decisions" in said
    assert "ex/none  names nothing, without an end" in said
    assert main(["policy", "exceptions", "-o", "json"]) == 0
    assert [row["used"] for row in json.loads(capsys.readouterr().out)] == [2, 0, 0]
    assert main(["explain", "u-1"]) == 0
    assert "exception web: reason migration, approver ann, expires 2026-12-01T00:00:00Z" in capsys.readouterr().out


def test_what_counts_nowhere_is_listed_with_its_reason() -> None:
    (row,) = listed(PolicySet([rules(), excused()]), Counting(["security"]), ENDS)
    assert "exceptions count in security" in row.state
    assert row.used is None
    (row,) = listed(PolicySet([policy(), made()]), Counting(), ENDS)
    assert (row.state, row.rules) == ("stands", ["p", "p/autogen-cronjobs", "p/autogen-defaults"])
