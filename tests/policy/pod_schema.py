"""What an API server's OpenAPI v3 documents say of images in pods, as facts small enough to keep.

`python -m tests.policy.pod_schema OPENAPI.json…` (its answers to /openapi/v3/api/v1, /openapi/v3/apis/apps/v1 and
so on) writes tests/data/pod_schema.json.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

FACTS = ROOT / "tests" / "data" / "pod_schema.json"
_POD_SPEC = "io.k8s.api.core.v1.PodSpec"


def facts(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """`fields`: pointers below a PodSpec of each text whose name or description speaks of an image or a reference.
    `holders`: by kind, pointers of the PodSpecs in what may be written of it."""
    fields: set[str] = set()
    holders: dict[str, list[str]] = {}
    for document in documents:
        schemas = document["components"]["schemas"]
        if _POD_SPEC in schemas:
            for pointer, part in _walk(schemas, schemas[_POD_SPEC], "", ()):
                words = " ".join(part.get("description", "").split())
                name = [step for step in pointer.split("/") if step != "[]"][-1]
                if part.get("type") == "string" and re.search("image|reference", f"{name} {words}", re.IGNORECASE):
                    fields.add(pointer)
        for path in document["paths"].values():
            for verb in ("post", "put"):
                operation = path.get(verb) or {}
                kind = (operation.get("x-kubernetes-group-version-kind") or {}).get("kind")
                body = operation.get("requestBody", {}).get("content", {}).get("*/*", {}).get("schema")
                if kind and body:
                    holders.setdefault(kind, []).extend(
                        pointer for pointer, part in _walk(schemas, body, "", ()) if part is schemas.get(_POD_SPEC))
    return {"fields": sorted(fields),
            "holders": {kind: sorted(set(pointers)) for kind, pointers in sorted(holders.items()) if pointers}}


def _walk(schemas: dict[str, Any], part: dict[str, Any], pointer: str, on_the_way: tuple[str, ...],
          ) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in part.get("allOf", []):
        part = {**one, **{key: value for key, value in part.items() if key != "allOf"}}
    if (name := part.get("$ref", "").rpartition("/")[2]) and name not in on_the_way:
        described = {"description": part["description"]} if part.get("description") else {}
        target = schemas[name]
        if described and target.get("type") == "string":
            target = {**target, **described}
        yield from _walk(schemas, target, pointer, (*on_the_way, name))
        return
    yield pointer, part
    for key, value in (part.get("properties") or {}).items():
        yield from _walk(schemas, value, f"{pointer}/{key}", on_the_way)
    if isinstance(part.get("items"), dict):
        items = {**part["items"]}
        if "description" not in items and items.get("type") == "string":
            items["description"] = part.get("description", "")
        yield from _walk(schemas, items, f"{pointer}/[]", on_the_way)


if __name__ == "__main__":
    FACTS.write_text(json.dumps(facts([json.loads(Path(name).read_bytes()) for name in sys.argv[1:]]), indent=1) + "\n")
