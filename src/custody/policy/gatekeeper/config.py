"""Config (config.gatekeeper.sh) and SyncSet (syncset.gatekeeper.sh): what is kept of a cluster for referential
templates, and which namespaces are left out of what (Gatekeeper apis/config/v1alpha1, pkg/controller/config/process).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.gatekeeper.globs import wildcard
from custody.policy.model import Kind, Request

VERSIONS = ("v1alpha1",)
NAME = "config"
"""The only one that a Config may have."""
AUDIT, WEBHOOK, MUTATION, SYNC = PROCESSES = ("audit", "webhook", "mutation-webhook", "sync")
_GLOB = re.compile(r"\*?[-:a-z0-9]*\*?")


class Exclusion(NamedTuple):
    namespaces: tuple[str, ...]
    """A star at the beginning, the end, or both."""
    processes: frozenset[str]


class SyncSet:
    """Kinds of which all objects are kept."""

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.name = Fields(fields.need("metadata", dict), "metadata").need("name", str)
        spec = fields.inner("spec") or Fields({}, "spec")
        self.kinds = _kinds(spec.each("gvks"))
        spec.done()
        for name in ("apiVersion", "kind", "status"):
            fields.any(name)
        fields.done()


class Config:
    """The one of a cluster."""

    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError, UnsupportedError."""
        metadata = Fields(fields.need("metadata", dict), "metadata")
        self.name = metadata.need("name", str)
        if self.name != NAME:
            raise MalformedError("metadata.name", got=self.name, expected=f"{NAME}: there is one Config")
        spec = fields.inner("spec") or Fields({}, "spec")
        sync = spec.inner("sync")
        self.kinds = _kinds(sync.each("syncOnly")) if sync is not None else ()
        if sync is not None:
            sync.done()
        self.exclusions = tuple(_exclusion(entry) for entry in spec.each("match"))
        _unasked(spec.inner("validation"), "traces", "what each review did is in the history of decisions")
        _unasked(spec.inner("readiness"), "statsEnabled", "/readyz?verbose says what is waited for")
        spec.done()
        for name in ("apiVersion", "kind", "status"):
            fields.any(name)
        fields.done()

    def leaves_out(self, namespace: str, process: str) -> bool:
        return any(process in exclusion.processes and any(wildcard(glob, namespace) for glob in exclusion.namespaces)
                   for exclusion in self.exclusions)

    def silence(self, request: Request, process: str) -> str | None:
        """Why a request is none of a process; None where it is. A Namespace lies in itself."""
        home = request.name if (request.kind.kind, request.kind.group) == ("Namespace", "") else request.namespace
        if home and self.exclusions and self.leaves_out(home, process):
            return f"namespace {home} is left out of {process} by Config {NAME}"
        return None


def kept(documents: Iterable[Config | SyncSet]) -> tuple[Kind, ...]:
    """The kinds that any of them names, each once."""
    return tuple(dict.fromkeys(kind for document in documents for kind in document.kinds))


def _kinds(entries: Iterable[Fields]) -> tuple[Kind, ...]:
    kinds = []
    for entry in entries:
        kinds.append(Kind(entry.need("kind", str), entry.need("version", str), entry.take("group", str) or ""))
        entry.done()
    return tuple(kinds)


def _exclusion(entry: Fields) -> Exclusion:
    namespaces, processes = entry.texts("excludedNamespaces"), entry.texts("processes")
    entry.done()
    for at, glob in enumerate(namespaces):
        if not _GLOB.fullmatch(glob):
            raise MalformedError(f"{entry.path('excludedNamespaces')}[{at}]", got=glob,
                                 expected="a namespace, with a star at its beginning, its end or both")
    for at, process in enumerate(processes):
        if process not in (*PROCESSES, "*"):
            raise MalformedError(f"{entry.path('processes')}[{at}]", got=process,
                                 expected=", ".join([*PROCESSES, "*"]))
    return Exclusion(tuple(namespaces), frozenset(PROCESSES if "*" in processes else processes))


def _unasked(fields: Fields | None, name: str, hint: str) -> None:
    """A part that may be empty and is not carried out."""
    if fields is None:
        return
    if fields.any(name):
        raise UnsupportedError(fields.path(name), "not evaluated by custody", hint=hint)
    fields.done()
