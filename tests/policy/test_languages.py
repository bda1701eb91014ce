"""Scalars, wildcards, variables and records: properties that hold for any input."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet, Rejected, State
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.policy.phases import Course
from custody.policy.record import read, record, replay
from policylang.errors import InvalidError, LanguageError
from policylang.go import durations, quantities, wildcards
from policylang.kpattern import matcher, scalar
from policylang.variables import Roots, compile_value
from tests.policy.test_lint import images
from tests.policy.test_load import POLICY

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ANY = Roots(None, ())
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["a", "(a)", "=(b)", "X(c)", "<(d)", "metadata", "labels", "*x"]), inner,
                        max_size=3), max_leaves=10)


@pytest.mark.parametrize(("text", "nanoseconds"), [
    ("1h30m", 5400 * 10**9), ("-1.5s", -1500000000), ("0", 0), ("100ms", 10**8), ("1µs", 1000), (".5h", 1800 * 10**9),
    ("", None), ("1", None), ("1d", None), ("h", None), ("1h ", None), ("+-1s", None), ("9999999999h", None)])
def test_durations(text: str, nanoseconds: int | None) -> None:
    assert durations.parse(text) == nanoseconds


@given(st.integers(-2**62, 2**62))
def test_durations_read_back(nanoseconds: int) -> None:
    assert durations.parse(durations.show(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(("text", "value"), [
    ("1Ki", 1024), ("1.5Gi", 1610612736), ("250m", 0.25), ("3e2", 300), ("1E", 10**18), ("-5k", -5000), (".5", 0.5),
    ("8Ei", 2**63 - 1), ("", None), ("1Zi", None), ("Ki", 0), ("1 Ki", None), ("0x1", None)])
def test_quantities(text: str, value: float | None) -> None:
    assert quantities.number(text) == value


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_wildcards_are_those_of_a_regular_expression(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(char, char) for char in pattern)
    assert wildcards.glob(pattern, text) == (re.fullmatch(expression, text) is not None)


def test_wildcards_cannot_be_stalled() -> None:
    assert not wildcards.glob("*a" * 40 + "?b", "a" * 20_000)


@given(st.text(max_size=12), JSON)
def test_any_text_is_a_pattern(pattern: str, value: Any) -> None:
    assert scalar(pattern)(value) in (True, False)


@given(JSON, JSON)
def test_any_pattern_is_refused_or_answers(pattern: Any, resource: Any) -> None:
    try:
        match = matcher(pattern)
    except InvalidError:
        return
    match(resource)


def test_words_in_a_resource_skip_nothing() -> None:
    match = matcher({"spec": {"containers": [{"image": "ghcr.io/*"}]}})
    found = match({"spec": {"containers": [{"image": "conditional anchor mismatch"}]}})
    assert found is not None
    assert not found.skip


@given(st.text("{}-'\"|()@.,abc \\`&*[]?=", max_size=24), JSON)
def test_any_variable_is_refused_or_evaluated(text: str, data: Any) -> None:
    try:
        fill = compile_value("{{" + text + "}}", "x", ANY)
        if fill is not None:
            fill(data, NOW)
    except LanguageError:
        pass


@given(st.text(max_size=20))
def test_a_value_cannot_leave_its_quotes(name: str) -> None:
    fill = compile_value("{{ starts_with('{{ name }}', 'x') || 'no' }}", "x", ANY)
    assert fill is not None
    assert fill({"name": name}, NOW) == (True if name.startswith("x") else "no")


def test_a_record_replays_to_the_same_decision() -> None:
    policies = PolicySet([POLICY, {**images(), "metadata": {"name": "signed"}}])
    request = Request.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "ghcr.io/myorg/app:1"}]}}, "default")
    evidence = {"ghcr.io/myorg/app:1": EvidenceSet(subject="sha256:" + "a" * 64, rejected=(
        Rejected(subject="", evidence=None, source="referrer x", state=State.FAILED, reason="bad signature"),))}
    context = Context(now=NOW)
    decision = decide(request, evidence, policies, context)
    data = record(request, evidence, policies, context, at=Course.ADMISSION, decision=decision)
    assert replay(data) == decision == read(data).decision
    assert not decision.allowed
    assert any("failed: referrer x: bad signature" in result.message for result in decision.results)
    assert replay(data, PolicySet([POLICY])).allowed
    with pytest.raises(MalformedError, match="custody/decision/v2"):
        read(data.replace(b"custody/decision/v2", b"custody/decision/v9"))


@pytest.mark.parametrize(("mutate", "at"), [(True, Course.ADMISSION), (False, Course.VALIDATING)])
def test_a_record_of_the_first_version_replays(mutate: bool, at: Course) -> None:
    policies, request = PolicySet([{**images(), "metadata": {"name": "signed"}}]), Request.create({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "ghcr.io/myorg/app:1"}]}}, "default")
    decision = decide(request, {}, policies, Context(now=NOW), at=at)
    kept = json.loads(record(request, {}, policies, Context(now=NOW), at=Course.ADMISSION, decision=decision))
    del kept["at"], kept["answers"], kept["decision"]["asks"], kept["request"]["existing"]
    kept |= {"version": "custody/decision/v1", "mutate": mutate}
    kept["context"]["namespace_labels"] = {}
    assert read(json.dumps(kept).encode()).at is at
    assert replay(json.dumps(kept).encode()) == decision


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        read(data)
