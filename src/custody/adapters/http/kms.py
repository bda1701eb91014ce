"""Public keys that key management services keep, as Sigstore's clients name them: `hashivault://`, `awskms://`.

Where a service is and who asks it is said by the environment, as its own tools have it: `VAULT_ADDR`, `VAULT_TOKEN` …,
`AWS_REGION`, `AWS_ACCESS_KEY_ID` …. Only public keys are asked for. Google's and Azure's services are not asked.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from custody.adapters.http.sigv4 import Identity, signed_headers
from custody.errors import AuthenticationError, CustodyError, MalformedError, NetworkError, UnsupportedError, UsageError
from custody.kit import strictjson
from custody.kit.clock import Clock
from custody.ports.http import Http
from custody.ports.lookup import Absent, Answer, Answered, Failed, Lookup, NoLookup, PublicKeyAt, Question
from policylang.errors import Shape

KEEP = 60.0
"""Seconds for which a key counts; Sigstore's clients keep it for 300."""
_MAX_KEPT = 256
_MAX_SIZE = 256 * 1024
_VAULT = re.compile(r"(?:hashivault|openbao)://(\w(?:[\w.-]*\w)?)", re.ASCII)
_ID = "(?:mrk-)?[A-Fa-f0-9]{8}-?[A-Fa-f0-9]{4}-?[A-Fa-f0-9]{4}-?[A-Fa-f0-9]{4}-?[A-Fa-f0-9]{12}|mrk-[a-f0-9]{32}"
_AWS = re.compile(rf"awskms://((?:[A-Za-z0-9.-]+|\[[A-Fa-f0-9:]+\])?(?::\d{{1,5}})?)/((?:arn:aws(?:-us-gov|-cn)?:kms:([a-z0-9-]+):\d{{12}}:)?"
                  rf"(?:(?:key/)?(?:{_ID})|alias/[A-Za-z0-9/_-]+))")
_AMAZON = re.compile(r"kms(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
_REGION = re.compile(r"[a-z0-9-]+")
_NOWHERE = {"gcpkms": "Google's Cloud KMS", "azurekms": "Azure's Key Vault"}


class KeyLookup:
    """Implements ports.lookup.Lookup for keys at services. `beyond` answers other questions."""

    def __init__(self, http: Http, environ: Mapping[str, str], hosts: list[str], clock: Clock,
                 beyond: Lookup | None = None, read_token: Callable[[], str] = lambda: "") -> None:
        """`hosts` are `HOST` or `HOST:PORT` of AWS endpoints beside Amazon's own; `read_token` reads Vault's file."""
        self._http = http
        self._environ = environ
        self._hosts = frozenset(host.lower() for host in hosts)
        self._clock = clock
        self._beyond = beyond or NoLookup()
        self._read_token = read_token
        self._kept: dict[str, tuple[datetime, str]] = {}

    async def answer(self, question: Question) -> Answer:
        if not isinstance(question, PublicKeyAt):
            return await self._beyond.answer(question)
        try:
            pem = await self.key(question.uri)
        except CustodyError as error:
            return Failed(error.message)
        return Absent() if pem is None else Answered(pem)

    def known(self, question: Question) -> Answer | None:
        return None if isinstance(question, PublicKeyAt) else self._beyond.known(question)

    async def key(self, uri: str) -> str | None:
        """PEM; None where the service says that it has no such key.

        Raises UnsupportedError for a service that is not asked, UsageError where the environment does not say who asks,
        NetworkError, AuthenticationError, MalformedError.
        """
        now = self._clock()
        known = self._kept.get(uri)
        if known is not None and 0 <= (now - known[0]).total_seconds() < KEEP:
            return known[1]
        if vault := _VAULT.fullmatch(uri):
            pem = await self._of_vault(vault[1])
        elif aws := _AWS.fullmatch(uri):
            pem = await self._of_aws(uri, aws[1], aws[2], aws[3] or "", now)
        else:
            scheme = uri.partition("://")[0]
            if scheme in _NOWHERE:
                raise UnsupportedError(uri, f"{_NOWHERE[scheme]} is not asked by custody yet",
                                       hint="write the public key itself, or keep it in a Secret: k8s://namespace/name")
            raise MalformedError("key", got=uri, expected="hashivault://NAME, or awskms://[HOST]/ID, ARN or alias")
        if pem is not None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[uri] = now, pem
        return pem

    async def _of_vault(self, name: str) -> str | None:
        """Vault's or OpenBao's transit engine: GET /v1/transit/keys/NAME."""
        environ = self._environ
        address = environ.get("VAULT_ADDR") or environ.get("BAO_ADDR")
        token = environ.get("VAULT_TOKEN") or environ.get("BAO_TOKEN") or self._read_token().strip()
        if not address or not token:
            raise UsageError(f"hashivault://{name}: {'VAULT_ADDR' if not address else 'VAULT_TOKEN'} is not set")
        engine = (environ.get("TRANSIT_SECRET_ENGINE_PATH") or "transit").strip("/")
        headers = {"x-vault-token": token, "x-vault-request": "true"}
        if namespace := environ.get("VAULT_NAMESPACE") or environ.get("BAO_NAMESPACE"):
            headers["x-vault-namespace"] = namespace
        url = f"{address.rstrip('/')}/v1/{engine}/keys/{name}"
        status, answer = await self._asked("GET", url, headers, None)
        if status == 404:
            return None
        _checked(status, answer, url, "errors")
        data = _map(answer.get("data"), "data")
        versions, latest = _map(data.get("keys"), "data.keys"), str(data.get("latest_version"))
        version = _map(versions.get(latest), f"data.keys.{latest}")
        public = version.get("public_key")
        if not isinstance(public, str) or not public:
            raise MalformedError(f"{url}: public_key", got=Shape(public), expected="text: a key that signs")
        if version.get("name") == "ed25519":
            try:
                key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
            except ValueError:
                raise MalformedError(f"{url}: public_key", got=public[:60], expected="32 bytes in base64") from None
            return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return public

    async def _of_aws(self, uri: str, host: str, key: str, region: str, now: datetime) -> str | None:
        """AWS KMS: TrentService.GetPublicKey."""
        environ = self._environ
        identity = Identity(environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", ""),
                            environ.get("AWS_SESSION_TOKEN", ""))
        region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
        for name, value in (("AWS_REGION", region), ("AWS_ACCESS_KEY_ID", identity.key_id),
                            ("AWS_SECRET_ACCESS_KEY", identity.secret)):
            if not value:
                raise UsageError(f"{uri}: {name} is not set")
        if not _REGION.fullmatch(region):
            raise UsageError(f"{uri}: AWS_REGION: got {region!r}, expected a region such as eu-central-1")
        host = host.lower() or f"kms.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
        if not (_AMAZON.fullmatch(host) or host in self._hosts or host.rpartition(":")[0] in self._hosts):
            raise UsageError(f"{uri}: {host} is not Amazon's; policy_hosts of custody.toml names those that are asked")
        body = json.dumps({"KeyId": key}).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "TrentService.GetPublicKey"}
        url = f"https://{host}/"
        headers |= signed_headers("POST", url, headers, body, identity, region, "kms", now)
        status, answer = await self._asked("POST", url, headers, body)
        if str(answer.get("__type", "")).endswith("NotFoundException"):
            return None
        _checked(status, answer, url, "message")
        try:
            loaded = load_der_public_key(base64.b64decode(str(answer.get("PublicKey")), validate=True))
        except (ValueError, UnsupportedAlgorithm):
            raise MalformedError(f"{url}: PublicKey", got="no key", expected="a public key in DER") from None
        return loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    async def _asked(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
                     ) -> tuple[int, dict[str, Any]]:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UsageError(f"{url}: got no http:// or https:// URL")
        async with await self._http.request(method, url, headers={"accept": "application/json", **headers},
                                            body=body) as answer:
            data = await answer.read(_MAX_SIZE)
            try:
                document = strictjson.loads(data, url) if data else {}
            except MalformedError:
                document = {}
            return answer.status, document if isinstance(document, dict) else {}


def _checked(status: int, answer: Mapping[str, Any], url: str, said: str) -> None:
    if status == 200:
        return
    reason = answer.get(said) or answer.get("Message") or ""
    words = "; ".join(map(str, reason)) if isinstance(reason, list) else str(reason)
    message = f"{url}: answered {status}{f': {words[:300]}' if words else ''}"
    raise (AuthenticationError if status in (401, 403) else NetworkError)(message)


def _map(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(where, got=Shape(value), expected="an object")
    return value
