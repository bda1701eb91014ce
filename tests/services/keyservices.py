"""Key management services that keep one key each: Vault's transit engine, and AWS's, which checks signatures itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

from custody.adapters.http.sigv4 import Identity, signed_headers
from custody.kit.address import Reach

ROOT_TOKEN = "s.custody"
ALICE = Identity("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


class Reply:
    def __init__(self, status: int, document: Any) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self._body = json.dumps(document).encode()

    async def read(self, limit: int) -> bytes:
        assert len(self._body) <= limit
        return self._body

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        return None


class KeyServices:
    """Implements ports.http.Http for two hosts."""

    def __init__(self, vault: Mapping[str, Any], aws: Mapping[str, bytes]) -> None:
        """`vault`: `data` of transit keys by their path; `aws`: DER by key id."""
        self.vault, self.aws = vault, aws
        self.asked: list[str] = []

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: Any = None, reach: Reach | None = None) -> Any:
        self.asked.append(f"{method} {url}")
        said = dict(headers or {})
        if url.startswith("https://vault.example:8200/"):
            return self._of_vault(method, url, said)
        return self._of_aws(method, url, said, body)

    def _of_vault(self, method: str, url: str, headers: Mapping[str, str]) -> Reply:
        if headers.get("x-vault-token") != ROOT_TOKEN:
            return Reply(403, {"errors": ["permission denied"]})
        data = self.vault.get(url.removeprefix("https://vault.example:8200/v1/"))
        if method != "GET" or data is None or headers.get("x-vault-namespace", "") != data.get("namespace", ""):
            return Reply(404, {"errors": []})
        return Reply(200, {"data": data})

    def _of_aws(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Reply:
        said = headers.pop("authorization")
        region = said.split("/")[2]
        moment = datetime.strptime(headers.pop("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        headers.pop("accept")
        token = headers.pop("x-amz-security-token", "")
        own = signed_headers(method, url, headers, body, ALICE._replace(token=token), region, "kms", moment)
        if own["authorization"] != said:
            return Reply(400, {"__type": "InvalidSignatureException", "message": "The request signature we calculated "
                               "does not match"})
        assert headers["x-amz-target"] == "TrentService.GetPublicKey"
        key = self.aws.get(json.loads(body)["KeyId"])
        if key is None:
            return Reply(400, {"__type": "NotFoundException", "message": "no such key"})
        return Reply(200, {"KeyId": "x", "PublicKey": base64.b64encode(key).decode()})

    async def close(self) -> None:
        return None
