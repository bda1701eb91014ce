"""Fields of Google Cloud's audit log entries (plugins/gcpaudit/pkg/gcpaudit/extract.go).

`gcp.request`, `gcp.policyDelta` and `gcp.authorizationInfo` are the JSON of what stands there, as their descriptions
say and as rules that look for `allUsers` in them need it; one version of the plugin gives empty texts.
"""

from __future__ import annotations

from typing import ClassVar

from policylang.falco.values.jsonevent import ABSENT, Extract, JsonEvent, Object, at, common, nanoseconds, one, text_of


def _label(event: Object, name: str) -> str | None:
    value = at(event, ("resource", "labels", name))
    return None if value is ABSENT else text_of(value)


def _location(event: Object, _: str | None) -> str | None:
    for name in ("location", "region"):
        if (place := _label(event, name)) is not None:
            return place
    zone = _label(event, "zone") or ""
    return (zone[:-2] if len(zone) > 2 else zone) or None  # us-central1-a is in us-central1


def _delta(event: Object, _: str | None) -> str | None:
    bucket = at(event, ("resource", "type")) == "gcs_bucket"
    value = at(event, ("protoPayload", *(("serviceData", "policyDelta") if bucket else ("metadata", "datasetChange")),
                       "bindingDeltas"))
    return None if value is ABSENT else text_of(value)


def _sink(event: Object, _: str | None) -> str | None:
    return _label(event, "name") if at(event, ("resource", "type")) == "logging_sink" else None


def _time(event: Object) -> int | None:
    return nanoseconds(event.get("timestamp"))


class GcpEvent(JsonEvent):
    """Answers `get(field)` from one log entry."""

    __slots__ = ()
    fields: ClassVar[dict[str, Extract]] = {
        **common("gcp_auditlog", "gcpaudit", _time),
        "gcp.user": one("protoPayload", "authenticationInfo", "principalEmail"),
        "gcp.callerIP": one("protoPayload", "requestMetadata", "callerIp"),
        "gcp.userAgent": one("protoPayload", "requestMetadata", "callerSuppliedUserAgent"),
        "gcp.authorizationInfo": one("protoPayload", "authorizationInfo"),
        "gcp.serviceName": one("protoPayload", "serviceName"), "gcp.policyDelta": _delta,
        "gcp.request": one("protoPayload", "request"), "gcp.methodName": one("protoPayload", "methodName"),
        "gcp.cloudfunctions.function": one("resource", "labels", "function_name"),
        "gcp.cloudsql.databaseId": one("resource", "labels", "database_id"),
        "gcp.compute.instanceId": one("resource", "labels", "instance_id"),
        "gcp.compute.networkId": one("resource", "labels", "network_id"),
        "gcp.compute.subnetwork": one("resource", "labels", "subnetwork_name"),
        "gcp.compute.subnetworkId": one("resource", "labels", "subnetwork_id"),
        "gcp.dns.zone": one("resource", "labels", "zone_name"),
        "gcp.iam.serviceAccount": one("resource", "labels", "email_id"),
        "gcp.iam.serviceAccountId": one("resource", "labels", "unique_id"), "gcp.location": _location,
        "gcp.logging.sink": _sink, "gcp.projectId": one("resource", "labels", "project_id"),
        "gcp.resourceName": one("protoPayload", "resourceName"), "gcp.resourceType": one("resource", "type"),
        "gcp.resourceLabels": one("resource", "labels"), "gcp.storage.bucket": one("resource", "labels", "bucket_name"),
        "gcp.time": one("timestamp"),
    }
