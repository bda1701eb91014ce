"""Evidence in Rego and CEL: the simplest way to write a rule never allows what nobody vouches for.

The rules are naive on purpose: "none of the findings is critical", "nobody else has signed". In each language each of
them is asked about evidence in every state.
"""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.errors import Check, CustodyError
from custody.evidence.model import (
    EvidenceSet,
    KeylessSigner,
    KeySigner,
    LogEntry,
    Rejected,
    State,
    Verified,
    unreached,
)
from custody.formats import intoto, intotovulns, vulnattestation
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.policy import evidencecontents
from custody.policy.decide import decide
from custody.policy.evidencecontents import KINDS, TYPES, types_of
from custody.policy.evidencesigners import accepted
from custody.policy.evidenceview import view
from custody.policy.gatekeeper.emission import policy as policy_of_template
from custody.policy.gatekeeper.engine import Gatekeeper
from custody.policy.gatekeeper.template import Template
from custody.policy.images import image
from custody.policy.kinds import builtin
from custody.policy.kubernetes.emission import admission_policy
from custody.policy.lint import lint_all
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Verdict
from custody.policy.phases import Course
from custody.policy.record import record, replay
from custody.ports.lookup import Answered, Authority, Failed, ImageEvidence
from tests.policy.gatekeeper.world import NOW, Json, asked, constraint, template
from tests.policy.gatekeeper.world import pod as bare_pod
from tests.policy.signing import pem

DIGEST = "sha256:" + "1" * 64
IMAGE = f"ghcr.io/myorg/shop@{DIGEST}"
RELEASE = KeylessSigner(subject="https://github.com/myorg/shop/.github/workflows/release.yml@refs/heads/main",
                        issuer="https://token.actions.githubusercontent.com")
SCANNER = KeylessSigner(subject="https://scanner.example/scanner", issuer="https://scanner.example")
MALLORY = KeylessSigner(subject="mallory@example.com", issuer="https://accounts.example")
LOG = LogEntry(base_url="https://rekor.example", index=7, log_id="ab")


def scan(*severities: str, gaps: list[str] | None = None, finished: datetime = NOW) -> Json:
    coverage = {} if gaps is None else {"coverage": {"gaps": gaps}}
    return {"scanner": {"uri": "https://scanner.example", "result": {"Results": [{"Vulnerabilities": [
        {"VulnerabilityID": f"CVE-{at}", "Severity": severity.upper(), "PkgName": "zlib", "InstalledVersion": "1.2"}
        for at, severity in enumerate(severities)]}], **coverage}},
        "metadata": {"scanStartedOn": format_rfc3339(finished), "scanFinishedOn": format_rfc3339(finished)}}


CYCLONEDX = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
    {"type": "library", "name": "flask", "version": "3.1.3", "purl": "pkg:pypi/flask@3.1.3",
     "licenses": [{"license": {"id": "BSD-3-Clause"}}]}]}
PROVENANCE = {"buildDefinition": {"buildType": "https://build.example/v1", "externalParameters": {"repository": "https://github.com/myorg/shop"},
                                  "resolvedDependencies": [{"uri": "git+https://github.com/myorg/shop", "digest": {"gitCommit": "a" * 40}}]},
              "runDetails": {"builder": {"id": "https://builder.example"}}}
GOOD: Mapping[str, tuple[str, Any, KeylessSigner]] = {
    "signatures": (intoto.COSIGN_SIGN, {}, RELEASE), "provenance": ("https://slsa.dev/provenance/v1", PROVENANCE, SCANNER),
    "sbom": ("https://cyclonedx.org/bom", CYCLONEDX, SCANNER), "findings": (vulnattestation.PREDICATE_TYPE, scan(), SCANNER)}


def statement(kind: str, *, predicate: Any = None, signer: Any = None, **more: Any) -> Verified:
    predicate_type, usual, by = GOOD[kind]
    return Verified(**{"subject": DIGEST, "evidence": f"sha256:{kind}", "source": "referrer", "signed_at": NOW, "log": LOG,
                       "kind": "signature" if kind == "signatures" else "attestation", "predicate_type": predicate_type,
                       "predicate": usual if predicate is None else predicate, "signer": signer or by, **more})


def known(*verified: Verified, **more: Any) -> EvidenceSet:
    return EvidenceSet(subject=DIGEST, verified=verified, **more)


ALL = {kind: statement(kind) for kind in KINDS}


def without(kind: str, *rejected: Rejected, **instead: Verified) -> EvidenceSet:
    left = {name: verified for name, verified in ALL.items() if name != kind} | instead
    return known(*left.values(), rejected=rejected)


def rejected(kind: str | None, state: State, reason: str, check: Check | None = None) -> Rejected:
    return Rejected(subject=DIGEST, evidence="sha256:x", source="referrer x", state=state, reason=reason, check=check,
                    predicate_type=None if kind is None else TYPES[kind][0])


STATES: Mapping[str, tuple[Callable[[str], EvidenceSet | None], str]] = {
    "missing": (lambda kind: without(kind), "missing: there is none"),
    "failed": (lambda kind: without(kind, rejected(kind, State.FAILED, "the signature is wrong")), "failed: referrer x: the signature is wrong"),
    "of no type that can be read": (lambda kind: without(kind, rejected(None, State.FAILED, "no JSON")), "failed: referrer x: no JSON"),
    "unverifiable": (lambda kind: without(kind, rejected(kind, State.UNVERIFIABLE, "it came in half")), "unverifiable: referrer x: it came in half"),
    "no such image": (lambda _: unreached(State.MISSING, "MANIFEST_UNKNOWN"), "missing: MANIFEST_UNKNOWN"),
    "the registry is away": (lambda _: unreached(State.UNVERIFIABLE, "timed out"), "unverifiable: timed out"),
    "not gathered": (lambda _: None, "not known yet"),
}
# What is bad, in each language, without a word about what may be missing.
REGO = {
    "signatures": 'signature := e.signatures[_]\n  signature.signer.subject == "mallory@example.com"',
    "provenance": 'e.provenance[_].builder == "https://mallory.example"',
    "sbom": 'e.sbom[_].packages[_].name == "org.apache.logging.log4j/log4j-core"',
    "findings": "e.findings[_].counts.critical > 0"}
CEL = {
    "signatures": "{e}.signatures.all(s, s.signer.subject != 'mallory@example.com')",
    "provenance": "{e}.provenance.all(p, p.builder != 'https://mallory.example')",
    "sbom": "{e}.sbom.all(b, b.packages.all(p, p.name != 'org.apache.logging.log4j/log4j-core'))",
    "findings": "{e}.findings.all(f, f.counts.critical == 0)"}
BAD = {"signatures": statement("signatures", signer=MALLORY),
       "provenance": statement("provenance", predicate={**PROVENANCE, "runDetails": {"builder": {"id": "https://mallory.example"}}}),
       "sbom": statement("sbom", predicate={**CYCLONEDX, "components": [{"type": "library", "name": "log4j-core", "version": "2.14.0", "purl": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.0"}]}),
       "findings": statement("findings", predicate=scan("low", "critical"))}
_PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = pem(_PRIVATE)
FINGERPRINT = sha256(_PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}


def rego(bad: str, evidence: str = "custody.evidence(container.image)") -> list[Json]:
    source = f"""package x
violation[{{"msg": msg}}] {{
  container := input.review.object.spec.containers[_]
  e := {evidence}
  {bad}
  msg := "it is bad"
}}"""
    return [template(source), constraint()]


def over(expression: str) -> str:
    return f"object.spec.containers.all(c, {expression.format(e='evidence(c.image)')})"


def validating(expression: str) -> list[Json]:
    return [{"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "x"},
             "spec": {"matchConstraints": PODS, "validations": [{"expression": expression, "message": "it is bad"}]}}]


def admission(expression: str) -> list[Json]:
    api = "admissionregistration.k8s.io/v1"
    return [{"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "x"},
             "spec": {"matchConstraints": PODS, "validations": [{"expression": expression, "message": "it is bad"}]}},
            {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "x"},
             "spec": {"policyName": "x", "validationActions": ["Deny"]}}]


LANGUAGES: Mapping[str, Callable[[str], list[Json]]] = {
    "rego": lambda kind: rego(REGO[kind]),
    "rego data": lambda kind: rego(REGO[kind], 'data.custody.evidence[_]; container.image != ""'),
    "native": lambda kind: [template({"validations": [{"expression": over(CEL[kind]), "message": "it is bad"}]}), constraint()],
    "ValidatingAdmissionPolicy": lambda kind: admission(over(CEL[kind])),
    "ValidatingPolicy": lambda kind: validating(over(CEL[kind]))}


def pod(name: str = IMAGE) -> Json:
    return bare_pod(containers=[{"name": "main", "image": name}])


def judged(policies: list[Json], gathered: EvidenceSet | None, name: str = IMAGE) -> Decision:
    evidence = {} if gathered is None else {name: gathered}
    return decide(asked(pod(name)), evidence, PolicySet.load(policies), Context(now=NOW))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_counts_is_judged_and_nothing_else_is_allowed(language: str, kind: str) -> None:
    policies = LANGUAGES[language](kind)
    assert judged(policies, known(*ALL.values())).verdict is Verdict.ALLOWED
    bad = judged(policies, without(kind, **{kind: BAD[kind]}))
    assert (bad.verdict, bad.results[0].message, bad.results[0].outcome) == (Verdict.DENIED, "it is bad", "fail")
    for name, (make, reason) in STATES.items():
        decision = judged(policies, make(kind))
        assert (decision.verdict, decision.results[0].outcome) == (Verdict.DENIED, "error"), name
        assert reason in decision.results[0].message, decision.results[0].message


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_asked_for_is_gathered_first(language: str) -> None:
    policies = PolicySet.load(LANGUAGES[language]("findings"))
    assert policies.predicate_types() == {*TYPES["findings"]}
    assert policies.needs(asked(pod())).images == {IMAGE: frozenset(TYPES["findings"])}
    assert not PolicySet.load([template(), constraint()]).needs(asked(pod())).images


@pytest.mark.parametrize("language", LANGUAGES)
def test_stale_evidence_counts_and_says_so(language: str) -> None:
    stale = known(*ALL.values(), stale_since=NOW - timedelta(hours=1), stale_reason="timed out")
    decision = judged(LANGUAGES[language]("findings"), stale)
    assert decision.verdict is Verdict.ALLOWED
    assert any("timed out" in warning for warning in decision.warnings)


def test_the_states_are_apart() -> None:
    named = image(IMAGE)
    for gathered, state in ((known(*ALL.values()), "verified"), (without("sbom"), "missing"),
                            (known(*ALL.values(), stale_since=NOW), "stale"),
                            (without("sbom", rejected("sbom", State.FAILED, "x")), "failed"),
                            (without("sbom", rejected("sbom", State.UNVERIFIABLE, "x")), "unverifiable"),
                            (without("sbom", sbom=statement("sbom", predicate={"bomFormat": "CycloneDX", "components": 1})), "failed"),
                            (without("sbom", sbom=statement("sbom", predicate={"other": 1})), "failed")):
        shown = view(named, gathered, NOW)
        assert shown["states"]["sbom"] == state
        assert ("sbom" in shown) is (state in ("verified", "stale"))
        assert ("sbom" in shown["reasons"]) is (state not in ("verified", "stale"))


def test_a_tag_that_cannot_be_looked_up_vouches_for_nothing() -> None:
    gathered = known(*ALL.values(), tag_since=NOW, stale_since=NOW)
    assert {*view(image("ghcr.io/myorg/shop:1"), gathered, NOW)["states"].values()} == {"unverifiable"}
    assert {*view(image(IMAGE), gathered, NOW)["states"].values()} == {"stale"}


def test_the_states_are_a_templates_own_where_it_looks_at_them() -> None:
    both = rego('not e.states.sbom == "verified"')
    assert judged(both, without("sbom")).results[0].message == "it is bad"
    tolerant = rego('e.states.sbom == "failed"')
    assert judged(tolerant, without("sbom")).verdict is Verdict.ALLOWED
    names_others = rego('e.states.sbom == "failed"\n  e.findings[_].counts.critical > 0')
    assert "findings of" in judged(names_others, without("findings")).results[0].message


def test_a_kind_that_only_parameters_name_is_demanded() -> None:
    policies = rego('e.signatures[_].signer.subject == "x"\n  e[input.parameters.labels[_]][_].counts.critical > 0')
    policies[1]["spec"]["parameters"] = {"labels": ["findings"]}
    assert "findings of" in judged(policies, without("findings")).results[0].message


def test_a_template_that_names_no_kind_demands_all() -> None:
    policies = rego('e[concat("", ["find", "ings"])][_].counts.critical > 0')
    for kind in KINDS:
        assert f"{kind} of {IMAGE}" in judged(policies, without(kind)).results[0].message
    assert judged(policies, known(*ALL.values())).verdict is Verdict.ALLOWED


BY = {"findings": [{"issuer": SCANNER.issuer, "subject": SCANNER.subject}]}


@pytest.mark.parametrize(("policies", "reason"), [
    (rego("e.findings[_].counts.critical > 0", f"custody.evidence_by(container.image, {msgspec.json.encode(BY).decode()})"), "who does not count"),
    (validating("object.spec.containers.all(c, evidence(c.image, {'findings': [{'issuer': 'https://scanner.example', 'subject': 'https://scanner.example/scanner'}]}).findings.all(f, f.counts.critical == 0))"), "who does not count"),
    (admission("object.spec.containers.all(c, evidence(c.image, {'findings': [{'issuer': 'https://scanner.example', 'subjectRegExp': 'https://scanner[.]example/.*'}]}).findings.all(f, f.counts.critical == 0))"), "who does not count")])
def test_whose_word_counts(policies: list[Json], reason: str) -> None:
    assert judged(policies, known(*ALL.values())).verdict is Verdict.ALLOWED
    forged = judged(policies, without("findings", findings=statement("findings", signer=MALLORY)))
    assert forged.verdict is Verdict.DENIED
    assert reason in forged.results[0].message
    beside = judged(policies, known(*ALL.values(), statement("findings", signer=MALLORY, predicate=scan("critical"))))
    assert beside.verdict is Verdict.ALLOWED  # a stranger's word is nobody's
    worse = judged(policies, without("findings", findings=statement("findings", predicate=scan("critical"))))
    assert worse.results[0].message == "it is bad"


def test_of_one_signer_the_newest_speaks() -> None:
    old = statement("findings", predicate=scan("critical"), signed_at=NOW - timedelta(days=1), signature="a")
    assert len(view(image(IMAGE), known(old, ALL["findings"]), NOW)["findings"]) == 1
    assert view(image(IMAGE), known(old, ALL["findings"]), NOW)["findings"][0]["counts"]["critical"] == 0


@pytest.mark.parametrize(("who", "reason"), [
    ("me", "a map of kinds"), ({}, "who: got"), ({"signature": []}, "got 'signature'"), ({"signatures": []}, "who.signatures"),
    ({"signatures": [{}]}, "neither of issuer"), ({"signatures": [{"issuer": "a"}]}, "neither of subject"),
    ({"signatures": [{"issuer": "a", "issuerRegExp": "a", "subject": "b"}]}, "both of issuer"),
    ({"signatures": [{"issuer": "a", "subjectRegExp": "("}]}, "subjectRegExp"), ({"signatures": [{"issuer": "a", "subject": 1}]}, "a map of texts"),
    ({"signatures": [{"issuer": "a", "subject": "b", "email": "c"}]}, "got 'email'"), ({"signatures": [{"key": "sha256:1"}]}, "key"),
    ({"signatures": [{"key": "sha256:" + "1" * 64, "issuer": "a"}]}, "the key alone"),
    ({"signatures": [{"key": "sha256:" + "1" * 64, "ignoreTlog": True}]}, "in PEM alone"), ({"signatures": [{"key": "-----BEGIN"}]}, "a public key in PEM"),
    ({"signatures": [{"issuer": "a", "subject": "b", "ignoreTlog": True}]}, "beside a key alone"), ({"signatures": [{"key": KEY, "ignoreTlog": "yes"}]}, "true or false"), ({"signatures": [{"issuer": "a", "subject": "b"}] * 65}, "1 to 64")])
def test_signers_that_are_refused(who: Any, reason: str) -> None:
    with pytest.raises(CustodyError) as refused:
        accepted(who)
    assert reason in str(refused.value)
    written = msgspec.json.encode(who).decode()
    decision = judged(rego("e.signatures[_].log.index < 0", f"custody.evidence_by(container.image, {written})"), known(*ALL.values()))
    assert (decision.verdict, decision.results[0].outcome) == (Verdict.DENIED, "error")
    assert reason in decision.results[0].message


@pytest.mark.parametrize("ignores", [True, False])
@pytest.mark.parametrize("language", ["rego", "cel"])
def test_a_key_that_is_written_here(language: str, ignores: bool) -> None:
    who = msgspec.json.encode({"signatures": [{"key": KEY, "ignoreTlog": ignores}]}).decode()
    policies = rego('e.signatures[_].signer.issuer == "x"', f"custody.evidence_by(container.image, {who})") if language == "rego" else (
        admission("object.spec.containers.all(c, size(evidence(c.image, "
                  f"{{'signatures': [{{'key': {KEY!r}, 'ignoreTlog': '{str(ignores).lower()}'}}]}}).signatures) > 0)"))
    question = ImageEvidence(IMAGE, Authority(keys=KEY, ignore_log=ignores), (intoto.COSIGN_SIGN,))
    loaded, gathered = PolicySet.load(policies), {IMAGE: known(rejected=(rejected("signatures", State.FAILED, "a stranger's key"),))}

    def decided(answer: Any) -> Decision:
        return decide(asked(pod()), gathered, loaded, Context(now=NOW), answers={} if answer is None else {question: answer})

    first = decided(None)
    assert (first.verdict, first.asks.questions) == (Verdict.DENIED, (question,))
    by_key = statement("signatures", signer=KeySigner(fingerprint=FINGERPRINT), log=None)
    assert decided(Answered(msgspec.to_builtins(known(by_key)))).verdict is Verdict.ALLOWED
    other = statement("signatures", signer=KeySigner(fingerprint="sha256:" + "9" * 64))
    for answer in (Answered(msgspec.to_builtins(known(other))), Answered(msgspec.to_builtins(known())), Failed("timed out"),
                   Answered(msgspec.to_builtins(EvidenceSet(subject="sha256:" + "2" * 64, verified=(by_key,))))):
        denied = decided(answer)
        assert (denied.verdict, denied.results[0].outcome) == (Verdict.DENIED, "error")


def test_patterns_match_the_whole() -> None:
    who = accepted({"signatures": [{"issuerRegExp": "https://.*", "subjectRegExp": "https://github.com/myorg/.*"}]})
    [signer] = who["signatures"]
    assert signer.takes(RELEASE)
    assert not signer.takes(msgspec.structs.replace(RELEASE, subject="x" + RELEASE.subject))
    [key] = accepted({"signatures": [{"key": "sha256:" + "1" * 64}]})["signatures"]
    assert key.takes(KeySigner(fingerprint="sha256:" + "1" * 64))
    assert not key.takes(KeySigner(fingerprint="sha256:" + "2" * 64))
    assert not key.takes(RELEASE)


def test_what_statements_say() -> None:
    shown = view(image(IMAGE), known(*(statement(kind) for kind in KINDS if kind != "findings"),
                                     statement("findings", predicate=scan("HIGH", "negligible", "odd", gaps=["rpm"], finished=NOW - timedelta(hours=2)))), NOW)
    assert shown["image"] == IMAGE
    assert shown["digest"] == DIGEST
    [signature] = shown["signatures"]
    assert signature["signer"] == {"issuer": RELEASE.issuer, "subject": RELEASE.subject, "claims": {}}
    assert (signature["log"], signature["signed_at"]) == ({"url": "https://rekor.example", "index": 7, "id": "ab"}, format_rfc3339(NOW))
    [built] = shown["provenance"]
    assert (built["builder"], built["parameters"], built["materials"][0]["digest"]) == (
        "https://builder.example", {"repository": "https://github.com/myorg/shop"}, {"gitCommit": "a" * 40})
    [bill] = shown["sbom"]
    assert bill["packages"] == [{"name": "flask", "version": "3.1.3", "type": "pypi", "purl": "pkg:pypi/flask@3.1.3", "licenses": ["BSD-3-Clause"]}]
    [found] = shown["findings"]
    assert found["counts"] == {"critical": 0, "high": 1, "medium": 0, "low": 1, "none": 0, "unknown": 1}
    assert (found["age"], found["covered"], found["gaps"]) == (7200, False, ["rpm"])
    assert view(image(IMAGE), known(statement("findings", predicate=scan(gaps=[]))), NOW)["findings"][0]["covered"] is True
    assert view(image(IMAGE), known(statement("findings", predicate=scan())), NOW)["findings"][0]["covered"] is False


def test_what_was_read_goes_with_the_statement() -> None:
    statements = [statement("findings", predicate=scan("low")) for _ in range(3)]
    before = len(evidencecontents._CONTENTS)
    for made in statements:
        shown = view(image(IMAGE), known(made), NOW)
        assert view(image(IMAGE), known(made), NOW)["findings"][0]["vulnerabilities"] is shown["findings"][0]["vulnerabilities"]
    assert len(evidencecontents._CONTENTS) == before + 3
    del made, shown
    statements.clear()
    gc.collect()
    assert len(evidencecontents._CONTENTS) == before


def test_in_totos_vulnerabilities() -> None:
    predicate = {"scanner": {"uri": "x", "result": [
        {"id": "CVE-1", "severity": [{"method": "nvd", "score": "9.8"}], "annotations": [{"purl": "pkg:a/b@1"}]},
        {"id": "CVE-2", "severity": [{"method": "custody", "score": "low"}, {"method": "cvss_score", "score": "7.0"}]},
        {"id": "CVE-3"}, {"id": "CVE-4", "severity": [{"method": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]},
        {"id": "CVE-5", "severity": [{"method": "v2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}, {"method": "word", "score": "low"}]},
        {"id": "CVE-6", "severity": [{"method": "v4", "score": "CVSS:4.0/AV:L/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"}]},
        {"id": "CVE-7", "severity": [{"method": "v3", "score": "CVSS:3.1/AV:N"}]}]}, "metadata": {"scanFinishedOn": format_rfc3339(NOW)}}
    [found] = view(image(IMAGE), known(statement("findings", predicate=predicate, predicate_type=intotovulns.PREDICATE_TYPE)), NOW)["findings"]
    assert [(entry["id"], entry["severity"], entry["package"]) for entry in found["vulnerabilities"]] == [
        ("CVE-1", "critical", "pkg:a/b@1"), ("CVE-2", "high", ""), ("CVE-3", "unknown", ""),
        ("CVE-4", "critical", ""), ("CVE-5", "high", ""), ("CVE-6", "low", ""), ("CVE-7", "unknown", "")]


@pytest.mark.parametrize(("kind", "predicate"), [
    ("findings", {"scanner": {"result": {"matches": []}}, "metadata": {"scanFinishedOn": format_rfc3339(NOW)}}),
    ("findings", {"scanner": {"result": {"Results": {}}}, "metadata": {"scanFinishedOn": format_rfc3339(NOW)}}),
    ("findings", {"scanner": {"result": {"Results": []}}, "metadata": {"scanFinishedOn": "yesterday"}}),
    ("findings", {"scanner": {"result": {"Results": []}}}), ("findings", scan(finished=NOW + timedelta(hours=1))), ("findings", []), ("provenance", {"runDetails": {}}),
    ("provenance", {**PROVENANCE, "runDetails": {"builder": {}}}), ("sbom", {}), ("sbom", "text")])
def test_what_is_signed_and_cannot_be_read_has_failed(kind: str, predicate: Any) -> None:
    shown = view(image(IMAGE), without(kind, **{kind: statement(kind, predicate=predicate)}), NOW)
    assert shown["states"][kind] == "failed"
    assert "cannot be read" in shown["reasons"][kind]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_result_names_the_evidence_that_it_rests_on(language: str) -> None:
    [result] = judged(LANGUAGES[language]("findings"), known(*ALL.values())).results
    assert "sha256:findings" in result.evidence


def kyverno(kind: str, **spec: Any) -> list[Json]:
    return [{"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": {"matchConstraints": PODS, **spec}}]


def test_kyvernos_other_kinds_have_it_too() -> None:
    pinning = kyverno("MutatingPolicy", mutations=[{"patchType": "JSONPatch", "jsonPatch": {"expression": (
        "[JSONPatch{op: 'replace', path: '/spec/containers/0/image', value: 'ghcr.io/myorg/shop@' + evidence(object.spec.containers[0].image).digest}]")}}])
    tagged = "ghcr.io/myorg/shop:1"
    assert judged(pinning, known(*ALL.values()), tagged).patch == [{"op": "replace", "path": "/spec/containers/0/image", "value": IMAGE}]
    assert judged(pinning, None, tagged).verdict is Verdict.DENIED
    images = kyverno("ImageValidatingPolicy", matchImageReferences=[{"glob": "ghcr.io/*"}],
                     validationConfigurations={"required": False, "mutateDigest": False, "verifyDigest": False},
                     attestors=[{"name": "a", "cosign": {"keyless": {"identities": [{"issuer": "a", "subject": "b"}]}}}],
                     validations=[{"expression": over(CEL["findings"]), "message": "it is bad"}])
    assert judged(images, known(*ALL.values())).results[-1].outcome == "pass"
    bad = judged(images, without("findings", findings=BAD["findings"]))
    assert (bad.verdict, bad.results[-1].message) == (Verdict.DENIED, "it is bad")
    missing = judged(images, without("findings"))
    assert (missing.verdict, "no such key: findings" in missing.results[-1].message) == (Verdict.DENIED, True)
    generating = PolicySet.load(kyverno("GeneratingPolicy", variables=[{"name": "d", "expression": (
        "[{'apiVersion': dyn('v1'), 'kind': dyn('ConfigMap'), 'metadata': dyn({'name': 'x'}), 'data': dyn({'digest': evidence(object.spec.containers[0].image).digest})}]")}],
        generate=[{"expression": "generator.Apply('default', variables.d)"}]))
    assert generating.predicate_types() == {kind for types in TYPES.values() for kind in types}


def test_only_custody_has_it() -> None:
    document = validating(over(CEL["findings"]))[0]
    with pytest.raises(CustodyError, match="undeclared reference to 'evidence'"):
        admission_policy(document)
    native = LANGUAGES["native"]("findings")[0]
    made = Gatekeeper().compile(native)
    assert isinstance(made, Template)
    with pytest.raises(CustodyError, match="undeclared reference to 'evidence'"):
        policy_of_template(made, native)
    for documents, said in ((validating(over(CEL["findings"])), "Kyverno refuses the policy"),
                            (admission(over(CEL["findings"])), "an API server refuses the policy"),
                            (rego(REGO["findings"]), "calls custody.evidence"), (LANGUAGES["native"]("findings"), "calls evidence()")):
        found, _ = lint_all([(f"[{at}]", written) for at, written in enumerate(documents)], builtin())
        assert [said in finding.message for finding in found if finding.code == "only-in-custody"] == [True]
    found, _ = lint_all([("[0]", validating("object.metadata.name != 'evidence(a)'")[0]), ("[1]", template()), ("[2]", constraint())], builtin())
    assert not [finding for finding in found if finding.code == "only-in-custody"]


def test_a_replay_needs_nobody() -> None:
    for language, make in LANGUAGES.items():
        policies, request = PolicySet.load(make("findings")), asked(pod())
        gathered = {IMAGE: known(*ALL.values())}
        decision = decide(request, gathered, policies, Context(now=NOW))
        again = replay(record(request, gathered, policies, Context(now=NOW), at=Course.ADMISSION,
                              answers={}, decision=decision))
        assert (again.verdict, again.inputs_digest) == (decision.verdict, decision.inputs_digest), language


def test_a_variable_that_reads_nothing_of_the_request_is_of_its_time_too() -> None:
    base = "evidence('ghcr.io/myorg/shop@" + DIGEST + "')"
    policies = PolicySet.load([template({"variables": [{"name": "base", "expression": base}], "validations": [
        {"expression": CEL["findings"].format(e="variables.base"), "message": "it is bad"}]}), constraint()])
    for gathered, verdict in ((known(*ALL.values()), Verdict.ALLOWED), (known(BAD["findings"]), Verdict.DENIED)):
        assert decide(asked(pod()), {IMAGE: gathered}, policies, Context(now=NOW)).verdict is verdict


def test_any_image_may_be_asked_about() -> None:
    source = """package x
violation[{"msg": "unsigned"}] {
  e := custody.evidence(input.review.object.metadata.annotations.base)
  e.signatures[_].signer.subject == "x"
}"""
    document = pod()
    document["metadata"]["annotations"] = {"base": "debian:12"}
    policies = PolicySet.load([template(source), constraint()])
    assert decide(asked(document), {}, policies, Context(now=NOW)).asks.images == ("docker.io/library/debian:12", IMAGE)
    document["metadata"]["annotations"] = {"base": "De Bian"}
    decision = decide(asked(document), {}, policies, Context(now=NOW))
    assert decision.verdict is Verdict.DENIED
    assert "custody.evidence" in decision.results[0].message


@pytest.mark.parametrize("source", [
    'violation[{"msg": "x"}] { data.custody.keys }', 'violation[{"msg": "x"}] { data.custody[_] }',
    'violation[{"msg": "x"}] { data.other }'])
def test_other_data_is_refused(source: str) -> None:
    with pytest.raises(CustodyError, match=r"data\.custody\.evidence"):
        PolicySet.load([template(f"package x\n{source}"), constraint()])


def test_a_kind_that_who_leaves_out_is_demanded() -> None:
    who = msgspec.json.encode({"signatures": [{"issuer": RELEASE.issuer, "subject": RELEASE.subject}]}).decode()
    policies = rego("e.findings[_].counts.critical > 0", f"custody.evidence_by(container.image, {who})")
    decision = judged(policies, known(*ALL.values()))
    assert (decision.verdict, decision.results[0].outcome) == (Verdict.DENIED, "error")
    assert f"findings of {IMAGE}: not asked for by who" in decision.results[0].message


def test_a_kind_may_count_in_one_view_of_several() -> None:
    release = msgspec.json.encode({"signatures": [{"issuer": RELEASE.issuer, "subject": RELEASE.subject}]}).decode()
    template_of_both = template(f"""package x
violation[{{"msg": "it is bad"}}] {{
  custody.evidence_by(input.review.object.spec.containers[_].image, {release}).signatures[_].signer.subject == "x"
}}
violation[{{"msg": "it is bad"}}] {{
  custody.evidence_by(input.review.object.spec.containers[_].image, {msgspec.json.encode(BY).decode()}).findings[_].counts.critical > 0
}}""")
    policies = [template_of_both, constraint()]
    assert judged(policies, known(*ALL.values())).verdict is Verdict.ALLOWED
    for kind in ("signatures", "findings"):
        assert f"{kind} of {IMAGE}: missing" in judged(policies, without(kind)).results[0].message


ELSEWHERE = f"mirror.example/shop@{DIGEST}"


def of_two(policies: list[Json], here: EvidenceSet, there: EvidenceSet) -> Decision:
    both = bare_pod(containers=[{"name": "a", "image": IMAGE}, {"name": "b", "image": ELSEWHERE}])
    return decide(asked(both), {IMAGE: here, ELSEWHERE: there}, PolicySet.load(policies), Context(now=NOW))


def test_images_of_one_digest_are_judged_by_all_that_is_said_of_either() -> None:
    policies = rego(REGO["findings"], 'data.custody.evidence[_]; container.image != ""')
    clean, bad = known(*ALL.values()), without("findings", findings=BAD["findings"])
    assert of_two(policies, clean, clean).verdict is Verdict.ALLOWED
    for pair in ((clean, bad), (bad, clean)):
        assert of_two(policies, *pair).results[0].message == "it is bad"
    for pair in ((clean, without("findings")), (without("findings"), clean)):
        denied = of_two(policies, *pair)
        assert (denied.verdict, denied.results[0].outcome) == (Verdict.DENIED, "error")
        assert "missing: there is none" in denied.results[0].message
    states = rego('not e.states.findings == "verified"', 'data.custody.evidence[_]; container.image != ""')
    for pair in ((clean, without("findings")), (without("findings"), clean)):
        assert of_two(states, *pair).results[0].message == "it is bad"
    assert of_two(states, clean, clean).verdict is Verdict.ALLOWED


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "signatures"])
def test_a_document_that_could_not_be_had_may_be_the_newest(kind: str, language: str) -> None:
    policies = LANGUAGES[language](kind)
    other = next(name for name in KINDS if name not in (kind, "signatures"))
    for unread in (rejected(kind, State.UNVERIFIABLE, "too large"), rejected(None, State.UNVERIFIABLE, "too large"),
                   rejected(kind, State.FAILED, "too large", Check.WEIGHT)):
        decision = judged(policies, known(*ALL.values(), rejected=(unread,)))
        assert (decision.verdict, decision.results[0].outcome) == (Verdict.DENIED, "error")
        assert "unverifiable: referrer x: too large" in decision.results[0].message
    for junk in (rejected(kind, State.FAILED, "forged", Check.SIGNATURE), rejected(None, State.FAILED, "no JSON", Check.FORMAT),
                 rejected(kind, State.MISSING, "gone"), rejected(other, State.UNVERIFIABLE, "no policy asks for it")):
        assert judged(policies, known(*ALL.values(), rejected=(junk,))).verdict is Verdict.ALLOWED


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_signature_speaks_beside_one_that_could_not_be_had(language: str) -> None:
    gathered = known(*ALL.values(), rejected=(rejected("signatures", State.UNVERIFIABLE, "too large"),))
    assert judged(LANGUAGES[language]("signatures"), gathered).verdict is Verdict.ALLOWED


def test_a_kind_that_parameters_name_is_gathered_before_it_is_demanded() -> None:
    policies = rego('e.signatures[_].signer.subject == "x"\n  e[input.parameters.labels[_]][_].counts.critical > 0')
    policies[1]["spec"]["parameters"] = {"labels": ["findings"]}
    needs = PolicySet.load(policies).needs(asked(pod())).images[IMAGE]
    assert needs == types_of(("signatures", "findings"))


KEYED = "[{'key': 'sha256:1'}]"


@pytest.mark.parametrize(("expression", "kinds"), [
    ("variables.params.labels.all(k, size(evidence(i)[k]) > 0) && has(evidence(i).sbom)", KINDS),
    ("variables.params.labels.all(k, k in evidence(i)) && has(evidence(i).sbom)", KINDS),
    (f"size(evidence(i, {{variables.params.labels[0]: {KEYED}}}).sbom) > 0", KINDS),
    ("size(evidence(i, variables.computed).sbom) > 0", KINDS),
    ("size(evidence(i, variables.spelt).sbom) > 0", ("sbom", "findings")),
    (f"size(evidence(i, {{'sbom': {KEYED}}})['sbom']) > 0 && 'a' in ['b']", ("sbom", "findings"))])
def test_a_kind_that_no_literal_names_is_gathered(expression: str, kinds: tuple[str, ...]) -> None:
    native = template({"variables": [{"name": "spelt", "expression": f"{{'findings': {KEYED}}}"},
                                     {"name": "computed", "expression": "variables.params.signers"}],
                       "validations": [{"expression": expression.replace("(i", f"('{IMAGE}'"), "message": "x"}]})
    assert PolicySet.load([native, constraint()]).needs(asked(pod())).images[IMAGE] == types_of(kinds)


@pytest.mark.parametrize(("predicate", "reason"), [
    ({**CYCLONEDX, "components": [{"type": "library", "name": "a", "components": [{"type": "library", "name": str(at)} for at in range(20_000)]}]}, "20001 packages or more"),
    ({"spdxVersion": "SPDX-2.3", "packages": [{}] * 20_001}, "20001 packages or more"),
    ({"artifactRelationships": [], "artifacts": [{}] * 20_001}, "20001 packages or more"),
    ({"@graph": [{"type": "software_Package"}] * 20_001}, "20001 packages or more"),
    ({"Data": "<bom>" + " " * 4_000_000}, "4000005 bytes"), ("SPDXVersion: SPDX-2.3\n" + " " * 4_000_000, "4000022 bytes")])
def test_what_reading_an_sbom_costs_is_bounded(predicate: Any, reason: str) -> None:
    shown = view(image(IMAGE), without("sbom", sbom=statement("sbom", predicate=predicate)), NOW)
    assert shown["states"]["sbom"] == "failed"
    assert reason in shown["reasons"]["sbom"]


def test_an_sbom_of_many_packages_is_read() -> None:
    components = [{"type": "library", "name": f"p{at}", "version": "1", "purl": f"pkg:pypi/p{at}@1"} for at in range(2_000)]
    for predicate in ({**CYCLONEDX, "components": components}, {"Data": msgspec.json.encode({**CYCLONEDX, "components": components}).decode()}):
        [bill] = view(image(IMAGE), without("sbom", sbom=statement("sbom", predicate=predicate)), NOW)["sbom"]
        assert (bill["format"], len(bill["packages"])) == ("CycloneDX 1.6", 2_000)


@pytest.mark.parametrize("language", LANGUAGES)
def test_evidence_of_a_tag_that_stays_one_is_warned_of(language: str) -> None:
    tagged, policies = "ghcr.io/myorg/shop:1", LANGUAGES[language]("findings")
    decision = judged(policies, known(*ALL.values()), tagged)
    assert decision.verdict is Verdict.ALLOWED
    assert [warning for warning in decision.warnings if f"the evidence of {tagged} is about {DIGEST}" in warning]
    assert judged(policies, known(*ALL.values())).warnings == ()
    assert not [warning for warning in judged(policies, known(BAD["findings"]), tagged).warnings if "is about" in warning]
    unasked = [template(), constraint({"labels": []})]
    assert judged(unasked, known(*ALL.values()), tagged).warnings == ()


def test_a_tag_that_a_policy_pins_is_not_warned_of() -> None:
    pinning = kyverno("MutatingPolicy", mutations=[{"patchType": "JSONPatch", "jsonPatch": {"expression": (
        "[JSONPatch{op: 'replace', path: '/spec/containers/0/image', value: 'ghcr.io/myorg/shop@' + evidence(object.spec.containers[0].image).digest}]")}}])
    tagged = "ghcr.io/myorg/shop:1"
    decision = decide(asked(pod(tagged)), {tagged: known(*ALL.values()), IMAGE: known(*ALL.values())},
                      PolicySet.load([*pinning, *validating(over(CEL["findings"]))]), Context(now=NOW))
    assert (decision.verdict, decision.warnings) == (Verdict.ALLOWED, ())
