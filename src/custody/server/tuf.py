"""The TUF repository of this data directory's trust files, below /tuf, kept up to date."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.server.rpcstatus import status_answer
from custody.server.watching import FileWatch
from custody.wiring import Platform

_NAME = re.compile(r"timestamp\.json|[1-9]\d{0,11}\.(?:root|snapshot|targets)\.json|"
                   r"targets/[0-9a-f]{64}\.[a-z0-9][a-z0-9._]{0,63}")
_EVERY = 600.0
"""Seconds after which it is looked whether something runs out, though no file changed."""


def routes(folder: Path) -> list[Route]:
    """/tuf/timestamp.json, /tuf/N.root.json and so on (TUF specification section 7)."""

    async def file(request: Request) -> Response:
        match = _NAME.fullmatch(request.path_params["path"])
        data = await asyncio.to_thread(_read, folder / match[0]) if match else None
        if match is None or data is None:
            return status_answer(5, 404, "Not Found")
        lasting = match[0] != "timestamp.json"
        return Response(data, media_type="application/json", headers={
            "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-store"})

    return [Route("/tuf/{path:path}", file, methods=["GET"])]


def watch(platform: Platform) -> FileWatch[bool]:
    """Signs anew what changes and what runs out."""
    return FileWatch("TUF repository", lambda: platform.published, platform.publish, lambda _: "", always=_EVERY)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
