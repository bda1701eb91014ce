"""Assign, AssignMetadata, ModifySet and AssignImage (mutations.gatekeeper.sh v1, v1beta1, v1alpha1)."""

from __future__ import annotations

import abc
import copy
import json
import re
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.gatekeeper.location import Item, Location, Member, PathTests, parse
from custody.policy.gatekeeper.matching import Match
from custody.policy.gatekeeper.placing import Placement, same
from custody.policy.lookup import Answers
from custody.policy.model import Kind, Request
from policylang.errors import Shape

KINDS = ("Assign", "AssignMetadata", "ModifySet", "AssignImage")
VERSIONS = ("v1", "v1beta1", "v1alpha1")
_OPERATIONS = ("CREATE", "UPDATE")
_FAILURES = ("Fail", "Ignore", "UseDefault")
_SOURCES = ("ValueAtLocation", "Username")
# What an image's parts may be, so that they are the same parts when the image is read again.
_DOMAIN = re.compile(r"[\w][\w\-_]*\.[\w\-_.]*[\w](:\d+)?|localhost(:\d+)?", re.ASCII)
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r":[\w][\w.-]{0,127}|@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*[:][0-9A-Fa-f]{32,}",
                  re.ASCII)


class ApplyTo(NamedTuple):
    """Kinds by all their names, and operations; no operations stand for those that a webhook is asked about."""

    groups: frozenset[str]
    versions: frozenset[str]
    kinds: frozenset[str]
    operations: frozenset[str] = frozenset(_OPERATIONS)

    def names(self, kind: Kind) -> bool:
        return kind.group in self.groups and kind.version in self.versions and kind.kind in self.kinds

    def applies(self, request: Request) -> bool:
        """An object that nobody asks about is as one of every operation."""
        if not self.names(request.kind):
            return False
        return self.operations == frozenset(_OPERATIONS) if request.existing else request.operation in self.operations

    @property
    def bindings(self) -> list[tuple[str, str, str, str]]:
        return [(group, version, kind, operation) for group in self.groups for version in self.versions
                for kind in self.kinds for operation in self.operations]


class External(NamedTuple):
    """What stands where a provider's answer will: an object with one is settled before anybody sees it."""

    provider: str
    failure: str
    default: str
    text: str
    """What the provider is asked about."""


class Mutator(abc.ABC):
    """One mutator."""

    terminal = ""
    """What its location ends at, as far as that says: Set, String; empty: anything."""
    terminates = False
    """Whether nothing may be written below its location."""

    def __init__(self, fields: Fields, kind: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.kind = kind
        self.name, spec = name_and_spec(fields)
        self.location = parse(spec.need("location", str), "spec.location")
        self.match = Match(spec.inner("match"))
        self.apply_to = [] if kind == "AssignMetadata" else apply_to(spec, operations=True)
        parameters = Fields(spec.need("parameters", dict), "spec.parameters")
        self._compile(parameters)
        parameters.done()
        spec.done()

    @abc.abstractmethod
    def _compile(self, parameters: Fields) -> None:
        """Its own parameters. Raises MalformedError, UnsupportedError."""

    def matches(self, request: Request, answers: Answers) -> bool:
        """Raises UnansweredError, LookupFailedError."""
        if self.kind != "AssignMetadata" and not any(entry.applies(request) for entry in self.apply_to):
            return False
        return self.match.matches(request, answers)

    @abc.abstractmethod
    def write(self, document: dict[str, Any], request: Request) -> bool:
        """Whether it wrote into the object. Raises MalformedError."""

    def _not_metadata(self) -> None:
        if self.location[0] == Member("metadata"):
            raise MalformedError("spec.location", got="metadata", expected="another part: AssignMetadata is for it")

    def _key_stays(self) -> None:
        if len(self.location) > 1 and isinstance(item := self.location[-2], Item) and (
                self.location[-1] == Member(item.key)):
            raise MalformedError("spec.location", got=item.key, expected="another field: items are known by this one")


class Assign(Mutator):
    def _compile(self, parameters: Fields) -> None:
        metadata = self.kind == "AssignMetadata"
        if metadata:
            names = [node.name if isinstance(node, Member) else "" for node in self.location]
            if len(names) != 3 or names[0] != "metadata" or names[1] not in ("labels", "annotations") or not names[2]:
                raise MalformedError("spec.location", got=".".join(names),
                                     expected="metadata.labels.NAME or metadata.annotations.NAME")
            self._tests = PathTests.absent(self.location)
        else:
            self._not_metadata()
            self._key_stays()
            self._tests = PathTests(parameters.each("pathTests"), self.location)
        assign = Fields(parameters.need("assign", dict), "spec.parameters.assign")
        chosen = [name for name in ("value", "fromMetadata", "externalData") if assign.has(name)]
        if len(chosen) != 1:
            raise MalformedError(assign.where, got=", ".join(chosen) or "nothing",
                                 expected="one of value, fromMetadata, externalData")
        self._value, self._field, self._external = assign.any("value"), "", None
        if (written := assign.inner("fromMetadata")) is not None:
            self._field = written.need("field", str)
            written.done()
            if self._field not in ("name", "namespace"):
                raise MalformedError(written.path("field"), got=self._field, expected="name or namespace")
        if (written := assign.inner("externalData")) is not None:
            self._external = _external(written, username=metadata)
            self.terminates = True
        assign.done()
        if metadata and self._value is not None and not isinstance(self._value, str):
            raise MalformedError(assign.path("value"), got=Shape(self._value), expected="text")
        last = self.location[-1]
        if isinstance(last, Item):
            self._check_item(last, assign)

    def _check_item(self, last: Item, assign: Fields) -> None:
        if last.every:
            raise MalformedError("spec.location", got="*", expected="one item: nothing is added to all")
        if not isinstance(self._value, dict) or not same(self._value.get(last.key), last.value):
            raise MalformedError(assign.where, got=Shape(self._value),
                                 expected=f"a value that is an object whose {last.key} is {last.value}")

    def write(self, document: dict[str, Any], request: Request) -> bool:
        value = self._value
        if self._field:
            metadata = document.get("metadata")
            stated = metadata.get(self._field) if isinstance(metadata, dict) else None
            value = stated or (request.namespace if self._field == "namespace" else "")

        def change(holder: dict[str, Any], name: str) -> None:
            if self._external is None:
                holder[name] = copy.deepcopy(value)
                return
            source, asked = self._external
            standing = holder.get(name, request.user.username if source == "Username" else "")
            if not isinstance(standing, (str, External)):
                raise MalformedError(name, got=Shape(standing), expected="text, to ask a provider about")
            holder[name] = asked._replace(text=standing.text if isinstance(standing, External) else standing)

        return Placement(self.location, self._tests, change, lambda: copy.deepcopy(self._value)).write(document)


class ModifySet(Mutator):
    terminal = "Set"

    def _compile(self, parameters: Fields) -> None:
        self._not_metadata()
        if isinstance(self.location[-1], Item):
            raise MalformedError("spec.location", got="an item of a list", expected="the list itself")
        self._tests = PathTests(parameters.each("pathTests"), self.location)
        operation = parameters.take("operation", str) or "merge"
        if operation not in ("merge", "prune"):
            raise MalformedError(parameters.path("operation"), got=operation, expected="merge or prune")
        self._prunes = operation == "prune"
        parameters_values = parameters.inner("values")
        self._values: list[Any] = [] if parameters_values is None else parameters_values.take("fromList", list) or []
        if parameters_values is not None:
            parameters_values.done()

    def write(self, document: dict[str, Any], request: Request) -> bool:  # noqa: ARG002 - others'
        def change(holder: dict[str, Any], name: str) -> None:
            if name not in holder:
                if not self._prunes:
                    holder[name] = copy.deepcopy(self._values)
                return
            standing = holder[name]
            if not isinstance(standing, list):
                raise MalformedError(name, got=Shape(standing), expected="a list, to be treated as a set")
            if self._prunes:
                own = {_text(value) for value in self._values}
                holder[name] = [value for value in standing if _text(value) not in own]
                return
            there = {_text(value) for value in standing}
            added = {_text(value): value for value in self._values}
            holder[name] = [*standing, *(copy.deepcopy(value) for text, value in added.items() if text not in there)]

        return Placement(self.location, self._tests, change).write(document)


class AssignImage(Mutator):
    terminal, terminates = "String", True

    def _compile(self, parameters: Fields) -> None:
        self._not_metadata()
        if isinstance(self.location[-1], Item):
            raise MalformedError("spec.location", got="an item of a list", expected="a text in it")
        self._key_stays()
        self._tests = PathTests(parameters.each("pathTests"), self.location)
        self._domain, self._path, self._tag = (parameters.take(name, str) or "" for name in (
            "assignDomain", "assignPath", "assignTag"))
        if not (self._domain or self._path or self._tag):
            raise MalformedError(parameters.where, got="nothing", expected="assignDomain, assignPath or assignTag")
        for name, text, form in (("assignDomain", self._domain, _DOMAIN), ("assignPath", self._path, _PATH),
                                 ("assignTag", self._tag, _TAG)):
            if text and not form.fullmatch(text):
                raise MalformedError(parameters.path(name), got=text, expected=f"what matches {form.pattern}")
        if not self._domain and _split(self._path)[0]:
            raise MalformedError(parameters.path("assignPath"), got=self._path,
                                 expected="a path that does not begin like a domain, or assignDomain beside it")

    def write(self, document: dict[str, Any], request: Request) -> bool:  # noqa: ARG002 - others'
        def change(holder: dict[str, Any], name: str) -> None:
            standing = holder.get(name, "")
            if not isinstance(standing, str):
                raise MalformedError(name, got=Shape(standing), expected="text")
            domain, path, tag = _split(standing)
            domain, path, tag = self._domain or domain, self._path or path, self._tag or tag
            holder[name] = f"{domain}/{path}{tag}" if domain else f"{path}{tag}"

        return Placement(self.location, self._tests, change).write(document)


_CLASSES: dict[str, type[Mutator]] = {
    "Assign": Assign, "AssignMetadata": Assign, "ModifySet": ModifySet, "AssignImage": AssignImage}


def compile_mutator(fields: Fields, kind: str) -> Mutator:
    """Raises MalformedError, UnsupportedError."""
    return _CLASSES[kind](fields, kind)


def name_and_spec(fields: Fields) -> tuple[str, Fields]:
    """What all mutators and expansion templates have. Raises MalformedError, UnsupportedError."""
    name = Fields(fields.need("metadata", dict), "metadata").need("name", str)
    if len(name) > 63:
        raise MalformedError("metadata.name", got=name, expected="at most 63 characters")
    spec = Fields(fields.need("spec", dict), "spec")
    fields.any("status")
    fields.done()
    return name, spec


def apply_to(spec: Fields, *, operations: bool = False) -> list[ApplyTo]:
    """`applyTo`. Raises MalformedError."""
    entries = []
    for entry in spec.each("applyTo"):
        groups, versions, kinds = (frozenset(entry.texts(name)) for name in ("groups", "versions", "kinds"))
        if not (groups and versions and kinds):
            raise MalformedError(entry.where, got="less", expected="groups, versions and kinds")
        asked = entry.texts("operations") if operations else []
        if unknown := [operation for operation in asked if operation not in ("*", *_OPERATIONS)]:
            raise MalformedError(entry.path("operations"), got=unknown[0], expected="CREATE, UPDATE or *")
        if len({*asked}) < len(asked) or ("*" in asked and len(asked) > 1):
            raise MalformedError(entry.path("operations"), got=", ".join(asked), expected="each once, and * alone")
        entry.done()
        entries.append(ApplyTo(groups, versions, kinds,
                               frozenset(_OPERATIONS if not asked or "*" in asked else asked)))
    if not entries:
        raise MalformedError(spec.path("applyTo"), got="nothing", expected="at least one entry")
    return entries


def _external(fields: Fields, *, username: bool) -> tuple[str, External]:
    source, failure = fields.take("dataSource", str) or _SOURCES[0], fields.take("failurePolicy", str) or "Fail"
    provider, default = fields.need("provider", str), fields.take("default", str) or ""
    fields.done()
    if source not in (_SOURCES[1:] if username else _SOURCES):
        raise MalformedError(fields.path("dataSource"), got=source,
                             expected="Username" if username else " or ".join(_SOURCES))
    if failure not in _FAILURES:
        raise MalformedError(fields.path("failurePolicy"), got=failure, expected=", ".join(_FAILURES))
    if failure == "UseDefault" and not default:
        raise MalformedError(fields.path("default"), got="nothing", expected="a text, for failurePolicy UseDefault")
    return source, External(provider, failure, default, "")


def _split(image: str) -> tuple[str, str, str]:
    """(domain, path, tag or digest with its sign)."""
    head, slash, rest = image.partition("/")
    domain, rest = (head, rest) if slash and ("." in head or ":" in head or head == "localhost") else ("", image)
    at = min((place for place in (rest.find(":"), rest.find("@")) if place >= 0), default=len(rest))
    return domain, rest[:at], rest[at:]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


__all__ = ["KINDS", "VERSIONS", "ApplyTo", "External", "Location", "Mutator", "apply_to", "compile_mutator",
           "name_and_spec"]
