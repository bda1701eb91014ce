"""What a `validate` rule reads of a request, from its blocks as they are written; `policy.reads` says what for.

Whatever is not bounded here raises UnboundedError: CEL, manifests, registries, the time, chance, names that are made of
the data. What is asked of a cluster is bounded: the questions by what their texts read, and the answers are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from custody.policy.kyverno.rule import Head
from custody.policy.podsecurity.checks import ANNOTATED, VOLUMES
from custody.policy.reads import Part, Reads
from custody.policy.scope import Scope
from policylang.conditions import reads as language
from policylang.conditions.reads import UnboundedError, Value
from policylang.errors import InvalidError
from policylang.references import resolve
from policylang.variables import changes

_SCOPED = {"names", "namespaces", "annotations", "selector", "namespaceSelector", "subjects", "roles", "clusterRoles"}
_ENTRIES = ("variable", "configMap", "apiCall", "globalReference")
_BLOCKS = ("pattern", "anyPattern", "deny", "foreach")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_HANDLERS = (("livenessProbe",), ("readinessProbe",), ("startupProbe",), ("lifecycle", "postStart"),
             ("lifecycle", "preStop"))
_OF_PODS = ("securityContext", "hostNetwork", "hostPID", "hostIPC", "hostUsers", "os")


def note(head: Head, reads: Reads) -> None:
    """Mark what decides which outcome the rule has. Raises UnboundedError."""
    if head.scope.conditions:
        raise UnboundedError
    _scope(head.scope, reads)
    variables = _Variables(reads)
    data = _entries(head.written["context"] or [], variables.data)
    _conditions(head.written["preconditions"], data)
    validate = head.written["validate"]
    if "podSecurity" in validate:
        _pods(validate["podSecurity"], reads)
    elif any(form in validate for form in _BLOCKS):
        _block(validate, validate.get("message"), data, (reads.object,), 0)
    else:
        raise UnboundedError
    # Words that cannot be made are an error of the rule, which denies where a failure does unless errors are ignored;
    # and they ask for something where there is a context.
    if (head.context or _opens(validate) or head.policy.failure_policy == "Ignore") and changes(
            [validate.get("message"), str(validate.get("deny")), str(validate.get("foreach"))]):
        reads.wordy.add((head.policy.kind, head.policy.name, head.name))
    variables.note()


def _scope(scope: Scope, reads: Reads) -> None:
    for block in (scope.match, scope.exclude):
        for part in block.filters if block is not None else ():
            chosen = {*part.chosen}
            if part.resources or chosen - _SCOPED:
                raise UnboundedError
            if "names" in chosen:
                reads.name = True
                reads.object.at("metadata", "generateName").whole = True
            if "annotations" in chosen:
                reads.object.at("metadata", "annotations").whole = True
            if "selector" in chosen:
                reads.object.at("metadata", "labels").whole = True
            if chosen & {"subjects", "roles", "clusterRoles"}:
                reads.user = True


def _opens(block: Mapping[str, Any]) -> bool:
    """Whether lists of `foreach` have a context of their own."""
    return any(loop.get("context") or _opens(loop) for loop in block.get("foreach") or [])


# ── variables ───────────────────────────────────────────────────────────────────────────────────────────────────────

class _Accessed(dict[str, Value]):
    """Whose `parts` are read where they are taken, whatever is made of them: a list of a null is empty."""

    def __init__(self, fields: Mapping[str, Value], parts: tuple[Part, ...]) -> None:
        super().__init__(fields)
        self._parts = parts

    def get(self, name: str, otherwise: Any = None) -> Any:
        value = super().get(name, otherwise)
        for choice in value or ():
            if isinstance(choice, Part) and choice in self._parts:
                choice.whole = True
        return value


class _Variables:
    """What expressions begin with (`kyverno.variables`). Kind, operation and namespace are compared in any case."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._user, self._account, self._images = Part(), Part(), Part()
        self._name = Part()
        fixed: dict[str, Value] = dict.fromkeys(("operation", "namespace", "kind", "dryRun", "subResource"), ())
        request = _Accessed({**fixed, "object": (reads.object,), "oldObject": (reads.object,),
                                     "userInfo": (self._user,), "name": (self._name,)},
                            (self._user, self._name))
        self.data: dict[str, Value] = {"request": (request,), "images": (self._images,),
                                       "serviceAccountName": (self._account,),
                                       "serviceAccountNamespace": (self._account,)}

    def note(self) -> None:
        """Mark what those stand for that were read."""
        if _touched(self._user) or _touched(self._account):
            self._reads.user = True
        if _touched(self._name):
            self._reads.name = True
        if _touched(self._images):
            self._reads.images()


def _touched(part: Part) -> bool:
    return part.whole or part.sized or part.keyed or bool(part.fields or part.prefixes) or part.element is not None


def _entries(written: list[Any], data: dict[str, Value]) -> dict[str, Value]:
    """With the entries of a `context`, which are made of what their texts read and of answers: they count as read."""
    for entry in written:
        [form] = entry.keys() - {"name"}
        described = entry[form]
        if form not in _ENTRIES:
            raise UnboundedError
        language.document(described, (data,))
        query = described.get("jmesPath")
        if query:
            if changes(query):
                raise UnboundedError
            of_request = form == "variable" and described.get("value") is None
            language.whole(language.evaluated(language.tree_of(query), (data,) if of_request else ()))
        data = {**data, entry["name"]: ()}
    return data


def _conditions(written: Any, data: Mapping[str, Value]) -> None:
    """A block of conditions. What they say is read where they deny, and does not decide that they do."""
    for condition in _written(written):
        language.document([condition.get("key"), condition.get("value")], (data,))


def _written(block: Any) -> Iterator[dict[str, Any]]:
    """The conditions of a block: a list of them, `any` and `all`, or a list of such."""
    for part in block if isinstance(block, list) else [block] if isinstance(block, dict) else []:
        yield from [part] if "key" in part else [*(part.get("any") or []), *(part.get("all") or [])]


# ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def _block(block: dict[str, Any], message: Any, data: dict[str, Value], judged: Value, depth: int) -> None:
    """What stands in `validate`, or in an entry of `foreach`; patterns are compared with what is `judged`."""
    if "deny" in block:
        _conditions((block["deny"] or {}).get("conditions"), data)
    elif "foreach" in block:
        for loop in block["foreach"]:
            _loop(loop, message, data, judged, depth)
    else:
        if depth:  # an element is passed over for what is said of an error
            language.document(message, (data,))
        try:
            patterns = [resolve(block["pattern"], "")] if "pattern" in block else resolve(block["anyPattern"], "")
        except InvalidError:
            raise UnboundedError from None
        for pattern in patterns:
            language.document(pattern, (data,))
            language.pattern(pattern, judged)


def _loop(loop: dict[str, Any], message: Any, data: dict[str, Value], judged: Value, depth: int) -> None:
    query = loop["list"].strip()
    if changes(query):
        raise UnboundedError
    lists = language.evaluated(language.tree_of(query), (data,))
    # What is no list is one element: parts of the data are told apart by who compares.
    element = language.elements(lists) + tuple(made for made in lists if isinstance(made, Mapping))
    inner = {**data, "element": element, f"element{depth}": element, "elementIndex": (), f"elementIndex{depth}": ()}
    inner = _entries(loop.get("context") or [], inner)
    _conditions(loop.get("preconditions"), inner)
    # A pattern is compared with the element where that is a map, else with what is judged around it.
    _block(loop, message, inner, element + judged, depth + 1)


# ── podSecurity ─────────────────────────────────────────────────────────────────────────────────────────────────────

def _pods(block: dict[str, Any], reads: Reads) -> None:
    """The fields of `podsecurity.checks` and `kyverno.standards`, whichever of them a level asks."""
    of_containers = ["name", "securityContext"]
    if any(excluded.get("images") for excluded in block.get("exclude") or []):
        of_containers.append("image")
    for template in reads.templates():
        _annotated(template.at("metadata", "annotations"))
        spec = template.at("spec")
        for name in _OF_PODS:
            spec.at(name).whole = True
        for kind in _CONTAINERS:
            container = spec.at(kind, "[]")
            for name in of_containers:
                container.at(name).whole = True
            for handler in _HANDLERS:
                for action in ("httpGet", "tcpSocket"):
                    container.at(*handler, action, "host").whole = True
            container.at("ports", "[]", "hostPort").whole = True
        volume = spec.at("volumes", "[]")
        for name in VOLUMES:
            volume.at(name).bare = True
        volume.at("hostPath").whole = True
    # Kyverno takes the metadata of a CronJob's job for that of its pods.
    _annotated(reads.object.at("spec", "jobTemplate", "metadata", "annotations"))


def _annotated(annotations: Part) -> None:
    annotations.prefixes.update(ANNOTATED)
