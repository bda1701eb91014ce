"""Regenerates src/custody/formats/kubernetes/schemas.json from OpenAPI documents (v3) of several minor versions.

    scripts/schemas.py FOLDER…     of each version one, from the oldest to the newest: all *.json below are read

Those of kubectl-validate, which Kyverno's command line reads as well, are in pkg/openapiclient/builtins of the module
sigs.k8s.io/kubectl-validate@v0.0.5-0.20260105161640-a97ccfaca20b (`go mod download -json`). What is kept is how objects
are merged: types of fields and lists, keys, strategies. A field that several versions have is as the newest has it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "src" / "custody" / "formats" / "kubernetes" / "schemas.json"
_KEPT = ("type", "format", "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-list-type",
         "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields",
         "x-kubernetes-int-or-string", "x-kubernetes-embedded-resource")
_REF = "#/components/schemas/"
_PREFIX = "io.k8s."


def _short(name: str) -> str:
    return name.removeprefix(_REF).removeprefix(_PREFIX)


def _field(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without what merging does not ask for; references are short names."""
    kept = {key: schema[key] for key in _KEPT if key in schema}
    if isinstance(schema.get("default"), (str, int, float, bool)):
        kept["default"] = schema["default"]
    references = [part["$ref"] for part in (schema, *schema.get("allOf", ())) if "$ref" in part]
    if references:
        kept["$ref"] = _short(references[0])
    if "items" in schema:
        kept["items"] = _field(schema["items"])
    if "additionalProperties" in schema:
        more = schema["additionalProperties"]
        kept["additionalProperties"] = _field(more) if isinstance(more, dict) else more
    return kept


def _types(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    types: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    for file in sorted(folder.rglob("*.json")):
        for name, schema in json.loads(file.read_bytes()).get("components", {}).get("schemas", {}).items():
            types[_short(name)] = {**_field(schema), "properties": {
                field: _field(inner) for field, inner in schema.get("properties", {}).items()}}
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                if "metadata" in schema.get("properties", {}) and not name.endswith(("List", "Options", ".Status")):
                    kinds["/".join(filter(None, (kind["group"], kind["version"], kind["kind"])))] = _short(name)
    return types, kinds


def table(folders: list[Path]) -> str:
    """JSON, one field schema, type and kind a line; `properties` are positions in the list of field schemas."""
    types: dict[str, dict[str, Any]] = {}
    kinds: dict[str, str] = {}
    for folder in folders:
        newer, named = _types(folder)
        for name, schema in newer.items():
            properties = {**types.get(name, {}).get("properties", {}), **schema["properties"]}
            types[name] = {**schema, "properties": properties}
        kinds |= named
    reached: dict[str, None] = {}
    left = sorted(kinds.values())
    while left:
        name = left.pop()
        if name not in reached:
            reached[name] = None
            left += _references(types[name])
    written = {json.dumps(field, sort_keys=True) for name in reached for field in types[name]["properties"].values()}
    fields = sorted(written)
    position = {field: at for at, field in enumerate(fields)}
    compact = {name: {**{key: value for key, value in types[name].items() if key != "properties"}, **(
        {"properties": {field: position[json.dumps(inner, sort_keys=True)]
                        for field, inner in sorted(types[name]["properties"].items())}}
        if types[name]["properties"] else {})} for name in sorted(reached)}
    lines = ['{"fields": [', ",\n".join(fields), '],\n"types": {', ",\n".join(
        f"{json.dumps(name)}: {json.dumps(schema, separators=(',', ':'))}" for name, schema in compact.items()),
        '},\n"kinds": {', ",\n".join(f"{json.dumps(kind)}: {json.dumps(kinds[kind])}" for kind in sorted(kinds)), "}}"]
    return "\n".join(lines) + "\n"


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for part in schema for name in _references(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for part in schema.values() for name in _references(part)]


if __name__ == "__main__":
    OUT.write_text(table([Path(name) for name in sys.argv[1:]]))
