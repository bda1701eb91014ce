"""Keys that a policy names by their place: a Secret of the cluster, or a key management service."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import msgspec

from custody.errors import UnsupportedError
from custody.policy.given import Given
from custody.policy.lookup import LookupFailedError
from custody.ports.lookup import KEY_SERVICES, ApiCall, Authority, PublicKeyAt, Question
from custody.sign.trusting import PEM_KEY


def kept_at(uri: str, where: str, authority: Authority) -> Callable[[Given], Authority]:
    """A key that the cluster or a key management service keeps. Raises UnsupportedError for another place."""
    place = re.fullmatch(r"k8s://([a-z0-9-]+)/([a-z0-9.-]+)", uri)
    if place is not None:
        secret = ApiCall(f"/api/v1/namespaces/{place[1]}/secrets/{place[2]}")
        return lambda given: msgspec.structs.replace(authority, keys=_of_secret(given, secret))
    if uri.startswith(KEY_SERVICES):
        kept = PublicKeyAt(uri)
        return lambda given: msgspec.structs.replace(authority, keys=key_at(given, kept))
    raise UnsupportedError(where, f"{uri[:60]!r} is no public key in PEM, no k8s://namespace/secret and no KMS",
                           hint="files, environment variables and URLs are read by nobody here")


def key_at(given: Given, kept: PublicKeyAt) -> str:
    """Raises UnansweredError, and LookupFailedError where there is no key."""
    pem = given.answers.value(kept)
    if pem is None:
        raise LookupFailedError(kept, "there is no such key")
    return checked(pem, kept, "got no public key in PEM")


def checked(pem: Any, asked: Question, reason: str) -> str:
    """PEM text with a key in it. Raises LookupFailedError: without a key, whoever else is believed would count."""
    if isinstance(pem, str) and PEM_KEY.search(pem):
        return pem
    raise LookupFailedError(asked, reason)


def decoded(text: Any) -> str | None:
    """A value of a Secret's data; None where it is no text."""
    try:
        return base64.b64decode(text, validate=True).decode() if isinstance(text, str) else None
    except ValueError:
        return None


def _of_secret(given: Given, asked: ApiCall) -> str:
    """Raises UnansweredError, and LookupFailedError where there is no key."""
    secret = given.answers.value(asked)
    data = secret.get("data") if isinstance(secret, dict) else None
    text = data.get("cosign.pub") if isinstance(data, dict) else None
    return checked(decoded(text), asked, "it is no Secret with the key cosign.pub")
