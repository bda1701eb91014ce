"""Fields of Kubernetes audit events (plugins/k8saudit/pkg/k8saudit/extract.go, plugins/json/pkg/json/json.go)."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from policylang.falco.values.fields import CONTAINER_LISTS
from policylang.falco.values.jsonevent import (
    ABSENT,
    Extract,
    JsonEvent,
    Object,
    at,
    common,
    constant,
    nanoseconds,
    one,
    text_of,
)


def recognized(event: Any) -> bool:
    """Is it an audit event at all? The plugin refuses others: `data not recognized as a k8s audit event`."""
    return isinstance(event, dict) and event.get("kind") == "Event" and isinstance(event.get("stage"), str)


def events(document: Any) -> list[Object]:
    """The audit events of a JSON document: one, a list, or an EventList. ValueError where it is none of them."""
    if isinstance(document, dict) and document.get("kind") == "EventList":
        document = document.get("items")
    objects = document if isinstance(document, list) else [document]
    if not all(map(recognized, objects)):
        raise ValueError("data not recognized as a k8s audit event")
    return objects


# --- reading JSON ---------------------------------------------------------------------------------------------------

def _many(*keys: str) -> Extract:
    def extract(event: Object, argument: str | None) -> Any:
        listed = at(event, keys)
        if not isinstance(listed, list):
            return None
        chosen = _chosen(listed, argument)
        return None if chosen is None else [text_of(member) for member in chosen]

    return extract


def _chosen(values: list[Any], argument: str | None) -> list[Any] | None:
    """All of them, or the one at an index."""
    if argument is None:
        return values
    if not argument.isdecimal() or len(argument) > 9 or int(argument) >= len(values):
        return None
    return [values[int(argument)]]


def _each(place: tuple[str, ...], keys: tuple[str, ...], argument: str | None, event: Object) -> list[Any] | None:
    """What is at `keys` in each object of the list at `place`; lists on the way are gone through."""
    listed = at(event, place)
    if not isinstance(listed, list):
        return None
    chosen = _chosen(listed, argument)
    return None if chosen is None else [value for member in chosen for value in _through(member, keys)]


def _through(value: Any, keys: tuple[str, ...]) -> list[Any]:
    for number, key in enumerate(keys):
        if isinstance(value, list):
            return [leaf for member in value for leaf in _through(member, keys[number:])]
        value = value.get(key, ABSENT) if isinstance(value, dict) else ABSENT
        if value is ABSENT:
            break
    return [value]


def _listed(place: tuple[str, ...], *keys: str, flat: bool = False) -> Extract:
    """Those that are there. `flat`: each of them is a list, whose items count."""

    def extract(event: Object, argument: str | None) -> Any:
        values = _each(place, keys, argument, event)
        if values is None:
            return None
        if flat:
            values = [item for member in values if isinstance(member, list) for item in member]
        return [text_of(member) for member in values if member is not ABSENT]

    return extract


# --- containers -----------------------------------------------------------------------------------------------------

def _spec(containers: str) -> tuple[str, ...]:
    # Ephemeral containers are added through a subresource, whose object may be the pod or only their list.
    return "requestObject", "spec", containers


def _images(place: tuple[str, ...]) -> Extract:
    """Null where one container has no image."""

    def extract(event: Object, argument: str | None) -> Any:
        images = _each(place, ("image",), argument, event)
        return None if images is None or ABSENT in images else [text_of(image) for image in images]

    return extract


def _repositories(place: tuple[str, ...]) -> Extract:
    images = _images(place)

    def extract(event: Object, argument: str | None) -> Any:
        references = images(event, argument)
        return references and [image.partition(":")[0].partition("@")[0] for image in references]

    return extract


def _first(of: Extract) -> Extract:
    def extract(event: Object, _: str | None) -> Any:
        values = of(event, "0")
        return values[0] if values else None

    return extract


def _ports(place: tuple[str, ...]) -> Extract:
    def extract(event: Object, argument: str | None) -> Any:
        containers = _each(place, ("ports",), argument, event)
        if containers is None:
            return None
        ports = []
        for declared in containers:
            if declared is ABSENT:
                continue
            if not isinstance(declared, list):
                return None
            for port in declared:
                number = at(port, ("hostPort",))
                number = at(port, ("containerPort",)) if number is ABSENT else number
                if number is not ABSENT:
                    ports.append(text_of(number))
        return ports

    return extract


def _effective(place: tuple[str, ...], key: str) -> Extract:
    """A container's own id, else the pod's, else 0."""

    def extract(event: Object, argument: str | None) -> Any:
        pod = at(event, ("requestObject", "spec", "securityContext", key))
        ids = _each(place, ("securityContext", key), argument, event)
        default = "0" if pod is ABSENT else text_of(pod)
        return ids and [default if own is ABSENT else text_of(own) for own in ids]

    return extract


def _any_privileged(event: Object, _: str | None) -> str | None:
    flags = _each(_spec("containers"), ("securityContext", "privileged"), None, event)
    return None if flags is None else "true" if True in [flag is True for flag in flags] else "false"


def _of_containers(containers: str) -> dict[str, Extract]:
    place = _spec(containers)
    security = partial(_listed, place, "securityContext")
    extracts = {
        "name": _listed(place, "name"), "image": _images(place), "image.repository": _repositories(place),
        "command": _listed(place, "command", flat=True), "args": _listed(place, "args", flat=True),
        "host_port": _ports(place), "privileged": security("privileged"),
        "allow_privilege_escalation": security("allowPrivilegeEscalation"),
        "read_only_fs": security("readOnlyRootFilesystem"), "run_as_user": security("runAsUser"),
        "run_as_group": security("runAsGroup"), "eff_run_as_user": _effective(place, "runAsUser"),
        "eff_run_as_group": _effective(place, "runAsGroup"), "proc_mount": security("procMount"),
        "add_capabilities": security("capabilities", "add", flat=True),
    }
    return {f"ka.req.pod.{containers}.{name}": extract for name, extract in extracts.items()}


# --- the rest -------------------------------------------------------------------------------------------------------

_VOLUMES = ("requestObject", "spec", "volumes")
_RULES = ("requestObject", "rules")


def _parameter(event: Object, argument: str | None) -> str | None:
    uri = event.get("requestURI")
    try:
        parameters = parse_qs(urlsplit(uri).query, keep_blank_values=True, max_num_fields=1000) if isinstance(
            uri, str) else {}
    except ValueError:
        return None
    return parameters.get(argument or "", [None])[0]


def _host_path(event: Object, argument: str | None) -> str | None:
    """Deprecated: is this host path, or one that begins so, mounted?"""
    paths = _listed(_VOLUMES, "hostPath", "path")(event, None)
    if paths is None or not argument:
        return None
    prefix = argument[:-1] if argument.endswith("*") else None
    mounted = any(path == argument or (prefix is not None and path.startswith(prefix)) for path in paths)
    return "true" if mounted else "false"


def _volume_types(event: Object, argument: str | None) -> list[str] | None:
    volumes = at(event, _VOLUMES)
    chosen = _chosen(volumes, argument) if isinstance(volumes, list) else None
    return chosen and [key for volume in chosen if isinstance(volume, dict) for key in volume if key != "name"]


def _time(event: Object) -> int | None:
    return nanoseconds(event.get("stageTimestamp"))


_FIELDS: dict[str, Extract] = {
    **common("k8s_audit", "k8saudit", _time),
    "ka.auditid": one("auditID"), "ka.stage": one("stage"),
    "ka.auth.decision": one("annotations", "authorization.k8s.io/decision"),
    "ka.auth.reason": one("annotations", "authorization.k8s.io/reason"),
    "ka.auth.openshift.decision": one("annotations", "authentication.openshift.io/decision"),
    "ka.auth.openshift.username": one("annotations", "authentication.openshift.io/username"),
    "ka.user.name": one("user", "username"), "ka.user.groups": _many("user", "groups"),
    "ka.impuser.name": one("impersonatedUser", "username"), "ka.verb": one("verb"), "ka.uri": one("requestURI"),
    "ka.uri.param": _parameter, "ka.target.name": one("objectRef", "name"),
    "ka.target.namespace": one("objectRef", "namespace"), "ka.target.resource": one("objectRef", "resource"),
    "ka.target.subresource": one("objectRef", "subresource"),
    "ka.target.pod.name": one("responseObject", "involvedObject", "name"),
    "ka.req.binding.subjects": _many("requestObject", "subjects"),
    "ka.req.binding.role": one("requestObject", "roleRef", "name"),
    "ka.req.binding.subject.has_name": constant("true"),
    "ka.req.configmap.name": one("objectRef", "name"), "ka.req.configmap.obj": one("requestObject", "data"),
    "ka.req.container.image": _first(_images(_spec("containers"))),
    "ka.req.container.image.repository": _first(_repositories(_spec("containers"))),
    "ka.req.container.privileged": _any_privileged,
    "ka.req.pod.host_ipc": one("requestObject", "spec", "hostIPC"),
    "ka.req.pod.host_network": one("requestObject", "spec", "hostNetwork"),
    "ka.req.container.host_network": one("requestObject", "spec", "hostNetwork"),
    "ka.req.pod.host_pid": one("requestObject", "spec", "hostPID"),
    "ka.req.pod.run_as_user": one("requestObject", "spec", "securityContext", "runAsUser"),
    "ka.req.pod.run_as_group": one("requestObject", "spec", "securityContext", "runAsGroup"),
    "ka.req.pod.fs_group": one("requestObject", "spec", "securityContext", "fsGroup"),
    "ka.req.pod.supplemental_groups": _many("requestObject", "spec", "securityContext", "supplementalGroups"),
    "ka.req.role.rules": _many(*_RULES), "ka.req.role.rules.apiGroups": _listed(_RULES, "apiGroups", flat=True),
    "ka.req.role.rules.nonResourceURLs": _listed(_RULES, "nonResourceURLs", flat=True),
    "ka.req.role.rules.verbs": _listed(_RULES, "verbs", flat=True),
    "ka.req.role.rules.resources": _listed(_RULES, "resources", flat=True),
    "ka.req.service.type": one("requestObject", "spec", "type"),
    "ka.req.service.ports": _many("requestObject", "spec", "ports"),
    "ka.req.pod.volumes.hostpath": _listed(_VOLUMES, "hostPath", "path"), "ka.req.volume.hostpath": _host_path,
    "ka.req.pod.volumes.flexvolume_driver": _listed(_VOLUMES, "flexVolume", "driver"),
    "ka.req.pod.volumes.volume_type": _volume_types, "ka.resp.name": one("responseObject", "metadata", "name"),
    "ka.response.code": one("responseStatus", "code"), "ka.response.reason": one("responseStatus", "reason"),
    "ka.useragent": one("userAgent"), "ka.sourceips": _many("sourceIPs"),
    "ka.cluster.name": one("annotations", "cluster_name"),
}
for _name in CONTAINER_LISTS:
    _FIELDS |= _of_containers(_name)


class AuditEvent(JsonEvent):
    """Answers `get(field)` from the JSON of one audit event."""

    __slots__ = ()
    fields = _FIELDS
