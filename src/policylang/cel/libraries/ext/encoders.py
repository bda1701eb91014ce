"""cel.lib.ext.encoders: base64."""

from __future__ import annotations

import base64
import binascii
import re

from policylang.budget import Meter
from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Function, Library, Overload
from policylang.cel.types import BYTES, STRING
from policylang.cel.values.errors import CelError

_FOREIGN = re.compile(r"[^A-Za-z0-9+/\r\n]")


def _decode(text: str) -> bytes:
    """With or without padding; line breaks are passed over, as Go does. The error is of the unpadded reading."""
    plain = text.replace("\n", "").replace("\r", "")
    try:
        return base64.b64decode(plain if plain.endswith("=") else plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        wrong = _FOREIGN.search(text)
        at = wrong.start() if wrong else max(len(text) - 1, 0)
        raise CelError(f"illegal base64 data at input byte {at}") from None


def _encode(data: bytes, meter: Meter) -> str:
    meter.fit(len(data) * 4 // 3)
    return base64.b64encode(data).decode()


LIBRARY = Library("cel.lib.ext.encoders", functions=(
    Function("base64.decode", (Overload("base64_decode_string", (STRING,), BYTES, _decode, CONSTANT),)),
    Function("base64.encode", (Overload("base64_encode_bytes", (BYTES,), STRING, _encode, CONSTANT, metered=True),)),
))
