"""`url=…,start-time=…`: how cosign's flags describe one service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from custody.errors import UsageError
from custody.kit.clock import parse_rfc3339
from custody.trust.roots import Validity


class Spec:
    """The keys of one flag's value, `url` among them. Raises UsageError for one that is missing, unknown or given
    twice, and for a URL that is none.
    """

    def __init__(self, flag: str, text: str, required: Collection[str], optional: Collection[str]) -> None:
        self.flag = flag
        pairs: dict[str, str] = {}
        for pair in text.split(","):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals:
                raise UsageError(f"{flag}: got {pair!r}, expected KEY=VALUE", hint=f"keys: {', '.join(required)}")
            if name not in required and name not in optional:
                raise UsageError(f"{flag}: {name}: is no key of it", hint=f"keys: {', '.join([*required, *optional])}")
            if name in pairs:
                raise UsageError(f"{flag}: {name}: is given twice")
            pairs[name] = value
        for name in required:
            if not pairs.get(name):
                raise UsageError(f"{flag}: {name}: not given", hint=f"keys: {', '.join([*required, *optional])}")
        if not (url := pairs["url"]).startswith(("http://", "https://")):
            raise UsageError(f"{flag}: url: got {url!r}, expected an http or https URL")
        self.values: Mapping[str, str] = pairs

    def valid(self, start: datetime | None = None) -> Validity:
        """From `start-time`, else `start`, to `end-time`. Raises UsageError."""
        begin, end = (parse_rfc3339(text, f"{self.flag}: {name}") if (text := self.values.get(name)) else None
                      for name in ("start-time", "end-time"))
        begin = begin or start
        if begin is not None and end is not None and end < begin:
            raise UsageError(f"{self.flag}: end-time is before the start")
        return Validity(begin, end)
