"""Reports as Kubernetes objects."""

from __future__ import annotations

import pytest

from custody.formats import policyreport
from custody.formats.policyreport import OPENREPORTS, WGPOLICY, Result, Subject

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default", "uid": "u1"}}


def result(outcome: str = "pass", **fields: object) -> Result:
    return Result(source="kyverno", policy="require-labels", rule="labels", result=outcome, **fields)  # type: ignore[arg-type]


def test_a_result_leaves_out_what_is_empty() -> None:
    assert result(seconds=5, scored=False).to_json() == {
        "policy": "require-labels", "result": "pass", "rule": "labels", "source": "kyverno",
        "timestamp": {"nanos": 0, "seconds": 5}}


def test_a_result_says_what_it_is_about() -> None:
    written = result("fail", subjects=(Subject.of(POD),), message="no", properties={"b": "1", "a": "2"})
    assert written.to_json()["resources"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "default", "uid": "u1"}]
    assert [*written.to_json()["properties"]] == ["a", "b"]


def test_a_subject_reads_what_has_the_right_type_alone() -> None:
    assert Subject.of({"apiVersion": 1, "kind": "Pod", "metadata": "none"}) == Subject(kind="Pod")


@pytest.mark.parametrize(("api_version", "namespace", "kind"), [
    (WGPOLICY, "", "ClusterPolicyReport"), (WGPOLICY, "default", "PolicyReport"),
    (OPENREPORTS, "", "ClusterReport"), (OPENREPORTS, "default", "Report")])
def test_a_report_is_of_the_kind_for_where_it_lies(api_version: str, namespace: str, kind: str) -> None:
    document = policyreport.report([result(), result("fail")], name="r", namespace=namespace, api_version=api_version,
                                   scope=Subject.of(POD), labels={"app.kubernetes.io/managed-by": "kyverno"})
    assert (document["apiVersion"], document["kind"]) == (api_version, kind)
    assert document["metadata"].get("namespace", "") == namespace
    assert document["summary"] == {"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}
    assert document["scope"]["name"] == "web"
    assert ("source" in document) is (api_version == OPENREPORTS)


def test_results_have_one_order() -> None:
    first, second = result(), Result(source="kyverno", policy="a", rule="b", result="fail")
    assert policyreport.in_order([first, second]) == policyreport.in_order([second, first]) == [second, first]
