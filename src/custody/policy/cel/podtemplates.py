"""Policies about pods, said of what makes pods: `autogen.podControllers` of MutatingPolicies (kyverno pkg/cel/autogen).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from custody.policy.cel.autogen import generated

_DEFAULTS = {"daemonsets": "apps", "deployments": "apps", "replicasets": "apps", "statefulsets": "apps",
             "jobs": "batch"}
_CRONJOBS = {"cronjobs": "batch"}
_FIELDS = re.compile(r"\b(object|oldObject|Object)\.(spec|metadata\.labels|metadata\.annotations)", re.ASCII)
_ROOT = re.compile(r"Object[ \t\r\n]*\{")


class Template(NamedTuple):
    """A way from what makes pods to the template of its pods."""

    name: str
    steps: Sequence[str]
    groups: Mapping[str, str]
    """API groups by plural resource."""


_TEMPLATES = (Template("cronjobs", ("spec", "jobTemplate", "spec", "template"), _CRONJOBS),
              Template("defaults", ("spec", "template"), _DEFAULTS))


def extends(constraints: Mapping[str, Any]) -> bool:
    """Whether matchConstraints are about pods and nothing else, so that controllers are meant as well."""
    selector = constraints.get("objectSelector") or {}
    rules = constraints.get("resourceRules") or []
    return (not selector.get("matchLabels") and not selector.get("matchExpressions")
            and not constraints.get("excludeResourceRules") and len(rules) == 1
            and not rules[0].get("resourceNames") and rules[0].get("apiGroups") == [""]
            and rules[0].get("apiVersions") == ["v1"] and rules[0].get("resources") == ["pods"])


def extended(spec: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, spec) of what a MutatingPolicy says of controllers; its own spec is of pods."""
    constraints = spec.get("matchConstraints") or {}
    if not extends(constraints):
        return
    chosen = ((spec.get("autogen") or {}).get("podControllers") or {}).get("controllers")
    for template in _TEMPLATES:
        resources = [name for name in template.groups if chosen is None or name in chosen]
        if resources:
            yield template.name, _spec(spec, template, resources)


def configs(kind: str, spec: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(name, spec) of what a policy of any kind says of what makes pods; none where it says nothing of that.

    Raises MalformedError for a controller that is not known.
    """
    if (spec.get("evaluation") or {}).get("mode") == "JSON":
        return []
    kind = kind.removeprefix("Namespaced")
    if kind in ("ValidatingPolicy", "ImageValidatingPolicy"):
        controllers = ((spec.get("autogen") or {}).get("podControllers") or {}).get("controllers")
        return [*generated(spec, controllers)]
    return [*extended(spec)] if kind == "MutatingPolicy" else []


def custom(spec: Mapping[str, Any]) -> list[str]:
    """The controllers that are named as `resource.version.group`, whose templates are not mutated."""
    chosen = ((spec.get("autogen") or {}).get("podControllers") or {}).get("controllers") or ()
    named = [name for name in chosen if name.count(".") >= 2 and all(name.split(".", 2))]
    return named if extends(spec.get("matchConstraints") or {}) else []


def _spec(spec: Mapping[str, Any], template: Template, resources: Sequence[str]) -> dict[str, Any]:
    rule = spec["matchConstraints"]["resourceRules"][0]
    groups = sorted({template.groups[name] for name in resources})
    constraints = {"resourceRules": [
        {"apiGroups": [group], "apiVersions": ["v1"], "operations": rule.get("operations"),
         "resources": sorted(name for name in resources if template.groups[name] == group)} for group in groups]}
    if selector := spec["matchConstraints"].get("namespaceSelector"):
        constraints["namespaceSelector"] = selector
    changed = {**spec, "matchConstraints": constraints}
    changed["matchConditions"] = [_converted(entry, template) for entry in spec.get("matchConditions") or ()]
    changed["mutations"] = [
        {**entry, "applyConfiguration": _converted(entry["applyConfiguration"], template)}
        if isinstance(entry.get("applyConfiguration"), dict) else entry for entry in spec.get("mutations") or ()]
    return changed


def _converted(entry: Mapping[str, Any], template: Template) -> dict[str, Any]:
    text = entry.get("expression")
    return {**entry, "expression": convert(text, template)} if isinstance(text, str) and text else dict(entry)


def convert(expression: str, template: Template) -> str:
    """An expression about a pod as one about a template: paths by their text, and the outermost `Object{…}` wrapped."""
    path = ".".join(template.steps)
    expression = _FIELDS.sub(
        lambda field: f"{field[1]}.{path}.{field[2]}", expression)
    root = _ROOT.match(expression.strip())
    if root is None:
        return expression
    content = expression.strip()[root.end():]
    depths = accumulate(((character == "{") - (character == "}") for character in content), initial=1)
    end = next((at for at, depth in enumerate(depths) if depth == 0), 0) - 1
    if end < 1:
        return expression
    wrapped, names = "Object{", "Object"
    for step in template.steps:
        names += f".{step}"
        wrapped += f"{step}: {names}{{"
    return wrapped + content[:end] + "}" * (len(template.steps) + 1) + content[end + 1:]
