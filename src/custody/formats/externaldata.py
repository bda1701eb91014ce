"""Gatekeeper's external data protocol: what a provider is asked, and what it answers (externaldata.gatekeeper.sh).

website/docs/externaldata.md; frameworks/constraint pkg/externaldata. One POST with a list of keys, answered by an item
for each of them, or by a system error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from custody.errors import MalformedError
from custody.kit import strictjson
from policylang.errors import Shape

GROUP = "externaldata.gatekeeper.sh"
VERSION = f"{GROUP}/v1beta1"
VERSIONS = (VERSION, f"{GROUP}/v1alpha1")
REQUEST, RESPONSE = "ProviderRequest", "ProviderResponse"
MAX_SIZE = 2 * 1024 * 1024
"""Bytes of a request, and of a response."""
MAX_KEYS = 1000
_MAX_WEIGHT = 32 * 1024 * 1024
_MAX_KEY = 4096


def request(keys: Sequence[str]) -> bytes:
    """A ProviderRequest. Raises MalformedError for more keys, or longer ones, than anybody is asked."""
    _bounded(keys, "keys")
    return _encoded({"apiVersion": VERSION, "kind": REQUEST, "request": {"keys": [*keys]}})


def parse_request(data: bytes, where: str = "request body") -> tuple[str, list[str]]:
    """(apiVersion, keys). Raises MalformedError."""
    version, asked = _part(data, where, REQUEST, "request")
    keys = asked.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise MalformedError(f"{where}: request.keys", got=Shape(keys), expected="a list of texts")
    _bounded(keys, f"{where}: request.keys")
    return version, keys


def response(items: Iterable[Mapping[str, Any]], *, version: str = VERSION, idempotent: bool = True,
             system_error: str = "") -> bytes:
    """A ProviderResponse; an item is `{"key": …, "value": …}` or `{"key": …, "error": …}`."""
    body: dict[str, Any] = {"idempotent": idempotent, "items": [*items]}
    if system_error:
        body["systemError"] = system_error
    return _encoded({"apiVersion": version, "kind": RESPONSE, "response": body})


def parse_response(data: bytes, keys: Sequence[str], where: str) -> dict[str, Any]:
    """`response`, with an item for each of the keys unless it has a system error, each about one of them, once.

    Raises MalformedError: what is said of other keys, twice, or not at all is no answer to what was asked.
    """
    _, said = _part(data, where, RESPONSE, "response")
    fault, idempotent, items = said.get("systemError") or "", said.get("idempotent"), said.get("items")
    if not isinstance(fault, str):
        raise MalformedError(f"{where}: response.systemError", got=Shape(fault), expected="a text")
    if idempotent is not None and not isinstance(idempotent, bool):
        raise MalformedError(f"{where}: response.idempotent", got=Shape(idempotent), expected="true or false")
    if items is not None and not isinstance(items, list):
        raise MalformedError(f"{where}: response.items", got=Shape(items), expected="a list")
    left = dict.fromkeys(keys)
    told: list[dict[str, Any]] = []
    for at, item in enumerate(items or []):
        place = f"{where}: response.items[{at}]"
        if not isinstance(item, dict):
            raise MalformedError(place, got=Shape(item), expected="a key with a value or an error")
        key, error = item.get("key"), item.get("error") or ""
        if not isinstance(key, str) or key not in left:
            raise MalformedError(f"{place}.key", got=key[:100] if isinstance(key, str) else Shape(key),
                                 expected="one of the keys that were asked for, each once")
        if not isinstance(error, str):
            raise MalformedError(f"{place}.error", got=Shape(error), expected="a text")
        del left[key]
        told.append({"key": key, "error": error} if error else {"key": key, "value": item.get("value")})
    if left and not fault.strip():
        raise MalformedError(f"{where}: response.items", got=f"nothing about {next(iter(left))[:100]}",
                             expected="an item for each key")
    return {"idempotent": idempotent is True, "items": told, "systemError": fault}


def _part(data: bytes, where: str, kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """(apiVersion, the part of a document of that kind). Raises MalformedError."""
    if len(data) > MAX_SIZE or strictjson.weight(data) > _MAX_WEIGHT:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {MAX_SIZE}, and few small parts")
    document = strictjson.loads(data, where, max_size=MAX_SIZE)
    if not isinstance(document, dict):
        raise MalformedError(where, got=Shape(document), expected=f"a {kind}")
    version, stated, part = document.get("apiVersion"), document.get("kind"), document.get(name)
    if version not in VERSIONS:
        raise MalformedError(f"{where}: apiVersion", got=_shown(version), expected=" or ".join(VERSIONS))
    if stated != kind:
        raise MalformedError(f"{where}: kind", got=_shown(stated), expected=kind)
    if not isinstance(part, dict):
        raise MalformedError(f"{where}: {name}", got=Shape(part), expected="a map")
    return version, part


def _bounded(keys: Sequence[str], where: str) -> None:
    if len(keys) > MAX_KEYS:
        raise MalformedError(where, got=f"{len(keys)} keys", expected=f"at most {MAX_KEYS}")
    if any(len(key) > _MAX_KEY for key in keys):
        raise MalformedError(where, got=f"a key of more than {_MAX_KEY} characters", expected="shorter ones")


def _shown(value: Any) -> Any:
    return value[:100] if isinstance(value, str) else Shape(value)


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
