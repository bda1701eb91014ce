"""Merges of objects: the answers in kubernetes_merges.json are those of k8s.io/apiserver and apimachinery 0.36.3.

`apply` is the first's mutating/patch.ApplyStructuredMergeDiff with the schemas of Kubernetes 1.35, `strategic` the
second's strategicpatch.StrategicMergePatch. Each case: what is done, the object, the patch, the result or the error.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from custody.errors import MalformedError
from custody.formats.kubernetes import apply, strategic
from custody.formats.kubernetes.apply import MergeError
from custody.formats.kubernetes.schema import Schemas, Type, builtin

_CASES = json.loads((Path(__file__).parent / "kubernetes_merges.json").read_bytes())
_WIDGET = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {
    "group": "example.com", "names": {"kind": "Widget", "plural": "widgets"}, "scope": "Namespaced", "versions": [
        {"name": "v1", "served": True, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                          "items": {"type": "object", "properties": {
                              "id": {"type": "string"}, "n": {"type": "integer"}}}},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}}}]}}


def _pod() -> Type:
    kind = builtin().kind("v1", "Pod")
    assert kind is not None
    return kind


def test_there_are_cases_of_both_merges_and_of_both_outcomes() -> None:
    assert {(case[0], type(case[3])) for case in _CASES} == {
        ("apply", dict), ("apply", str), ("strategic", dict), ("strategic", str)}


@pytest.mark.parametrize("at", range(len(_CASES)))
def test_merged_as_the_api_server_merges(at: int) -> None:
    mode, live, patch, expected = copy.deepcopy(_CASES[at])
    kind = builtin().kind(live["apiVersion"], live["kind"])
    assert kind is not None
    try:
        result: Any = apply.apply(kind, live, patch) if mode == "apply" else strategic.merge(kind, live, patch)
    except MergeError as error:
        result = error.message
    assert result == expected
    assert [live, patch] == _CASES[at][1:3], "neither is changed in place"


def test_a_list_of_maps_is_merged_by_all_of_its_keys_and_their_defaults() -> None:
    live = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "TCP"}]}]}}
    patch = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 53, "hostPort": 1},
                                                             {"containerPort": 53, "protocol": "UDP"}]}]}}
    assert apply.apply(_pod(), live, patch)["spec"]["containers"] == [{"name": "a", "ports": [
        {"containerPort": 53, "protocol": "TCP", "hostPort": 1}, {"containerPort": 53, "protocol": "UDP"}]}]


def test_what_is_atomic_is_changed_only_where_that_is_allowed() -> None:
    live, patch = {"spec": {"nodeSelector": {"a": "b"}}}, {"spec": {"nodeSelector": {"c": "d"}}}
    with pytest.raises(MergeError, match=r"may not mutate atomic arrays, maps or structs: \.spec\.nodeSelector"):
        apply.apply(_pod(), live, patch)
    assert apply.apply(_pod(), live, patch, atomics=True) == patch


@pytest.mark.parametrize(("patch", "reason"), [
    ({"spec": {"nodeNames": "a"}}, r"patch object .*: \.spec\.nodeNames: field not declared in schema"),
    ({"spec": {"priority": "a"}}, r"\.spec\.priority: expected numeric \(int or float\), got string"),
    ({"spec": {"hostNetwork": 1}}, r"\.spec\.hostNetwork: expected boolean, got &\{1\}"),
    ({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}, r'duplicate entries for key \[name="a"\]'),
])
def test_a_patch_that_does_not_fit_is_refused_with_the_path(patch: dict[str, Any], reason: str) -> None:
    with pytest.raises(MergeError, match=reason):
        apply.apply(_pod(), {}, patch)


def test_custom_resources_are_merged_by_their_definition_or_by_what_a_server_says() -> None:
    by_crd = Schemas.of_crd(_WIDGET).kind("example.com/v1", "Widget")
    schema = _WIDGET["spec"]["versions"][0]["schema"]["openAPIV3Schema"]  # type: ignore[index]
    by_server = Schemas.of_openapi({"components": {"schemas": {"com.example.v1.Widget": {**schema, (
        "x-kubernetes-group-version-kind"): [{"group": "example.com", "version": "v1", "kind": "Widget"}]}}}}
    ).kind("example.com/v1", "Widget")
    live = {"spec": {"parts": [{"id": "a", "n": 1}], "tags": ["x"], "free": {"deep": {"one": 1}}}}
    patch = {"spec": {"parts": [{"id": "b"}, {"id": "a", "n": 2}], "tags": ["y"], "free": {"deep": {"two": [2]}}}}
    for kind in (by_crd, by_server):
        assert kind is not None
        assert apply.apply(kind, live, patch, atomics=True) == {"spec": {
            "parts": [{"id": "b"}, {"id": "a", "n": 2}], "tags": ["x", "y"],
            "free": {"deep": {"one": 1, "two": [2]}}}}
    assert by_crd is not None
    with pytest.raises(MergeError, match="field not declared in schema"):
        apply.apply(by_crd, live, {"spec": {"other": 1}})


@pytest.mark.parametrize("document", [None, {}, {"components": {"schemas": []}}, {"components": {"schemas": {"a": 1}}}])
def test_what_is_no_openapi_document_is_refused(document: Any) -> None:
    with pytest.raises(MalformedError, match="openapi"):
        Schemas.of_openapi(document)
