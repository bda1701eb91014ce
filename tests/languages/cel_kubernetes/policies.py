"""Kyverno's own tests of CEL policies, for those whose verdict needs nothing but the policy and the resource."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from policylang.cel import DYN, CelError, CompileError, Program
from policylang.cel.kubernetes.environment import KubernetesEnv
from policylang.cel.kyverno import env

_WORLD = frozenset({"exceptions", "context", "variables", "values", "userinfo", "apiCallResponses", "httpPayloads",
                    "globalContextEntries", "paramResources", "clusterResources"})


class Row(NamedTuple):
    """What a kyverno-test.yaml expects of a policy and a resource."""

    file: Path
    policy: str
    resource: str
    expected: str
    got: str


class _Policy:
    """A ValidatingPolicy, far enough for a verdict on one resource."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.spec = document["spec"]
        self.env: KubernetesEnv = env()
        self.conditions = [self.env.compile(each["expression"]) for each in self.spec.get("matchConditions") or ()]
        self.variables: list[tuple[str, Program]] = []
        for each in self.spec.get("variables") or ():
            program = self.env.compile(each["expression"])
            self.env.declare(each["name"], program.result or DYN)
            self.variables.append((each["name"], program))
        self.validations = [self.env.compile(each["expression"]) for each in self.spec.get("validations") or ()]

    def takes(self, resource: dict[str, Any]) -> bool:
        plural = _plural(resource["kind"])
        rules = (self.spec.get("matchConstraints") or {}).get("resourceRules") or ()
        return any(plural in rule["resources"] or "*" in rule["resources"] for rule in rules)

    def verdict(self, resource: dict[str, Any]) -> str:
        values: dict[str, Any] = {}
        group, _, version = resource["apiVersion"].rpartition("/")
        metadata = resource.get("metadata") or {}
        request = {"operation": "CREATE", "name": metadata.get("name", ""), "namespace": metadata.get("namespace", ""),
                   "kind": {"group": group, "version": version, "kind": resource["kind"]}, "userInfo": {}}
        given = {"object": resource, "oldObject": None, "request": request, "variables": values,
                 "namespaceObject": {"metadata": {"name": metadata.get("namespace", "")}}}
        try:
            if not all(condition(given) for condition in self.conditions):
                return "skip"
            for name, program in self.variables:
                try:
                    values[name] = program(given)
                except CelError:  # shows where it is used, as a missing key
                    continue
            return "pass" if all(validation(given) for validation in self.validations) else "fail"
        except CelError as wrong:
            return f"error: {wrong}"


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "ch")) else f"{word}s"


def rows(folder: Path) -> Iterator[Row]:
    for file in sorted(folder.rglob("kyverno-test.yaml")):
        for test in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
            if isinstance(test, dict) and not _WORLD & test.keys():
                yield from _rows(file, test)


def _rows(file: Path, test: dict[str, Any]) -> Iterator[Row]:
    documents = {kind: [each for name in test.get(kind) or () for each in _load(file.parent / name)]
                 for kind in ("policies", "resources")}
    policies: dict[str, _Policy] = {}
    for each in documents["policies"]:
        if each.get("kind") == "ValidatingPolicy" and (each["spec"].get("evaluation") or {}).get("mode") is None:
            try:
                policies[each["metadata"]["name"]] = _Policy(each)
            except CompileError:
                continue
    for result in test.get("results") or ():
        policy = policies.get(result.get("policy", ""))
        for name in result.get("resources") or () if policy else ():
            found = [each for each in documents["resources"] if _called(each, name, result.get("kind"))]
            if policy and len(found) == 1 and policy.takes(found[0]):
                yield Row(file, result["policy"], name, result["result"], policy.verdict(found[0]))


def _called(resource: dict[str, Any], name: str, kind: str | None) -> bool:
    metadata = resource.get("metadata") or {}
    return (kind is None or resource.get("kind") == kind) and name.rpartition("/")[2] == metadata.get("name")


def _load(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    found = yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)
    return [each for each in found if isinstance(each, dict) and "metadata" in each]
