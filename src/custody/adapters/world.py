"""The world that a Rego policy may ask about, where whoever runs it lets it: time, randomness, names."""

from __future__ import annotations

import os
import time

from policylang.rego.declare import BuiltinError, Halt
from policylang.rego.values import Value


class SystemWorld:
    """This machine. `environment`: opa.runtime() shows the environment's variables; `resolve`: names are looked up.

    `http.send` is refused always: what a decision rests on is gathered before it is made.
    """

    def __init__(self, *, environment: bool = False, resolve: bool = False) -> None:
        self._environment = environment
        self._resolve = resolve

    def now_ns(self) -> int:
        return time.time_ns()

    def random(self, count: int) -> bytes:
        return os.urandom(count)

    def runtime(self) -> Value:
        return {"env": dict(os.environ)} if self._environment else {}

    def lookup_ip_addr(self, host: str) -> list[str]:
        if not self._resolve:
            raise BuiltinError("name resolution is not enabled")
        import socket
        try:
            addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise BuiltinError(f"lookup {host}: {error.strerror}") from None
        return sorted({str(address[0]) for *_, address in addresses})

    def http_send(self, _: dict[str, Value]) -> Value:
        raise Halt(BuiltinError("http.send: access to the network is not given"))  # undefined would pass for an answer
