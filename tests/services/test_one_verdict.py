"""One verdict: over random pods and policies, both webhooks in a row, `check` and a replay say the same."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest

from custody.admission.webhook import Admission
from custody.evidence.model import EvidenceSet, Verified
from custody.formats import reference
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Kind, Outcome, Request
from custody.policy.phases import Course
from custody.policy.record import record, replay
from custody.policy.snapshot import Snapshot
from tests.policy.test_images import KEYLESS, NOW, SIGN, SUBJECT, VULN, pod, statement

_DIGESTS = {letter: "sha256:" + letter * 64 for letter in "abc"}
_TAGS = {"1": "a", "2": "b", "3": "c"}
_IMAGES = ["ghcr.io/o/a:1", "ghcr.io/o/a:2", "ghcr.io/o/b:3", "GHCR.IO/o/a:1", "ghcr.io:443/o/a:1", "nginx", "nginx:1",
           f"ghcr.io/o/a:1@{_DIGESTS['a']}", f"ghcr.io/o/a:1@{_DIGESTS['c']}", f"ghcr.io/o/a@{_DIGESTS['b']}",
           "docker.io/library/nginx:1", "index.docker.io/nginx:2", "UPPER/x", "bad name", "ghcr.io/o/base:1",
           "ghcr.io/o/base:2", f"ghcr.io/o/base@{_DIGESTS['c']}"]


def _known(letter: str) -> EvidenceSet:
    """a is signed and attested, b is signed by another, c by nobody."""
    statements: dict[str, tuple[Verified, ...]] = {
        "a": (statement(SIGN), statement(VULN, {"ok": True})), "b": (statement(SIGN, subject="https://other"),)}
    return EvidenceSet(subject=_DIGESTS[letter], verified=statements.get(letter, ()))


def _evidence(image: str) -> EvidenceSet:
    """As a registry has it, in which the tag `latest` is missing."""
    named = reference.parse(image)
    letter = named.digest[7] if named.digest else _TAGS.get(named.tag or "")
    return EvidenceSet(subject="") if letter is None else _known(letter)


def _verifies(dice: Random) -> dict[str, Any]:
    entry: dict[str, Any] = {"imageReferences": dice.choice([
        ["*"], ["ghcr.io/*"], ["ghcr.io/o/a:*"], ["nginx*"], ["docker.io/*", "ghcr.io/o/base*"], ["*@sha256:*"]])}
    if dice.random() < 0.4:
        entry["skipImageReferences"] = dice.choice([["ghcr.io/o/base:*"], ["docker.io/library/nginx*"], ["*:2"]])
    if dice.random() < 0.8:
        entry["attestors"] = [{"entries": [{"keyless": {**KEYLESS, "subject": dice.choice([SUBJECT, "*other"])}}]}]
    if dice.random() < 0.3:
        key = dice.choice(["{{ ok }}", "{{ !(images.containers.c0.digest) }}"])
        entry["attestations"] = [{"type": VULN, "conditions": [{"all": [
            {"key": key, "operator": "Equals", "value": True}]}]}]
    if not entry.keys() & {"attestors", "attestations"}:
        entry["required"] = False  # it only pins
    return entry | {field: False for field in ("mutateDigest", "verifyDigest") if dice.random() < 0.3}


def _rule(name: str, dice: Random) -> dict[str, Any]:
    def deny(key: str, value: list[str]) -> dict[str, Any]:
        return {"message": "no", "deny": {"conditions": {"any": [{"key": key, "operator": "AnyIn", "value": value}]}}}

    rule: dict[str, Any] = {"name": name, "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}
    if dice.random() < 0.6:
        rule["verifyImages"] = [_verifies(dice) for _ in range(dice.randint(1, 2))]
    else:
        rule["validate"] = dice.choice([
            {"message": "m", "pattern": {"spec": {"containers": [{"image": dice.choice(["ghcr.io/*", "*@*"])}]}}},
            deny("{{ images.containers.*.tag || `[]` }}", ["2"]), {"podSecurity": {"level": "baseline"}},
            deny("{{ images.*.*.digest[] || `[]` }}", [_DIGESTS["b"]])])
    if dice.random() < 0.2:
        rule["preconditions"] = {"all": [{"key": "{{ images.containers.*.tag || `[]` }}", "operator": "AnyIn",
                                          "value": ["1"]}]}
    if dice.random() < 0.15:
        rule["exclude"] = {"any": [{"resources": {"operations": ["UPDATE"]}}]}
    return rule


def _policy(name: str, dice: Random) -> dict[str, Any]:
    action = dice.choice(["Enforce"] * 4 + ["Audit"])
    rules = [_rule(f"r{at}", dice) for at in range(dice.randint(1, 3))]
    for entry in (entry for rule in rules for entry in rule.get("verifyImages", ()) if action == "Audit"):
        entry["mutateDigest"] = False
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": action, "failurePolicy": dice.choice(["Fail", "Ignore"]), "rules": rules}}


def _pod(dice: Random) -> dict[str, Any]:
    def holders(letter: str, most: int) -> list[dict[str, Any]]:
        return [{"name": f"{letter}{at}", "image": dice.choice(_IMAGES)} for at in range(dice.randint(1, most))]

    made = pod(initContainers=holders("i", 1) if dice.random() < 0.3 else [], hostNetwork=dice.random() < 0.1,
               volumes=[{"name": "v", "image": {"reference": dice.choice(_IMAGES)}}] if dice.random() < 0.2 else [])
    made["spec"]["containers"] = holders("c", 2)
    return made


def _changed(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    document = copy.deepcopy(document)
    for operation in patch:
        *way, last = operation["path"].split("/")[1:]
        part: Any = document
        for step in way:
            part = part[int(step)] if isinstance(part, list) else part[step]
        part[last] = operation["value"]
    return document


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_webhooks_check_and_replay_agree(seed: int) -> None:
    dice = Random(seed)
    verdicts: Counter[bool] = Counter()

    async def gather(_: Snapshot, images: list[str]) -> dict[str, EvidenceSet]:
        return {image: _evidence(image) for image in images}

    async def one(policies: PolicySet, admission: Admission, request: Request) -> None:
        asked = {"uid": "u", "kind": {"kind": "Pod", "version": "v1", "group": ""}, "name": "p", "namespace": "default",
                 "operation": request.operation, "object": request.object, "oldObject": request.old_object}

        async def ask(mutate: bool) -> dict[str, Any]:
            body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked})
            said: dict[str, Any] = json.loads(await admission.review(body.encode(), mutate=mutate))["response"]
            return said

        said = await ask(True)
        if said["allowed"]:
            patch = json.loads(base64.b64decode(said["patch"])) if "patch" in said else []
            asked["object"] = _changed(request.object or {}, patch)
            said = await ask(False)
        evidence = await gather(admission.snapshot, policies.images(request))
        decision = decide(request, evidence, policies, Context(now=NOW))
        documents = json.dumps([policies.documents, request.object, request.old_object])
        assert decision.allowed == said["allowed"], documents
        if decision.allowed:
            assert _changed(request.object or {}, decision.patch) == asked["object"], documents
        again = replay(record(request, evidence, policies, Context(now=NOW), at=Course.ADMISSION, decision=decision))
        assert msgspec.json.encode(again) == msgspec.json.encode(decision)
        # What is pinned, a rule has judged and found good.
        good = {result.image for result in decision.results if result.outcome is Outcome.PASS}
        for change in decision.patch:
            assert change["value"].rpartition("@")[2] in _DIGESTS.values()
            *_, kind, at, _ = [step for step in change["path"].split("/") if step != "reference"]
            holder: Any = (request.object or {})["spec"][kind][int(at)]["image"]
            assert (holder["reference"] if isinstance(holder, dict) else holder) in good, documents
        verdicts[decision.allowed] += 1

    async def main() -> None:
        for _ in range(25):
            policies = PolicySet([_policy(f"p{at}", dice) for at in range(dice.randint(1, 3))])
            admission = Admission(policies, gather, lambda: NOW)
            for _ in range(10):
                new, old = _pod(dice), None
                if dice.random() < 0.5:
                    old = _pod(dice) if dice.random() < 0.4 else copy.deepcopy(new)
                    if dice.random() < 0.5:
                        new["spec"]["containers"][0]["image"] = dice.choice(_IMAGES)
                await one(policies, admission, Request(
                    operation="UPDATE" if old else "CREATE", kind=Kind("Pod"), namespace="default", name="p",
                    object=new, old_object=old))

    asyncio.run(main())
    assert min(verdicts[True], verdicts[False]) > 50
