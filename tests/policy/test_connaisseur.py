"""Connaisseur's configuration: which rule is about an image, and what each field of its validators decides."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.images import image
from custody.policy.imports.specificity import Pattern, Specificity
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request, Verdict
from custody.policy.phases import Course
from custody.ports.lookup import ApiCall, ImageEvidence, NamespaceLabels
from tests.policy.signing import DIGEST, NAME, NOW, World, asked, evidence, layer, pem, pem_of, reason
from tests.sign.authority import IDENTITY, ISSUER, new_key

WORLD, OTHER = World(), World()
ROOT = WORLD.trusted_root()
ALICE, BOB, CHARLIE = new_key(), new_key(), new_key()
BUNDLE = evidence(WORLD.keyless(kind="dsse"))
ROOTS = [{"name": name, "key": pem(key)} for name, key in (("alice", ALICE), ("bob", BOB), ("charlie", CHARLIE))]
UNLOGGED = {"verifyInTransparencyLog": False}
PIN = {"op": "replace", "path": "/spec/containers/0/image", "value": f"{NAME}@{DIGEST}"}


def configuration(*rules: dict[str, Any], roots: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    return {"validators": [
        {"name": "default", "type": "cosign", "trustRoots": ROOTS if roots is None else roots, **more},
        {"name": "allow", "type": "static", "approve": True}, {"name": "deny", "type": "static", "approve": False}],
        "policy": [*rules]}


def rule(pattern: str = "ghcr.io/myorg/*:*", validator: str = "default", **options: Any) -> dict[str, Any]:
    return {"pattern": pattern, "validator": validator, "with": {**UNLOGGED, "trustRoot": "alice", **options}}


def values(*rules: dict[str, Any], features: dict[str, Any] | None = None, **more: Any) -> PolicySet:
    return PolicySet([{"application": {**configuration(*rules), "features": features or {}}, **more}])


def good(policies: PolicySet, *documents: Any, **more: Any) -> Decision:
    decision, _ = asked(policies, *documents, root=ROOT, **more)
    assert decision.verdict is Verdict.ALLOWED, reason(decision)
    return decision


def bad(policies: PolicySet, *documents: Any, words: str, **more: Any) -> None:
    decision, _ = asked(policies, *documents, root=ROOT, **more)
    assert words in reason(decision), decision


def test_a_key_and_the_digest_that_is_pinned() -> None:
    policies = PolicySet([configuration(rule())])
    assert good(policies, layer(ALICE)).patch == [PIN]
    bad(policies, layer(BOB), words=f"error during cosign validation of image {NAME}: error validating image: [alice: ")
    bad(policies, words="no matching signatures")
    assert good(PolicySet([configuration(rule(mode="insecureValidateOnly"))]), layer(ALICE)).patch == []
    logged = PolicySet([configuration(rule(verifyInTransparencyLog=True))])
    bad(logged, layer(ALICE), words="log entry: there is none")
    good(logged, layer(ALICE, world=WORLD))


@pytest.mark.parametrize(("options", "signers", "words"), [
    ({"trustRoot": "*"}, (ALICE, BOB, CHARLIE), ""),
    ({"trustRoot": "*"}, (ALICE, BOB), "validation threshold not reached (2/3)"),
    ({"trustRoot": "*", "threshold": 2}, (ALICE, BOB), ""),
    ({"trustRoot": "*", "threshold": 2}, (ALICE, ALICE), "validation threshold not reached (1/2)"),
    ({"trustRoot": "*", "required": ["alice", "bob"]}, (ALICE, BOB), ""),
    ({"trustRoot": "*", "required": ["alice", "bob"]}, (ALICE, CHARLIE), "missing required signatures from [bob]"),
    ({"trustRoot": "*", "required": ["alice"], "threshold": 2}, (ALICE, CHARLIE), ""),
    ({"trustRoot": "*", "required": ["alice"], "threshold": 2}, (BOB, CHARLIE),
     "missing required signatures from [alice]"),
    ({"trustRoot": "*", "required": ["alice"], "threshold": 2}, (ALICE,), "validation threshold not reached (1/2)"),
    ({"trustRoot": "alice", "required": ["bob"]}, (ALICE, BOB), "missing required signatures from [bob]"),
    ({"trustRoot": "bob", "threshold": 3}, (BOB,), "")])
def test_how_many_must_have_signed(options: dict[str, Any], signers: tuple[Any, ...], words: str) -> None:
    policies = PolicySet([configuration(rule(**options))])
    if words:
        bad(policies, *map(layer, signers), words=words)
    else:
        good(policies, *map(layer, signers))


def test_more_trust_roots_than_rounds_are_asked_in_one() -> None:
    roots = [{"name": f"root-{at}", "key": pem(new_key())} for at in range(12)]
    policies = PolicySet([configuration(rule(trustRoot="*", threshold=1), roots=[*roots, ROOTS[0]])])
    good(policies, layer(ALICE))
    _, questions = asked(policies, layer(ALICE), root=ROOT)
    assert sum(isinstance(question, ImageEvidence) for question in questions) == 13
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
           "spec": {"containers": [{"name": "c", "image": f"{NAME}@{DIGEST}"}]}}
    assert len(policies.needs(Request.create(pod)).questions) == 13


def test_keyless() -> None:
    def keyless(**who: str) -> PolicySet:
        return PolicySet([configuration(rule(trustRoot="k", verifyInTransparencyLog=True),
                                        roots=[{"name": "k", "keyless": who}])])

    good(keyless(issuer=ISSUER, subject=IDENTITY), BUNDLE)
    good(keyless(issuerRegex="token", subjectRegex="acme"), BUNDLE)
    bad(keyless(issuer="token", subject=IDENTITY), BUNDLE, words="no matching signatures")
    bad(keyless(issuer=ISSUER, subjectRegex="^acme$"), BUNDLE, words="no matching signatures")
    own = new_key()
    theirs = layer(own, certificate=OTHER.leaf(own, sct="none"), chain=(OTHER.ca,), world=WORLD)
    roots = [{"name": "k", "keyless": {"issuer": ISSUER, "subject": IDENTITY}}]

    def issued(**options: Any) -> PolicySet:
        return PolicySet([configuration(rule(trustRoot="k", verifyInTransparencyLog=True, **options), roots=roots,
                                        host={"fulcioCert": pem_of(OTHER.ca, OTHER.root)})])

    good(issued(verifySCT=False), theirs)
    bad(issued(), theirs, words="SCT")
    bad(PolicySet([configuration(rule(trustRoot="k", verifyInTransparencyLog=True, verifySCT=False), roots=roots)]),
        theirs, words="issued")


def test_the_logs_of_a_host() -> None:
    own = PolicySet([configuration(rule(verifyInTransparencyLog=True), host={
        "rekor": "https://rekor.example.com", "rekorPubkey": pem(OTHER.log1.key)})])
    good(own, layer(ALICE, world=OTHER))
    bad(own, layer(ALICE, world=WORLD), words="log")


def test_static_rules_and_none() -> None:
    policies = PolicySet([configuration(rule("*:*", "deny"), rule("ghcr.io/myorg/*:*", "allow"))])
    assert good(policies).patch == []
    bad(policies, words="static deny for image nginx using rule *:*", image="nginx")
    bad(PolicySet([configuration(rule())]), words="nginx: no matching rule", image="nginx")


@pytest.mark.parametrize(("written", "patterns", "position"), [
    ("nginx", ["*:*", "docker.io/library/*:*"], 1),
    ("nginx", ["docker.io/*/*", "library/nginx"], 0),
    ("ghcr.io/a/b:1", ["ghcr.io/a/*", "ghcr.io/*/b"], 0),
    ("ghcr.io/a/b:1", ["*/a/b", "ghcr.io/*/*"], 1),
    ("ghcr.io/a/b:1", ["ghcr.io/a", "ghcr.io/a/b:1"], 1),
    ("ghcr.io/a/b:1", ["a/b", "b:1"], 0),
    ("ghcr.io/a/b:1", ["ghcr.io/a/b:2", "ghcr.io/a/b:"], 1),
    ("ghcr.io/a/b:1", ["x"], None),
    ("ghcr.io/a/b:1", ["ghcr.io/a/b", "ghcr.io/a/b"], 1),
    ("ghcr.io/a/b:1", ["GHCR.io/a/b"], 0),
    ("ghcr.io/a/b:1", ["ghcr.io/A/b"], None),
    (f"ghcr.io/a/b@{DIGEST}", ["*:*"], 0),
    ("ghcr.io/a/b:1", ["ghcr.io/{a,c}/b", "ghcr.io/[a-c]/b:1"], 1)])
def test_the_most_specific_rule(written: str, patterns: list[str], position: int | None) -> None:
    compiled = Specificity([Pattern.compile(text, "pattern") for text in patterns])
    assert compiled.of(image(written)) == position


def test_features() -> None:
    pods = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": NAME}]}}
    labels = {NamespaceLabels("default"): {}}
    left = {NamespaceLabels("default"): {"securesystemsengineering.connaisseur/webhook": "ignore"}}
    bad(values(rule()), layer(BOB), words="error during cosign validation", known=labels)
    decision, _ = asked(values(rule()), layer(BOB), root=ROOT, known=left)
    assert decision.verdict is Verdict.NOT_JUDGED
    validated = values(rule(), features={"namespacedValidation": {"mode": "validate"}})
    decision, _ = asked(validated, layer(BOB), root=ROOT, known=labels)
    assert decision.verdict is Verdict.NOT_JUDGED
    detected, _ = asked(values(rule(), features={"detectionMode": True}), layer(BOB), root=ROOT, known=labels)
    assert detected.allowed
    assert "error during cosign" in detected.warnings[0]
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
                  "spec": {"template": {"spec": pods["spec"]}}}
    bad(values(rule()), layer(BOB), words="error during cosign validation", known=labels, resource=deployment)
    only = values(rule(), features={"resourceValidationMode": "podsOnly"})
    decision, _ = asked(only, layer(BOB), root=ROOT, known=labels, resource=deployment)
    assert decision.allowed
    assert decision.warnings
    decision, _ = asked(only, layer(ALICE), root=ROOT, known=labels, resource=deployment)
    assert (decision.verdict, decision.patch) == (Verdict.ALLOWED, [])
    bad(only, layer(BOB), words="error during cosign validation", known=labels)


def test_a_child_of_what_was_judged_and_what_an_update_leaves() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "p", "namespace": "default", "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "c", "image": NAME}]}}
    path = ApiCall("/apis/apps/v1/namespaces/default/replicasets/r")

    def known(uid: str, named: str) -> dict[Any, Any]:
        return {NamespaceLabels("default"): {}, path: {"metadata": {"uid": uid}, "spec": {"template": {"spec": {
            "containers": [{"name": "c", "image": named}]}}}}}

    decision, _ = asked(values(rule()), layer(BOB), root=ROOT, resource=pod, known=known("1", NAME))
    assert decision.allowed
    assert [result.outcome for result in decision.results] == ["skip"]
    for other in (known("2", NAME), known("1", "ghcr.io/myorg/app:2"), {NamespaceLabels("default"): {}}):
        bad(values(rule()), layer(BOB), words="error during cosign", resource=pod, known=other)
    for features in ({"automaticChildApproval": False}, {"resourceValidationMode": "podsOnly"}):
        bad(values(rule(), features=features), layer(BOB), words="error during cosign", resource=pod,
            known=known("1", NAME))
    bad(values(rule("*:*", "deny")), words="static deny", resource=pod, known=known("1", NAME))
    update = Request.create(pod)
    assert update.object is not None


def test_an_update_of_what_is_being_deleted_says_nothing() -> None:
    import msgspec

    from custody.policy.decide import decide
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
           "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    gone = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}  # type: ignore[dict-item]
    policies = PolicySet([configuration(rule("*:*", "deny"))])
    for old, allowed in ((pod, False), (gone, True)):
        request = msgspec.structs.replace(Request.create(pod), operation="UPDATE", old_object=old)
        assert decide(request, {}, policies, Context(now=NOW), at=Course.ADMISSION).allowed is allowed


def test_notation_and_how_it_is_asked() -> None:
    roots = [{"name": "default", "cert": pem_of(OTHER.root)}]
    config = configuration(rule(), roots=ROOTS)
    config["validators"].append({"name": "n", "type": "notation", "trustRoots": roots,
                                 "auth": {"secretName": "s"}})
    config["policy"].append({"pattern": "ghcr.io/myorg/app:1", "validator": "n"})
    decision, questions = asked(PolicySet([config]), layer(ALICE), root=ROOT)
    assert "error during notation validation" in reason(decision)
    first = next(question for question in questions if isinstance(question, ImageEvidence))
    assert first.authority.secrets == ("connaisseur/s",)


@pytest.mark.parametrize(("change", "words"), [
    ({"validators": []}, "validators: got 'nothing'"), ({"policy": []}, "policy: got 'nothing'"),
    ({"policy": [rule(validator="x")]}, 'validator "x" not found'),
    ({"policy": [rule(trustRoot="x")]}, "policy[0].with.trustRoot: got 'unable to find trust root x'"),
    ({"policy": [rule(trustRoot="")]}, "unable to find trust root default"),
    ({"policy": [rule(threshold=-1)]}, "policy[0].with.threshold"),
    ({"policy": [rule(mode="x")]}, "policy[0].with.mode"),
    ({"policy": [rule(delegations=["x"])]}, "policy[0].with.delegations"),
    ({"policy": [{**rule(), "more": 1}]}, "policy[0].more"),
    ({"policy": [rule(pattern="a{b")]}, "policy[0].pattern"),
    ({"alerting": {"admitRequest": {}}}, "alerting"), ({"more": 1}, "more"),
    ({"validators": [{"name": "default", "type": "notaryv1"}]}, "validators[0].type: notaryv1"),
    ({"validators": [{"name": "default", "type": "x"}]}, "validators[0].type: got 'x'"),
    ({"validators": [{"name": "default", "type": "static", "approve": "yes"}]}, "validators[0].approve")])
def test_what_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError) as caught:
        PolicySet([{**configuration(rule()), **change}])
    assert words in caught.value.message


@pytest.mark.parametrize(("change", "words"), [
    ({"trustRoots": []}, "no trust roots provided"), ({"trustRoots": [{"key": pem(ALICE)}]}, "trustRoots[0].name"),
    ({"trustRoots": [{"name": "a"}]}, "one of key, keyless"),
    ({"trustRoots": [{"name": "a", "cert": "x"}]}, "trustRoots[0].cert"),
    ({"trustRoots": [{"name": "a", "key": "k8s://a/b"}]}, "trustRoots[0].key"),
    ({"trustRoots": [{"name": "a", "key": "-----BEGIN PUBLIC KEY-----\nx"}]}, "trustRoots[0].key"),
    ({"trustRoots": [{"name": "a", "keyless": {"issuer": "a"}}]}, "keyless.subject"),
    ({"trustRoots": [{"name": "a", "keyless": {"issuer": "a", "issuerRegex": "a", "subject": "s"}}]}, "keyless.issuer"),
    ({"trustRoots": [{"name": "a", "keyless": {"issuerRegex": "(", "subject": "s"}}]}, "keyless.issuerRegex"),
    ({"trustRoots": [ROOTS[0], ROOTS[0]]}, "alice twice"),
    ({"auth": {}}, "neither secretName nor useKeychain"), ({"auth": {"secretName": "a/b"}}, "auth.secretName"),
    ({"host": {"rekor": ":\\\\"}}, "host.rekor"), ({"host": {"more": "x"}}, "host.more"),
    ({"host": {"rekorPubkey": "x"}}, "host.rekorPubkey"), ({"host": {"ctLogPubkey": "x"}}, "host.ctLogPubkey"),
    ({"host": {"fulcioCert": "x"}}, "host.fulcioCert"), ({"cert": "x"}, "cert"), ({"more": 1}, "more")])
def test_what_is_refused_of_a_validator(change: dict[str, Any], words: str) -> None:
    config = configuration(rule())
    config["validators"][0] |= change
    with pytest.raises(CustodyError) as caught:
        PolicySet([config])
    assert words in caught.value.message
    assert "validators[0]" in caught.value.message
