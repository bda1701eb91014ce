"""Rules with `verifyImages` as ImageValidatingPolicies: equal verdicts on made-up evidence, and on what was signed."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import UnsupportedError
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.migrate.outcome import Migrated
from custody.policy.migrate.rules import migrate
from tests.policy.signing import NAME, World, asked, evidence, layer, pem, pem_of
from tests.sign.authority import IDENTITY, ISSUER, new_key

WORLD, OTHER = World(), World()
KEY, SECOND = new_key(), new_key()
LOG = {"rekor": {"url": "https://log1.example"}}
UNLOGGED = {"rekor": {"ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}
SCAN = "https://cosign.sigstore.dev/attestation/vuln/v1"


def policy(**entry: Any) -> dict[str, Any]:
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "verifyImages": [{"imageReferences": ["ghcr.io/myorg/*"], **entry}]}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": "p", "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
            "spec": {"validationFailureAction": "Enforce", "rules": [rule]}}


def translated(document: dict[str, Any]) -> Migrated:
    (rule,) = migrate(document, builtin(), count=80)
    return rule


def key(*keys: Any, **more: Any) -> dict[str, Any]:
    return {"keys": {"publicKeys": "".join(map(pem, keys)), **UNLOGGED, **more}}


def keyless(**fields: Any) -> dict[str, Any]:
    return {"keyless": {"subject": IDENTITY, "issuer": ISSUER, **LOG, **fields}}


def attestors(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"attestors": [{"entries": [*entries], **more}]}


def attested(**more: Any) -> dict[str, Any]:
    return {"attestations": [{"type": SCAN, "attestors": [{"entries": [key(KEY)]}], **more}]}


@pytest.mark.parametrize("entry", [
    attestors(key(KEY)), attestors(key(KEY), key(SECOND)), attestors(key(KEY), key(SECOND), count=1),
    attestors(key(KEY, SECOND)), attestors(key(KEY, rekor={}, ctlog={})),
    attestors(keyless()), attestors(keyless(subject="https://github.com/*")),
    attestors(keyless(subject="", subjectRegExp="^https://.*$")),
    attestors(key(KEY), keyless(), count=1),
    attestors({"attestor": {"count": 1, "entries": [key(KEY), key(SECOND)]}}, keyless()),
    {"attestors": [{"entries": [key(KEY)]}, {"entries": [key(SECOND)]}]},
    attestors({**key(KEY), "annotations": {"env": "prod"}}),
    attestors(keyless(roots=pem_of(OTHER.ca, OTHER.root))),
    {**attestors(key(KEY)), "mutateDigest": False},
    {**attestors(key(KEY)), "mutateDigest": False, "verifyDigest": False},
    {**attestors(key(KEY)), "required": False},
    {**attestors(key(KEY)), "failureAction": "Audit", "mutateDigest": False},
    {"attestations": [
        {"type": SCAN, "attestors": [{"entries": [key(KEY)]}],
         "conditions": [{"all": [{"key": "{{ scanner.result || '' }}", "operator": "Equals", "value": "clean"}]}]},
        {"type": "https://slsa.dev/provenance/v1", "attestors": [{"entries": [keyless()]}],
         "conditions": [{"all": [{"key": "{{ builder.id || '' }}", "operator": "Equals", "value": "b"}]}]}]},
    attested(), attested(conditions=[{"all": [{"key": "{{ scanner.result || '' }}", "operator": "Equals",
                                               "value": "clean"}]}]),
])
def test_verdicts_are_equal(entry: dict[str, Any]) -> None:
    rule = translated(policy(**entry))
    assert rule.refused is None, (rule.refused, rule.difference, rule.documents)
    assert 0 < rule.denied < rule.judged
    assert [made["kind"] for made in rule.documents] == ["ImageValidatingPolicy"]


@pytest.mark.parametrize("more", [{}, {"verifyDigest": False}, {"skipImageReferences": ["ghcr.io/myorg/old*"]}])
@pytest.mark.parametrize("entry", [attestors(key(KEY)), attestors(keyless()), attested()])
def test_controllers_are_judged_and_pinned_as_by_the_rule(entry: dict[str, Any], more: dict[str, Any]) -> None:
    document = policy(**entry, **more)
    del document["metadata"]["annotations"]
    rule = translated(document)
    assert rule.refused is None, (rule.refused, rule.difference)
    assert [made["metadata"]["name"] for made in rule.documents] == ["p", "p-replicationcontrollers"]


def test_what_is_skipped_by_one_is_skipped_by_both() -> None:
    document = policy(**attestors(key(KEY)), skipImageReferences=["ghcr.io/myorg/web*"], mutateDigest=False,
                      verifyDigest=False)
    before, after = PolicySet([document]), PolicySet([*translated(document).documents])
    for name, allowed in (("ghcr.io/myorg/web:1", True), ("ghcr.io:443/myorg/web:1", True),
                          ("ghcr.io/myorg/other:1", False), ("ghcr.io/myorg/api:1", False)):
        said, says = (asked(policies, image=name)[0] for policies in (before, after))
        assert (said.allowed, says.allowed) == (allowed, allowed), (name, said.results, says.results)


SIGNED = {
    "a key": layer(KEY), "another key": layer(new_key()), "the second key": layer(SECOND),
    "a certificate": evidence(WORLD.keyless(kind="dsse")),
    "a certificate of others": evidence(OTHER.keyless(kind="dsse")),
}


@pytest.mark.parametrize("entry", [attestors(key(KEY)), attestors(keyless()), attestors(key(KEY, SECOND), count=1),
                                   attestors(key(KEY), key(SECOND), count=2), attestors(key(KEY), keyless(), count=1)])
def test_both_say_the_same_of_what_was_signed(entry: dict[str, Any]) -> None:
    document = policy(**entry)
    before, after = PolicySet([document]), PolicySet([*translated(document).documents])
    verdicts = set()
    for names in ([], *([name] for name in SIGNED), ["a key", "the second key"], [*SIGNED]):
        documents = [SIGNED[name] for name in names]
        said, says = (asked(policies, *documents, root=WORLD.trusted_root(), image=NAME)[0]
                      for policies in (before, after))
        assert (said.allowed, said.patch) == (says.allowed, says.patch), (names, said.results, says.results)
        verdicts.add(said.allowed)
    assert verdicts == {True, False}


@pytest.mark.parametrize(("entry", "path", "words"), [
    ({"required": False, "mutateDigest": True}, "verifyImages[0].attestors", "only pins"),
    ({**attestors(key(KEY)), "skipImageReferences": ["docker.io/org/*"]}, "skipImageReferences[0]", "several names"),
    ({**attestors(key(KEY)), "skipImageReferences": ["*/x"]}, "skipImageReferences[0]", "several names"),
    ({**attestors(key(KEY)), "type": "SigstoreBundle"}, "verifyImages[0].type", "however"),
    (attestors({"keys": {"publicKeys": "{{ request.namespace }}"}}), "entries[0]", "computed"),
    ({**attestors(key(KEY)), "cosignOCI11": True}, "cosignOCI11", "no words"),
])
def test_what_has_no_words_is_refused(entry: dict[str, Any], path: str, words: str) -> None:
    refused = translated(policy(**entry)).refused
    assert isinstance(refused, UnsupportedError)
    assert path in refused.message
    assert words in refused.message
