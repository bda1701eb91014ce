"""What mutating policies of CEL do to an object: apply configurations and JSON patches.

    - patchType: ApplyConfiguration     applyConfiguration: {expression: 'Object{spec: Object.spec{replicas: 1}}'}
    - patchType: JSONPatch              jsonPatch: {expression: '[JSONPatch{op: "remove", path: "/spec/x"}]'}

As admissionregistration.k8s.io/v1 Mutation and k8s.io/apiserver pkg/admission/plugin/policy/mutating/patch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from custody.errors import MalformedError
from custody.formats import jsonpatch
from custody.formats.kubernetes import apply, patches
from custody.formats.kubernetes.apply import MergeError
from custody.formats.kubernetes.schema import Schemas, Type, builtin
from custody.policy.cel.environment import Expressions
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.ports.lookup import ApiCall
from policylang.cel.compile.program import Program
from policylang.cel.kubernetes.objects import ObjectValue, misnamed
from policylang.cel.protobuf.wellknown import to_json
from policylang.cel.types import list_of, message
from policylang.cel.values.values import Uint
from policylang.errors import Shape

OBJECT = message("Object")
PATCHES = list_of(message("JSONPatch"))

MAX_PATCH = jsonpatch.MAX_SIZE

Document = dict[str, Any]


class Mutation(Protocol):
    """One entry of `mutations`."""

    def __call__(self, values: Mapping[str, Any], document: Document, given: Given) -> Document:
        """The object after it; `document` is not changed.

        Raises MergeError for what does not fit, CelError, and what asking for a schema raises.
        """
        ...


def compile_mutations(entries: Sequence[Fields], expressions: Expressions, *, atomics: bool = False,
                      strict: bool = False) -> list[Mutation]:
    """`atomics`: whether an apply configuration may change what is atomic. `strict`: as the API server decodes.

    Raises MalformedError.
    """
    return [_compile(entry, expressions, atomics=atomics, strict=strict) for entry in entries]


def _compile(entry: Fields, expressions: Expressions, *, atomics: bool, strict: bool) -> Mutation:
    kind = entry.need("patchType", str)
    names = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
    if kind not in names:
        raise MalformedError(entry.path("patchType"), got=kind, expected="ApplyConfiguration or JSONPatch")
    inner = entry.inner(names[kind])
    if inner is None:
        raise MalformedError(entry.path(names[kind]), got="nothing", expected=f"what {kind} does")
    text = inner.need("expression", str)
    inner.done()
    entry.done()
    where = inner.path("expression")
    if kind == "JSONPatch":
        return JsonPatch(expressions.program(text, where, PATCHES), strict=strict)
    return ApplyConfiguration(expressions.program(text, where, OBJECT), atomics=atomics)


class ApplyConfiguration:
    """What an expression says of an object is merged into it, by the schema of its kind."""

    def __init__(self, program: Program, *, atomics: bool = False) -> None:
        self._program, self._atomics = program, atomics

    def __call__(self, values: Mapping[str, Any], document: Document, given: Given) -> Document:
        said = self._program(values)
        if wrong := misnamed(said):
            raise MergeError("type mismatch: " + "\n".join(wrong))
        patch = native(said)
        patch |= {name: document[name] for name in ("apiVersion", "kind") if name in document}
        kind = schema_of(document, given)
        if kind is None:
            raise MergeError("error applying patch: type converter must not be nil")
        try:
            return apply.apply(kind, document, patch, atomics=self._atomics)
        except MergeError as error:
            raise MergeError(f"error applying patch: {error.message}") from None


class JsonPatch:
    """A list of operations (RFC 6902). Where a `test` does not hold, the object stays as it is."""

    def __init__(self, program: Program, *, strict: bool = False) -> None:
        """`strict`: whether what it leaves must have no fields but those that are known."""
        self._program, self._strict = program, strict

    def __call__(self, values: Mapping[str, Any], document: Document, given: Given) -> Document:
        operations = [_operation(said) for said in self._program(values)]
        try:
            patched = patches.apply(document, operations, given.memo.setdefault("copies", patches.Copies()))
        except patches.TestFailedError:
            return document
        except MergeError as error:
            raise MergeError(f"JSON Patch: {error.message}") from None
        if not isinstance(patched, dict):
            raise MergeError(f"JSON Patch: got {Shape(patched)}, expected an object")
        if self._strict and (kind := builtin().kind(str(patched.get("apiVersion")), str(patched.get("kind")))):
            _strict(kind, patched)
        return patched


def _strict(kind: Type, document: Document) -> None:
    for path, reason in apply.validate(kind, document, duplicates=True):
        if reason == apply.UNDECLARED:
            raise MergeError(f'Internal error occurred: strict decoding error: unknown field "{path[1:]}"')
        raise MergeError(f"Internal error occurred: {path[1:]}: {reason}")


def _operation(said: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"op": said.get("op", ""), "path": said.get("path", "")}
    if said.get("from"):
        operation["from"] = said["from"]
    if "value" in said:
        value = said["value"]
        if isinstance(value, ObjectValue) and (wrong := misnamed(value, value.name)):
            raise MergeError("type mismatch: " + "\n".join(wrong))
        operation["value"] = whole(to_json(value))
    return operation


def schema_of(document: Document, given: Given) -> Type | None:
    """How an object is merged; None where its kind is not known. Raises UnansweredError, LookupFailedError."""
    version, kind = str(document.get("apiVersion")), str(document.get("kind"))
    known = builtin().kind(version, kind)
    if known is not None or "/" not in version:
        return known
    memo = ("schemas", version)
    if memo not in given.memo:
        answer = given.answers.value(ApiCall(f"/openapi/v3/apis/{version}"))
        given.memo[memo] = None if answer is None else Schemas.of_openapi(answer, version)
    schemas: Schemas | None = given.memo[memo]
    return None if schemas is None else schemas.kind(version, kind)


def difference(document: Document, mutated: Document) -> list[dict[str, Any]]:
    """The patch that a policy's mutations are together. Raises MergeError for one that is too large."""
    patch = [] if mutated is document else jsonpatch.diff(document, mutated)
    if not jsonpatch.fits(patch, MAX_PATCH):
        raise MergeError(f"the mutations are a patch of more than {MAX_PATCH} bytes")
    return patch


def native(value: Any) -> Any:
    """A value of CEL as JSON has it; null is apply.NULL. Raises MergeError for one that it has not."""
    if value is None:
        return apply.NULL
    if isinstance(value, dict):
        if any(not isinstance(key, str) for key in value):
            raise MergeError("map keys must be strings")
        return {key: native(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [native(inner) for inner in value]
    if isinstance(value, Uint):
        return int(value)
    if isinstance(value, (str, bool, int, float)):
        return whole(value)
    raise MergeError(f"got {Shape(value)}, expected a value of JSON")


def whole(value: Any) -> Any:
    """With the numbers that have no fraction as whole ones, which is how they are written."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return value
