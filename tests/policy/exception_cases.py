"""Policies with exceptions of both kinds, and what Kyverno says of four objects under them.

`python -m tests.policy.exception_cases` asks the real Kyverno CLI (1.19) and writes its answers to
exception_answers.json. Not among them: exceptions that have expired, which the CLI applies and a cluster does not.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.fuzz.validating import kyverno

ANSWERS = Path(__file__).parent / "exception_answers.json"
REFS = [{"name": "p", "kind": "ValidatingPolicy"}]
PODS = {"any": [{"resources": {"kinds": ["Pod"]}}]}


def pod(name: str, namespace: str = "default", labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace,
            "labels": labels or {}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}


def policy(expression: str = "false", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                                                "operations": ["CREATE", "UPDATE"]}]},
        "validations": [{"expression": expression}], **spec}}


def exception(name: str = "e", conditions: list[str] | None = None, priority: str = "", **spec: Any) -> dict[str, Any]:
    """Of policies.kyverno.io."""
    matching = {} if conditions is None else {"matchConditions": [
        {"name": f"c{at}", "expression": expression} for at, expression in enumerate(conditions)]}
    labels = {"labels": {"polex.kyverno.io/priority": priority}} if priority else {}
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "PolicyException",
            "metadata": {"name": name, "namespace": "ex", **labels}, "spec": {"policyRefs": REFS, **matching, **spec}}


def rules(**rule: Any) -> dict[str, Any]:
    """A ClusterPolicy with one rule, that fails."""
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {
        "name": "cp", "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}}, "spec": {
            "validationFailureAction": "Enforce", "rules": [{"name": "r1", "match": PODS, "validate": {
                "message": "no", "pattern": {"metadata": {"name": "none"}}}, **rule}]}}


def of_rules(name: str = "k", match: Any = None, named: tuple[str, ...] = ("r1",), of: str = "cp",
             **spec: Any) -> dict[str, Any]:
    """An exception of kyverno.io."""
    return {"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": name, "namespace": "ex"},
            "spec": {"match": match or {"any": [{"resources": {"kinds": ["Pod"], "names": ["web*"]}}]},
                     "exceptions": [{"policyName": of, "ruleNames": list(named)}], **spec}}


def condition(key: str) -> dict[str, Any]:
    return {"any": [{"key": key, "operator": "Equals", "value": "web"}]}


_WEB = ["object.metadata.name == 'web'"]
_BROKEN = ["object.none == 1"]
_DENY = {"validate": {"message": "no", "deny": {"conditions": condition("web")}}}
_OPEN = {"securityContext": {"windowsOptions": {"hostProcess": True}, "seccompProfile": {"type": "Unconfined"},
                              "sysctls": [{"name": "fake.value", "value": "1"}]}, "hostNetwork": True,
         "volumes": [{"name": "v", "hostPath": {"path": "/var"}}],
         "initContainers": [{"name": "i", "image": "busybox:1", "securityContext": {"allowPrivilegeEscalation": True}}],
         "containers": [{"name": "a", "image": "nginx:1", "ports": [{"containerPort": 80, "hostPort": 80}],
                         "securityContext": {"capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]},
                                             "privileged": True, "runAsNonRoot": False}},
                        {"name": "b", "image": "redis:2", "securityContext": {"runAsUser": 0}}]}
_EASED = {"containers": [{"name": "a", "image": "nginx:1", "securityContext": {
    "runAsNonRoot": True, "allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"},
    "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}]}
_CONTROLS: list[list[list[dict[str, Any]]]] = [
    [[{"controlName": "Capabilities", "images": ["nginx*"]}]], [[{"controlName": "Capabilities", "images": ["red*"]}]],
    [[{"controlName": "Capabilities", "images": ["nginx*"], "restrictedField":
       "spec.containers[*].securityContext.capabilities.add", "values": ["SYS_ADMIN"]}]],
    [[{"controlName": "Capabilities", "images": ["nginx*"], "restrictedField":
       "spec.containers[*].securityContext.capabilities.add", "values": ["NET_RAW"]}]],
    [[{"controlName": name}] for name in ("HostProcess", "Host Namespaces", "Sysctls")],
    [[{"controlName": "HostProcess"}, {"controlName": "Host Namespaces"}, {"controlName": "Sysctls"},
      {"controlName": "HostPath Volumes"}, {"controlName": "Seccomp"}, {"controlName": "Running as Non-root"}],
     [{"controlName": name, "images": ["*"]} for name in ("Capabilities", "Privileged Containers", "Host Ports",
      "Privilege Escalation", "Running as Non-root", "Running as Non-root user", "Seccomp", "SELinux")]],
    [[{"controlName": "Running as Non-root", "images": ["*"]}], [{"controlName": "Seccomp"}]]]
"""Of podSecurity, for each exception."""


def _of(spec: dict[str, Any], name: str) -> dict[str, Any]:
    return {**pod(name), "spec": spec}


RESOURCES = [_of(_OPEN, "open"), _of(_EASED, "eased"), pod("web"), pod("db"), pod("x", "team", {"a": "b"}), {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
        "template": {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}}}]
CASES: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    (policy(), [exception()]),
    (policy(), [exception(conditions=_WEB)]),
    (policy(), [exception(conditions=_WEB, reportResult="pass")]),
    (policy(), [exception(conditions=_BROKEN)]),
    (policy(failurePolicy="Ignore"), [exception(conditions=_BROKEN)]),
    (policy(), [exception(conditions=_BROKEN), exception("f")]),
    (policy(), [exception("f"), exception(conditions=_BROKEN)]),
    (policy(), [exception("a"), exception("b", reportResult="pass")]),
    (policy(), [exception("a"), exception("b", priority="5", reportResult="pass")]),
    (policy(), [exception(expiresAt="2099-01-01T00:00:00Z")]),
    (policy("object.spec.containers.all(c, c.image in exceptions.allowedImages)"), [exception(images=["b"])]),
    (policy("object.metadata.name in exceptions.allowedValues"), [exception(allowedValues=["web"]),
                                                                  exception("f", allowedValues=["db"])]),
    (policy("object.metadata.name in exceptions.allowedValues"), [
        exception(allowedValues=["web"]), exception("f", conditions=["object.metadata.name == 'x'"])]),
    (policy(), [exception(policyRefs=[{"name": "q", "kind": "ValidatingPolicy"}])]),
    (policy(), [exception(policyRefs=[{"name": "p", "kind": "ClusterPolicy"}])]),
    (policy(matchConditions=[{"name": "m", "expression": "object.metadata.name == 'db'"}]),
     [exception(conditions=_WEB)]),
    (policy(), [exception(conditions=["object.metadata.namespace == 'team'",
                                      "object.metadata.?labels.a.orValue('') == 'b'"])]),
    (rules(), [of_rules()]), (rules(), [of_rules(named=("r*",))]), (rules(), [of_rules(named=("x",))]),
    (rules(**_DENY), [of_rules()]), (rules(), [of_rules(), of_rules("k2")]),
    (rules(), [of_rules(match=PODS, conditions=condition("{{ request.object.metadata.name }}"))]),
    (rules(), [of_rules(conditions=condition("{{ request.object.none.x }}"))]),
    (rules(preconditions={"all": [{"key": "a", "operator": "Equals", "value": "b"}]}), [of_rules()]),
    (rules(), [of_rules(match={"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["team"]}}]})]),
    (rules(), [of_rules(match={"all": [{"resources": {"kinds": ["Pod"], "selector": {"matchLabels": {"a": "b"}}}}]})]),
    (rules(), [of_rules(podSecurity=[{"controlName": "Capabilities", "images": ["*"]}])]),
    (rules(), [of_rules(of="other")]), (rules(), [of_rules(background=True)]),
    *((rules(validate={"podSecurity": {"level": level, "version": "latest"}}), [
        of_rules(f"k{at}", match=PODS, podSecurity=controls) for at, controls in enumerate(parts)])
      for level in ("baseline", "restricted") for parts in _CONTROLS),
]


def main() -> None:
    answers = []
    for made, exceptions in CASES:
        said = kyverno([made], copy.deepcopy(RESOURCES), exceptions)
        if isinstance(said, str):
            raise SystemExit(said)
        answers.append(sorted(map(list, said.elements())))
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
