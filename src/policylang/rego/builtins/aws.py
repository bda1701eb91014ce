"""Requests signed for AWS (Signature Version 4)."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qsl, quote, urlsplit

from policylang.go.calendar import civil
from policylang.rego.builtins.operands import OperandFault, mapping, number
from policylang.rego.declare import OperandError, builtin
from policylang.rego.values import Set, Value, compact, text
from policylang.rego.values.numbers import plain_integer

_CONFIG = ("aws_access_key", "aws_region", "aws_secret_access_key", "aws_service")
_UNSIGNED = frozenset({"authorization", "user-agent", "x-amzn-trace-id"})


@builtin("providers.aws.sign_req", "object[string: any]", "object[string: any]", "number", result="object[any: any]")
def sign_request(request: Value, config: Value, when: Value) -> Value:
    """The request of `http.send` with the headers that AWS asks for."""
    asked, keys = mapping(request, 1), mapping(config, 2)
    _check(keys, _CONFIG, 2, "required AWS config parameters(s)")
    moment = plain_integer(number(when, 3))
    if moment is None:
        raise OperandFault(3, "could not convert time_ns value into a unix timestamp")
    _check(asked, ("method", "url"), 1, "required request parameters(s)")
    signed_payload = keys.get("disable_payload_signing", False)
    if type(signed_payload) is not bool:
        raise OperandFault(2, "invalid value for 'disable_payload_signing' in AWS config")
    at = civil(moment)
    day = f"{at.year:04d}{at.month:02d}{at.day:02d}"
    stamp = f"{day}T{at.hour:02d}{at.minute:02d}{at.second:02d}Z"
    payload = "UNSIGNED-PAYLOAD" if signed_payload else hashlib.sha256(_body(asked)).hexdigest()
    headers = dict(_headers(asked)) | {
        "host": urlsplit(asked["url"]).netloc, "x-amz-content-sha256": payload, "x-amz-date": stamp}
    if "aws_session_token" in keys:
        headers["x-amz-security-token"] = keys["aws_session_token"]
    scope = f"{day}/{keys['aws_region']}/{keys['aws_service']}/aws4_request"
    names, canonical = _canonical(asked, headers | _headers(asked), payload, keys["aws_service"])
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + keys["aws_secret_access_key"].encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={keys['aws_access_key']}/{scope},"
                                f"SignedHeaders={names},Signature={key.hex()}")
    return asked | {"headers": headers}


def _check(given: dict[Value, Value], names: tuple[str, ...], position: int, subject: str) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise OperandFault(position, f"missing {subject}: {text(Set.of(missing))}")
    wrong = [name for name in names if type(given[name]) is not str]
    if wrong:
        raise OperandFault(position, f"invalid values for {subject}: {text(Set.of(wrong))}")


def _body(request: dict[Value, Value]) -> bytes:
    if "raw_body" in request:
        if type(request["raw_body"]) is not str:
            raise OperandError(1, request["raw_body"], "string")
        return str(request["raw_body"]).encode()
    return compact(request["body"]).encode() if "body" in request else b""


def _headers(request: dict[Value, Value]) -> dict[Value, Value]:
    headers = request.get("headers", {})
    if type(headers) is not dict:
        raise OperandError(1, headers, "object")
    return headers


def _canonical(request: dict[Value, Value], headers: dict[Value, Value], payload: str,
               service: str) -> tuple[str, str]:
    """The names of the signed headers, and the canonical request."""
    url = urlsplit(request["url"])
    path = url.path
    if service != "s3":
        path = quote(path, safe="/-_.~")
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
                     for name, value in sorted(parse_qsl(url.query, keep_blank_values=True)))
    signed = sorted((name.lower(), _header(value)) for name, value in headers.items()
                    if name.lower() not in _UNSIGNED)
    names = ";".join(name for name, _ in signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed)
    return names, "\n".join((request["method"], path, query, lines, names, payload))


def _header(value: Value) -> str:
    if type(value) is list:
        return ",".join(_header(part) for part in value)
    return " ".join(value.split()) if type(value) is str else compact(value)
