"""The policy engines by the kinds of documents that they read, and the two steps from documents to policies.

A document is compiled by itself; then the documents of an engine are linked: a template with its constraints, a policy
with its bindings, parameters and exceptions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any

from custody.errors import CustodyError, UnsupportedError, language_errors
from custody.kit.near import near
from custody.policy.borders import stay
from custody.policy.bounds import bound
from custody.policy.engine import Engine, Finding, Unit
from custody.policy.excepting import attach
from custody.policy.fields import Fields
from custody.policy.imports.configuration import is_configuration
from custody.policy.kinds import Kinds
from custody.policy.rule import Policy


class Late:
    """An engine whose module is imported when the first document of it comes: the modules of all take a third of a
    second."""

    def __init__(self, module: str, name: str) -> None:
        """`module` below this package, and the engine's class there."""
        self._module, self._name = module, name

    @cached_property
    def _engine(self) -> Engine:
        engine: Engine = getattr(import_module(f"{__package__}.{self._module}"), self._name)()
        return engine

    @property
    def evaluates(self) -> str:
        return self._engine.evaluates

    def compile(self, document: dict[str, Any]) -> Any:
        return self._engine.compile(document)

    def again(self, compiled: Any) -> Any:
        return self._engine.again(compiled)

    def link(self, units: Sequence[Unit]) -> Iterable[Policy]:
        return self._engine.link(units)

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterable[Finding]:
        return self._engine.findings(units, policy, kinds)


_KYVERNO = Late("kyverno.engine", "Kyverno")
_CLEANING = Late("kyverno.cleanup", "Cleaning")
_VALIDATING = Late("cel.engine", "Validating")
_IMAGES = Late("cel.imageengine", "ImageValidating")
_EXEMPTING = Late("exempting", "Exempting")
_ADMISSION = Late("kubernetes.validating", "AdmissionPolicies")
_MUTATING_ADMISSION = Late("kubernetes.mutating", "MutatingAdmission")
_MUTATING = Late("cel.mutatingpolicy", "Mutating")
_GENERATING = Late("cel.generating", "Generating")
_DELETING = Late("cel.deleting", "Deleting")
_CONNAISSEUR = Late("imports.connaisseur", "Connaisseur")
_GATEKEEPER = Late("gatekeeper.engine", "Gatekeeper")
_SECURITY = Late("podsecurity.engine", "PodSecurity")
_EVERY = "*"
ENGINES: dict[tuple[str, str], Engine] = {
    ("kyverno.io", "ClusterPolicy"): _KYVERNO,
    ("kyverno.io", "Policy"): _KYVERNO,
    ("kyverno.io", "CleanupPolicy"): _CLEANING,
    ("kyverno.io", "ClusterCleanupPolicy"): _CLEANING,
    ("kyverno.io", "PolicyException"): _EXEMPTING,
    ("policies.kyverno.io", "ValidatingPolicy"): _VALIDATING,
    ("policies.kyverno.io", "NamespacedValidatingPolicy"): _VALIDATING,
    ("policies.kyverno.io", "ImageValidatingPolicy"): _IMAGES,
    ("policies.kyverno.io", "NamespacedImageValidatingPolicy"): _IMAGES,
    ("policy.sigstore.dev", "ClusterImagePolicy"): Late("imports.clusterimage", "ClusterImage"),
    ("policies.kyverno.io", "PolicyException"): _EXEMPTING,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): _ADMISSION,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): _ADMISSION,
    ("policies.kyverno.io", "MutatingPolicy"): _MUTATING,
    ("policies.kyverno.io", "NamespacedMutatingPolicy"): _MUTATING,
    ("policies.kyverno.io", "GeneratingPolicy"): _GENERATING,
    ("policies.kyverno.io", "NamespacedGeneratingPolicy"): _GENERATING,
    ("policies.kyverno.io", "DeletingPolicy"): _DELETING,
    ("policies.kyverno.io", "NamespacedDeletingPolicy"): _DELETING,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): _MUTATING_ADMISSION,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): _MUTATING_ADMISSION,
    ("apiserver.config.k8s.io", "AdmissionConfiguration"): _SECURITY,
    ("apiserver.k8s.io", "AdmissionConfiguration"): _SECURITY,
    ("pod-security.admission.config.k8s.io", "PodSecurityConfiguration"): _SECURITY,
    ("templates.gatekeeper.sh", "ConstraintTemplate"): _GATEKEEPER,
    ("constraints.gatekeeper.sh", _EVERY): _GATEKEEPER,
    ("config.gatekeeper.sh", "Config"): _GATEKEEPER,
    ("expansion.gatekeeper.sh", "ExpansionTemplate"): _GATEKEEPER,
    ("externaldata.gatekeeper.sh", "Provider"): _GATEKEEPER,
    ("mutations.gatekeeper.sh", "Assign"): _GATEKEEPER,
    ("mutations.gatekeeper.sh", "AssignImage"): _GATEKEEPER,
    ("mutations.gatekeeper.sh", "AssignMetadata"): _GATEKEEPER,
    ("mutations.gatekeeper.sh", "ModifySet"): _GATEKEEPER,
    ("syncset.gatekeeper.sh", "SyncSet"): _GATEKEEPER,
}
"""By group and kind. Of a group whose kinds are made by templates, all go to one engine."""


class Compiled:
    """One document with what its engine made of it, for any number of sets of policies."""

    def __init__(self, document: Any, where: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.document = document
        self.engine, unit = compile_document(document, 0, where)
        self._made = unit.compiled

    @cached_property
    def text(self) -> str:
        """The document as JSON, as the digest of a set has it."""
        return json.dumps(self.document, sort_keys=True, separators=(",", ":"))

    @cached_property
    def written(self) -> str:
        """The document with its keys in their order, which messages may follow: what is written so is compiled to the
        same."""
        return written(self.document)

    def unit(self, at: int, where: str, *, shared: bool) -> Unit:
        """The document at its position in a set. `shared`: other sets have it too, and go on unchanged."""
        return Unit(at, where, self.document, self.engine.again(self._made) if shared else self._made)


def written(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def linked(parts: Sequence[Compiled], places: Sequence[str], *, shared: bool) -> list[Policy]:
    """The policies of all documents, in the order of the documents. Raises MalformedError, UnsupportedError."""
    units: dict[Engine, list[Unit]] = {}
    for at, (part, where) in enumerate(zip(parts, places, strict=True)):
        units.setdefault(part.engine, []).append(part.unit(at, where, shared=shared))
    policies = [policy for engine, parts in units.items() for policy in engine.link(parts)]
    attach(policies, [unit.compiled for unit in units.get(_EXEMPTING, ())])
    return sorted(policies, key=lambda policy: policy.parts)


def compile_document(document: Any, at: int, where: str) -> tuple[Engine, Unit]:
    """The first step, for the document at one position. Raises MalformedError, UnsupportedError."""
    with standing(where):
        engine = engine_of(document)
        bound(document)
        stay(document)
        return engine, Unit(at, where, document, engine.compile(document))


def engine_of(document: Any) -> Engine:
    """Raises MalformedError for what is no object of Kubernetes, UnsupportedError for what no engine reads."""
    if is_configuration(document):
        return _CONNAISSEUR
    fields = Fields(document, "")
    kind, version = fields.need("kind", str), fields.need("apiVersion", str)
    group = version.rpartition("/")[0]
    engine = ENGINES.get((group, kind)) or ENGINES.get((group, _EVERY))
    if engine is None:
        raise unsupported(kind, version)
    return engine


def unsupported(kind: str, version: str) -> UnsupportedError:
    meant = near(kind, dict.fromkeys(name for _, name in ENGINES if name != _EVERY))
    if meant is None:
        known: dict[str, list[str]] = {}
        for group, name in ENGINES:
            known.setdefault(group, []).append("every kind" if name == _EVERY else name)
        meant = "; ".join(f"{', '.join(names)} of {group}" for group, names in known.items()) + " are"
    return UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet", hint=meant)


@contextmanager
def standing(where: str) -> Iterator[None]:
    """Errors of a document are said with its place, and are custody's."""
    try:
        with language_errors():
            yield
    except CustodyError as error:
        error.place = where
        error.message = f"{where}: {error.message}"
        error.args = (error.message,)
        raise
