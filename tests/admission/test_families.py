"""Webhooks as Kyverno lays them out: what the API server asks, of which policies, where and when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from custody.admission.configuration import configurations
from custody.admission.endpoint import Endpoint
from custody.errors import CustodyError
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from tests.admission.kyverno_webhooks import ANSWERS, CRD, SELECTORS, normal, policies
from tests.admission.test_configuration import DENIED, policy
from tests.admission.test_webhook import admission, review

KYVERNO: dict[str, dict[str, list[list[str]]]] = json.loads(ANSWERS.read_text())
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE", "UPDATE"]}
SECRETS = {**PODS, "resources": ["secrets"], "operations": ["DELETE"]}


def checked(name: str, rule: dict[str, Any] = PODS, kind: str = "ValidatingPolicy", namespace: str = "",
            constraints: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": kind,
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
            "spec": {"matchConstraints": {"resourceRules": [rule], **(constraints or {})},
                     "validations": [{"expression": "false", "message": f"no {name}"}],
                     "autogen": {"podControllers": {"controllers": []}}, **spec}}


def webhooks(*documents: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {hook["name"]: hook for made in configurations("https://x", b"CA", PolicySet.load(documents),
                                                          exclude=("kube-system", "custody"), as_kyverno=True)
            for hook in made["webhooks"]}


@pytest.mark.parametrize("name", KYVERNO)
def test_rules_are_those_of_kyverno_to_the_letter(name: str) -> None:
    """Recorded from its controller."""
    try:
        loaded = PolicySet([policies()[name]], kinds=builtin().with_crds([CRD]))
        made = configurations("https://x", b"CA", loaded, as_kyverno=True)
    except CustodyError:
        return  # test_kyverno_webhooks says which, and why
    ours = {hook["name"].partition(".")[0]: [list(entry) for entry in normal(hook["rules"])]
            for document in made for hook in document["webhooks"]}
    if name[1:].isdigit() and SELECTORS[int(name[1:])] == "Service/status":
        return  # of two groups with this plural it finds one, by chance
    assert ours == KYVERNO[name]


def test_configurations_have_kyvernos_names() -> None:
    made = configurations("https://x", b"CA", PolicySet([DENIED]), as_kyverno=True)
    assert [document["metadata"]["name"] for document in made] == ["kyverno-resource-validating-webhook-cfg"]
    assert made[0]["webhooks"][0]["clientConfig"]["url"] == "https://x/validate/fail"


def test_one_webhook_asks_all_policies_of_a_kind_that_have_no_wishes() -> None:
    made = webhooks(checked("b"), checked("a", SECRETS), checked("c", failurePolicy="Ignore"))
    assert sorted(made) == ["vpol.validate.kyverno.svc-fail", "vpol.validate.kyverno.svc-ignore"]
    hook = made["vpol.validate.kyverno.svc-fail"]
    assert hook["clientConfig"]["url"] == "https://x/vpol/a/b/c"
    assert [(rule["resources"], rule["operations"]) for rule in hook["rules"]] == [
        (["pods"], ["CREATE", "UPDATE"]), (["secrets"], ["DELETE"])]
    assert hook["namespaceSelector"] == {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [name]}
        for name in ("kube-system", "custody")]}


def test_the_api_server_tests_match_conditions_that_it_can() -> None:
    labelled = [{"name": "prod", "expression": "has(object.metadata.labels)"}]
    placed = [{"name": "here", "expression": "namespaceObject.metadata.name == 'x'"}]
    computed = [{"name": "own", "expression": "has(resource.Get('v1', 'configmaps', 'a', 'b').data)"}]
    made = webhooks(checked("a", matchConditions=labelled + placed), checked("b", matchConditions=computed),
                    checked("c", SECRETS, matchConditions=labelled, webhookConfiguration={"timeoutSeconds": 3}))
    fine = "vpol.validate.kyverno.svc-fail-finegrained"
    assert sorted(made) == ["vpol.validate.kyverno.svc-fail", f"{fine}-a", f"{fine}-c"]
    assert "matchConditions" not in made["vpol.validate.kyverno.svc-fail"], "only custody has resource.Get"
    assert made[f"{fine}-a"]["matchConditions"] == [{"name": "autogen-prod", "expression": (
        "!((object.apiVersion == 'v1' && object.kind =='Pod')) || (has(object.metadata.labels))")}]
    assert (made[f"{fine}-c"]["matchConditions"], made[f"{fine}-c"]["timeoutSeconds"]) == (labelled, 3)


def test_a_generating_policy_hears_of_triggers_that_match_no_longer() -> None:
    document = checked("g", SECRETS, "GeneratingPolicy", matchConditions=[{"name": "n", "expression": "true"}],
                       evaluation={"synchronize": {"enabled": True}},
                       generate=[{"expression": "generator.Apply('x', [])"}])
    del document["spec"]["validations"], document["spec"]["autogen"]
    (hook,) = webhooks(document).values()
    assert hook["matchConditions"] == [{"name": "n", "expression": "request.operation != 'CREATE' || (true)"}]
    assert hook["rules"][0]["operations"] == ["CONNECT", "CREATE", "DELETE", "UPDATE"]


def test_a_tenants_policy_is_asked_about_in_its_namespace_alone() -> None:
    """Whatever it denies, it denies nobody else."""
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]}
    tenants = {**policy("all", ["*"]), "kind": "Policy", "metadata": {"name": "all", "namespace": "team"}}
    within = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team"]}
    for hook in webhooks(tenants, checked("v", everything, "NamespacedValidatingPolicy", "team")).values():
        assert hook["namespaceSelector"]["matchExpressions"][0] == within, hook["name"]
    made = webhooks(tenants, DENIED)
    assert within not in made["validate.kyverno.svc-fail"]["namespaceSelector"]["matchExpressions"]


def test_selectors_that_differ_have_webhooks_of_their_own() -> None:
    test = {"objectSelector": {"matchLabels": {"app": "test"}}}
    made = webhooks(checked("a", constraints=test), checked("b"))
    assert len(made) == 2
    assert all(name.startswith("vpol.validate.kyverno.svc-fail-") for name in made)
    assert {hook["clientConfig"]["url"]: hook["objectSelector"] for hook in made.values()} == {
        "https://x/vpol/a": test["objectSelector"], "https://x/vpol/b": {}}


CONDITION = [{"name": "c", "expression": "object.metadata.name != 'x'"}]


def old(name: str, namespace: str = "", conditions: list[dict[str, str]] = CONDITION) -> dict[str, Any]:
    kind = "Policy" if namespace else "ClusterPolicy"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": metadata, "spec": {
        "webhookConfiguration": {"matchConditions": conditions}, "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]},
            "validate": {"message": "no", "pattern": {"data": {"a": "b"}}}}]}}


@pytest.mark.parametrize("documents", [
    (old("a-b-c"), old("b-c", "a")), (old("b-c", "a"), old("c", "a-b")), (old("x" * 250, "a"),),
    (checked("c", kind="NamespacedValidatingPolicy", namespace="a-b", matchConditions=CONDITION),
     checked("b-c", kind="NamespacedValidatingPolicy", namespace="a", matchConditions=CONDITION))])
def test_names_of_webhooks_are_names_and_nobody_elses(documents: tuple[dict[str, Any], ...]) -> None:
    hooks = webhooks(*documents)
    assert len(hooks) == len(documents)
    assert all(len(name) <= 253 and name.islower() for name in hooks)
    assert len({hook["clientConfig"]["url"] for hook in hooks.values()}) == len(documents)


@pytest.mark.parametrize("conditions", [
    CONDITION * 2, [{**CONDITION[0], "name": "no-noise"}], [{**CONDITION[0], "name": "a b"}],
    [{**CONDITION[0], "name": "A/c"}], [{**CONDITION[0], "name": "c" * 64}],
    [{**CONDITION[0], "name": f"c{at}"} for at in range(64)]])
def test_conditions_that_the_api_server_would_not_take_are_the_policys_to_judge(conditions: list[Any]) -> None:
    for document in (old("p", conditions=conditions), checked("p", SECRETS, matchConditions=conditions)):
        hook, = webhooks(document).values()
        assert "matchConditions" not in hook
        assert hook["clientConfig"]["url"].endswith("/p")


@pytest.mark.parametrize("labels", [{"a": "b c"}, {"a b": "c"}, {"a": "b" * 64}, {"A/b/c": "d"}, {"a": "-"}])
@pytest.mark.parametrize("selector", ["objectSelector", "namespaceSelector"])
def test_labels_that_nothing_can_have_are_not_asked_by(labels: dict[str, str], selector: str) -> None:
    hook, = webhooks(checked("p", constraints={selector: {"matchLabels": labels}})).values()
    assert hook["objectSelector"] == {}
    assert "matchLabels" not in hook["namespaceSelector"]
    assert hook["namespaceSelector"]["matchExpressions"][0]["values"] == ["kube-system"]


@pytest.mark.parametrize(("field", "written", "asked"), [
    ("operations", ["*", "CREATE"], ["*"]), ("apiGroups", ["*", "apps"], ["*"]), ("apiVersions", ["v1", "*"], ["*"]),
    ("resources", ["*", "configmaps", "pods/status"], ["*", "pods/status"]), ("resources", ["a", "*/*"], ["*/*"]),
    ("resources", ["a/*", "a/b", "c/b"], ["a/*", "c/b"]), ("resources", ["*/b", "a/b", "a"], ["*/b", "a"]),
    ("resources", ["a", "a"], ["a"])])
def test_a_wildcard_stands_alone(field: str, written: list[str], asked: list[str]) -> None:
    hook, = webhooks(checked("p", {**SECRETS, field: written})).values()
    assert hook["rules"][0][field] == asked


@pytest.mark.parametrize("field", ["apiVersions", "resources"])
def test_a_name_that_is_empty_is_refused(field: str) -> None:
    with pytest.raises(CustodyError, match=rf"resourceRules\[0\]\.{field}\[1\]: got \"''\", expected a name"):
        webhooks(checked("p", {**SECRETS, field: ["v1", ""]}))


def test_a_path_asks_the_policies_that_it_names_and_all_where_it_is_an_old_one() -> None:
    webhook = admission(checked("a"), checked("b", webhookConfiguration={"timeoutSeconds": 3}), DENIED)
    body = json.dumps(review()).encode()
    told = {path: json.loads(asyncio.run(webhook.review(body, endpoint=Endpoint.parse(path))))["response"]["status"][
        "message"] for path in ("/vpol/a", "/vpol/b", "/validate/fail", "/vpol/a/b/c")}
    names = {path: {name for name in ("no a", "no b", "never") if name in words} for path, words in told.items()}
    assert names == {"/vpol/a": {"no a"}, "/vpol/b": {"no b"}, "/validate/fail": {"never"},
                     "/vpol/a/b/c": {"no a", "no b", "never"}}
