"""Generated policy sets, of every engine and every kind of rule that it has."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.fuzz.verdicts.world import DIGESTS
from tests.policy.test_images import KEYLESS, PEM, SUBJECT, VULN
from tests.policy.toy_engine import label

_KINDS = [["Pod"], ["Pod"], ["Pod", "Deployment"], ["*"], ["*/*"], ["Pod/exec", "Pod/eviction"], ["Deployment/scale"],
          ["Pod/*"], ["Namespace"], ["apps/v1/Deployment", "v1/ConfigMap"], ["ClusterRole", "example.org/v1/Widget"]]
_PATTERNS: list[dict[str, Any]] = [
    {"spec": {"containers": [{"image": "ghcr.io/*"}]}}, {"spec": {"containers": [{"image": "*@*"}]}},
    {"metadata": {"labels": {"team": "?*"}}}, {"metadata": {"namespace": "!lab"}},
    {"spec": {"=(hostNetwork)": "false"}}, {"spec": {"=(initContainers)": [{"name": "i*"}]}},
    {"spec": {"hostNetwork": "false", "containers": [{"name": "c*", "image": "*@*"}]}, "metadata": {
        "labels": {"team": "blue", "app": "a"}, "annotations": {"note": "x*"}}},
    {"metadata": {"=(labels)": {"=(app)": "a | b"}}}, {"spec": {"(replicas)": ">1"}}]
_KEYS: list[tuple[str, str, list[Any]]] = [
    ("{{ images.containers.*.tag || `[]` }}", "AnyIn", ["2"]),
    ("{{ images.*.*.digest[] || `[]` }}", "AnyIn", [DIGESTS["b"]]),
    ("{{ request.operation }}", "AnyIn", ["DELETE", "CONNECT"]),
    ("{{ request.operation || 'BACKGROUND' }}", "AnyIn", ["UPDATE"]),
    ("{{ request.userInfo.username }}", "AnyIn", ["alice"]),
    ("{{ request.userInfo.groups || `[]` }}", "AnyIn", ["system:masters"]),
    ("{{ serviceAccountName }}", "AnyIn", ["builder"]),
    ("{{ request.oldObject.metadata.labels.app || '' }}", "AnyIn", ["a"]),
    ("{{ request.oldObject.spec.replicas }}", "AnyIn", [1]),
    ("{{ request.object.metadata.labels.app || '' }}", "AnyIn", ["b", "x"]),
    ("{{ request.object.spec.containers[].name }}", "AnyIn", ["c1"]),
    ("{{ request.namespace || '' }}", "AnyIn", ["lab"]), ("{{ request.name || '' }}", "AnyIn", ["p1"]),
    ("{{ request.dryRun }}", "Equals", [True]), ("{{ request.subResource || '' }}", "AnyIn", ["exec", "scale"]),
    ("{{ request.kind.kind }}", "AnyIn", ["Eviction", "List"]),
    ("{{ length(request.object.spec.containers) }}", "GreaterThan", [1])]
_PATCHES: list[list[dict[str, Any]]] = [
    [{"op": "remove", "path": "/spec/initContainers"}], [{"op": "remove", "path": "/spec/containers/1"}],
    [{"op": "copy", "from": "/spec/containers/0", "path": "/spec/containers/-"}],
    [{"op": "move", "from": "/spec/initContainers/0", "path": "/spec/containers/-"}],
    [{"op": "replace", "path": "/spec/containers/0/image", "value": "ghcr.io/o/b:3"}],
    [{"op": "test", "path": "/spec/hostNetwork", "value": True}], [{"op": "move", "from": "/spec", "path": "/was"}],
    [{"op": "replace", "path": "/spec/nowhere/deep", "value": 1}],
    [{"op": "add", "path": "/spec/containers", "value": 5}]]


def policy_set(dice: Random) -> list[dict[str, Any]]:
    documents = [_cluster_policy(f"p{at}", dice) for at in range(dice.randint(1, 3))]
    if dice.random() < 0.5:
        documents.append(_pod_security(dice))
    documents += [_label(f"toy{at}", dice) for at in range(dice.choice([0, 0, 0, 1, 1, 2]))]
    dice.shuffle(documents)
    return documents


def _cluster_policy(name: str, dice: Random) -> dict[str, Any]:
    action = dice.choice(["Enforce"] * 3 + ["Audit"])
    spec: dict[str, Any] = {
        "validationFailureAction": action, "failurePolicy": dice.choice(["Fail", "Fail", "Ignore"]),
        "background": dice.random() < 0.7, "rules": [_rule(f"r{at}", dice) for at in range(dice.randint(1, 3))]}
    for entry in (entry for rule in spec["rules"] for entry in rule.get("verifyImages", ())):
        said = entry.get("failureAction", action)
        if said == "Audit":
            entry["mutateDigest"] = False
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}


def _rule(name: str, dice: Random) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": name}
    if dice.random() < 0.4:
        rule["verifyImages"] = [_verifies(dice) for _ in range(dice.randint(1, 2))]
        kinds = ["Pod"]
    else:
        rule["validate"], kinds = _validates(dice)
    matched: dict[str, Any] = {"resources": {"kinds": kinds} | _narrowed(dice, 0.2)}
    if dice.random() < 0.1:
        matched["subjects"] = [_subject(dice)]
    rule["match"] = dice.choice([{"any": [matched]}, {"all": [matched]}] if dice.random() < 0.8 else [
        {"any": [matched, {"resources": {"kinds": kinds, "names": ["p*"]}}]}])
    if dice.random() < 0.25:
        left_out: dict[str, Any] = {"resources": _narrowed(dice, 0.6)}
        if not left_out["resources"] or dice.random() < 0.2:
            left_out = {"subjects": [_subject(dice)]} | {
                name: value for name, value in left_out.items() if value}
        rule["exclude"] = {dice.choice(["any", "all"]): [left_out]}
    if dice.random() < 0.2:
        rule["preconditions"] = {dice.choice(["all", "any"]): [_condition(dice)]}
    return rule


def _narrowed(dice: Random, often: float) -> dict[str, Any]:
    ways: dict[str, Any] = {
        "operations": dice.choice([["CREATE"], ["UPDATE", "DELETE"], ["CREATE", "UPDATE"], ["CONNECT"]]),
        "namespaces": dice.choice([["default"], ["s*", "lab"]]), "names": dice.choice([["p1"], ["p*"], ["gen-*"]]),
        "selector": dice.choice([{"matchLabels": {"app": "a*"}}, {"matchExpressions": [
            {"key": "app", "operator": "Exists"}]}]), "annotations": {"note": "x*"}}
    return {field: value for field, value in ways.items() if dice.random() < often / 2}


def _subject(dice: Random) -> dict[str, str]:
    return dice.choice([{"kind": "User", "name": "alice"}, {"kind": "Group", "name": "system:*"},
                        {"kind": "ServiceAccount", "name": "builder", "namespace": "default"}])


def _condition(dice: Random) -> dict[str, Any]:
    key, operator, value = dice.choice(_KEYS)
    return {"key": key, "operator": operator, "value": value if operator.endswith("In") else value[0]}


def _validates(dice: Random) -> tuple[dict[str, Any], list[str]]:
    validate: dict[str, Any] = {"message": dice.choice(["m", "no {{ request.object.metadata.name || 'name' }}"])}
    kinds = dice.choice(_KINDS)
    match dice.choice(["pattern", "anyPattern", "deny", "deny", "podSecurity"]):
        case "pattern":
            validate["pattern"] = dice.choice(_PATTERNS)
        case "anyPattern":
            validate["anyPattern"] = [dice.choice(_PATTERNS) for _ in range(2)]
        case "deny":
            validate["deny"] = {"conditions": {dice.choice(["any", "all"]): [
                _condition(dice) for _ in range(dice.randint(1, 2))]}}
        case "podSecurity":
            validate["podSecurity"] = {"level": dice.choice(["baseline", "restricted"]),
                                       "version": dice.choice(["latest", "v1.24"])}
            kinds = ["Pod"]
    if dice.random() < 0.2:
        validate["failureAction"] = dice.choice(["Enforce", "Audit"])
    if dice.random() < 0.2:
        validate["allowExistingViolations"] = False
    return validate, kinds


def _verifies(dice: Random) -> dict[str, Any]:
    entry: dict[str, Any] = {"imageReferences": dice.choice([
        ["*"], ["*"], ["ghcr.io/*"], ["ghcr.io/o/a:*"], ["nginx*"], ["docker.io/*", "ghcr.io/o/base*"],
        ["*@sha256:*"], ["*@sha256:*"]])}
    if dice.random() < 0.3:
        entry["skipImageReferences"] = dice.choice([["ghcr.io/o/base:*"], ["docker.io/library/nginx*"], ["*:2"]])
    if dice.random() < 0.8:
        subject = dice.choice([SUBJECT, SUBJECT, "*other", "*"])
        signers: list[dict[str, Any]] = [{"keyless": {**KEYLESS, "subject": subject}}]
        if dice.random() < 0.4:
            signers.append({"keys": {"publicKeys": PEM}})
        attestor: dict[str, Any] = {"entries": signers}
        if len(signers) == 2:
            attestor["count"] = dice.choice([1, 2])
        entry["attestors"] = [attestor] * dice.choice([1, 1, 2])
    if dice.random() < 0.3:
        key = dice.choice(["{{ ok }}", "{{ !(images.containers.c0.digest) }}", "{{ request.operation == 'CREATE' }}"])
        entry["attestations"] = [{"type": VULN, "conditions": [{"all": [
            {"key": key, "operator": "Equals", "value": True}]}]}]
    if dice.random() < 0.15:
        entry["failureAction"] = dice.choice(["Enforce", "Audit"])
    if not entry.keys() & {"attestors", "attestations"}:
        entry["required"] = False  # it only pins
    return entry | {field: False for field in ("mutateDigest", "verifyDigest") if dice.random() < 0.3}


def _pod_security(dice: Random) -> dict[str, Any]:
    defaults: dict[str, Any] = {mode: dice.choice(["privileged", "baseline", "restricted"])
                                for mode in ("enforce", "audit", "warn") if dice.random() < 0.6}
    if dice.random() < 0.3:
        defaults["enforce-version"] = "v1.24"
    exemptions = {"usernames": ["alice"], "namespaces": ["exempt"], "runtimeClasses": ["gvisor"]}
    return {"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
            "defaults": defaults, "exemptions": exemptions if dice.random() < 0.5 else {}}


def _label(name: str, dice: Random) -> dict[str, Any]:
    spec: dict[str, Any] = {"value": dice.choice(["a", "b"])}
    if dice.random() < 0.4:
        spec |= {"fromNamespace": True, "computed": dice.random() < 0.5}
    if dice.random() < 0.2:
        spec["image"] = dice.choice(["ghcr.io/o/a:1", "ghcr.io/o/b:2", "UPPER/x"])
    if dice.random() < 0.4:
        spec["patch"] = dice.choice(_PATCHES)
    return label(name, **spec)
