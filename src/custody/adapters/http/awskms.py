"""Keys of AWS KMS: `awskms://[HOST[:PORT]]/ID`, an ARN, or `alias/NAME`.

Who asks, and in which region, is said by the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_SESSION_TOKEN`, `AWS_REGION`), else by AWS's own files of profiles. Nobody is asked for credentials.
(docs.aws.amazon.com/kms/latest/APIReference: GetPublicKey, Sign, CreateKey, CreateAlias.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from custody.adapters.http.jsonservice import Reply, ask, check, decoded
from custody.adapters.http.sigv4 import Identity, signed_headers
from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.kit.clock import Clock
from custody.ports.http import Http

_ID = "(?:mrk-)?[A-Fa-f0-9]{8}-?[A-Fa-f0-9]{4}-?[A-Fa-f0-9]{4}-?[A-Fa-f0-9]{4}-?[A-Fa-f0-9]{12}|mrk-[a-f0-9]{32}"
REFERENCE = re.compile(rf"awskms://((?:[A-Za-z0-9.-]+|\[[A-Fa-f0-9:]+\])?(?::\d{{1,5}})?)/((?:arn:aws(?:-us-gov|-cn)?:kms:([a-z0-9-]+):\d{{12}}:)?"
                       rf"(?:(?:key/)?(?:{_ID})|alias/[A-Za-z0-9/_-]+))")
_AMAZON = re.compile(r"kms(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
_REGION = re.compile(r"[a-z0-9-]+")
_ALIAS = re.compile(r"(?:.*:)?(alias/.+)")
_DENIED = ("AccessDeniedException", "ExpiredTokenException", "IncompleteSignatureException", "InvalidClientTokenId",
           "InvalidSignatureException", "MissingAuthenticationToken", "NotAuthorized", "UnrecognizedClientException")
DEFAULT_SPEC = "ECC_NIST_P256"
"""Of a key that is made, as cosign makes it."""


class AwsKey:
    """Implements ports.keyservice.KeyService."""

    def __init__(self, http: Http, environ: Mapping[str, str], name: str, clock: Clock,
                 asked: Callable[[str], bool] = lambda _: True,
                 profile: Callable[[], Mapping[str, str]] = dict) -> None:
        """`asked`: whether a host that is not Amazon's is asked; `profile`: what the files of profiles say, by the
        names of the variables in whose place it stands. Raises MalformedError."""
        matched = REFERENCE.fullmatch(name)
        if matched is None:
            raise MalformedError("key", got=name, expected="awskms://[HOST]/ID, ARN or alias")
        self.name = name
        self._host, self._key, self._region = matched[1].lower(), matched[2], matched[3] or ""
        self._http = http
        self._environ = environ
        self._clock = clock
        self._asked = asked
        self._profile = profile
        self._signing: tuple[str, ...] | None = None

    async def public_key(self) -> str | None:
        reply = await self._ask("GetPublicKey", {"KeyId": self._key})
        if _kind(reply) == "NotFoundException":
            return None
        _check(reply)
        try:
            loaded = load_der_public_key(base64.b64decode(str(reply.document.get("PublicKey")), validate=True))
        except (ValueError, UnsupportedAlgorithm):
            raise MalformedError(f"{reply.where}: PublicKey", got="no key", expected="a public key in DER") from None
        listed = reply.document.get("SigningAlgorithms")
        self._signing = tuple(map(str, listed)) if isinstance(listed, list) else None
        arn = reply.document.get("KeyId")
        if isinstance(arn, str) and arn.startswith("arn:"):
            self._key = arn  # an alias may be another key's when it comes to signing
        return loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    async def sign(self, message: bytes, hash_name: str) -> bytes:
        if self._signing is None:
            raise UnsupportedError(self.name, "is no key that signs")
        family = "ECDSA" if any(name.startswith("ECDSA") for name in self._signing) else "RSASSA_PKCS1_V1_5"
        algorithm = f"{family}_SHA_{hash_name.removeprefix('sha')}"
        if not hash_name or algorithm not in self._signing:
            raise UnsupportedError(self.name, f"signs by {', '.join(self._signing) or 'nothing'}, and "
                                   f"{algorithm if hash_name else 'the message itself'} is asked for")
        request = {"KeyId": self._key, "Message": base64.b64encode(hashlib.new(hash_name, message).digest()).decode(),
                   "MessageType": "DIGEST", "SigningAlgorithm": algorithm}
        reply = await self._ask("Sign", request)
        _check(reply)
        return decoded(reply.document.get("Signature"), f"{reply.where}: Signature")

    async def create(self) -> str:
        """An alias alone can be given to a new key."""
        alias = _ALIAS.fullmatch(self._key)
        if alias is None:
            raise UsageError(f"{self.name}: got the name of a key that AWS gives itself, expected awskms:///alias/NAME")
        if (pem := await self.public_key()) is not None:
            return pem
        reply = await self._ask("CreateKey", {"KeySpec": DEFAULT_SPEC, "KeyUsage": "SIGN_VERIFY",
                                                   "Description": "signs container images"})
        _check(reply)
        metadata = reply.document.get("KeyMetadata")
        target = metadata.get("KeyId") if isinstance(metadata, dict) else None
        if not isinstance(target, str):
            raise MalformedError(f"{reply.where}: KeyMetadata.KeyId", got="none", expected="the key that was made")
        reply = await self._ask("CreateAlias", {"AliasName": alias[1], "TargetKeyId": target})
        _check(reply)
        pem = await self.public_key()
        if pem is None:
            raise MalformedError(reply.where, got="no key", expected="the key that was made")
        return pem

    async def _ask(self, action: str, request: dict[str, Any]) -> Reply:
        identity, region = self._identity()
        host = self._host or f"kms.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
        if not (_AMAZON.fullmatch(host) or self._asked(host)):
            raise UsageError(f"{self.name}: {host} is not Amazon's; policy_hosts of custody.toml names those that are "
                             "asked")
        body = json.dumps(request).encode()
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{action}"}
        url = f"https://{host}/"
        headers |= signed_headers("POST", url, headers, body, identity, region, "kms", self._clock())
        return await ask(self.name, self._http, "POST", url, headers, body)

    def _identity(self) -> tuple[Identity, str]:
        own = self._environ
        region = self._region or own.get("AWS_REGION") or own.get("AWS_DEFAULT_REGION") or ""
        stated = own if own.get("AWS_ACCESS_KEY_ID") else self._profile()  # both or neither: a token goes with its key
        identity = Identity(stated.get("AWS_ACCESS_KEY_ID", ""), stated.get("AWS_SECRET_ACCESS_KEY", ""),
                            stated.get("AWS_SESSION_TOKEN", ""))
        region = region or self._profile().get("AWS_REGION", "")
        for name, value in (("AWS_REGION", region), ("AWS_ACCESS_KEY_ID", identity.key_id),
                            ("AWS_SECRET_ACCESS_KEY", identity.secret)):
            if not value:
                raise UsageError(f"{self.name}: {name} is not set", hint="machines' roles, SSO and web identities: "
                                 "aws configure export-credentials --format env")
        if not _REGION.fullmatch(region):
            raise UsageError(f"{self.name}: AWS_REGION: got {region!r}, expected a region such as eu-central-1")
        return identity, region


def _kind(reply: Reply) -> str:
    return str(reply.document.get("__type", "")).rpartition("#")[2]


def _check(reply: Reply) -> None:
    kind = _kind(reply)
    reason = reply.document.get("message") or reply.document.get("Message") or kind
    check(reply, reason, denied=kind in _DENIED)
