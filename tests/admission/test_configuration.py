"""The webhook configurations: what each rule asks about and no more, one webhook for each failurePolicy and timeout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.admission.configuration import configurations, to_yaml
from custody.admission.endpoint import Endpoint
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


def asked(*documents: dict[str, Any], **options: Any) -> dict[str, list[tuple[str, ...]]]:
    """Path → what is asked about."""
    return {hook["clientConfig"]["url"].partition("https://x/")[2]: normal(hook["rules"])  # type: ignore[misc]
            for found in configurations("https://x", b"CA", PolicySet.load(documents), **options)
            for hook in found["webhooks"]}


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
    assert capsys.readouterr().out == ""


def test_kind_group_is_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kind is asked about in its group, or refused where the group's resources are not known."""
    files = {name: tmp_path / f"{name}.yaml" for name in ("policy", "crd", "ca")}
    files["policy"].write_text(yaml.safe_dump(KNATIVE))
    files["crd"].write_text(yaml.safe_dump(CRD))
    files["ca"].write_bytes(b"CA")
    arguments = ["admission", "config", "--url", "https://x:1", "--ca-bundle", str(files["ca"]), "--policy",
                 str(files["policy"])]
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "match.any[0].resources.kinds[0]: which resources are serving.knative.dev/v1/Service is not known" in said.err
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
        "validate/fail/10": [*secrets, *deployments],
        "validate/ignore/25": [("", "v1", "configmaps", "Namespaced", "CREATE")]}
    hooks = {hook["name"]: (hook["failurePolicy"], hook["timeoutSeconds"])
             for hook in configurations("https://x", b"CA", PolicySet([SECRETS, slow]))[0]["webhooks"]}
    assert hooks == {"validate-fail-10.custody.internal": ("Fail", 10),
                     "validate-ignore-25.custody.internal": ("Ignore", 25)}
    assert list(asked(SECRETS, slow, failure_policy="Fail")) == ["validate/all/10", "validate/all/25"]
    assert list(asked(SECRETS, slow, timeout=5)) == ["validate/fail", "validate/ignore"]
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
    assert asked(images()) == {"mutate": entries, "validate": entries}


def test_what_an_api_server_would_not_take_is_refused() -> None:
    with pytest.raises(MalformedError, match="https"):
        configurations("http://x", b"CA")
    with pytest.raises(MalformedError, match=r"failurePolicy: got 'Fial', expected Fail or Ignore"):
        configurations("https://x", b"CA", failure_policy="Fial")
    with pytest.raises(UnsupportedError, match=r"which resources are \*\.example\.com/v1/Widget is not known"):
        asked(policy("w", ["*.example.com/v1/Widget"]))
    assert len(list(yaml.safe_load_all(to_yaml(configurations("https://x", b"CA"))))) == 2


@pytest.mark.parametrize(("path", "endpoint"), [
    ("/validate", Endpoint(False)), ("/mutate", Endpoint(True)), ("/validate/fail", Endpoint(False, "Fail")),
    ("/mutate/ignore/30", Endpoint(True, "Ignore", 30)), ("/validate/all/1", Endpoint(False, None, 1)),
])
def test_a_path_says_which_policies_it_asks(path: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(path) == endpoint
    assert f"/{endpoint.path}" == path


@pytest.mark.parametrize("path", ["/", "/validate/", "/validate/31", "/validate/fail/31", "/validate/fail/0",
                                  "/validate/fail/010", "/validate/Fail", "/validate/fail/10/", "/x/validate",
                                  "/validate/fail/10\n"])
def test_other_paths_are_none(path: str) -> None:
    assert Endpoint.parse(path) is None


def test_each_policy_is_asked_by_exactly_one_of_the_paths_that_are_written() -> None:
    documents = [SECRETS, policy("ten", ["Pod"], webhookTimeoutSeconds=10), policy("a", ["Pod"], failurePolicy="Ignore"),
                 policy("b", ["Pod"], webhookTimeoutSeconds=3)]
    loaded = PolicySet(documents)
    paths = [Endpoint.parse(f"/{path}") for path in asked(*documents)]
    assert len(paths) == 3
    for one in loaded.policies:
        assert sum(path is not None and path.selects(one) for path in paths) == 1, one.name


def test_json_of_the_configuration_is_plain_data() -> None:
    json.dumps(configurations("https://x", b"CA", PolicySet([SECRETS])))
