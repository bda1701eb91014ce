"""Fulcio's HTTP API (fulcio.proto, fulcio_legacy.proto) over a SigningAuthority."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from custody.errors import AuthenticationError, MalformedError
from custody.formats.protojson import Message, camel_case, decode_base64
from custody.kit import strictjson
from custody.server.rpcstatus import answering, body
from custody.trust.ca import SigningAuthority, SigningRequest, pems

_MAX_BODY = 64 * 1024


def routes(authority: SigningAuthority) -> list[Route]:
    """Paths below /api/v1 and /api/v2 that no other role has."""

    async def sign(request: Request) -> Response:
        chain = await authority.sign(_request_v2(await body(request, _MAX_BODY), _bearer(request)))
        return JSONResponse({"signedCertificateEmbeddedSct": {"chain": {"certificates": pems(chain)}}})

    async def sign_v1(request: Request) -> Response:
        chain = await authority.sign(_request_v1(await body(request, _MAX_BODY), _bearer(request)))
        return pem_chain(chain, 201)

    async def trust_bundle(_: Request) -> Response:
        return JSONResponse({"chains": [{"certificates": pems(authority.chain)}]})

    async def root_cert(_: Request) -> Response:
        return pem_chain(authority.chain)

    async def configuration(_: Request) -> Response:
        return JSONResponse({"issuers": [issuer.configuration() for issuer in authority.identities.issuers]})

    return [Route("/api/v2/signingCert", answering(sign), methods=["POST"]),
            Route("/api/v1/signingCert", answering(sign_v1), methods=["POST"]),
            Route("/api/v2/trustBundle", trust_bundle, methods=["GET"]),
            Route("/api/v2/configuration", configuration, methods=["GET"]),
            Route("/api/v1/rootCert", root_cert, methods=["GET"])]


def pem_chain(chain: Iterable[x509.Certificate], status: int = 200) -> Response:
    return Response("\n".join(pems(chain)) + "\n", status, media_type="application/pem-certificate-chain")


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _request_v2(data: bytes, bearer: str | None) -> SigningRequest:
    """The token in `credentials` wins over the header; fields that only other versions know are passed over."""
    root = Message(camel_case(strictjson.loads(data, "request", max_depth=16)), "request")
    credentials = root.optional("credentials")
    token = (credentials.text("oidcIdentityToken", "") if credentials else "") or bearer
    csr, request = root.raw("certificateSigningRequest"), root.optional("publicKeyRequest")
    if (csr is None) == (request is None):
        raise MalformedError("request", got="both or neither",
                             expected="one of publicKeyRequest and certificateSigningRequest")
    if request is None:
        return SigningRequest(_token(token), csr=decode_base64(csr, "request.certificateSigningRequest"))
    return SigningRequest(_token(token), public_key=request.message("publicKey").text("content").encode(),
                          proof=request.data("proofOfPossession"))


def _request_v1(data: bytes, bearer: str | None) -> SigningRequest:
    """cosign 2's older API: the key is DER in base64, the token always in the header."""
    root = Message(strictjson.loads(data, "request", max_depth=16), "request")
    if root.has("certificateSigningRequest"):
        return SigningRequest(_token(bearer), csr=root.data("certificateSigningRequest"))
    return SigningRequest(_token(bearer), public_key=root.message("publicKey").data("content"),
                          proof=root.data("signedEmailAddress"))


def _token(token: str | None) -> str:
    if not token:
        raise AuthenticationError("identity token: got none, expected credentials.oidcIdentityToken or a bearer token")
    return token
