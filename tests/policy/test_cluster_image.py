"""Sigstore's ClusterImagePolicy: what each field decides, as its documentation has it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from custody.errors import CustodyError
from custody.evidence.model import Evidence
from custody.formats import intoto
from custody.policy.load import PolicySet
from custody.ports.lookup import ApiCall, ImageEvidence
from tests.policy.signing import DIGEST, NAME, World, asked, evidence, layer, pem, pem_of, reason
from tests.sign.authority import IDENTITY, ISSUER, new_key

WORLD, OTHER = World(), World()
ROOT = WORLD.trusted_root()
KEY = new_key()
BUNDLE = evidence(WORLD.keyless(kind="dsse"))
SCAN = "https://example.com/scan/v1"
WHO = {"issuer": ISSUER, "subject": IDENTITY}


def policies(*authorities: dict[str, Any], glob: str = "ghcr.io/myorg/*", **spec: Any) -> PolicySet:
    return PolicySet([{"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy",
                       "metadata": {"name": "p"}, "spec": {"images": [{"glob": glob}],
                                                           "authorities": list(authorities), **spec}}])


def key(**more: Any) -> dict[str, Any]:
    return {"key": {"data": pem(KEY)}, "ctlog": {}, **more}


def good(found: PolicySet, *documents: Evidence, **more: Any) -> None:
    decision, _ = asked(found, *documents, root=ROOT, **more)
    assert decision.allowed, reason(decision)
    assert [result.outcome for result in decision.results] == ["pass"]


def bad(found: PolicySet, *documents: Evidence, words: str, **more: Any) -> None:
    decision, _ = asked(found, *documents, root=ROOT, **more)
    assert words in reason(decision), decision


def test_a_key_one_of_several_authorities_and_a_pin() -> None:
    decision, _ = asked(policies(key()), layer(KEY), root=ROOT)
    assert decision.patch == [{"op": "replace", "path": "/spec/containers/0/image", "value": f"{NAME}@{DIGEST}"}]
    bad(policies(key()), layer(new_key()), words="failed policy: p: /spec/containers/0/image")
    bad(policies(key(ctlog={"url": "https://rekor.sigstore.dev"})), layer(KEY), words="log entry: there is none")
    good(policies({"key": {"data": pem(KEY)}}), layer(KEY))
    good(policies({"key": {"data": pem(new_key())}, "ctlog": {}}, key()), layer(KEY))
    secret = ApiCall("/api/v1/namespaces/cosign-system/secrets/s")
    held = {secret: {"data": {"any": base64.b64encode(pem(KEY).encode()).decode()}}}
    good(policies({"key": {"secretRef": {"name": "s"}}, "ctlog": {}}), layer(KEY), known=held)
    bad(policies({"key": {"secretRef": {"name": "s"}}, "ctlog": {}}), layer(KEY), words="no Secret with one public key")


def test_keyless() -> None:
    good(policies({"keyless": {"identities": [WHO]}}), BUNDLE)
    good(policies({"keyless": {"identities": [{"issuerRegExp": "token", "subjectRegExp": "acme"}]}}), BUNDLE)
    bad(policies({"keyless": {"identities": [{**WHO, "subject": "x"}]}}), BUNDLE, words="none of the expected")
    bad(policies({"keyless": {"identities": [{**WHO, "issuer": "x"}]}}), BUNDLE, words="none of the expected")
    good(policies({"keyless": {"identities": [WHO]}, "signatureFormat": "bundle"}), BUNDLE)
    own = new_key()
    theirs = layer(own, certificate=OTHER.leaf(own, sct="none"), chain=(OTHER.ca,), world=WORLD)
    bad(policies({"keyless": {"identities": [WHO], "insecureIgnoreSCT": True}}), theirs, words="issued")
    roots = {"identities": [WHO], "ca-cert": {"data": pem_of(OTHER.ca, OTHER.root)}}
    good(policies({"keyless": {**roots, "insecureIgnoreSCT": True}}), theirs)
    bad(policies({"keyless": roots}), theirs, words="SCT")
    bad(policies({"keyless": {**roots, "insecureIgnoreSCT": True}, "signatureFormat": "bundle"}), theirs,
        words="expected a Sigstore bundle")


def test_static_mode_and_match() -> None:
    good(policies({"static": {"action": "pass"}}))
    bad(policies({"static": {"action": "fail", "message": "never"}}), words="disallowed by static policy: never")
    decision, _ = asked(policies({"static": {"action": "fail"}}, mode="warn"), root=ROOT)
    assert decision.allowed
    assert decision.warnings
    for match, said in (([{"version": "v1", "resource": "pods"}], 1),
                        ([{"group": "apps", "resource": "deployments"}], 0),
                        ([{"version": "v1", "resource": "pods", "selector": {"matchLabels": {"a": "b"}}}], 0)):
        decision, _ = asked(policies({"static": {"action": "fail"}}, match=match), root=ROOT)
        assert len(decision.results) == said


@pytest.mark.parametrize(("glob", "image", "means"), [
    ("ghcr.io/*", "ghcr.io/a/b:1", False), ("ghcr.io/**", "ghcr.io/a/b:1", True), ("*", "nginx", True),
    ("*", "a/nginx", False), ("*/*", "a/nginx", True), ("index.docker.io/library/*", "nginx:1", True),
    ("**", "ghcr.io/a/b:1", True), ("ghcr.io/a/b", "ghcr.io/a/b:1", False), ("ghcr.io/a/b*", "ghcr.io/a/b:1", True)])
def test_globs(glob: str, image: str, means: bool) -> None:
    decision, _ = asked(policies({"static": {"action": "fail"}}, glob=glob), root=ROOT, image=image)
    assert bool(decision.results) is means


def statement(predicate: Any) -> Evidence:
    return evidence(WORLD.keyless(kind="dsse", statement=intoto.statement(DIGEST, SCAN, predicate).to_bytes()))


def test_attestations_and_rego() -> None:
    """CVE-2022-35930: an attestation of another type was taken for the one that a policy asked for."""
    def attested(text: str = "", **more: Any) -> PolicySet:
        policy = {"policy": {"type": "rego", "data": text}} if text else {}
        return policies({"keyless": {"identities": [WHO]}, "attestations": [
            {"name": "scan", "predicateType": SCAN, **policy}]}, **more)

    level = "package sigstore\ndefault isCompliant = false\nisCompliant { input.predicate.level < 3 }\n"
    good(attested(), statement({"level": 9}))
    bad(attested(), BUNDLE, words="attestation scan: no matching attestations")
    good(attested(level), statement({"level": 2}))
    bad(attested(level), statement({"level": 3}), words="attestation scan: policy is not compliant")
    said = ('package sigstore\nisCompliant[response] { result := input.predicate.level < 3\n'
            'response := {"result": result, "error": "too high"} }\n')
    good(attested(said), statement({"level": 2}))
    bad(attested(said), statement({"level": 3}), words="too high")
    bad(attested("package sigstore\nisCompliant { input.nothing }\n"), statement({}), words="undefined")
    whole = {"type": "rego", "includeObjectMeta": True, "data": (
        "package sigstore\ndefault isCompliant = false\n"
        'isCompliant { count(input.authorityMatches["authority-0"].attestations.scan) == 1\n'
        'input.metadata.name == "p" }')}
    good(attested(policy=whole), statement({"level": 9}))
    bad(attested(policy={**whole, "includeObjectMeta": False}), statement({"level": 9}), words="not compliant")


def test_sources_are_in_the_question() -> None:
    _, questions = asked(policies(key(source=[{"oci": "ghcr.io/a/b", "signaturePullSecrets": [{"name": "s"}]}])),
                         layer(KEY), root=ROOT)
    [question] = [question for question in questions if isinstance(question, ImageEvidence)]
    assert (question.authority.repository, question.authority.secrets) == ("ghcr.io/a/b", ("default/s",))


@pytest.mark.parametrize(("spec", "words"), [
    ({"images": []}, "spec.images"), ({"images": [{"glob": "a b"}]}, "images[0].glob"),
    ({"authorities": []}, "spec.authorities"), ({"authorities": [{"name": "x"}]}, "authorities[0]"),
    ({"authorities": [key(key={"data": "x"})]}, "authorities[0]"), ({"mode": "x"}, "spec.mode"),
    ({"authorities": [{"keyless": {"identities": []}}]}, "keyless.identities"),
    ({"authorities": [{"keyless": {"identities": [{"issuer": "x"}]}}]}, "identities[0].subject"),
    ({"authorities": [{"keyless": {"identities": [WHO], "trustRootRef": "x"}}]}, "keyless.trustRootRef"),
    ({"authorities": [key(rfc3161timestamp={"trustRootRef": "x"})]}, "rfc3161timestamp.trustRootRef"),
    ({"authorities": [key(source=[{"tagPrefix": "x"}])]}, "source[0].tagPrefix"),
    ({"policy": {"type": "cue", "data": "x"}}, "spec.policy.type: cue"),
    ({"policy": {"type": "rego", "data": "package a\nb = 1"}}, "isCompliant"),
    ({"policy": {"type": "rego", "configMapRef": {"name": "x"}}}, "spec.policy.configMapRef"),
    ({"other": 1}, "spec.other"),
])
def test_fields_that_are_refused_by_their_path(spec: dict[str, Any], words: str) -> None:
    whole = policies(key()).documents[0]
    with pytest.raises(CustodyError) as caught:
        PolicySet([{**whole, "spec": {**whole["spec"], **spec}}])
    assert words in caught.value.message
