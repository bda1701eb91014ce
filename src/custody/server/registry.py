"""The registry's HTTP interface (OCI distribution-spec v1.1, end-1 to end-14), as raw ASGI for the sake of blobs.

Here are its paths and manifests; `blobs`, `uploads` and `listings` are the rest.
"""

from __future__ import annotations

import contextlib
import logging
from asyncio import wrap_future
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs, quote

from custody.errors import CustodyError
from custody.formats import oci
from custody.formats.reference import is_repository
from custody.registry.store import Registry
from custody.server.asgi import DisconnectedError, Receive, Scope, Send, header, read_body, respond, respond_json
from custody.server.blobs import BlobPulls
from custody.server.distribution import Call, Refusal, condition, digest_of, on_disk, respond_error, status_of
from custody.server.listings import Listings
from custody.server.routes import ROUTE
from custody.server.uploads import BlobPushes

_VERSION = (b"docker-distribution-api-version", b"registry/2.0")
_TAGS = 100  # of one push
_log = logging.getLogger(__name__)


class RegistryApp:
    """An ASGI application under /v2/."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        pushes, pulls = BlobPushes(registry), BlobPulls(registry)
        self._listings = Listings(registry)
        self._routes: Mapping[str, Mapping[str, Callable[[Call], Awaitable[None]]]] = {
            "upload": {"POST": pushes.start, "PATCH": pushes.append, "PUT": pushes.finish, "GET": pushes.progress,
                       "DELETE": pushes.cancel},
            "blob": {"GET": pulls.get, "HEAD": pulls.get, "DELETE": pulls.delete},
            "reference": {"GET": self._manifest, "HEAD": self._manifest, "PUT": self._put_manifest,
                          "DELETE": self._delete_manifest},
            "tags": {"GET": self._listings.tags},
            "subject": {"GET": self._listings.referrers},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._dispatch(scope, receive, send)
        except DisconnectedError:
            return
        except Refusal as refusal:
            await respond_error(send, refusal.status, refusal.code, refusal.message, refusal.headers)
        except CustodyError as error:
            if error.http_status >= 500:
                _log.error("%s %s: %s", scope["method"], scope["path"], error.message)
            await respond_error(send, *status_of(error), error.message)
        except Exception:
            _log.exception("%s %s", scope["method"], scope["path"])
            with contextlib.suppress(RuntimeError):  # an answer that has begun; it is broken off
                await respond_error(send, 500, "UNKNOWN", "the registry failed; its log says why")

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if path in ("/v2/", "/v2", "/v2/_catalog"):
            if method not in ("GET", "HEAD"):
                raise Refusal(405, "UNSUPPORTED", f"{method} is not for this path", [(b"allow", b"GET, HEAD")])
            if path == "/v2/_catalog":
                await self._listings.catalog(send, query)
            else:
                await respond_json(send, 200, {}, [_VERSION])
            return
        match = ROUTE.match(path)
        if match is None:
            raise Refusal(404, "NAME_UNKNOWN", f"no such path: {path[:300]}")
        name = match["name"]
        if not is_repository(name):
            raise Refusal(400 if method == "POST" else 404, "NAME_INVALID",
                          f"{name[:300]!r} is not a repository name")
        part, handlers = next((match[part], handlers) for part, handlers in self._routes.items()
                              if match[part] is not None)
        handler = handlers.get(method)
        if handler is None:
            raise Refusal(405, "UNSUPPORTED", f"{method} is not for this path",
                          [(b"allow", ", ".join(handlers).encode())])
        await handler(Call(scope, receive, send, name, part, query))

    async def _manifest(self, call: Call) -> None:
        if ":" in call.part:
            digest_of(call.part)
        descriptor, data = await on_disk(self._registry.manifest, call.name, call.part)
        headers = [(b"docker-content-digest", descriptor.digest.encode()),
                   (b"etag", f'"{descriptor.digest}"'.encode())]
        if not condition(call.scope)(descriptor.digest):
            await respond(call.send, 412 if header(call.scope, b"if-match") else 304, content_type=b"", headers=headers)
            return
        head = call.scope["method"] == "HEAD"
        await respond(call.send, 200, b"" if head else data, descriptor.media_type.encode(), headers, length=len(data))

    async def _put_manifest(self, call: Call) -> None:
        if ":" in call.part:
            digest_of(call.part)
        media_type = header(call.scope, b"content-type").partition(";")[0].strip()
        if not media_type:
            raise Refusal(400, "MANIFEST_INVALID", "Content-Type: got none, expected the manifest's media type")
        tags = call.query.get("tag", []) if ":" in call.part else []
        if len(tags) > _TAGS:
            raise Refusal(414, "TAG_INVALID", f"tag: got {len(tags)} of them, expected at most {_TAGS}")
        data = await read_body(call.receive, oci.MAX_MANIFEST)
        stored = await on_disk(self._registry.put_manifest, call.name, call.part, data, media_type, tags,
                               condition(call.scope))
        descriptor, subject = await wrap_future(stored)
        headers = [(b"location", f"/v2/{quote(call.name)}/manifests/{descriptor.digest}".encode()),
                   (b"docker-content-digest", descriptor.digest.encode())]
        if subject:
            headers.append((b"oci-subject", subject.encode()))
        headers += [(b"oci-tag", tag.encode()) for tag in tags]
        await respond(call.send, 201, content_type=b"", headers=headers)

    async def _delete_manifest(self, call: Call) -> None:
        if ":" in call.part:
            digest_of(call.part)
        await wrap_future(self._registry.delete_manifest(call.name, call.part, condition(call.scope)))
        await respond(call.send, 202, content_type=b"")
