"""A rule with `generate`: other objects, of data or cloned, that there are to be (Kyverno pkg/background/generate).

The rule says what it wants; who carries it out reads the target first. Whatever it takes from a cluster it looks up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import builtin
from custody.policy.kyverno import objects
from custody.policy.kyverno.context import Context, compile_context
from custody.policy.kyverno.foreach import List, element_roots
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.match import written_selector
from custody.policy.kyverno.rule import Head, KyvernoRule
from custody.policy.kyverno.variables import variables
from custody.policy.lookup import UnansweredError
from custody.policy.model import Change, Kind, Outcome
from custody.policy.phases import Phase
from custody.policy.rule import Spoken
from custody.policy.scope import WRITTEN
from policylang.conditions import Conditions, compile_conditions
from policylang.errors import LanguageError, Shape
from policylang.jmespath import QueryError
from policylang.variables import Roots, compile_value

MANAGED = "app.kubernetes.io/managed-by"
LABEL = "generate.kyverno.io/"
MAX_GENERATED = 1000
"""Objects that one rule makes of one request."""
_OF_SERVERS = ("uid", "selfLink", "creationTimestamp", "managedFields", "resourceVersion")


class GenerateError(LanguageError):
    """An object that cannot be generated; the message is Kyverno's."""


class _Pattern:
    """What is generated: of `data`, of a `clone`, or of a `cloneList`."""

    def __init__(self, fields: Fields, roots: Roots) -> None:
        """Raises MalformedError, UnsupportedError."""
        where = fields.where
        written = {name: fields.take(name, str) or "" for name in ("apiVersion", "kind", "namespace", "name")}
        fields.take("uid", str)
        clone, several, data = fields.inner("clone"), fields.inner("cloneList"), fields.any("data")
        forms = [name for name, part in (("data", data), ("clone", clone), ("cloneList", several)) if part is not None]
        if len(forms) != 1:
            raise MalformedError(where, got=" and ".join(forms) or "none of them",
                                 expected="one of data, clone, cloneList")
        document: dict[str, Any] = {**written}
        if clone is not None:
            document["clone"] = {"name": clone.need("name", str), "namespace": clone.take("namespace", str) or ""}
            clone.done()
        elif several is not None:
            document["cloneList"] = {"namespace": several.take("namespace", str) or "", "kinds": several.texts("kinds"),
                                     "selector": written_selector(several)}
            several.done()
            if not document["cloneList"]["kinds"]:
                raise MalformedError(several.path("kinds"), got="nothing", expected="at least one kind")
        else:
            document["data"] = data
        if several is None and not (written["kind"] and written["name"]):
            raise MalformedError(where, got="no kind or no name", expected="those of what is generated")
        self._document = document
        self._fill = compile_value(document, where, roots)

    def filled(self, data: dict[str, Any], given: Given) -> dict[str, Any]:
        """Raises QueryError."""
        filled = self._document if self._fill is None else self._fill(data, given.context.now)
        if not all(isinstance(filled[name], str) for name in ("apiVersion", "kind", "namespace", "name")):
            raise QueryError("a variable in apiVersion, kind, namespace or name is no text")
        result: dict[str, Any] = filled
        return result


class _Loop(NamedTuple):
    elements: List
    context: Context
    preconditions: Conditions | None
    pattern: _Pattern


class GenerateRule(KyvernoRule):
    phase = Phase.GENERATE
    reads_images = False

    def __init__(self, head: Head, fields: Fields, *, server_side: bool = False, existing: bool = False) -> None:
        """`server_side`, `existing`: what the policy says of all its rules. Raises UnsupportedError, MalformedError."""
        super().__init__(head)
        self.enforce = False
        self.scope.judged = WRITTEN
        self.reads_templates = True
        said = fields.take("generateExisting", bool)
        self.existing = existing if said is None else said
        """Whether what lies in the cluster when the policy comes is a trigger, too."""
        self.synchronize = fields.take("synchronize", bool) is True
        self.orphan = fields.take("orphanDownstreamOnPolicyDelete", bool) is True
        self.server_side = server_side
        loops = fields.each("foreach")
        self._loops = [_loop(loop, head) for loop in loops]
        self._pattern = None if loops else _Pattern(fields, head.roots)
        fields.done()

    def judged(self, given: Given) -> Spoken:
        changes: list[Change] = []
        try:
            errors = self._all(given, changes)
        except UnansweredError:
            raise
        except (CustodyError, LanguageError) as error:
            errors = [error.message]
        judgement = Judgement(Outcome.ERROR, "; ".join(errors)) if errors else Judgement(Outcome.PASS, "")
        return Spoken([self.result(given, judgement, enforce=False)], changes=changes)

    def _all(self, given: Given, changes: list[Change]) -> list[str]:
        """Adds what is wanted; the messages of what cannot be. Raises UnansweredError, CustodyError, LanguageError."""
        data = variables(given)
        if self._pattern is not None:
            self._take(self._pattern.filled(data, given), given, changes)
            return []
        errors = []
        for at, loop in enumerate(self._loops):
            try:
                elements = loop.elements(data, given.context.now)
            except QueryError as error:
                errors.append(f"failed to evaluate {at} foreach list: JMESPath query failed: {error.message}")
                continue
            for index, element in enumerate(elements):
                if element is None:
                    continue
                try:
                    self._of_element(loop, {**data, "element": element, "elementIndex": index, "element0": element,
                                            "elementIndex0": index}, given, changes)
                except UnansweredError:
                    raise
                except (CustodyError, LanguageError) as error:
                    errors.append(f"failed to process {at} foreach in rule {self.name}: failed to process {index} "
                                  f"element: {error.message}")
        return errors

    def _of_element(self, loop: _Loop, data: dict[str, Any], given: Given, changes: list[Change]) -> None:
        data = loop.context.opened(data, given)
        if loop.preconditions is None or loop.preconditions(data, given.context.now)[0]:
            self._take(loop.pattern.filled(data, given), given, changes)

    def _take(self, pattern: dict[str, Any], given: Given, changes: list[Change]) -> None:
        for target, content, source in self._wanted(pattern, given):
            if len(changes) >= MAX_GENERATED:
                raise GenerateError(f"more than {MAX_GENERATED} objects are generated")
            changes.append(self._change(given, target, content, source))

    def _wanted(self, pattern: dict[str, Any], given: Given) -> Iterator[tuple[dict[str, str], Any, Any]]:
        """(target, what it is to be, what it is cloned from)."""
        target = {name: pattern[name] for name in ("apiVersion", "kind", "namespace", "name")}
        self._stay(target["namespace"])
        if "clone" in pattern:
            source = {**target, "namespace": pattern["clone"]["namespace"], "name": pattern["clone"]["name"]}
            self._stay(source["namespace"])
            if (source["namespace"], source["name"]) == (target["namespace"], target["name"]):
                return
            document = objects.get(given, source["apiVersion"], source["kind"], source["namespace"], source["name"])
            if document is None:
                raise GenerateError(f"source resource {'/'.join(target.values())} not found: it is not in the cluster")
            yield target, _cloned(document, target), source
        elif "cloneList" in pattern:
            named = pattern["cloneList"]
            self._stay(named["namespace"])
            for text in named["kinds"]:
                api_version, _, kind = text.rpartition("/")
                api_version = api_version or "v1"
                for document in objects.listed(given, api_version, kind, named["namespace"], named["selector"]):
                    metadata = document.get("metadata") or {}
                    if (metadata.get("namespace") or "") == target["namespace"]:
                        continue
                    own = {"apiVersion": api_version, "kind": kind, "namespace": target["namespace"],
                           "name": str(metadata.get("name") or "")}
                    yield own, _cloned(document, own), {**own, "namespace": metadata.get("namespace") or ""}
        else:
            if not isinstance(pattern["data"], dict):
                raise GenerateError(f"got {Shape(pattern['data'])} as data, expected a map")
            yield target, pattern["data"], None

    def _stay(self, namespace: str) -> None:
        """A Policy generates, and clones, in its own namespace alone. Raises GenerateError."""
        own = self._head.namespace
        if own and namespace != own:
            raise GenerateError(f"a namespaced policy cannot generate resources in other namespaces, expected: {own}, "
                                f"received: {namespace}")

    def _change(self, given: Given, target: dict[str, str], content: dict[str, Any],
                source: dict[str, Any] | None) -> Change:
        metadata = dict(content["metadata"]) if isinstance(content.get("metadata"), dict) else {}
        labels = dict(metadata["labels"]) if isinstance(metadata.get("labels"), dict) else {}
        metadata |= {"name": target["name"], "labels": labels | self._labels(given)}
        metadata.pop("namespace", None)
        if target["namespace"]:
            metadata["namespace"] = target["namespace"]
        document = {**content, "apiVersion": target["apiVersion"] or content.get("apiVersion"),
                    "kind": content.get("kind") or target["kind"], "metadata": metadata}
        group, _, version = str(document["apiVersion"]).rpartition("/")
        if self._head.namespace and builtin().namespaced(Kind(str(document["kind"]), version, group)) is False:
            raise GenerateError(f"a namespaced policy cannot generate cluster-wide resources, received: "
                                f"{document['kind']}")
        return Change(policy=self.policy.name, rule=self.name, verb="apply" if self.synchronize else "create",
                      object=document, source=source, synchronize=self.synchronize, orphan=self.orphan,
                      server_side=self.server_side)

    def _labels(self, given: Given) -> dict[str, str]:
        trigger = given.object or {}
        metadata = trigger.get("metadata") if isinstance(trigger.get("metadata"), dict) else {}
        metadata = metadata or {}
        kind = given.request.kind
        said = {"policy-name": self.policy.name.rpartition("/")[2], "policy-namespace": self._head.namespace,
                "rule-name": self.name, "trigger-version": kind.version, "trigger-group": kind.group,
                "trigger-kind": kind.kind, "trigger-namespace": str(metadata.get("namespace") or ""),
                "trigger-uid": str(metadata.get("uid") or "")}
        return {MANAGED: "kyverno"} | {LABEL + name: value for name, value in said.items()}


def _loop(fields: Fields, head: Head) -> _Loop:
    elements = List(fields.need("list", str), fields.path("list"), head.roots)
    context, roots = compile_context(fields.each("context"), element_roots(head.roots, 0), head.namespace)
    block = fields.any("preconditions")
    conditions = None if block is None else compile_conditions(block, fields.path("preconditions"), roots)
    pattern = _Pattern(fields, roots)
    fields.done()
    return _Loop(elements, context, conditions, pattern)


def _cloned(document: dict[str, Any], target: dict[str, str]) -> dict[str, Any]:
    """A source without what the API server keeps in it, labelled with where it is from."""
    metadata = document["metadata"] if isinstance(document.get("metadata"), dict) else {}
    group, _, version = target["apiVersion"].rpartition("/")
    namespace = str(metadata.get("namespace") or "")
    labels = dict(metadata.get("labels") or {})
    labels |= {f"{LABEL}source-group": group, f"{LABEL}source-version": version, f"{LABEL}source-kind": target["kind"],
               f"{LABEL}source-namespace": namespace, f"{LABEL}source-uid": str(metadata.get("uid") or "")}
    kept = {name: value for name, value in metadata.items() if name not in _OF_SERVERS
            and not (name == "ownerReferences" and namespace != target["namespace"])}
    return {**document, "metadata": kept | {"labels": labels}}
