"""A rule with `generate` as a GeneratingPolicy: objects of data, clones, and lists of clones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from custody.errors import CustodyError, UnsupportedError
from custody.policy.kinds import Kinds, Selector, guessed_plural
from custody.policy.kyverno.autogen import Generated
from custody.policy.migrate import conditions
from custody.policy.migrate.clusters import Cluster, sources
from custody.policy.migrate.contexts import context
from custody.policy.migrate.effects import Effects, outcome
from custody.policy.migrate.equivalence import requests
from custody.policy.migrate.expressions import TRUE, literal
from custody.policy.migrate.heading import policy
from custody.policy.migrate.matching import matched
from custody.policy.migrate.mutating import certain, conditioned, home, said, sharing, typed
from custody.policy.migrate.operations import plain
from custody.policy.migrate.outcome import Migrated, alone, behind, name_of
from custody.policy.migrate.queries import Names, element_names, query
from custody.policy.migrate.shaping import shaped
from custody.policy.migrate.values import written
from custody.policy.model import Request
from custody.policy.phases import Course
from custody.policy.scope import WRITTEN
from policylang.variables import has_variables

_DONE = frozenset(("name", "match", "exclude", "preconditions", "generate", "celPreconditions", "context",
                   "skipBackgroundRequests"))
_GENERATE = frozenset(("apiVersion", "kind", "name", "namespace", "data", "clone", "cloneList", "foreach",
                       "synchronize", "generateExisting", "orphanDownstreamOnPolicyDelete"))
_LOOP = frozenset(("list", "context", "preconditions", "apiVersion", "kind", "name", "namespace", "data", "clone",
                   "cloneList"))
Document = dict[str, Any]


def rule(document: Document, at: int, made: Sequence[Generated], kinds: Kinds, given: Sequence[Document],
         count: int) -> Migrated:
    """The policy that generates the same, or why there is none."""
    name, path = document["spec"]["rules"][at]["name"], f"spec.rules[{at}]"
    try:
        documents = [translated(document, at, kinds, name_of(document, at))]
        before = alone(document, at, made)
        cluster = Cluster(kinds, before["spec"]["rules"][0], sources(before))
        effects = Effects([before], documents, kinds, Course.GENERATING, cluster)
        difference = None
        for times in (1, 8):  # more, where the first ones do not bring it to make anything
            difference = effects.checked(_asked(before, path, kinds, given, count * times))
            if difference is not None or effects.done:
                break
    except CustodyError as error:
        return behind(document["metadata"]["name"], name, error)
    return outcome(document["metadata"]["name"], name, path, documents, effects, difference, "generating")


def _asked(alone_: Document, path: str, kinds: Kinds, given: Sequence[Document], count: int) -> Iterator[Request]:
    (single,) = alone_["spec"]["rules"]
    operations = _operations(single)
    match = matched(single, path, kinds, operations, "object")
    for request in requests(single, match.resources, operations, kinds, count, given):
        if isinstance(request.object, dict):
            request = msgspec.structs.replace(request, object=shaped(request.object))
        yield request


def translated(document: Document, at: int, kinds: Kinds, name: str) -> Document:
    """Raises UnsupportedError."""
    spec, where = document["spec"], f"spec.rules[{at}]"
    single = spec["rules"][at]
    generate = single["generate"]
    unknown = sorted(set(single) - _DONE | {f"generate.{field}" for field in set(generate) - _GENERATE})
    if unknown:
        raise UnsupportedError(f"{where}.{unknown[0]}", "it has no words in a GeneratingPolicy")
    if spec.get("applyRules") == "One" and len(spec["rules"]) > 1:
        raise UnsupportedError("spec.applyRules", "policies do not know of each other")
    match = matched(single, where, kinds, _operations(single), "object")
    names = Names("object", certain=certain(match), typed=typed(match), home=home(document))
    names = context(single.get("context") or [], f"{where}.context", names)
    meets = [(f"match-{at}" if at else "match", text) for at, text in enumerate(match.conditions)]
    meets += said(single, where, names)
    path = f"{where}.generate"
    if generate.get("foreach"):
        expressions = [text for at, loop in enumerate(generate["foreach"])
                       for text in _each(loop, f"{path}.foreach[{at}]", names, kinds)]
    else:
        expressions = _applied(generate, path, names, kinds)
    body: Document = {}
    if seconds := (spec.get("webhookConfiguration") or {}).get("timeoutSeconds") or spec.get("webhookTimeoutSeconds"):
        body["webhookConfiguration"] = {"timeoutSeconds": seconds}
    if evaluation := _evaluation(spec, single):
        body["evaluation"] = evaluation
    if spec.get("useServerSideApply"):
        body["useServerSideApply"] = True
    body["matchConstraints"] = match.constraints
    body["matchConditions"] = conditioned(document, meets)
    body["generate"] = [{"expression": text} for text in expressions]
    return policy(document, "GeneratingPolicy", name, sharing(body, names))


def _operations(single: Document) -> Sequence[str]:
    """Those that it is asked about: of deletions only where it names them."""
    return (*WRITTEN, "DELETE") if "DELETE" in str(single.get("match")) else WRITTEN


def _evaluation(spec: Document, single: Document) -> Document:
    generate = single["generate"]
    existing = generate.get("generateExisting")
    made = {"synchronize": generate.get("synchronize") is True,
            "generateExisting": (spec.get("generateExisting") if existing is None else existing) is True,
            "orphanDownstreamOnPolicyDelete": generate.get("orphanDownstreamOnPolicyDelete") is True}
    evaluation: Document = {field: {"enabled": True} for field, on in made.items() if on}
    if spec.get("admission") is False:
        evaluation["admission"] = {"enabled": False}
    if single.get("skipBackgroundRequests") is False:
        evaluation["skipBackgroundRequests"] = False
    return evaluation


def _each(loop: Document, where: str, names: Names, kinds: Kinds) -> list[str]:
    if unknown := sorted(set(loop) - _LOOP):
        raise UnsupportedError(f"{where}.{unknown[0]}", "it has no words in CEL here")
    elements = query(loop["list"], f"{where}.list", names)
    if elements.over:
        raise UnsupportedError(f"{where}.list", "a list of lists has no words in CEL here")
    listed = elements.unit
    element = f"{plain(listed)}[index]"
    inner = element_names(names, element=element, element0=element, elementIndex="index", elementIndex0="index")
    entered = context(loop.get("context") or [], f"{where}.context", inner)
    indices = f"lists.range(size({listed}))"
    if loop.get("preconditions"):
        test = conditions.compiled(loop["preconditions"], f"{where}.preconditions", entered)
        indices += "" if test == TRUE else f".filter(index, {test})"
    return [f"{indices}.map(index, {text}).all(done, done)" for text in _applied(loop, where, entered, kinds)]


def _applied(pattern: Document, where: str, names: Names, kinds: Kinds) -> list[str]:
    """Expressions that generate what one pattern says."""
    for field in ("apiVersion", "kind"):
        if has_variables(pattern.get(field) or ""):
            raise UnsupportedError(f"{where}.{field}", "a kind that is computed has no words in CEL here")
    namespace = written(pattern.get("namespace") or "", f"{where}.namespace", names)
    if names.home and (pattern.get("clone") or pattern.get("cloneList")):
        raise UnsupportedError(where, "within one namespace a clone that keeps its name is its source")
    if names.home and namespace != literal(names.home):
        raise UnsupportedError(f"{where}.namespace", "a policy of a namespace generates in no other")
    if pattern.get("clone"):
        return [_cloned(pattern, where, names, kinds, namespace)]
    if pattern.get("cloneList"):
        return _listed(pattern["cloneList"], f"{where}.cloneList", names, kinds, namespace)
    data = pattern.get("data")
    if not isinstance(data, dict):
        raise UnsupportedError(f"{where}.data", "data that is computed has no words in CEL here")
    if "apiVersion" in data or "kind" in data:
        data = {key: value for key, value in data.items() if key != "apiVersion"}
    metadata = data.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise UnsupportedError(f"{where}.data.metadata", "data that is computed has no words in CEL here")
    made = {"apiVersion": pattern.get("apiVersion") or "v1", "kind": pattern["kind"], **data,
            "metadata": {"name": pattern["name"], **{key: value for key, value in metadata.items()
                                                     if key not in ("name", "namespace")}}}
    place = "" if names.home else f"{namespace}, "
    return [f"generator.Apply({place}[{written(made, f'{where}.data', names)}])"]


def _cloned(pattern: Document, where: str, names: Names, kinds: Kinds, namespace: str) -> str:
    source = pattern["clone"]
    if source["name"] != pattern["name"]:
        raise UnsupportedError(f"{where}.clone.name", "a clone keeps the name of its source: CEL has no words for a "
                               "map with one field changed")
    place = written(source.get("namespace") or "", f"{where}.clone.namespace", names)
    name = written(source["name"], f"{where}.clone.name", names)
    version = pattern.get("apiVersion") or "v1"
    got = f"resource.Get({literal(version)}, {literal(_plural(kinds, version, pattern['kind']))}, {place}, {name})"
    return _unless(namespace, place, f"generator.Apply({namespace}, [{got}])")


def _listed(clones: Document, where: str, names: Names, kinds: Kinds, namespace: str) -> list[str]:
    selector = clones.get("selector") or {}
    if selector.get("matchExpressions") or any(set("*?") & set(f"{key}{value}") for key, value in (
            selector.get("matchLabels") or {}).items()):
        raise UnsupportedError(f"{where}.selector", "resource.List selects by equal labels alone")
    labels = f", {written(selector['matchLabels'], f'{where}.selector', names)}" if selector.get("matchLabels") else ""
    place = written(clones.get("namespace") or "", f"{where}.namespace", names)
    made = []
    for text in clones["kinds"]:
        version, _, kind = text.rpartition("/")
        version = version or "v1"
        listed = f"resource.List({literal(version)}, {literal(_plural(kinds, version, kind))}, {place}{labels})"
        made.append(_unless(namespace, place, f"generator.Apply({namespace}, [{listed}])"))
    return made


def _unless(namespace: str, place: str, applied: str) -> str:
    """Nothing is cloned into where it is."""
    return f"{namespace} == {place} || {applied}"


def _plural(kinds: Kinds, version: str, kind: str) -> str:
    group, _, number = version.rpartition("/")
    hits = [served.resource.plural for served in kinds.find(Selector(group or "*", number, kind, ""))
            if served.resource.group == group]
    return hits[0] if hits else guessed_plural(kind)
