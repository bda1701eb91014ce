"""The API server is asked about what Kyverno's controller asks it about, for policies in every spelling of kinds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custody.admission.configuration import configurations
from custody.admission.review import read
from custody.errors import CustodyError
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet
from tests.admission.kyverno_webhooks import ANSWERS, CRD, MATCHES, REQUESTS, SELECTORS, always, normal, policies

KYVERNO: dict[str, dict[str, list[list[str]]]] = json.loads(ANSWERS.read_text())
POLICIES = policies()
NEVER = {
    "v2/Pod": "expected a version that Kubernetes 1.34 serves: v1/Pod",
    "serving.knative.dev/v1/Service/scale": "which resources are serving.knative.dev/v1/Service/scale is not known",
    "PodExecOptions": "did you mean Pod/exec?",
    "Eviction": "did you mean Pod/eviction?",
    "*/v1/Service": "did you mean v1/Service",
    "*/*/Deployment": "did you mean apps/v1/Deployment?",
    "*/v1/*": "expected a kind of Kubernetes 1.34",
    "Scale": "did you mean ReplicationController/scale or Deployment/scale",
    "TokenRequest": "did you mean ServiceAccount/token?",
    "Gadget": "expected a kind of Kubernetes 1.34",
    "pods": "did you mean Pod?",
    "apps/Deployment": "did you mean apps/v1/Deployment?",
    "gadgets.example.com/v1/Gadget": "which resources are gadgets.example.com/v1/Gadget is not known"}
"""Kyverno asks for these about nothing that ever comes, and lets the policy be: here they are refused."""
LOST = ("Service/status",)
"""Of two groups with the same plural, Kyverno finds the subresource of one, by chance (`break` in FindResources)."""


def ours(document: dict[str, Any], kinds: Kinds) -> dict[str, list[list[str]]]:
    return {hook["name"].partition(".")[0]: [list(entry) for entry in normal(hook["rules"])]
            for found in configurations("https://x", b"CA", PolicySet([document], kinds=kinds))
            for hook in found["webhooks"]}


@pytest.mark.parametrize("name", KYVERNO)
def test_rules_are_those_of_kyverno(name: str) -> None:
    kinds = builtin().with_crds([CRD])
    selector = SELECTORS[int(name[1:])] if name[1:].isdigit() and name[0] == "s" else ""
    if selector in NEVER:
        assert KYVERNO[name] == {} or selector == "*/*/Deployment"  # of which it makes */Deployment
        with pytest.raises(CustodyError) as refused:
            ours(POLICIES[name], kinds)
        assert NEVER[selector] in refused.value.message
        return
    found = ours(POLICIES[name], kinds)
    assert found.keys() <= KYVERNO[name].keys()
    pattern = "pattern" in POLICIES[name]["spec"]["rules"][0].get("validate", {})
    images = "verifyImages" in POLICIES[name]["spec"]["rules"][0]
    for verb, theirs in KYVERNO[name].items():
        mine = found.get(verb, [])
        beyond = [entry for entry in mine if entry not in theirs]
        assert not beyond or selector in LOST
        for group, version, resource, scope, operation in theirs:
            if [group, version, resource, scope, operation] in mine:
                continue
            # Left out is only what never comes, or what this rule says nothing of.
            assert (pattern and operation == "DELETE") or (images and operation not in ("CREATE", "UPDATE")) or (
                operation not in served(kinds, group, version, resource)), (resource, operation)


def served(kinds: Kinds, group: str, version: str, resource: str) -> set[str]:
    plural, _, subresource = resource.partition("/")
    return {operation for one in kinds.resources if group in ("*", one.group) and version in ("*", one.version)
            and plural in ("*", one.plural)
            for operation in (one.operations if not subresource else ())} | {
        operation for one in kinds.resources if group in ("*", one.group) and version in ("*", one.version)
        and plural in ("*", one.plural) for sub in one.subresources if subresource in ("*", sub.name)
        for operation in sub.operations}


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: f"{asked['resource']['resource']}/{asked['subResource']}")
def test_requests_are_matched_as_kyverno_matches_them(asked: dict[str, Any]) -> None:
    """Recorded from its controller: the policies, one for each selector, that deny a request which they match."""
    kinds = builtin().with_crds([CRD])
    theirs = set(json.loads(MATCHES.read_text())[asked["uid"]])
    request = kinds.located(read(json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                                             "request": asked}).encode()).request)
    ours = set()
    for name, document in always().items():
        selector = SELECTORS[int(name[1:])]
        if NEVER.get(selector, "which").startswith("which") and any(
                rule.matches(request) for rule in PolicySet([document], kinds=kinds).rules):
            ours.add(name)
    assert theirs <= ours
    # The subresources of two groups' `services` are the ones that Kyverno finds by chance.
    assert ours == theirs or (asked["resource"]["resource"], asked["subResource"] != "") == ("services", True)
