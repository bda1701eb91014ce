"""Policies that ask for signatures of the Notary Project: the certificates decide, and the timestamp authority's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from custody.evidence.model import Evidence
from custody.policy.load import PolicySet
from tests.policy.signing import asked, layer, pem_of, reason
from tests.sign.authority import NOW, World, certificate, new_key
from tests.sign.test_notation import LEAF, ROOT, SPAN, WORLD, cose, jws

STRANGER = certificate(new_key(), None, name="root", ca=True, **SPAN)


def test_type_notary() -> None:
    def of(document: Evidence, *entries: dict[str, Any], kind: str = "Notary") -> tuple[bool, str]:
        decision, _ = asked(PolicySet([{
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
                "validationFailureAction": "Enforce", "rules": [{
                    "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [{
                        "imageReferences": ["*"], "type": kind, "attestors": [{"entries": list(entries)}]}]}]}}]),
            document)
        return decision.allowed, reason(decision)

    trusted, other = ({"certificates": {"cert": pem_of(root)}} for root in (ROOT, STRANGER))
    for document in (jws(), cose()):
        assert of(document, trusted) == (True, "")
        assert "not produced by a trusted signer" in of(document, other)[1]
        assert not of(document, trusted, other)[0]
        assert not of(document, trusted, kind="Cosign")[0]  # the other type's signatures do not count
    assert of(jws(), {"certificates": {"certChain": pem_of(LEAF, ROOT)}})[0]
    assert not of(layer(new_key()), trusted)[0]


def test_image_validating_policies() -> None:
    def of(document: Evidence, now: Any = NOW, **notary: Any) -> bool:
        expression = ("images.containers.map(image, verifyImageSignatures(image, [attestors.notary]))"
                      ".all(count, count > 0)")
        head = {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": "p"}}
        decision, _ = asked(PolicySet([{
            **head, "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                                                        "operations": ["CREATE"], "resources": ["pods"]}]},
                "attestors": [{"name": "notary", "notary": notary}],
                "validations": [{"expression": expression}]}}]), document, now=now)
        return decision.allowed

    certs, other = {"value": pem_of(ROOT)}, {"value": pem_of(STRANGER)}
    assert of(jws(), certs=certs)
    assert of(cose(), certs={"expression": f"{pem_of(ROOT)!r}"})
    assert not of(jws(), certs=other)
    later = NOW + timedelta(days=2)
    tsa, another = {"value": pem_of(WORLD.tsa_root)}, {"expression": f"{pem_of(World().tsa_root)!r}"}
    assert of(jws(stamped=True), later, certs=certs, tsaCerts=tsa)
    assert not of(jws(stamped=True), later, certs=certs)
    assert not of(jws(), certs=certs, tsaCerts=tsa)  # it needs a timestamp then
    assert not of(jws(stamped=True), later, certs=certs, tsaCerts=another)
