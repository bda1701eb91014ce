"""Gatekeeper's policy library: every template compiles, and its suites' cases get the verdicts that they assert.

A small stand-in for Gatekeeper: what Rego sees of a constraint, an object and the inventory.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from policylang import rego
from policylang.budget import GENEROUS
from policylang.errors import LanguageError

Json = dict[str, Any]


class Template(NamedTuple):
    """A compiled template: its `violation` rule."""

    kind: str
    violation: rego.Entry


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for path in sorted(folder.rglob("template.yaml")):
        yield f"{path.relative_to(folder)}", _compiles(path)
    for suite in sorted(folder.rglob("suite.yaml")):
        for name, reason in _suite(suite):
            yield f"{suite.relative_to(folder)} {name}", reason


def documents(path: Path) -> list[Json]:
    return [each for each in yaml.load_all(path.read_text(), yaml.CSafeLoader) if each]


def sources(template: Json) -> tuple[str, list[str], int] | None:
    """(module, libraries, Rego version) of a template; None where it has no Rego."""
    target = template["spec"]["targets"][0]
    if "rego" in target:
        return target["rego"], target.get("libs", []), 0
    for code in target.get("code", []):
        if code["engine"] == "Rego":
            source = code["source"]
            return source["rego"], source.get("libs", []), 1 if source.get("version") == "v1" else 0
    return None


def compiled(template: Json) -> Template:
    found = sources(template)
    if found is None:
        raise ValueError("no Rego in it")
    module, libraries, version = found
    modules = {"template.rego": module} | {f"lib{at}.rego": text for at, text in enumerate(libraries)}
    policy = rego.Policy(modules, version=version)
    package = ".".join(policy.modules[0].package)
    return Template(template["spec"]["crd"]["spec"]["names"]["kind"], policy.entry(f"data.{package}.violation"))


def _compiles(path: Path) -> str | None:
    try:
        compiled(documents(path)[0])
    except (LanguageError, KeyError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _suite(path: Path) -> Iterator[tuple[str, str | None]]:
    suite = documents(path)[0]
    for test in suite["tests"]:
        try:
            template = compiled(documents(path.parent / test["template"])[0])
            constraint = documents(path.parent / test["constraint"])[0]
        except (LanguageError, KeyError, ValueError, OSError) as error:
            for case in test.get("cases", []):
                yield f"{test['name']}/{case['name']}", f"{type(error).__name__}: {error}"
            continue
        for case in test.get("cases", []):
            try:
                reason = _case(path.parent, template, constraint, case)
            except LanguageError as error:
                reason = error.message
            yield f"{test['name']}/{case['name']}", reason


def _case(folder: Path, template: Template, constraint: Json, case: Json) -> str | None:
    messages = violations(template, constraint, *evidence(folder, case))
    for wanted in case.get("assertions", []):
        pattern = wanted.get("message", "")
        found = [each for each in messages if re.search(pattern, each)]
        count = wanted.get("violations", True)
        good = bool(found) is count if isinstance(count, bool) else len(found) == count
        if isinstance(count, str):
            good = bool(found) is (count == "yes")
        if not good:
            return f"expected violations: {count}{f' with {pattern!r}' if pattern else ''}, got {messages}"
    return None


def evidence(folder: Path, case: Json) -> tuple[Json, Json]:
    """(review, inventory) of a case."""
    review = _review(documents(folder / case["object"])[0])
    inventory: Json = {}
    for name in case.get("inventory", []):
        for each in documents(folder / name):
            metadata = each["metadata"]
            if "namespace" in metadata:
                place = inventory.setdefault("namespace", {}).setdefault(metadata["namespace"], {})
            else:
                place = inventory.setdefault("cluster", {})
            place.setdefault(each["apiVersion"], {}).setdefault(each["kind"], {})[metadata["name"]] = each
    return review, inventory


def _review(document: Json) -> Json:
    request = dict(document["request"]) if document["kind"] == "AdmissionReview" else {"object": document}
    if request.get("operation") == "DELETE":
        request.setdefault("object", request.get("oldObject"))
    shown = request.get("object") or request.get("oldObject") or {}
    group, _, version = str(shown.get("apiVersion", "")).rpartition("/")
    request.setdefault("kind", {"group": group, "version": version, "kind": shown.get("kind", "")})
    metadata = shown.get("metadata", {})
    request.setdefault("name", metadata.get("name", ""))
    if "namespace" in metadata:
        request.setdefault("namespace", metadata["namespace"])
    return request


def violations(template: Template, constraint: Json, review: Json, inventory: Json) -> list[str]:
    spec = constraint.get("spec", {})
    if not _matches(spec.get("match", {}), review):
        return []
    given = {"review": review, "parameters": spec.get("parameters", {})}
    found = template.violation(given, {"inventory": inventory}, limits=GENEROUS)
    return [each["msg"] for each in found.ordered()] if found is not rego.UNDEFINED else []


# --- what a constraint is about

def _matches(match: Json, review: Json) -> bool:
    kind, shown = review["kind"], review.get("object") or review.get("oldObject") or {}
    metadata = shown.get("metadata", {})
    namespace = review.get("namespace") or metadata.get("namespace")
    if kind["kind"] == "Namespace":
        namespace = metadata.get("name")
    kinds = match.get("kinds", [])
    if kinds and not any(_one(each.get("apiGroups"), kind["group"]) and _one(each.get("kinds"), kind["kind"])
                         for each in kinds):
        return False
    scope = match.get("scope", "*")
    if (scope == "Namespaced" and not namespace) or (scope == "Cluster" and namespace):
        return False
    if namespace and "namespaces" in match and not _glob(match["namespaces"], namespace):
        return False
    if namespace and _glob(match.get("excludedNamespaces", []), namespace):
        return False
    if "name" in match and not _glob([match["name"]], str(metadata.get("name", ""))):
        return False
    return _selects(match.get("labelSelector") or {}, metadata.get("labels") or {})


def _one(wanted: list[str] | None, value: str) -> bool:
    return not wanted or "*" in wanted or value in wanted


def _glob(patterns: list[str], value: str) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def _selects(selector: Json, labels: Json) -> bool:
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or []:
        value, values = labels.get(each["key"]), each.get("values", [])
        good = {"In": value in values, "NotIn": value not in values, "Exists": value is not None,
                "DoesNotExist": value is None}[each["operator"]]
        if not good:
            return False
    return True
