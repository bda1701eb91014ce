"""Findings about rules that load and never speak, or never object: misspelt fields, constants, total exclusions.

The fields of pods are those of core/v1 PodSpec, Container and SecurityContext in Kubernetes 1.34.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from custody.policy.kyverno.guarded import Found
from custody.policy.resources import OPERATIONS
from custody.policy.scope import Scope
from policylang.kpattern import anchor
from policylang.kpattern.anchors import NEGATION


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


_POD = frozenset(("apiVersion", "kind", "metadata", "spec", "status"))
_SPEC = _words("""activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy
    enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride
    imagePullSecrets initContainers nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName
    readinessGates resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates
    securityContext serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain
    terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes""")
_CONTAINER = _words("""args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports
    readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce
    targetContainerName terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts
    workingDir""")
_SECURITY = _words("""allowPrivilegeEscalation appArmorProfile capabilities privileged procMount
    readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser seLinuxOptions seccompProfile windowsOptions""")
_HOLDERS = ("initContainers", "containers", "ephemeralContainers")
_FIELDS: dict[tuple[str, ...], frozenset[str]] = {
    (): _POD, ("spec",): _SPEC, **{("spec", holder): _CONTAINER for holder in _HOLDERS},
    **{("spec", holder, "securityContext"): _SECURITY for holder in _HOLDERS}}
_IN_TEXT = ((re.compile(r"\bimages\.([A-Za-z]\w*)"), frozenset((*_HOLDERS, "volumes"))),
            (re.compile(r"\brequest\.(?:object|oldObject)\.spec\.([A-Za-z]\w*)"), _SPEC))
_OPERATION = re.compile(r"\{\{\s*request\.operation\s*(\|\|[^{}]*)?\}\}\Z")
_LIKE_A_VARIABLE = re.compile(r"\{\{|\}\}|\{\s*(request|images|serviceAccount)|^(request|images)\.\w")


def idle(rule: dict[str, Any], scope: Scope, path: str) -> Iterator[Found]:
    """The findings in one rule that loads; `path` is where it stands in the policy."""
    pods = all(re.fullmatch(r"(v1/|\*/)*Pod(/ephemeralcontainers)?", named.text)
               for part in scope.match.filters for named in part.kinds)
    yield from _matching(rule, scope)
    validate = rule.get("validate") or {}
    patterns = [("pattern", validate.get("pattern")),
                *((f"anyPattern[{at}]", pattern) for at, pattern in enumerate(validate.get("anyPattern") or []))]
    for form, pattern in patterns:
        if pattern == {}:
            yield f"{path}.validate.{form}", "says-nothing", "warning", "every object fits an empty pattern", ""
        elif pods:
            yield from _misspelt(pattern, (), f"{path}.validate.{form}")
    blocks = [(f"{path}.preconditions", rule.get("preconditions")),
              (f"{path}.validate.deny.conditions", (validate.get("deny") or {}).get("conditions"))]
    blocks += [(f"{path}.verifyImages[{at}].attestations[{n}].conditions", attestation.get("conditions"))
               for at, entry in enumerate(rule.get("verifyImages") or [])
               for n, attestation in enumerate(entry.get("attestations") or [])]
    for where, block in blocks:
        for place, condition in _conditions(block, where):
            yield from _condition(condition, place, pods=pods)


def _matching(rule: dict[str, Any], scope: Scope) -> Iterator[Found]:
    for part in scope.match.filters:
        if not part.kinds and not scope.match.every:
            yield (part.where, "never-asked", "warning",
                   "it names no kinds, and the API server asks about those only that are named", "kinds:\n- …\n")
        if part.operations == ("DELETE",) and "deny" not in (rule.get("validate") or {}):
            yield (f"{part.where}.operations", "never-asked", "warning",
                   "of what is deleted only `deny` says something, and this rule has none", "")
    if scope.exclude is None or (scope.exclude.every and len(scope.exclude.filters) > 1):
        return
    matched = {named.text for part in scope.match.filters for named in part.kinds}
    for part in scope.exclude.filters:
        own = {"selector", "annotations", "names"} & {*part.chosen}
        if part.only and not part.operations and matched <= {named.text for named in part.kinds}:
            yield (part.where, "excludes-everything", "warning", "nothing is left that the rule judges", "")
        elif own and not {"namespaces", "subjects"} & {*part.chosen}:
            yield (part.where, "self-exempting", "note", f"whoever writes the object chooses what "
                   f"{', '.join(sorted(own))} looks at, and so whether the rule judges it", "")


def _misspelt(part: Any, way: tuple[str, ...], path: str) -> Iterator[Found]:
    """Fields that pods do not have: optional ones are never judged, demanded ones never there."""
    if isinstance(part, list):
        for at, element in enumerate(part):
            yield from _misspelt(element, way, f"{path}[{at}]")
    known = _FIELDS.get(way)
    if known is None or not isinstance(part, dict):
        return
    for key, value in part.items():
        kind, name = anchor(key)
        if name in known:
            yield from _misspelt(value, (*way, name), f"{path}.{key}")
        elif "*" not in name and "?" not in name:
            meets = "always passes here" if kind in ("=", "", "<", NEGATION) else "fails every pod"
            yield (f"{path}.{key}", "unknown-field", "warning",
                   f"pods have no {name} there: it {meets}{_meant(name, known)}", "")


def _meant(name: str, known: frozenset[str]) -> str:
    by_letters = {field.lower(): field for field in known}
    close = get_close_matches(name.lower(), by_letters, 1, 0.75)
    return f"; did you mean {by_letters[close[0]]}?" if close else ""


def _conditions(block: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(block, list):
        for at, condition in enumerate(block):
            if "key" in condition:
                yield f"{where}[{at}]", condition
            else:
                yield from _conditions(condition, f"{where}[{at}]")
    elif isinstance(block, dict):
        for form in ("any", "all"):
            for at, condition in enumerate(block.get(form) or []):
                yield f"{where}.{form}[{at}]", condition


def _condition(condition: dict[str, Any], where: str, *, pods: bool) -> Iterator[Found]:
    key, value = condition["key"], condition.get("value")
    texts = [*_texts(key), *_texts(value)]
    expressions = [text for text in texts if re.search(r"\{\{.*\}\}", text, re.DOTALL)]
    if not expressions:
        odd = next((text for text in texts if _LIKE_A_VARIABLE.search(text)), None)
        hint = "" if odd is None else f": {odd!r} is read as text, an expression is written {{{{ … }}}}"
        yield (where, "constant-condition", "warning",
               f"it compares two constants, so every request gets the same answer{hint}", "")
    if isinstance(key, str) and _OPERATION.match(key):
        for text in _texts(value):
            if text not in OPERATIONS and not re.search(r"[*?{]", text):
                yield (where, "unknown-operation", "warning", f"request.operation is never {text!r}, only one of "
                       f"{', '.join(OPERATIONS)}", "")
    for text in expressions if pods else ():
        for pattern, known in _IN_TEXT:
            for named in pattern.finditer(text):
                if named[1] not in known:
                    yield (where, "unknown-field", "warning", f"{named[0]} is nothing that pods have"
                           f"{_meant(named[1], known)}", "")


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, list):
        for inner in part:
            yield from _texts(inner)
    elif isinstance(part, dict):
        for inner in part.values():
            yield from _texts(inner)
