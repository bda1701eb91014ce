"""Pages of NVD's CVE API 2.0: all records once, then those that were modified since, and on from where it broke off.

A cursor is what all is read up to, and within a span that is being read its end and the next page:
`2026-11-29T00:00:00Z`, `2026-11-29T00:00:00Z 2026-12-29T00:00:00Z 4000`; before anything was read whole, ` END PAGE`.
Spans have at most 120 days (https://nvd.nist.gov/developers/vulnerabilities). Who has no key may ask five times in 30
seconds, who has one (NVD_API_KEY) fifty times.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from urllib.parse import urlencode

from custody.errors import MalformedError
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.ports.http import place_of
from custody.services.downloads import LARGEST_LIST, Downloads, Wait

_SPAN = timedelta(days=120)
_SIZE = 2000
_MOST_PAGES = 10_000
_PAUSE, _PAUSE_WITH_KEY = 6.0, 0.6
_PATIENCE = 30.0


async def pages(downloads: Downloads, url: str, cursor: str, now: datetime, wait: Wait
                ) -> AsyncIterator[tuple[bytes | None, str]]:
    """Each page, None for one without records, and the cursor for when it is kept. Raises as `Downloads.get` does, and
    MalformedError for what is no page.
    """
    now = now.replace(microsecond=0)
    key = os.environ.get("NVD_API_KEY", "")
    headers = {"apiKey": key} if key else {}
    since, end, start = _position(cursor, now)
    for number in range(_MOST_PAGES):
        if since is not None and since >= now:
            return
        if number:
            await wait(_PAUSE_WITH_KEY if key else _PAUSE)
        asked: dict[str, object] = {"resultsPerPage": _SIZE, "startIndex": start}
        if since is not None:
            asked |= {"lastModStartDate": format_rfc3339(since), "lastModEndDate": format_rfc3339(end)}
        answer = await downloads.get(f"{url}?{urlencode(asked)}", headers, LARGEST_LIST, patience=_PATIENCE)
        body = answer[0] if answer else b""
        count, total = _counts(body, place_of(url), start)
        start += count
        if start < total:
            yield body, f"{format_rfc3339(since) if since else ''} {format_rfc3339(end)} {start}"
            continue
        yield body if count else None, format_rfc3339(end)
        since, start = end, 0
        end = min(since + _SPAN, now)
    raise MalformedError(place_of(url), got=f"more than {_MOST_PAGES} pages", expected="fewer")


def _position(cursor: str, now: datetime) -> tuple[datetime | None, datetime, int]:
    """From when, up to when, and from which record on; without a beginning, all that there is."""
    first, *rest = cursor.split(" ")
    since = parse_rfc3339(first, "cursor") if first else None
    if rest:
        return since, parse_rfc3339(rest[0], "cursor"), int(rest[1])
    return since, min(since + _SPAN, now) if since else now, 0


def _counts(body: bytes, where: str, start: int) -> tuple[int, int]:
    document = strictjson.loads(body, where, max_size=LARGEST_LIST, max_depth=64)
    stated = document if isinstance(document, dict) else {}
    rows, total, begins = stated.get("vulnerabilities"), stated.get("totalResults"), stated.get("startIndex")
    if not isinstance(rows, list) or not isinstance(total, int) or begins != start or (not rows and start < total):
        raise MalformedError(where, got=f"startIndex {begins!r}, totalResults {total!r}",
                             expected=f"a page of NVD's API from record {start} on")
    return len(rows), total
