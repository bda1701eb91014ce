"""Keys of Google's Cloud KMS: `gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/versions/N]`.

Without a version the newest that is enabled. Digests and signatures go without the CRC32C that Google proposes: every
signature is verified. (cloud.google.com/kms/docs/reference/rest: cryptoKeyVersions.list, getPublicKey, asymmetricSign.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import urlencode

from custody.adapters.http.gcptoken import GoogleToken
from custody.adapters.http.jsonservice import Reply, ask, check, decoded
from custody.errors import MalformedError, UnsupportedError
from custody.kit.members import objects_of, text, text_of
from custody.ports.http import Http

_PART = "[A-Za-z0-9_.-]+"
REFERENCE = re.compile(rf"gcpkms://(projects/[a-z0-9:._-]+/locations/{_PART}/keyRings/{_PART}/cryptoKeys/{_PART})"
                       r"(?:/(?:cryptoKeyVersions|versions)/([0-9]{1,9}))?")
_API = "https://cloudkms.googleapis.com/v1/"
_HASHES = {"EC_SIGN_P256_SHA256": "sha256", "EC_SIGN_P384_SHA384": "sha384", "EC_SIGN_ED25519": "",
           **{f"RSA_SIGN_PKCS1_{size}_SHA256": "sha256" for size in (2048, 3072, 4096)}}
"""What a version signs by: the algorithm is the key's, not the request's."""
_MAX_PAGES = 20
DEFAULT_ALGORITHM = "EC_SIGN_P256_SHA256"


class GoogleKey:
    """Implements ports.keyservice.KeyService."""

    def __init__(self, http: Http, name: str, token: GoogleToken) -> None:
        """Raises MalformedError."""
        matched = REFERENCE.fullmatch(name)
        if matched is None:
            raise MalformedError("key", got=name, expected="gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/"
                                 "cryptoKeys/KEY, with /versions/NUMBER or without")
        self.name = name
        self._http = http
        self._token = token
        self._key = matched[1]
        self._version = f"{matched[1]}/cryptoKeyVersions/{matched[2]}" if matched[2] else None
        self._algorithm = ""

    async def public_key(self) -> str | None:
        version = self._version or await self._newest()
        if version is None:
            return None
        reply = await self._ask("GET", f"{version}/publicKey")
        if reply.status == 404:
            return None
        _check(reply)
        self._version, self._algorithm = version, text_of(reply.document, "algorithm")
        return text(reply.document, "pem", reply.where, 16 * 1024)

    async def sign(self, message: bytes, hash_name: str) -> bytes:
        if _HASHES.get(self._algorithm) != hash_name or self._version is None:
            raise UnsupportedError(self.name, f"signs by {self._algorithm or 'nothing'}, and "
                                   f"{hash_name.upper() or 'the message itself'} is to be signed here")
        if hash_name:
            digest = base64.b64encode(hashlib.new(hash_name, message).digest()).decode()
            request: dict[str, Any] = {"digest": {hash_name: digest}}
        else:
            request = {"data": base64.b64encode(message).decode()}
        reply = await self._ask("POST", f"{self._version}:asymmetricSign", request)
        _check(reply)
        return decoded(reply.document.get("signature"), f"{reply.where}: signature")

    async def create(self) -> str:
        """With its key ring, where there is none."""
        if (pem := await self.public_key()) is not None:
            return pem
        place, _, name = self._key.rpartition("/cryptoKeys/")
        parent, _, ring = place.rpartition("/keyRings/")
        template = {"purpose": "ASYMMETRIC_SIGN", "versionTemplate": {"algorithm": DEFAULT_ALGORITHM}}
        for path, query, made in ((f"{parent}/keyRings", {"keyRingId": ring}, {}),
                                  (f"{place}/cryptoKeys", {"cryptoKeyId": name}, template)):
            reply = await self._ask("POST", f"{path}?{urlencode(query)}", made)
            if reply.status != 409:  # it is there
                _check(reply)
        pem = await self.public_key()
        if pem is None:
            raise MalformedError(self.name, got="no key", expected="the key that was made")
        return pem

    async def _newest(self) -> str | None:
        newest, page = 0, ""
        for _ in range(_MAX_PAGES):
            query = {"filter": "state=ENABLED", "pageSize": "100", **({"pageToken": page} if page else {})}
            reply = await self._ask("GET", f"{self._key}/cryptoKeyVersions?{urlencode(query)}")
            if reply.status == 404:
                return None
            _check(reply)
            for version in objects_of(reply.document, "cryptoKeyVersions"):
                number = text_of(version, "name").removeprefix(f"{self._key}/cryptoKeyVersions/")
                if number.isascii() and number.isdigit():
                    newest = max(newest, int(number))
            page = text_of(reply.document, "nextPageToken")
            if not page:
                return f"{self._key}/cryptoKeyVersions/{newest}" if newest else None
        raise MalformedError(self.name, got=f"more than {_MAX_PAGES} pages", expected="versions of one key",
                             hint="name one: …/versions/NUMBER")

    async def _ask(self, method: str, path: str, request: dict[str, Any] | None = None) -> Reply:
        headers = {"authorization": f"Bearer {await self._token.get()}"}
        body = None
        if request is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(request).encode()
        return await ask(self.name, self._http, method, _API + path, headers, body)


def _check(reply: Reply) -> None:
    error = reply.document.get("error")
    check(reply, error.get("message") if isinstance(error, dict) else "")
