"""What is pinned is what was judged, and judged again as the validating webhook will see it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from custody.evidence.model import EvidenceSet, Rejected, State
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Outcome, Request, Verdict
from custody.policy.phases import Course
from tests.policy.test_images import DIGEST, IMAGE, NOW, VULN, keyless, pod, policies, reason, statement

CONTEXT = Context(now=NOW)
UNSIGNED = {IMAGE: EvidenceSet(subject=DIGEST)}


def update(old: dict[str, Any], new: dict[str, Any], **more: Any) -> Request:
    return msgspec.structs.replace(Request.create(new), operation="UPDATE", old_object=old, **more)


def test_an_update_does_not_pin_an_image_that_it_did_not_judge() -> None:
    new = pod()
    new["metadata"]["labels"] = {"touched": "yes"}
    decision = decide(update(pod(), new), UNSIGNED, policies(**keyless()), CONTEXT, at=Course.MUTATING)
    assert [one.message for one in decision.results] == [f"no change in image, skipping check of {IMAGE}"]
    assert decision.patch == []


def test_an_update_asks_for_no_evidence_that_no_rule_will_use() -> None:
    new = pod(ephemeralContainers=[{"name": "e", "image": "ghcr.io/myorg/debug:1"}])
    assert policies(**keyless()).images(update(pod(), new, subresource="ephemeralcontainers")) == [
        "ghcr.io/myorg/debug:1"]


def test_an_ephemeral_container_is_pinned_and_the_containers_beside_it_are_left() -> None:
    new = pod(ephemeralContainers=[{"name": "e", "image": IMAGE}])
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}
    decision = decide(update(pod(), new, subresource="ephemeralcontainers"), evidence, policies(**keyless()), CONTEXT,
                      at=Course.MUTATING)
    assert decision.patch == [{"op": "replace", "path": "/spec/ephemeralContainers/0/image",
                               "value": f"{IMAGE}@{DIGEST}"}]


def test_a_rule_whose_preconditions_do_not_hold_pins_nothing() -> None:
    document = policies(**keyless()).documents[0]
    document["spec"]["rules"][0]["preconditions"] = {"all": [
        {"key": "{{ request.operation }}", "operator": "Equals", "value": "UPDATE"}]}
    decision = decide(Request.create(pod()), UNSIGNED, PolicySet([document]), CONTEXT, at=Course.MUTATING)
    assert [(one.outcome, one.message) for one in decision.results] == [(Outcome.SKIP, "preconditions not met")]
    assert decision.patch == []


def test_a_tag_that_cannot_be_resolved_is_not_allowed_as_pinned() -> None:
    away = EvidenceSet(subject="", rejected=(Rejected(
        subject="", evidence=None, source="gather", state=State.UNVERIFIABLE, reason="ghcr.io: connection refused"),))
    for evidence in ({IMAGE: away}, {IMAGE: EvidenceSet(subject="")}, {}):
        decision = decide(Request.create(pod()), evidence, policies(), CONTEXT)
        assert f"missing digest for {IMAGE}" in reason(decision)
    assert reason(decide(Request.create(pod()), {IMAGE: away}, policies(), CONTEXT)).endswith(
        "ghcr.io: connection refused")


def test_a_pin_that_takes_an_image_out_of_an_exemption_is_judged_again() -> None:
    # The webhook's second question is about the pinned name, which no pattern of tags exempts.
    exempting = policies(**keyless(), skipImageReferences=["ghcr.io/myorg/app:*"]).documents[0]
    pinning = policies(required=False).documents[0]
    pinning["metadata"]["name"] = "q"
    found = PolicySet([exempting, pinning])
    decision = decide(Request.create(pod()), UNSIGNED, found, CONTEXT)
    assert decision.verdict is Verdict.DENIED
    assert f"failed to verify image ghcr.io/myorg/app@{DIGEST}" in reason(decision)
    first = decide(Request.create(pod()), UNSIGNED, found, CONTEXT, at=Course.MUTATING)
    second = decide(Request.create(pod(first.patch[0]["value"])), {f"ghcr.io/myorg/app@{DIGEST}": UNSIGNED[IMAGE]},
                    found, CONTEXT, at=Course.VALIDATING)
    assert first.allowed
    assert reason(second) == reason(decision)


def test_a_condition_on_the_pods_own_name_for_the_image_is_asked_about_the_pinned_one() -> None:
    conditions = [{"all": [{"key": "{{ images.containers.c.digest || '' }}", "operator": "Equals", "value": ""}]}]
    found = policies(attestations=[{"type": VULN, "conditions": conditions}])
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(VULN, {"a": 1}),))}
    assert "attestation checks failed" in reason(decide(Request.create(pod()), evidence, found, CONTEXT))


def test_an_old_object_of_another_shape_excuses_nothing() -> None:
    for old in ({"spec": [1]}, {"spec": {"containers": {"0": {"image": IMAGE}}}}, {"spec": {"containers": [[IMAGE]]}}):
        decision = decide(update(old, pod()), UNSIGNED, policies(**keyless()), CONTEXT, at=Course.VALIDATING)
        assert "failed to verify image" in reason(decision)
        assert "internal error" not in reason(decision)


def test_check_asks_as_both_webhooks_do_where_a_rule_pins_nothing() -> None:
    # One entry passes and would pin; another fails under Audit, so the rule pins nothing: /validate sees a tag.
    document = policies(**keyless()).documents[0]
    audited = policies(**keyless(issuer="https://other.example"), failureAction="Audit", mutateDigest=False,
                       verifyDigest=False).documents[0]
    document["spec"]["rules"][0]["verifyImages"] += audited["spec"]["rules"][0]["verifyImages"]
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}
    given = (Request.create(pod()), evidence, PolicySet([document]), CONTEXT)
    mutating, validating = decide(*given, at=Course.MUTATING), decide(*given, at=Course.VALIDATING)
    assert (mutating.allowed, mutating.patch) == (True, [])
    assert f"missing digest for {IMAGE}" in reason(validating)
    assert f"missing digest for {IMAGE}" in reason(decide(*given))


@pytest.mark.parametrize(("image", "fields", "expected"), [
    (IMAGE, {"verifyDigest": False}, f"unverified image {IMAGE}"),
    (IMAGE, {}, f"missing digest for {IMAGE}"),
    (f"{IMAGE}@{DIGEST}", {}, f"unverified image ghcr.io/myorg/app@{DIGEST}"),
    (IMAGE, {"verifyDigest": False, "skipImageReferences": ["*"]}, f"unverified image {IMAGE}"),
])
def test_an_image_that_nobody_vouches_for_is_not_verified(image: str, fields: dict[str, Any], expected: str) -> None:
    """As kyverno 1.19.1 says it: what is required was not done, so it is no pass."""
    document = policies(**fields, mutateDigest=False, required=True).documents[0]
    for at in (Course.ADMISSION, Course.VALIDATING):
        decision = decide(Request.create(pod(image)), {IMAGE: EvidenceSet(subject=DIGEST)}, PolicySet([document]),
                          CONTEXT, at=at)
        assert decision.verdict is Verdict.DENIED
        assert expected in reason(decision)


def test_an_entry_that_asks_for_nothing_judges_nothing() -> None:
    document = policies(required=False, verifyDigest=False, mutateDigest=False).documents[0]
    decision = decide(Request.create(pod()), UNSIGNED, PolicySet([document]), CONTEXT)
    assert decision.results == ()
    assert decision.verdict is Verdict.NOT_JUDGED


def test_an_exemption_is_of_signatures_and_not_of_the_digest() -> None:
    document = policies(**keyless(), skipImageReferences=["*"], mutateDigest=False).documents[0]
    decision = decide(Request.create(pod()), UNSIGNED, PolicySet([document]), CONTEXT, at=Course.VALIDATING)
    assert reason(decision) == f"missing digest for {IMAGE}"
