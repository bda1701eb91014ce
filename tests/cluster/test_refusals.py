"""Policies that Kyverno's webhook refuses, in the words of 1.19.1, and what is no concern of it."""

from __future__ import annotations

from typing import Any

import pytest

from custody.policy.kinds import builtin
from custody.services.cluster.refusals import refusal

PODS = {"any": [{"resources": {"kinds": ["Pod"]}}]}
_BACKGROUND = ("only select variables are allowed in background mode. Set spec.background=false to disable background "
               "mode for this policy rule: ")


def rules(*, spec: dict[str, Any] | None = None, **rule: Any) -> dict[str, Any]:
    made = {"name": "r", "match": PODS, "validate": {"pattern": {"spec": {}}}, **rule}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {"rules": [made], **(spec or {})}}


def secured(*exclude: dict[str, Any], level: str = "restricted") -> dict[str, Any]:
    return {"podSecurity": {"level": level, "exclude": [*exclude]}}


def who(block: str, **asker: Any) -> dict[str, Any]:
    return {block: {"any": [{"resources": {"kinds": ["Pod"]}, **asker}]}}


@pytest.mark.parametrize(("document", "words"), [
    (rules(**who("match", roles=["foo"])),
     f"{_BACKGROUND}invalid variable used at path: spec/rules[0]/match/any[0]/roles "),
    (rules(**who("exclude", subjects=[{"kind": "User", "name": "a"}])),
     f"{_BACKGROUND}invalid variable used at path: spec/rules[0]/exclude/any[0]/subjects "),
    (rules(match={"resources": {"kinds": ["Pod"]}, "clusterRoles": ["a"]}),
     f"{_BACKGROUND}invalid variable used at path: spec/rules[0]/match/clusterRoles "),
    (rules(validate={"pattern": {"a": "{{request.userInfo}}"}}),
     f"{_BACKGROUND}variable {{{{request.userInfo}}}} is not allowed "),
    (rules(validate={"message": "{{ serviceAccountName }}", "pattern": {}}),
     f"{_BACKGROUND}variable {{{{ serviceAccountName }}}} is not allowed "),
    (rules(validate=secured({"controlName": "Sysctls", "restrictedField": "a"})),
     "spec.rules[0].podSecurity.exclude[0].values: Forbidden: values is required"),
    (rules(validate=secured({"controlName": "Sysctls", "values": ["a"]}, {"controlName": "Capabilities"})),
     "[spec.rules[0].podSecurity.exclude[0].restrictedField: Forbidden: restrictedField is required, "
     'spec.rules[0].podSecurity.exclude[1].controlName: Invalid value: "Capabilities": exclude.images must be '
     "specified for the container level control]"),
    (rules(validate=secured({"controlName": "Volume Types"}, level="baseline")),
     'spec.rules[0].podSecurity.exclude[0].controlName: Invalid value: "Volume Types": '
     "Invalid control name defined at the given level"),
    (rules(match={"any": [{"resources": {"kinds": ["Pod/exec"]}}]}),
     "path: spec.rules[0].match.any[0].kinds: background scan enabled with subresource Pod/exec"),
    (rules(spec={"admission": False, "background": False}),
     "disabling both admission and background processing is not allowed"),
    (rules(spec={"admission": False}, mutate={}),
     "disabling admission processing is only allowed with validation policies"),
    ({"apiVersion": "policies.kyverno.io/v1", "kind": "NamespacedValidatingPolicy", "spec": {}},
     "spec.matchConstraints: Required value: a matchConstraints with at least one resource rule is required"),
    ({"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "spec": {"podSecurity": [
        {"controlName": "Sysctls", "images": ["a"]}]}},
     'spec.podSecurity[0].controlName: Invalid value: "Sysctls": exclude.images must not be specified for the pod '
     "level control")])
def test_refused_as_kyverno_refuses_it(document: dict[str, Any], words: str) -> None:
    assert refusal(document, builtin()) == words


@pytest.mark.parametrize("document", [
    rules(), rules(spec={"background": False}, **who("match", roles=["a:b"])),
    rules(validate={"pattern": {"a": "{{ element.request.userInfo }}"}}),
    rules(validate={"pattern": {"a": "{{request.userInfo}}"}}, spec={"background": False}),
    rules(mutate={"targets": [{"kind": "Pod"}], "patchStrategicMerge": {"a": "{{request.userInfo.username}}"}}),
    rules(match={"any": [{"resources": {"kinds": ["Pod/exec"]}}]}, spec={"background": False}),
    rules(validate=secured({"controlName": "Capabilities", "images": ["*"]}, level="baseline")),
    {"kind": "ClusterPolicy", "apiVersion": "kyverno.io/v1", "spec": {"rules": {"a": 1}}},
    {"kind": "ClusterPolicy", "apiVersion": "kyverno.io/v1", "spec": [1]},
    {"kind": "ImageValidatingPolicy", "apiVersion": "policies.kyverno.io/v1", "spec": {}},
    {"kind": "GlobalContextEntry", "apiVersion": "kyverno.io/v2beta1"}])
def test_left_to_who_compiles_it(document: dict[str, Any]) -> None:
    assert refusal(document, builtin()) == ""
