"""Rego's port over a decision's answers: what it asks becomes a recorded question. Random bytes are refused.

Beside `worlds`, since few policies are in Rego and importing it takes long.
"""

from __future__ import annotations

import json
from typing import Any

from custody.errors import CustodyError
from custody.policy.given import Given
from custody.policy.lookup import LookupFailedError
from custody.policy.worlds import nanoseconds
from custody.ports.lookup import Addresses, HttpCall, Question
from policylang.rego.declare import BuiltinError, Halt
from policylang.rego.values import Value

_SENT = frozenset({"method", "url", "headers", "body", "raw_body", "force_json_decode", "tls_ca_cert", "raise_error"})


class RegoWorld:
    """policylang.rego's World, for one request. A missing answer is never undefined: it ends the evaluation."""

    def __init__(self, given: Given) -> None:
        self._given = given

    def now_ns(self) -> int:
        return nanoseconds(self._given.context.now)

    def random(self, count: int) -> bytes:
        raise Halt(BuiltinError(f"{count} random bytes are not given: a decision must be the same again"))

    def runtime(self) -> Value:
        return {}

    def lookup_ip_addr(self, host: str) -> list[str]:
        addresses = self._value("net.lookup_ip_addr", Addresses(host))
        if addresses is None:
            raise BuiltinError(f"lookup {host}: no such host")
        return sorted(map(str, addresses))

    def http_send(self, request: dict[str, Value]) -> Value:
        """Raises Halt for parameters that change what is asked and are not obeyed here."""
        if unknown := sorted(name for name in request if name not in _SENT):
            raise Halt(BuiltinError(f"http.send: {unknown[0]} is not evaluated by custody yet"))
        headers = request.get("headers") or {}
        body = str(request["raw_body"]) if "raw_body" in request else (
            json.dumps(request["body"], sort_keys=True) if "body" in request else "")
        question = HttpCall(str(request["method"]).upper(), str(request["url"]),
                            tuple(sorted((str(name), str(value)) for name, value in headers.items())), body,
                            str(request.get("tls_ca_cert") or ""))
        try:
            answer = self._value("http.send", question)
        except _FailedError as error:
            if request.get("raise_error") is not False:
                raise Halt(BuiltinError(f"http.send: {error}")) from None
            return {"status_code": 0, "error": {"code": "eval_http_send_network_error", "message": str(error)}}
        return _response(answer, forced=request.get("force_json_decode") is True)

    def _value(self, builtin_name: str, question: Question) -> Any:
        try:
            return self._given.answers.value(question)
        except LookupFailedError as error:
            raise _FailedError(error.message) from None
        except CustodyError as error:
            raise Halt(BuiltinError(f"{builtin_name}: {error.message}")) from None


class _FailedError(BuiltinError):
    """The question was asked, and nobody could say."""


def _response(answer: Any, *, forced: bool) -> Value:
    """The object of OPA's http.send: bodies that say that they are JSON are decoded."""
    if not isinstance(answer, dict):
        raise Halt(BuiltinError("http.send: the answer is no response"))
    headers = {str(name).lower(): values if isinstance(values, list) else [str(values)]
               for name, values in (answer.get("headers") or {}).items()}
    raw, body = str(answer.get("body") or ""), None
    if forced or any("application/json" in str(value) for value in headers.get("content-type", ())):
        try:
            body = json.loads(raw)
        except ValueError:
            if forced:
                raise Halt(BuiltinError("http.send: the body is no JSON")) from None
    return {"status": str(answer.get("status")), "status_code": answer.get("status"), "body": body, "raw_body": raw,
            "headers": headers}
