"""A tag that was resolved before, and cannot be now: the digest that it meant is admitted where a policy pins it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from custody.evidence.model import EvidenceSet
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request
from custody.policy.phases import Course
from custody.services.verify import Unlogged
from custody.sign.keys import load_public_key
from custody.sign.verify import Trust
from tests.policy.signing import DIGEST, NAME, NOW, gathered, layer, pem
from tests.sign.authority import new_key

KEY = new_key()
TASK = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "default"},
        "spec": {"steps": [{"name": "s", "image": NAME}]}}
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "tasks.tekton.dev"}, "spec": {
           "group": "tekton.dev", "scope": "Namespaced", "names": {"kind": "Task", "plural": "tasks"},
           "versions": [{"name": "v1", "served": True, "storage": True}]}}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
       "spec": {"containers": [{"name": "c", "image": NAME}]}}


def policy(kind: str = "Pod", **entry: Any) -> PolicySet:
    extractors = {"imageExtractors": {kind: [{"path": "/spec/steps/*/image"}]}} if kind != "Pod" else {}
    return PolicySet.load([CRD, {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {
        "name": "p"}, "spec": {"validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": [kind]}}]},
            **extractors, "verifyImages": [{"imageReferences": ["*"], "verifyDigest": False, **entry, "attestors": [
                {"entries": [{"keys": {"publicKeys": pem(KEY), "rekor": {"ignoreTlog": True}}}]}]}]}]}}])


def decided(policies: PolicySet, document: dict[str, Any], *, old: bool = True,
            at: Course = Course.ADMISSION) -> Decision:
    known: EvidenceSet = gathered([layer(KEY)], Trust(None, (load_public_key(pem(KEY).encode(), "key"),)),
                                  Unlogged.KEYS)
    about = msgspec.structs.replace(known, stale_since=NOW, stale_reason="down", tag_since=NOW) if old else known
    return decide(Request.create(document), {NAME: about}, policies, Context(now=NOW), at=at)


@pytest.mark.parametrize(("kind", "document"), [("Pod", POD), ("Task", TASK)])
def test_only_where_it_is_pinned(kind: str, document: dict[str, Any]) -> None:
    pinned = decided(policy(kind), document)
    assert pinned.allowed, pinned.results
    assert pinned.patch[0]["value"] == f"{NAME}@{DIGEST}"
    left = decided(policy(kind, mutateDigest=False), document)
    assert not left.allowed
    assert "only admitted where a policy pins its digest" in left.results[0].message
    assert decided(policy(kind, mutateDigest=False), document, old=False).allowed


@pytest.mark.parametrize("at", [Course.VALIDATING, Course.BACKGROUND])
def test_who_changes_nothing_admits_none(at: Course) -> None:
    decision = decided(policy(), POD, at=at)
    assert [result.outcome for result in decision.results] == [Outcome.FAIL]


def test_one_container_that_is_pinned_says_nothing_of_another() -> None:
    both = policy(mutateDigest=False).documents + policy(imageReferences=["ghcr.io/myorg/other*"]).documents
    both[1] = {**both[1], "metadata": {"name": "q"}}
    decision = decided(PolicySet(both), POD)
    assert not decision.allowed


def test_the_inputs_of_a_decision_tell_an_old_tag() -> None:
    new, old = (decided(policy(), POD, old=state) for state in (False, True))
    assert new.inputs_digest != old.inputs_digest
