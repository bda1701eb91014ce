"""Policies from files: YAML as Kubernetes reads it, under limits, compiled into one PolicySet."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from custody.errors import CustodyError, MalformedError, UsageError, language_errors
from custody.kit import strictjson
from custody.kit.digest import sha256
from custody.policy.kinds import Kinds, builtin
from custody.policy.kyverno.policy import Policy
from custody.policy.kyverno.scope import Input
from custody.policy.model import Context, Request
from custody.policy.resources import is_crd
from policylang.go.yamltext import PlainLoader, plain_scalar

MAX_SIZE = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def documents(data: bytes, where: str) -> list[Any]:
    """The YAML documents of a file as plain JSON data; empty ones are left out. Raises MalformedError.

    Scalars are what Kubernetes' YAML reader makes of them (sigs.k8s.io/yaml: YAML 1.1 without dates and base 60). Twice
    the same key, merge keys, other tags, aliases that grow beyond MAX_NODES, and deep nesting are refused.
    """
    if len(data) > MAX_SIZE:
        raise MalformedError(where, got=f"more than {MAX_SIZE} bytes", expected=f"at most {MAX_SIZE} bytes")
    try:
        text = data.decode()
        _check_events(text)
        nodes = list(yaml.compose_all(text, PlainLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", None) or error)
        raise MalformedError(where, got=problem + place, expected="YAML") from None
    except (RecursionError, UnicodeDecodeError, ValueError) as error:
        raise MalformedError(where, got=str(error)[:100], expected="plain YAML in UTF-8") from None
    plain = _Plain(where)
    return [value for node in nodes if (value := plain.value(node, 0)) is not None]


def _check_events(data: str) -> None:
    """Depth and tags, before nodes are made, which recurses in C."""
    depth = 0
    for event in yaml.parse(data, PlainLoader):
        if (tag := getattr(event, "tag", None)) is not None:
            raise ValueError(f"the tag {tag}")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nesting deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Plain:
    def __init__(self, where: str) -> None:
        self.where = where
        self.left = MAX_NODES

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            raise MalformedError(self.where, got="aliases that grow too large or too deep",
                                 expected=f"at most {MAX_NODES} values, {MAX_DEPTH} levels")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, depth + 1) for child in node.value]
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and not key_node.style and key_node.value == "<<":
                raise self._wrong(key_node, "a merge key", "keys written out")
            key = self.value(key_node, depth + 1)
            if isinstance(key, (bool, int, float)):
                key = json.dumps(key)
            if not isinstance(key, str):
                raise self._wrong(key_node, type(key).__name__, "text as a key")
            if key in result:
                raise self._wrong(key_node, f"key {key!r} twice", "each key once")
            result[key] = self.value(value_node, depth + 1)
        return result

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        value = text if node.style else plain_scalar(text)
        if type(value) is float and not isfinite(value):
            raise self._wrong(node, text, "a finite number" if text[-1].isalpha() else "a number of 64 bits")
        return value

    def _wrong(self, node: yaml.Node, got: str, expected: str) -> MalformedError:
        return MalformedError(f"{self.where} line {node.start_mark.line + 1}", got=got, expected=expected)


class PolicySet:
    """Compiled policies, and the documents that they were compiled from."""

    def __init__(self, raw: Sequence[Any], sources: Sequence[str] | None = None, kinds: Kinds | None = None) -> None:
        """`kinds` are those that rules may name, and default to those of Kubernetes."""
        self.kinds = builtin() if kinds is None else kinds
        self.documents = list(raw)
        self.policies: list[Policy] = []
        for at, document in enumerate(raw):
            where = sources[at] if sources else f"policies[{at}]"
            try:
                with language_errors():
                    policy = Policy(document)
                for block in (block for rule in policy.rules for block in (rule.match, rule.exclude) if block):
                    block.check(self.kinds)
                self.policies.append(policy)
            except CustodyError as error:
                error.message = f"{where}: {error.message}"
                error.args = (error.message,)
                raise
        names = [policy.name for policy in self.policies]
        if twice := {name for name in names if names.count(name) > 1}:
            raise MalformedError("policies", got=f"{min(twice)} twice", expected="each policy once")
        self._index()

    def _index(self) -> None:
        self.rules = [rule for policy in self.policies for rule in policy.rules]
        self.digest = sha256(json.dumps(self.documents, sort_keys=True, separators=(",", ":")).encode())

    @classmethod
    def load(cls, source: Iterable[str | Path | Any], kinds: Kinds | None = None) -> PolicySet:
        """From files, folders (all *.yaml, *.yml and *.json below), or documents that are read already.

        Lists are unwrapped. CustomResourceDefinitions among them add to `kinds`, which default to those of Kubernetes.
        """
        documents, crds = unwrapped(*gathered(source))
        if crds:
            kinds = (kinds or builtin()).with_crds([crd for _, crd in crds], [where for where, _ in crds])
        return cls([document for _, document in documents], [where for where, _ in documents], kinds)

    def images(self, request: Request) -> list[str]:
        """Canonical names of the images that need evidence: those that some verifyImages rule speaks of.

        Names that cannot be read are not among them; the rules themselves fail on those.
        """
        given = Input(request, Context(now=_NO_TIME), {})
        return list(dict.fromkeys(image.name for rule in self.rules if rule.images and rule.matches(request)
                                  for _, image in rule.wanted(given)))

    def public_keys(self) -> list[bytes]:
        """PEM of every public key that a policy names, for the verifier of signatures."""
        return list(dict.fromkeys(key for rule in self.rules for entry in rule.images for key in entry.keys))

    def predicate_types(self) -> frozenset[str]:
        """Every predicate type that a rule can use; evidence of other types need not be fetched."""
        return frozenset(kind for rule in self.rules for entry in rule.images for kind in entry.predicate_types)

    def only(self, selects: Callable[[Policy], bool]) -> PolicySet:
        """Those policies that are selected, as one of several webhooks asks them."""
        part = copy.copy(self)
        chosen = [at for at, policy in enumerate(self.policies) if selects(policy)]
        part.documents = [self.documents[at] for at in chosen]
        part.policies = [self.policies[at] for at in chosen]
        part._index()
        return part

    @property
    def timeout(self) -> int | None:
        """The longest webhookTimeoutSeconds, in seconds, where a policy has one."""
        return max((policy.timeout for policy in self.policies if policy.timeout), default=None)


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
        files += [_file(Path(folder, name)) for name in names if name.lower().endswith((".yaml", ".yml", ".json"))]
    return sorted(files)


def _file(path: Path) -> Path:
    with contextlib.suppress(OSError):  # said when it is read
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path}: got a pipe, socket or device, expected a file")
    return path


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename}: {error.strerror}") from None


def gathered(source: Iterable[str | Path | Any]) -> tuple[list[Any], list[str]]:
    """(documents, where each stands) of files, folders, and documents that are read already.

    Raises UsageError for a file or folder without any: it was named to judge by.
    """
    raw: list[Any] = []
    sources: list[str] = []
    for entry in source:
        if not isinstance(entry, (str, Path)):
            raw.append(entry)
            sources.append(f"policies[{len(raw) - 1}]")
            continue
        before = len(raw)
        for file in manifest_files(Path(entry)):
            for where, document in located(file):
                raw.append(document)
                sources.append(where)
        if len(raw) == before:
            raise UsageError(f"{entry}: no policies", hint="a *.yaml, *.yml or *.json file has none")
    return raw, sources


def located(file: Path) -> Located:
    """The documents of one file, with where they stand. Raises UsageError, MalformedError."""
    found = read(file)
    if not found and not file.read_bytes().strip():  # perhaps it is being written; a comment says that it is meant
        raise MalformedError(str(file), got="an empty file", expected="at least one document")
    return [(str(file) if len(found) == 1 else f"{file}[{at}]", document) for at, document in enumerate(found)]


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
            data = stream.read(MAX_SIZE + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    if file.suffix.lower() == ".json":
        return [strictjson.loads(data, str(file), max_size=MAX_SIZE, max_depth=MAX_DEPTH)]
    try:
        return documents(data, str(file))
    except MalformedError as error:
        if b"{{" in data:
            error.hint = "a template is rendered first (helm template); {{ }} of an expression stands in quotes"
        raise
