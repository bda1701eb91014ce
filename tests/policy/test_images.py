"""verifyImages: for every field one statement in which exactly that is wrong, and the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.errors import CustodyError
from custody.evidence.model import (
    Evidence,
    EvidenceSet,
    KeylessSigner,
    KeySigner,
    LogEntry,
    Rejected,
    State,
    Verified,
    seal,
)
from custody.kit.digest import sha256
from custody.policy.decide import decide
from custody.policy.images import image as named
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.policy.phases import Course

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
IMAGE = "ghcr.io/myorg/app:1"
SIGN = "https://sigstore.dev/cosign/sign/v1"
VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
REKOR = "https://rekor.sigstore.dev"
ISSUER = "https://token.actions.githubusercontent.com"
SUBJECT = "https://github.com/myorg/app/.github/workflows/release.yml@refs/heads/main"
KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()
PEM = KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
FINGERPRINT = sha256(KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
KEYLESS = {"issuer": ISSUER, "subject": "https://github.com/myorg/*", "rekor": {"url": REKOR}}


def statement(kind: str = SIGN, predicate: Any = None, *, subject: str = SUBJECT, issuer: str = ISSUER,
              log: str | None = REKOR, key: bool = False, annotations: dict[str, str] | None = None,
              stored: str = "bundle") -> Verified:
    evidence = Evidence(subject=DIGEST, media_type="x", source="referrer x",
                        data=json.dumps([kind, predicate, subject, issuer, log, key, annotations]).encode())
    signer = KeySigner(fingerprint=FINGERPRINT) if key else KeylessSigner(subject=subject, issuer=issuer)
    return seal(evidence, kind="signature" if kind == SIGN else "attestation", predicate_type=kind,
                predicate=predicate or {}, signer=signer, signed_at=NOW, annotations=annotations, format=stored,
                log=LogEntry(base_url=log, index=1, log_id="00") if log else None)


def pod(image: str = IMAGE, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": image}], **more}}


def policies(**fields: Any) -> PolicySet:
    entry = {"imageReferences": ["ghcr.io/myorg/*"], **fields}
    return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [entry]}]}}])


def judge(found: PolicySet, *verified: Verified, rejected: tuple[Rejected, ...] = (), image: str = IMAGE,
          at: Course = Course.ADMISSION, resource: dict[str, Any] | None = None) -> Decision:
    evidence = {named(image).name: EvidenceSet(subject=DIGEST, verified=verified, rejected=rejected)}
    return decide(Request.create(resource or pod(image)), evidence, found, Context(now=NOW), at=at)


def reason(decision: Decision) -> str:
    assert not decision.allowed
    return next(one.message for one in decision.results if one.denies)


def keyless(**changes: Any) -> dict[str, Any]:
    return {"attestors": [{"entries": [{"keyless": {**KEYLESS, **changes}}]}]}


def test_a_right_signature_is_enough_and_names_its_evidence() -> None:
    good = statement()
    decision = judge(policies(**keyless()), good)
    assert decision.allowed
    assert decision.results[0].evidence == (good.evidence,)
    assert decision.patch == [{"op": "replace", "path": "/spec/containers/0/image", "value": f"{IMAGE}@{DIGEST}"}]


@pytest.mark.parametrize(("demanded", "given", "words"), [
    (keyless(), statement(issuer="https://evil.example"), "issuer mismatch: expected https://token.actions"),
    (keyless(), statement(subject="https://github.com/mallory/app"), "subject mismatch: expected https://github.com/my"),
    (keyless(subject="https://github.com/myorg/?"), statement(), "subject mismatch"),
    (keyless(subject=None, subjectRegExp="^https://github.com/yourorg/"), statement(), "subject mismatch"),
    (keyless(issuer=None, issuerRegExp="^https://accounts[.]"), statement(), "issuer mismatch"),
    (keyless(), statement(log=None), "not in a transparency log"),
    (keyless(), statement(log="https://rekor.example"), "log mismatch: expected an entry in https://rekor.sigstore.dev"),
    (keyless(), statement(key=True), "certificate not found: signed with key sha256:"),
    (keyless(), statement("https://cyclonedx.org/bom"), "no signatures found (missing)"),
    ({**keyless(), "type": "SigstoreBundle"}, statement(stored="simplesigning"), "stored as simplesigning"),
    ({**keyless(), "type": "SigstoreBundle"}, statement(stored="notary"),
     "a signature of the Notary Project, expected a Sigstore bundle"),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": PEM}}]}]}, statement(), "key mismatch: expected key sha256:"),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": PEM}}]}]}, statement(key=True, log=None),
     "not in a transparency log, expected an entry in https://rekor.sigstore.dev"),
    ({"attestors": [{"entries": [{"keyless": KEYLESS, "annotations": {"env": "prod"}}]}]},
     statement(annotations={"env": "test"}), "annotations mismatch: expected env=prod, received test"),
    ({"attestors": [{"count": 2, "entries": [{"keyless": KEYLESS}, {"keys": {"publicKeys": PEM}}]}]}, statement(),
     ".attestors[0].entries[1].keys"),
    ({"attestors": [{"entries": [{"keyless": KEYLESS}, {"keys": {"publicKeys": PEM}}]}]}, statement(),
     ".attestors[0].entries[1].keys"),
    ({"attestors": [{"entries": [{"keyless": KEYLESS}]}, {"entries": [{"keys": {"publicKeys": PEM}}]}]}, statement(),
     ".attestors[1].entries[0].keys"),
    ({"attestors": [{"entries": [{"attestor": {"entries": [{"keys": {"publicKeys": PEM}}]}}]}]}, statement(),
     ".attestors[0].entries[0].attestor.entries[0].keys"),
])
def test_exactly_this_is_wrong(demanded: dict[str, Any], given: Verified, words: str) -> None:
    cleaned = json.loads(json.dumps(demanded), object_hook=lambda one: {k: v for k, v in one.items() if v is not None})
    assert words in reason(judge(policies(**cleaned), given))


@pytest.mark.parametrize(("demanded", "given"), [
    ({"attestors": [{"entries": [{"keys": {"publicKeys": PEM}}]}]}, statement(key=True)),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": PEM, "rekor": {"ignoreTlog": True}}}]}]},
     statement(key=True, log=None)),
    ({"attestors": [{"count": 1, "entries": [{"keyless": KEYLESS}, {"keys": {"publicKeys": PEM}}]}]}, statement()),
    ({"attestors": [{"entries": [{"attestor": {"entries": [{"keyless": KEYLESS}]}}]}]}, statement()),
    ({"attestors": [{"entries": [{"keyless": KEYLESS, "annotations": {"env": "prod"}}]}]},
     statement(annotations={"env": "prod", "more": "x"})),
    (keyless(rekor={"url": REKOR + "/"}), statement()),
])
def test_what_is_enough(demanded: dict[str, Any], given: Verified) -> None:
    assert judge(policies(**demanded), given).allowed


def test_public_keys_are_handed_to_whoever_verifies() -> None:
    found = policies(attestors=[{"entries": [{"keys": {"publicKeys": PEM + PEM}}]}])
    assert found.public_keys() == [PEM.encode()]


SCAN = {"metadata": {"scanFinishedOn": "2026-11-24T11:00:00Z"}, "scanner": {"result": {"Results": [
    {"Vulnerabilities": [{"Severity": "LOW"}]}]}}}
FRESH = {"key": "{{ time_since('', '{{ metadata.scanFinishedOn }}', '') }}", "operator": "LessThanOrEquals",
         "value": "24h"}
NO_CRITICAL = {"key": "{{ scanner.result.Results[].Vulnerabilities[] | [?Severity == 'CRITICAL'] | length(@) }}",
               "operator": "Equals", "value": 0, "message": "no critical findings"}


def attested(*conditions: dict[str, Any], **attestor: Any) -> PolicySet:
    return policies(attestations=[{"type": VULN, "attestors": [{"entries": [{"keyless": {**KEYLESS, **attestor}}]}],
                                   "conditions": [{"all": list(conditions)}]}])


def scan(change: Callable[[Any], object]) -> dict[str, Any]:
    copy = json.loads(json.dumps(SCAN))
    change(copy)
    return copy  # type: ignore[no-any-return]


def test_an_attestation_with_conditions() -> None:
    assert judge(attested(FRESH, NO_CRITICAL), statement(VULN, SCAN)).allowed
    young = scan(lambda one: one["metadata"].update(scanFinishedOn=(NOW - timedelta(hours=24)).isoformat()))
    assert judge(attested(FRESH), statement(VULN, young)).allowed


@pytest.mark.parametrize(("given", "words"), [
    ([], "attestations not found for predicate type https://cosign.sigstore.dev/attestation/vuln/v1 (missing)"),
    ([statement()], "attestations not found for predicate type"),
    ([statement(VULN, SCAN, subject="https://github.com/mallory/x")], "subject mismatch"),
    ([statement(VULN, scan(lambda one: one["metadata"].update(scanFinishedOn="2026-11-23T11:59:59Z")))], "stale"),
    ([statement(VULN, scan(lambda one: one["metadata"].pop("scanFinishedOn")))], "scanFinishedOn"),
    ([statement(VULN, scan(lambda one: one["scanner"]["result"]["Results"].append(
        {"Vulnerabilities": [{"Severity": "CRITICAL"}]})))], "no critical findings"),
    ([statement(VULN, ["no", "map"])], "is no map"),
    # Every statement of the type by this signer must hold, as in Kyverno: a new scan must replace the old one.
    ([statement(VULN, SCAN), statement(VULN, scan(lambda one: one["scanner"]["result"]["Results"].append(
        {"Vulnerabilities": [{"Severity": "CRITICAL"}]})))], "no critical findings"),
])
def test_attestations_that_do_not_hold(given: list[Verified], words: str) -> None:
    assert words in reason(judge(attested(FRESH, NO_CRITICAL), *given))


def test_states_of_evidence_are_told_apart() -> None:
    for state in (State.MISSING, State.FAILED, State.UNVERIFIABLE):
        rejected = Rejected(subject=DIGEST, evidence=None, source="referrer x", state=state, reason="because")
        assert f"{state}: referrer x: because" in reason(judge(policies(**keyless()), rejected=(rejected,)))
    decision = decide(Request.create(pod()), {}, policies(**keyless()), Context(now=NOW))
    assert "no evidence was gathered (missing)" in reason(decision)


def test_images_that_a_rule_does_not_speak_of() -> None:
    found = policies(**keyless(), skipImageReferences=["ghcr.io/myorg/skipped*"])
    assert judge(found, image="docker.io/library/nginx:1").results == ()
    assert judge(found, image="ghcr.io/myorg/skipped:1").allowed
    assert not judge(found, image="ghcr.io/myorg/other:1").allowed
    assert found.images(Request.create(pod("docker.io/library/nginx:1"))) == []
    assert found.images(Request.create(pod())) == [IMAGE]


def test_look_alike_registries_do_not_match() -> None:
    found = policies(**keyless())
    for name in ("ghcr.io.evil.example/myorg/app:1", "ghcr.io/myorgx/app:1", "evil.example/ghcr.io/myorg/app:1"):
        assert judge(found, image=name).results == (), name


def test_every_container_of_every_kind_is_verified_and_pinned() -> None:
    resource = pod(initContainers=[{"name": "i", "image": IMAGE}], ephemeralContainers=[{"name": "e", "image": IMAGE}])
    decision = judge(policies(**keyless()), statement(), resource=resource)
    assert {one["path"] for one in decision.patch} == {
        "/spec/containers/0/image", "/spec/initContainers/0/image", "/spec/ephemeralContainers/0/image"}
    bad = pod(initContainers=[{"name": "i", "image": "ghcr.io/myorg/evil:1"}])
    assert not judge(policies(**keyless()), statement(), resource=bad).allowed


def test_digests_are_asked_for_only_after_mutation() -> None:
    found = policies(**keyless())
    assert judge(found, statement(), at=Course.ADMISSION).allowed
    assert "missing digest" in reason(judge(found, statement(), at=Course.VALIDATING))
    pinned = f"{IMAGE}@{DIGEST}"
    assert judge(found, statement(), image=pinned, at=Course.VALIDATING).allowed
    unpinned = policies(**keyless(), mutateDigest=False, verifyDigest=False)
    assert judge(unpinned, statement(), at=Course.VALIDATING).allowed
    assert judge(unpinned, statement()).patch == []


def test_pinning_alone_says_nothing_about_other_rules() -> None:
    found = PolicySet([*policies(**keyless()).documents, {
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "q"}, "spec": {
            "validationFailureAction": "Enforce", "rules": [{
                "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                "validate": {"message": "no", "pattern": {"spec": {"x": "y"}}}}]}}])
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}
    assert decide(Request.create(pod()), evidence, found, Context(now=NOW), at=Course.MUTATING).allowed
    assert not decide(Request.create(pod()), evidence, found, Context(now=NOW)).allowed


def test_audit_reports_and_enforce_denies() -> None:
    found = policies(**keyless())
    audit = json.loads(json.dumps(found.documents[0]))
    audit["spec"]["validationFailureAction"] = "Audit"
    with pytest.raises(CustodyError, match="mutateDigest: got 'true under Audit'"):
        PolicySet([audit])
    audit["spec"]["rules"][0]["verifyImages"][0]["mutateDigest"] = False
    decision = judge(PolicySet([audit]), statement(issuer="https://evil.example"))
    assert decision.allowed
    assert decision.patch == []
    assert "issuer mismatch" in decision.warnings[0]


def test_the_same_inputs_the_same_decision_another_input_another_digest() -> None:
    found = policies(**keyless())
    one, two = judge(found, statement()), judge(found, statement())
    assert one == two
    others = [judge(found, statement(subject=SUBJECT + "x")),
              judge(policies(**keyless(), verifyDigest=False), statement()),
              judge(found, statement(), at=Course.VALIDATING),
              decide(Request.create(pod()), {}, found, Context(now=NOW + timedelta(seconds=1)))]
    assert len({one.inputs_digest, *(other.inputs_digest for other in others)}) == 5


@pytest.mark.parametrize(("fields", "words"), [
    ({"issuer": "x"}, "verifyImages[0].attestors[1].entries[0].keyless.rekor"),
    ({"subject": "x"}, "verifyImages[0].subject"), ({"roots": "x"}, "verifyImages[0].roots"),
    ({"key": PEM, "additionalExtensions": {"a": "b"}}, "verifyImages[0].additionalExtensions"),
    ({"type": "Other"}, "verifyImages[0].type"), ({"type": "Notary"}, "entries[0].keyless"),
    ({"required": "x"}, "verifyImages[0].required"), ({"useCache": "x"}, "verifyImages[0].useCache"),
    ({"imageRegistryCredentials": {"helpers": []}}, "verifyImages[0].imageRegistryCredentials.helpers"),
    ({"imageRegistryCredentials": {"providers": ["oracle"]}}, "imageRegistryCredentials.providers[0]: got 'oracle'"),
    ({"attestors": [{"entries": [{"certificates": {"cert": "x"}}]}]}, "entries[0].certificates"),
    ({"attestors": [{"entries": [{"certificates": {}}]}]}, "entries[0].certificates"),
    ({"attestors": [{"entries": [{"keyless": {**KEYLESS, "roots": "x"}}]}]}, "keyless.roots: got"),
    ({"attestors": [{"entries": [{"keyless": {**KEYLESS, "rekor": {"pubkey": "x"}}}]}]}, "keyless.rekor.pubkey: got"),
    ({"attestors": [{"entries": [{"keyless": {**KEYLESS, "ctlog": {"pubkey": "x"}}}]}]}, "keyless.ctlog.pubkey: got"),
    ({"attestors": [{"entries": [{"keyless": {**KEYLESS, "ctlog": {"tsaCertChain": "x"}}}]}]}, "ctlog.tsaCertChain"),
    ({"attestors": [{"entries": [{"keyless": {**KEYLESS, "additionalExtensions": {"a": "b"}}}]}]},
     "keyless.additionalExtensions.a"),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": "/etc/key.pub"}}]}]}, "keys.publicKeys"),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": "https://keys.example/a"}}]}]}, "keys.publicKeys"),
    ({"attestors": [{"entries": [{"keys": {"kms": "awskms:///x", "publicKeys": PEM}}]}]}, "publicKeys and kms"),
    ({"attestors": [{"entries": [{"keys": {"kms": "kms:///x"}}]}]}, "keys.kms"),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": PEM, "signatureAlgorithm": "md5"}}]}]},
     "keys.signatureAlgorithm"),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": PEM}, "signatureAlgorithm": "md5"}]}]},
     "entries[0].signatureAlgorithm"),
    ({"attestors": [{"entries": [{"attestor": {"entries": [{"keyless": KEYLESS}]}, "repository": "x"}]}]},
     "entries[0].repository"),
    ({"validate": {"deny": {}}}, "validate.deny.conditions"), ({"validate": {"allow": 1}}, "validate.allow"),
    ({"attestors": [{"count": 3, "entries": [{"keyless": KEYLESS}]}]}, "count 3 of 1 entries"),
    ({"attestors": [{"entries": [{"keyless": {**KEYLESS, "subjectRegExp": "(?=x)"}}]}]}, "subjectRegExp"),
    ({"attestations": [{"attestors": []}]}, "attestations[0].type"),
    ({"attestations": [{"type": "x", "conditions": [{"all": [{"key": "{{ nope(x) }}", "operator": "Equals",
                                                             "value": 1}]}]}]}, "nope"),
    ({"imageReferences": []}, "imageReferences"),
])
def test_fields_that_are_refused_by_their_path(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError) as caught:
        policies(**{**keyless(), **fields})
    assert words in caught.value.message
    assert "spec.rules[0]" in caught.value.message
