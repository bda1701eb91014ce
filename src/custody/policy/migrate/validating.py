"""A rule with `validate` as a ValidatingPolicy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kinds import Kinds, builtin
from custody.policy.kyverno.autogen import ANNOTATION, Generated
from custody.policy.migrate import conditions, patterns, standards
from custody.policy.migrate.contexts import context, shared
from custody.policy.migrate.expressions import FALSE, TRUE, every, is_unit, negation, some
from custody.policy.migrate.matching import Matched, adds_containers, matched
from custody.policy.migrate.queries import query, text_of
from custody.policy.migrate.said import Names, element_names
from custody.policy.podfields import HOLDERS
from custody.policy.resources import OPERATIONS
from custody.policy.scope import WRITTEN
from policylang.variables import has_variables

_PLURAL = {"CronJob": "cronjobs", "DaemonSet": "daemonsets", "Deployment": "deployments", "Job": "jobs",
           "ReplicaSet": "replicasets", "ReplicationController": "replicationcontrollers",
           "StatefulSet": "statefulsets"}
_DROPPED = (ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration", "kyverno.io/kyverno-version",
            "policies.kyverno.io/minversion", "kyverno.io/kubernetes-version")
_DONE = frozenset(("name", "match", "exclude", "preconditions", "validate", "celPreconditions", "context",
                   "skipBackgroundRequests"))
_FORMS = ("pattern", "anyPattern", "deny", "foreach", "podSecurity")
_VALIDATE = frozenset((*_FORMS, "cel", "message", "failureAction", "failureActionOverrides",
                       "allowExistingViolations"))


class Block(NamedTuple):
    """What a `validate` says of one object: when it does not speak, and what must hold where it does."""

    skips: str
    meets: str


class Spoken(NamedTuple):
    """A rule as expressions: all of `conditions` must hold for it to speak of `object`."""

    conditions: list[tuple[str, str]]
    meets: str


def migrated(document: dict[str, Any], at: int, kinds: Kinds, made: Sequence[Generated],
             name: str) -> list[dict[str, Any]]:
    """The policies that one rule becomes, by this name. Raises UnsupportedError."""
    spec, rule = document["spec"], document["spec"]["rules"][at]
    where = f"spec.rules[{at}]"
    validate = rule["validate"]
    if unknown := sorted(set(rule) - _DONE | {f"validate.{field}" for field in set(validate) - _VALIDATE}):
        raise UnsupportedError(f"{where}.{unknown[0]}", "it has no words in a ValidatingPolicy")
    for field, holder in (("validationFailureActionOverrides", spec), ("failureActionOverrides", validate)):
        if holder.get(field):
            raise UnsupportedError(f"{'spec' if holder is spec else f'{where}.validate'}.{field}",
                                   "a ValidatingPolicy has one action for all namespaces")
    if spec.get("applyRules") == "One" and len(spec["rules"]) > 1:
        raise UnsupportedError("spec.applyRules", "policies do not know of each other")
    judged = OPERATIONS if any(form in validate for form in ("deny", "foreach", "cel")) else (*WRITTEN, "CONNECT")
    parts: list[tuple[str, tuple[str, ...], str]] = [
        (name, tuple(operation for operation in judged if operation != "DELETE"), "object"),
        (f"{name}-on-delete", tuple(operation for operation in judged if operation == "DELETE"), "oldObject")]
    if "DELETE" not in judged and rule.get("preconditions"):  # which are asked all the same, and may fail
        parts[1] = (f"{name}-on-delete", ("DELETE",), "oldObject")
    if "cel" in validate:  # which speaks of object and oldObject itself
        parts = [(name, tuple(judged), "object")]
    documents = []
    for called, operations, root in parts:
        if not operations:
            continue
        documents += _part(document, at, kinds, made, called, operations, root)
    if not documents:
        raise UnsupportedError(f"{where}.match", "the rule is asked about nothing")
    return documents


def _part(document: dict[str, Any], at: int, kinds: Kinds, made: Sequence[Generated], name: str,
          operations: Sequence[str], root: str) -> list[dict[str, Any]]:
    """The policies for some operations, and the object that they are about by its name in CEL."""
    spec, rule = document["spec"], document["spec"]["rules"][at]
    where, validate = f"spec.rules[{at}]", rule["validate"]
    match = matched(rule, where, kinds, operations, root)
    if not match.operations:
        return []
    pods = all(target.kind in HOLDERS for target in match.resources)
    names = Names(root, certain=("metadata", "kind", "apiVersion", *(("spec",) if pods else ())),
                  operation="request.operation" if root == "object" else "'DELETE'", typed=_typed(match),
                  home=_home(document), pasted=[])
    names = context(rule.get("context") or [], f"{where}.context", names)
    spoken = _spoken(rule, where, match, names)
    if any(text == FALSE for _, text in spoken.conditions):
        return []
    if root == "oldObject" and not {"deny", "foreach"} & {*validate}:
        before = dict(spoken.conditions).get("preconditions", "")
        if not any(word in before for word in conditions.LOOKUPS):
            return []
        spoken = spoken._replace(conditions=[
            (label, f"({text}) ? false : false" if label == "preconditions" else text)
            for label, text in spoken.conditions if label != "applies"])
    action = validate.get("failureAction") or spec.get("validationFailureAction") or "Audit"
    enforces = action.lower() == "enforce"
    meets = spoken.meets
    if enforces and validate.get("allowExistingViolations") is not False and {"CREATE", "UPDATE"} <= {
            *match.operations} and "cel" not in validate:
        meets = _excusing(rule, where, kinds, operations, meets, names)
    written: dict[str, Any] = {"validationActions": ["Deny" if enforces else "Audit"], **_asked(spec)}
    controllers = [_PLURAL[kind] for generated in made if generated.at == at for kind in generated.kinds]
    if controllers or [target.resource for target in match.resources] == ["pods"]:
        written["autogen"] = {"podControllers": {"controllers": sorted(controllers)}}
    written["matchConstraints"] = match.constraints
    asked = spec.get("webhookConfiguration", {}).get("matchConditions") or []
    if spoken.conditions or asked:
        written["matchConditions"] = [*asked, *({"name": label, "expression": text}
                                                for label, text in spoken.conditions)]
    if "cel" in validate:
        cel = validate["cel"]
        written |= {field: cel[field] for field in ("variables", "auditAnnotations") if cel.get(field)}
        written["validations"] = _expressions(cel, validate, where)
    else:
        said = _said({"expression": meets}, validate.get("message"), f"{where}.validate.message", names, rule["name"])
        fields = [field for field in ("expression", "messageExpression") if field in said]
        texts, variables = shared([said[field] for field in fields], names)
        if variables:
            written["variables"] = variables
        written["validations"] = [{**said, **dict(zip(fields, texts, strict=True))}]
    return _documents(document, name, written, match, controllers, mentions=adds_containers(rule))


def _home(document: dict[str, Any]) -> str:
    return (document["metadata"].get("namespace") or "default") if document["kind"] == "Policy" else ""


def _typed(match: Matched) -> bool:
    """Whether the API server decodes what is matched by types of its own: Kubernetes' kinds, and not custom ones."""
    known = {resource.group for resource in builtin().resources}
    return all(target.group in known for target in match.resources)


def _spoken(rule: dict[str, Any], where: str, match: Matched, names: Names) -> Spoken:
    made = [(f"match-{at}" if at else "match", text) for at, text in enumerate(match.conditions)]
    made = [(f"custody-{label}", text) for label, text in made]
    if rule.get("preconditions"):
        made.append(("preconditions", conditions.compiled(rule["preconditions"], f"{where}.preconditions", names)))
    made += [(entry.get("name") or f"cel-{at}", entry["expression"])
             for at, entry in enumerate(rule.get("celPreconditions") or [])]
    if "cel" in rule["validate"]:
        return Spoken(made, TRUE)
    if "podSecurity" in rule["validate"]:
        block = Block(FALSE, standards.judged(rule["validate"]["podSecurity"], f"{where}.validate.podSecurity",
                                              names.object, [target.kind for target in match.resources]))
    else:
        block = _block(rule["validate"], f"{where}.validate", names, 0)
    if block.skips != FALSE:
        label, before = made[-1] if made else ("", "")
        if label == "preconditions" and any(word in before for word in (*conditions.LOOKUPS, "size([dyn(")):
            # Apart, what is false of the one would hide an error of the other.
            made[-1] = (label, f"({before}) ? {negation(block.skips)} : false")
        else:
            made.append(("applies", negation(block.skips)))
    return Spoken([(label, text) for label, text in made if text != TRUE], block.meets)


def _excusing(rule: dict[str, Any], where: str, kinds: Kinds, judged: Sequence[str], meets: str, names: Names) -> str:
    """A violation that was there before is none on update, as under Enforce in Kyverno."""
    old = matched(rule, where, kinds, judged, "oldObject")
    names = Names("oldObject", "", names.certain, operation="'CREATE'", typed=names.typed, home=names.home,
                  pasted=[])
    before = _spoken(rule, where, old, context(rule.get("context") or [], f"{where}.context", names))
    held = every([*(text for _, text in before.conditions), negation(before.meets)])
    if meets in (TRUE, FALSE):
        return TRUE if meets == TRUE else every(("request.operation == 'UPDATE'", "oldObject != null", held))
    excused = every(("request.operation == 'UPDATE'", "oldObject != null", held))
    return f"{meets} ? true : {excused}" if is_unit(meets.removeprefix("!")) else f"({meets}) ? true : {excused}"


def _block(block: dict[str, Any], where: str, names: Names, depth: int) -> Block:
    """What stands in `validate` or in an entry of `foreach`."""
    element = names.beside.get("element", "")
    root = element or names.object
    if "pattern" in block:
        return Block(*patterns.judged(block["pattern"], f"{where}.pattern", root, names.certain, typed=names.typed))
    if "anyPattern" in block:
        parts = [patterns.judged(pattern, f"{where}.anyPattern[{at}]", root, names.certain, typed=names.typed)
                 for at, pattern in enumerate(block["anyPattern"])]
        return Block(every(part.skips for part in parts), some(part.matches for part in parts))
    if "deny" in block:
        denied = (block["deny"] or {}).get("conditions")
        return Block(FALSE, FALSE if denied is None else negation(
            conditions.compiled(denied, f"{where}.deny.conditions", names)))
    spoken, meets = [], []
    for at, loop in enumerate(block["foreach"]):
        path = f"{where}.foreach[{at}]"
        if loop.get("elementScope") is not None:
            raise UnsupportedError(f"{path}.elementScope", "it has no words in CEL")
        elements = query(loop["list"], f"{path}.list", names, lenient=True)
        listed = elements.single.unit
        if listed.endswith(".orValue(null)"):
            listed = listed.removesuffix("null)") + "[])"
        name = "element" if depth == 0 else f"element{depth}"
        inner = element_names(names, **{"element": name, f"element{depth}": name})
        inner = context(loop.get("context") or [], f"{path}.context", inner)
        asked = conditions.compiled(loop["preconditions"], f"{path}.preconditions", inner) if loop.get(
            "preconditions") else TRUE
        part = _block(loop, path, inner, depth + 1)
        speaks = every((asked, negation(part.skips)))
        spoken.append(f"size({listed}) > 0" if speaks == TRUE else f"{listed}.exists({name}, {speaks})")
        said = f"({speaks}) ? ({part.meets}) : true" if speaks != TRUE and conditions.fails(speaks) else (
            some((negation(speaks), part.meets)))
        meets.append(f"{listed}.all({name}, {said})")
    return Block(negation(some(spoken)), every(meets))


def _asked(spec: dict[str, Any]) -> dict[str, Any]:
    webhook = spec.get("webhookConfiguration") or {}
    made: dict[str, Any] = {}
    if policy := webhook.get("failurePolicy") or spec.get("failurePolicy"):
        made["failurePolicy"] = policy
    if seconds := webhook.get("timeoutSeconds") or spec.get("webhookTimeoutSeconds"):
        made["webhookConfiguration"] = {"timeoutSeconds": seconds}
    asked = {field: {"enabled": False} for field in ("admission", "background") if spec.get(field) is False}
    return {**made, **({"evaluation": asked} if asked else {})}


def _expressions(cel: dict[str, Any], validate: dict[str, Any], where: str) -> list[dict[str, Any]]:
    for field in ("paramKind", "paramRef"):
        if cel.get(field):
            raise UnsupportedError(f"{where}.validate.cel.{field}", "a ValidatingPolicy has no parameters")
    made = []
    for entry in cel.get("expressions") or []:
        kept = {field: entry[field] for field in ("expression", "message", "messageExpression", "reason")
                if entry.get(field)}
        if "message" not in kept and validate.get("message"):
            kept["message"] = validate["message"]
        made.append(kept)
    if not made:
        raise UnsupportedError(f"{where}.validate.cel.expressions", "a policy that only annotates judges nothing")
    return made


def _said(validation: dict[str, Any], message: str | None, where: str, names: Names, rule: str) -> dict[str, Any]:
    if not message:
        return {**validation, "message": f"rule {rule} failed"}
    if "$(" in message:
        raise UnsupportedError(where, "$( ) leads into the pattern, which is no longer there")
    if not has_variables(message):
        return {**validation, "message": message}
    return {**validation, "messageExpression": text_of(message, where, names)}


def _documents(document: dict[str, Any], name: str, spec: dict[str, Any], match: Matched,
               controllers: Sequence[str], *, mentions: bool) -> list[dict[str, Any]]:
    metadata = document["metadata"]
    kept = {field: value for field in ("labels", "annotations")
            if (value := {key: text for key, text in (metadata.get(field) or {}).items() if key not in _DROPPED})}
    namespaced = document["kind"] == "Policy"
    place = {"namespace": _home(document)} if namespaced else {}

    def policy(called: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "policies.kyverno.io/v1",
                "kind": "NamespacedValidatingPolicy" if namespaced else "ValidatingPolicy",
                "metadata": {"name": called, **place, **kept}, "spec": body}

    if not match.ephemeral:
        return [policy(name, spec)]
    if not controllers:
        rules = [{**rule, "resources": [*rule["resources"], "pods/ephemeralcontainers"]}
                 if "pods" in rule["resources"] and "UPDATE" in rule["operations"] else rule
                 for rule in spec["matchConstraints"]["resourceRules"]]
        body = {field: value for field, value in spec.items() if field != "autogen"}
        return [policy(name, {**body, "matchConstraints": {**spec["matchConstraints"], "resourceRules": rules}})]
    if not mentions:
        return [policy(name, spec)]
    rules = [{**rule, "operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]}
             for rule in spec["matchConstraints"]["resourceRules"] if "pods" in rule["resources"]]
    body = {field: value for field, value in spec.items() if field != "autogen"}
    return [policy(name, spec), policy(f"{name}-ephemeral", {
        **body, "matchConstraints": {**spec["matchConstraints"], "resourceRules": rules}})]
