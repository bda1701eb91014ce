"""ConstraintTemplate (templates.gatekeeper.sh v1, v1beta1, v1alpha1): a kind of constraints, and what judges for them.

frameworks/constraint pkg/apis/templates and pkg/client/crds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from custody.errors import MalformedError, UnsupportedError
from custody.policy.areas import Areas
from custody.policy.fields import Fields
from custody.policy.gatekeeper.matchschema import MATCH
from custody.policy.gatekeeper.nativesource import NativeSource
from custody.policy.gatekeeper.provider import Providers
from custody.policy.gatekeeper.regosource import RegoSource, Violation
from custody.policy.gatekeeper.structural import Schema
from custody.policy.given import Given
from custody.policy.resources import OPERATIONS

VERSIONS = ("v1", "v1beta1", "v1alpha1")
TARGET = "admission.k8s.gatekeeper.sh"
REGO, NATIVE = "Rego", "K8sNativeValidation"


class Source(Protocol):
    """What judges: one language of a template."""

    inventory: bool
    """Whether it may read what lies in the cluster."""
    whole: bool
    """Whether it may read more of a constraint than its parameters."""
    texts: Sequence[str]
    kinds: Sequence[str]
    """Of evidence, that it may ask for; () for none."""
    areas: Areas | None
    """Of requests, that it reads, where it asks nobody anything."""

    def kinds_with(self, parameters: Any) -> Sequence[str]:
        """`kinds`, and those that a constraint's parameters name."""
        ...

    def violations(self, given: Given, constraint: Mapping[str, Any], providers: Providers) -> Iterator[Violation]:
        """Raises UnansweredError, LookupFailedError."""
        ...


class Template:
    def __init__(self, fields: Fields, version: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.name = Fields(fields.need("metadata", dict), "metadata").need("name", str)
        spec = Fields(fields.need("spec", dict), "spec")
        fields.any("status")
        fields.done()
        crd = Fields(Fields(spec.need("crd", dict), "spec.crd").need("spec", dict), "spec.crd.spec")
        names = Fields(crd.need("names", dict), "spec.crd.spec.names")
        self.kind = names.need("kind", str)
        names.texts("shortNames")
        names.done()
        if self.name != self.kind.lower():
            raise MalformedError("metadata.name", got=self.name, expected=f"the kind in small letters: "
                                 f"{self.kind.lower()}")
        self.parameters = _parameters(crd, version)
        crd.done()
        targets = spec.each("targets")
        spec.done()
        if len(targets) != 1:
            raise MalformedError("spec.targets", got=f"{len(targets)} targets", expected="one")
        target = targets[0]
        if (named := target.need("target", str)) != TARGET:
            raise MalformedError(target.path("target"), got=named, expected=TARGET)
        self.operations = _operations(target)
        self.sources = _sources(target)
        """By engine, the one that is asked first."""
        self.source = next(iter(self.sources.values()))
        target.done()
        native = self.sources.get(NATIVE)
        self.generates = native.generates if isinstance(native, NativeSource) else None
        """generateVAP of its CEL."""
        self.schema = Schema(Fields(constraint_schema(), "spec.crd"))
        if self.parameters is not None:
            self.schema.properties["spec"].properties["parameters"] = self.parameters


def _parameters(crd: Fields, version: str) -> Schema | None:
    """The schema of `spec.parameters`; None where constraints have none. Of v1 it is structural where it does not say
    otherwise, of the versions before it is not."""
    validation = crd.inner("validation")
    legacy = None if validation is None else validation.take("legacySchema", bool)
    written = None if validation is None else validation.take("openAPIV3Schema", dict)
    if validation is not None:
        validation.done()
    if legacy is None:
        legacy = version != "v1"
    if written is None:
        return Schema(Fields({"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                             "spec.crd.spec.validation.openAPIV3Schema")) if legacy else None
    return Schema(Fields(written, "spec.crd.spec.validation.openAPIV3Schema"), legacy=legacy)


def _operations(target: Fields) -> tuple[str, ...]:
    """Those of requests that it judges; () where it does not say."""
    operations = target.texts("operations")
    if unknown := [operation for operation in operations if operation not in ("*", *OPERATIONS)]:
        raise MalformedError(target.path("operations"), got=unknown[0], expected=", ".join(["*", *OPERATIONS]))
    return OPERATIONS if "*" in operations else tuple(operations)


def _sources(target: Fields) -> dict[str, Source]:
    """CEL before Rego, as Gatekeeper chooses where both are there; both must compile."""
    written: dict[str, Fields] = {}
    for code in target.each("code"):
        engine, source = code.need("engine", str), code.need("source", dict)
        if engine not in (REGO, NATIVE):
            raise UnsupportedError(code.path("engine"), f"{engine} is not evaluated by custody yet",
                                   hint=f"{REGO} and {NATIVE} are")
        if engine in written:
            raise MalformedError(code.path("engine"), got=f"{engine} twice", expected="each once")
        written[engine] = Fields(source, code.path("source"))
        code.done()
    if target.has("rego"):
        legacy = {"rego": target.need("rego", str), "libs": target.texts("libs")}
        written[REGO] = Fields(legacy, target.where)
    else:
        target.any("rego")
        target.any("libs")
    sources: dict[str, Source] = {}
    if NATIVE in written:
        sources[NATIVE] = NativeSource(written[NATIVE])
    if REGO in written:
        sources[REGO] = RegoSource(written[REGO])
    if not sources:
        raise MalformedError(target.where, got="no code", expected=f"rego, or code of {REGO} or {NATIVE}")
    return sources


def constraint_schema() -> dict[str, Any]:
    """Of a constraint, but for its parameters (pkg/client/crds/schema.go)."""
    points = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}
    scoped = {"type": "array", "items": {"type": "object", "properties": {
        "action": {"type": "string"}, "enforcementPoints": points}}}
    return {"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                     "properties": {"name": {"type": "string", "maxLength": 63}}},
        "spec": {"type": "object", "properties": {
            "match": MATCH, "enforcementAction": {"type": "string", "default": "deny"},
            "scopedEnforcementActions": scoped}},
        "status": {"x-kubernetes-preserve-unknown-fields": True}}}
