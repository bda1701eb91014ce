"""What a policy will do that its author may not mean: said before it is applied.

Only policies that load are looked into, so the documents' shapes are known here; those that do not are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from custody.errors import MalformedError
from custody.formats import reference
from custody.policy.kinds import Kinds
from custody.policy.kyverno.deprecated import deprecated
from custody.policy.kyverno.guarded import Found, guarded, lookalike
from custody.policy.kyverno.idle import idle
from custody.policy.kyverno.policy import AUTOGEN
from custody.policy.rule import Policy
from custody.policy.scope import Scope
from policylang.kpattern import anchor

_OPTIONAL = {
    ("spec",): ("initContainers", "ephemeralContainers", "securityContext", "volumes", "imagePullSecrets", "affinity",
                "tolerations", "nodeSelector", "hostNetwork", "hostPID", "hostIPC", "hostUsers", "runtimeClassName"),
    ("spec", "containers"): ("securityContext", "ports", "env", "envFrom", "volumeMounts", "args", "command",
                             "lifecycle"),
}
_KINDS = ("initContainers", "ephemeralContainers")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?")


def findings(document: dict[str, Any], policy: Policy, kinds: Kinds) -> Iterator[Found]:
    """Of one ClusterPolicy that loads, in the order of its fields."""
    spec = document["spec"]
    yield from deprecated(document)
    if policy.failure_policy == "Ignore":
        yield ("spec.failurePolicy", "fails-open", "warning",
               "what cannot be evaluated, or comes while the webhook is away, is admitted", "")
    if (document["metadata"].get("annotations") or {}).get(AUTOGEN) is None and len(policy.rules) == len(
            spec["rules"]) and any(("Pod", "") in [(selector.kind, selector.subresource)
                                                   for selector in rule.scope.selectors] for rule in policy.rules):
        yield (f"metadata.annotations.{AUTOGEN}", "no-autogen", "note",
               "no rules for Deployments, Jobs and the like are made of it, since it selects by name, label or "
               "annotation, or other kinds beside Pod: their pods are judged when they are created",
               f"metadata:\n  annotations:\n    {AUTOGEN}: none\n")
    for at, rule in enumerate(spec["rules"]):
        path = f"spec.rules[{at}]"
        scope = policy.rules[at].scope
        yield from _asked(scope, kinds, fails_closed=policy.failure_policy != "Ignore")
        yield from idle(rule, scope, path)
        validate = rule.get("validate")
        action = (validate or {}).get("failureAction") or spec.get("validationFailureAction") or "Audit"
        if validate is not None:
            if action.lower() == "audit":
                yield _audit(f"{path}.validate")
            for form, pattern in (("pattern", validate.get("pattern")), *(
                    (f"anyPattern[{n}]", pattern) for n, pattern in enumerate(validate.get("anyPattern") or []))):
                if isinstance(pattern, dict):
                    yield from _pattern(pattern, f"{path}.validate.{form}")
        yield from _names(rule.get("preconditions"), f"{path}.preconditions")
        yield from _names((validate or {}).get("deny"), f"{path}.validate.deny")
        for n, entry in enumerate(rule.get("verifyImages") or []):
            if (entry.get("failureAction") or spec.get("validationFailureAction") or "Audit").lower() == "audit":
                yield _audit(f"{path}.verifyImages[{n}]")
            yield from guarded(entry, f"{path}.verifyImages[{n}]")


def _asked(scope: Scope, kinds: Kinds, *, fails_closed: bool) -> Iterator[Found]:
    for field, operations, selector in ((named.where, part.operations, selector) for part in scope.match.filters
                                        for named, selector in zip(part.kinds, part.selectors, strict=True)):
        if fails_closed and selector.kind == "*" and selector.group in ("*", "") and selector.subresource in ("", "*"):
            yield (field, "wildcard-fails-closed", "warning", "while the webhook does not answer nothing "
                   "can be written, not the events, leases and nodes that the cluster runs by either",
                   "failurePolicy: Ignore\n")
        served = {operation for target in kinds.find(selector) for operation in target.operations}
        if selector.kind != "*" and kinds.find(selector) and not (set(operations) or served) & served:
            never = ", ".join(operations) or "no operation on it"
            yield (field, "never-asked", "warning", f"the API server never asks about {never} here, only "
                   f"about {', '.join(sorted(served)) or 'nothing'}", "")


def _audit(path: str) -> Found:
    return path, "audit", "warning", "Audit reports and denies nothing", "validationFailureAction: Enforce\n"


# ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────────────

def _names(block: Any, path: str) -> Iterator[Found]:
    """Conditions on parts of image names that can never be so in the one name that an image has."""
    if isinstance(block, list):
        for at, inner in enumerate(block):
            yield from _names(inner, f"{path}[{at}]")
    elif isinstance(block, dict) and "key" in block:
        key = str(block["key"])
        if "images" not in key:
            return
        values = block.get("value")
        for text in values if isinstance(values, list) else [values]:
            if not isinstance(text, str):
                continue
            if re.search(r"\.path\b", key) and re.fullmatch(r"[a-z0-9._-]+", text):
                yield (f"{path}.value", "other-name", "warning", f"{text!r} is no path of an image on Docker Hub: "
                       "those without a namespace are in library/", f'"library/{text}"\n')
            if re.search(r"\.registry\b", key) and _HOST.fullmatch(text):
                try:
                    host = reference.parse_host(text, path)
                except MalformedError:
                    host = ""
                if host != text:
                    yield (f"{path}.value", "other-name", "warning", f"no image's registry is {text!r}: hosts have one "
                           "name, whatever the pod's spelling", f'"{host}"\n' if host else "")
    elif isinstance(block, dict):
        for name, inner in block.items():
            yield from _names(inner, f"{path}.{name}")


# ── patterns ────────────────────────────────────────────────────────────────────────────────────────────────────────

def _pattern(pattern: dict[str, Any], path: str) -> Iterator[Found]:
    yield from _unanchored(pattern, pattern, (), path)
    spec = next((value for key, value in pattern.items() if anchor(key)[1] == "spec"), None)
    kinds = {anchor(key)[1]: value for key, value in spec.items()} if isinstance(spec, dict) else {}
    if "containers" in kinds:
        for kind in _KINDS:
            if kind not in kinds and _has(kinds["containers"], "image"):
                yield (f"{path}.spec", "containers-not-covered", "warning",
                       f"{kind} are not judged: an image that containers may not have can come in there",
                       _yaml({"spec": {f"=({kind})": kinds["containers"]}}))
    for where, text in _texts(pattern, path):
        if where.endswith(".image"):
            for choice in (choice.strip() for choice in text.replace("&", "|").split("|")):
                yield from _negated(choice, where) if choice.startswith("!") else lookalike(choice, where)


def _unanchored(part: Any, whole: dict[str, Any], keys: tuple[str, ...], path: str) -> Iterator[Found]:
    if isinstance(part, list):
        for element in part[:1]:
            yield from _unanchored(element, whole, keys, f"{path}[0]")
        return
    if not isinstance(part, dict):
        return
    at = tuple("containers" if anchor(key)[1] in _KINDS else anchor(key)[1] for key in keys)
    for key, value in part.items():
        kind, name = anchor(key)
        if kind is None and name in _OPTIONAL.get(at, ()) and value != "*":
            yield (f"{path}.{key}", "unanchored-optional", "warning",
                   f"{name} is optional, and a pod without it fails this rule; to judge it only where it is there, "
                   f"write =({name})", _yaml(_nested(keys, {f"=({name})": value})))
        yield from _unanchored(value, whole, (*keys, key), f"{path}.{key}")


def _nested(keys: tuple[str, ...], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: [value] if anchor(key)[1] in ("containers", *_KINDS) else value}
    return value


def _has(part: Any, name: str) -> bool:
    if isinstance(part, list):
        return any(_has(element, name) for element in part)
    return isinstance(part, dict) and any(anchor(key)[1] == name for key in part)


def _texts(part: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _texts(value, f"{path}.{anchor(key)[1]}")
    elif isinstance(part, list):
        for at, value in enumerate(part):
            yield from _texts(value, f"{path}[{at}]")
    elif isinstance(part, str):
        yield path, part


def _negated(text: str, path: str) -> Iterator[Found]:
    """`!docker.io/*` compares the text as it is written, and a registry can be written otherwise."""
    banned = text.removeprefix("!")
    host, slash, _ = banned.partition("/")
    if slash and "." in host and not host.startswith(("*", "?")):
        others = ["nginx", "index.docker.io/x"] if host == "docker.io" else []
        yield (path, "evaded-by-spelling", "warning", f"{text!r} bans a text, not a registry: "
               f"{', '.join([*others, f'{host.upper()}/x', f'{host}:443/x'])} are not banned; list what is allowed",
               '"registry.example.com/*"\n')


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=100)
