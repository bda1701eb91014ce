"""Honest reviews beside pods of 64 images on 64 hosts that never end an answer.

    python bench/admission/hosts.py [SECONDS] [HOSTILE A SECOND] [endless|silent|byte|headers …]

The hosts are addresses of 127.0.0.0/8 behind one server, which never ends a body, says nothing, sends chunks of one
byte, or headers without end. Printed as in hostile.py, for each of the four.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from hostile import POLICY, Load, free, honest, review, serving

KINDS = ("endless", "silent", "byte", "headers")


def hosts(port: int, kind: str) -> None:
    """The hostile server's process."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            begin, again = {
                "endless": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                            b"10000\r\n" + b"x" * 65536 + b"\r\n"),
                "byte": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 200),
                "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"b" * 4000 + b"\r\n"),
                "silent": (b"", b"")}[kind]
            writer.write(begin)
            while True:
                if not again:
                    await asyncio.sleep(60)
                writer.write(again)
                await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "0.0.0.0", port) as server:  # all of 127.0.0.0/8
            await server.serve_forever()

    asyncio.run(serve())


def main() -> None:
    seconds, rate = float((sys.argv[1:] or ["20"])[0]), float((sys.argv[2:] or ["20"])[0])
    for kind in sys.argv[3:] or KINDS:
        with tempfile.TemporaryDirectory() as name:
            services, webhook = Path(name, "services"), Path(name, "webhook")
            services.mkdir()
            webhook.mkdir()
            port, webhook_port, hostile_port = free(), free(), free()
            registry = f"127.0.0.1:{port}"
            (webhook / "policy.yaml").write_text(POLICY.replace("BASE", f"http://{registry}"))
            (webhook / "custody.toml").write_text(f'trusted_root = "{services}/.custody/trust/trusted_root.json"\n')
            hostile = multiprocessing.Process(target=hosts, args=(hostile_port, kind), daemon=True)
            hostile.start()
            with serving(services, port, "--roles", "registry,oidc,ca,log,tsa"):
                images = honest(services, registry)
                with serving(webhook, free(), "--roles", "admission", "--webhook-port", str(webhook_port), "--policy",
                             "policy.yaml") as pid:
                    number = itertools.count()
                    attacks = [review(*(f"127.{1 + at // 250}.{next(number) // 250 % 250}.{1 + at % 250}:{hostile_port}"
                                        f"/a:{at}" for at in range(64))) for _ in range(400)]
                    url = f"https://127.0.0.1:{webhook_port}/validate?timeout=10s"
                    for label, a_second in (("alone", 0.0), (f"beside {rate:g} a second, {kind}", rate)):
                        load = Load(url, pid)
                        asyncio.run(load.run(seconds, images, attacks, a_second))
                        print(f"honest {label}: {len(load.latencies)} reviews, p50 {load.at(.5):.1f} "
                              f"p99 {load.at(.99):.1f} max {load.at(1):.1f} ms; rss peak {load.peak:.0f} MiB; "
                              f"unanswered {load.failed}; wrong {len(load.wrong)}", flush=True)
            hostile.terminate()
            time.sleep(1)


if __name__ == "__main__":
    main()
