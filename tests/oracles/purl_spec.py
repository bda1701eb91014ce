"""purl-spec: what the package-url project expects of every implementation (parse, build, validate)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custody.errors import MalformedError
from custody.formats import purl


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted(folder.rglob("*-test.json")):
        for number, case in enumerate(json.loads(file.read_text())["tests"]):
            yield f"{file.stem}[{number}] {case['test_type']}: {case['description']}", _reason(case)


def _reason(case: dict[str, Any]) -> str | None:
    given = case["input"]
    try:
        # "Required" is what the standard's own words say; "recommended", and what is to be made canonical, is how any
        # text is to be mended: the files want capitals in keys refused in the one and folded in the other.
        strict = case["test_type"] == "parse" and case["test_group"] == "required"
        got = purl.parse(given, strict=strict) if isinstance(given, str) else _build(given)
    except MalformedError as error:
        return None if case["expected_failure"] else f"refused {given!r}: {error}"
    if case["expected_failure"]:
        return f"accepted {given!r} as {got}"
    expected = case["expected_output"]
    if isinstance(expected, str):
        return None if str(got) == expected else f"{given!r}: got {got}, expected {expected}"
    parts = {"type": got.type, "namespace": got.namespace, "name": got.name, "version": got.version,
             "qualifiers": dict(got.qualifiers) or None, "subpath": got.subpath}
    return None if parts == expected else f"{given!r}: got {parts}, expected {expected}"


def _build(parts: dict[str, Any]) -> purl.PackageUrl:
    return purl.build(parts["type"], parts["name"], namespace=parts["namespace"], version=parts["version"],
                      qualifiers=parts["qualifiers"], subpath=parts["subpath"])
