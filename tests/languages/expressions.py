"""Every CEL expression in a folder of policies, in its environment: what the languages' oracles are fed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from policylang.cel import CompileError
from policylang.cel.kubernetes import admission, matching
from policylang.cel.kubernetes.environment import KubernetesEnv
from policylang.cel.kubernetes.rules import rule_env
from policylang.cel.kubernetes.schemas import declare
from policylang.cel.kyverno import KINDS, env
from policylang.cel.types import BOOL, DYN, NULL, STRING, Type, list_of, message

_BOOLS = ("matchConditions", "targetMatchConditions", "conditions", "validations", "celPreconditions", "generate")


class Found(NamedTuple):
    """`kind` of the policy; `path` of the expression in its document."""

    file: Path
    path: str
    kind: str
    expression: str
    env: KubernetesEnv


def cel_expressions(folder: Path) -> Iterator[Found]:
    """In the order in which they must be compiled: variables are declared with the types that they have."""
    for file in sorted(folder.rglob("*.y*ml")):
        yield from in_file(file)


def in_file(file: Path) -> Iterator[Found]:
    try:
        documents = list(yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # templates and broken ones, which some suites are about
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("spec"), dict):
            yield from _in_document(file, document)


def wanted(path: str) -> tuple[Type, ...]:
    """The types that the expression at a path may have; none where any will do."""
    names = path.replace("]", "").replace("[", ".").split(".")
    if names[-1] == "messageExpression":
        return (STRING,)
    if names[-1] == "valueExpression":
        return STRING, NULL
    if names[-2] == "jsonPatch":
        return (list_of(message("JSONPatch")),)
    if names[-2] == "applyConfiguration":
        return (message("Object"),)
    if "matchImageReferences" in names or any(name in _BOOLS for name in names[:-1]) or names[-1] == "rule":
        return (BOOL,)
    return ()


def _in_document(file: Path, document: Mapping[str, Any]) -> Iterator[Found]:
    kind, spec = str(document.get("kind")), document["spec"]
    group = str(document.get("apiVersion")).partition("/")[0]
    name = kind.removeprefix("Namespaced")
    namespace = (document.get("metadata") or {}).get("namespace", "default") if kind != name else ""
    if group == "policies.kyverno.io" and name in KINDS:
        mode = (spec.get("evaluation") or {}).get("mode", "Kubernetes")
        if mode in ("Kubernetes", "JSON"):
            at = env(kind, namespace=namespace, json=mode == "JSON")
            yield from _policy(file, kind, "spec", spec, at)
            for index, each in enumerate(spec.get("matchImageReferences") or ()):
                if "expression" in each:
                    yield Found(file, f"spec.matchImageReferences[{index}].expression", kind, each["expression"],
                                env("image"))
    elif group == "policies.kyverno.io" and kind == "PolicyException":
        yield from _list(file, kind, "spec.matchConditions", spec, env())
    elif kind in ("ClusterPolicy", "Policy") and group == "kyverno.io":
        for index, rule in enumerate(spec.get("rules") or ()):
            yield from _rule(file, kind, f"spec.rules[{index}]", rule)
        yield from _list(file, kind, "spec.webhookConfiguration.matchConditions",
                         spec.get("webhookConfiguration") or {}, matching())
    elif kind in ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"):
        at = admission(params="paramKind" in spec, authorized=True, patch=kind.startswith("Mutating"), composed={})
        yield from _policy(file, kind, "spec", spec, at)
    elif kind == "CustomResourceDefinition":
        for index, version in enumerate(spec.get("versions") or ()):
            schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            yield from _schema(file, kind, f"spec.versions[{index}].schema.openAPIV3Schema", schema, root=True)
    elif kind == "ConstraintTemplate":
        for index, target in enumerate(spec.get("targets") or ()):
            for place, code in enumerate(target.get("code") or ()):
                if code.get("engine") == "K8sNativeValidation":
                    yield from _policy(file, kind, f"spec.targets[{index}].code[{place}].source", code["source"],
                                       gatekeeper())


def gatekeeper() -> KubernetesEnv:
    """Of Gatekeeper's K8sNativeValidation, which adds two variables of its own."""
    return admission(params=True, authorized=True, composed={"anyObject": DYN, "params": DYN})


def _rule(file: Path, kind: str, path: str, rule: Mapping[str, Any]) -> Iterator[Found]:
    cel = (rule.get("validate") or {}).get("cel") or {}
    before = admission(params="paramKind" in cel, authorized=True)
    yield from _list(file, kind, f"{path}.celPreconditions", rule, before)
    if cel:
        at = admission(params="paramKind" in cel, authorized=True, composed={})
        yield from _policy(file, kind, f"{path}.validate.cel", {**cel, "validations": cel.get("expressions")}, at)


def _policy(file: Path, kind: str, path: str, spec: Mapping[str, Any], at: KubernetesEnv) -> Iterator[Found]:
    if kind != "MutatingPolicy":  # whose match conditions see its variables
        yield from _list(file, kind, f"{path}.matchConditions", spec, at)
    for index, each in enumerate(spec.get("variables") or ()):
        yield Found(file, f"{path}.variables[{index}].expression", kind, each["expression"], at)
        try:
            at.declare(each["name"], at.check(each["expression"]).result or DYN)
        except CompileError:
            at.declare(each["name"], DYN)
    if kind == "MutatingPolicy":
        yield from _list(file, kind, f"{path}.matchConditions", spec, at)
    for name in ("targetMatchConditions", "conditions", "validations", "auditAnnotations", "generate", "images"):
        yield from _list(file, kind, f"{path}.{name}", spec, at)
    for index, each in enumerate(spec.get("mutations") or ()):
        for way in ("jsonPatch", "applyConfiguration"):
            if way in each:
                yield Found(file, f"{path}.mutations[{index}].{way}.expression", kind, each[way]["expression"], at)
    for index, each in enumerate(spec.get("attestors") or ()):
        yield from _attestor(file, kind, f"{path}.attestors[{index}]", each, at)


def _list(file: Path, kind: str, path: str, spec: Mapping[str, Any], at: KubernetesEnv) -> Iterator[Found]:
    for index, each in enumerate(spec.get(path.rpartition(".")[2]) or ()):
        for name in ("expression", "messageExpression", "valueExpression"):
            if isinstance(each, dict) and isinstance(each.get(name), str):
                yield Found(file, f"{path}[{index}].{name}", kind, each[name], at)


def _attestor(file: Path, kind: str, path: str, part: Any, at: KubernetesEnv) -> Iterator[Found]:
    for name, each in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if name == "expression" and isinstance(each, str):
            yield Found(file, f"{path}.expression", kind, each, at)
        else:
            yield from _attestor(file, kind, f"{path}.{name}", each, at)


def _schema(file: Path, kind: str, path: str, schema: Mapping[str, Any], *, root: bool = False) -> Iterator[Found]:
    rules = schema.get("x-kubernetes-validations")
    of = declare(schema, root=root) if rules else None
    if rules and of is not None:
        for index, rule in enumerate(rules):
            at = rule_env(of, optional_old=bool(rule.get("optionalOldSelf")))
            yield Found(file, f"{path}.x-kubernetes-validations[{index}].rule", kind, rule["rule"], at)
            if "messageExpression" in rule:
                yield Found(file, f"{path}.x-kubernetes-validations[{index}].messageExpression", kind,
                            rule["messageExpression"], at)
    for name, inner in (schema.get("properties") or {}).items():
        yield from _schema(file, kind, f"{path}.properties[{name}]", inner)
    for name in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(name), dict):
            yield from _schema(file, kind, f"{path}.{name}", inner)
