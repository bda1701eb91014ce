"""What custody's evidence says of images, as an external data provider of Gatekeeper says it.

Of each key, an image reference, the map that policies see (`policy.evidenceview`), or an error where nothing is known
of the image: that it is not there, or that it could not be had. One key's error says nothing of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet, State, unreached
from custody.kit.clock import Clock
from custody.policy.evidenceview import KINDS, Who, types_of, view
from custody.policy.images import Image, image
from custody.services.gather import Gatherer

MAX_IMAGES = 100
"""Keys of one request."""


class EvidenceAnswers:
    """`who`: whose statements count, by kind, and no other kinds; None: whoever is vouched for, and all kinds."""

    def __init__(self, gatherer: Gatherer, clock: Clock, *, seconds: float, keys: Sequence[bytes] = (),
                 who: Who | None = None) -> None:
        """`seconds` for all keys of a request. `keys`: PEM public keys that count beside the trust root."""
        self._gatherer, self._clock, self._seconds = gatherer, clock, seconds
        self._keys, self._who = tuple(keys), who

    async def evidence(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """An item for each key. Raises MalformedError for more keys than are looked at."""
        gathered = await self._gathered(keys, types_of(KINDS if self._who is None else self._who))
        now = self._clock()
        return [_item(key, known, lambda named, about: view(named, about, now, self._who))
                for key, known in gathered.items()]

    async def digests(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The image's name with the digest that its tag means, for mutators: `ghcr.io/org/app@sha256:…`.

        Raises as `evidence` does.
        """
        gathered = await self._gathered(keys, frozenset())
        return [_item(key, known, lambda named, about: f"{named.ref.name}@{about.subject}")
                for key, known in gathered.items()]

    async def _gathered(self, keys: Sequence[str], types: frozenset[str]) -> Mapping[str, _Known]:
        if len(keys) > MAX_IMAGES:
            raise MalformedError("request.keys", got=f"{len(keys)} keys", expected=f"at most {MAX_IMAGES}")
        named: dict[str, Image | MalformedError] = {}
        for key in keys:
            try:
                named[key] = image(key)
            except MalformedError as error:
                named[key] = error
        names = [part.name for part in named.values() if isinstance(part, Image)]
        evidence = dict(zip(names, await asyncio.gather(*(self._of(name, types) for name in names)), strict=True))
        return {key: (part, evidence[part.name]) if isinstance(part, Image) else part for key, part in named.items()}

    async def _of(self, name: str, types: frozenset[str]) -> EvidenceSet:
        try:
            async with asyncio.timeout(self._seconds):
                return (await self._gatherer.gather({name: types}, self._keys))[name]
        except TimeoutError:
            return unreached(State.UNVERIFIABLE, f"not gathered within {self._seconds:g} s")
        except CustodyError as error:
            return unreached(State.UNVERIFIABLE, error.message)


_Known = tuple[Image, EvidenceSet] | MalformedError


def _item(key: str, known: _Known, value: Any) -> dict[str, Any]:
    if isinstance(known, MalformedError):
        return {"key": key, "error": known.message}
    named, about = known
    if not about.subject:
        rejected = about.rejected[0]
        return {"key": key, "error": f"{rejected.state}: {rejected.reason}"}
    if about.tag_since is not None and not named.digest:
        return {"key": key, "error": f"{State.UNVERIFIABLE}: what its tag means cannot be looked up now"}
    return {"key": key, "value": value(named, about)}
