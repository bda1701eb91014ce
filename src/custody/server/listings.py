"""Lists of a registry in pages: tags, referrers, the catalog (distribution-spec v1.1, end-8 and end-12).

A page is bounded, whatever was asked for; where there is more, Link says so.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from custody.formats import oci
from custody.registry.store import Registry
from custody.server.asgi import Send, respond, respond_json
from custody.server.distribution import Call, Refusal, digest_of, next_page, on_disk

_TAGS = 10_000  # of at most 128 bytes each
_NAMES = 1_000
_REFERRERS = 1_000
_PAGE = 4 * 1024 * 1024  # bytes of a page of referrers (distribution-spec, "Listing Referrers": as a manifest's limit)


class Listings:
    """Handlers of GET."""

    def __init__(self, registry: Registry) -> None:
        self._repositories = registry.repositories

    async def tags(self, call: Call) -> None:
        limit, last = _limit(call.query, _TAGS), call.parameter("last") or ""
        known, names = await on_disk(self._tags, call.name, last, limit + 1)
        if not known:
            raise Refusal(404, "NAME_UNKNOWN", f"no repository {call.name}")
        page = names[:limit]
        more = [next_page(f"/v2/{quote(call.name)}/tags/list", n=limit, last=page[-1])
                ] if page and len(names) > limit else []
        await respond_json(call.send, 200, {"name": call.name, "tags": page}, more)

    async def catalog(self, send: Send, query: dict[str, list[str]]) -> None:
        limit, last = _limit(query, _NAMES), query.get("last", [""])[0]
        names = await on_disk(self._repositories.names, last, limit + 1)
        page = names[:limit]
        more = [next_page("/v2/_catalog", n=limit, last=page[-1])] if page and len(names) > limit else []
        await respond_json(send, 200, {"repositories": page}, more)

    async def referrers(self, call: Call) -> None:
        subject, kind = digest_of(call.part), call.parameter("artifactType")
        body, last = await on_disk(self._referrers, call.name, subject, kind, call.parameter("last") or "")
        headers: list[tuple[bytes, bytes]] = []
        if kind:
            headers.append((b"oci-filters-applied", b"artifactType"))
        if last:
            following = {"last": last, **({"artifactType": kind} if kind else {})}
            headers.append(next_page(f"/v2/{quote(call.name)}/referrers/{call.part}", **following))
        await respond(call.send, 200, body, oci.INDEX.encode(), headers)

    def _tags(self, name: str, last: str, limit: int) -> tuple[bool, list[str]]:
        return self._repositories.has_repository(name), self._repositories.tags(name, last, limit)

    def _referrers(self, name: str, subject: str, kind: str | None, after: str) -> tuple[bytes, str]:
        """A page, and the digest after which the next one begins, or ''."""
        parts: list[bytes] = []
        head, tail = b'{"schemaVersion":2,"mediaType":"' + oci.INDEX.encode() + b'","manifests":[', b"]}"
        size, last = len(head) + len(tail), ""
        for descriptor in self._repositories.referrers(name, subject, kind or None, after):
            part = json.dumps(descriptor.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
            if parts and (len(parts) == _REFERRERS or size + len(part) + 1 > _PAGE):
                return head + b",".join(parts) + tail, last
            parts.append(part)
            size += len(part) + 1
            last = descriptor.digest
        return head + b",".join(parts) + tail, ""


def _limit(query: dict[str, list[str]], most: int) -> int:
    """`n`, never more than `most`."""
    value = query.get("n", [None])[0]
    if value is None:
        return most
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise Refusal(400, "UNSUPPORTED", f"n: got {value[:60]!r}, expected a number of entries")
    return min(int(value), most)
