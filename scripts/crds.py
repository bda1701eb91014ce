"""`python scripts/crds.py FOLDER`: the specs of Kyverno's CustomResourceDefinitions, for `tests/policy/test_crds.py`.

FOLDER is `config/crds` of a release. Of each kind the newest version is taken. Written is a list of schemas, in which
each that occurs several times stands once, and which of them is the spec of each kind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).resolve().parent.parent / "tests" / "policy" / "crds.json"
_RANK = ("v1", "v2", "v1beta1", "v2beta1")


class Table:
    """Schemas, each once."""

    def __init__(self) -> None:
        self.schemas: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, schema: dict[str, Any]) -> int:
        """Where its small form stands: type, enum, required, properties, items, values (of any key), open."""
        small: dict[str, Any] = {"type": "integer or string" if schema.get("x-kubernetes-int-or-string")
                                 else schema.get("type", "any")}
        small |= {name: schema[name] for name in ("enum", "required") if name in schema}
        if "properties" in schema:
            small["properties"] = {name: self.place(inner) for name, inner in sorted(schema["properties"].items())}
        for name, short in (("items", "items"), ("additionalProperties", "values")):
            if isinstance(schema.get(name), dict):
                small[short] = self.place(schema[name])
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            small["open"] = True
        return self._places.setdefault(json.dumps(small), self._put(small))

    def _put(self, small: dict[str, Any]) -> int:
        if json.dumps(small) not in self._places:
            self.schemas.append(small)
        return len(self.schemas) - 1


def main() -> None:
    table, kinds = Table(), {}
    for file in sorted(Path(sys.argv[1]).rglob("*.yaml")):
        definition = yaml.safe_load(file.read_text())["spec"]
        if not definition["group"].endswith("kyverno.io") or "report" in definition["group"]:
            continue
        versions = {version["name"]: version for version in definition["versions"] if version["served"]}
        name = next((name for name in _RANK if name in versions), None)
        if name is not None:
            schema = versions[name]["schema"]["openAPIV3Schema"]["properties"]["spec"]
            kinds[f"{definition['group']}/{name} {definition['names']['kind']}"] = table.place(schema)
    lines = ",\n  ".join(json.dumps(schema, separators=(",", ":")) for schema in table.schemas)
    TARGET.write_text(f'{{"kinds": {json.dumps(kinds, indent=1)},\n "schemas": [\n  {lines}]}}\n')


if __name__ == "__main__":
    main()
