"""Guessed passwords beside those who are logged in: what do the guesses cost the process and the others?

    python bench/access/guesses.py [SECONDS] [GUESSES A SECOND] [BCRYPT COST]

The registry is a real process behind an htpasswd file. One client asks for a manifest again and again, with its right
password, first alone, then beside wrong guesses for users that are there and that are not, from four addresses of
127.0.0.0/8. Printed are its latencies, the process's use of a processor, and what the guesses were answered.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import aiohttp
import bcrypt

CUSTODY = Path(sys.executable).with_name("custody")
RULES = """
[auth]
htpasswd = "users"
[[auth.allow]]
identities = ["ann"]
repositories = ["**"]
actions = ["pull", "push"]
"""


def start(folder: Path, cost: int) -> tuple[subprocess.Popen[bytes], str]:
    (folder / "users").write_text(f"ann:{bcrypt.hashpw(b'secret', bcrypt.gensalt(cost)).decode()}\n")
    (folder / "custody.toml").write_text(RULES)
    process = subprocess.Popen([CUSTODY, "serve", "--roles", "registry", "--port", "0"], cwd=folder,
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               env={**os.environ, "CUSTODY_LOG_LEVEL": "warning"})
    assert process.stderr is not None
    place = ""
    for line in process.stderr:
        if line.startswith(b"registry"):
            place = line.split()[1].decode().partition("/")[0]
        if b"ctrl-c" in line:
            return process, f"http://{place}"
    raise SystemExit("the registry did not start")


def seconds_of(process: subprocess.Popen[bytes]) -> float:
    """Processor seconds so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(url: str, until: float) -> list[float]:
    latencies = []
    headers = {"Authorization": aiohttp.encode_basic_auth("ann", "secret")}
    async with aiohttp.ClientSession(headers=headers) as session:
        while time.monotonic() < until:
            begun = time.monotonic()
            async with session.get(f"{url}/v2/app/manifests/none") as answer:
                assert answer.status == 404, answer.status
            latencies.append(time.monotonic() - begun)
            await asyncio.sleep(0.01)
    return sorted(latencies)


def asked_apart(url: str, until: float) -> list[float]:
    return asyncio.run(ask(url, until))


async def guess(url: str, until: float, a_second: int) -> collections.Counter[int]:
    answers: collections.Counter[int] = collections.Counter()
    sessions = [aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, local_addr=(f"127.0.0.{last}", 0)))
                for last in range(2, 6)]

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        who = aiohttp.encode_basic_auth("ann" if number % 2 else f"user{number}", f"guess{number}")
        async with session.get(f"{url}/v2/", headers={"Authorization": who}) as answer:
            answers[answer.status] += 1

    tasks, begun = set[asyncio.Task[None]](), time.monotonic()
    for number in itertools.count():
        if (due := begun + number / a_second) >= until:
            break
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.add(asyncio.create_task(one(sessions[number % 4], number)))
    await asyncio.gather(*tasks)
    for session in sessions:
        await session.close()
    return answers


async def main(seconds: float, a_second: int, cost: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process, url = start(Path(folder), cost)
        try:
            await ask(url, time.monotonic() + 0.5)
            for name, rate in (("alone", 0), (f"beside {a_second} guesses/s", a_second)):
                used, begun = seconds_of(process), time.monotonic()
                until = begun + seconds
                with ProcessPoolExecutor(1) as others:  # a client that is not slowed by the one that guesses
                    asked = asyncio.wrap_future(others.submit(asked_apart, url, until))
                    answers = await guess(url, until, rate) if rate else {}
                    latencies = await asked
                spent = (seconds_of(process) - used) / (time.monotonic() - begun)
                print(f"{name}: {len(latencies)} requests, median {latencies[len(latencies) // 2] * 1e3:.1f} ms, "
                      f"p99 {latencies[int(len(latencies) * 0.99)] * 1e3:.1f} ms; processor {spent:.0%}; "
                      f"guesses answered {dict(sorted(answers.items()))}")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    given = [float(argument) for argument in sys.argv[1:]] + [10.0, 1000.0, 10.0][len(sys.argv) - 1:]
    asyncio.run(main(given[0], int(given[1]), int(given[2])))
