"""Policies about pods, made to speak of what makes pods: where autogen applies, and how expressions are rewritten.

Kyverno 1.19 pkg/cel/autogen: the text of each expression is rewritten, `object.spec` to the path of the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.kinds import builtin

_BUILTIN = {"daemonsets": "apps", "deployments": "apps", "replicasets": "apps", "statefulsets": "apps", "jobs": "batch",
            "cronjobs": "batch"}
_TEMPLATES = {"defaults": "spec.template", "cronjobs": "spec.jobTemplate.spec.template"}
EXTRACT = "extract"
_ROOTS = re.compile(r"(object|oldObject)\.(spec|metadata)(?!\.namespace(?![A-Za-z0-9_]))")


class Target(NamedTuple):
    """A resource that makes pods."""

    group: str
    version: str
    resource: str


class Generated(NamedTuple):
    """A spec for one way in which templates stand in objects: `defaults`, `cronjobs`, or anywhere (`extract`)."""

    config: str
    spec: dict[str, Any]


def generated(spec: Mapping[str, Any], controllers: Sequence[str] | None) -> list[Generated]:
    """The specs beside a policy's own; `controllers` are its podControllers, None for all of Kubernetes'.

    Raises MalformedError for a controller that is not known.
    """
    match = spec.get("matchConstraints")
    if not isinstance(match, dict) or not _about_pods(match):
        return []
    targets: dict[str, list[Target]] = {}
    for at, name in enumerate(_BUILTIN if controllers is None else controllers):
        config, target = _target(name, f"spec.autogen.podControllers.controllers[{at}]")
        targets.setdefault(config, []).append(target)
    return [Generated(config, _for_targets(spec, match, config, targets[config])) for config in sorted(targets)]


def pod_controllers(fields: Fields | None) -> list[str] | None:
    """None where nothing is said of them: all. Raises MalformedError."""
    controllers = fields.inner("podControllers") if fields is not None else None
    if controllers is None or not isinstance(controllers.peek("controllers"), list):
        if controllers is not None:
            controllers.take("controllers", list)
            controllers.done()
        return None
    names = controllers.texts("controllers")
    controllers.done()
    return names


def rewritten(value: Any, config: str) -> Any:
    """A policy's fields with every text about a pod's spec and metadata turned to that of a template."""
    template = _TEMPLATES.get(config)
    if template is None:
        return value
    if isinstance(value, str):
        return _ROOTS.sub(rf"\1.{template}.\2", value)
    if isinstance(value, dict):
        return {name: rewritten(inner, config) for name, inner in value.items()}
    if isinstance(value, list):
        return [rewritten(inner, config) for inner in value]
    return value


def _about_pods(match: Mapping[str, Any]) -> bool:
    """Whether a policy selects all pods, and nothing but pods (CanAutoGen)."""
    selector = match.get("objectSelector") or {}
    if selector.get("matchLabels") or selector.get("matchExpressions") or match.get("excludeResourceRules"):
        return False
    rules = match.get("resourceRules") or []
    if len(rules) != 1 or not isinstance(rules[0], dict) or rules[0].get("resourceNames"):
        return False
    return (rules[0].get("apiGroups"), rules[0].get("apiVersions"), rules[0].get("resources")) == (
        [""], ["v1"], ["pods"])


def _target(name: str, where: str) -> tuple[str, Target]:
    if group := _BUILTIN.get(name):
        return "cronjobs" if name == "cronjobs" else "defaults", Target(group, "v1", name)
    resource, _, rest = name.partition(".")
    version, _, group = rest.partition(".")
    if resource and version and group:
        return EXTRACT, Target(group, version, resource)
    for served in builtin().resources:
        if served.plural == name:
            return EXTRACT, Target(served.group, served.version, name)
    raise MalformedError(where, got=name, expected=f"{', '.join(_BUILTIN)}, or RESOURCE.VERSION.GROUP")


def _for_targets(spec: Mapping[str, Any], match: Mapping[str, Any], config: str,
                 targets: Sequence[Target]) -> dict[str, Any]:
    served: dict[tuple[str, str], set[str]] = {}
    for target in targets:
        served.setdefault((target.group, target.version), set()).add(target.resource)
    constraints: dict[str, Any] = {"resourceRules": [
        {"apiGroups": [group], "apiVersions": [version], "resources": sorted(names),
         "operations": match["resourceRules"][0].get("operations")} for (group, version), names in sorted(
            served.items())]}
    if match.get("namespaceSelector"):
        constraints["namespaceSelector"] = match["namespaceSelector"]
    made: dict[str, Any] = rewritten({**spec, "matchConstraints": constraints}, config)
    return made
