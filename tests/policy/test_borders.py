"""What a policy of a namespace may name of others: no Secrets, by whichever field."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import UnsupportedError
from custody.policy.load import PolicySet

KEYS = {"publicKeys": "k8s://team-b/cosign"}


def policy(verify: dict[str, Any], kind: str = "Policy") -> dict[str, Any]:
    metadata = {"name": "p", **({"namespace": "team-a"} if kind == "Policy" else {})}
    return {"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": metadata, "spec": {"rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [
            {"imageReferences": ["*"], "failureAction": "Enforce", **verify}]}]}}


def by(**keys: Any) -> dict[str, Any]:
    return {"attestors": [{"entries": [{"keys": keys}]}]}


def with_logins(secret: str) -> dict[str, Any]:
    return {**by(publicKeys="k8s://team-a/cosign"), "imageRegistryCredentials": {"secrets": [secret]}}


@pytest.mark.parametrize(("verify", "field"), [
    (by(**KEYS), "attestors[0].entries[0].keys.publicKeys"), (by(kms="k8s://team-b/cosign"), "keys.kms"),
    (by(secret={"namespace": "team-b", "name": "cosign"}), "keys.secret.namespace"),
    (with_logins("team-b/registry"), "imageRegistryCredentials.secrets[0]")])
def test_secrets_of_another_namespace_are_not_read(verify: dict[str, Any], field: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        PolicySet([policy(verify)])
    assert f"{field}: a policy of namespace team-a does not read Secrets of 'team-b'" in refused.value.message
    assert PolicySet([policy(verify, "ClusterPolicy")]).policies


@pytest.mark.parametrize("verify", [
    by(publicKeys="k8s://team-a/cosign"), by(secret={"namespace": "team-a", "name": "cosign"}),
    with_logins("team-a/registry"), with_logins("registry"), with_logins("kyverno/registry")])
def test_its_own_are(verify: dict[str, Any]) -> None:
    assert PolicySet([policy(verify)]).policies


def test_newer_kinds_too() -> None:
    document = {"apiVersion": "policies.kyverno.io/v1", "kind": "NamespacedImageValidatingPolicy",
                "metadata": {"name": "p", "namespace": "team-a"}, "spec": {
                    "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": [
                        "pods"], "operations": ["CREATE"]}]}, "matchImageReferences": [{"glob": "*"}],
                    "credentials": {"secrets": ["team-b/registry"]},
                    "attestors": [{"name": "a", "cosign": {"key": {"data": "k"}}}], "validations": [
                        {"expression": "true"}]}}
    with pytest.raises(UnsupportedError, match=r"spec\.credentials\.secrets\[0\]: a policy of namespace team-a"):
        PolicySet([document])
