"""Times of events as nanoseconds since 1970."""

from __future__ import annotations

import calendar
import re

_FORM = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)")
_SECOND = 1_000_000_000
_SCALE: list[int] = [10 ** (9 - digits) for digits in range(10)]
_known: dict[str, int] = {}
"""The second of a text's first 19 characters: events come thousands to the second."""


def nanoseconds(text: object) -> int | None:
    """Of RFC 3339, as Go and Falco write it, with up to nine digits of a second; None where it is no such time."""
    if not isinstance(text, str):
        return None
    if text[-1:] == "Z" and (second := _known.get(text[:19])) is not None:
        fraction = text[20:-1]
        if not fraction:
            return second if len(text) == 20 else None
        if text[19] == "." and len(fraction) <= 9 and fraction.isascii() and fraction.isdecimal():
            return second + int(fraction) * _SCALE[len(fraction)]
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year or 1, month)[1] and hour < 24 and minute < 60
            and second <= 60 and year):
        return None
    whole = calendar.timegm((year, month, day, hour, minute, second)) * _SECOND
    if match[8] == "Z":
        if len(_known) > 1024:
            _known.clear()
        _known[text[:19]] = whole
    else:
        zone = match[8].replace(":", "")
        whole -= (int(zone[1:3]) * 3600 + int(zone[3:5]) * 60) * _SECOND * (-1 if zone[0] == "-" else 1)
    return whole + int((match[7] or "").ljust(9, "0"))
