"""What custody's evidence says of images, as an external data provider of Gatekeeper says it.

Of each key, an image reference, the map that policies see (`policy.evidenceview`), or an error where nothing is known
of the image: that it is not there, or that it could not be had. One key's error says nothing of the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet, State, unreached
from custody.formats import externaldata
from custody.kit.clock import Clock
from custody.policy.evidencecontents import KINDS, types_of
from custody.policy.evidencesigners import Who
from custody.policy.evidenceview import view
from custody.policy.images import Image, image
from custody.services.gather import Gatherer

_LOG = logging.getLogger(__name__)
MAX_IMAGES = 100
"""Keys of one request."""
_ROOM = externaldata.MAX_SIZE - 64 * 1024  # bytes of all items: what is around them is small
_GATHERING = 0.8  # of the seconds of a request; the rest is for reading what came
_LEAST = 512  # bytes of what is said of an image of which nothing is vouched for


class EvidenceAnswers:
    """`who`: whose statements count, by kind, and no other kinds; None: whoever is vouched for, and all kinds."""

    def __init__(self, gatherer: Gatherer, clock: Clock, *, seconds: float, keys: Sequence[bytes] = (),
                 who: Who | None = None) -> None:
        """`seconds` for all keys of a request. `keys`: PEM public keys that count beside the trust root."""
        self._gatherer, self._clock, self._seconds = gatherer, clock, seconds
        self._keys, self._who = tuple(keys), who

    async def evidence(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """An item for each key. Raises MalformedError for more keys than are looked at."""
        until = time.monotonic() + self._seconds
        gathered = await self._gathered(keys, types_of(KINDS if self._who is None else self._who))
        return await asyncio.to_thread(self._told, gathered, until)  # SBOMs are read for it

    async def digests(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The image's name with the digest that its tag means, for mutators: `ghcr.io/org/app@sha256:…`.

        Raises as `evidence` does.
        """
        gathered = await self._gathered(keys, frozenset())
        return [_item(key, known, lambda named, about: f"{named.ref.name}@{about.subject}")
                for key, known in gathered.items()]

    def _told(self, gathered: Mapping[str, _Known], until: float) -> list[dict[str, Any]]:
        """`until`: by the monotonic clock, when nobody waits any more for what is still to be read."""
        now, left = self._clock(), _ROOM
        items = []
        for key, known in gathered.items():
            if left < _LEAST:
                item = _unread(key, f"{left} bytes are left of {_ROOM} for one request")
            elif time.monotonic() > until:
                item = _unread(key, f"not read within {self._seconds:g} s")
            else:
                item = _item(key, known, lambda named, about: view(named, about, now, self._who))
                size = len(msgspec.json.encode(item))
                if size > left:
                    item = _unread(key, f"its evidence has {size} bytes, and {left} are left of {_ROOM} for one "
                                        "request")
                else:
                    left -= size
            items.append(item)
        return items

    async def _gathered(self, keys: Sequence[str], types: frozenset[str]) -> Mapping[str, _Known]:
        if len(keys) > MAX_IMAGES:
            raise MalformedError("request.keys", got=f"{len(keys)} keys", expected=f"at most {MAX_IMAGES}")
        named: dict[str, Image | MalformedError] = {}
        for key in keys:
            try:
                named[key] = image(key)
            except MalformedError as error:
                named[key] = error
        names = {part.name: types for part in named.values() if isinstance(part, Image)}
        evidence = await self._of(names) if names else {}
        return {key: (part, evidence[part.name]) if isinstance(part, Image) else part for key, part in named.items()}

    async def _of(self, names: Mapping[str, frozenset[str]]) -> Mapping[str, EvidenceSet]:
        """All at once, so that the gatherer's bounds hold for them together; of one that is late the others are not."""
        seconds = self._seconds * _GATHERING
        try:
            async with asyncio.timeout(seconds):
                return await self._gatherer.gather(names, self._keys)
        except TimeoutError:
            late = unreached(State.UNVERIFIABLE, f"not gathered within {seconds:g} s")
            return {**dict.fromkeys(names, late), **await self._gatherer.held(names, self._keys)}
        except CustodyError as error:
            return dict.fromkeys(names, unreached(State.UNVERIFIABLE, error.message))


_Known = tuple[Image, EvidenceSet] | MalformedError


def _item(key: str, known: _Known, value: Callable[[Image, EvidenceSet], Any]) -> dict[str, Any]:
    if isinstance(known, MalformedError):
        return {"key": key, "error": known.message}
    named, about = known
    if not about.subject:
        rejected = next(iter(about.rejected), None)
        return _unread(key, "nothing is known of it") if rejected is None else (
            {"key": key, "error": f"{rejected.state}: {rejected.reason}"})
    if about.tag_since is not None and not named.digest:
        return _unread(key, "what its tag means cannot be looked up now")
    try:
        return {"key": key, "value": value(named, about)}
    except Exception as error:
        # What somebody put beside one image costs that image, and none of those beside it.
        _LOG.exception("evidence of an image could not be told")
        return _unread(key, f"reading its evidence failed with {type(error).__name__}")


def _unread(key: str, reason: str) -> dict[str, Any]:
    return {"key": key, "error": f"{State.UNVERIFIABLE}: {reason}"}
