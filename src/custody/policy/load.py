"""Policies from files, folders and documents, compiled by their engines into one PolicySet."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats import yaml
from custody.kit import strictjson
from custody.kit.canonical import canonical
from custody.kit.digest import sha256
from custody.policy.counting import Counting
from custody.policy.engines import Compiled, linked, standing, written
from custody.policy.given import Given
from custody.policy.index import Index
from custody.policy.kinds import Kinds, builtin
from custody.policy.lookup import Answers, UnansweredError
from custody.policy.model import Context, Request
from custody.policy.phases import Course, Phase
from custody.policy.recall import Recall
from custody.policy.resources import is_crd
from custody.policy.rule import Needs, Policy, Rule
from custody.ports.lookup import Question

_LOG = logging.getLogger(__name__)
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class PolicySet:
    """Compiled policies, and the documents that they were compiled from."""

    def __init__(self, raw: Sequence[Any], sources: Sequence[str] | None = None, kinds: Kinds | None = None) -> None:
        """`kinds` are those that rules may name, and default to those of Kubernetes."""
        places = list(sources) if sources else [f"policies[{at}]" for at in range(len(raw))]
        self._link([Compiled(document, where) for document, where in zip(raw, places, strict=True)], places, kinds,
                   shared=False)

    @classmethod
    def linking(cls, parts: Sequence[Compiled], sources: Sequence[str], kinds: Kinds | None = None) -> PolicySet:
        """From documents that are compiled already, and stay part of other sets."""
        policies = cls.__new__(cls)
        policies._link(parts, sources, kinds, shared=True)
        return policies

    def _link(self, parts: Sequence[Compiled], places: Sequence[str], kinds: Kinds | None, *, shared: bool) -> None:
        self.kinds = builtin() if kinds is None else kinds
        self.documents = [part.document for part in parts]
        self._parts = parts
        self.uncounted: list[tuple[str, str]] = []
        """Exceptions that were left out: where each stands, and why."""
        self._positions = [*range(len(self.documents))]
        self.policies: list[Policy] = linked(parts, places, shared=shared)
        for policy in self.policies:
            for rule in policy.rules:
                with standing(places[policy.parts[-1]]):
                    rule.scope.check(self.kinds)
        policies = Counter((policy.name, policy.kind) for policy in self.policies)
        if twice := [name for (name, _), count in policies.items() if count > 1]:
            raise MalformedError("policies", got=f"{min(twice)} twice", expected="each policy once")
        self.whole = tuple(self.documents)
        """All documents that were loaded, also where this is a part of them."""
        self._index([part.text for part in parts])

    @cached_property
    def meaning(self) -> str:
        """Digest of all that was loaded, in whatever order, without what a cluster notes beside it: the same for
        replicas, for parts, and for files that say the same."""
        return sha256(b"\n".join(sorted(canonical(_said(document)) for document in self.whole)))

    def _index(self, texts: Sequence[str]) -> None:
        self._at = {position: at for at, position in enumerate(self._positions)}
        self.rules = [rule for policy in self.policies for rule in policy.rules]
        self._by_phase = {phase: Index([rule for rule in self.rules if rule.phase is phase]) for phase in Phase}
        # Most rules want nothing but the request, and are not asked twice.
        needing = {phase: [rule for rule in index.rules if rule.scope.asks or rule.wants]
                   for phase, index in self._by_phase.items()}
        self._needing = {phase: Index(rules) for phase, rules in needing.items() if rules}
        self.quiet = frozenset((policy.kind, policy.name) for policy in self.policies if not policy.warns)
        self._texts = texts
        self.recall = Recall()
        self.digest = sha256(f"[{','.join(texts)}]".encode())

    @classmethod
    def load(cls, source: Iterable[str | Path | Any], kinds: Kinds | None = None, *,
             exceptions: Counting = Counting(), before: PolicySet | None = None) -> PolicySet:
        """From files, folders (all *.yaml, *.yml and *.json below), or documents that are read already.

        Lists are unwrapped. CustomResourceDefinitions among them add to `kinds`, which default to those of Kubernetes.
        `exceptions` says which PolicyExceptions count: others are left out, and `uncounted` says why. What is in
        `before` is not compiled again.
        """
        documents, crds = unwrapped(*gathered(source))
        reasons = [(where, reason) for where, document in documents if (reason := exceptions.fault(document))]
        documents = [(where, document) for where, document in documents if not exceptions.fault(document)]
        if crds:
            kinds = (kinds or builtin()).with_crds([crd for _, crd in crds], [where for where, _ in crds])
        known = {part.written: part for part in before._parts} if before is not None else {}
        parts = [known.get(written(document)) or Compiled(document, where) for where, document in documents]
        loaded = cls.linking(parts, [where for where, _ in documents], kinds)
        loaded.uncounted = reasons
        return loaded

    def of(self, phase: Phase) -> Sequence[Rule]:
        """The rules of a phase, in the order of their policies."""
        return self._by_phase[phase].rules

    def index(self, phase: Phase) -> Index:
        """The rules of a phase by the requests that they may speak of."""
        return self._by_phase[phase]

    def needs(self, request: Request, at: Course = Course.ADMISSION) -> Needs:
        """What the rules that a course asks want to know of a request, as it is before anything changes it."""
        needing = [rule for phase in at.phases if phase in self._needing
                   for rule in self._needing[phase].asked(request)]
        if not needing:
            return Needs()
        images: dict[str, frozenset[str]] = {}
        questions: dict[Question, None] = {}
        answers = Answers({})
        given = Given(request, Context(now=_NO_TIME), {}, answers)
        for rule in needing:
            try:
                try:
                    if rule.silence(request, answers) is not None:
                        continue
                except UnansweredError:  # that it is asked may depend on what is to be looked up
                    pass
                needs = rule.needs(given)
            except Exception:  # it fails, or asks, when it is evaluated: one rule's fault is not that of the others
                _LOG.debug("what rule %s/%s needs", rule.policy.name, rule.name, exc_info=True)
                continue
            for name, types in needs.images.items():
                images[name] = images[name] | types if name in images else types
            for question in needs.questions:
                questions[question] = None
        return Needs(images, [*(answers.asked | questions)])

    def images(self, request: Request) -> list[str]:
        """Canonical names of the images that need evidence: those that some rule speaks of.

        Names that cannot be read are not among them; the rules themselves fail on those.
        """
        return [*self.needs(request).images]

    def public_keys(self) -> list[bytes]:
        """PEM of every public key that a policy names, for the verifier of signatures."""
        return list(dict.fromkeys(key for rule in self.rules for key in rule.keys))

    def predicate_types(self) -> frozenset[str]:
        """Every predicate type that a rule can use; evidence of other types need not be fetched."""
        return frozenset(kind for rule in self.rules for kind in rule.predicate_types)

    def only(self, selects: Callable[[Policy], bool]) -> PolicySet:
        """Those policies that are selected, as one of several webhooks asks them."""
        part = copy.copy(self)
        part.policies = [policy for policy in self.policies if selects(policy)]
        parts = {at for policy in part.policies for at in (*policy.parts, *policy.excepted)}
        kept = [at for at, position in enumerate(self._positions) if position in parts]
        part.documents = [self.documents[at] for at in kept]
        part._positions = [self._positions[at] for at in kept]
        part._index([self._texts[at] for at in kept])
        return part

    def sources(self, policy: Policy) -> list[Any]:
        """The documents that one of its policies was made of; the first is the one that it is named by."""
        return [self.documents[self._at[position]] for position in sorted(policy.parts) if position in self._at]

    def need_nobody_to_generate(self) -> None:
        """For who judges and carries nothing out. Raises UnsupportedError for a rule that changes other objects."""
        for rule in self.of(Phase.GENERATE):
            raise UnsupportedError(f"policy {rule.policy.name}, rule {rule.name}",
                                   "it changes other objects, and nobody here would",
                                   hint="`custody admission run` does, in a cluster")

    @property
    def timeout(self) -> int | None:
        """The longest webhookTimeoutSeconds, in seconds, where a policy has one."""
        return max((policy.timeout for policy in self.policies if policy.timeout), default=None)


def _said(document: Any) -> Any:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict):
        return document
    annotations = metadata.get("annotations")
    kept = {key: metadata[key] for key in ("name", "namespace", "labels") if metadata.get(key)}
    if isinstance(annotations, dict):
        kept["annotations"] = {key: value for key, value in annotations.items() if key != _APPLIED}
    return {**{key: value for key, value in document.items() if key != "status"}, "metadata": kept}


def manifest_files(path: Path) -> list[Path]:
    """The file itself, or all *.yaml, *.yml and *.json below a folder and the folders that it links to, in order.

    What cannot be looked into is an error, and a link to nothing is one when it is read: neither is left out. A pipe or
    device is one too: who reads it waits for its writer, or for ever. Raises UsageError.
    """
    if not path.is_dir():
        return [path]
    files: list[Path] = []
    entered = set()
    for folder, inner, names in os.walk(path, followlinks=True, onerror=_unreadable):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in entered:  # a link back, or to what was read already
            inner.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        # Kubernetes mounts a ConfigMap as links to a folder `..data` that it replaces as one.
        inner[:] = sorted(name for name in inner if not name.startswith(".."))
        files += [regular(Path(folder, name)) for name in names if name.lower().endswith((".yaml", ".yml", ".json"))]
    return sorted(files)


def regular(path: Path) -> Path:
    """The same, where somebody else may have put there a pipe or device. Raises UsageError."""
    with contextlib.suppress(OSError):  # said when it is read
        if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
            raise UsageError(f"{path}: got a pipe, socket or device, expected a file")
    return path


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename}: {error.strerror}") from None


def gathered(source: Iterable[str | Path | Any],
             amiss: Callable[[CustodyError], None] | None = None) -> tuple[list[Any], list[str]]:
    """(documents, where each stands) of files, folders, and documents that are read already.

    `amiss` is told of each file of a folder that cannot be read, and the others are; without it, what is wrong with the
    first is raised. Raises UsageError for a file or folder without any document: it was named to judge by.
    """
    raw: list[Any] = []
    sources: list[str] = []
    for given in source:
        if not isinstance(given, (str, Path)):
            raw.append(given)
            sources.append(f"policies[{len(raw) - 1}]")
            continue
        read_on = amiss if Path(given).is_dir() else None
        before, left_out = len(raw), 0
        for file in manifest_files(Path(given)):
            try:
                documents = located(file)
            except CustodyError as error:
                if read_on is None:
                    raise
                read_on(error)
                left_out += 1
                continue
            raw += [document for _, document in documents]
            sources += [where for where, _ in documents]
        if len(raw) == before and not left_out:
            raise UsageError(f"{given}: no policies", hint="a *.yaml, *.yml or *.json file has none")
    return raw, sources


def located(file: Path) -> Located:
    """The documents of one file, with where they stand. Raises UsageError, MalformedError."""
    documents = read(file)
    if not documents and not file.read_bytes().strip():  # perhaps it is being written; a comment says that it is meant
        raise MalformedError(str(file), got="an empty file", expected="at least one document")
    return [(str(file) if len(documents) == 1 else f"{file}[{at}]", document) for at, document in enumerate(documents)]


Located = list[tuple[str, Any]]
"""Documents with where they stand."""


def unwrapped(raw: Sequence[Any], sources: Sequence[str]) -> tuple[Located, Located]:
    """(policies, CustomResourceDefinitions), with what stands in lists (kind List, or any kind's own) apart."""
    policies: Located = []
    crds: Located = []
    for where, document in zip(sources, raw, strict=True):
        items = document.get("items") if isinstance(document, dict) else None
        if isinstance(items, list) and str(document.get("kind")).endswith("List"):
            if document["kind"] != "List":  # a typed list need not repeat its items' kind
                typed = {"apiVersion": document.get("apiVersion"), "kind": document["kind"].removesuffix("List")}
                items = [{**typed, **item} if isinstance(item, dict) else item for item in items]
            inner, definitions = unwrapped(items, [f"{where}.items[{at}]" for at in range(len(items))])
            policies += inner
            crds += definitions
        else:
            (crds if is_crd(document) else policies).append((where, document))
    return policies, crds


def read(file: Path) -> list[Any]:
    """The documents of one file. Raises UsageError, MalformedError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(yaml.MAX_SIZE + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    if file.suffix.lower() == ".json":
        return [strictjson.loads(data, str(file), max_size=yaml.MAX_SIZE, max_depth=yaml.MAX_DEPTH)]
    try:
        return yaml.documents(data, str(file))
    except MalformedError as error:
        if b"{{" in data:
            error.hint = "a template is rendered first (helm template); {{ }} of an expression stands in quotes"
        raise
