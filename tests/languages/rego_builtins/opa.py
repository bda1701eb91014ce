"""The real OPA as a judge: one server, one rule for each call, strict errors."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from custody.languages.rego.values import Set, compact, text


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Opa:
    def __init__(self, path: str) -> None:
        self._http = _Unix(path)

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: str | None = None, *, refusing: bool = False) -> Any:
        """The answer's JSON. `refusing`: a policy may be refused."""
        self._http.request(method, path, body and body.encode())
        answer = self._http.getresponse()
        data = answer.read()
        found = json.loads(data) if data else None
        if answer.status >= 400 and method == "PUT" and not refusing:
            raise AssertionError(data.decode())
        return found

    def calls(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[tuple[str, Any]]:
        """("value", JSON), ("undefined", None) or (error class, message) for each (builtin, arguments).

        The operands' types are hidden from OPA's checker.
        """
        lines = ["package calls"]
        for number, (name, arguments) in enumerate(calls):
            shown = [f"object.get({{}}, 0, {text(each)})" if _has_set(each) else f"input[{at}]"
                     for at, each in enumerate(arguments)]
            lines.append(f"c{number} := {name}({', '.join(shown)})")
        self.request("PUT", "/v1/policies/calls", "\n".join(lines))
        results: list[tuple[str, Any]] = []
        for number, (_, arguments) in enumerate(calls):
            sent = [None if _has_set(each) else each for each in arguments]
            try:
                found = self.request("POST", f"/v1/data/calls/c{number}?strict-builtin-errors=true",
                                     compact({"input": sent}))
            except http.client.RemoteDisconnected:  # OPA panics at some operands
                self._http.close()
                results.append(("panic", None))
                continue
            if "errors" in found:
                results.append((found["errors"][0]["code"], found["errors"][0]["message"]))
            elif "result" in found:
                results.append(("value", found["result"]))
            else:
                results.append(("undefined", found.get("message")))
        return results


def _has_set(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_set, value))
    if isinstance(value, dict):
        return any(map(_has_set, value.values())) or not all(isinstance(each, str) for each in value)
    return isinstance(value, Set)


@contextmanager
def serving(program: str, folder: Path, *, v0: bool = True) -> Iterator[Opa]:
    path = folder / "opa.sock"
    with subprocess.Popen([program, "run", "--server", *(["--v0-compatible"] if v0 else []), "--addr", f"unix://{path}",
                           "--log-level", "error", "--disable-telemetry"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                if path.exists():
                    break
                time.sleep(0.02)
            opa = Opa(str(path))
            try:
                yield opa
            finally:
                opa.close()
        finally:
            process.terminate()
