"""The webhook configurations: what each rule asks about and no more, one webhook for each failurePolicy and timeout."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.admission.certs import ServingCertificate
from custody.admission.configuration import configurations, to_yaml
from custody.admission.endpoint import Endpoint, division
from custody.cli.run import run
from custody.errors import MalformedError, UnsupportedError
from custody.policy.load import PolicySet
from tests.admission.kyverno_webhooks import CRD, DENY, normal
from tests.admission.test_webhook import admission, ask, review
from tests.policy.test_lint import images
from tests.policy.test_load import changed


def policy(name: str, kinds: list[str], operations: list[str] | None = None, *, validate: dict[str, Any] = DENY,
           **spec: Any) -> dict[str, Any]:
    resources = {"kinds": kinds, **({"operations": operations} if operations else {})}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": "Enforce", "background": False, **spec,
        "rules": [{"name": name, "match": {"any": [{"resources": resources}]}, "validate": validate}]}}


EXEC = policy("deny-exec", ["Pod/exec"], ["CONNECT"], validate={"message": "no exec", "deny": {"conditions": {"all": [
    {"key": "{{ request.namespace }}", "operator": "Equals", "value": "pci"}]}}})
SECRETS = policy("protect", ["Secret"], ["DELETE"])
REPLICAS = policy("replicas", ["Deployment"], ["CREATE", "UPDATE"])
KNATIVE = policy("knative", ["serving.knative.dev/v1/Service"], validate={
    "message": "team is required", "pattern": {"metadata": {"labels": {"team": "?*"}}}})


DENIED = policy("denied", ["Pod"], validate={"message": "never", "deny": {}})


def asked(*documents: dict[str, Any], **options: Any) -> dict[str, list[tuple[str, ...]]]:
    """Group of policies → what is asked about for it."""
    return {endpoint_of(hook).group: normal(hook["rules"])  # type: ignore[misc]
            for found in configurations("https://x", b"CA", PolicySet.load(documents), **options)
            for hook in found["webhooks"]}


def endpoint_of(hook: dict[str, Any]) -> Endpoint:
    endpoint = Endpoint.parse("/" + hook["clientConfig"]["url"].partition("https://x/")[2])
    assert endpoint is not None
    assert hook["name"] == f"{endpoint.group}.custody.internal"
    return endpoint


def test_pod_exec_never_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(EXEC) == {"validate": [("", "v1", "pods/exec", "Namespaced", "CONNECT")]}
    options = {"container": "a", "command": ["sh"], "kind": "PodExecOptions", "apiVersion": "v1"}
    connect = review(kind={"group": "", "version": "v1", "kind": "PodExecOptions"}, operation="CONNECT", object=options,
                     subResource="exec", namespace="pci")
    answer = ask(admission(EXEC), connect)["response"]
    assert answer["allowed"] is False
    assert "no exec" in answer["status"]["message"]
    del connect["request"]["resource"]  # it can be nothing but a pod's
    assert ask(admission(EXEC), connect)["response"]["allowed"] is False
    connect["request"]["namespace"] = "default"
    assert ask(admission(EXEC), connect)["response"]["allowed"] is True
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(EXEC))
    assert run(["policy", "lint", str(file)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "[deprecated]" not in line] == []


def test_kind_group_is_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kind is asked about in its group, or refused where the group's resources are not known."""
    files = {name: tmp_path / f"{name}.yaml" for name in ("policy", "crd")} | {"ca": tmp_path / "ca.crt"}
    files["policy"].write_text(yaml.safe_dump(KNATIVE))
    files["crd"].write_text(yaml.safe_dump(CRD))
    ServingCertificate(tmp_path, ["x"]).ensure(datetime.now(UTC))
    arguments = ["admission", "config", "--url", "https://x:1", "--ca-bundle", str(files["ca"]), "--policy",
                 str(files["policy"])]
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "resources.kinds[0]: which resources are serving.knative.dev/v1/Service is not known" in said.err
    assert "--crd" in said.err
    for more in (["--crd", str(files["crd"])], ["--policy", str(files["crd"])]):
        assert run([*arguments, *more]) == 0
        written = yaml.safe_load(capsys.readouterr().out)
        assert written["webhooks"][0]["rules"] == [{
            "apiGroups": ["serving.knative.dev"], "apiVersions": ["v1"], "resources": ["services"],
            "operations": ["CREATE", "UPDATE"], "scope": "Namespaced"}]


def test_config_union() -> None:
    """No kind is sent for an operation, nor under a failurePolicy or timeout, that only another rule asked for."""
    secrets = [("", "v1", "secrets", "Namespaced", "DELETE")]
    deployments = [("apps", "v1", "deployments", "Namespaced", operation) for operation in ("CREATE", "UPDATE")]
    assert asked(SECRETS, REPLICAS) == {"validate": [*secrets, *deployments]}
    both = {**SECRETS, "spec": {**SECRETS["spec"], "rules": [*SECRETS["spec"]["rules"], *REPLICAS["spec"]["rules"]]}}
    assert asked(both) == asked(SECRETS, REPLICAS)
    slow = policy("slow", ["ConfigMap"], ["CREATE"], webhookTimeoutSeconds=25, failurePolicy="Ignore")
    assert asked(SECRETS, slow, REPLICAS) == {
        "validate-fail-10": [*secrets, *deployments],
        "validate-ignore-25": [("", "v1", "configmaps", "Namespaced", "CREATE")]}
    hooks = {hook["name"]: (hook["failurePolicy"], hook["timeoutSeconds"])
             for hook in configurations("https://x", b"CA", PolicySet([SECRETS, slow]))[0]["webhooks"]}
    assert hooks == {"validate-fail-10.custody.internal": ("Fail", 10),
                     "validate-ignore-25.custody.internal": ("Ignore", 25)}
    assert list(asked(SECRETS, slow, failure_policy="Fail")) == ["validate-all-10", "validate-all-25"]
    assert list(asked(SECRETS, slow, timeout=5)) == ["validate-fail-any", "validate-ignore-any"]
    assert list(asked(SECRETS, slow, timeout=5, failure_policy="Ignore")) == ["validate"]


def test_filters_that_must_all_hold_ask_for_what_all_of_them_name() -> None:
    document = changed("spec/rules/0/match", {"all": [{"resources": {"kinds": ["Secret"]}},
                                                      {"resources": {"operations": ["DELETE"], "names": ["x"]}}]})
    assert asked(document) == {"validate": [("", "v1", "secrets", "Namespaced", "DELETE")]}


def test_policies_that_ask_about_nothing_make_no_webhook() -> None:
    document = policy("none", ["Secret"])
    document["spec"]["rules"][0]["exclude"] = {"any": [{"resources": {"kinds": ["Secret"]}}]}
    assert asked(document) == {}


def test_images_are_asked_about_in_both_and_with_what_they_add_in_ephemeral_containers() -> None:
    entries = [("", "v1", resource, "Namespaced", operation) for resource in ("pods", "pods/ephemeralcontainers")
               for operation in ("CREATE", "UPDATE")]
    policy = images()
    policy["metadata"]["annotations"] = {"pod-policies.kyverno.io/autogen-controllers": "none"}
    assert asked(policy) == {"mutate": entries, "validate": entries}
    policy["metadata"]["annotations"] = {"pod-policies.kyverno.io/autogen-controllers": "Job"}
    jobs = [("batch", "v1", "jobs", "Namespaced", operation) for operation in ("CREATE", "UPDATE")]
    assert asked(policy) == {"mutate": entries + jobs, "validate": entries + jobs}


def test_what_an_api_server_would_not_take_is_refused() -> None:
    with pytest.raises(MalformedError, match="https"):
        configurations("http://x", b"CA")
    with pytest.raises(MalformedError, match=r"failurePolicy: got 'Fial', expected Fail or Ignore"):
        configurations("https://x", b"CA", failure_policy="Fial")
    with pytest.raises(UnsupportedError, match=r"which resources are \*\.example\.com/v1/Widget is not known"):
        asked(policy("w", ["*.example.com/v1/Widget"]))
    assert len(list(yaml.safe_load_all(to_yaml(configurations("https://x", b"CA"))))) == 2


@pytest.mark.parametrize(("path", "endpoint"), [
    ("/validate", Endpoint(False)), ("/mutate", Endpoint(True)),
    ("/validate/fail/any/0123456789ab", Endpoint(False, "Fail", None, "0123456789ab")),
    ("/mutate/ignore/30/0123456789ab", Endpoint(True, "Ignore", 30, "0123456789ab")),
    ("/validate/all/1/0123456789ab", Endpoint(False, None, 1, "0123456789ab")),
    ("/validate/fail", Endpoint(False, layout="validate/fail")),
    ("/mutate/ignore", Endpoint(True, layout="mutate/ignore")),
    ("/validate/ignore/finegrained/ns/p", Endpoint(False, layout="validate/ignore/finegrained/ns/p")),
    ("/vpol/a/b", Endpoint(False, layout="vpol/a/b")), ("/nmpol/a.b", Endpoint(True, layout="nmpol/a.b")),
    ("/mpol-existing/a", Endpoint(False, layout="mpol-existing/a")),
    ("/ivpol/mutate/validate", Endpoint(True, layout="ivpol/mutate/validate")),
    ("/nivpol/validate/mutate", Endpoint(False, layout="nivpol/validate/mutate")),
])
def test_a_path_says_which_policies_it_asks(path: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(path) == endpoint
    assert f"/{endpoint.path}" == path


@pytest.mark.parametrize("path", [
    "/", "/validate/", "/validate/31", "/validate/fail/31/0123456789ab", "/validate/fail/0/0123456789ab",
    "/validate/fail/010/0123456789ab", "/validate/Fail/10/0123456789ab", "/validate/fail/10",
    "/validate/fail/finegrained", "/vpol", "/ivpol/x", "/vpol/a//b",
    "/validate/fail/10/", "/x/validate", "/validate/fail/10/0123456789ab\n", "/validate/fail/10/0123456789AB",
    "/validate/fail/10/0123456789ab/x"])
def test_other_paths_are_none(path: str) -> None:
    assert Endpoint.parse(path) is None


def test_each_policy_is_asked_by_exactly_one_of_the_paths_that_are_written() -> None:
    documents = [SECRETS, policy("ten", ["Pod"], webhookTimeoutSeconds=10),
                 policy("a", ["Pod"], failurePolicy="Ignore"), policy("b", ["Pod"], webhookTimeoutSeconds=3)]
    loaded = PolicySet(documents)
    endpoints = [endpoint_of(hook) for document in configurations("https://x", b"CA", loaded)
                 for hook in document["webhooks"]]
    assert len(endpoints) == 3
    for one in loaded.policies:
        assert sum(endpoint.selects(one) for endpoint in endpoints) == 1, one.name


def test_a_path_asks_its_policies_and_a_path_of_older_policies_asks_all(caplog: pytest.LogCaptureFixture) -> None:
    """A policy that has moved to a group which the API server does not ask about would never be judged."""
    fail = DENIED
    ignore = {**DENIED, "metadata": {"name": "other"}, "spec": {**DENIED["spec"], "failurePolicy": "Ignore"}}
    loaded = PolicySet([fail, ignore])
    webhook = admission(fail, ignore)
    denied = {}
    for word in ("Fail", "Ignore"):
        for divided in (division(loaded.policies), "0" * 12):
            body = json.dumps(review()).encode()
            answer = asyncio.run(webhook.review(body, endpoint=Endpoint(False, word, 10, divided)))
            message = json.loads(answer)["response"]["status"]["message"]
            denied[word, divided == "0" * 12] = [name for name in ("denied", "other") if f"\n{name}:" in message]
    assert denied == {("Fail", False): ["denied"], ("Ignore", False): ["other"],
                      ("Fail", True): ["denied", "other"], ("Ignore", True): ["denied", "other"]}
    assert caplog.text.count("was made for other policies than are loaded") == 1


def test_each_request_tells_whether_the_api_server_knows_what_is_loaded() -> None:
    """A policy for another kind is not asked about before the configuration is applied again; one for the same is."""
    body = json.dumps(review()).encode()
    webhook = admission(policy("pods", ["Pod"]))
    (hook,) = configurations("https://x", b"CA", webhook.policies)[0]["webhooks"]
    endpoint = endpoint_of(hook)

    def current(*policies: dict[str, Any]) -> dict[str, bool]:
        webhook.policies = PolicySet([*policies])
        asyncio.run(webhook.review(body, endpoint=endpoint))
        return webhook.registered

    pods = policy("pods", ["Pod"])
    assert current(pods) == {"validate": True}
    assert current(pods, policy("more", ["Pod"])) == {"validate": True}
    assert current(pods, policy("services", ["Service"])) == {"validate": False}
    assert current({**SECRETS}) == {"validate": False}
    assert current(pods) == {"validate": True}


def ruled(resource: str, operations: list[str] | None = None, *, native: bool = False,
          **rule: Any) -> list[dict[str, Any]]:
    """A policy in CEL, whose rules name resources: Kyverno's, or the API server's own with its binding."""
    constraints = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": [resource],
                                      "operations": operations or ["CREATE"], **rule}]}
    spec = {"matchConstraints": constraints, "validations": [{"expression": "false"}]}
    if not native:
        return [{"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "ruled"},
                 "spec": {**spec, "validationActions": ["Deny"]}}]
    own = "admissionregistration.k8s.io/v1"
    return [{"apiVersion": own, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "ruled"}, "spec": spec},
            {"apiVersion": own, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "ruled"},
             "spec": {"policyName": "ruled", "validationActions": ["Deny"]}}]


@pytest.mark.parametrize("divided", [False, True], ids=["one webhook", "several"])
@pytest.mark.parametrize("native", [False, True], ids=["ValidatingPolicy", "ValidatingAdmissionPolicy"])
@pytest.mark.parametrize(("changed_rule", "current"), [
    ({"resource": "pods"}, True), ({"resource": "services"}, False), ({"resource": "pods/exec"}, False),
    ({"resource": "pods", "operations": ["CREATE", "DELETE"]}, False), ({"resource": "pods", "scope": "*"}, True),
    ({"resource": "pods", "apiGroups": ["*"]}, False), ({"resource": "pods", "apiVersions": ["*"]}, False),
    ({"resource": "pods", "scope": "Namespaced"}, False)])
def test_policies_that_name_resources_tell_that_they_name_others_now(
        changed_rule: dict[str, Any], current: bool, native: bool, divided: bool) -> None:
    """The configuration was made for other resources: it is not current, and is not to pass for it."""
    beside = [policy("ignored", ["Pod"], failurePolicy="Ignore")] if divided else []
    webhook = admission(*ruled("pods", native=native), *beside)
    endpoints = [endpoint_of(hook) for document in configurations("https://x", b"CA", webhook.policies)
                 for hook in document["webhooks"]]
    assert [webhook.parts.asked_by(endpoint)[1] for endpoint in endpoints] == [True] * (1 + divided)
    webhook.policies = PolicySet([*ruled(native=native, **changed_rule), *beside])
    assert [webhook.parts.asked_by(endpoint)[1] for endpoint in endpoints] == [current] * (1 + divided)


def test_divided_policies_tell_that_one_of_them_names_another_kind() -> None:
    """The same names, failurePolicies and timeouts, and the API server must be told to ask about more all the same."""
    ignored = policy("ignored", ["Pod"], failurePolicy="Ignore")
    webhook = admission(policy("pods", ["Pod"]), ignored)
    endpoints = [endpoint_of(hook) for hook in configurations("https://x", b"CA", webhook.policies)[0]["webhooks"]]
    assert [webhook.parts.asked_by(endpoint)[1] for endpoint in endpoints] == [True, True]
    webhook.policies = PolicySet([policy("pods", ["Pod", "Service"]), ignored])
    assert [webhook.parts.asked_by(endpoint)[1] for endpoint in endpoints] == [False, False]
    changed = policy("pods", ["Pod"])
    changed["spec"]["rules"][0]["validate"]["message"] = "other words"
    webhook.policies = PolicySet([changed, ignored])
    assert [webhook.parts.asked_by(endpoint)[1] for endpoint in endpoints] == [True, True]


def test_paths_that_a_stranger_thinks_of_are_not_remembered(caplog: pytest.LogCaptureFixture) -> None:
    webhook = admission(DENIED)
    for number in range(300):
        part, current = webhook.parts.asked_by(Endpoint(False, None, None, f"{number:012x}"))
        assert (part, current) == (webhook.snapshot, False)
    assert caplog.text.count("was made for other policies than are loaded") == 1
    assert len(webhook.parts._known) <= 128


def test_json_of_the_configuration_is_plain_data() -> None:
    json.dumps(configurations("https://x", b"CA", PolicySet([SECRETS])))


def test_a_rule_that_cannot_be_matched_denies_with_the_reason() -> None:
    """Where the kind of the resource is not known, a rule about a named kind's subresource is an error."""
    scale = review(kind={"group": "autoscaling", "version": "v1", "kind": "Scale"}, operation="UPDATE", object={},
                   subResource="scale", resource={"group": "example.com", "version": "v1", "resource": "gadgets"})
    answer = ask(admission(policy("scales", ["Deployment/scale"])), scale)["response"]
    assert answer["allowed"] is False
    assert "gadgets.example.com/v1 is not known, nor whether its scale is of a Deployment" in " ".join(
        answer["status"]["message"].split())
    assert ask(admission(policy("scales", ["apps/v1/Deployment/scale"])), scale)["response"]["allowed"] is True


def names(*documents: dict[str, Any]) -> list[str]:
    return [hook["name"] for made in configurations("https://x", b"CA", PolicySet.load(documents), as_kyverno=True)
            for hook in made["webhooks"]]


def test_webhooks_have_kyvernos_names_where_they_are_asked_for() -> None:
    checked = {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "v"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                                                "operations": ["CREATE"]}]}, "validations": [{"expression": "true"}]}}
    loose = {**checked, "metadata": {"name": "w"}, "spec": {**checked["spec"], "failurePolicy": "Ignore"}}
    slow = policy("slow", ["Pod"], webhookTimeoutSeconds=25)
    assert names(DENIED) == ["validate.kyverno.svc-fail"]
    assert names(checked) == ["vpol.validate.kyverno.svc-fail"]
    assert names(checked, loose) == ["vpol.validate.kyverno.svc-fail", "vpol.validate.kyverno.svc-ignore"]
    assert names(checked, DENIED) == ["validate.kyverno.svc-fail", "vpol.validate.kyverno.svc-fail"]
    assert names(slow, DENIED) == ["validate.kyverno.svc-fail"], "which waits for the slowest"
