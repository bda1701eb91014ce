"""Each field of Kyverno's CustomResourceDefinitions, in a policy by itself: evaluated, or refused by its path.

`crds.json` (`scripts/crds.py`) has the definitions of Kyverno 1.19.1, `crd_examples.yaml` a policy of each form. A field is
put into each place where its parent is: with a value that fits it is taken or refused by name, and where it is taken,
a value of another type is refused, so that it is read. A field that is taken whatever it holds would be ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.formats import yaml
from custody.policy.kyverno import globalcontext
from custody.policy.load import PolicySet

_HERE = Path(__file__).parent
_CRDS = json.loads((_HERE / "crds.json").read_text())
_SCHEMAS: list[dict[str, Any]] = _CRDS["schemas"]
_KINDS = {(name.partition("/")[0], name.rpartition(" ")[2]): _SCHEMAS[at] for name, at in _CRDS["kinds"].items()}
EXAMPLES = yaml.documents((_HERE / "crd_examples.yaml").read_bytes(), "crd_examples.yaml")
SAMPLES: dict[str, Any] = {
    "expression": "true", "messageExpression": "'a'", "valueExpression": "'a'", "kinds": ["Pod"],
    "operations": ["CREATE"], "operator": "In", "apiVersion": "v1", "url": "https://a.example", "jmesPath": "a", "schedule": "* * * * *"}
"""Values that fit fields of these names, where not any value of the type does."""


SHORTER = {"spec.attestors[0].cosign.keyless.roots"}
"""Fields whose errors name what they stand in: certificates are read where a signer's trust is put together."""


def _value(schema: dict[str, Any], name: str) -> Any:
    """A small value that fits."""
    if name in SAMPLES:
        return SAMPLES[name]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"]
    if kind == "array":
        return [_value(_SCHEMAS[schema["items"]], "")]
    if kind == "object":
        members = schema.get("properties", {})
        if "values" in schema:
            return {"a": _value(_SCHEMAS[schema["values"]], "")}
        names = schema.get("required") or list(members)[:1]
        return {member: _value(_SCHEMAS[members[member]], member) for member in names}
    return {"string": "a", "boolean": True, "integer": 1}.get(kind, "a")


def _wrong(schema: dict[str, Any]) -> Any:
    """A value of another type."""
    return {"array": {"a": 1}, "object": 7, "string": [{}], "boolean": "x", "integer": "x"}.get(schema["type"], "")


def _places(schema: dict[str, Any], value: Any, path: tuple[str | int, ...]) -> Iterator[
        tuple[tuple[str | int, ...], dict[str, Any], bool]]:
    """(path, its schema, whether it is there) of all fields that are there or could be put in."""
    if isinstance(value, dict) and "properties" in schema:
        for name, at in schema["properties"].items():
            inner = _SCHEMAS[at]
            yield (*path, name), inner, name in value
            if name in value:
                yield from _places(inner, value[name], (*path, name))
    elif isinstance(value, list) and "items" in schema:
        for number, member in enumerate(value):
            yield from _places(_SCHEMAS[schema["items"]], member, (*path, number))


def _put(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    copied: Any = document.copy()
    if isinstance(copied, dict) and path[0] not in copied:
        copied[path[0]] = value
    else:
        copied[path[0]] = _put(document[path[0]], path[1:], value)
    return copied


def _dotted(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _said(document: Any) -> UnsupportedError | MalformedError | None:
    try:
        if document["kind"] == globalcontext.KIND:  # it is no policy
            globalcontext.compile_entry(document)
        else:
            PolicySet([document])
    except (UnsupportedError, MalformedError) as error:
        return error
    return None


def _walked(document: Any) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) of one example; fields that are taken are looked into as well."""
    schema = _KINDS[document["apiVersion"].partition("/")[0], document["kind"]]
    ahead = [(document, place) for place in _places(schema, document["spec"], ("spec",))]
    while ahead:
        holder, (path, inner, there) = ahead.pop()
        where = _dotted(path)
        if not there:
            filled = _put(holder, path, _value(inner, str(path[-1])))
            error = _said(filled)
            if error is not None:
                if _dotted(path[:-1]) not in error.message and where not in SHORTER:
                    yield where, f"refused, and not by its path: {error.message}"
                continue
            parent: Any = filled
            for step in path:
                parent = parent[step]
            ahead += [(filled, place) for place in _places(inner, parent, path)]
        if inner["type"] in ("any", "integer or string"):
            continue
        wrong = _said(_put(holder, path, _wrong(inner)))
        if wrong is None:
            yield where, f"taken with {_wrong(inner)!r}, so it is not read"
        elif _dotted(path[:-1]) not in wrong.message:
            yield where, f"of another type, and not refused by its path: {wrong.message}"


def test_each_kind_has_an_example() -> None:
    shown = {id(_KINDS[document["apiVersion"].partition("/")[0], document["kind"]]) for document in EXAMPLES}
    assert {kind for (_, kind), schema in _KINDS.items() if id(schema) not in shown} == {"UpdateRequest"}


@pytest.mark.parametrize("document", EXAMPLES, ids=lambda it: f"{it['kind']}/{it['metadata']['name']}")
def test_each_field_is_evaluated_or_refused_by_its_path(document: Any) -> None:
    assert _said(document) is None
    assert list(_walked(document)) == []
