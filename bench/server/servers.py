"""One raw ASGI application under uvicorn and granian: what decided docs/decisions/0001.

usage: python bench/server/servers.py uvicorn|granian [CERTIFICATE KEY]     then, from another terminal,
       curl -so /dev/null -w '%{speed_download}\n' http://127.0.0.1:7001/blob
       wrk -t1 -c16 -d3 --latency -s post.lua http://127.0.0.1:7001/        with a body of 6.6 KB

granian is no dependency: install it beside uvicorn in an environment of its own.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

BLOB = Path(tempfile.gettempdir()) / "bench-blob"
SIZE = 100 * 1024 * 1024


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/blob":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % SIZE)]})
        if "http.response.pathsend" in scope.get("extensions", {}):
            await send({"type": "http.response.pathsend", "path": str(BLOB)})
            return
        with BLOB.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    while (await receive()).get("more_body"):
        continue
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def main() -> None:
    BLOB.write_bytes(bytes(SIZE))
    tls = [Path(name) for name in sys.argv[2:4]]
    if sys.argv[1] == "granian":
        from granian.server.embed import Server

        await Server(app, address="127.0.0.1", port=7001, interface="asginl", log_enabled=False,
                     **(dict(zip(("ssl_cert", "ssl_key"), tls, strict=True)) if tls else {})).serve()
        return
    import uvicorn

    more = {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])} if tls else {}
    await uvicorn.Server(uvicorn.Config(app, port=7001, log_level="error", **more)).serve()


uvloop.run(main())
