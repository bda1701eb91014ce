"""Event sources whose events are JSON, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policylang.falco.values.audit import AuditEvent
from policylang.falco.values.audit import events as audit_events
from policylang.falco.values.cloudtrail import CloudTrailEvent
from policylang.falco.values.gcp import GcpEvent
from policylang.falco.values.github import GithubEvent
from policylang.falco.values.jsonevent import JsonEvent, Object
from policylang.falco.values.okta import OktaEvent, OktaHistory

Reader = Callable[[Object], JsonEvent]
_PLAIN: dict[str, type[JsonEvent]] = {
    "k8s_audit": AuditEvent, "aws_cloudtrail": CloudTrailEvent, "gcp_auditlog": GcpEvent, "github": GithubEvent}
SOURCES = (*_PLAIN, "okta")


def reader(source: str) -> Reader | None:
    """What reads one stream of events of `source`; None where its events are no JSON. Each stream has a reader of its
    own: Okta's counts are of the events before."""
    if source == "okta":
        history = OktaHistory()
        return lambda event: OktaEvent(event, history)
    return _PLAIN.get(source)


def source_of(event: Any) -> str | None:
    """Whose event a JSON object is, by the fields that only its kind has; None where nobody knows."""
    if not isinstance(event, dict):
        return None
    if event.get("kind") == "Event" and isinstance(event.get("stage"), str):
        return "k8s_audit"
    if isinstance(event.get("eventSource"), str) and isinstance(event.get("eventName"), str):
        return "aws_cloudtrail"
    if isinstance(event.get("protoPayload"), dict):
        return "gcp_auditlog"
    if isinstance(event.get("webhook_type"), str):
        return "github"
    if isinstance(event.get("eventType"), str) and isinstance(event.get("actor"), dict) and "published" in event:
        return "okta"
    return None


def split(document: Any) -> list[Object]:
    """The events in one JSON document: an object, a list of them, an audit EventList, CloudTrail's `Records`.

    ValueError where something in it is no object.
    """
    if isinstance(document, dict) and document.get("kind") == "EventList":
        return audit_events(document)
    if isinstance(document, dict) and isinstance(document.get("Records"), list):
        document = document["Records"]
    objects = document if isinstance(document, list) else [document]
    if not all(isinstance(event, dict) for event in objects):
        raise ValueError("an event is a JSON object")
    return objects
