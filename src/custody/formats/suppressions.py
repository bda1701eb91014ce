"""Files of suppressions: alerts that somebody has explained, until when, and who that is."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.formats import yaml
from custody.formats.fields import Fields

MOST = 10_000
NEVER = "never"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Suppression(NamedTuple):
    name: str
    rules: tuple[str, ...]
    """Names of rules, in which * and ? stand for any text and any letter."""
    source: str
    """Of which alerts it is; empty is any."""
    match: str
    """A condition on the alert's output fields, in the language of rules."""
    reason: str
    owner: str
    until: datetime | None
    """When it ends; None where it says `never`."""
    place: str
    """Where it stands, for messages."""


def read(data: bytes, where: str) -> list[Suppression]:
    """Raises MalformedError, and UnsupportedError for a key that is not known."""
    suppressions: list[Suppression] = []
    for number, document in enumerate(yaml.documents(data, where)):
        fields = Fields(document, where if number == 0 else f"{where}[{number}]")
        listed = fields.each("suppressions")
        fields.done()
        if not listed:
            raise MalformedError(fields.path("suppressions"), got="none", expected="a list of suppressions")
        suppressions += map(_suppression, listed)
    if len(suppressions) > MOST:
        raise MalformedError(where, got=f"{len(suppressions)} suppressions", expected=f"at most {MOST}")
    names: set[str] = set()
    for suppression in suppressions:
        if suppression.name in names:
            raise MalformedError(f"{suppression.place}.name", got=suppression.name, expected="a name of its own")
        names.add(suppression.name)
    return suppressions


def _suppression(fields: Fields) -> Suppression:
    name, rules = fields.need("name", str), fields.texts("rules")
    if not rules or not all(rules):
        raise MalformedError(fields.path("rules"), got="none" if not rules else "an empty name",
                             expected="names of rules; \"*\" is all of them")
    suppression = Suppression(
        name, tuple(rules), fields.take("source", str) or "", fields.need("match", str).strip(),
        fields.need("reason", str).strip(), fields.need("owner", str).strip(),
        _until(fields.need("until", str), fields.path("until")), fields.where)
    fields.done()
    for key, value in (("match", suppression.match), ("reason", suppression.reason), ("owner", suppression.owner)):
        if not value:
            raise MalformedError(fields.path(key), got="an empty text", expected="a condition" if key == "match" else
                                 "a text")
    return suppression


def _until(text: str, where: str) -> datetime | None:
    """A day counts to its end, in UTC."""
    if text == NEVER:
        return None
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or len(text) < 12:
        raise MalformedError(where, got=text, expected=f"a day such as 2027-01-31, a time of RFC 3339, or {NEVER}")
    if moment.tzinfo is None:
        raise UnsupportedError(where, "a time without its zone", hint="write 2027-01-31T18:00:00Z")
    return moment.astimezone(UTC)
