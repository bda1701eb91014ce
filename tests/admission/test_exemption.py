"""Namespaces that Gatekeeper's policies leave alone: who may be, what the API server is told, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custody.admission.configuration import configurations
from custody.admission.endpoint import BESIDE, GATEKEEPERS, Endpoint
from custody.admission.exemption import LABEL, Exemption
from custody.errors import MalformedError
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.server.admission import AdmissionApp
from policylang.cel.kubernetes.environment import admission as admission_variables
from tests.admission.test_answers import posted
from tests.admission.test_configuration import policy
from tests.admission.test_webhook import admission
from tests.policy.gatekeeper.world import constraint, template

EXEMPT = Exemption(("monitoring",), ("kube-",), ("-system",))
PODS = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}
BOTH = [template(), constraint(match=PODS), policy("kyvernos", ["Pod"])]


def hooks(*documents: dict[str, Any], exempt: Exemption = EXEMPT, **options: Any) -> dict[str, dict[str, Any]]:
    return {hook["name"].removesuffix(".custody.internal"): hook
            for made in configurations("https://x", b"CA", PolicySet.load(documents), exempt=exempt, **options)
            for hook in made["webhooks"]}


@pytest.mark.parametrize(("namespace", "named"), [
    ("monitoring", True), ("kube-public", True), ("kube-", True), ("gatekeeper-system", True), ("-system", True),
    ("monitoring2", False), ("kube", False), ("system", False), ("shop", False), ("", False)])
def test_which_namespaces_are_named(namespace: str, named: bool) -> None:
    assert EXEMPT.names_it(namespace) is named
    assert Exemption().names_it(namespace) is False


@pytest.mark.parametrize(("flag", "given", "got"), [
    ("--exempt-namespace", (["kube-*"], [], []), "kube-*"), ("--exempt-namespace", ([""], [], []), ""),
    ("--exempt-namespace", (["*"], [], []), "*"), ("--exempt-namespace", (["Shop"], [], []), "Shop"),
    ("--exempt-namespace-prefix", ([], [""], []), ""), ("--exempt-namespace-prefix", ([], ["a/"], []), "a/"),
    ("--exempt-namespace-suffix", ([], [], [""]), ""), ("--exempt-namespace-suffix", ([], [], ["x_"]), "x_"),
    ("exempt_namespaces", ([], [], [], ["*"]), "*"), ("exempt_namespaces", ([], [], [], ["a*b"]), "a*b"),
    ("exempt_namespaces", ([], [], [], ["*a*"]), "*a*")])
def test_what_names_no_namespace_is_refused_by_the_flags_name(flag: str, given: Any, got: str) -> None:
    """An empty prefix, or a star alone, would exempt all."""
    with pytest.raises(MalformedError) as caught:
        Exemption.of(*given)
    assert caught.value.message.startswith(f"{flag}: got {got!r}, expected ")


def test_flags_and_the_setting_together() -> None:
    exempt = Exemption.of(["a", "a"], ["kube-"], ["-b"], ["c", "kube-*", "*-d"])
    assert exempt == (("a", "c"), ("kube-",), ("-b", "-d"))
    assert exempt.words == "a, c, kube-*, *-b, *-d"
    assert not Exemption.of([], [], [])


def test_gatekeepers_policies_alone_leave_them_alone() -> None:
    made = hooks(*BOTH)
    assert list(made) == ["validate-beside-fail-10", "validate-gatekeeper-fail-10",
                          "labelled-validate-gatekeeper-fail-10", "check-ignore-label.gatekeeper.sh"]
    excluded = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "custody"]}
    chosen = {name: hook["namespaceSelector"]["matchExpressions"] for name, hook in made.items()}
    assert chosen == {
        "validate-beside-fail-10": [excluded], "check-ignore-label.gatekeeper.sh": [excluded],
        "validate-gatekeeper-fail-10": [{"key": LABEL, "operator": "DoesNotExist"}, excluded],
        "labelled-validate-gatekeeper-fail-10": [{"key": LABEL, "operator": "Exists"}, excluded]}
    assert [name for name in made if "matchConditions" in made[name]] == ["labelled-validate-gatekeeper-fail-10"]
    [condition] = made["labelled-validate-gatekeeper-fail-10"]["matchConditions"]
    assert condition["expression"].endswith('.exists(name, name != "" && !(name in ["monitoring"] || '
                                            'name.startsWith("kube-") || name.endsWith("-system")))')


CONDITION = admission_variables().compile(EXEMPT.unnamed()["expression"])


def about(plural: str, name: str = "", *, namespace: str | None = None, operation: str = "CREATE",
          group: str = "") -> bool:
    """What the API server finds of a request: without a namespace the field is absent (omitempty)."""
    request = {"operation": operation, "resource": {"group": group, "version": "v1", "resource": plural},
               **({"namespace": namespace} if namespace else {}), **({"name": name} if name else {})}
    made = {"kind": "x", "metadata": {**({"name": name} if name else {"generateName": "kube-"})}}
    return bool(CONDITION(request=request, object=None if operation == "DELETE" else made, oldObject=None))


@pytest.mark.parametrize(("request_", "asked"), [
    ({"plural": "pods", "name": "a", "namespace": "shop"}, True),
    ({"plural": "pods", "namespace": "shop"}, True),
    ({"plural": "pods", "name": "a", "namespace": "shop", "operation": "DELETE"}, True),
    ({"plural": "pods", "name": "a", "namespace": "kube-public"}, False),
    ({"plural": "namespaces", "name": "shop", "namespace": "shop"}, True),
    ({"plural": "namespaces", "name": "monitoring", "namespace": "monitoring"}, False),
    # The name was made by the API server: it is the object's, and not the request's.
    ({"plural": "namespaces", "name": "shop-x7k2p"}, True), ({"plural": "namespaces", "name": "kube-x7k2p"}, False),
    ({"plural": "namespaces"}, False), ({"plural": "namespaces", "operation": "DELETE"}, False),
    ({"plural": "namespaces", "name": "shop", "group": "x.io"}, False),
    ({"plural": "clusterroles", "name": "shop", "group": "rbac.authorization.k8s.io"}, False),
    ({"plural": "clusterroles", "group": "rbac.authorization.k8s.io"}, False),
    ({"plural": "clusterroles", "name": "shop", "operation": "DELETE"}, False)])
def test_who_is_asked_about_by_the_webhook_of_labelled_namespaces(request_: dict[str, Any], asked: bool) -> None:
    """It never errs, which would refuse. What lies in no namespace is asked about by the one beside it."""
    assert about(**request_) is asked


def test_without_the_flags_the_label_does_nothing() -> None:
    made = hooks(*BOTH, exempt=Exemption())
    assert list(made) == ["validate"]
    assert LABEL not in json.dumps(made)


def test_mutators_leave_them_alone_too() -> None:
    mutator = {"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "AssignMetadata", "metadata": {"name": "owner"},
               "spec": {"match": PODS, "location": "metadata.labels.owner", "parameters": {"assign": {"value": "x"}}}}
    made = hooks(mutator)
    assert list(made) == ["mutate-gatekeeper-fail-10", "labelled-mutate-gatekeeper-fail-10",
                          "check-ignore-label.gatekeeper.sh"]
    assert made["labelled-mutate-gatekeeper-fail-10"]["reinvocationPolicy"] == "IfNeeded"


@pytest.mark.parametrize("as_kyverno", [False, True])
def test_the_label_is_guarded_where_no_policy_knows_it(as_kyverno: bool) -> None:
    made = hooks(policy("kyvernos", ["Pod"]), as_kyverno=as_kyverno)
    assert LABEL not in json.dumps(list(made.values())[:-1])
    check = made["check-ignore-label.gatekeeper.sh"]
    assert (check["failurePolicy"], check["matchPolicy"], check["clientConfig"]["url"]) == (
        "Fail", "Exact", "https://x/v1/admitlabel")
    assert check["rules"] == [{"apiGroups": [""], "apiVersions": ["*"], "resources": ["namespaces"],
                               "operations": ["CREATE", "UPDATE"], "scope": "*"}]


def test_each_policy_is_asked_by_one_path_and_all_where_the_path_is_older() -> None:
    webhook = admission(*BOTH)
    loaded = webhook.policies
    endpoints = [Endpoint.parse("/" + hook["clientConfig"]["url"].removeprefix("https://x/"))
                 for name, hook in hooks(*BOTH).items() if name.startswith("validate")]
    asked = {}
    for endpoint in endpoints:
        assert endpoint is not None
        assert Endpoint.parse(f"/{endpoint.path}") == endpoint
        part, current = webhook.parts.asked_by(endpoint)
        assert current
        asked[endpoint.part] = [policy.name for policy in part.policies.policies]
    assert asked == {BESIDE: ["kyvernos"], GATEKEEPERS: ["must-have"]}
    assert sorted(name for names in asked.values() for name in names) == sorted(
        policy.name for policy in loaded.policies)
    webhook.swap(Snapshot(PolicySet.load([*BOTH, policy("more", ["Pod"])])))
    for endpoint in endpoints:
        assert endpoint is not None
        part, current = webhook.parts.asked_by(endpoint)
        assert not current
        assert len(part.policies.policies) == 3


def namespace(name: str = "shop", operation: str = "CREATE", *, kind: str = "Namespace", group: str = "",
              **metadata: Any) -> bytes:
    document = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **metadata}}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "operation": operation, "kind": {"group": group, "version": "v1", "kind": kind}, "name": name,
        "namespace": name, "userInfo": {}, "object": None if operation == "DELETE" else document}}).encode()


def labelled(body: bytes, exempt: Exemption = EXEMPT) -> tuple[int, dict[str, Any]]:
    app = AdmissionApp()
    app.exemption = exempt
    return posted(app, body, path="/v1/admitlabel")


MARKED = {"labels": {LABEL: "no-self-managing"}}


@pytest.mark.parametrize("body", [
    namespace("shop"), namespace("shop", labels={"team": "a"}), namespace("shop", labels=None),
    namespace("monitoring", **MARKED), namespace("kube-node", "UPDATE", **MARKED), namespace("x-system", **MARKED),
    namespace("shop", "DELETE"), namespace("shop", kind="Pod", **MARKED),
    namespace("shop", group="x.io", **MARKED)])
def test_a_namespace_that_may_be_so(body: bytes) -> None:
    status, said = labelled(body)
    assert (status, said["response"]["allowed"]) == (200, True)


@pytest.mark.parametrize("body", [
    namespace("shop", **MARKED), namespace("shop", "UPDATE", **MARKED), namespace("kube", **MARKED),
    namespace("shop", labels={LABEL: ""}), namespace("", generateName="kube-", **MARKED)])
def test_a_namespace_that_may_not_carry_the_label(body: bytes) -> None:
    status, said = labelled(body)
    assert (status, said["response"]["allowed"]) == (200, False)
    assert said["response"]["status"]["message"] == f"Only exempt namespace can have the {LABEL} label"
    assert said["response"]["status"]["code"] == 403


def test_a_review_without_its_namespace_is_refused_and_no_review_is_an_error() -> None:
    body = json.loads(namespace("shop"))
    body["request"]["object"] = None
    assert labelled(json.dumps(body).encode())[1]["response"]["status"]["message"] == "the review has no Namespace"
    assert labelled(b"{}")[0] == 400
    assert labelled(namespace("monitoring"), Exemption())[1]["response"]["allowed"] is True
    assert labelled(namespace("monitoring", **MARKED), Exemption())[1]["response"]["allowed"] is False
