"""Provider (externaldata.gatekeeper.sh v1beta1, v1alpha1): a server that templates and mutators may ask.

frameworks/constraint pkg/apis/externaldata and pkg/externaldata. It is asked over TLS alone, and known by its caBundle:
so a document names both the place and who is there, and no setting need allow the host.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.lookup import Answers, LookupFailedError
from custody.ports.lookup import ExternalData
from policylang.errors import Shape

VERSIONS = ("v1beta1", "v1alpha1")
_LONGEST = 30
"""Seconds: no API server waits longer for a webhook."""
_LONGEST_BUNDLE = 256 * 1024


class Provider:
    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.name = Fields(fields.need("metadata", dict), "metadata").need("name", str)
        spec = Fields(fields.need("spec", dict), "spec")
        fields.any("status")
        fields.done()
        self._url = _url(spec.need("url", str), spec.path("url"))
        timeout = spec.take("timeout", int)
        if timeout is None or not 0 < timeout <= _LONGEST:
            raise MalformedError(spec.path("timeout"), got="nothing" if timeout is None else timeout,
                                 expected=f"seconds, 1 to {_LONGEST}")
        self._timeout = timeout
        self._authorities = _bundle(spec.need("caBundle", str), spec.path("caBundle"))
        spec.done()

    def question(self, keys: Sequence[str]) -> ExternalData:
        """Each key once, in the order in which they come first."""
        return ExternalData(self.name, tuple(dict.fromkeys(keys)), self._url, self._timeout, self._authorities)


class UnknownProviderError(MalformedError):
    """No document is there by this name."""


class Providers:
    """Those of a set of policies, by name."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers

    def answer(self, name: str, keys: Sequence[str], answers: Answers) -> dict[str, Any]:
        """`response` of a ProviderResponse: items, systemError, idempotent.

        Raises UnknownProviderError, UnansweredError, LookupFailedError.
        """
        provider = self._providers.get(name)
        if provider is None:
            raise UnknownProviderError(f"provider {name}", got="no Provider of this name", expected="one")
        question = provider.question(keys)
        answer = answers.value(question)
        response = answer.get("response") if isinstance(answer, dict) else None
        if not isinstance(response, dict):
            raise LookupFailedError(question, f"got {Shape(answer)}, expected a response")
        return response


NOBODY = Providers({})


def _url(text: str, where: str) -> str:
    expected = "https://HOST[:PORT]/PATH"
    try:
        parts = urlsplit(text)
        plain = parts.scheme == "https" and parts.hostname and parts.port != 0 and not parts.fragment
    except ValueError:
        raise MalformedError(where, got=text, expected=expected) from None
    if not plain or "@" in parts.netloc or not text.isprintable() or " " in text:
        raise MalformedError(where, got=text, expected=expected)
    return text


def _bundle(text: str, where: str) -> str:
    """The certificates in PEM."""
    expected = "base64 of certificates in PEM"
    if len(text) > _LONGEST_BUNDLE:
        raise MalformedError(where, got=f"{len(text)} characters", expected=f"at most {_LONGEST_BUNDLE}")
    try:
        pem = base64.b64decode("".join(text.split()), validate=True)
        x509.load_pem_x509_certificates(pem)
        return pem.decode()
    except (binascii.Error, ValueError) as error:
        raise MalformedError(where, got=str(error)[:100], expected=expected) from None
