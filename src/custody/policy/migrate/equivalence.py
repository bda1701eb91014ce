"""Whether a policy and its translation say the same: both are asked about generated objects and given ones.

What is compared is whether a request is denied, and whether it was judged: for, against, or not at all. A failure and
an error are both against it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.formats import reference
from custody.policy.decide import decide
from custody.policy.equivalent.asking import NOW, answered, message, stance
from custody.policy.kinds import Kinds, Selector, builtin, guessed_plural
from custody.policy.load import PolicySet
from custody.policy.migrate.answers import Answers
from custody.policy.migrate.matching import Named, adds_containers
from custody.policy.migrate.pods import Pods
from custody.policy.migrate.samples import Samples, Vocabulary
from custody.policy.model import Context, Decision, Kind, Outcome, Request, Resource, User
from custody.policy.podfields import TEMPLATES
from custody.policy.resources import Subresource
from custody.ports.lookup import Answer, Answered, NamespaceLabels, Question

_NO_LABEL = re.compile(r"[^A-Za-z0-9._-]")
_PODS = ("Deployment", "CronJob", "Job", "ReplicationController")
_EXCUSED = "skipping the rule evaluation as pre-existing violations are allowed"
_NAMESPACES = ("default", "kube-system")


class Difference(NamedTuple):
    """A counter-example."""

    request: Request
    said: str
    """By the policy as it is: for, against or nothing, and whether it denies."""
    says: str
    """By its translation."""
    messages: tuple[str, str]


class Proof(NamedTuple):
    """What was tried of a translation. It holds where there is no difference, and some are judged, not all against."""

    difference: Difference | None
    asked: int
    """Requests of which both said the same."""
    judged: int
    denied: int
    """Of these, for what it is that a rule of this form does: denied, changed, generated."""


class Comparison:
    """One rule beside the policies that it became."""

    def __init__(self, before: Sequence[Any], after: Sequence[Any], kinds: Kinds,
                 rule: dict[str, Any] | None = None) -> None:
        """`rule`: what is looked up is made up for this one. Raises MalformedError, UnsupportedError for what does not
        load."""
        vocabulary = Vocabulary()
        vocabulary.policy(rule or {})
        self._lookups = Answers(rule or {}, vocabulary)
        self.before, self.after = PolicySet(before, kinds=kinds), PolicySet(after, kinds=kinds)
        self._ignores = any(document["spec"].get("failurePolicy") == "Ignore" for document in after)
        self.asked = self.judged = self.denied = 0
        """Requests; those that the policy judged; and those that it was against."""

    def difference(self, request: Request) -> Difference | None:
        answers: dict[Any, Answer] = {NamespaceLabels(request.namespace): Answered({})}
        context = Context(now=NOW + timedelta(hours=self.asked * 7 % 336))
        self._lookups.turn()
        said, says = (answered(partial(self._decided, request, policies, context), self._lookups.answer, answers)
                      for policies in (self.before, self.after))
        self.answers = answers
        self.asked += 1
        left, right = stance(said), stance(says)
        self.judged += left != "nothing"
        self.denied += left == "against"
        if left == right and said.allowed == says.allowed:
            return None
        if said.allowed == says.allowed and right == "nothing" and self._ignores and {
                result.outcome for result in said.results} <= {Outcome.ERROR, Outcome.SKIP}:
            return None  # an error of a match condition is nothing then
        if said.allowed == says.allowed and right == "for" and any(
                result.message == _EXCUSED for result in said.results):
            return None  # a violation that was there before: a pass now, which was a skip
        return Difference(request, _words(left, said), _words(right, says), (message(said), message(says)))

    @staticmethod
    def _decided(request: Request, policies: PolicySet, context: Context, answers: dict[Question, Answer]) -> Decision:
        return decide(request, {}, policies, context, answers=answers)


def _words(said: str, decision: Decision) -> str:
    return said if decision.allowed else f"{said}, denied"


def requests(rule: dict[str, Any], resources: Sequence[Named], operations: Sequence[str], kinds: Kinds, count: int,
             given: Sequence[dict[str, Any]] = ()) -> Iterator[Request]:
    """Generated requests about what a rule speaks of, and the given objects, each created, changed and deleted."""
    vocabulary = Vocabulary()
    vocabulary.policy(rule)
    words = [word.replace("/", "z").replace("%", "z") for word in vocabulary.values.values()
             if isinstance(word, str) and word]
    plain = [_served(resource) for resource in resources if "/" not in resource.resource and resource.kind]
    asked = {(target.group, target.kind): target for target in plain}
    if ("", "Pod") in asked:
        for name in _PODS:
            selector = Selector("*", "*", name, "")
            for served in kinds.find(selector)[:1]:
                holder = served.resource
                asked[(holder.group, name)] = Named(holder.group, holder.version, holder.plural, name)
    if not asked:
        asked[("", "ConfigMap")] = Named("", "v1", "configmaps", "ConfigMap")
    debugged = adds_containers(rule)
    secured = (rule.get("validate") or {}).get("podSecurity")
    typed = {served.resource.group for served in builtin().find(Selector("*", "*", "*", ""))}
    places = _places(rule)
    for turn, target in enumerate(asked.values()):
        samples = Samples(vocabulary, typed=target.group in typed, seed=turn)
        last: dict[str, Any] | None = None
        for at, made in enumerate(samples.objects(count) if not secured else Pods(secured, turn).objects(count)):
            document = _object(made, target, at, words, direct=target in plain and not secured)
            place = places[at // 4 % len(places)] if places and at % 4 == 2 else ("", "")
            if place[0]:
                document["metadata"]["name"] = place[0]
            before = last
            if at % 2:
                before = samples.changed(document)
                before["metadata"] = {**_metadata(before.get("metadata")), "name": document["metadata"]["name"]}
            yield from _asking(document, before, target, operations, kinds, at, words, debugged=debugged,
                               place=place[1])
            last = document
    yield from _connecting([resource for resource in resources if "/" in resource.resource], kinds, words, count)
    for document in given:
        yield Request.create(document, "default")


def _served(resource: Named) -> Named:
    """A resource of which only the kind is known, or a wildcard of it, as some API server may serve it."""
    if resource.told:
        return resource
    kind = resource.kind.replace("*", "Thing").replace("?", "X")
    return Named("example.com" if resource.group == "*" else resource.group,
                 "v1" if resource.version == "*" else resource.version, guessed_plural(kind), kind)


def _object(made: dict[str, Any], target: Named, at: int, words: Sequence[str], *, direct: bool) -> dict[str, Any]:
    """An object that the API server could send: with a name, labels of texts, and pods where there must be some.

    `direct`: the rule speaks of its kind, and not of the pods that it makes.
    """
    made = copy.deepcopy(made)
    metadata = made["metadata"] = _metadata(made.get("metadata"))
    metadata["name"] = words[at % len(words)] if words and at % 3 == 0 else f"sample-{at}"
    if target.kind in TEMPLATES:
        steps = TEMPLATES[target.kind].split("/")[1:]
        if direct and target.kind != "Pod":
            _templated(made, steps)
        else:
            made["spec"] = _pod(made.get("spec"))
            if target.kind != "Pod":
                inner: dict[str, Any] = {key: made[key] for key in ("metadata", "spec")}
                for step in reversed(steps[:-1]):
                    inner = {step: inner}
                labels = dict(metadata.get("labels") or {}) if at % 3 else {}
                made = {**inner, "metadata": {"name": metadata["name"], "labels": labels}}
    version = f"{target.group}/{target.version}" if target.group else target.version
    return {**made, "apiVersion": version, "kind": target.kind}


def _templated(made: dict[str, Any], steps: Sequence[str]) -> None:
    """Pods in the template that is there."""
    holder = made
    for step in steps[:-1]:
        inner = holder.get(step)
        holder[step] = holder = inner if isinstance(inner, dict) else {}
    if "metadata" in holder:
        holder["metadata"] = _metadata(holder["metadata"])
    holder["spec"] = _pod(holder.get("spec"))


def _metadata(metadata: Any) -> dict[str, Any]:
    kept = dict(metadata) if isinstance(metadata, dict) else {}
    for field in ("labels", "annotations"):
        if field in kept:
            kept[field] = {key: str(value) for key, value in kept[field].items()} if isinstance(
                kept[field], dict) else {}
    if isinstance(kept.get("labels"), dict):  # whose letters the API server checks
        kept["labels"] = {key: _NO_LABEL.sub("z", value) for key, value in kept["labels"].items()}
    for field in ("namespace", "generateName", "uid", "resourceVersion"):
        if field in kept:
            kept[field] = str(kept[field])
    return kept


def _pod(spec: Any) -> dict[str, Any]:
    made = spec if isinstance(spec, dict) else {}
    _named(made.get("volumes"), "volume")
    for field in ("containers", "initContainers", "ephemeralContainers"):
        if field == "containers" or field in made:
            written = made.get(field)
            entries = written if isinstance(written, list) else []
            containers = [entry for entry in entries if isinstance(entry, dict)] or (
                [{}] if field == "containers" else [])
            for at, container in enumerate(containers):
                container["name"] = f"{field.lower()}-{at}"
                container["image"] = _image(container.get("image"))
                for inner in ("env", "volumeMounts"):
                    _named(container.get(inner), inner.lower())
            made[field] = containers
    return made


def _named(entries: Any, words: str) -> None:
    """What has a name, with one."""
    for at, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict) and not (isinstance(entry.get("name"), str) and entry["name"]):
            entry["name"] = f"{words}-{at}"


def _image(name: Any) -> str:
    """A name that can be read: of others custody's rules about `images` are errors."""
    try:
        reference.parse(str(name))
    except MalformedError:
        return "registry.example.com/app:1"
    return str(name)


def _asking(document: dict[str, Any], last: dict[str, Any] | None, target: Named, operations: Sequence[str],
            kinds: Kinds, at: int, words: Sequence[str], *, debugged: bool, place: str = "") -> Iterator[Request]:
    kind = Kind(target.kind, target.version, target.group)
    resource = Resource(target.resource, target.version, target.group)
    namespace = ""
    if kinds.namespaced(kind) is not False:
        choices = [*_NAMESPACES, *words]
        namespace = place or (_NAMESPACES[0] if at % 3 else choices[at // 3 % len(choices)])
        document["metadata"]["namespace"] = namespace
    elif kind.kind == "Namespace":
        namespace = document["metadata"]["name"]
    user = User(username=words[at % len(words)] if words and at % 4 == 0 else "admin",
                groups=("system:authenticated", *([words[at % len(words)]] if words and at % 5 == 0 else [])))
    name = document["metadata"]["name"]

    def asked(operation: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> Request:
        return Request(operation=operation, kind=kind, resource=resource, namespace=namespace, name=name, object=new,
                       old_object=old, user=user)

    yield asked("CREATE", document, None)
    if last is not None:
        yield asked("UPDATE", document, last)
    if at % 4 == 0:
        yield asked("UPDATE", document, document)
        if "DELETE" in operations:
            yield asked("DELETE", None, document)
    if debugged and target.kind == "Pod" and last is not None and at % 3 == 0:
        yield Request(operation="UPDATE", kind=kind, resource=resource, namespace=namespace, name=name,
                      object=document, old_object=last, user=user, subresource="ephemeralcontainers", parent=kind)


def _places(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and namespaces that a rule speaks of together."""
    made = []
    for block in (rule.get("match") or {}, rule.get("exclude") or {}):
        for part in (block, *(block.get("any") or []), *(block.get("all") or [])):
            resources = part.get("resources") or {}
            names = [*(resources.get("names") or []), *filter(None, [resources.get("name")])] or [""]
            made += [(name.replace("*", "z").replace("?", "q"), namespace.replace("*", "z").replace("?", "q"))
                     for name in names for namespace in resources.get("namespaces") or [""] if name or namespace]
    return made


def _connecting(resources: Sequence[Named], kinds: Kinds, words: Sequence[str], count: int) -> Iterator[Request]:
    """Requests about subresources."""
    for resource in resources:
        plural, _, sub = resource.resource.partition("/")
        target = next((target for target in kinds.find(Selector(resource.group, resource.version, resource.kind, sub))
                       if target.subresource is not None), None)
        if sub == "*" or (target is None and sub != "status"):
            continue
        inner = Subresource(name=sub, kind=resource.kind, group=resource.group, version=resource.version, operations=(
            "UPDATE",)) if target is None or target.subresource is None else target.subresource
        kind = Kind(inner.kind or resource.kind, inner.version or resource.version, inner.group)
        version = f"{kind.group}/{kind.version}" if kind.group else kind.version
        for at in range(count):
            namespace = [*_NAMESPACES, *words][at % (len(words) + 2)]
            name = f"sample-{at}"
            document: dict[str, Any] = {"apiVersion": version, "kind": kind.kind}
            if "CONNECT" not in inner.operations:
                document["metadata"] = {"name": name, "namespace": namespace}
            for operation in inner.operations:
                user = User(username=words[at // 3 % len(words)] if words and at % 2 else "admin")
                owner = Resource(plural, resource.version, resource.group)
                yield Request(operation=operation, kind=kind, resource=owner,
                              namespace=namespace, name=name, object=document, user=user, subresource=sub,
                              old_object=document if operation in ("UPDATE", "DELETE") else None,
                              parent=Kind(resource.kind, resource.version, resource.group))


def checked(comparison: Comparison, asked: Iterator[Request]) -> Difference | None:
    """The first counter-example."""
    for request in asked:
        try:
            difference = comparison.difference(request)
        except CustodyError:
            continue  # a request that nobody can judge, such as one of a resource whose kind is not known
        if difference is not None:
            return difference
    return None
