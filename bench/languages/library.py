"""Gatekeeper's library as data for benchmarks: its templates compiled alone, and what a case of a suite gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from policylang import rego

Json = dict[str, Any]


class Template(NamedTuple):
    """A compiled template: its `violation` rule."""

    kind: str
    violation: rego.Entry


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
