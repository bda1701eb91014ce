"""The webhook over TLS: shapes of reviews and answers, deadlines, and bytes that are none."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from custody.admission import judging
from custody.admission.certs import ServingCertificate
from custody.admission.configuration import configurations, to_yaml
from custody.admission.endpoint import registration
from custody.admission.webhook import Admission
from custody.errors import CustodyError, MalformedError, NetworkError
from custody.evidence.model import EvidenceSet
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Request
from custody.server.admission import AdmissionApp
from tests.policy.test_lint import images
from tests.policy.test_load import POLICY, changed
from tests.serving import served

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


def review(image: str = "ghcr.io/myorg/app:1", **request: Any) -> dict[str, Any]:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {
        "containers": [{"name": "c", "image": image}]}}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "name": "web",
        "namespace": "default", "userInfo": {"username": "ann", "groups": ["dev"]}, "object": pod, "oldObject": None,
        "dryRun": False, "resource": {"group": "", "version": "v1", "resource": "pods"}, "options": None, **request}}


async def nothing(request: Request, names: list[str]) -> Mapping[str, EvidenceSet]:
    return {}


def ask(admission: Admission, asked: dict[str, Any], *, mutate: bool = False, seconds: float = 10) -> dict[str, Any]:
    body = json.dumps(asked).encode()
    found: dict[str, Any] = json.loads(asyncio.run(admission.review(body, mutate=mutate, seconds=seconds)))
    return found


def admission(*documents: dict[str, Any], gather: Any = nothing) -> Admission:
    return Admission(PolicySet(documents or [POLICY]), gather, lambda: NOW)


@pytest.mark.parametrize("version", ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"])
def test_allowed(version: str) -> None:
    answer = ask(admission(), {**review(), "apiVersion": version})
    digest = answer["response"]["auditAnnotations"].pop("inputs-digest")
    assert digest.startswith("sha256:")
    assert answer == {"apiVersion": version, "kind": "AdmissionReview",
                      "response": {"uid": "u-1", "allowed": True, "auditAnnotations": {"verdict": "allowed"}}}


def test_denied_in_kyvernos_shape_without_the_request() -> None:
    answer = ask(admission(), review("docker.io/evil:1"))
    assert answer["response"]["allowed"] is False
    assert answer["response"]["status"] == {
        "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "\n\nresource Pod/default/web was blocked due to the following policies \n\np:\n"
                   "  r: 'validation error: m. rule r failed at path /spec/containers/0/image/'\n"}
    assert "request" not in answer
    assert "evil" not in json.dumps(answer)


def test_audit_warns() -> None:
    answer = ask(admission(changed("spec/validationFailureAction", "Audit")), review("docker.io/evil:1"))
    assert answer["response"]["allowed"] is True
    assert answer["response"]["warnings"] == [
        "policy p.r: validation error: m. rule r failed at path /spec/containers/0/image/"]


PINNING = images()
PINNING["spec"]["rules"][0]["verifyImages"][0].pop("attestors")
PINNING["spec"]["rules"][0]["verifyImages"][0]["required"] = False


async def found(request: Request, names: list[str]) -> Mapping[str, EvidenceSet]:
    return {name: EvidenceSet(subject=DIGEST) for name in names}


def test_mutation_is_a_json_patch_and_nothing_else_is_judged_there() -> None:
    other = changed("spec/rules/0/validate/pattern", {"spec": {"hostNetwork": True}})
    answer = ask(admission(PINNING | {"metadata": {"name": "pin"}}, other, gather=found), review(), mutate=True)
    assert answer["response"]["allowed"] is True
    assert answer["response"]["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(answer["response"]["patch"])) == [
        {"op": "replace", "path": "/spec/containers/0/image", "value": f"ghcr.io/myorg/app:1@{DIGEST}"}]
    denied = ask(admission(images(), gather=found), review(), mutate=True)["response"]
    assert denied["allowed"] is False
    assert "patch" not in denied


def test_evidence_that_comes_too_late_or_not_at_all() -> None:
    async def slow(request: Request, names: list[str]) -> Mapping[str, EvidenceSet]:
        await asyncio.sleep(30)
        return {}

    async def broken(request: Request, names: list[str]) -> Mapping[str, EvidenceSet]:
        raise NetworkError("registry: connection refused")

    begun = datetime.now(UTC)
    late = ask(admission(images(), gather=slow), review(), seconds=0.4)["response"]
    assert datetime.now(UTC) - begun < timedelta(seconds=0.4)
    assert late["allowed"] is False
    assert "unverifiable: gather: not gathered within 0.3 s" in " ".join(late["status"]["message"].split())
    down = ask(admission(images(), gather=broken), review())["response"]
    assert "unverifiable: gather: registry: connection" in " ".join(down["status"]["message"].split())


def test_delete_gathers_nothing() -> None:
    answer = ask(admission(images()), review(operation="DELETE", object=None, oldObject=review()["request"]["object"]))
    assert answer["response"]["allowed"] is True


def test_updates_that_change_nothing_are_let_through() -> None:
    old = review("docker.io/evil:1")["request"]["object"]
    good = review()["request"]["object"]
    strict = changed("spec/rules/0/validate/allowExistingViolations", False)
    for before, policy, allowed in ((old, POLICY, True), (good, POLICY, False), (old, strict, False)):
        asked = review("docker.io/evil:1", operation="UPDATE", oldObject=before)
        assert ask(admission(policy), asked)["response"]["allowed"] is allowed


@pytest.mark.parametrize(("change", "words"), [
    ({"kind": "Review"}, "AdmissionReview with a request"), ({"apiVersion": "v1"}, "AdmissionReview with a request"),
    ({"request": None}, "AdmissionReview with a request"), ({"request": {"uid": "u"}}, "kind"),
    ({"request": {**review()["request"], "operation": "PATCH"}}, "CREATE, UPDATE, DELETE or CONNECT"),
    ({"request": {**review()["request"], "object": []}}, "object")])
def test_what_is_no_review(change: dict[str, Any], words: str) -> None:
    with pytest.raises(MalformedError) as caught:
        ask(admission(), {**review(), **change})
    assert words in caught.value.message


JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
                        ["containers", "image", "name", "initContainers", "metadata", "spec"]), inner, max_size=3),
                    max_leaves=10)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "x"]), JSON),
       st.sampled_from(["CREATE", "UPDATE", "DELETE"]))
def test_any_object_has_an_answer(document: dict[str, Any], operation: str) -> None:
    asked = review(object=document, oldObject=document, operation=operation)
    for mutate in (False, True):
        assert ask(admission(POLICY, PINNING | {"metadata": {"name": "q"}}, gather=found), asked, mutate=mutate)


@given(st.binary(max_size=50), st.integers(0, 400))
def test_any_bytes_are_a_review_or_malformed(noise: bytes, at: int) -> None:
    body = json.dumps(review()).encode()
    for data in (noise, body[:at] + noise + body[at + len(noise):], b'{"a":' * 5000):
        try:
            asyncio.run(admission().review(data, mutate=False))
        except CustodyError:
            pass


def test_over_tls_with_its_own_certificate(tmp_path: Path) -> None:
    certificate = ServingCertificate(tmp_path, ["127.0.0.1", "custody.custody.svc"])
    now = datetime.now(UTC)
    assert certificate.ensure(now)
    assert not certificate.ensure(now)
    app = AdmissionApp()
    context = ssl.create_default_context(cadata=certificate.ca_bundle.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on

    def call(url: str, data: bytes | None = None) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data), context=context, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    body = json.dumps(review()).encode()
    with served(app, certificate=certificate.certificate, key=certificate.key) as url:
        assert call(f"{url}/healthz") == (200, b"ok")
        assert call(f"{url}/readyz")[0] == 503
        assert call(f"{url}/validate", body)[0] == 503
        app.admission = admission()
        assert call(f"{url}/readyz") == (200, b"ok")
        assert json.loads(call(f"{url}/validate?timeout=10s", body)[1])["response"]["allowed"] is True
        assert call(f"{url}/validate")[0] == 405
        assert call(f"{url}/elsewhere", body)[0] == 404
        assert call(f"{url}/validate", b"{}")[0] == 400
        assert call(f"{url}/validate", b" " * (8 * 1024 * 1024 + 1))[0] == 413


def test_certificates_are_renewed_under_the_same_authority(tmp_path: Path) -> None:
    certificate = ServingCertificate(tmp_path, ["127.0.0.1"])
    certificate.ensure(NOW)
    authority, first = certificate.ca_bundle, certificate.certificate.read_bytes()
    assert not certificate.ensure(NOW + timedelta(days=59))
    assert certificate.ensure(NOW + timedelta(days=61))
    assert certificate.ca_bundle == authority
    assert certificate.certificate.read_bytes() != first
    assert ServingCertificate(tmp_path, ["other.example"]).ensure(NOW + timedelta(days=61))
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("ca.key", "tls.key")] == [0o600, 0o600]
    leaf = x509.load_pem_x509_certificate(certificate.certificate.read_bytes())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))


def test_webhook_configurations() -> None:
    pinning = {**PINNING["spec"], "webhookTimeoutSeconds": 7}
    none = {"annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}}
    policies = PolicySet([changed("spec/webhookTimeoutSeconds", 7) | {"metadata": {"name": "p", **none}},
                          PINNING | {"metadata": {"name": "pin", **none}, "spec": pinning}])
    mutating, validating = yaml.safe_load_all(to_yaml(configurations("https://10.0.0.1:9443/", b"CA", policies)))
    assert mutating["kind"] == "MutatingWebhookConfiguration"
    hook = validating["webhooks"][0]
    made_for = registration(policies.policies)
    assert hook["clientConfig"] == {"url": f"https://10.0.0.1:9443/validate/all/any/{made_for}", "caBundle": "Q0E="}
    assert hook["name"] == "validate.custody.internal"
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Fail", 7, "None")
    assert hook["rules"] == [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                              "scope": "Namespaced", "resources": ["pods", "pods/ephemeralcontainers"]}]
    assert hook["namespaceSelector"]["matchExpressions"][0]["values"] == ["kube-system", "custody"]


# ── hostile reviews ─────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("user", [None, {}, {"username": "ann", "groups": None, "extra": None},
                                  {"username": "ann", "extra": {"scopes": None, "other": ["a"]}}])
def test_a_user_as_go_writes_one_with_null_lists_is_no_http_error(user: Any) -> None:
    assert ask(admission(), review(userInfo=user))["response"]["allowed"] is True
    assert ask(admission(), review("docker.io/evil:1", userInfo=user))["response"]["allowed"] is False


def test_a_thousand_images_in_a_small_pod_are_judged_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def watching(*given: Any, **named: Any) -> Any:
        threads.append(threading.current_thread().name)
        return decide(*given, **named)

    monkeypatch.setattr(judging, "decide", watching)
    asked = review()
    asked["request"]["object"]["spec"]["containers"] = [{"name": f"c{at}", "image": f"a{at}"} for at in range(1000)]
    assert len(json.dumps(asked)) < 40_000
    assert ask(admission(), asked)["response"]["allowed"] is False
    assert ask(admission(), review())["response"]["allowed"] is True
    assert [name.startswith("decide") for name in threads] == [True, False]


_ODD: list[Any] = [
    None, True, 0, -1, 2**64, 10**40, 1.5, "", "\u200b", "\x00", "\U0001d518", "{{ request.object }}", "$(./../x)", [],
    {}, [[]], [{}], {"": ""}, [None], {"name": None}, "[::1]:5/x", "%2e", "9" * 400, {"~/": 1}, ["a", 1]]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from _paths(inner, (*path, key))


def _mutated(document: Any, dice: Random) -> None:
    """One part of an object is left out, doubled, renamed or made something else."""
    path = dice.choice([path for path in _paths(document) if path])
    for key in path[:-1]:
        document = document[key]
    match dice.randrange(4), document:
        case 0, dict():
            document.pop(path[-1])
        case 1, list():
            document.append(copy.deepcopy(document[path[-1]]))
        case 2, dict():
            document[dice.choice(["x", "~", "a/b", "spec", "image"])] = document.pop(path[-1])
        case _:
            document[path[-1]] = copy.deepcopy(dice.choice(_ODD))


def test_every_mutated_object_is_answered_with_a_reason() -> None:
    rules = [{"name": f"r{at}", "match": {"any": [{"resources": {"kinds": ["*/*"]}}]}, "validate": validate}
             for at, validate in enumerate([
                 {"message": "no {{ request.object.metadata.name }}", "deny": {"conditions": {"any": [
                     {"key": "{{ images.containers.*.registry }}", "operator": "AnyIn", "value": ["evil.example"]}]}}},
                 {"message": "m", "pattern": {"metadata": {"labels": {"a*": "?*"}}}},
                 {"message": "m", "deny": {"conditions": {"any": [
                     {"key": "{{ length(request.object.spec.volumes) }}", "operator": "GreaterThan", "value": 5}]}}}])]
    rules.append({"name": "pods", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                  "validate": {"podSecurity": {"level": "restricted"}}})
    judge = admission(images(), changed("metadata/name", "q") | {"spec": {
        "validationFailureAction": "Enforce", "rules": rules}})
    dice = Random(8)
    operations = ["CREATE", "UPDATE", "DELETE", "CONNECT"]

    async def main() -> None:
        for _ in range(1500):
            asked = review(operation=dice.choice(operations), subResource=dice.choice(["", "exec", "resize", "odd"]))
            request = asked["request"]
            request["object"]["spec"]["volumes"] = [{"name": "v", "image": {"reference": "x:1"}}]
            if request["operation"] != "CREATE":
                request["oldObject"] = json.loads(json.dumps(request["object"]))
            for part in ("object", "oldObject"):
                for _ in range(dice.randint(0, 3) if request[part] else 0):
                    _mutated(request[part], dice)
            for mutate in (True, False):
                said = json.loads(await judge.review(json.dumps(asked).encode(), mutate=mutate))["response"]
                assert said["uid"] == "u-1"
                assert said["allowed"] is True or said["status"]["message"].strip()
                assert "internal error" not in json.dumps(said)

    asyncio.run(main())


# attack/parse-yaml-holds-webhook

_PARSED = {
    "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "parsed"}, "spec": {
        "background": False, "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {
                "failureAction": "Enforce", "message": "no", "deny": {"conditions": {"all": [{
                    "key": "{{ parse_yaml(request.object.metadata.annotations.conf).x || '' }}",
                    "operator": "Equals", "value": "bad"}]}}}}]}}


def test_parse_yaml_holds_webhook() -> None:
    """Annotations of 256 KB spend the budget before they are read, and small ones beside them are judged."""
    judging = admission(_PARSED)

    def annotated(text: str) -> bytes:
        asked = review()
        asked["request"]["object"]["metadata"]["annotations"] = {"conf": text}
        return json.dumps(asked).encode()

    texts = ["a: [" + "x," * 128_000 + "]"] * 4 + ["x: good", "x: bad"]

    async def together() -> list[dict[str, Any]]:
        answers = await asyncio.gather(*(judging.review(annotated(text), mutate=False, seconds=10) for text in texts))
        return [json.loads(answer)["response"] for answer in answers]

    *large, good, bad = asyncio.run(together())
    for answer in large:
        assert not answer["allowed"]
        assert "more steps than its budget" in answer["status"]["message"]
    assert good["allowed"]
    assert not bad["allowed"]
    assert "no" in bad["status"]["message"]
