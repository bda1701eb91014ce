"""`validate.manifests`: an object passes where somebody signed it, and all that can be wrong has its reason.

Messages are those that Kyverno 1.19.1's command line writes for the same inputs, where they are compared whole.
"""

from __future__ import annotations

import base64
import copy
import gzip
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from custody.errors import CustodyError
from custody.evidence.model import facts
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    Authority,
    BlobEvidence,
    Failed,
    ImageEvidence,
    ImageLayers,
    PublicKeyAt,
    Question,
)
from custody.sign.blob import blob_evidence
from custody.sign.trusting import trust_of
from tests.policy.manifestsigning import DOMAIN, annotations, archived, packed, signed, written
from tests.policy.signing import gathered, layer, pem, pem_of
from tests.sign.authority import IDENTITY, ISSUER, NOW, World, new_key

WORLD, OTHER = World(), World()
ROOT = WORLD.trusted_root()
KEY, STRANGER = new_key(), new_key()
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
    "replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
            {"name": "web", "image": "nginx:1.25", "ports": [{"containerPort": 80}]}]}}}}
POLICY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"}, "spec": {
    "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}}
PASSED = ("verified manifest signatures; manifest verification succeeded; verifiedCount 1; requiredCount 1; message "
          "singed by a valid signer: ")
NOT_FOUND = "YAML manifest not found for this resource"
ERROR = "error occurred during manifest verification"


def keys(*keys_there: Any, **more: Any) -> dict[str, Any]:
    return {"attestors": [{"entries": [{"keys": {"publicKeys": pem(key)}} for key in keys_there or (KEY,)]}], **more}


def keyless(**more: Any) -> dict[str, Any]:
    return {"attestors": [{"entries": [{"keyless": {
        "issuer": ISSUER, "subject": IDENTITY, "rekor": {"url": "https://log1.example"}, **more}}]}]}


def policies(manifests: dict[str, Any]) -> PolicySet:
    return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "signed"}, "spec": {
        "rules": [{"name": "signed", "match": {"any": [{"resources": {"kinds": ["*"]}}]},
                   "validate": {"failureAction": "Enforce", "manifests": manifests}}]}}])


def answer(question: Question, known: dict[Question, Answer]) -> Answer:
    if isinstance(question, BlobEvidence):
        return Answered(facts(blob_evidence(question, ROOT, NOW)))
    return known.get(question, Absent())


def judged(manifests: dict[str, Any], resource: dict[str, Any], known: dict[Question, Answer] | None = None,
           **request: Any) -> Decision:
    compiled, answers = policies(manifests), dict[Question, Answer]()
    asked = msgspec.structs.replace(Request.create(resource), **request)
    while True:
        decision = decide(asked, {}, compiled, Context(now=NOW), answers=answers)
        new = [question for question in decision.asks.questions if question not in answers]
        if not new:
            return decision
        answers |= {question: answer(question, known or {}) for question in new}


def said(manifests: dict[str, Any], resource: dict[str, Any], known: dict[Question, Answer] | None = None,
         **request: Any) -> tuple[str, str]:
    result, = judged(manifests, resource, known, **request).results
    return str(result.outcome), result.message


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def failing(detail: str, path: str = ".attestors[0].entries[0].keys") -> tuple[str, str]:
    return "fail", f"manifest verification failed; verifiedCount 0; requiredCount 1; message {path}: {detail}"


def differing(items: str) -> tuple[str, str]:
    return failing(f'failed to verify signature. diff found; {{"items":[{items}]}}')


def replaced(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one field set, or taken away with Ellipsis."""
    made = copy.deepcopy(document)
    at: Any = made
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split("/")]
    for step in steps:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    if value is ...:
        del at[last]
    elif isinstance(last, int) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return made


# ── what passes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_signed_passes() -> None:
    assert said(keys(), signed(CONFIG, KEY)) == ("pass", PASSED)
    assert said(keys(), signed(DEPLOYMENT, KEY)) == ("pass", PASSED)


def test_the_message_may_be_an_archive_and_hold_more_manifests() -> None:
    data = archived({"app/readme.txt": b"x", "app/a.yaml": written(DEPLOYMENT), "app/b.yml": written(POLICY, CONFIG)})
    resource = {**CONFIG, "metadata": {**CONFIG["metadata"], "annotations": annotations(data, KEY)}}
    assert said(keys(), resource) == ("pass", PASSED)


@pytest.mark.parametrize(("path", "value"), [
    ("metadata/namespace", "production"), ("metadata/uid", "1"), ("metadata/managedFields", [{"manager": "m"}]),
    ("spec/template/spec/dnsPolicy", "ClusterFirst"), ("spec/template/spec/restartPolicy", "Always"),
    ("spec/template/spec/containers/0/imagePullPolicy", "IfNotPresent"), ("status", {"replicas": 1}),
    ("spec/template/spec/containers/0/resources", {}), ("spec/template/spec/containers/0/ports/0/protocol", "TCP"),
    ("spec/template/spec/securityContext", {}), ("spec/revisionHistoryLimit", 10),
    ("spec/strategy", {"type": "RollingUpdate"}), ("metadata/annotations/deployment.kubernetes.io~1revision", "2"),
    ("spec/template/spec/containers/0/image", "docker.io/nginx:1.25"), ("metadata/generateName", ""),
    ("metadata/labels", {}), ("metadata/creationTimestamp", None),
])
def test_what_the_api_server_fills_in_may_differ(path: str, value: Any) -> None:
    resource = signed(DEPLOYMENT, KEY)
    if "~1" in path:
        resource["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = value
    else:
        resource = replaced(resource, path, value)
    assert said(keys(), resource) == ("pass", PASSED)


def test_a_pod_as_the_api_server_keeps_it() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
           "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    resource = signed(pod, KEY)
    mount = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    resource["spec"] = {
        "containers": [{"name": "c", "image": "nginx:latest", "imagePullPolicy": "Always", "resources": {},
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                        "volumeMounts": [mount]}],
        "volumes": [{"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"path": "token"}}]}}],
        "serviceAccount": "default", "serviceAccountName": "default", "securityContext": {}, "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority", "enableServiceLinks": True, "schedulerName": "default-scheduler",
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}]}
    assert said(keys(), resource) == ("pass", PASSED)
    resource["spec"]["serviceAccountName"] = "cluster-admin"
    assert '"spec.serviceAccountName"' in said(keys(), resource)[1]


def test_what_nothing_is_kept_of_passes() -> None:
    assert said(keys(), CONFIG, dry_run=True) == ("pass", "allowed because of DryRun request")
    assert judged(keys(), CONFIG, operation="DELETE", old_object=CONFIG).results == ()


# ── what differs ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_object_that_is_not_what_was_signed() -> None:
    def of(data: Any) -> tuple[str, str]:
        return said(keys(), signed(CONFIG, KEY, changes={"data": data}))

    assert of({"a": "2<b>"}) == differing('{"key":"data.a","values":{"after":"2\\u003cb\\u003e","before":"1"}}')
    assert of({"a": "1", "b": "u"}) == differing('{"key":"data.b","values":{"after":"u","before":null}}')
    assert of({}) == differing('{"key":"data.a","values":{"after":null,"before":"1"}}')
    assert of({"a": 1, "c": 2.5, "f": False}) == differing(
        '{"key":"data.a","values":{"after":"(type: float64) %!s(float64=1)","before":"(type: string) 1"}},'
        '{"key":"data.c","values":{"after":2.5,"before":null}},{"key":"data.f","values":{"after":false,"before":null}}')


@pytest.mark.parametrize(("document", "path", "value", "key"), [
    (DEPLOYMENT, "spec/replicas", 3, "spec.replicas"),
    (DEPLOYMENT, "spec/template/spec/containers/0/image", "evil/nginx:1.25", "spec.template.spec.containers.0.image"),
    (DEPLOYMENT, "spec/template/spec/containers/0/command", ["sh"], "spec.template.spec.containers.0.command.0"),
    (DEPLOYMENT, "spec/template/spec/hostNetwork", True, "spec.template.spec.hostNetwork"),
    (DEPLOYMENT, "spec/template/spec/serviceAccountName", "admin", "spec.template.spec.serviceAccountName"),
    (DEPLOYMENT, "metadata/labels", {"x": "y"}, "metadata.labels.x"),
    (CONFIG, "data/x.status", "u", "data.x.status"), (CONFIG, "data/spec.template.status", "u",
                                                      "data.spec.template.status"),
    (CONFIG, "data/a", ..., "data.a"), (CONFIG, "metadata/name", "other", "metadata.name"),
    # An empty map or text says a great deal where it is one of several.
    (POLICY, "spec/egress", [{}], "spec.egress.0"), (POLICY, "spec/ingress/0/from/0/namespaceSelector", {},
                                                     "spec.ingress.0.from.0.namespaceSelector"),
    ({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
      "rules": [{"apiGroups": ["apps"], "resources": ["*"], "verbs": ["get"]}]}, "rules/0/apiGroups/1", "",
     "rules.0.apiGroups.1"),
])
def test_no_other_field_may_differ(document: dict[str, Any], path: str, value: Any, key: str) -> None:
    outcome, message = said(keys(), replaced(signed(document, KEY), path, value))
    assert outcome == "fail"
    assert f'"key":"{key}"' in message


def test_what_moves_from_one_container_to_another_differs() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "image": "a", "securityContext": {"privileged": True}}, {"name": "b", "image": "b"}]}}
    resource = signed(pod, KEY)
    resource["spec"] = {"containers": [{"name": "a", "image": "a"},
                                       {"name": "b", "image": "b", "securityContext": {"privileged": True}}]}
    assert "spec.containers.0.securityContext.privileged" in said(keys(), resource)[1]


def test_keys_with_dots_are_no_paths() -> None:
    odd = {"apiVersion": "a.example/v1", "kind": "Odd", "metadata": {"name": "o"}, "spec": {"x.y": "1"}}
    resource = signed(odd, KEY, changes={"spec": {"x": {"y": "1"}}})
    assert "diff found" in said(keys(), resource)[1]


def test_ignore_fields_is_for_the_objects_that_it_names() -> None:
    resource = signed(CONFIG, KEY, changes={"data": {"a": "9"}})

    def of(**entry: Any) -> str:
        return said(keys(ignoreFields=[{"fields": ["data.a"], **entry}]), resource)[0]

    assert of() == "pass"
    for objects, outcome in (([{"kind": "ConfigMap"}], "pass"), ([{"kind": "Secret"}], "fail"),
                             ([{"kind": "Secret"}, {"kind": "Config*", "name": "settings"}], "pass"),
                             ([{"kind": "ConfigMap", "group": "apps"}], "fail"),
                             ([{"kind": "Secret,ConfigMap", "namespace": "default"}], "pass"),
                             ([{"kind": "ConfigMap", "version": "v1", "group": "-"}], "pass"),
                             ([{"kind": "ConfigMap", "namespace": "x*"}], "fail")):
        assert of(objects=objects) == outcome, objects
    assert said(keys(ignoreFields=[{"fields": ["data.*"]}]), resource)[0] == "pass"
    assert said(keys(ignoreFields=[{"fields": ["data.b"]}]), resource)[0] == "fail"


def test_an_object_of_another_name_is_compared_with_those_of_its_kind() -> None:
    data = written({**CONFIG, "metadata": {"name": "one"}, "data": {"z": "1"}}, {**CONFIG, "metadata": {"name": "two"}})
    resource = {**CONFIG, "metadata": {**CONFIG["metadata"], "annotations": annotations(data, KEY)}}
    assert said(keys(), resource) == differing('{"key":"metadata.name","values":{"after":"settings","before":"two"}}')
    assert said(keys(ignoreFields=[{"fields": ["metadata.name"]}]), resource)[0] == "pass"
    resource["kind"] = "Secret"
    assert said(keys(), resource) == failing(f"{NOT_FOUND}: failed to find a YAML manifest in the gzipped message")


def test_many_manifests_of_other_names_are_not_compared() -> None:
    data = written(*[{"kind": "ConfigMap"}] * 3000)
    resource = {**CONFIG, "data": {str(at): "x" for at in range(40)},
                "metadata": {**CONFIG["metadata"], "annotations": annotations(data, KEY)}}
    assert said(keys(), resource)[0] == "error"
    assert "got '3000 manifests of other names', expected the manifest of this object" in said(keys(), resource)[1]
    few = {**CONFIG, "metadata": {**CONFIG["metadata"], "annotations": annotations(written(
        *[{**CONFIG, "metadata": {"name": str(at)}} for at in range(99)]), KEY)}}
    assert '"key":"metadata.name"' in said(keys(), few)[1]


# ── signatures ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_part_of_the_signature_that_is_missing_or_wrong() -> None:
    whole = signed(CONFIG, KEY)

    def of(part: str, value: str | None) -> tuple[str, str]:
        resource = copy.deepcopy(whole)
        if value is None:
            del resource["metadata"]["annotations"][f"{DOMAIN}/{part}"]
        else:
            resource["metadata"]["annotations"][f"{DOMAIN}/{part}"] = value
        return said(keys(), resource)

    assert of("message", None) == failing("YAML manifest not found for this resource: message not found")
    assert of("signature", None) == failing("failed to verify signature: signature not found")
    assert said(keys(), CONFIG) == failing("YAML manifest not found for this resource: message not found")
    for part, value, words in (
            ("message", "%%%", "YAML manifest not found for this resource: message: got '%%%', expected base64"),
            ("message", packed(b"\t- {"), "expected YAML"),
            ("message", base64.b64encode(b"\x1f\x8b12").decode(), "gzip"),
            ("message", base64.b64encode(gzip.compress(written(CONFIG))[:-9]).decode(), "a cut gzip stream"),
            ("message", packed(archived({}, links={"a.yaml": "/etc/passwd"})), "a symlink a.yaml"),
            ("message", packed(b" " * (5 << 20)), "more than"), ("signature", "%%%", "expected standard base64"),
            ("signature", "", "signature"), ("certificate", "%", "certificate: got '%'"),
            ("bundle", "%", "bundle: got"),
            ("bundle", packed(b"{}"), "bundle"), ("message", packed(written({**CONFIG, "x": 1})), "invalid signature")):
        outcome, message = of(part, value)
        assert outcome == "error", (part, value, message)
        assert message.startswith(f"{ERROR}: .attestors[0].entries[0].keys: "), message
        assert words in message


def test_a_small_message_of_many_bytes_is_not_read() -> None:
    packed_up = encoded(gzip.compress(b"a: " + b"b" * (2 << 20)))
    resource = {**CONFIG, "metadata": {**CONFIG["metadata"], "annotations": {
        **annotations(written(CONFIG), KEY), f"{DOMAIN}/message": packed_up}}}
    assert "got 'more than 1572864 bytes'" in said(keys(), resource)[1]


def test_another_key() -> None:
    assert said(keys(), signed(CONFIG, STRANGER)) == (
        "error", "error occurred during manifest verification: .attestors[0].entries[0].keys: failed to verify "
        'signature: verification failed for 1 signature. all trials: ["[publickey 1/1] [signature 1/1] error: '
        "cosign.VerifyBlobCmd.Exec() returned an error: invalid signature when validating ASN.1 encoded signature\"]")


def test_counts_and_nested_attestors() -> None:
    resource = signed(CONFIG, KEY)
    both = [{"keys": {"publicKeys": pem(STRANGER)}}, {"keys": {"publicKeys": pem(KEY)}}]
    assert said({"attestors": [{"entries": both}]}, resource)[0] == "error"
    assert said({"attestors": [{"count": 1, "entries": both}]}, resource) == ("pass", PASSED)
    twice = {"keys": {"publicKeys": pem(STRANGER) + pem(KEY)}}
    assert said({"attestors": [{"count": 1, "entries": [twice]}]}, resource)[0] == "pass"
    assert said({"attestors": [{"entries": [twice]}]}, resource)[0] == "error"
    nested = {"attestors": [{"entries": [{"attestor": {"count": 1, "entries": both}}]}]}
    assert said(nested, resource)[0] == "pass"
    assert said({"attestors": [{"entries": [{"attestor": {"entries": both}}]}]}, resource)[0] == "error"
    assert said({"attestors": [keys()["attestors"][0], keys(STRANGER)["attestors"][0]]}, resource)[0] == "error"


def test_several_signatures_of_one_message() -> None:
    resource = signed(CONFIG, STRANGER)
    own = annotations(written(CONFIG), KEY, suffix="_1")
    resource["metadata"]["annotations"] |= own
    assert said(keys(), resource) == ("pass", PASSED)
    assert said(keys(STRANGER, KEY), resource)[0] == "pass"
    gap = signed(CONFIG, STRANGER)
    gap["metadata"]["annotations"] |= annotations(written(CONFIG), KEY, suffix="_2")
    assert said(keys(), gap)[0] == "error"
    for at in range(1, 10):
        resource["metadata"]["annotations"] |= annotations(written(CONFIG), STRANGER, suffix=f"_{at}")
    assert "more than 8 signatures" in said(keys(), resource)[1]


def test_annotation_domain() -> None:
    resource = signed(CONFIG, KEY, domain="example.org")
    assert said(keys(annotationDomain="example.org"), resource) == ("pass", PASSED)
    assert said(keys(), resource) == failing("YAML manifest not found for this resource: message not found")


def test_annotations_that_the_object_must_have() -> None:
    def of(value: str) -> tuple[str, str]:
        document = {**CONFIG, "metadata": {**CONFIG["metadata"], "annotations": {"team": value}}}
        entry = {"keys": {"publicKeys": pem(KEY)}, "annotations": {"team": "a"}}
        return said({"attestors": [{"entries": [entry]}]}, signed(document, KEY))

    assert of("a") == ("pass", PASSED)
    assert of("b") == ("error", "error occurred during manifest verification: annotations mismatch: b does not match "
                       "expected value a for key team")


def test_keyless_by_who_signed_when_and_in_which_log() -> None:
    def of(resource: dict[str, Any], **more: Any) -> tuple[str, str]:
        return said(keyless(**more), resource)

    def made(world: World = WORLD, log: World | None = WORLD, **leaf: Any) -> dict[str, Any]:
        key = new_key()
        return signed(CONFIG, key, certificate=world.leaf(key, **leaf), world=log)

    assert of(made()) == ("pass", f"{PASSED}{IDENTITY}")
    assert of(made(sct="none"))[0] == "pass"  # whether a certificate was promised to a log is not asked
    for resource, more, words in (
            (made(), {"subject": "someone@example.com"}, "signer name"),
            (made(), {"issuer": "https://x"}, "issuer mismatch"),
            (made(), {"subject": f"{IDENTITY[:-3]}*"}, "signer name"),  # no wildcards, as in Kyverno
            (made(OTHER), {}, "certificate"), (made(log=None), {}, "log entry"), (made(log=OTHER), {}, "log"),
            (made(at=NOW - timedelta(hours=1)), {}, "certificate"),
            (made(), {"roots": pem_of(OTHER.root)}, "certificate"),
            (signed(CONFIG, KEY), {}, "no key is trusted"),
            (signed(CONFIG, KEY, world=WORLD), {}, "no key is trusted")):
        outcome, message = of(resource, **more)
        assert (outcome, words in message) == ("error", True), message
    changed = made()
    changed["data"] = {"a": "2"}
    assert of(changed) == ("fail", failing("", ".attestors[0].entries[0].keyless")[1] + (
        'failed to verify signature. diff found; {"items":[{"key":"data.a","values":{"after":"2","before":"1"}}]}'))


def test_a_certificate_that_anybody_made_up_is_nobody() -> None:
    """In Kyverno an entry of the log is enough, whoever issued the certificate that it names."""
    key = new_key()
    resource = signed(CONFIG, key, certificate=OTHER.leaf(key), world=WORLD)
    assert said(keyless(), resource)[0] == "error"


def test_a_log_entry_beside_a_keys_signature_must_be_about_it() -> None:
    good = signed(CONFIG, KEY, world=WORLD)
    assert said(keys(), good) == ("pass", PASSED)
    bad = signed(CONFIG, KEY, world=OTHER)
    assert "log" in said(keys(), bad)[1]
    ignoring = {"attestors": [{"entries": [{"keys": {"publicKeys": pem(KEY), "rekor": {"ignoreTlog": True}}}]}]}
    assert said(ignoring, bad) == ("pass", PASSED)


def test_certificates() -> None:
    key = new_key()
    leaf = WORLD.leaf(key, sct="none")
    resource = signed(CONFIG, key)

    def of(**fields: Any) -> tuple[str, str]:
        return said({"attestors": [{"entries": [{"certificates": fields}]}]}, resource)

    chain = pem_of(WORLD.ca, WORLD.root)
    assert of(cert=pem_of(leaf), certChain=chain) == ("pass", PASSED)
    assert of(cert=pem_of(WORLD.leaf(new_key())), certChain=chain)[0] == "error"


def test_keys_in_a_secret_and_of_a_kms() -> None:
    resource = signed(CONFIG, KEY)
    secret = ApiCall("/api/v1/namespaces/ns/secrets/key")
    kept = PublicKeyAt("hashivault://release")
    for entry, question, value in (
            ({"publicKeys": "k8s://ns/key"}, secret, {"data": {"cosign.pub": encoded(pem(KEY).encode())}}),
            ({"kms": "hashivault://release"}, kept, pem(KEY))):
        attestors = {"attestors": [{"entries": [{"keys": entry}]}]}
        assert said(attestors, resource, {question: Answered(value)}) == ("pass", PASSED)
        for wrong in (Absent(), Failed("no network"), Answered(pem(STRANGER)), Answered("")):
            assert said(attestors, resource, {question: wrong})[0] == "error"


# ── in a registry ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_manifests_in_an_image() -> None:
    place = "ghcr.io/myorg/manifests:1"
    digest = layer(KEY).subject
    contents = Answered({"digest": digest, "layers": [encoded(archived({"a.yaml": written(CONFIG)}))]})
    document = {**CONFIG, "metadata": {**CONFIG["metadata"], "namespace": "default"}}
    ignoring = {"publicKeys": pem(KEY), "rekor": {"ignoreTlog": True}}

    def of(resource: dict[str, Any], signer: Any = KEY, *, image: Answer = contents, **more: Any) -> tuple[str, str]:
        manifests = {"attestors": [{"entries": [{"keys": ignoring, **more.pop("entry", {})}]}], **more}
        question = next((question for question in _asks(manifests, resource, {ImageLayers(place, Authority()): image})
                         if isinstance(question, ImageEvidence)), None)
        known: dict[Question, Answer] = {ImageLayers(place, Authority()): image}
        if question is not None:
            assert question.image == f"ghcr.io/myorg/manifests@{digest}"  # and not by the tag, which may move
            known[question] = Answered(facts(gathered([layer(signer)], trust_of(question.authority, ROOT))))
        return said(manifests, resource, known)

    assert of(document, repository=place) == ("pass", PASSED)
    assert of(document, entry={"repository": place}, repository="ghcr.io/elsewhere/x") == ("pass", PASSED)
    named = {**document, "metadata": {**document["metadata"], "annotations": {f"{DOMAIN}/resourceBundleRef": place}}}
    assert of(named) == ("pass", PASSED)
    assert "data.a" in of({**document, "data": {"a": "2"}}, repository=place)[1]
    assert of(document, STRANGER, repository=place)[0] == "error"
    assert of(document, image=Absent(), repository=place)[0] == "error"
    assert of(document, image=Failed("no network"), repository=place)[0] == "error"
    secret = {**document, "kind": "Secret"}
    assert of(secret, repository=place) == failing(f"{NOT_FOUND}: failed to find a YAML manifest in the image")
    assert of(document) == failing("YAML manifest not found for this resource: message not found")


def _asks(manifests: dict[str, Any], resource: dict[str, Any], known: dict[Question, Answer]) -> list[Question]:
    decision = decide(Request.create(resource), {}, policies(manifests), Context(now=NOW), answers=known)
    return list(decision.asks.questions)


# ── what the API server would make of it ────────────────────────────────────────────────────────────────────────────


def test_dry_run_compares_with_what_the_api_server_makes_of_the_manifest() -> None:
    resource = signed(DEPLOYMENT, KEY)
    resource["spec"] = {**resource["spec"], "minReadySeconds": 5}
    asked = _asks(keys(dryRun={"enable": True}), resource, {})
    assert [str(question) for question in asked] == [
        "POST /apis/apps/v1/namespaces/kyverno-dryrun/deployments?dryRun=All of the API server"]
    made = {**DEPLOYMENT, "metadata": {"name": "web-dry-run", "namespace": "kyverno-dryrun", "uid": "1"},
            "spec": resource["spec"]}
    known: dict[Question, Answer] = {asked[0]: Answered(made)}
    assert said(keys(dryRun={"enable": True}), resource, known) == ("pass", PASSED)
    assert said(keys(), resource, known)[0] == "fail"
    other = {asked[0]: Answered({**made, "spec": DEPLOYMENT["spec"]})}
    assert "spec.minReadySeconds" in said(keys(dryRun={"enable": True}), resource, other)[1]
    refused: dict[Question, Answer] = {asked[0]: Failed("forbidden")}
    assert "spec.minReadySeconds" in said(keys(dryRun={"enable": True}), resource, refused)[1]
    assert _asks(keys(dryRun={"enable": True, "namespace": "kyverno"}), resource, {}) == []
    assert "namespaces/tried/" in str(_asks(keys(dryRun={"enable": True, "namespace": "tried"}), resource, {})[0])


def test_what_nobody_signed_and_what_is_another_object_is_not_tried_out() -> None:
    """The request would be custody's own: its path is not for the author of an object to write."""
    trying = keys(dryRun={"enable": True})
    changed = {**DEPLOYMENT["spec"], "minReadySeconds": 5}
    assert _asks(trying, {**signed(DEPLOYMENT, STRANGER), "spec": changed}, {}) == []
    assert "invalid signature" in said(trying, {**signed(DEPLOYMENT, STRANGER), "spec": changed})[1]
    elsewhere = {**DEPLOYMENT, "apiVersion": "../api/v1/namespaces/kube-system/services/x/proxy?a="}
    for manifest, key in ((elsewhere, "apiVersion"), (replaced(DEPLOYMENT, "metadata.name", "other"), "metadata.name")):
        resource = {**DEPLOYMENT, "metadata": signed(manifest, KEY)["metadata"] | {"name": "web"}, "spec": changed}
        assert _asks(trying, resource, {}) == []
        assert f'diff found; {{"items":[{{"key":"{key}"' in said(trying, resource)[1]


# ── policies ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("manifests", "words"), [
    ({}, "manifests.attestors: got 'nothing'"), ({"attestors": []}, "manifests.attestors: got 'nothing'"),
    ({"attestors": [{"entries": []}]}, "count None of 0 entries"),
    ({"attestors": [{"count": 3, "entries": [{"keys": {"publicKeys": pem(KEY)}}]}]}, "count 3 of 1 entries"),
    ({"attestors": [{"entries": [{}]}]}, "expected one of keys, keyless"),
    ({"attestors": [{"entries": [{"keys": {"publicKeys": "-----BEGIN PGP PUBLIC KEY BLOCK-----"}}]}]}, "in PEM"),
    (keys(ignoreFields=[{"fields": [""]}]), "ignoreFields[0].fields[0]"),
    (keys(ignoreFields=[{"fields": ["*"]}]), "every field may not differ"),
    (keys(ignoreFields=[{"fields": ["a("]}]), "a field's path"),
    (keys(ignoreFields=[{"fields": ["a"], "objects": [{"kinds": "x"}]}]), "objects[0].kinds"),
    (keys(dryRun={"enabled": True}), "dryRun.enabled"), (keys(digest="x"), "manifests.digest"),
    ({"attestors": [{"entries": [{"attestor": {"entries": []}, "annotations": {"a": "b"}}]}]}, "annotations"),
])
def test_fields_that_nobody_evaluates_are_refused_by_their_path(manifests: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError) as refusal:
        policies(manifests)
    assert words in refusal.value.message


def test_an_update_is_judged_though_the_old_object_was_not_signed() -> None:
    assert judged(keys(), CONFIG, operation="UPDATE", old_object=CONFIG).allowed is False

