"""Requests signed as AWS asks for it (AWS Signature Version 4: docs.aws.amazon.com, "Create a signed request")."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit


class Identity(NamedTuple):
    key_id: str
    secret: str
    token: str = ""
    """Of a session; empty for a user's own keys."""


def signed_headers(method: str, url: str, headers: Mapping[str, str], body: bytes, identity: Identity, region: str,
                   service: str, now: datetime) -> dict[str, str]:
    """`authorization` and the headers that it needs beside those given, whose names are in lower case. All are signed.

    A path is taken as it is: one with `.`, `//` or `%` in it is not for this.
    """
    parts = urlsplit(url)
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": moment} | ({"x-amz-security-token": identity.token} if identity.token else {})
    signed = {"host": parts.netloc, **headers, **added}
    names = ";".join(sorted(signed))
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
                     for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True)))
    request = "\n".join([method, parts.path or "/", query,
                         *(f"{name}:{' '.join(signed[name].split())}" for name in sorted(signed)), "", names,
                         hashlib.sha256(body).hexdigest()])
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{identity.secret}".encode()
    for part in (moment[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {**added, "authorization": f"AWS4-HMAC-SHA256 Credential={identity.key_id}/{scope}, SignedHeaders={names}, "
            f"Signature={signature}"}
