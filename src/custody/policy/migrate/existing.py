"""A rule with `mutate.targets` as MutatingPolicies with `evaluation.mutateExisting`: other objects are changed.

A MutatingPolicy changes what lies in the cluster as soon as it comes, and takes each target for its own trigger then; a
rule does so only where it says `mutateExistingOnPolicyUpdate`, and by the triggers that lie there. So a condition keeps
a target from being its own trigger; what would not be the same is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from custody.errors import CustodyError, UnsupportedError
from custody.policy.kinds import Kinds
from custody.policy.kyverno.autogen import Generated
from custody.policy.migrate import conditions, mutating
from custody.policy.migrate.clusters import Cluster
from custody.policy.migrate.contexts import context
from custody.policy.migrate.effects import Effects, outcome
from custody.policy.migrate.equivalence import requests
from custody.policy.migrate.expressions import TRUE, literal, wildcard
from custody.policy.migrate.heading import asked, policy
from custody.policy.migrate.matching import Matched, matched
from custody.policy.migrate.outcome import Migrated, alone, behind, name_of
from custody.policy.migrate.queries import Names, element_names
from custody.policy.migrate.shaping import shaped
from custody.policy.migrate.values import written
from custody.policy.model import Request
from custody.policy.phases import Course
from custody.policy.scope import WRITTEN
from policylang.variables import has_variables

_TARGET = frozenset(("apiVersion", "kind", "name", "namespace", "selector", "context", "preconditions"))
Document = dict[str, Any]


def rule(document: Document, at: int, made: Sequence[Generated], kinds: Kinds, given: Sequence[Document],
         count: int) -> Migrated:
    """The policies that change the same targets in the same way, or why there are none."""
    name, path = document["spec"]["rules"][at]["name"], f"spec.rules[{at}]"
    try:
        documents = translated(document, at, kinds, name_of(document, at))
        before = alone(document, at, made)
        (single,) = before["spec"]["rules"]
        objects = [*_objects(single, path, kinds, count)]
        effects = Effects([before], documents, kinds, Course.GENERATING, Cluster(kinds, single, objects))
        match = matched(single, path, kinds, WRITTEN, "object")
        difference = None
        for times in (1, 8):  # more, where the first ones do not bring it to change anything
            difference = effects.checked(_asked(single, match, kinds, given, objects, count * times // 4))
            if difference is not None or effects.done:
                break
    except CustodyError as error:
        return behind(document["metadata"]["name"], name, error)
    return outcome(document["metadata"]["name"], name, path, documents, effects, difference, "changing others")


def translated(document: Document, at: int, kinds: Kinds, name: str) -> list[Document]:
    """A policy for each target. Raises UnsupportedError."""
    spec, where = document["spec"], f"spec.rules[{at}]"
    single = spec["rules"][at]
    mutating.known(document, at)
    targets = single["mutate"]["targets"]
    said = single["mutate"].get("mutateExistingOnPolicyUpdate")
    updates = bool(spec.get("mutateExistingOnPolicyUpdate") if said is None else said)
    return [_policy(document, single, where, target, place, kinds, updates=updates,
                    name=name if len(targets) == 1 else f"{name}-{place + 1}") for place, target in enumerate(targets)]


def _policy(document: Document, single: Document, where: str, target: Document, place: int, kinds: Kinds, *,
            updates: bool, name: str) -> Document:
    match = matched(single, where, kinds, WRITTEN, "object")
    path = f"{where}.mutate.targets[{place}]"
    selected = _selected(target, path, kinds)
    names = Names("request.object", "request.oldObject", certain=mutating.certain(selected),
                  typed=mutating.typed(match) and mutating.typed(selected), home=mutating.home(document))
    trigger = names._replace(certain=mutating.certain(match))
    entered = context(single.get("context") or [], f"{where}.context", trigger)
    meets = [(f"match-{at}" if at else "match", text) for at, text in enumerate(match.conditions)]
    meets += mutating.said(single, where, entered)
    inner = element_names(entered._replace(certain=names.certain), target="object")
    tests = [("name", _named(target, path, entered))]
    inner = context(target.get("context") or [], f"{path}.context", inner)
    if target.get("preconditions"):
        tests.append(("preconditions", conditions.compiled(target["preconditions"], f"{path}.preconditions", inner)))
    of = [(target["apiVersion"], target["kind"])]
    mutations, holding = mutating.mutated(single["mutate"], f"{where}.mutate", inner, of, plainly=True)
    tests += [(f"anchor-{at}" if at else "anchor", text) for at, text in enumerate(holding)]
    tests = [_of_triggers(match, selected), *tests] if not updates else tests
    body = asked({key: value for key, value in document["spec"].items() if key != "background"})
    body["evaluation"] = {**body.get("evaluation", {}), "mutateExisting": {"enabled": True}}
    if any(resource.resource == "pods" for resource in match.resources):
        body["autogen"] = {"podControllers": {"controllers": []}}
    body["matchConstraints"] = match.constraints
    body["matchConditions"] = mutating.conditioned(document, meets)
    body["targetMatchConstraints"] = selected.constraints
    body["targetMatchConditions"] = [{"name": label, "expression": text} for label, text in tests if text != TRUE]
    body["mutations"] = mutations
    if updates:
        _same(match, selected, body, path)
    return policy(document, "MutatingPolicy", name, mutating.sharing(body, entered))


def _selected(target: Document, path: str, kinds: Kinds) -> Matched:
    if unknown := sorted(set(target) - _TARGET):
        raise UnsupportedError(f"{path}.{unknown[0]}", "it has no words in targetMatchConstraints")
    for field in ("apiVersion", "kind"):
        if has_variables(target[field]) or set("*?") & set(target[field]):
            raise UnsupportedError(f"{path}.{field}", "a kind that is computed or a wildcard")
    resources: Document = {"kinds": [f"{target['apiVersion']}/{target['kind']}"]}
    selected = matched({"match": {"any": [{"resources": resources}]}}, path, kinds, ("CREATE", "UPDATE"), "object")
    selector = target.get("selector")
    if not selector:
        return selected
    if has_variables(selector) or set("*?") & set(str(selector)):
        raise UnsupportedError(f"{path}.selector", "a selector that is computed or a wildcard")
    return selected._replace(constraints={**selected.constraints, "objectSelector": selector})


def _named(target: Document, path: str, names: Names) -> str:
    """Whether an object's name and namespace are those of a target."""
    name, namespace = target.get("name") or "", names.home or target.get("namespace") or ""
    wild = any(set("*?") & set(text) and not has_variables(text) for text in (name, namespace))
    tests = []
    if name:
        tests.append(_text(name, "object.metadata.name", f"{path}.name", names))
    if namespace or (name and not wild and not target.get("selector")):
        tests.append(_text(namespace, "object.metadata.?namespace.orValue('')", f"{path}.namespace", names))
    return " && ".join(f"({test})" if "||" in test else test for test in tests) or TRUE


def _text(text: str, value: str, where: str, names: Names) -> str:
    if has_variables(text):
        return f"{value} == {written(text, where, names)}"
    return wildcard(text, value) if set("*?") & set(text) else f"{value} == {literal(text)}"


def _of_triggers(match: Matched, selected: Matched) -> tuple[str, str]:
    """That it is not asked because the policy came, when each target is its own trigger."""
    triggers = sorted({resource.kind for resource in match.resources})
    inner = sorted({resource.resource.partition("/")[2] for resource in match.resources})
    if all(inner):
        return "trigger", f"request.subResource in {literal(inner)}"
    if "" not in triggers and not {*triggers} & {resource.kind for resource in selected.resources}:
        return "trigger", f"request.kind.kind == {literal(triggers[0])}" if len(triggers) == 1 else (
            f"request.kind.kind in {literal(triggers)}")
    return "trigger", ("request.name != object.metadata.name || "
                       "request.namespace != object.metadata.?namespace.orValue('')")


def _same(match: Matched, selected: Matched, body: Document, path: str) -> None:
    """Whether what lies there is changed in the same way when the policy comes. Raises UnsupportedError."""
    kinds = ({(resource.group, resource.kind) for resource in of.resources} for of in (match, selected))
    texts = str([body["matchConditions"], body["targetMatchConditions"], body["mutations"]])
    first, second = kinds
    if first != second or "request." in texts:
        raise UnsupportedError(path, "when the policy comes, a MutatingPolicy takes each target for its own trigger, "
                               "and the rule each trigger that lies there")


# ── what is tried ───────────────────────────────────────────────────────────────────────────────────────────────────

def _objects(single: Document, path: str, kinds: Kinds, count: int) -> Iterator[Document]:
    """What may be a target."""
    for at, target in enumerate(single["mutate"]["targets"]):
        selected = _selected(target, f"{path}.mutate.targets[{at}]", kinds)
        spoken = {"match": single["match"], "mutate": single["mutate"], "preconditions": target.get("preconditions")}
        names = [target.get("name") or "", "sample-1"]
        places = [target.get("namespace") or "", "default", "kube-system"]
        for turn, request in enumerate(requests(spoken, selected.resources, ("CREATE",), kinds, min(count, 24))):
            if request.operation != "CREATE" or not isinstance(request.object, dict) or turn % 3:
                continue
            made = shaped(request.object, ["vault-agent", "first"])
            metadata = {**made["metadata"], "labels": {**(made["metadata"].get("labels") or {}), **(
                (target.get("selector") or {}).get("matchLabels") or {})}} if turn % 2 else dict(made["metadata"])
            if turn % 4 == 0 and names[0] and not has_variables(names[0]):
                metadata["name"] = names[0].replace("*", "z").replace("?", "q")
            if "namespace" in metadata and places[0] and not has_variables(places[0]) and turn % 2 == 0:
                metadata["namespace"] = places[0].replace("*", "z").replace("?", "q")
            yield {**made, "metadata": metadata}


def _asked(single: Document, match: Matched, kinds: Kinds, given: Sequence[Document], objects: Sequence[Document],
           count: int) -> Iterator[Request]:
    """Some of them are called as a target is, in its namespace."""
    for turn, request in enumerate(requests(single, match.resources, WRITTEN, kinds, count, given)):
        if not isinstance(request.object, dict):
            continue
        made = shaped(request.object)
        if objects and turn % 2:
            metadata = {**made["metadata"], "name": objects[turn % len(objects)]["metadata"]["name"]}
            made = {**made, "metadata": metadata}
            request = msgspec.structs.replace(request, name=metadata["name"])
        yield msgspec.structs.replace(request, object=made)
