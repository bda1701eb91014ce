"""kyverno.x509: `x509.decode(pem)`, the fields of a certificate or certificate request as Go names them."""

from __future__ import annotations

from typing import Any

from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import DYN, STRING
from policylang.cel.values.errors import CelError


def _decode(text: str) -> Any:
    from policylang.go.x509 import CertificateError, decode_pem  # cryptography is slow to import

    try:
        return decode_pem(text)
    except CertificateError as wrong:
        raise CelError(str(wrong)) from None


LIBRARY = Library("kyverno.x509", functions=(
    function("x509.decode", Overload("x509_decode_string", (STRING,), DYN, _decode, CONSTANT)),
))
