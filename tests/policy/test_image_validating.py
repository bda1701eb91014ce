"""ImageValidatingPolicy: what each field decides, over signatures that are verified for it."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.errors import CustodyError
from custody.evidence.model import Evidence
from custody.formats import intoto
from custody.policy.cel.imageglob import image_glob
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Kind, Request
from custody.policy.phases import Course
from custody.ports.lookup import ApiCall, ImageData, ImageEvidence, PublicKeyAt
from tests.policy.signing import DIGEST, NAME, NOW, World, asked, evidence, layer, pem, pem_of, reason
from tests.sign.authority import IDENTITY, ISSUER, certificate, new_key

WORLD, OTHER = World(), World()
ROOT = WORLD.trusted_root()
KEY = new_key()
PINNED = f"{NAME}@{DIGEST}"
VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
UNLOGGED = {"ctlog": {"insecureIgnoreTlog": True, "insecureIgnoreSCT": True}}
SIGNED = "images.containers.map(image, verifyImageSignatures(image, [attestors.one])).all(count, count > 0)"
PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                           "resources": ["pods"]}]}


def key(**more: Any) -> dict[str, Any]:
    return {"name": "one", "cosign": {"key": {"data": pem(KEY)}, **UNLOGGED, **more}}


def keyless(*identities: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "one", "cosign": {"keyless": {"identities": list(identities) or [
        {"issuer": ISSUER, "subject": IDENTITY}]}, **more}}


def document(*attestors: dict[str, Any], expression: str = SIGNED, name: str = "p", **spec: Any) -> dict[str, Any]:
    written = {"matchConstraints": PODS, "matchImageReferences": [{"glob": "ghcr.io/*"}], "attestors": list(attestors),
               "validations": [{"expression": expression, "message": "not signed"}], **spec}
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": name},
            "spec": written}


def policies(*attestors: dict[str, Any], **spec: Any) -> PolicySet:
    return PolicySet([document(*attestors, **spec)])


def judged(found: PolicySet, *documents: Evidence, **more: Any) -> Decision:
    return asked(found, *documents, root=ROOT, **more)[0]


def good(found: PolicySet, *documents: Evidence, **more: Any) -> Decision:
    decision = judged(found, *documents, **more)
    assert decision.allowed, reason(decision)
    assert "pass" in [result.outcome for result in decision.results]
    return decision


def bad(found: PolicySet, *documents: Evidence, words: str = "not signed", **more: Any) -> None:
    decision = judged(found, *documents, **more)
    assert words in reason(decision), decision


def logged(world: World = WORLD, log: World | None = None, **leaf: Any) -> Evidence:
    own = new_key()
    return layer(own, certificate=world.leaf(own, **leaf), chain=(world.ca,), world=log or world)


BUNDLE = evidence(WORLD.keyless(kind="dsse"))


def test_a_key_and_the_digest_that_is_written_into_the_name() -> None:
    decision = good(policies(key()), layer(KEY))
    assert decision.results[0].message == "success"
    assert decision.results[0].rule == "p"
    assert decision.patch == [{"op": "replace", "path": "/spec/containers/0/image", "value": PINNED}]
    bad(policies(key()), layer(new_key()))
    bad(policies(key()))


def test_key_fields() -> None:
    from cryptography.hazmat.primitives import hashes

    strong = layer(KEY, algorithm=hashes.SHA512())
    good(policies(key(key={"data": pem(KEY), "hashAlgorithm": "sha512"})), strong)
    bad(policies(key(key={"data": pem(KEY), "hashAlgorithm": "sha384"})), strong)
    bad(policies({"name": "one", "cosign": {"key": {"data": pem(KEY)}}}), layer(KEY))
    at = PublicKeyAt("awskms:///alias/release")
    good(policies(key(key={"kms": at.uri})), layer(KEY), known={at: pem(KEY)})
    bad(policies(key(key={"kms": at.uri})), layer(KEY), known={at: pem(new_key())})
    secret = ApiCall("/api/v1/namespaces/ns/configmaps/keys")
    expression = {"expression": 'resource.Get("v1", "configmaps", "ns", "keys").data.key'}
    good(policies(key(key=expression)), layer(KEY), known={secret: {"data": {"key": pem(KEY)}}})
    bad(policies(key(key=expression)), layer(KEY), known={secret: {"data": {"key": pem(new_key())}}})
    bad(policies(key(key=expression)), layer(KEY), words="not found")


@pytest.mark.parametrize(("identity", "right"), [
    ({"issuer": ISSUER, "subject": IDENTITY}, True), ({"issuer": ISSUER, "subject": "x"}, False),
    ({"issuer": "x", "subject": IDENTITY}, False), ({"issuer": ISSUER, "subjectRegExp": "acme/app"}, True),
    ({"issuerRegExp": "^https://token", "subjectRegExp": ".*"}, True),
    ({"issuerRegExp": "^token", "subjectRegExp": "."}, False), ({"issuer": ISSUER, "subjectRegExp": "^acme"}, False),
    ({"issuer": ISSUER, "subject": "https://github.com/*"}, False),
])
def test_identities(identity: dict[str, Any], right: bool) -> None:
    (good if right else bad)(policies(keyless(identity)), BUNDLE)
    (good if right else bad)(policies(keyless({"issuer": "a", "subject": "b"}, identity)), BUNDLE)


def test_keyless_roots_and_logs() -> None:
    identity = {"issuer": ISSUER, "subject": IDENTITY}
    theirs = logged(OTHER, log=WORLD, sct="none")
    sct = {"ctlog": {"insecureIgnoreSCT": True}}
    roots = {"keyless": {"identities": [identity], "roots": pem_of(OTHER.ca, OTHER.root)}}
    bad(policies(keyless(identity, **sct)), theirs)
    good(policies({"name": "one", "cosign": {**roots, **sct}}), theirs)
    bad(policies({"name": "one", "cosign": roots}), theirs)
    elsewhere = logged(log=OTHER)
    bad(policies(keyless(identity)), elsewhere)
    good(policies(keyless(identity, ctlog={"rekorPubKey": pem(OTHER.log1_key)})), elsewhere)
    bad(policies(keyless(identity, ctlog={"ctLogPubKey": pem(new_key())})), logged())
    good(policies(keyless(identity, ctlog={"url": "https://log1.example"})), logged())
    bad(policies(keyless(identity, ctlog={"url": "https://log9.example"})), logged())
    trusted = {"trustedRoot": {"value": OTHER.trusted_root().to_json().decode()}}
    good(policies(keyless(identity, **trusted)), evidence(OTHER.keyless(kind="dsse")))
    bad(policies(keyless(identity, **trusted)), BUNDLE)
    extensions = {"keyless": {"identities": [identity], "additionalExtensions": {"githubWorkflowTrigger": "push"}}}
    good(policies({"name": "one", "cosign": extensions}), BUNDLE)
    extensions["keyless"]["additionalExtensions"] = {"githubWorkflowTrigger": "schedule"}  # type: ignore[index]
    bad(policies({"name": "one", "cosign": extensions}), BUNDLE)


def test_certificates_and_annotations() -> None:
    own = new_key()
    leaf = certificate(own, (OTHER.ca, OTHER.ca_key), name="release", start=NOW,
                       end=NOW.replace(year=NOW.year + 1), usages=[Usage.CODE_SIGNING])
    for value, chain, right in ((leaf, (), True), (leaf, (OTHER.ca, OTHER.root), True),
                                (OTHER.leaf(new_key()), (), False)):
        written = {"cert": {"value": pem_of(value)}, **({"certChain": {"value": pem_of(*chain)}} if chain else {})}
        (good if right else bad)(policies({"name": "one", "cosign": {"certificate": written, **UNLOGGED}}), layer(own))
    only = {"certificate": {"certChain": {"value": pem_of(OTHER.ca, OTHER.root)}}, **UNLOGGED}
    good(policies({"name": "one", "cosign": only}), layer(own, certificate=leaf, chain=(OTHER.ca,)))
    bad(policies({"name": "one", "cosign": only}), layer(own))
    good(policies(key(annotations={"env": "prod"})), layer(KEY, annotations={"env": "prod"}))
    bad(policies(key(annotations={"env": "prod"})), layer(KEY, annotations={"env": "test"}))


def test_source_and_credentials_are_in_the_question() -> None:
    found = policies(key(source={"repository": "ghcr.io/a/b", "PullSecrets": [{"name": "s"}]}),
                     credentials={"secrets": ["ns/t"], "allowInsecureRegistry": True, "providers": ["default"]})
    _, questions = asked(found, layer(KEY), root=ROOT)
    authorities = [question.authority for question in questions if isinstance(question, ImageEvidence)]
    assert authorities[-1].repository == "ghcr.io/a/b"
    assert authorities[-1].secrets == ("ns/t", "kyverno/s")
    assert all(authority.insecure for authority in authorities)


def statement(kind: str, predicate: Any) -> Evidence:
    return evidence(WORLD.keyless(kind="dsse", statement=intoto.statement(DIGEST, kind, predicate).to_bytes()))


def test_attestations_and_their_payload() -> None:
    attested = ("images.containers.all(image, "
                "verifyAttestationSignatures(image, attestations.scan, [attestors.one]) > 0 && "
                "extractPayload(image, attestations.scan).predicate.level == 1)")
    found = policies(keyless(), attestations=[{"name": "scan", "intoto": {"type": VULN}}], expression=attested)
    good(found, statement(VULN, {"level": 1}))
    bad(found, statement(VULN, {"level": 2}))
    bad(found, statement("https://example.com/other", {"level": 1}))
    bad(found, BUNDLE)
    unseen = "images.containers.all(image, extractPayload(image, attestations.scan).predicate.level == 1)"
    bad(policies(keyless(), attestations=[{"name": "scan", "intoto": {"type": VULN}}], expression=unseen),
        statement(VULN, {"level": 1}), words="cannot be fetch before verifying")


def test_which_images_are_meant() -> None:
    for references, meant in (([{"glob": "ghcr.io/myorg/*"}], True), ([{"glob": "quay.io/*"}], False),
                              ([{"glob": "{quay.io,ghcr.io}/*/app:?"}], True), ([], True),
                              ([{"expression": "ref.startsWith('ghcr.io/')"}], True),
                              ([{"expression": "image(ref).repository() == 'other'"}], False)):
        decision = judged(policies(key(), matchImageReferences=references, expression=(
            "images.containers.map(image, verifyImageSignatures(image, [attestors.one])).all(count, count > 0)")),
            layer(new_key()))
        assert decision.allowed is not meant, references


def test_validation_configurations() -> None:
    off = {"mutateDigest": False}
    bad(policies(key(), validationConfigurations=off), layer(KEY), words=f"image {NAME} does not have a digest")
    good(policies(key(), validationConfigurations={**off, "verifyDigest": False}), layer(KEY))
    good(policies(key(), validationConfigurations=off), layer(KEY), image=PINNED)
    assert not good(policies(key(), validationConfigurations={**off, "verifyDigest": False}), layer(KEY)).patch
    always = "images.containers.all(image, image != '')"
    bad(policies(key(), expression=always), layer(KEY), words="no policy performed a signature or attestation check")
    good(policies(key(), expression=always, validationConfigurations={"required": False}), layer(KEY))
    careless = SIGNED.replace("count > 0", "count >= 0")
    bad(policies(key(), expression=careless), layer(new_key()), words="failed signature or attestation verification")
    # What another policy verified is verified, whichever comes first.
    both = PolicySet([document(expression=always, name="every"), document(key(), name="one")])
    good(both, layer(KEY))
    bad(both, layer(new_key()), words="failed signature or attestation verification")


def test_who_mutates_and_who_validates() -> None:
    found = policies(key())
    assert judged(found, layer(KEY), at=Course.MUTATING).patch
    bad(found, layer(KEY), at=Course.VALIDATING, words="does not have a digest")
    good(found, layer(KEY), at=Course.VALIDATING, image=PINNED)
    bad(found, layer(new_key()), at=Course.VALIDATING, image=PINNED)


def test_autogen_and_extracted_images() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": PINNED}]}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
                  "spec": {"template": template}}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "d", "namespace": "default"},
            "spec": {"jobTemplate": {"spec": {"template": template}}}}
    for resource in (deployment, cron):
        good(policies(key()), layer(KEY), resource=resource)
        bad(policies(key()), layer(new_key()), resource=resource)
        assert judged(policies(key(), autogen={"podControllers": {"controllers": []}}), layer(new_key()),
                      resource=resource).allowed
    extra = policies(key(), images=[{"name": "more", "expression": "[object.metadata.annotations.image]"}],
                     expression=SIGNED.replace("containers", "more"), validationConfigurations={"mutateDigest": False})
    metadata = {"name": "p", "namespace": "d", "annotations": {"image": PINNED}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
           "spec": {"containers": [{"name": "c", "image": "docker.io/library/x:1"}]}}
    good(extra, layer(KEY), resource=pod)
    bad(extra, layer(new_key()), resource=pod)


def test_json_documents() -> None:
    found = policies(key(), evaluation={"mode": "JSON"}, matchConstraints=None,
                     images=[{"name": "bar", "expression": "[object.foo.bar]"}],
                     expression=SIGNED.replace("containers", "bar"))
    request = Request(operation="", kind=Kind(""), object={"foo": {"bar": PINNED}})
    decision = decide(request, {}, found, Context(now=NOW))
    assert [type(question).__name__ for question in decision.asks.questions] == ["ImageEvidence"]
    assert decide(Request.create({"kind": "Pod"}), {}, found, Context(now=NOW)).results == ()


def test_image_data_match_conditions_and_actions() -> None:
    data = {ImageData(PINNED): {"configData": {"config": {"User": "1000"}}}}
    expression = "images.containers.all(image, getImageData(image).configData.config.User == '1000')"
    quiet = {"required": False}
    good(policies(key(), expression=expression, validationConfigurations=quiet), layer(KEY), known=data)
    bad(policies(key(), expression=expression, validationConfigurations=quiet), layer(KEY), words="not found")
    skipped = judged(policies(key(), matchConditions=[{"name": "no", "expression": "object.metadata.name == 'x'"}]),
                     layer(new_key()))
    assert skipped.allowed
    assert judged(policies(key(), validationActions=["Audit"]), layer(new_key())).allowed
    namespaced = document(key())
    namespaced["kind"], namespaced["metadata"] = "NamespacedImageValidatingPolicy", {"name": "p", "namespace": "other"}
    assert judged(PolicySet([namespaced]), layer(new_key())).results == ()


@pytest.mark.parametrize(("spec", "words"), [
    ({"attestors": [{"name": "one"}]}, "spec.attestors[0]"),
    ({"attestors": [{"name": "one", "cosign": {}}]}, "spec.attestors[0].cosign"),
    ({"attestors": [key(tuf={"mirror": "https://tuf.example"})]}, "cosign.tuf.mirror"),
    ({"attestors": [key(tuf={"root": {"data": "x"}})]}, "cosign.tuf.root.data"),
    ({"attestors": [key(source={"tagPrefix": "x"})]}, "cosign.source.tagPrefix"),
    ({"attestors": [key(key={"data": "x"})]}, "publicKeys"),
    ({"attestors": [key(key={"data": pem(KEY), "hashAlgorithm": "md5"})]}, "key.hashAlgorithm"),
    ({"attestors": [key(trustedRoot={"value": "x"})]}, "trustedRoot"),
    ({"attestors": [keyless({})]}, "identities[0]"),
    ({"attestors": [keyless({"issuer": "x", "subjectExpression": "'a'"})]}, "identities[0].subjectExpression"),
    ({"attestors": [{"name": "one", "notary": {}}]}, "notary.certs"),
    ({"attestations": [{"name": "a"}]}, "spec.attestations[0]"),
    ({"attestations": [{"name": "a", "intoto": {}}]}, "intoto.type"),
    ({"matchImageReferences": [{}]}, "spec.matchImageReferences[0]"),
    ({"matchImageReferences": [{"glob": "[a"}]}, "matchImageReferences[0].glob"),
    ({"matchImageReferences": [{"expression": "ref"}]}, "matchImageReferences[0].expression"),
    ({"credentials": {"providers": ["oracle"]}}, "credentials.providers[0]"),
    ({"images": [{"name": "a", "expression": "1"}]}, "images[0].expression"),
    ({"validations": []}, "spec.validations"), ({"validationConfigurations": {"x": 1}}, "validationConfigurations.x"),
    ({"other": 1}, "spec.other"),
])
def test_fields_that_are_refused_by_their_path(spec: dict[str, Any], words: str) -> None:
    whole = document(key())
    whole["spec"] |= spec
    with pytest.raises(CustodyError) as caught:
        PolicySet([whole])
    assert words in caught.value.message


@pytest.mark.parametrize(("glob", "names", "others"), [
    ("ghcr.io/*", ["ghcr.io/a/b:1"], ["xghcr.io/a"]), ("*", ["", "a/b"], []), ("a?c", ["abc"], ["ac"]),
    ("a[b-d]e", ["ace"], ["aee"]), ("a[!b]c", ["axc"], ["abc"]), ("{a,b*}c", ["ac", "bxc"], ["cc"]),
    ("a\\*", ["a*"], ["ab"]), ("**/x", ["a/b/x"], ["x"]),
])
def test_globs(glob: str, names: list[str], others: list[str]) -> None:
    match = image_glob(glob, "glob")
    assert all(map(match, names))
    assert not any(map(match, others))
