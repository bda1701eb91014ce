"""How an object differs from the manifest that was signed (k8s-manifest-sigstore pkg/util/mapnode), and what may.

Values are compared leaf by leaf. What the API server leaves out or fills in does not count: null, an empty text, list
or map as a field's value. As an element of a list each of them counts, and so does an empty map that nobody signed but
where the API server itself writes one: `namespaceSelector: {}` or `apiGroups: [""]` say a great deal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.formats.signedmanifest import PARTS
from custody.policy.fields import Fields
from policylang.go.printing import marshal, sprint
from policylang.go.regex import PatternError, compiled

_Path = tuple[str | int, ...]
Ignores = Callable[[str], bool]
"""Whether the field at a path, written `spec.containers.0.image`, may differ."""
_FILLED = frozenset({"resources", "securityContext", "strategy", "updateStrategy", "status", "loadBalancer", "metadata",
                     "annotations", "labels", "spec"})
"""Fields to which the API server gives an empty map where nothing is said."""
_GIVEN: Mapping[_Path, Any] = {("spec", "serviceAccountName"): "default"}
"""What it writes into a pod that says nothing."""
_TEMPLATES = ("", r"spec\.template\.", r"spec\.jobTemplate\.", r"spec\.jobTemplate\.spec\.template\.")
"""Where what is said of an object or a pod is said of a template too."""
_REFERENCE = ("group", "version", "kind", "name", "namespace")

_ANY = ("metadata.namespace", "spec.containers.*.imagePullPolicy", "spec.containers.*.terminationMessagePath",
        "spec.containers.*.terminationMessagePolicy", "spec.dnsPolicy", "spec.restartPolicy", "spec.schedulerName",
        "spec.terminationGracePeriodSeconds", "metadata.labels.app.kubernetes.io/instance", "metadata.managedFields.*",
        "metadata.resourceVersion", "metadata.selfLink",
        "metadata.annotations.control-plane.alpha.kubernetes.io/leader",
        "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration", "metadata.finalizers",
        "metadata.annotations.namespace", "metadata.annotations.deprecated.daemonset.template.generation",
        "metadata.creationTimestamp", "metadata.uid", "metadata.generation", "status",
        "metadata.annotations.deployment.kubernetes.io/revision")
_SERVICE = ("spec.ports.*.nodePort", "spec.clusterIP", "spec.clusterIPs.0", "spec.sessionAffinity", "spec.type",
            "spec.ipFamilies.*", "spec.ipFamilyPolicy", "spec.internalTrafficPolicy")
_POLICY = ("metadata.annotations.pod-policies.kyverno.io/autogen-controllers", "spec.failurePolicy", "spec.background",
           "spec.validationFailureAction")
_BY_KIND: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec.volumes.*.name", "spec.volumes.*.projected.*", "spec.volumes.*.configMap.defaultMode",
            "spec.containers.*.volumeMounts.*", "spec.tolerations.*", "spec.enableServiceLinks",
            "spec.preemptionPolicy", "spec.priority", "spec.priorityClassName", "spec.serviceAccount"),
    "Deployment": ("spec.progressDeadlineSeconds", "spec.revisionHistoryLimit", "spec.strategy.*",
                   "spec.template.metadata.creationTimestamp", "spec.containers.*.ports.*.protocol",
                   "spec.containers.*.resources", "spec.securityContext"),
    "CustomResourceDefinition": ("spec.conversion.strategy", "spec.names.listKind"),
    "Service": _SERVICE,
    "ServiceAccount": ("secrets.*.name", "imagePullSecrets.*.name"),
    "ClusterPolicy": _POLICY, "Policy": _POLICY,
    "Route": ("spec.host",),
}
"""What Kyverno and the library that it calls let differ in every policy, as Kyverno 1.19 configures them."""


class Difference(NamedTuple):
    key: str
    before: Any
    """What was signed; None where nothing was."""
    after: Any


def differences(signed: Mapping[str, Any], judged: Mapping[str, Any]) -> list[Difference]:
    """In order of their keys."""
    before, after = dict(_leaves(signed, ())), dict(_leaves(judged, ()))
    inner = {path[:end] for leaves in (before, after) for path in leaves for end in range(1, len(path))}
    listed: list[Difference] = []
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        key = ".".join(map(str, path))
        if _same(old, new) or (isinstance(path[-1], str) and _nothing(old) and _nothing(new)):
            continue
        if key.endswith("image") and _canonical(old, new):
            continue
        if path not in before and ((new == {} and path[-1] in _FILLED) or _GIVEN.get(path) == new):
            continue
        if path in inner and (old in ({}, []) or new in ({}, [])):
            continue  # a map that is empty on one side alone: what is in it on the other says enough
        if path not in after and old in ({}, []) and isinstance(path[-1], str):
            continue
        if old is not None and new is not None and _type(old) != _type(new):
            old, new = _typed(old), _typed(new)
        listed.append(Difference(key, old, new))
    return sorted(listed, key=lambda difference: difference.key)


def size(value: Any) -> int:
    """How many values it has, with what they are in."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(size, members))


def described(listed: Sequence[Difference]) -> str:
    """As the library writes them."""
    return marshal({"items": [{"key": key, "values": {"before": before, "after": after}}
                              for key, before, after in listed]})


class IgnoredFields:
    """What may differ: by `ignoreFields` of a policy, and in every policy."""

    def __init__(self, entries: Sequence[Fields], domain: str) -> None:
        """Raises MalformedError."""
        self._own = [_entry(entry) for entry in entries]
        signed = "|".join(PARTS)
        self._always = _usual(_ANY, rf"metadata\.annotations\.{re.escape(domain)}/(?:{signed})(?:_\d+)?")
        self._by_kind = {kind: _usual(fields) for kind, fields in _BY_KIND.items()}

    def of(self, judged: Mapping[str, Any]) -> Ignores:
        group, _, version = str(judged.get("apiVersion", "")).rpartition("/")
        metadata = judged.get("metadata")
        meta = metadata if isinstance(metadata, dict) else {}
        kind = str(judged.get("kind", ""))
        values = dict(zip(_REFERENCE, (group, version, kind, str(meta.get("name") or ""),
                                       str(meta.get("namespace") or "")), strict=True))
        patterns = [self._always]
        if kind in self._by_kind and (kind != "Route" or group == "route.openshift.io"):
            patterns.append(self._by_kind[kind])
        patterns += [pattern for objects, fields in self._own for pattern in fields
                     if not objects or any(all(_fits(reference.get(name, ""), values[name]) for name in _REFERENCE)
                                           for reference in objects)]
        return lambda key: any(pattern.search(key) for pattern in patterns)


def _leaves(value: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    in_list = bool(path) and isinstance(path[-1], int)
    if isinstance(value, dict):
        if not value and path:
            yield path, value
        for name, member in value.items():
            yield from _leaves(member, (*path, name))
    elif isinstance(value, list):
        if not value and in_list:
            yield path, value
        for at, member in enumerate(value):
            yield from _leaves(member, (*path, at))
    elif in_list or value is not None:
        yield path, "" if value is None else value


def _nothing(value: Any) -> bool:
    """Whether a field's value says as much as its absence."""
    return value is None or value == ""


def _same(old: Any, new: Any) -> bool:
    return _type(old) == _type(new) and bool(old == new)


def _type(value: Any) -> str:
    """As Go calls it, which reads every number as a float64."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "float64"
    return "string" if isinstance(value, str) else "" if value is None else "map"


def _typed(value: Any) -> Any:
    kind = _type(value)
    if kind == "map":
        return value
    return f"(type: {kind}) {value if kind == 'string' else f'%!s({kind}={sprint(value)})'}"


def _canonical(old: Any, new: Any) -> bool:
    """Whether an image's name was only written out."""
    return isinstance(old, str) and isinstance(new, str) and new in (f"docker.io/{old}", f"{old}:latest")


def _usual(fields: Sequence[str], *patterns: str) -> re.Pattern[str]:
    """They begin where an object or a template begins, end with a field's name, and a `*` between is one step: else
    whoever names a key would choose what counts, and `spec.serviceAccount` would be `spec.serviceAccountName`.
    """
    texts = (r"[^.]+".join(map(re.escape, field.removesuffix(".*").split("*"))) for field in fields)
    return re.compile(rf"^(?:{'|'.join(_TEMPLATES)})(?:{'|'.join([*texts, *patterns])})(?:\.|$)")


def _entry(fields: Fields) -> tuple[list[dict[str, str]], list[Any]]:
    """(objects, patterns) of an entry of `ignoreFields`, which is a regular expression but for its `*`."""
    patterns = []
    for at, text in enumerate(fields.texts("fields")):
        where = f"{fields.path('fields')}[{at}]"
        if not text.strip("*"):
            raise MalformedError(where, got=text or "nothing", expected="a field's path: every field may not differ")
        try:
            patterns.append(compiled(text.replace("*", ".*") + ".*"))
        except PatternError as error:
            raise MalformedError(where, got=text, expected=f"a field's path ({error.message})") from None
    objects = []
    for reference in fields.each("objects"):
        objects.append({name: reference.take(name, str) or "" for name in _REFERENCE})
        reference.done()
    fields.done()
    return objects, patterns


def _fits(pattern: str, value: str) -> bool:
    """One of several with commas between, each a text, a beginning with `*` behind it, or `-` for nothing."""
    pattern = pattern.strip()
    if pattern in ("", "*", value) or (pattern == "-" and not value):
        return True
    if pattern.endswith("*"):
        return value.startswith(pattern.rstrip("*"))
    return "," in pattern and any(_fits(part, value) for part in pattern.split(","))
