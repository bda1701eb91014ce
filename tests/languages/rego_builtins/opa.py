"""The real OPA as a judge: one server, one rule for each call, strict errors."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policylang.rego.values import Set, compact, text, unkey


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Opa:
    """`decode`: reads the answers' JSON."""

    def __init__(self, path: str, decode: Callable[[str], Any] = json.loads) -> None:
        self._http, self._decode = _Unix(path), decode

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: str | None = None, *, refusing: bool = False) -> Any:
        """The answer's JSON. `refusing`: a policy may be refused."""
        self._http.request(method, path, body and body.encode())
        answer = self._http.getresponse()
        data = answer.read()
        found = self._decode(data.decode()) if data else None
        if answer.status >= 400 and method == "PUT" and not refusing:
            raise AssertionError(data.decode())
        return found

    def calls(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[tuple[str, Any]]:
        """("value", JSON), ("undefined", None) or (error class, message) for each (builtin, arguments).

        The operands' types are hidden from OPA's checker.
        """
        lines = ["package calls"]
        for number, (name, arguments) in enumerate(calls):
            shown = [f"object.get({{}}, 0, {_literal(each)})" if _has_set(each) else f"input[{at}]"
                     for at, each in enumerate(arguments)]
            lines.append(f"c{number} := {name}({', '.join(shown)})")
        self.request("PUT", "/v1/policies/calls", "\n".join(lines))
        results: list[tuple[str, Any]] = []
        for number, (_, arguments) in enumerate(calls):
            sent = [None if _has_set(each) else each for each in arguments]
            try:
                found = self.request("POST", f"/v1/data/calls/c{number}?strict-builtin-errors=true",
                                     compact({"input": sent}))
            except (http.client.RemoteDisconnected, ConnectionError):  # OPA panics at some operands
                self._http.close()
                results.append(("panic", None))
                continue
            if "errors" not in found and found.get("code") == "internal_error":  # a number that JSON does not have
                results.append(("unprintable", None))
            elif "errors" in found:
                results.append((found["errors"][0]["code"], found["errors"][0]["message"]))
            elif "result" in found:
                results.append(("value", found["result"]))
            else:
                results.append(("undefined", found.get("message")))
        return results


def _literal(value: Any) -> str:
    """In Rego's syntax."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(unkey(name))}: {_literal(below)}' for name, below in value.items())}}}"
    if isinstance(value, Set):
        return f"{{{', '.join(map(_literal, value))}}}" if value.items else "set()"
    return text(value)


def _has_set(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_set, value))
    if isinstance(value, dict):
        return any(map(_has_set, value.values())) or not all(isinstance(each, str) for each in value)
    return isinstance(value, Set)


@contextmanager
def serving(program: str, folder: Path, *, v0: bool = True,
            decode: Callable[[str], Any] = json.loads) -> Iterator[Opa]:
    path = folder / "opa.sock"
    with subprocess.Popen([program, "run", "--server", *(["--v0-compatible"] if v0 else []), "--addr", f"unix://{path}",
                           "--log-level", "error", "--disable-telemetry"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                if path.exists():
                    break
                time.sleep(0.02)
            opa = Opa(str(path), decode)
            try:
                yield opa
            finally:
                opa.close()
        finally:
            process.terminate()
