"""The definitions that custody prints write the defaults that Kyverno's own write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from custody.admission.defaults import defaults
from custody.admission.definitions import DEFINITIONS, Definition
from tests.chainsaw.cluster import CRDS, definitions


def written(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    if "default" in schema:
        yield path.lstrip("."), schema["default"]
    for name, inner in (schema.get("properties") or {}).items():
        yield from written(inner, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from written(schema["items"], f"{path}[]")


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_each_default_is_in_the_schema(definition: Definition) -> None:
    for version in definition.document()["spec"]["versions"]:
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        assert dict(written(spec)) == defaults(definition.group, definition.kind, version["name"])


@pytest.mark.skipif(not CRDS.is_dir(), reason="Kyverno's source is not here")
def test_they_are_kyvernos() -> None:
    theirs = {document["metadata"]["name"]: document for document in definitions(CRDS)}
    for definition in DEFINITIONS:
        for version in theirs[definition.name]["spec"]["versions"]:
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
            of_source = {path: value for path, value in written(spec) if "PullSecrets" not in path}
            assert of_source == defaults(definition.group, definition.kind, version["name"]), definition.name
