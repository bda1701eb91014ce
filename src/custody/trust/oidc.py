"""custody's own OIDC issuer: who is who on this machine, for the embedded CA.

Tokens are minted by calling Python, or by a command that reads the key's file, never over HTTP. Whoever can mint may
sign as anybody; on loopback that would be every user and every process of the machine, build steps and browsers'
pages included. Only discovery and public keys are served. The key's file has mode 0600, so the operating system says
who may mint.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.errors import UsageError
from custody.kit.clock import Clock
from custody.trust.keys import spki
from custody.trust.token import sign_token

AUDIENCE = "sigstore"


class OidcIssuer:
    """An issuer at `url`, which may have a path; two issuers of one machine may share a key."""

    def __init__(self, url: str, key: ec.EllipticCurvePrivateKey, clock: Clock) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._clock = clock
        self._kid = hashlib.sha256(spki(key.public_key())).hexdigest()[:16]

    def mint_email(self, email: str, *, audience: str = AUDIENCE, lifetime: timedelta = timedelta(minutes=10)) -> str:
        """A token for a person, whose address this issuer vouches for."""
        return self.mint({"sub": email, "email": email, "email_verified": True}, audience=audience, lifetime=lifetime)

    def mint_workflow(self, repository: str, workflow: str, ref: str, sha: str, *, event: str = "push",
                      run: tuple[int, int] = (1, 1), claims: Mapping[str, str] | None = None,
                      audience: str = AUDIENCE, lifetime: timedelta = timedelta(minutes=10)) -> str:
        """A token for a build, with the claims of a GitHub Actions token.

        `repository` owner/name, `workflow` a path in it, `ref` such as refs/heads/main, `sha` the commit,
        `run` number and attempt; `claims` are added or replace others.
        """
        owner, slash, _ = repository.partition("/")
        if not slash:
            raise UsageError(f"repository: got {repository!r}, expected owner/name")
        at = f"{repository}/{workflow}@{ref}"
        return self.mint({
            "sub": f"repo:{repository}:ref:{ref}", "repository": repository, "repository_owner": owner,
            "repository_id": _number(repository), "repository_owner_id": _number(owner),
            "repository_visibility": "private", "ref": ref, "sha": sha, "event_name": event, "actor": owner,
            "workflow": workflow.rpartition("/")[2].partition(".")[0], "workflow_ref": at, "workflow_sha": sha,
            "job_workflow_ref": at, "job_workflow_sha": sha, "run_id": str(run[0]), "run_attempt": str(run[1]),
            "runner_environment": "self-hosted", **(claims or {})}, audience=audience, lifetime=lifetime)

    def mint(self, claims: Mapping[str, Any], *, audience: str = AUDIENCE,
             lifetime: timedelta = timedelta(minutes=10)) -> str:
        """A token with these claims and iss, aud, iat, nbf, exp."""
        now = int(self._clock().timestamp())
        return sign_token({"iss": self.url, "aud": audience, "iat": now, "nbf": now,
                           "exp": now + int(lifetime.total_seconds()), **claims}, self._key, self._kid)

    def discovery(self) -> bytes:
        """The document at /.well-known/openid-configuration (OpenID Connect Discovery section 3)."""
        return json.dumps({
            "issuer": self.url, "jwks_uri": f"{self.url}/keys", "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["openid"], "claims_supported": ["sub", "aud", "exp", "iat", "iss", "email"]}).encode()

    def jwks(self) -> bytes:
        """The JWK set (RFC 7517)."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        x, y = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (point[1:33], point[33:]))
        return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self._kid, "alg": "ES256",
                                     "use": "sig"}]}).encode()


def _number(name: str) -> str:
    """A stable number where GitHub has a database ID."""
    return str(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
