"""How the roles of a process are: /healthz says whether it should be started again, /readyz whether it can be asked.

Both answer 200 and `ok`, or 503 and the checks that failed; `?verbose` lists all, as the API server's do, and
`Accept: application/json` has them in JSON. /healthz/NAME and /readyz/NAME are one check alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from custody.errors import CustodyError
from custody.server.asgi import Receive, Scope, Send, header, respond, respond_json

_SECONDS = 3.0
"""How long a check may take: a disk that does not answer is a failure too."""
_THREADS = 12
"""More than there are checks: one that hangs makes no other wait."""


@dataclass(frozen=True, slots=True)
class State:
    """How a role is. `alive` without `ready`: a restart would not help."""

    alive: bool = True
    ready: bool = True
    note: str = ""
    """Why it is not, or what an operator should know though it is."""


Check = Callable[[], State]
"""Cheap, runs in a thread. A CustodyError or OSError from it is a failure."""


class Health:
    """An ASGI application for /healthz and /readyz over named checks."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self.stopping = False
        """No more requests are wanted: /readyz fails, and who asks nevertheless is answered."""
        self._asking: dict[str, asyncio.Future[State]] = {}
        # Its own: where all threads verify, the services are busy, not ill. A check that hangs keeps one.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="health")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - no body is read
        kind, _, name = scope["path"].removeprefix("/").partition("/")
        if scope["method"] not in ("GET", "HEAD"):
            await respond_json(send, 405, {"error": "GET only"}, [(b"allow", b"GET, HEAD")])
            return
        if self.stopping and kind == "readyz":
            await respond(send, 503, b"[-]stopping\nreadyz check failed\n", b"text/plain; charset=utf-8",
                          [(b"cache-control", b"no-store")])
            return
        names = [name] if name else list(self._checks)
        if name and name not in self._checks:
            await respond_json(send, 404, {"error": f"no check {name[:40]}; there are {', '.join(self._checks)}"})
            return
        states = dict(zip(names, await asyncio.gather(*map(self.state, names)), strict=True))
        good = {name: state.alive if kind == "healthz" else state.ready for name, state in states.items()}
        status = 200 if all(good.values()) else 503
        headers = [(b"cache-control", b"no-store"), *([(b"retry-after", b"2")] if status == 503 else [])]
        if "application/json" in header(scope, b"accept"):
            await respond_json(send, status, {
                "status": "passed" if status == 200 else "failed",
                "checks": [{"name": name, "ok": good[name], "note": state.note} for name, state in states.items()],
            }, headers)
            return
        text = _text(kind, states, good, verbose=b"verbose" in scope.get("query_string", b""))
        head = scope["method"] == "HEAD"
        await respond(send, status, b"" if head else text.encode(), b"text/plain; charset=utf-8", headers,
                      length=len(text.encode()))

    def add(self, name: str, check: Check) -> None:
        self._checks[name] = check

    async def state(self, name: str) -> State:
        """The state of one role; asked once however many wait for it."""
        task = self._asking.get(name)
        if task is None or task.done():
            task = asyncio.get_running_loop().run_in_executor(self._threads, _ask, self._checks[name])
            self._asking[name] = task
        done, _ = await asyncio.wait({task}, timeout=_SECONDS)
        if not done:  # it is not asked again while it hangs
            return State(False, False, f"no answer within {_SECONDS:g} s")
        return task.result()


def _ask(check: Check) -> State:
    try:
        return check()
    except CustodyError as error:
        return State(False, False, error.message)
    except Exception as error:  # whatever it was, it is how the role is
        return State(False, False, f"{type(error).__name__}: {error}")


def _text(kind: str, states: Mapping[str, State], good: Mapping[str, bool], *, verbose: bool) -> str:
    passed = all(good.values())
    if passed and not verbose:
        return "ok"
    lines = []
    for name, state in states.items():
        if good[name]:
            lines.append(f"[+]{name} ok{': ' + state.note if state.note else ''}")
        else:
            lines.append(f"[-]{name} failed: {state.note}")
    return "\n".join([*lines, f"{kind} check {'passed' if passed else 'failed'}"]) + "\n"
