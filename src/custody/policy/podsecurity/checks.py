"""The checks of the Pod Security Standards: each gives (reason, detail) for a bad pod, None for a good one.

Fields, allowed values and texts are those of k8s.io/pod-security-admission policy/check_*.go. `Pod` reads a pod as the
API server's typed decoder would: lists and maps of another shape are refused, for they may hide a container.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from custody.errors import MalformedError
from policylang.errors import Shape

Failure = tuple[str, str] | None
Check = Callable[["Pod"], Failure]
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
ANNOTATED = (_APPARMOR, _SECCOMP_POD, _SECCOMP_CONTAINER)
"""How the annotations begin that are looked at."""


def as_map(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise MalformedError("pod", got=_got(value), expected="a map, as pods have it there")
    return value or {}


def as_list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise MalformedError("pod", got=_got(value), expected="a list, as pods have it there")
    return value or []


def _got(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else Shape(value)


_SPEC_FLAGS = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
_CONTEXT_FLAGS = ("privileged", "allowPrivilegeEscalation", "runAsNonRoot", "readOnlyRootFilesystem", "hostProcess")


def _flags(part: dict[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if (value := part.get(name)) is not None and not isinstance(value, bool):
            raise MalformedError(f"pod: {name}", got=_got(value), expected="true or false, as pods have it there")


def _context(value: Any) -> dict[str, Any]:
    """A securityContext: `privileged: "true"` is none that an API server decodes, and must not count as unset."""
    context = as_map(value)
    _flags(context, _CONTEXT_FLAGS)
    _flags(as_map(context.get("windowsOptions")), _CONTEXT_FLAGS)
    user = context.get("runAsUser")
    if user is not None and (isinstance(user, bool) or not isinstance(user, (int, float))):
        raise MalformedError("pod: runAsUser", got=_got(user), expected="a number, as pods have it there")
    if (capabilities := context.get("capabilities")) is not None:
        for name in ("add", "drop"):
            for capability in as_list(as_map(capabilities).get(name)):
                if not isinstance(capability, (str, type(None))):
                    raise MalformedError(f"pod: capabilities.{name}", got=_got(capability), expected="texts")
    return context


class Pod:
    """A pod's spec and annotations, with its containers in the order of the API server's visitor."""

    def __init__(self, spec: Any, metadata: Any) -> None:
        self.spec = as_map(spec)
        written = as_map(as_map(metadata).get("annotations"))
        for key, value in written.items():
            if not isinstance(value, (str, type(None))) and key.startswith(ANNOTATED):
                raise MalformedError(f"pod: annotation {key}", got=_got(value), expected="text, in quotes")
        self.annotations: dict[str, str] = {key: value for key, value in written.items()
                                            if isinstance(value, str)}
        _flags(self.spec, _SPEC_FLAGS)
        self.security = _context(self.spec.get("securityContext"))

    @cached_property
    def containers(self) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
        """(name, container, its securityContext)."""
        containers = (container for kind in ("initContainers", "containers", "ephemeralContainers")
                      for container in map(as_map, as_list(self.spec.get(kind))))
        return [(str(container.get("name", "")), container, _context(container.get("securityContext")))
                for container in containers]

    @property
    def windows(self) -> bool:
        return as_map(self.spec.get("os")).get("name") == "windows"

    @property
    def user_namespace(self) -> bool:
        return self.spec.get("hostUsers") is False


def _quote(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def _plural(word: str, items: Iterable[Any]) -> str:
    return word if len(list(items)) == 1 else word + "s"


def _named(names: list[str]) -> str:
    return f"{_plural('container', names)} {_quote(names)}"


def _setters(pod: bool, names: list[str]) -> str:
    return " and ".join([*(["pod"] if pod else []), *([_named(names)] if names else [])])


# ── baseline ────────────────────────────────────────────────────────────────────────────────────────────────────────

def app_armor(pod: Pod) -> Failure:
    def bad(context: dict[str, Any]) -> str | None:
        profile = context.get("appArmorProfile")
        kind = str(as_map(profile).get("type", ""))
        return kind if isinstance(profile, dict) and kind not in ("RuntimeDefault", "Localhost") else None

    pod_value = bad(pod.security)
    found = [(name, value) for name, _, context in pod.containers if (value := bad(context)) is not None]
    values = sorted({value for _, value in found} | ({pod_value} if pod_value is not None else set()))
    setters = _setters(pod_value is not None, [name for name, _ in found])
    annotations = sorted(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in pod.annotations.items()
                         if key.startswith(_APPARMOR) and value not in ("", "runtime/default")
                         and not value.startswith("localhost/"))
    if annotations:
        values += annotations
        setters = " and ".join(filter(None, [setters, _plural("annotation", annotations)]))
    if not setters:
        return None
    return (_plural("forbidden AppArmor profile", values),
            f"{setters} must not set AppArmor profile type to {_quote(values)}")


CAPABILITIES = frozenset(("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
                           "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"))


def _added(pod: Pod, allowed: frozenset[str]) -> tuple[list[str], list[str]]:
    names, forbidden = [], set()
    for name, _, context in pod.containers:
        bad = {str(capability) for capability in as_list(as_map(context.get("capabilities")).get("add"))} - allowed
        forbidden |= bad
        if bad:
            names.append(name)
    return names, sorted(forbidden)


def capabilities_baseline(pod: Pod) -> Failure:
    names, forbidden = _added(pod, CAPABILITIES)
    return ("non-default capabilities", f"{_named(names)} must not include {_quote(forbidden)} in "
            "securityContext.capabilities.add") if names else None


def host_namespaces(pod: Pod) -> Failure:
    shared = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(field) is True]
    return ("host namespaces", ", ".join(shared)) if shared else None


def _volumes(pod: Pod) -> list[tuple[str, dict[str, Any]]]:
    return [(str(volume.get("name", "")), volume) for volume in map(as_map, as_list(pod.spec.get("volumes")))]


def host_path_volumes(pod: Pod) -> Failure:
    mounted = [name for name, volume in _volumes(pod) if volume.get("hostPath") is not None]
    return ("hostPath volumes", f"{_plural('volume', mounted)} {_quote(mounted)}") if mounted else None


def host_ports(pod: Pod) -> Failure:
    names, ports = [], set()
    for name, container, _ in pod.containers:
        used = {str(number) for port in as_list(container.get("ports")) if (number := as_map(port).get("hostPort"))}
        ports |= used
        if used:
            names.append(name)
    return ("hostPort", f"{_named(names)} {'uses' if len(names) == 1 else 'use'} {_plural('hostPort', ports)} "
            f"{', '.join(sorted(ports))}") if names else None


_HANDLERS = frozenset(("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"))


def host_probes(pod: Pod) -> Failure:
    names, hosts = set(), set()
    for name, container, _ in pod.containers:
        if _HANDLERS.isdisjoint(container):
            continue
        lifecycle = as_map(container.get("lifecycle"))
        handlers = [handler for handler in (
            container.get("livenessProbe"), container.get("readinessProbe"), container.get("startupProbe"),
            lifecycle.get("postStart"), lifecycle.get("preStop")) if handler is not None]
        used = {str(host) for handler in handlers for action in ("httpGet", "tcpSocket")
                if (host := as_map(as_map(handler).get(action)).get("host"))}
        hosts |= used
        if used:
            names.add(name)
    return ("probe or lifecycle host", f"{_named(sorted(names))} {'uses' if len(names) == 1 else 'use'} "
            f"{_plural('probe or lifecycle host', hosts)} {_quote(sorted(hosts))}") if names else None


def privileged(pod: Pod) -> Failure:
    names = [name for name, _, context in pod.containers if context.get("privileged") is True]
    return ("privileged", f"{_named(names)} must not set securityContext.privileged=true") if names else None


def proc_mount(pod: Pod) -> Failure:
    found = [(name, str(value)) for name, _, context in pod.containers
             if (value := context.get("procMount")) is not None and value != "Default"]
    return ("procMount", f"{_named([name for name, _ in found])} must not set securityContext.procMount to "
            f"{_quote(sorted({value for _, value in found}))}") if found else None


def se_linux(*allowed: str) -> Check:
    permitted = frozenset(("", "container_t", "container_init_t", "container_kvm_t", *allowed))

    def check(pod: Pod) -> Failure:
        types: set[str] = set()
        fields: set[str] = set()

        def bad(context: dict[str, Any]) -> bool:
            options = as_map(context.get("seLinuxOptions"))
            kind = str(options.get("type") or "")
            wrong = {field for field in ("user", "role") if options.get(field)}
            fields.update(wrong)
            if kind not in permitted:
                types.add(kind)
            return bool(wrong) or kind not in permitted

        pod_bad = bad(pod.security)
        names = [name for name, _, context in pod.containers if bad(context)]
        if not (setters := _setters(pod_bad, names)):
            return None
        data = [*([f"{_plural('type', types)} {_quote(sorted(types))}"] if types else []),
                *(f"{field} may not be set" for field in ("user", "role") if field in fields)]
        return "seLinuxOptions", f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"

    return check


def seccomp_annotations(pod: Pod) -> Failure:
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + name for name, _, _ in pod.containers)]
    bad = sorted({f"{key}={json.dumps(value, ensure_ascii=False)}" for key in keys
                  if (value := pod.annotations.get(key)) is not None
                  and value not in ("runtime/default", "docker/default") and not value.startswith("localhost/")})
    return ("seccompProfile", f"forbidden {_plural('annotation', bad)} {', '.join(bad)}") if bad else None


def _seccomp(context: dict[str, Any]) -> tuple[bool, str | None]:
    """(a profile is set, its type where that is forbidden)."""
    profile = context.get("seccompProfile")
    kind = str(as_map(profile).get("type", ""))
    return isinstance(profile, dict), None if kind in ("RuntimeDefault", "Localhost") else kind


def seccomp_baseline(pod: Pod) -> Failure:
    pod_set, pod_value = _seccomp(pod.security)
    found = [(name, str(value)) for name, _, context in pod.containers
             for is_set, value in [_seccomp(context)] if is_set and value is not None]
    pod_bad = pod_set and pod_value is not None
    values = {value for _, value in found} | ({str(pod_value)} if pod_bad else set())
    setters = _setters(pod_bad, [name for name, _ in found])
    return ("seccompProfile", f"{setters} must not set securityContext.seccompProfile.type to "
            f"{_quote(sorted(values))}") if setters else None


def sysctls(*allowed: str) -> Check:
    permitted = frozenset(allowed)

    def check(pod: Pod) -> Failure:
        found = [str(as_map(entry).get("name", "")) for entry in as_list(pod.security.get("sysctls"))]
        bad = [name for name in found if name not in permitted]
        return ("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def windows_host_process(pod: Pod) -> Failure:
    def bad(context: dict[str, Any]) -> bool:
        return as_map(context.get("windowsOptions")).get("hostProcess") is True

    setters = _setters(bad(pod.security), [name for name, _, context in pod.containers if bad(context)])
    return ("hostProcess",
            f"{setters} must not set securityContext.windowsOptions.hostProcess=true") if setters else None


# ── restricted ──────────────────────────────────────────────────────────────────────────────────────────────────────

def allow_privilege_escalation(pod: Pod) -> Failure:
    names = [name for name, _, context in pod.containers if context.get("allowPrivilegeEscalation") is not False]
    return ("allowPrivilegeEscalation != false",
            f"{_named(names)} must set securityContext.allowPrivilegeEscalation=false") if names else None


def capabilities_restricted(pod: Pod) -> Failure:
    missing = [name for name, _, context in pod.containers
               if "ALL" not in as_list(as_map(context.get("capabilities")).get("drop"))]
    names, forbidden = _added(pod, frozenset(("NET_BIND_SERVICE",)))
    details = [*([f'{_named(missing)} must set securityContext.capabilities.drop=["ALL"]'] if missing else []),
               *([f"{_named(names)} must not include {_quote(forbidden)} in securityContext.capabilities.add"]
                 if names else [])]
    return ("unrestricted capabilities", "; ".join(details)) if details else None


VOLUMES = ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
            "secret")
BAD_VOLUMES = ("hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd",
                "flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
                "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos")


def restricted_volumes(pod: Pod) -> Failure:
    found = [(name, next((kind for kind in BAD_VOLUMES if volume.get(kind) is not None), "unknown"))
             for name, volume in _volumes(pod) if all(volume.get(kind) is None for kind in VOLUMES)
             # The API server makes a volume without any source an emptyDir before it asks.
             and any(key != "name" and value is not None for key, value in volume.items())]
    names, kinds = [name for name, _ in found], sorted({kind for _, kind in found})
    return ("restricted volume types", f"{_plural('volume', names)} {_quote(names)} "
            f"{'uses' if len(names) == 1 else 'use'} {_plural('restricted volume type', kinds)} {_quote(kinds)}"
            ) if found else None


def run_as_non_root(pod: Pod) -> Failure:
    at_pod = pod.security.get("runAsNonRoot")
    explicit = [name for name, _, context in pod.containers if context.get("runAsNonRoot") is False]
    if setters := _setters(at_pod is False, explicit):
        return "runAsNonRoot != true", f"{setters} must not set securityContext.runAsNonRoot=false"
    implicit = [name for name, _, context in pod.containers
                if context.get("runAsNonRoot") is None and at_pod is not True]
    return ("runAsNonRoot != true",
            f"pod or {_named(implicit)} must set securityContext.runAsNonRoot=true") if implicit else None


def run_as_user(pod: Pod) -> Failure:
    def root(context: dict[str, Any]) -> bool:
        return context.get("runAsUser") == 0 and context.get("runAsUser") is not False

    setters = _setters(root(pod.security), [name for name, _, context in pod.containers if root(context)])
    return ("runAsUser=0", f"{setters} must not set runAsUser=0") if setters else None


def seccomp_restricted(pod: Pod) -> Failure:
    if (failure := seccomp_baseline(pod)) is not None:
        return failure
    implicit = [name for name, _, context in pod.containers if not _seccomp(context)[0]]
    return ("seccompProfile", f'pod or {_named(implicit)} must set securityContext.seccompProfile.type to '
            '"RuntimeDefault" or "Localhost"') if implicit and not _seccomp(pod.security)[0] else None


def unless_windows(check: Check) -> Check:
    return lambda pod: None if pod.windows else check(pod)


def unless_user_namespace(check: Check) -> Check:
    return lambda pod: None if pod.user_namespace else check(pod)
