"""What the selectors of kinds mean, what may be named, and which requests they match."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.kinds import UNCHECKED, Kinds, Selector, builtin
from custody.policy.load import PolicySet
from custody.policy.model import Kind, Request, Resource
from custody.policy.resources import of_crd, of_discovery
from tests.admission.kyverno_webhooks import CRD
from tests.policy.test_load import changed

POD = Kind("Pod")
PODS = Resource("pods")


def naming(*kinds: str, operations: tuple[str, ...] = ()) -> dict[str, Any]:
    return changed("spec/rules/0/match/any/0/resources",
                   {"kinds": [*kinds], **({"operations": [*operations]} if operations else {})})


@pytest.mark.parametrize(("text", "parts"), [
    ("Pod", ("*", "*", "Pod", "")), ("v1/Pod", ("*", "v1", "Pod", "")), ("*/Pod", ("*", "*", "Pod", "")),
    ("apps/v1/Deployment", ("apps", "v1", "Deployment", "")), ("apps/*/Deployment", ("apps", "*", "Deployment", "")),
    ("Pod/exec", ("*", "*", "Pod", "exec")), ("Pod.exec", ("*", "*", "Pod", "exec")),
    ("v1/Pod/exec", ("*", "v1", "Pod", "exec")), ("v1/Pod.exec", ("*", "v1", "Pod", "exec")),
    ("apps/v1/Deployment/scale", ("apps", "v1", "Deployment", "scale")), ("*", ("*", "*", "*", "")),
    ("*/*", ("*", "*", "*", "*")), ("*/exec", ("*", "*", "*", "exec")), ("*/Foo", ("*", "*", "Foo", "")),
    ("networking.k8s.io/v1/Ingress", ("networking.k8s.io", "v1", "Ingress", "")),
    ("v1beta1/Ingress", ("*", "v1beta1", "Ingress", "")), ("*/*/Pod", ("*", "*", "*", "Pod")),
    ("example.com/v1alpha1/Gadget.status", ("example.com", "v1alpha1", "Gadget", "status")),
])
def test_selectors_are_read_as_kyverno_reads_them(text: str, parts: tuple[str, ...]) -> None:
    assert Selector.parse(text) == parts


@pytest.mark.parametrize("text", ["", "/", "a/b/c/d/e", "Pod/", "apps/v1/", "a.b.c.d.e"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match=r"expected Kind, version/Kind or group/version/Kind"):
        Selector.parse(text)


def asked(kind: str, subresource: str = "", resource: Resource | None = PODS, operation: str = "CONNECT",
          **of: str) -> Request:
    return builtin().located(Request(operation=operation, kind=Kind(kind, of.get("version", "v1"), of.get("group", "")),
                                     subresource=subresource, resource=resource))


SCALE = {"group": "autoscaling", "version": "v1"}
DEPLOYMENTS = Resource("deployments", "v1", "apps")


@pytest.mark.parametrize(("selector", "request_", "matches"), [
    ("Pod/exec", asked("PodExecOptions", "exec"), True), ("v1/Pod.exec", asked("PodExecOptions", "exec"), True),
    ("Pod/*", asked("PodExecOptions", "exec"), True), ("Pod/*", asked("Pod", "", PODS, "CREATE"), False),
    ("Pod/exec", asked("Pod", "ephemeralcontainers", PODS, "UPDATE"), False),
    ("Pod/*", asked("Pod", "ephemeralcontainers", PODS, "UPDATE"), True),
    ("*/exec", asked("PodExecOptions", "exec"), True),
    ("*/*", asked("PodExecOptions", "exec"), True), ("*", asked("PodExecOptions", "exec"), False),
    ("Pod", asked("PodExecOptions", "exec"), False), ("Pod/attach", asked("PodExecOptions", "exec"), False),
    ("Pod/exec", asked("PodExecOptions", "exec", None), True), ("Pod/exec", asked("Pod", "", PODS, "CREATE"), False),
    ("Pod", asked("Pod", "ephemeralcontainers", PODS, "UPDATE"), True), ("*/*", asked("Pod", "", PODS, "CREATE"), True),
    ("Pod", asked("Pod", "status", PODS, "UPDATE"), False),
    ("Pod/status", asked("Pod", "status", PODS, "UPDATE"), True),
    ("Deployment/scale", asked("Scale", "scale", DEPLOYMENTS, "UPDATE", **SCALE), True),
    ("apps/v1/Deployment/scale", asked("Scale", "scale", DEPLOYMENTS, "UPDATE", **SCALE), True),
    ("StatefulSet/scale", asked("Scale", "scale", DEPLOYMENTS, "UPDATE", **SCALE), False),
    ("*Set/scale", asked("Scale", "scale", Resource("statefulsets", "v1", "apps"), "UPDATE", **SCALE), True),
    ("batch/*/*/scale", asked("Scale", "scale", DEPLOYMENTS, "UPDATE", **SCALE), False),
    ("Pod/eviction", asked("Eviction", "eviction", PODS, "CREATE", group="policy"), True),
    ("ServiceAccount/token", asked("TokenRequest", "token", Resource("serviceaccounts"), "CREATE",
                                   group="authentication.k8s.io"), True),
])
def test_a_subresource_is_matched_by_the_kind_of_its_resource(selector: str, request_: Request, matches: bool) -> None:
    assert Selector.parse(selector).matches(request_) is matches


def test_a_subresource_of_an_unknown_resource_is_an_error_and_not_a_mismatch() -> None:
    request = asked("Scale", "scale", Resource("services", "v1", "serving.knative.dev"), "UPDATE", **SCALE)
    assert request.parent is None
    for selector in ("Service/scale", "serving.knative.dev/v1/Service/scale", "*v*/scale"):
        with pytest.raises(UnsupportedError, match=r"services.serving.knative.dev/v1 is not known"):
            Selector.parse(selector).matches(request)
    # Where the kind does not decide there is nothing to know.
    assert Selector.parse("*/scale").matches(request)
    assert not Selector.parse("apps/v1/Deployment/scale").matches(request)
    assert not Selector.parse("Service/status").matches(request)
    known = builtin().with_crds([CRD]).located(request)
    assert Selector.parse("Service/scale").matches(known)


def test_a_request_that_does_not_say_whose_scale_it_is_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"resource: got 'nothing', expected whose scale it is: deployments"):
        asked("Scale", "scale", None, "UPDATE", **SCALE)


@pytest.mark.parametrize(("kind", "said"), [
    ("pods", "got 'pods', expected a kind of Kubernetes 1.34; did you mean Pod?"),
    ("Pods", "did you mean Pod?"), ("po", "did you mean Pod?"), ("pod", "did you mean Pod?"), ("deploy", "Deployment?"),
    ("Deploymnet", "did you mean Deployment?"), ("IngressRoute", "expected a kind of Kubernetes 1.34"),
    ("PodExecOptions", "did you mean Pod/exec?"),
    ("Pod/exce", "expected a subresource of Pod in Kubernetes 1.34: attach, binding, ephemeralcontainers"),
    ("ConfigMap/scale", "expected a subresource of ConfigMap in Kubernetes 1.34: it has none"),
    ("apps/v1beta1/Deployment", "expected a version that Kubernetes 1.34 serves: apps/v1/Deployment"),
    ("apps/v1/Pod", "expected a kind of Kubernetes 1.34; did you mean v1/Pod?"),
    ("extensions/Deployment", "did you mean apps/v1/Deployment?"), ("v1beta1/Ingress", "networking.k8s.io/v1/Ingress"),
    ("*/exce", "expected a subresource of * in Kubernetes 1.34"), ("apps/v7/*", "expected a version"),
])
def test_unknown_kind_loads(kind: str, said: str) -> None:
    """What can never be asked about is refused by its field, with what may have been meant."""
    with pytest.raises(MalformedError) as refused:
        PolicySet([naming("Pod", kind)])
    assert "spec.rules[0].match.any[0].resources.kinds[1]: " in refused.value.message
    assert said in refused.value.message
    assert "--crd" in str(refused.value.hint) or "--kubeconfig" in str(refused.value.hint)


def test_an_unknown_kind_in_exclude_is_refused_too() -> None:
    document = naming("Pod")
    document["spec"]["rules"][0]["exclude"] = {"any": [{"resources": {"kinds": ["Jobb"]}}]}
    with pytest.raises(MalformedError, match=r"exclude.any\[0\].resources.kinds\[0\]: got 'Jobb'.*did you mean Job\?"):
        PolicySet([document])


def test_kinds_of_other_groups_load_and_custom_resources_come_from_their_definitions() -> None:
    PolicySet([naming("serving.knative.dev/v1/Service", "example.com/*/*", "*.istio.io/v1/Gateway")])
    with pytest.raises(UnsupportedError, match=r"which resources are serving.knative.dev/v1/Service is not known"):
        builtin().targets("serving.knative.dev/v1/Service", "kinds[0]")
    known = builtin().with_crds([CRD])
    assert [target.resource.plural for target in known.targets("serving.knative.dev/v1/Service", "kinds[0]")] == [
        "services"]
    assert [target.resource.group for target in known.targets("Service", "kinds[0]")] == ["", "serving.knative.dev"]
    # Definitions among the policies, and policies and definitions in Lists.
    gadget = json.loads(json.dumps(CRD).replace("serving.knative.dev", "example.com").replace("Service", "Gadget"))
    items = [gadget, naming("Gadget", "Gadget/status")]
    loaded = PolicySet.load([{"apiVersion": "v1", "kind": "List", "items": items}])
    assert [policy.name for policy in loaded.policies] == ["p"]
    assert loaded.kinds.targets("Gadget/status", "kinds[0]")[0].resource.group == "example.com"
    with pytest.raises(MalformedError, match="Gadget"):
        PolicySet([naming("Gadget")])
    PolicySet([naming("Gadget")], kinds=UNCHECKED)


@pytest.mark.parametrize(("change", "said"), [
    ({"spec": {}}, "crds[0]: spec: got"),
    ({"apiVersion": "apiextensions.k8s.io/v1beta1"}, "got 'apiextensions.k8s.io/v1beta1 "),
    ({"spec": {**CRD["spec"], "versions": [{"name": "v1", "served": False}]}}, "got 'none that is served'"),
])
def test_a_definition_that_cannot_be_read_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedError) as refused:
        of_crd({**CRD, **change}, "crds[0]")
    assert said in refused.value.message


@pytest.mark.parametrize(("documents", "said"), [
    ([{"kind": "APIVersions"}], "got 'APIVersions', expected an APIGroupDiscoveryList, which Kubernetes 1.27"),
    ([[]], "got a list"),
    ([{"kind": "APIGroupDiscoveryList", "items": [{"versions": [{}]}]}], "missing required field"),
])
def test_discovery_that_is_not_whole_is_refused(documents: list[Any], said: str) -> None:
    with pytest.raises(MalformedError) as refused:
        of_discovery(documents, "https://k")
    assert said in refused.value.message


def test_discovery_of_an_api_server_replaces_the_table() -> None:
    pods = {"resource": "pods", "responseKind": {"group": "", "version": "v1", "kind": "Pod"}, "scope": "Namespaced",
            "verbs": ["create", "get"], "subresources": [{"subresource": "exec", "verbs": ["create", "get"],
                                                          "responseKind": {"kind": "PodExecOptions"}}]}
    document = {"kind": "APIGroupDiscoveryList", "items": [
        {"metadata": {}, "versions": [{"version": "v1", "resources": [pods]}]}]}
    resources, unknown = of_discovery([document], "https://k")
    assert unknown == frozenset()
    served = Kinds(resources, whole={""}, source="https://k")
    assert [target.operations for target in served.targets("Pod/exec", "x")] == [("CONNECT",)]
    assert served.targets("Pod", "x")[0].operations == ("CREATE",)
    with pytest.raises(CustodyError, match="expected a kind of https://k"):
        served.check("Deployment", "x")


def _group(name: str, kind: str, freshness: str = "Current") -> dict[str, Any]:
    resource = {"resource": kind.lower(), "responseKind": {"group": name, "version": "v1", "kind": kind},
                "verbs": ["create"]}
    version = {"version": "v1", "freshness": freshness, "resources": [resource]}
    return {"metadata": {"name": name}, "versions": [version]}


def _kinds(*groups: dict[str, Any]) -> Kinds:
    resources, unknown = of_discovery([{"kind": "APIGroupDiscoveryList", "items": [*groups]}], "https://k")
    return Kinds(resources, whole={"apps.io"}, source="https://k", unknown=unknown)


def test_an_aggregated_api_that_gives_no_answer_is_left_out_and_unknown() -> None:
    kinds = _kinds(_group("apps.io", "App"), _group("metrics.io", "Metric", "Stale"))
    assert [resource.kind for resource in kinds.resources] == ["App"]
    assert kinds.unknown == kinds.unchecked().unknown == kinds.with_crds([CRD]).unknown == {("metrics.io", "v1")}
    kinds.check("Metric", "x")  # who knows
    with pytest.raises(CustodyError, match="expected a kind of https://k"):
        kinds.check("apps.io/v1/Metric", "x")
    with pytest.raises(CustodyError, match="expected a kind of https://k"):
        _kinds(_group("apps.io", "App")).check("Metric", "x")


def test_what_was_known_of_it_before_is_recalled_and_nothing_else() -> None:
    before = _kinds(_group("apps.io", "App"), _group("metrics.io", "Metric"), _group("gone.io", "Gone"))
    now = _kinds(_group("apps.io", "App"), _group("metrics.io", "Metric", "Stale")).recalling(before)
    assert [resource.kind for resource in now.resources] == ["App", "Metric"]
    assert now.unknown == {("metrics.io", "v1")}
    assert now.targets("metrics.io/v1/Metric", "x")
    assert not _kinds(_group("apps.io", "App")).recalling(now).find(Selector.parse("Metric"))
