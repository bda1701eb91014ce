"""What is judged of a pod: every field that brings an image, under every spelling, once, by the newest evidence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from custody.evidence.model import EvidenceSet, Rejected, State, Verified
from custody.policy.decide import decide
from custody.policy.images import image as named
from custody.policy.kyverno.images import VerifyImages
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request, Verdict
from custody.policy.phases import Course
from tests.policy.test_images import DIGEST, IMAGE, NOW, VULN, judge, keyless, pod, policies, reason, statement


def of(resource: dict[str, Any], found: PolicySet, evidence: dict[str, EvidenceSet], **request: Any) -> Decision:
    asked = msgspec.structs.replace(Request.create(resource), **request)
    return decide(asked, evidence, found, Context(now=NOW))


# ── image volumes ───────────────────────────────────────────────────────────────────────────────────────────────────

VOLUME = {"name": "v", "image": {"reference": IMAGE}}


def test_image_volume() -> None:
    found = policies(**keyless())
    resource = pod("quay.io/other:1", volumes=[{"name": "e", "emptyDir": {}}, VOLUME])
    assert found.images(Request.create(resource)) == [IMAGE]
    assert "no signatures found (missing)" in reason(of(resource, found, {IMAGE: EvidenceSet(subject=DIGEST)}))
    decision = of(resource, found, {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))})
    assert decision.verdict is Verdict.ALLOWED
    assert decision.patch == [{"op": "replace", "path": "/spec/volumes/1/image/reference",
                               "value": f"{IMAGE}@{DIGEST}"}]


def test_image_volume_not_judged_by_the_variable_images() -> None:
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {
        "message": "volume from {{ images.volumes.v.registry }}", "deny": {"conditions": {"any": [
            {"key": "{{ (images.volumes || `{}`).*.registry }}", "operator": "AnyNotIn", "value": ["quay.io"]}]}}}}
    found = PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
                        "spec": {"validationFailureAction": "Enforce", "rules": [rule]}}])
    assert reason(of(pod(volumes=[VOLUME]), found, {})) == "volume from ghcr.io"


def test_what_validate_rules_see_is_the_pinned_volume() -> None:
    other = PolicySet([*policies(**keyless()).documents, {
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "q"}, "spec": {
            "validationFailureAction": "Enforce", "rules": [{
                "name": "pinned", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {
                    "message": "pin", "pattern": {"spec": {"volumes": [{"image": {"reference": "*@sha256:*"}}]}}}}]}}])
    resource = pod("quay.io/other:1", volumes=[VOLUME])
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}
    assert of(resource, other, evidence).allowed
    assert resource["spec"]["volumes"] == [VOLUME]  # the request itself is not written to


# ── one name ────────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize(("pattern", "spelling"), [
    ("ghcr.io/myorg/*", "ghcr.io/myorg/app:1"), ("ghcr.io/myorg/*", "GHCR.IO/myorg/app:1"),
    ("ghcr.io/myorg/*", "ghcr.io:443/myorg/app:1"), ("ghcr.io/myorg/*", "Ghcr.io:0443/myorg/app:1"),
    ("GHCR.io/myorg/*", "ghcr.io/myorg/app:1"), ("ghcr.io:443/myorg/*", "ghcr.io/myorg/app:1"),
    ("docker.io/library/*", "docker.io/library/nginx:1"), ("docker.io/library/*", "nginx:1"),
    ("docker.io/library/*", "docker.io/nginx:1"), ("docker.io/nginx:*", "library/nginx:1"),
    ("docker.io/nginx*", "index.docker.io/library/nginx"), ("docker.io/acme/*", "index.docker.io/acme/x:1"),
    ("docker.io/acme/*", "registry.hub.docker.com/acme/x:1"),
    ("docker.io/acme/*", "registry-1.docker.io/acme/x:1"), ("docker.io/acme/*", "DOCKER.IO/acme/x:1"),
    ("docker.io/acme/*", "docker.io:443/acme/x:1"), ("index.docker.io/acme/*", "acme/x"),
    ("nginx*", "docker.io/library/nginx:1"), ("ghcr.io/myorg/app:1*", f"ghcr.io/myorg/app:1@{DIGEST}"),
    ("ghcr.io/myorg/app@sha256:*", f"ghcr.io/myorg/app:1@{DIGEST}"), ("ghcr.io/myorg/app:latest", "ghcr.io/myorg/app"),
])
def test_spelling_skips_verification(pattern: str, spelling: str) -> None:
    guard = policies(**{**keyless(), "imageReferences": [pattern]})
    assert "failed to verify image" in reason(of(pod(spelling), guard, {}))
    assert guard.images(Request.create(pod(spelling))) == [named(spelling).name]


@pytest.mark.parametrize(("pattern", "spelling", "exempt"), [
    ("ghcr.io/myorg/app:*", "ghcr.io/myorg/app:1", True), ("ghcr.io/myorg/app:*", "GHCR.IO:443/myorg/app:1", True),
    ("ghcr.io/myorg/app:good", f"ghcr.io/myorg/app:good@{DIGEST}", False),  # the digest is pulled, whatever the tag
    ("ghcr.io:443/myorg/*", "ghcr.io:443/myorg/app:1", False), ("docker.io/library/nginx:*", "nginx", True),
    ("docker.io/nginx:*", "nginx", False), ("nginx*", "nginx", False),
    ("ghcr.io/myorg/app", "ghcr.io/myorg/app", False),
])
def test_what_exempts_fits_the_canonical_name_only(pattern: str, spelling: str, exempt: bool) -> None:
    found = policies(**{**keyless(), "imageReferences": ["*"], "skipImageReferences": [pattern]})
    decision = of(pod(spelling), found, {})
    assert decision.verdict is (Verdict.NOT_JUDGED if exempt else Verdict.DENIED)


def test_the_evidence_of_one_image_serves_all_its_spellings() -> None:
    found = policies(**keyless())
    resource = pod(IMAGE)
    resource["spec"]["initContainers"] = [{"name": "i", "image": "GHCR.IO:443/myorg/app:1"}]
    assert found.images(Request.create(resource)) == [IMAGE]
    decision = of(resource, found, {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))})
    assert {change["path"]: change["value"] for change in decision.patch} == {
        "/spec/initContainers/0/image": f"{IMAGE}@{DIGEST}", "/spec/containers/0/image": f"{IMAGE}@{DIGEST}"}


def test_conditions_on_an_image_are_evaluated_once_a_review(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    verify = VerifyImages.verify

    def counted(self: VerifyImages, given: Any, image: Any) -> Any:
        asked.append(image.name)
        return verify(self, given, image)

    monkeypatch.setattr(VerifyImages, "verify", counted)
    resource = pod(IMAGE)
    resource["spec"]["containers"] *= 30
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}
    decision = of(resource, policies(**keyless()), evidence)
    assert (asked, len(decision.results), decision.verdict) == ([IMAGE], 30, Verdict.ALLOWED)


# ── names that cannot be read ───────────────────────────────────────────────────────────────────────────────────────

def test_an_image_that_cannot_be_read_denies_and_the_others_are_judged_too() -> None:
    resource = pod(IMAGE)
    resource["spec"]["containers"].append({"name": "junk", "image": "ghcr.io/myorg/Junk:1"})
    found = policies(**keyless())
    assert found.images(Request.create(resource)) == [IMAGE]
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}
    for decision in (of(resource, found, evidence), decide(Request.create(resource), evidence, found, Context(now=NOW),
                                                           at=Course.MUTATING)):
        outcomes = [result.outcome for result in decision.results]
        assert outcomes == [Outcome.FAIL, Outcome.PASS]
        assert "failed to verify images: /spec/containers/1/image: got 'ghcr.io/myorg/Junk:1'" in reason(decision)
        assert decision.patch == []


# ── updates ─────────────────────────────────────────────────────────────────────────────────────────────────────────

def privileged(allow_existing: bool | None = None) -> PolicySet:
    validate: dict[str, Any] = {"message": "no", "pattern": {"spec": {
        "=(ephemeralContainers)": [{"=(securityContext)": {"=(privileged)": "false"}}],
        "containers": [{"=(securityContext)": {"=(privileged)": "false"}}]}}}
    if allow_existing is not None:
        validate["allowExistingViolations"] = allow_existing
    return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": validate}]}}])


def test_an_update_that_adds_a_violation_to_an_object_that_violates_is_not_silent() -> None:
    bad = {"name": "e", "image": "x", "securityContext": {"privileged": True}}
    old = pod()
    old["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    worse = {**old, "spec": {**old["spec"], "ephemeralContainers": [bad]}}
    decision = of(worse, privileged(), {}, operation="UPDATE", old_object=old)
    assert (decision.verdict, decision.results[0].outcome) == (Verdict.NOT_JUDGED, Outcome.SKIP)
    assert decision.results[0].message == "skipping the rule evaluation as pre-existing violations are allowed"
    assert "a violation that was there before is allowed on update (and is another one now)" in decision.warnings[0]
    assert "/spec/ephemeralContainers/0/securityContext/privileged/" in decision.warnings[0]
    same = of({**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}, privileged(), {}, operation="UPDATE",
              old_object=old)
    assert "(unchanged)" in same.warnings[0]
    swapped = {**old, "spec": {"containers": [{**old["spec"]["containers"][0], "image": "evil.example/x:1"}]}}
    other = of(swapped, privileged(), {}, operation="UPDATE", old_object=old)
    assert "(its place is the same, the object is not)" in other.warnings[0]
    assert of(worse, privileged(allow_existing=False), {}, operation="UPDATE", old_object=old).verdict is Verdict.DENIED
    assert of(worse, privileged(), {}, operation="UPDATE", old_object=pod()).verdict is Verdict.DENIED


# ── the newest speaks ───────────────────────────────────────────────────────────────────────────────────────────────

def scans(**fields: Any) -> PolicySet:
    return policies(attestations=[{"type": VULN, "attestors": keyless()["attestors"], "conditions": [
        {"all": [{"key": "{{ critical }}", "operator": "Equals", "value": 0}]}]}], **fields)


def scan(critical: int, age: timedelta | None, **who: Any) -> Verified:
    made = statement(VULN, {"critical": critical}, **who)
    return msgspec.structs.replace(made, signed_at=None if age is None else NOW - age)


OLD, NEW = timedelta(days=3), timedelta(hours=1)


def test_of_one_signer_the_newest_scan_speaks() -> None:
    assert judge(scans(), scan(2, OLD), scan(0, NEW)).allowed
    assert judge(scans(), scan(0, NEW), scan(2, OLD)).allowed
    assert "attestation checks failed" in reason(judge(scans(), scan(0, OLD), scan(2, NEW)))


def test_another_signers_newer_scan_does_not_silence_this_ones() -> None:
    other = {"subject": "https://github.com/myorg/other"}
    assert "attestation checks failed" in reason(judge(scans(), scan(2, OLD), scan(0, NEW, **other)))
    stranger = {"subject": "https://github.com/evil/x"}
    assert "attestation checks failed" in reason(judge(scans(), scan(2, OLD), scan(0, NEW, **stranger)))
    assert judge(scans(), scan(0, OLD), scan(2, NEW, **stranger)).allowed


def test_what_no_authority_gives_a_time_silences_nothing_and_is_not_silenced() -> None:
    assert "attestation checks failed" in reason(judge(scans(), scan(2, None), scan(0, NEW)))
    assert "attestation checks failed" in reason(judge(scans(), scan(2, OLD), scan(0, None)))


def test_a_policy_may_ask_for_all() -> None:
    document = scans().documents[0]
    document["metadata"]["annotations"] = {"policies.custody.internal/attestations": "all"}
    assert "attestation checks failed" in reason(judge(PolicySet([document]), scan(2, OLD), scan(0, NEW)))
    document["metadata"]["annotations"] = {"policies.custody.internal/attestations": "oldest"}
    with pytest.raises(Exception, match="attestations: got 'oldest', expected newest or all"):
        PolicySet([document])


def test_only_evidence_that_a_rule_can_use_is_asked_for() -> None:
    assert scans().predicate_types() == {VULN}
    assert policies(**keyless()).predicate_types() == {"https://sigstore.dev/cosign/sign/v1"}


# ── what to do next ─────────────────────────────────────────────────────────────────────────────────────────────────

def gathered(state: State, words: str) -> EvidenceSet:
    return EvidenceSet(subject="", rejected=(
        Rejected(subject="", evidence=None, source="gather", state=state, reason=words),))


@pytest.mark.parametrize(("evidence", "remedy"), [
    (gathered(State.UNVERIFIABLE, "connection refused"), "look at the registry ghcr.io and the network"),
    (gathered(State.MISSING, "answered 404"), "check the name: the registry ghcr.io has no such image"),
    (EvidenceSet(subject=DIGEST), f"custody sign ghcr.io/myorg/app@{DIGEST}"),
])
def test_verify_remedy_unreachable(evidence: EvidenceSet, remedy: str) -> None:
    result, = of(pod(), policies(**keyless()), {IMAGE: evidence}).results
    assert remedy in (result.remedy or "")
    assert ("custody sign" in (result.remedy or "")) == remedy.startswith("custody sign")


def test_kyverno_deny_empty() -> None:
    found = PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]},
            "validate": {"message": "never", "deny": {}}}]}}])
    assert reason(of({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}, found, {})) == "never"


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_rule_that_breaks_denies_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: VerifyImages, given: Any, image: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(VerifyImages, "verify", broken)
    decision = of(pod(), policies(**keyless()), {IMAGE: EvidenceSet(subject=DIGEST)})
    assert reason(decision) == "the rule could not be evaluated: internal error: RuntimeError"
    assert decision.results[0].outcome is Outcome.ERROR


def test_policies_are_asked_by_webhook_group() -> None:
    one, two = policies(**keyless()).documents[0], privileged().documents[0]
    two["metadata"]["name"] = "q"
    two["spec"] |= {"failurePolicy": "Ignore", "webhookTimeoutSeconds": 5}
    found = PolicySet([one, two])
    part = found.only(lambda policy: policy.failure_policy == "Ignore")
    assert [policy.name for policy in part.policies] * 3 == [rule.policy.name for rule in part.rules] == ["q"] * 3
    assert part.documents == [two]
    assert len({part.digest, found.digest, PolicySet([two]).digest}) == 2
