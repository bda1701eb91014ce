"""Policies as they are tried out: compiled, each with the document that it is named by."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from custody.errors import CustodyError, UnsupportedError, UsageError
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet, regular
from custody.policy.rule import Policy
from custody.services.simulation.documents import read

KYVERNO = "kyverno.io"
CEL = "policies.kyverno.io"
EXCEPTION = "PolicyException"
_REPLACED = {
    "ClusterPolicy": "ValidatingPolicy, MutatingPolicy, GeneratingPolicy or ImageValidatingPolicy",
    "Policy": "NamespacedValidatingPolicy and the other namespaced policy types",
    "ClusterCleanupPolicy": "DeletingPolicy", "CleanupPolicy": "NamespacedDeletingPolicy", EXCEPTION: "PolicyException"}
"""Kinds that Kyverno is to drop, and what it has instead."""
_INSIDE = re.compile(r"(\[\d+])?(\.items\[\d+])*$")


@dataclass(frozen=True, eq=False)
class Tried:
    """One policy."""

    policy: Policy
    document: dict[str, Any]

    @cached_property
    def group(self) -> str:
        return str(self.document.get("apiVersion", "")).rpartition("/")[0]

    @cached_property
    def kind(self) -> str:
        return str(self.document.get("kind", ""))

    @cached_property
    def name(self) -> str:
        return str(self._metadata.get("name", ""))

    @cached_property
    def namespace(self) -> str:
        return str(self._metadata.get("namespace") or "")

    @cached_property
    def key(self) -> str:
        """As reports name it: with its namespace, where it has one."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @cached_property
    def annotations(self) -> dict[str, str]:
        annotations = self._metadata.get("annotations")
        return annotations if isinstance(annotations, dict) else {}

    @cached_property
    def spec(self) -> dict[str, Any]:
        spec = self.document.get("spec")
        return spec if isinstance(spec, dict) else {}

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        metadata = self.document.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def writes(self, *fields: str) -> bool:
        """Whether one of its rules has one of these fields."""
        return any(isinstance(rule, dict) and any(rule.get(name) for name in fields)
                   for rule in self.spec.get("rules") or ())

    @cached_property
    def scored(self) -> bool:
        return self.annotations.get("policies.kyverno.io/scored") != "false"

    @cached_property
    def of_json(self) -> bool:
        """Whether it is about JSON, whatever it is."""
        evaluation = self.spec.get("evaluation")
        return isinstance(evaluation, dict) and evaluation.get("mode") == "JSON"


def reason(error: CustodyError, where: str) -> str:
    """An error's words without the place that it begins with, and what may have been meant."""
    return error.message.removeprefix(where).lstrip(":. ") + (f" ({error.hint})" if error.hint else "")


class Refused(NamedTuple):
    """A document that is not tried out, and why not."""

    where: str
    name: str
    error: CustodyError

    @property
    def unsupported(self) -> bool:
        """Whether custody does not evaluate it yet; else it is wrong."""
        return isinstance(self.error, UnsupportedError)


@dataclass
class Loaded:
    compiled: PolicySet
    policies: list[Tried] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    exceptions: int = 0
    documents: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """With where they stand."""


def tolerant(kinds: Kinds | None = None) -> Kinds:
    """The kinds of Kubernetes, and any other that a policy names: whether a cluster serves them is not known."""
    known = kinds or builtin()
    return known.unchecked()


def policy_files(paths: Iterable[Path], entered: set[tuple[int, int]] | None = None) -> Iterator[Path]:
    """Files, and all YAML and JSON below folders but what is hidden, by name. Raises UsageError.

    `entered` are folders that this one lies in: a link back is passed over.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or directory")
        if path.name.startswith(".") and path.name not in (".", ".."):
            continue
        if path.is_dir():
            state = path.stat()
            place = state.st_dev, state.st_ino
            if entered is None:
                yield from policy_files(sorted(path / name for name in os.listdir(path)), {place})
            elif place not in entered:
                entered.add(place)
                yield from policy_files(sorted(path / name for name in os.listdir(path)), entered)
        elif path.suffix in (".yaml", ".yml", ".json"):
            yield path if entered is None else regular(path)


def documents(files: Iterable[Path]) -> Iterator[tuple[str, Any]]:
    """Each with where it stands; Lists are taken apart."""
    for file in files:
        for at, document in enumerate(read(file)):
            yield from _items(document, f"{file}[{at}]" if at else str(file))


def _items(document: Any, where: str) -> Iterator[tuple[str, Any]]:
    items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
    if isinstance(items, list):
        for at, item in enumerate(items):
            yield from _items(item, f"{where}.items[{at}]")
    else:
        yield where, document


def load(located: Sequence[tuple[str, Any]], exceptions: Sequence[tuple[str, Any]] = (),
         kinds: Kinds | None = None) -> Loaded:
    """Compiled together, as bindings and exceptions need it. A document that does not compile is left out by name."""
    known = tolerant(kinds)
    loaded = Loaded(PolicySet([], kinds=known), exceptions=len(exceptions))
    left = [*located, *exceptions, *_bindings(located)]
    while left:
        try:
            policies = PolicySet([document for _, document in left], [where for where, _ in left], known)
        except CustodyError as error:
            at = _culprit(error, left)
            where, document = left.pop(at)
            loaded.refused.append(Refused(where, _name(document), error))
            continue
        loaded.compiled = policies
        for policy in policies.policies:
            loaded.policies.append(Tried(policy, _own(policy, policies.documents)))
        break
    loaded.documents = [(where, document) for where, document in left if isinstance(document, dict)]
    return loaded


def _bindings(located: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For admission policies that nobody binds: the Kyverno CLI tries those out, though no API server asks them."""
    bound = {(document["kind"].removesuffix("Binding"), spec.get("policyName")) for _, document in located
             if isinstance(document, dict) and str(document.get("kind")).endswith("AdmissionPolicyBinding")
             and isinstance(spec := document.get("spec"), dict)}
    for where, document in located:
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind in ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy") and (kind, _name(document)) not in bound:
            actions = {"validationActions": ["Deny"]} if kind == "ValidatingAdmissionPolicy" else {}
            yield f"{where} (unbound)", {
                "apiVersion": document["apiVersion"], "kind": f"{kind}Binding", "metadata": {"name": _name(document)},
                "spec": {"policyName": _name(document), **actions}}


def _culprit(error: CustodyError, located: Sequence[tuple[str, Any]]) -> int:
    place = getattr(error, "place", None)
    for at, (where, _) in enumerate(located):
        if where == place:
            return at
    for at, (where, document) in enumerate(located):  # an error of what they are together
        if where in error.message or ((name := _name(document)) and name in error.message):
            return at
    return len(located) - 1


def _name(document: Any) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _own(policy: Policy, parts: Sequence[Any]) -> dict[str, Any]:
    """Of the documents that a policy was made of, the one that it is named by."""
    name = policy.name.rpartition("/")[2]
    own: dict[str, Any] = {}
    for at in policy.parts:
        document = parts[at]
        if isinstance(document, dict):
            if _name(document) == name and (not policy.kind or document.get("kind") == policy.kind):
                return document
            own = own or document
    return own


def _file(where: str) -> str:
    """Of where a document stands, the file: `FILE[at].items[at]`."""
    return _INSIDE.sub("", where)


def deprecations(loaded: Loaded) -> Iterator[str]:
    """What the Kyverno CLI warns of: kinds that go away, by the file that has them."""
    for where, document in loaded.documents:
        version, kind = str(document.get("apiVersion", "")), str(document.get("kind", ""))
        if version.startswith(f"{KYVERNO}/") and kind in _REPLACED:
            yield (f"{_file(where)}: {version} {kind} is deprecated and will be removed in a future "
                   f"release; migrate to {_REPLACED[kind]} (policies.kyverno.io), see "
                   "https://kyverno.io/docs/guides/migration-to-cel/")
