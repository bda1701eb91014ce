"""verifyImages: for every field that says whom to believe, a signature that counts with it and not without it."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.evidence.model import Evidence
from custody.policy.load import PolicySet
from custody.policy.phases import Course
from custody.ports.lookup import ApiCall, ImageEvidence, PublicKeyAt, Question
from tests.policy.signing import DIGEST, NAME, NOW, World, asked, evidence, layer, pem, pem_of, reason, signature_of
from tests.sign.authority import IDENTITY, ISSUER, certificate, new_key

WORLD, OTHER = World(), World()
ROOT = WORLD.trusted_root()
KEY = new_key()
REKOR = "https://log1.example"
BUNDLE = evidence(WORLD.keyless(kind="dsse"))


def policies(*entries: dict[str, Any], **fields: Any) -> PolicySet:
    entry = {"imageReferences": ["ghcr.io/myorg/*"], "attestors": [{"entries": list(entries)}], **fields}
    if not entries:
        del entry["attestors"]
    return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [entry]}]}}])


def keyless(*, rekor: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"keyless": {"issuer": ISSUER, "subject": IDENTITY, "rekor": {"url": REKOR, **(rekor or {})}, **fields}}


def keys(**fields: Any) -> dict[str, Any]:
    return {"keys": {"publicKeys": pem(KEY), "rekor": {"ignoreTlog": True}, **fields}}


def good(entry: dict[str, Any], *documents: Evidence, root: Any = ROOT, **more: Any) -> list[Question]:
    decision, questions = asked(policies(entry), *documents, root=root, **more)
    assert decision.allowed, reason(decision)
    assert [result.outcome for result in decision.results] == ["pass"]
    return questions


def bad(entry: dict[str, Any], *documents: Evidence, words: str, root: Any = ROOT, **more: Any) -> None:
    decision, _ = asked(policies(entry), *documents, root=root, **more)
    assert words in reason(decision), decision


def unlogged(world: World = WORLD, **leaf: Any) -> Evidence:
    key = new_key()
    return layer(key, certificate=world.leaf(key, **leaf), chain=(world.ca,))


def logged(world: World = WORLD, log: World | None = None, **leaf: Any) -> Evidence:
    key = new_key()
    return layer(key, certificate=world.leaf(key, **leaf), chain=(world.ca,), world=log or world)


def test_what_the_trust_root_says_is_asked_of_nobody() -> None:
    assert good(keyless(), BUNDLE) == []
    assert good(keys(), layer(KEY)) == []


def test_rekor_ignore_tlog_lets_a_certificate_count_while_it_is_valid() -> None:
    bad(keyless(), unlogged(), words="log entry: there is none")
    good(keyless(rekor={"ignoreTlog": True}), unlogged())
    bad(keyless(rekor={"ignoreTlog": True}), unlogged(), words="certificate: not valid at",
        now=NOW + timedelta(hours=1))


def test_rekor_pubkey_is_the_one_log_that_counts() -> None:
    elsewhere = logged(log=OTHER)
    bad(keyless(), elsewhere, words="log entry")
    good(keyless(rekor={"pubkey": pem(OTHER.log1_key)}), elsewhere)
    bad(keyless(rekor={"pubkey": pem(new_key())}), elsewhere, words="log entry")
    bad(keyless(rekor={"pubkey": pem(OTHER.log1_key)}), logged(), words="log entry")


def test_rekor_pubkey_of_a_key() -> None:
    document = layer(KEY, world=OTHER)
    bad(keys(rekor={"url": REKOR}), document, words="not in a transparency log")
    good(keys(rekor={"url": REKOR, "pubkey": pem(OTHER.log1_key)}), document)
    bad(keys(rekor={"url": REKOR, "pubkey": pem(WORLD.log1_key)}), document, words="log entry")


def test_rekor_url_is_compared_where_the_log_is_the_trust_roots() -> None:
    good(keyless(), logged())
    bad(keyless(rekor={"url": "https://another.example"}), logged(), words="log mismatch")


def test_ctlog_ignore_sct() -> None:
    bad(keyless(), logged(sct="none"), words="SCT: the certificate has none")
    good(keyless(ctlog={"ignoreSCT": True}), logged(sct="none"))


def test_ctlog_pubkey_is_the_one_log_of_certificates_that_counts() -> None:
    bad(keyless(ctlog={"pubkey": pem(new_key())}), logged(), words="SCT: by no CT log of the trusted root")
    good(keyless(ctlog={"pubkey": pem(WORLD.ct_key)}), logged())


def test_tsa_cert_chain_says_when_an_unlogged_signature_was_made() -> None:
    key = new_key()
    plain = layer(key, certificate=WORLD.leaf(key), chain=(WORLD.ca, WORLD.root))
    document = Evidence(subject=DIGEST, media_type=plain.media_type, data=plain.data, source="tag", annotations={
        **plain.annotations, **layer(key, stamp=OTHER.stamp(signature_of(plain))).annotations, **plain.annotations})
    later = NOW + timedelta(hours=1)
    ignoring = {"ignoreTlog": True}
    bad(keyless(rekor=ignoring), document, words="timestamp", now=later)
    good(keyless(rekor=ignoring, ctlog={"tsaCertChain": pem_of(OTHER.tsa, OTHER.tsa_root)}), document, now=later)
    bad(keyless(rekor=ignoring, ctlog={"tsaCertChain": pem_of(WORLD.tsa, WORLD.tsa_root)}), document, words="timestamp",
        now=later)


def test_roots_are_the_only_authorities_that_count() -> None:
    theirs = logged(OTHER, log=WORLD, sct="none")
    sct = {"ctlog": {"ignoreSCT": True}}
    bad(keyless(**sct), theirs, words="no trusted authority issued it")
    good(keyless(roots=pem_of(OTHER.ca, OTHER.root), **sct), theirs)
    bad(keyless(roots=pem_of(WORLD.ca, WORLD.root), **sct), theirs, words="no trusted authority issued it")
    bad(keyless(roots=pem_of(OTHER.ca, OTHER.root), subject="x", **sct), theirs, words="subject mismatch")


@pytest.mark.parametrize(("name", "value", "right"), [
    ("githubWorkflowTrigger", "push", True), ("githubWorkflowTrigger", "p*", True),
    ("githubWorkflowTrigger", "schedule", False), ("1.3.6.1.4.1.57264.1.5", "acme/app", True),
    ("1.3.6.1.4.1.57264.1.5", "acme/other", False), ("oidcIssuer", ISSUER, True), ("oidcIssuer", "https://x", False),
    ("githubWorkflowSha", "*", True), ("githubWorkflowSha", "?", False),
])
def test_additional_extensions(name: str, value: str, right: bool) -> None:
    entry = keyless(additionalExtensions={name: value})
    if right:
        good(entry, BUNDLE)
    else:
        bad(entry, BUNDLE, words="extension mismatch: expected")


def test_signature_algorithm() -> None:
    document = layer(KEY, algorithm=hashes.SHA512())
    bad(keys(), document, words="no signatures found (failed: tag: signature: the signature is not this key's")
    good(keys(signatureAlgorithm="sha512"), document)
    good({**keys(), "signatureAlgorithm": "sha512"}, document)
    good({**keys(signatureAlgorithm="sha512"), "signatureAlgorithm": "sha256"}, document)
    bad(keys(signatureAlgorithm="sha384"), document, words="the signature is not this key's")


def test_a_key_that_a_secret_keeps() -> None:
    asks = ApiCall("/api/v1/namespaces/ns/secrets/cosign")
    secret = {"data": {"cosign.pub": base64.b64encode(pem(KEY).encode()).decode()}}
    for entry in (keys(publicKeys="k8s://ns/cosign"),
                  {"keys": {"secret": {"namespace": "ns", "name": "cosign"}, "rekor": {"ignoreTlog": True}}}):
        assert good(entry, layer(KEY), known={asks: secret})[0] == asks
        bad(entry, layer(new_key()), words="the signature is not this key's", known={asks: secret})
        bad(entry, layer(KEY), words="it is no Secret with the key cosign.pub")
        bad(entry, layer(KEY), words="it is no Secret with the key cosign.pub", known={asks: {"data": {"x": ""}}})


def test_a_key_that_a_kms_keeps() -> None:
    entry = {"keys": {"kms": "hashivault://release", "rekor": {"ignoreTlog": True}}}
    asks = PublicKeyAt("hashivault://release")
    good(entry, layer(KEY), known={asks: pem(KEY)})
    bad(entry, layer(KEY), words="the signature is not this key's", known={asks: pem(new_key())})
    bad(entry, layer(KEY), words="there is no such key")
    bad(entry, layer(KEY), words="got no public key in PEM", known={asks: "none"})
    bad(entry, layer(KEY), words="got no public key in PEM", known={asks: ""})


def corporate(key: Any, **more: Any) -> Any:
    """A signing certificate that names nobody, of an authority outside Sigstore."""
    return certificate(key, (OTHER.ca, OTHER.ca_key), name="release", start=NOW - timedelta(days=1),
                       end=NOW + timedelta(days=1), usages=[Usage.CODE_SIGNING], **more)


def test_one_certificate() -> None:
    key = new_key()
    leaf, stranger = corporate(key), new_key()
    said = {"rekor": {"ignoreTlog": True}}
    for document in (layer(key), layer(key, certificate=leaf, chain=(OTHER.ca,))):
        good({"certificates": {"cert": pem_of(leaf), **said}}, document)
        good({"certificates": {"cert": base64.b64encode(pem_of(leaf).encode()).decode(), **said}}, document)
        bad({"certificates": {"cert": pem_of(corporate(stranger)), **said}}, document,
            words="the signature is not this key's")
    good({"certificates": {"cert": pem_of(leaf), "rekor": {"url": REKOR}}},
         layer(key, certificate=leaf, chain=(OTHER.ca,), world=WORLD))
    bad({"certificates": {"cert": pem_of(leaf), "rekor": {"url": REKOR}}}, layer(key), words="log entry: there is none")


def test_one_certificate_and_its_chain() -> None:
    key = new_key()
    said = {"cert": pem_of(corporate(key)), "rekor": {"ignoreTlog": True}}
    ignoring = {"ctlog": {"ignoreSCT": True}}
    good({"certificates": {**said, "certChain": pem_of(OTHER.ca, OTHER.root), **ignoring}}, layer(key))
    bad({"certificates": {**said, "certChain": pem_of(OTHER.ca, OTHER.root)}}, layer(key), words="SCT")
    with pytest.raises(Exception, match="no trusted authority issued it"):
        policies({"certificates": {**said, "certChain": pem_of(WORLD.ca, WORLD.root), **ignoring}})


def test_a_chain_alone_is_of_whoever_it_issued_certificates_to() -> None:
    key = new_key()
    entry = {"certificates": {"certChain": pem_of(OTHER.ca, OTHER.root), "rekor": {"ignoreTlog": True},
                              "ctlog": {"ignoreSCT": True}}}
    good(entry, layer(key, certificate=corporate(key), chain=(OTHER.ca,)))
    bad(entry, unlogged(), words="no trusted authority issued it")
    bad(entry, layer(key), words="no key is trusted")


def test_annotations_of_the_entry_stand_for_attestors_that_have_none() -> None:
    document = layer(KEY, annotations={"env": "prod"})
    for wanted, right in (("prod", True), ("test", False)):
        decision, _ = asked(policies(keys(), annotations={"env": wanted}), document, root=ROOT)
        assert decision.allowed is right
    decision, _ = asked(policies({**keys(), "annotations": {"env": "prod"}}, annotations={"env": "test"}), document)
    assert decision.allowed


@pytest.mark.parametrize("fields", [
    {"repository": "ghcr.io/myorg/signatures"}, {"cosignOCI11": True}, {"useCache": False},
    {"imageRegistryCredentials": {"secrets": ["regcred", "ns/other"], "allowInsecureRegistry": True,
                                  "providers": ["default", "google", "google", "github"]}}])
def test_where_evidence_is_and_how_it_is_asked_for_is_in_the_question(fields: dict[str, Any]) -> None:
    _, questions = asked(policies(keys(), **fields), layer(KEY), root=ROOT)
    authority = next(question.authority for question in questions if isinstance(question, ImageEvidence))
    assert authority.repository == fields.get("repository", "")
    assert authority.artifacts is ("cosignOCI11" in fields)
    assert authority.fresh is ("useCache" in fields)
    if "imageRegistryCredentials" in fields:
        assert authority.secrets == ("kyverno/regcred", "ns/other")
        assert authority.insecure
        assert authority.providers == ("google", "github")


def test_an_attestors_own_repository_counts_before_the_entrys() -> None:
    _, questions = asked(policies({**keys(), "repository": "ghcr.io/a/b"}, keys(), repository="ghcr.io/c/d"),
                         layer(KEY), root=ROOT)
    assert [question.authority.repository for question in questions if isinstance(question, ImageEvidence)] == [
        "ghcr.io/a/b", "ghcr.io/c/d"]


def test_the_flat_fields_of_the_first_version() -> None:
    document = layer(KEY, world=WORLD)
    entry = {"image": "ghcr.io/myorg/app*", "key": pem(KEY)}

    def flat(**fields: Any) -> PolicySet:
        return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
            "validationFailureAction": "Enforce", "rules": [{
                "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [fields]}]}}])

    decision, _ = asked(flat(**entry), document, root=ROOT)
    assert "log mismatch: expected an entry in https://rekor.sigstore.dev" in reason(decision)
    decision, _ = asked(flat(image=entry["image"], key=pem(new_key())), document, root=ROOT)
    assert "no signatures found" in reason(decision)
    roots = {"issuer": ISSUER, "subject": IDENTITY, "roots": pem_of(WORLD.ca, WORLD.root)}
    for change, words in (({}, "log mismatch"), ({"issuer": "https://x"}, "issuer mismatch"),
                          ({"subject": "x"}, "subject mismatch"), ({"roots": pem_of(OTHER.ca, OTHER.root)}, "issued"),
                          ({"additionalExtensions": {"githubWorkflowTrigger": "x"}}, "extension mismatch")):
        decision, _ = asked(flat(**{"image": entry["image"], **roots, **change}), logged(), root=ROOT)
        assert words in reason(decision)


def test_values_that_variables_give() -> None:
    templated = policies(keys(publicKeys="{{ request.object.metadata.annotations.key }}"))

    def pod(key: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "c", "image": NAME}]},
                "metadata": {"name": "p", "namespace": "default", "annotations": {"key": key}}}

    decision, _ = asked(templated, layer(KEY), root=ROOT, resource=pod(pem(KEY)))
    assert decision.allowed, reason(decision)
    decision, _ = asked(templated, layer(KEY), root=ROOT, resource=pod(pem(new_key())))
    assert "the signature is not this key's" in reason(decision)
    decision, _ = asked(templated, layer(KEY), root=ROOT, resource=pod("/etc/passwd"))
    assert "keys.publicKeys" in reason(decision)
    decision, _ = asked(templated, layer(KEY), root=ROOT, resource=pod("{{ request.object }}"))
    assert not decision.allowed


def test_required_leaves_it_to_who_mutates() -> None:
    for required, allowed in ((True, False), (False, True)):
        decision, _ = asked(policies(keys(), required=required, verifyDigest=False), layer(new_key()), root=ROOT,
                            at=Course.VALIDATING)
        assert decision.allowed is allowed
        decision, _ = asked(policies(keys(), required=required, verifyDigest=False), layer(new_key()), root=ROOT)
        assert not decision.allowed
        decision, _ = asked(policies(keys(), required=required), layer(KEY), root=ROOT, at=Course.VALIDATING)
        assert f"missing digest for {NAME}" in reason(decision)


def test_what_attestations_show_together_may_be_denied() -> None:
    types = {"a": "https://example.com/a", "b": "https://example.com/b"}
    documents = [evidence(WORLD.keyless(kind="dsse", statement=statement(kind, {"level": level})))
                 for level, kind in enumerate(types.values(), 1)]
    attestations = [{"name": name, "type": kind, "attestors": [{"entries": [keyless()]}]}
                    for name, kind in types.items()]

    def denying(value: int, **deny: Any) -> PolicySet:
        conditions = {"all": [{"key": "{{ a.level }}", "operator": "LessThan", "value": "{{ b.level }}"},
                              {"key": "{{ b.level }}", "operator": "Equals", "value": value}]}
        return policies(attestations=attestations, validate={
            "message": "levels {{ a.level }} and {{ b.level }}", "deny": {"conditions": conditions}, **deny})

    decision, _ = asked(denying(3), *documents, root=ROOT)
    assert decision.allowed, reason(decision)
    assert decision.results[0].message == "verifyImages validation is passed in r rule"
    decision, _ = asked(denying(2), *documents, root=ROOT)
    assert reason(decision) == "validation in verifyImages failed: levels 1 and 2"


def statement(kind: str, predicate: Any) -> bytes:
    from custody.formats import intoto

    return intoto.statement(DIGEST, kind, predicate).to_bytes()


def test_images_of_other_kinds_and_where_extractors_say() -> None:
    def ruled(**rule: Any) -> PolicySet:
        entry = {"imageReferences": ["ghcr.io/myorg/*"], "attestors": [{"entries": [keys()]}], "mutateDigest": False,
                 "verifyDigest": False}
        return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
            "validationFailureAction": "Enforce", "rules": [{
                "name": "r", "match": {"any": [{"resources": {"kinds": ["*"]}}]}, "verifyImages": [entry], **rule}]}}])

    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
                  "spec": {"template": {"spec": {"containers": [{"name": "c", "image": NAME}]}}}}
    task = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "default"},
            "spec": {"steps": [{"name": "s", "image": f"oci://{NAME}"}, {"name": "none"}]}}
    for resource, rule in ((deployment, {}), (task, {"imageExtractors": {"Task": [
            {"path": "/spec/steps/*", "value": "image", "key": "name", "jmesPath": "trim_prefix(@, 'oci://')"}]}}),
            (task, {"imageExtractors": {"Task": [{"path": "/spec/steps/*/image",
                                                  "jmesPath": "trim_prefix(@, 'oci://')"}]}})):
        for key, allowed in ((KEY, True), (new_key(), False)):
            decision, _ = asked(ruled(**rule), layer(key), root=ROOT, resource=resource)
            assert decision.allowed is allowed
            assert [result.image for result in decision.results] == [NAME]
    wrong = {"imageExtractors": {"Task": [{"path": "/spec/steps/*", "value": "image", "key": "id"}]}}
    decision, _ = asked(ruled(**wrong), layer(KEY), root=ROOT, resource=task)
    assert "invalid key" in reason(decision)
    with pytest.raises(Exception, match=r"imageExtractors.Task\[0\].pth"):
        ruled(imageExtractors={"Task": [{"path": "/spec", "pth": "x"}]})


def test_the_curve_does_not_matter_where_nothing_is_said() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    good(keys(publicKeys=pem(key)), layer(key))
