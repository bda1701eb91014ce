"""The Pod Security Standards as Kyverno 1.19 asks them: each failed check with the fields that fail it.

Fields, values and order are those of Kyverno's fork of k8s.io/pod-security-admission (policy/check_*.go), whose newest
version is that of Kubernetes 1.34. Restricted asks baseline's checks too, where the API server replaces them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from custody.policy.podsecurity import checks as c
from custody.policy.podsecurity.standard import sysctls_of

LATEST = 34
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_BINDING = frozenset(("NET_BIND_SERVICE",))
_VOLUMES = frozenset(c.VOLUMES)
_INDEX = re.compile(r"\d+")


class FieldError(NamedTuple):
    """One field of a pod that a check is against."""

    path: str
    value: Any = ""
    required: bool = False

    def __str__(self) -> str:
        if self.required:
            return f"{self.path}: Required value"
        if self.value == "":
            return f"{self.path}: Forbidden"
        return f"{self.path} is forbidden, forbidden values found: {_shown(self.value)}"

    @property
    def field(self) -> str:
        """`spec.containers[*].securityContext.privileged`."""
        return _INDEX.sub("*", self.path)

    @property
    def values(self) -> list[str]:
        if isinstance(self.value, list):
            return self.value
        return [] if self.value == "" or self.required else [_shown(self.value)]


class Failed(NamedTuple):
    check: str
    reason: str
    errors: list[FieldError] | None
    """None for a check that tells no fields."""

    def __str__(self) -> str:
        return f"(Forbidden reason: {self.reason}, field error list: [{', '.join(map(str, self.errors or ()))}])"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{' '.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


class Standing:
    """A pod as the checks of one minor version, at most LATEST, find it; each is asked once."""

    def __init__(self, spec: Any, metadata: Any, minor: int) -> None:
        """Raises MalformedError for what is no pod."""
        self._pod = _Pod(spec, metadata)
        self._minor = minor
        self._known: dict[str, Failed | None] = {}

    def failed(self, level: str, only: tuple[str, ...] | None = None) -> list[Failed]:
        """`only`: which checks of the level's are asked. Raises MalformedError for what is no pod."""
        known = self._known
        failures = []
        for name, reason, check in _checks(level, self._minor, only):
            if name in known:
                failure = known[name]
            else:
                errors = check(self._pod)
                failure = known[name] = None if errors == [] else Failed(
                    name, reason(errors or []) if callable(reason) else reason, errors)
            if failure is not None:
                failures.append(failure)
        return failures


@lru_cache(256)
def _checks(level: str, minor: int, only: tuple[str, ...] | None) -> tuple[tuple[str, Any, _Check], ...]:
    """(id, reason, check) of a level, as they were in a version."""
    return tuple((name, reason, versions[max((since for since in versions if since <= minor), default=min(versions))])
                 for name, reason, baseline, versions in _CHECKS
                 if (baseline or level != "baseline") and (only is None or name in only))


class _Pod(c.Pod):
    @cached_property
    def contexts(self) -> list[tuple[str, dict[str, Any], dict[str, Any] | None]]:
        """(path, container, its securityContext or None)."""
        contexts = []
        for kind in _CONTAINERS:
            for at, entry in enumerate(c.as_list(self.spec.get(kind))):
                container = c.as_map(entry)
                context = container.get("securityContext")
                contexts.append((f"spec.{kind}[{at}]", container, None if context is None else c.as_map(context)))
        return contexts

    @cached_property
    def filled(self) -> list[tuple[str, dict[str, Any]]]:
        """(path, securityContext) of the containers that have one with something in it."""
        return [(path, context) for path, _, context in self.contexts if context]


Errors = list[FieldError] | None
_Check = Callable[[_Pod], Errors]


def _each(of: Callable[[dict[str, Any]], Any], field: str, *, pod: bool = True) -> _Check:
    """Of a field of securityContexts: `of` gives a value that is not allowed, or None, as it does where the field is
    absent."""
    name = field.partition(".")[0]

    def check(given: _Pod) -> Errors:
        errors = []
        if pod and name in given.security and (value := of(given.security)) is not None:
            errors.append(FieldError(f"spec.securityContext.{field}", value))
        for path, context in given.filled:
            if name in context and (value := of(context)) is not None:
                errors.append(FieldError(f"{path}.securityContext.{field}", value))
        return errors

    return check


def _inner(context: dict[str, Any], *steps: str) -> Any:
    value: Any = context
    for step in steps:
        value = c.as_map(value).get(step)
    return value


def _profile(name: str) -> Callable[[dict[str, Any]], str | None]:
    def bad(context: dict[str, Any]) -> str | None:
        profile = context.get(name)
        if profile is None:
            return None
        kind = str(c.as_map(profile).get("type") or "")
        return kind if kind not in ("RuntimeDefault", "Localhost") else None

    return bad


def _true(*steps: str) -> Callable[[dict[str, Any]], bool | None]:
    first, *later = steps
    if not later:
        return lambda context: True if context.get(first) is True else None
    return lambda context: True if first in context and _inner(context, *steps) is True else None


_app_armor_profile = _each(_profile("appArmorProfile"), "appArmorProfile.type")


def _app_armor(pod: _Pod) -> Errors:
    annotated = [FieldError(f"metadata.annotations[{key}]", value) for key, value in sorted(pod.annotations.items())
                 if key.startswith(_APPARMOR) and value not in ("", "runtime/default")
                 and not value.startswith("localhost/")]
    return (_app_armor_profile(pod) or []) + annotated


def _app_armor_reason(errors: list[FieldError]) -> str:
    values = {(error.path if error.path.startswith("metadata") else "", str(error.value)) for error in errors}
    return "forbidden AppArmor profile" + ("" if len(values) == 1 else "s")


def _added(context: dict[str, Any], allowed: frozenset[str]) -> list[str] | None:
    added = c.as_list(c.as_map(context.get("capabilities")).get("add"))
    return sorted({str(name) for name in added} - allowed) or None if added else None


def _capabilities(pod: _Pod) -> Errors:
    dropped, added = [], []
    for path, _, context in pod.contexts:
        where = path + ".securityContext.capabilities"
        names = {str(name) for name in c.as_list(_inner(context or {}, "capabilities", "drop"))}
        if "ALL" not in names:
            dropped.append(FieldError(f"{where}.drop", sorted(names), required=not names))
        if forbidden := _added(context or {}, _BINDING):
            added.append(FieldError(f"{where}.add", forbidden))
    return dropped + added


def _host_namespaces(pod: _Pod) -> Errors:
    return [FieldError(f"spec.{field}", True) for field in ("hostNetwork", "hostPID", "hostIPC")
            if pod.spec.get(field) is True]


def _volumes(pod: _Pod) -> Iterator[tuple[str, dict[str, Any]]]:
    for at, volume in enumerate(c.as_list(pod.spec.get("volumes"))):
        yield f"spec.volumes[{at}]", c.as_map(volume)


def _host_paths(pod: _Pod) -> Errors:
    return [FieldError(f"{path}.hostPath", str(_inner(volume, "hostPath", "path") or ""))
            for path, volume in _volumes(pod) if volume.get("hostPath") is not None]


def _restricted_volumes(pod: _Pod) -> Errors:
    return [FieldError(f"{path}.{next((kind for kind in c.BAD_VOLUMES if volume.get(kind) is not None), 'unknown')}")
            for path, volume in _volumes(pod)
            if not any(kind in _VOLUMES and source is not None for kind, source in volume.items())]


def _host_ports(pod: _Pod) -> Errors:
    return [FieldError(f"{path}.ports[{at}].hostPort", used) for path, container, _ in pod.contexts
            for at, port in enumerate(c.as_list(container.get("ports"))) if (used := c.as_map(port).get("hostPort"))]


def _host_probes(pod: _Pod) -> Errors:
    return None if c.host_probes(pod) else []


def _proc_mount(context: dict[str, Any]) -> str | None:
    value = context.get("procMount")
    return str(value) if value is not None and value != "Default" else None


def _se_linux(*more: str) -> _Check:
    allowed = ("", "container_t", "container_init_t", "container_kvm_t", *more)

    def of(context: dict[str, Any], path: str) -> Iterator[FieldError]:
        options = c.as_map(context.get("seLinuxOptions"))
        for field in ("type", "user", "role"):
            value = str(options.get(field) or "")
            if value not in allowed if field == "type" else value:
                yield FieldError(f"{path}.securityContext.seLinuxOptions.{field}", value)

    return lambda pod: [error for path, context in (("spec", pod.security), *pod.filled)
                        if "seLinuxOptions" in context for error in of(context, path)]


def _seccomp_annotations(pod: _Pod) -> Errors:
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + str(container.get("name", "")) for _, container, _ in pod.contexts)]
    return [FieldError(f"metadata.annotations[{key}]", value) for key in keys
            if (value := pod.annotations.get(key)) is not None and value not in ("runtime/default", "docker/default")
            and not value.startswith("localhost/")]


_seccomp_baseline = _each(_profile("seccompProfile"), "seccompProfile.type")


def _seccomp_restricted(pod: _Pod) -> Errors:
    if explicit := _seccomp_baseline(pod):
        return explicit
    if isinstance(pod.security.get("seccompProfile"), dict):
        return []
    return [FieldError(f"{path}.securityContext.seccompProfile.type", required=True)
            for path, _, context in pod.contexts if not isinstance((context or {}).get("seccompProfile"), dict)]


def _escalation(pod: _Pod) -> Errors:
    errors = []
    for path, _, context in pod.contexts:
        value = (context or {}).get("allowPrivilegeEscalation")
        if value is not False:
            errors.append(FieldError(f"{path}.securityContext.allowPrivilegeEscalation",
                                     "nil" if value is None else True, required=context is None))
    return errors


_as_root = _each(lambda context: False if context.get("runAsNonRoot") is False else None, "runAsNonRoot")


def _non_root(pod: _Pod) -> Errors:
    at_pod = pod.security.get("runAsNonRoot")
    explicit = _as_root(pod) or []
    return explicit + [FieldError(f"{path}.securityContext.runAsNonRoot", required=True)
                       for path, _, context in pod.contexts
                       if (context or {}).get("runAsNonRoot") is None and at_pod is not True]


def _root(context: dict[str, Any]) -> int | None:
    return 0 if context.get("runAsUser") == 0 and context.get("runAsUser") is not False else None


def _sysctls(minor: int) -> _Check:
    allowed = sysctls_of(minor)
    return lambda pod: [FieldError(f"spec.securityContext.sysctls[{at}].name", str(name))
                        for at, entry in enumerate(c.as_list(pod.security.get("sysctls")))
                        if (name := c.as_map(entry).get("name", "")) not in allowed]


def _unless_windows(check: _Check) -> _Check:
    return lambda pod: [] if pod.windows else check(pod)


# id, reason, whether baseline asks it, by the minor version since when; in the order in which they are asked.
_CHECKS: tuple[tuple[str, Any, bool, dict[int, _Check]], ...] = (
    ("allowPrivilegeEscalation", "allowPrivilegeEscalation != false", False,
     {8: _escalation, 25: _unless_windows(_escalation)}),
    ("appArmorProfile", _app_armor_reason, True, {0: _app_armor}),
    ("capabilities_baseline", "non-default capabilities", True,
     {0: _each(lambda context: _added(context, c.CAPABILITIES), "capabilities.add", pod=False)}),
    ("capabilities_restricted", "unrestricted capabilities", False,
     {22: _capabilities, 25: _unless_windows(_capabilities)}),
    ("hostNamespaces", "host namespaces", True, {0: _host_namespaces}),
    ("hostPathVolumes", "hostPath volumes", True, {0: _host_paths}),
    ("hostPorts", "hostPort", True, {0: _host_ports}),
    ("hostProbesAndHostLifecycle", "probe or lifecycle host", True, {0: lambda _: [], 34: _host_probes}),
    ("privileged", "privileged", True, {0: _each(_true("privileged"), "privileged", pod=False)}),
    ("procMount", "procMount", True, {0: _each(_proc_mount, "procMount", pod=False)}),
    ("restrictedVolumes", "restricted volume types", False, {0: _restricted_volumes}),
    ("runAsNonRoot", "runAsNonRoot != true", False, {0: _non_root}),
    ("runAsUser", "runAsUser=0", False, {23: _each(_root, "runAsUser")}),
    ("seLinuxOptions", "seLinuxOptions", True, {0: _se_linux(), 31: _se_linux("container_engine_t")}),
    ("seccompProfile_baseline", "seccompProfile", True, {0: _seccomp_annotations, 19: _seccomp_baseline}),
    ("seccompProfile_restricted", "seccompProfile", False,
     {19: _seccomp_restricted, 25: _unless_windows(_seccomp_restricted)}),
    ("sysctls", "forbidden sysctls", True, {since: _sysctls(since) for since in (0, 27, 29, 32)}),
    ("windowsHostProcess", "hostProcess", True,
     {0: _each(_true("windowsOptions", "hostProcess"), "windowsOptions.hostProcess")}),
)
