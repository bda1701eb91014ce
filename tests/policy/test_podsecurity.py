"""Pod Security: every pod of the oracle, the API server's messages, and the command."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cli.run import run
from custody.errors import MalformedError
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.policy.podsecurity.standard import LEVELS, aggregate, evaluate
from tests.conftest import oracle
from tests.oracles.pod_security import run as judge

GOOD: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_every_pod_of_the_oracle() -> None:
    results = list(judge(oracle("pod-security")))
    assert len(results) > 2000
    assert [result for result in results if result[1] is not None] == []


@pytest.mark.parametrize(("spec", "level", "words"), [
    ({"containers": [{"name": "a"}, {"name": "b"}]}, "restricted",
     'allowPrivilegeEscalation != false (containers "a", "b" must set securityContext.allowPrivilegeEscalation=false), '
     'unrestricted capabilities (containers "a", "b" must set securityContext.capabilities.drop=["ALL"]), '
     'runAsNonRoot != true (pod or containers "a", "b" must set securityContext.runAsNonRoot=true), '
     'seccompProfile (pod or containers "a", "b" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
     '"Localhost")'),
    ({"containers": [{"name": "a", "securityContext": {"privileged": True}}], "hostNetwork": True}, "baseline",
     'host namespaces (hostNetwork=true), privileged (container "a" must not set securityContext.privileged=true)'),
    ({"containers": [{"name": "a", "ports": [{"hostPort": 80}, {"hostPort": 443}]}],
      "initContainers": [{"name": "i", "ports": [{"hostPort": 80}]}]}, "baseline",
     'hostPort (containers "i", "a" use hostPorts 443, 80)'),
    ({"containers": [{"name": "a", "securityContext": CONTAINER}], "securityContext": GOOD,
      "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "nfs": {}}]}, "restricted",
     'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")'),
    ({"containers": [{"name": "a"}], "securityContext": {"seLinuxOptions": {"type": "x", "user": "u"}}}, "baseline",
     'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "x"; user may not be set)'),
    ({"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["NET_RAW"]}}}]}, "baseline",
     'non-default capabilities (container "a" must not include "NET_RAW" in securityContext.capabilities.add)'),
    ({"containers": [{"name": "a", "securityContext": CONTAINER}], "securityContext": GOOD}, "restricted", ""),
    ({"containers": [{"name": "a", "securityContext": {"privileged": True}}]}, "privileged", ""),
])
def test_messages_are_the_api_servers(spec: dict[str, Any], level: str, words: str) -> None:
    assert aggregate(evaluate(spec, {}, level)) == words


def test_versions_are_clamped_and_checked() -> None:
    spec = {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "x"}}}]}
    assert evaluate(spec, {}, "baseline", "v1.33") == []
    assert [one.check for one in evaluate(spec, {}, "baseline", "v1.999")] == ["hostProbesAndHostLifecycle"]
    for version in ("1.30", "v2.0", "v1.", "v1.03", ""):
        with pytest.raises(MalformedError, match="latest or v1"):
            evaluate(spec, {}, "baseline", version)
    with pytest.raises(MalformedError, match="level"):
        evaluate(spec, {}, "strict")


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                        ["containers", "securityContext", "name", "volumes", "ports", "capabilities", "add", "os"]),
                        inner, max_size=4), max_leaves=15)


@given(JSON, JSON, st.sampled_from(LEVELS))
def test_any_shape_has_a_verdict_or_is_refused(spec: Any, metadata: Any, level: str) -> None:
    try:
        aggregate(evaluate(spec, metadata, level))
    except MalformedError as error:
        assert "as pods have it there" in error.message  # noqa: PT017 - most shapes raise nothing


@pytest.mark.parametrize(("spec", "reason"), [
    ({"containers": {"a": {"securityContext": {"privileged": True}}}}, "got a map, expected a list"),
    ({"containers": [[{"securityContext": {"privileged": True}}]]}, "got a list, expected a map"),
    ({"initContainers": "privileged"}, "got 'privileged', expected a list"),
    ([{"hostNetwork": True}], "got a list, expected a map"),
    ({"containers": [{"name": "a", "securityContext": [{"privileged": True}]}]}, "got a list, expected a map"),
    ({"volumes": {"name": "v", "hostPath": {"path": "/"}}, "containers": []}, "got a map, expected a list"),
])
def test_a_pod_of_another_shape_hides_nothing(spec: Any, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        evaluate(spec, {}, "baseline")
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"podSecurity": {"level": "baseline"}}}
    found = PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
                        "spec": {"validationFailureAction": "Enforce", "rules": [rule]}}])
    request = Request.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    decision = decide(request, {}, found, Context(now=datetime(2026, 11, 24, tzinfo=UTC)))
    assert not decision.allowed
    assert reason in decision.results[0].message


def held(context: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "securityContext": context}]}


@pytest.mark.parametrize(("spec", "words"), [
    *(({"containers": [], name: value}, f"pod: {name}: got")
      for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") for value in ("true", "false", 1, 0, [])),
    *((held({name: value}), f"pod: {name}: got")
      for name in ("privileged", "allowPrivilegeEscalation", "runAsNonRoot", "readOnlyRootFilesystem")
      for value in ("true", 1, {})),
    (held({"runAsUser": "0"}), "pod: runAsUser: got"), (held({"runAsUser": False}), "pod: runAsUser: got"),
    ({"containers": [], "securityContext": {"runAsUser": "0"}}, "pod: runAsUser: got"),
    ({"containers": [], "securityContext": {"runAsNonRoot": "true"}}, "pod: runAsNonRoot: got"),
    (held({"windowsOptions": {"hostProcess": "true"}}), "pod: hostProcess: got"),
    (held({"capabilities": {"drop": "ALL"}}), "pod: got"), (held({"capabilities": {"drop": ["ALL", 1]}}), "drop: got"),
    ({"containers": [], "volumes": ["hostPath"]}, "pod: got")])
@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a_value_that_no_api_server_decodes_is_not_read_as_unset(spec: Any, words: str, level: str) -> None:
    """Each is a BadRequest to a real one."""
    with pytest.raises(MalformedError, match=words):
        evaluate(spec, {}, level)


def test_an_annotation_is_text() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/c"
    with pytest.raises(MalformedError, match=f"annotation {key}: got 1"):
        evaluate({"containers": [{"name": "c"}]}, {"annotations": {key: 1}}, "baseline")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}}
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(pod))
    assert run(["policy", "podsecurity", str(file)]) == 3
    assert 'pod p: violates PodSecurity "restricted:latest": allowPrivilegeEscalation' in capsys.readouterr().out
    assert run(["policy", "podsecurity", str(file), "--level", "baseline", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["allowed"]
    file.write_text('{"kind": "Deployment"}')
    assert run(["policy", "podsecurity", str(file)]) == 2
