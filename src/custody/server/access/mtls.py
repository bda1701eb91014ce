"""Client certificates as credentials: TLS has verified the chain, here are the names (RFC 5280 section 4.2.1.6)."""

from __future__ import annotations

from collections.abc import Collection

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from custody.server.access.rules import CERTIFICATE, Caller
from custody.server.asgi import Answer, App, Receive, Scope, Send, prompt_of, respond_json


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """URIs, email addresses and DNS names; the subject's common name only of a certificate without any of these."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        alternatives = tuple(name for kind in (x509.UniformResourceIdentifier, x509.RFC822Name, x509.DNSName)
                             for name in names.get_values_for_type(kind))
    except x509.ExtensionNotFound:
        alternatives = ()
    if alternatives:
        return alternatives
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (str(common[0].value),) if len(common) == 1 else ()


def caller_of(scope: Scope) -> Caller | None:
    """Who a verified certificate says that the client is; None without one, or where it has no name."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain") or ()
    if not chain:
        return None
    try:
        names = names_of(x509.load_pem_x509_certificate(chain[0].encode()))
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
            x509.UnsupportedGeneralNameType):  # OpenSSL read it, and cryptography does not: nobody is named by that
        return None
    return Caller(CERTIFICATE, names) if names else None


class Named:
    """An ASGI application for clients whose certificate has one of `names`; others get 403, which says so."""

    def __init__(self, app: App, names: Collection[str], setting: str = "webhook_client_names") -> None:
        self._app = app
        self._setting = setting
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(scope)
        if not self._admits(caller, scope):
            # As a Status of meta/v1: the API server tells its clients the message of no other answer.
            await respond_json(send, 403, {
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
                "code": 403, "message": f"the client certificate is of {caller or 'nobody'}, expected one of "
                                        f"{self._setting}"})
            return
        await self._app(scope, receive, send)

    def prompt(self, scope: Scope, body: bytes) -> Answer | App:
        prompt = prompt_of(self._app)
        if prompt is None or not self._admits(caller_of(scope), scope):
            return self
        return prompt(scope, body)

    def _admits(self, caller: Caller | None, scope: Scope) -> bool:
        if caller is None or not self._names.intersection(caller.names):
            return False
        scope["custody.identity"] = str(caller)
        return True
