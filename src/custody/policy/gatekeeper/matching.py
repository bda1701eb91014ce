"""`spec.match` of a constraint (Gatekeeper pkg/mutation/match): which objects it is about, as they are or were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.cel.constraints import compile_selector
from custody.policy.fields import Fields
from custody.policy.gatekeeper.globs import wildcard
from custody.policy.gatekeeper.reviewed import Reviewed
from custody.policy.kinds import Selector
from custody.policy.lookup import Answers, LookupFailedError
from custody.policy.model import Kind, Request
from custody.policy.scope import WRITTEN, Block, Filter, LabelSelector, Scope
from custody.ports.lookup import NamespaceLabels

SOURCES = ("All", "Generated", "Original")
_KNOWN = 1024  # kinds, of which it is remembered whether they are named


class Kinds(NamedTuple):
    """One entry of `kinds`: `*`, or nothing, stands for all."""

    groups: frozenset[str]
    names: frozenset[str]

    def name(self, kind: Kind) -> bool:
        return (not self.names or bool(self.names & {"*", kind.kind})) and (
            not self.groups or bool(self.groups & {"*", kind.group}))

    @property
    def selectors(self) -> Iterator[Selector]:
        """The same for who registers webhooks; a kind of the core group has no other version than v1."""
        for group in self.groups or ("*",):
            for name in self.names or ("*",):
                yield Selector("*", "v1", name, "") if group == "" else Selector(group, "*", name, "")


class Match(Filter):
    """All that `match` asks holds of the object, or of the one that it replaces."""

    def __init__(self, fields: Fields | None) -> None:
        """Raises MalformedError, UnsupportedError."""
        fields = fields or Fields({}, "spec.match")
        super().__init__(where=fields.where)
        self._entries = [Kinds(frozenset(entry.texts("apiGroups")), frozenset(entry.texts("kinds")))
                         for entry in _finished(fields.each("kinds"))]
        self.selectors = [selector for entry in self._entries or [Kinds(frozenset(), frozenset())]
                          for selector in entry.selectors]
        self._namespaces, self._excluded = fields.texts("namespaces"), fields.texts("excludedNamespaces")
        self._labels = compile_selector(fields.inner("labelSelector"))
        self._namespace_labels = compile_selector(fields.inner("namespaceSelector"))
        self._name = fields.take("name", str) or ""
        self._scope = fields.take("scope", str) or "*"
        self.source = fields.take("source", str) or "All"
        fields.done()
        if self.source not in SOURCES:
            raise MalformedError(fields.path("source"), got=self.source, expected=", ".join(SOURCES))
        self.chosen = tuple(name for name, value in (
            ("namespaces", self._namespaces), ("excludedNamespaces", self._excluded), ("labelSelector", self._labels),
            ("namespaceSelector", self._namespace_labels), ("name", self._name), ("source", self.source != "All"),
            ("scope", self._scope != "*")) if value)
        self.empty = not (self._entries or self.chosen)
        self._named: dict[Kind, bool] = {}
        self.matches = self._matches

    @property
    def asks(self) -> bool:
        return self._namespace_labels is not None

    def apart(self, request: Request) -> bool:
        return not self._names(request.kind)

    def _names(self, kind: Kind) -> bool:
        if not self._entries:
            return True
        named = self._named.get(kind)
        if named is None:
            named = any(entry.name(kind) for entry in self._entries)
            if len(self._named) < _KNOWN:
                self._named[kind] = named
        return named

    def _matches(self, request: Request, answers: Answers) -> bool:
        """Raises UnansweredError, LookupFailedError."""
        generated = isinstance(request, Reviewed) and request.generated
        if not self._names(request.kind) or self.source == ("Original" if generated else "Generated"):
            return False
        objects = (request.old_object,) if request.operation == "DELETE" else (request.object, request.old_object)
        return any(self._holds(document, request, answers) for document in objects if document is not None)

    def _holds(self, document: dict[str, Any], request: Request, answers: Answers) -> bool:
        metadata = document.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        name, generated = _text(metadata, "name"), _text(metadata, "generateName")
        is_namespace = (request.kind.kind, request.kind.group) == ("Namespace", "")
        home = name if is_namespace else request.namespace or _text(metadata, "namespace")
        unnamed = not home and not is_namespace and isinstance(request, Reviewed) and request.unnamed
        within = (bool(home) or unnamed) and not is_namespace
        if self._scope in ("Cluster", "Namespaced") and within != (self._scope == "Namespaced"):
            return False
        if (home or unnamed) and self._namespaces and not any(wildcard(pattern, home) for pattern in self._namespaces):
            return False
        if (home or unnamed) and any(wildcard(pattern, home) for pattern in self._excluded):
            return False
        labels = metadata.get("labels")
        labels = labels if isinstance(labels, dict) else {}
        if self._labels is not None and not self._labels(labels):
            return False
        own = labels if is_namespace else {} if unnamed else None
        if self._namespace_labels is not None and not _in_namespace(self._namespace_labels, own, home, answers):
            return False
        return not self._name or wildcard(self._name, name) or (
            self._name.endswith("*") and wildcard(self._name, generated))


def _in_namespace(selector: LabelSelector, own: dict[str, str] | None, namespace: str, answers: Answers) -> bool:
    """`own`: the labels, where they are known. What lies in no namespace is always meant."""
    if own is not None or not namespace:
        return own is None or selector(own)
    question = NamespaceLabels(namespace)
    labels = answers.value(question)
    if not isinstance(labels, dict):
        raise LookupFailedError(question, "there is no such namespace")
    return selector(labels)


def scope_of(fields: Fields | None, operations: tuple[str, ...]) -> tuple[Scope, Match]:
    """Without `operations` what is written is judged: Gatekeeper's webhook is asked about no more, as it is shipped.

    Raises MalformedError, UnsupportedError.
    """
    match = Match(fields)
    return Scope(Block([match]), judged=operations or WRITTEN), match


def _text(metadata: dict[str, Any], name: str) -> str:
    value = metadata.get(name)
    return value if isinstance(value, str) else ""


def _finished(entries: list[Fields]) -> Iterator[Fields]:
    for entry in entries:
        yield entry
        entry.done()
