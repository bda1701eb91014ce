"""A rule with `mutate` as MutatingPolicies: of the object that is asked about, and of what lies in the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kinds import Kinds, builtin
from custody.policy.kyverno.autogen import Generated
from custody.policy.migrate import applying, conditions, jsonpatches, strategic
from custody.policy.migrate.contexts import context, shared
from custody.policy.migrate.expressions import TRUE, every
from custody.policy.migrate.heading import asked, policy
from custody.policy.migrate.matching import Matched, matched
from custody.policy.migrate.operations import Loop, Operation, patch, plain
from custody.policy.migrate.queries import Names, element_names, query
from custody.policy.podfields import HOLDERS
from custody.policy.scope import WRITTEN

_DONE = frozenset(("name", "match", "exclude", "preconditions", "mutate", "celPreconditions", "context",
                   "skipBackgroundRequests"))
_LOOP = frozenset(("list", "order", "context", "preconditions", "patchStrategicMerge", "patchesJson6902", "foreach"))
Document = dict[str, Any]


class Part(NamedTuple):
    """A rule, or one that Kyverno makes of it for pod controllers, and the policy that it becomes."""

    name: str
    rule: Document
    where: str


def parts(document: Document, at: int, made: Sequence[Generated], name: str) -> Iterator[Part]:
    yield Part(name, document["spec"]["rules"][at], f"spec.rules[{at}]")
    for generated in made:
        if generated.at == at:
            ending = "cronjobs" if generated.kinds == ("CronJob",) else "controllers"
            yield Part(f"{name}-{ending}", generated.rule, f"spec.rules[{at}]")


def translated(document: Document, at: int, kinds: Kinds, made: Sequence[Generated],
               name: str) -> list[list[Document]]:
    """What the rule may become, the plainest first: each a list of policies that together say it.

    Raises UnsupportedError.
    """
    known(document, at)
    choices: list[list[Document]] = []
    for plainly in (True, False):
        documents = [_policy(document, part, kinds, plainly=plainly) for part in parts(document, at, made, name)]
        if documents not in choices:
            choices.append(documents)
    return choices


def known(document: Document, at: int) -> None:
    """Raises UnsupportedError for what no MutatingPolicy says."""
    spec = document["spec"]
    if unknown := sorted(set(spec["rules"][at]) - _DONE):
        raise UnsupportedError(f"spec.rules[{at}].{unknown[0]}", "it has no words in a MutatingPolicy")
    if spec.get("applyRules") == "One" and len(spec["rules"]) > 1:
        raise UnsupportedError("spec.applyRules", "policies do not know of each other")


def _policy(document: Document, part: Part, kinds: Kinds, *, plainly: bool) -> Document:
    match = matched(part.rule, part.where, kinds, WRITTEN, "object")
    names = Names("object", certain=certain(match), typed=typed(match), home=home(document))
    names = context(part.rule.get("context") or [], f"{part.where}.context", names)
    meets = [(f"match-{at}" if at else "match", text) for at, text in enumerate(match.conditions)]
    meets += said(part.rule, part.where, names)
    mutate, where = part.rule["mutate"], f"{part.where}.mutate"
    of = [(f"{target.group}/{target.version}" if target.group else target.version, target.kind)
          for target in match.resources if target.kind and "/" not in target.resource]
    mutations, holding = mutated(mutate, where, names, of, plainly=plainly)
    meets += [(f"anchor-{at}" if at else "anchor", text) for at, text in enumerate(holding)]
    body = asked(document["spec"])
    if any(target.resource == "pods" for target in match.resources):
        body["autogen"] = {"podControllers": {"controllers": []}}
    body["matchConstraints"] = constraints(match)
    body["matchConditions"] = conditioned(document, meets)
    body["mutations"] = mutations
    return policy(document, "MutatingPolicy", part.name, sharing(body, names))


def certain(match: Matched) -> tuple[str, ...]:
    """The fields that every object has that a rule is asked about."""
    always = ["metadata", "kind", "apiVersion"]
    if match.resources and all(target.kind in HOLDERS for target in match.resources):
        ways = {HOLDERS[target.kind] for target in match.resources}
        always.append("spec")
        if len(ways) == 1:
            steps = ways.pop().split("/")[1:]
            always += [".".join(steps[:at]) for at in range(2, len(steps) + 1)]
    return (*always,)


def typed(match: Matched) -> bool:
    """Whether the API server decodes what is matched by types of its own."""
    known = {resource.group for resource in builtin().resources}
    return all(target.group in known for target in match.resources)


def said(rule: Document, where: str, names: Names) -> list[tuple[str, str]]:
    """A rule's preconditions, by their names in the new policy."""
    made = []
    if rule.get("preconditions"):
        made.append(("preconditions", conditions.compiled(rule["preconditions"], f"{where}.preconditions", names)))
    made += [(entry.get("name") or f"cel-{at}", entry["expression"])
             for at, entry in enumerate(rule.get("celPreconditions") or [])]
    return made


def constraints(match: Matched) -> Document:
    """With what is added to pods later, where they speak of pods."""
    if not match.ephemeral:
        return match.constraints
    rules = [{**rule, "resources": [*rule["resources"], "pods/ephemeralcontainers"]}
             if "pods" in rule["resources"] and "UPDATE" in rule["operations"] else rule
             for rule in match.constraints["resourceRules"]]
    return {**match.constraints, "resourceRules": rules}


def home(document: Document) -> str:
    """The namespace of a policy that has one."""
    namespaced = document["kind"] in ("Policy", "CleanupPolicy")
    return str(document["metadata"].get("namespace") or "default") if namespaced else ""


def conditioned(document: Document, meets: Sequence[tuple[str, str]]) -> list[Document]:
    webhook = document["spec"].get("webhookConfiguration") or {}
    return [*(webhook.get("matchConditions") or []),
            *({"name": label, "expression": text} for label, text in meets if text != TRUE)]


def sharing(body: Document, names: Names) -> Document:
    """A policy's spec whose expressions speak of entries of the context by variables; without lists that are empty."""
    holders = [entry for field in ("matchConditions", "targetMatchConditions", "conditions",
                                                "generate", "validations") for entry in body.get(field) or []]
    holders += [mutation.get("jsonPatch") or mutation["applyConfiguration"] for mutation in body.get("mutations") or []]
    texts, variables = shared([holder["expression"] for holder in holders], names)
    for holder, text in zip(holders, texts, strict=True):
        holder["expression"] = text
    kept: Document = {}
    for field, value in body.items():
        if field in ("mutations", "generate", "conditions", "validations") and variables:
            kept["variables"] = variables
        if value != []:
            kept[field] = value
    return kept


def mutated(mutate: Document, where: str, names: Names, kinds: Sequence[tuple[str, str]], *,
            plainly: bool) -> tuple[list[Document], list[str]]:
    """(mutations, conditions of all of them). Raises UnsupportedError."""
    if mutate.get("patchStrategicMerge") is not None:
        merge, path = mutate["patchStrategicMerge"], f"{where}.patchStrategicMerge"
        made = strategic.merged(merge, path, names, kinds)
        plain = applying.applied(merge, path, names, kinds) if plainly else None
        if plain is not None:
            return [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": plain}}], made.conditions
        return [_patched(step) for step in made.steps], made.conditions
    if mutate.get("patchesJson6902"):
        steps = jsonpatches.operations(mutate["patchesJson6902"], f"{where}.patchesJson6902", names)
        return [_patched(step) for step in steps], []
    steps = [step for at, loop in enumerate(mutate.get("foreach") or [])
             for step in _loop(loop, f"{where}.foreach[{at}]", names, kinds, ())]
    if not steps:
        raise UnsupportedError(where, "it changes nothing")
    return [_patched(step) for step in steps], []


def _patched(step: Sequence[Operation]) -> Document:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": patch(step)}}


def _loop(loop: Document, where: str, names: Names, kinds: Sequence[tuple[str, str]],
          around: tuple[Loop, ...]) -> list[list[Operation]]:
    if unknown := sorted(set(loop) - _LOOP):
        raise UnsupportedError(f"{where}.{unknown[0]}", "it has no words in CEL here")
    elements = query(loop["list"], f"{where}.list", names)
    if elements.over:
        raise UnsupportedError(f"{where}.list", "a list of lists has no words in CEL here")
    nesting = len(around)
    at = f"index{nesting or ''}"
    listed = elements.unit
    element = f"{plain(listed)}[{at}]"
    inner = element_names(names, element=element, elementIndex=at, **{f"element{nesting}": element,
                                                                      f"elementIndex{nesting}": at})
    entered = context(loop.get("context") or [], f"{where}.context", inner)
    test = conditions.compiled(loop["preconditions"], f"{where}.preconditions", entered) if loop.get(
        "preconditions") else TRUE
    this = Loop(listed, at, test, loop.get("order") == "Descending")
    if loop.get("foreach"):
        return [step for at, deeper in enumerate(loop["foreach"])
                for step in _loop(deeper, f"{where}.foreach[{at}]", entered, kinds, (*around, this))]
    if loop.get("patchesJson6902"):
        return jsonpatches.operations(loop["patchesJson6902"], f"{where}.patchesJson6902", entered, (*around, this))
    path = f"{where}.patchStrategicMerge"
    made = strategic.merged(loop["patchStrategicMerge"], path, entered, kinds, around=(*around, this))
    if not made.conditions:
        return made.steps
    held = every((test, *made.conditions))
    return [[operation._replace(loops=tuple(turn._replace(test=held) if turn == this else turn
                                            for turn in operation.loops)) for operation in step]
            for step in made.steps]


