"""Nothing up but the webhook: `python -m bench.admission.alone [DIGESTS [SECONDS_OF_SILENCE]]`.

Each kind of policy that asks for evidence decides on DIGESTS images of a registry, which then takes connections and
says nothing, as one whose network is cut does. Each digest is asked for again, one after another, from the first
request on: what was kept counts first (`kept_first`), then as it is without that, once the host was found out by its
probe. Latency of each review, sockets that were opened while nobody answered, and how many were admitted.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from tests.services.test_nothing_else_up import CountingHttp
from tests.services.test_nothing_up_of_kinds import KINDS, Webhook, silent, tagged
from tests.serving import registry_on

from custody.registry.client import RegistryClient


async def asked(webhook: Webhook, images: list[str]) -> tuple[list[float], int]:
    """Milliseconds of each review, and how many were admitted."""
    spent: list[float] = []
    admitted = 0
    for image in images:
        begun = time.perf_counter()
        admitted += bool((await webhook.review(image))["allowed"])
        spent.append((time.perf_counter() - begun) * 1e3)
    return spent, admitted


def row(name: str, spent: list[float], admitted: int, sockets: int) -> None:
    ordered = sorted(spent)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"| {name} | {admitted} of {len(spent)} | {spent[0]:.1f} | {p50:.1f} | {p99:.1f} | {ordered[-1]:.1f} | "
          f"{sockets} |", flush=True)


async def kind_of(name: str, count: int, quiet: float) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, http = Path(place), CountingHttp()
        async with RegistryClient(http) as client:
            with contextlib.ExitStack() as up:
                host, _ = await asyncio.to_thread(up.enter_context, registry_on(folder / "registry"))
                images = [await tagged(client, host, number) for number in range(count)]
                tags = [f"{host}/app:{number}" for number in range(count)]
                before = Webhook(folder, http, client, KINDS[name])
                await asked(before, [*images, *tags])
                watched = Webhook(folder, http, client, KINDS[name])
                watching = asyncio.create_task(watched.memory.watch())
                await asked(watched, images[:1])
                await asyncio.to_thread(up.close)
            with silent(int(host.rpartition(":")[2])):
                first = Webhook(folder, http, client, KINDS[name], timedelta(hours=1))
                http.asked = 0
                row(f"{name}, kept first", *await asked(first, images), http.asked)
                await asyncio.sleep(quiet)
                http.asked = 0
                row(f"{name}, once probed", *await asked(watched, images), http.asked)
                http.asked = 0
                row(f"{name}, tags, once probed", *await asked(watched, tags), http.asked)
                watching.cancel()
                await first.close()
                await watched.close()


def main() -> None:
    count, quiet = int(sys.argv[1]) if len(sys.argv) > 1 else 100, float(sys.argv[2]) if len(sys.argv) > 2 else 6.0
    print("| policy | admitted | first ms | p50 ms | p99 ms | longest ms | sockets |\n|---|---|---|---|---|---|---|")
    for name in KINDS:
        asyncio.run(kind_of(name, count, quiet))


if __name__ == "__main__":
    main()
