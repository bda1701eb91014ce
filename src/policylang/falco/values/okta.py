"""Fields of Okta's System Log (plugins/okta/pkg/okta/okta.go, its README; developer.okta.com "System Log API").

What a log entry does not have is an empty text, as the plugin has it. `okta.org` is the plugin's own setting, and null.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar

from policylang.falco.values.jsonevent import ABSENT, Extract, JsonEvent, Object, at, common, nanoseconds, text_of

_DENIED = "user.mfa.okta_verify.deny_push"
_FAILED = "user.authentication.auth_via_mfa"
KEPT_FOR = 84_600 * 1_000_000_000  # as the plugin's default, nanoseconds
MOST_TIMES = 200
MOST_ACTORS = 10_000


class OktaHistory:
    """When each actor failed or denied a second factor, as far as it is counted. Of one stream of events."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, list[int]] = OrderedDict()

    def note(self, event: Object) -> None:
        time = nanoseconds(event.get("published"))
        if (key := counted(event)) is None or time is None:
            return
        times = self._times.pop(key, [])
        self._times[key] = [*(before for before in times if before > time - KEPT_FOR), time][-MOST_TIMES:]
        if len(self._times) > MOST_ACTORS:
            self._times.popitem(last=False)

    def count(self, event: Object, seconds: int) -> int | None:
        """How often that was in the seconds before, with this event; None of other events."""
        time = nanoseconds(event.get("published"))
        if (key := counted(event)) is None or time is None:
            return None
        return sum(time - seconds * 1_000_000_000 < before <= time for before in self._times.get(key, ()))


def counted(event: Object) -> str | None:
    """What its count is kept by: the plugin counts denied pushes and failed factors each by its own type, and both
    fields tell the count of the event's type."""
    kind = event.get("eventType")
    if kind == _DENIED or (kind == _FAILED and at(event, ("outcome", "result")) == "FAILURE"):
        return f"{kind}:{_text('actor', 'id')(event, None)}"[:300]
    return None


def _text(*keys: str) -> Extract:
    def extract(event: Object, _: str | None) -> str:
        value = at(event, keys)
        return "" if value is ABSENT or value is None else text_of(value)

    return extract


def _coordinate(name: str) -> Extract:
    def extract(event: Object, _: str | None) -> str:
        value = at(event, ("client", "geographicalContext", "geolocation", name))
        return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "0"

    return extract


def _number(*keys: str) -> Extract:
    def extract(event: Object, _: str | None) -> int:
        value = at(event, keys)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64 else 0

    return extract


def _app(event: Object, _: str | None) -> str | None:
    uri = at(event, ("debugContext", "debugData", "requestUri"))
    return uri.split("/")[2] if isinstance(uri, str) and uri.startswith("/app/") else None


def _targets(event: Object) -> list[Any]:
    listed = event.get("target")
    return listed if isinstance(listed, list) else []


def _target(kind: str, key: str) -> Extract:
    """Of the last target of that kind; null where there is none."""

    def extract(event: Object, _: str | None) -> str | None:
        return next((_text(key)(target, None) for target in reversed(_targets(event))
                     if isinstance(target, dict) and target.get("type") == kind), None)

    return extract


def _displayed(event: Object, argument: str | None) -> str | None:
    """All targets' names, or one's."""
    names = [_text("displayName")(target, None) for target in _targets(event) if isinstance(target, dict)]
    if argument is None:
        return ",".join(names) or None
    return names[int(argument)] if argument.isdecimal() and len(argument) < 10 and int(argument) < len(names) else None


def _time(event: Object) -> int | None:
    return nanoseconds(event.get("published"))


_PARTS = {
    "okta.evt.type": "eventType", "okta.evt.legacytype": "legacyEventType", "okta.severity": "severity",
    "okta.message": "displayMessage", "okta.published": "published", "okta.actor.id": "actor.id",
    "okta.actor.Type": "actor.type", "okta.actor.alternateid": "actor.alternateId",
    "okta.actor.name": "actor.displayName", "okta.client.zone": "client.zone", "okta.client.ip": "client.ipAddress",
    "okta.client.device": "client.device", "okta.client.id": "client.id",
    "okta.client.geo.city": "client.geographicalContext.city",
    "okta.client.geo.state": "client.geographicalContext.state",
    "okta.client.geo.country": "client.geographicalContext.country",
    "okta.client.geo.postalcode": "client.geographicalContext.postalCode", "okta.useragent.os": "client.userAgent.os",
    "okta.useragent.browser": "client.userAgent.browser", "okta.useragent.raw": "client.userAgent.rawUserAgent",
    "okta.result": "outcome.result", "okta.reason": "outcome.reason", "okta.transaction.id": "transaction.id",
    "okta.transaction.type": "transaction.type", "okta.requesturi": "debugContext.debugData.requestUri",
    "okta.behaviors": "debugContext.debugData.behaviors",
    "okta.logonlysecuritydata": "debugContext.debugData.logOnlySecurityData",
    "okta.principal.id": "debugContext.debugData.originalPrincipal.id",
    "okta.principal.alternateid": "debugContext.debugData.originalPrincipal.alternateId",
    "okta.principal.type": "debugContext.debugData.originalPrincipal.type",
    "okta.principal.name": "debugContext.debugData.originalPrincipal.displayName",
    "okta.authentication.step": "authenticationContext.authenticationStep",
    "okta.authentication.sessionid": "authenticationContext.externalSessionId",
    "okta.authentication.provider": "authenticationContext.authenticationProvider",
    "okta.authentication.credentialprovider": "authenticationContext.credentialProvider",
    "okta.security.asorg": "securityContext.asOrg", "okta.security.isp": "securityContext.isp",
    "okta.security.domain": "securityContext.domain", "okta.security.isproxy": "securityContext.isProxy",
}


class OktaEvent(JsonEvent):
    """Answers `get(field)` from one log entry, which is noted in the history that its counts are of."""

    __slots__ = ("history",)
    fields: ClassVar[dict[str, Extract]] = {
        **common("okta", "okta", _time), **{name: _text(*place.split(".")) for name, place in _PARTS.items()},
        "okta.app": _app, "okta.client.geo.lat": _coordinate("lat"), "okta.client.geo.lon": _coordinate("lon"),
        "okta.security.asnumber": _number("securityContext", "asNumber"),
        "okta.target.user.id": _target("User", "id"), "okta.target.user.alternateid": _target("User", "alternateId"),
        "okta.target.user.name": _target("User", "displayName"), "okta.target.group.id": _target("UserGroup", "id"),
        "okta.target.group.alternateid": _target("UserGroup", "alternateId"),
        "okta.target.group.name": _target("UserGroup", "displayName"),
        "okta.target.app.alternateid": _target("AppInstance", "alternateId"), "okta.targets.displayName": _displayed,
    }

    def __init__(self, event: Object, history: OktaHistory | None = None) -> None:
        super().__init__(event)
        self.history = OktaHistory() if history is None else history
        self.history.note(event)

    def _read(self, name: str) -> Any:
        stem, _, argument = name.partition("[")
        if stem in ("okta.mfa.failure.countlast", "okta.mfa.deny.countlast"):
            seconds = argument[:-1]
            return self.history.count(self.event, int(seconds)) if seconds.isdecimal() and len(seconds) < 10 else None
        return super()._read(name)
