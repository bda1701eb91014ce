"""A ClusterImagePolicy as an ImageValidatingPolicy of policies.kyverno.io, where that can say the same.

Authorities become attestors; one of them must vouch for each image. What has no words there is refused by its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from custody.errors import UnsupportedError
from custody.formats.intoto import predicate_type
from custody.policy.imports.clusterimage import glob_regexp
from custody.policy.migrate.expressions import every, quoted, some

HOLDERS = "images.containers + images.initContainers + images.ephemeralContainers"
_NAME = ("image(ref).registry() + '/' + image(ref).repository() + "
         "(image(ref).digest() != '' ? '@' + image(ref).digest() : ':' + image(ref).tag())")
"""As policy-controller names an image before it compares."""
RESOURCES = ({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/ephemeralcontainers"]},
              {"apiGroups": ["apps"], "apiVersions": ["v1"],
               "resources": ["deployments", "replicasets", "statefulsets", "daemonsets"]},
              {"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs", "cronjobs"]})


def translated(document: dict[str, Any]) -> dict[str, Any]:
    """Of one that loads. Raises UnsupportedError."""
    spec, name = document["spec"], document["metadata"]["name"]
    for field in ("policy", "match"):
        if spec.get(field):
            raise UnsupportedError(f"spec.{field}", "it has no words in an ImageValidatingPolicy here")
    attestors: list[dict[str, Any]] = []
    attestations: dict[str, str] = {}
    conditions = [_authority(authority, at, attestors, attestations)
                  for at, authority in enumerate(spec["authorities"])]
    regexps = [quoted(glob_regexp(entry["glob"])) for entry in spec["images"]]
    wanted = some([f"{text}.matches({regexp})" for regexp in regexps for text in ("ref", f"({_NAME})")])
    made: dict[str, Any] = {
        "validationActions": ["Warn"] if spec.get("mode") == "warn" else ["Deny"],
        "matchConstraints": {"resourceRules": [{**rule, "operations": ["CREATE", "UPDATE"]} for rule in RESOURCES]},
        "autogen": {"podControllers": {"controllers": []}},
        "matchImageReferences": [{"expression": wanted}],
        "validationConfigurations": {"mutateDigest": True, "verifyDigest": False, "required": False}}
    if not attestors:
        raise UnsupportedError("spec.authorities", "all are static, and an ImageValidatingPolicy must have an attestor")
    made["attestors"] = attestors
    if attestations:
        made["attestations"] = [{"name": called, "intoto": {"type": kind}} for kind, called in attestations.items()]
    made["validations"] = [{"expression": f"({HOLDERS}).all(image, {some(conditions)})",
                            "message": f"no authority of {name} vouches for an image"}]
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy",
            "metadata": {field: value for field, value in document["metadata"].items()
                         if field in ("name", "labels", "annotations")}, "spec": made}


def _authority(authority: dict[str, Any], at: int, attestors: list[dict[str, Any]],
               attestations: dict[str, str]) -> str:
    """What it demands of `image`."""
    where = f"spec.authorities[{at}]"
    if static := authority.get("static"):
        return "true" if static["action"] == "pass" else "false"
    for field in ("rfc3161timestamp", "signatureFormat"):
        if authority.get(field) not in (None, "legacy"):
            raise UnsupportedError(f"{where}.{field}", "it has no words in an ImageValidatingPolicy")
    sources = authority.get("source") or [{}]
    if len(sources) > 1:
        raise UnsupportedError(f"{where}.source", "an attestor has one source")
    logged = "keyless" in authority if authority.get("ctlog") is None else bool(authority["ctlog"].get("url"))
    cosign: dict[str, Any] = {"ctlog": {"insecureIgnoreTlog": not logged}}
    if key := authority.get("key"):
        if key.get("secretRef"):
            raise UnsupportedError(f"{where}.key.secretRef", "an attestor's key is a text or in a KMS",
                                   hint="write the key into data")
        cosign["key"] = {field: key[field] for field in ("data", "kms", "hashAlgorithm") if key.get(field)}
    else:
        keyless = authority["keyless"]
        cosign["keyless"] = {"identities": [dict(identity) for identity in keyless["identities"]]}
        if certificate := keyless.get("ca-cert"):
            cosign["keyless"]["roots"] = certificate["data"]
        if keyless.get("insecureIgnoreSCT"):
            cosign["ctlog"]["insecureIgnoreSCT"] = True
    if sources[0].get("signaturePullSecrets"):
        raise UnsupportedError(f"{where}.source[0].signaturePullSecrets",
                               "they lie in the pod's namespace, and an attestor's in Kyverno's")
    if sources[0].get("oci"):
        cosign["source"] = {"repository": sources[0]["oci"]}
    attestor = f"authority{at}"
    attestors.append({"name": attestor, "cosign": cosign})
    return every([*_attested(authority, where, attestor, attestations)]
                 or [f"verifyImageSignatures(image, [attestors.{attestor}]) > 0"])


def _attested(authority: dict[str, Any], where: str, attestor: str, attestations: dict[str, str]) -> Iterator[str]:
    for at, attestation in enumerate(authority.get("attestations") or ()):
        if attestation.get("policy"):
            raise UnsupportedError(f"{where}.attestations[{at}].policy", "Rego is not said in CEL by custody")
        called = attestations.setdefault(predicate_type(attestation["predicateType"]),
                                         f"attestation{len(attestations)}")
        yield f"verifyAttestationSignatures(image, attestations.{called}, [attestors.{attestor}]) > 0"
