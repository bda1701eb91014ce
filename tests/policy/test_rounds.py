"""Many images and many who may have signed them: all that policies want to know of them is asked in few rounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from custody.admission.judging import ROUNDS, Judging
from custody.evidence.model import EvidenceSet, facts
from custody.policy.load import PolicySet
from custody.policy.model import Request, Verdict
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answer, Answered, ImageEvidence, Lookup, Question
from custody.services.verify import Terms, judge, sort
from custody.sign.trusting import trust_of
from tests.policy.signing import NOW, layer, pem
from tests.sign.authority import new_key

KEY = new_key()
DIGESTS = [f"sha256:{number:064x}" for number in range(ROUNDS + 4)]
NOBODY = [{"key": {"data": pem(new_key())}} for _ in range(3)]
LOGLESS = {"rekor": {"ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}


class Signed(Lookup):
    """Every image is signed by the key."""

    async def answer(self, question: Question) -> Answer:
        assert isinstance(question, ImageEvidence)
        digest = question.image.partition("@")[2]
        return Answered(facts(sort(digest, [judge(layer(KEY, digest=digest), Terms(trust_of(question.authority, None)),
                                                  NOW)])))


async def resolved(_: Snapshot, images: list[str]) -> dict[str, EvidenceSet]:
    return {name: EvidenceSet(subject=name.partition("@")[2]) for name in images}


@pytest.mark.parametrize("document", [
    {"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "p"}, "spec": {
        "images": [{"glob": "**"}], "authorities": [*NOBODY, {"key": {"data": pem(KEY)}}]}},
    {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                                "resources": ["pods"]}]},
        "attestors": [{"name": name, "cosign": {"key": {"data": pem(key)}, "ctlog": {"insecureIgnoreTlog": True}}}
                      for name, key in (("other", new_key()), ("mine", KEY))],
        "validations": [{"expression": "images.containers.all(image, verifyImageSignatures(image, [attestors.other, "
                                       "attestors.mine]) > 0)"}]}},
    {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [{
                "imageReferences": ["*"], "mutateDigest": False, "repository": "ghcr.io/x/y", "attestors": [
                    {"count": 1, "entries": [{"keys": {"publicKeys": pem(key), **LOGLESS}}
                                             for key in (new_key(), KEY)]}]}]}]}}])
def test_more_questions_than_rounds(document: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": {
        "containers": [{"name": f"c{at}", "image": f"ghcr.io/a/b@{digest}"} for at, digest in enumerate(DIGESTS)]}}
    judging = Judging(resolved, lambda: NOW, Signed())
    judged = asyncio.run(judging.judge(Request.create(pod), Snapshot(PolicySet([document])), Course.ADMISSION))
    assert judged.decision.verdict is Verdict.ALLOWED, judged.decision.results
    assert len(judged.answers) >= 2 * len(DIGESTS)
