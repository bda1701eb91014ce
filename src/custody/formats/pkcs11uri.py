"""Names of keys on tokens: `pkcs11:token=T;object=O?module-path=/usr/lib/….so` (RFC 7512).

An attribute that custody does not go by is refused: what it says would not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from custody.errors import MalformedError, UnsupportedError

SCHEME = "pkcs11:"
_URI = "PKCS#11 URI"
_PATH = ("token", "manufacturer", "model", "serial", "slot-id", "object", "id", "type")
_QUERY = ("module-path", "pin-value", "pin-source")
_ELSE = ("library-manufacturer", "library-description", "library-version", "slot-manufacturer", "slot-description",
         "module-name")
_MAX_SIZE = 8192
_SAFE = "-._~:[]@!$'()*+,=&"
"""What stands in a path's attribute as it is (RFC 7512 section 2.3, pk11-path-res-avail)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """Which object of which token. What is empty or None is not said."""

    token: str = ""
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    slot: int | None = None
    label: str = ""
    """Of the object."""
    id: bytes = b""
    module: str = ""
    pin: str | None = field(default=None, repr=False)
    pin_source: str = ""

    def __str__(self) -> str:
        """Without the PIN."""
        module = f"?module-path={quote(self.module, safe=_SAFE + '/')}" if self.module else ""
        return self.name + module

    @property
    def name(self) -> str:
        """Which object it is, wherever its module lies."""
        stated = (("token", self.token), ("manufacturer", self.manufacturer), ("model", self.model),
                  ("serial", self.serial), ("slot-id", "" if self.slot is None else str(self.slot)))
        parts = [f"{name}={quote(value, safe=_SAFE)}" for name, value in stated if value]
        if self.id:
            parts.append("id=" + "".join(f"%{byte:02x}" for byte in self.id))
        if self.label:
            parts.append(f"object={quote(self.label, safe=_SAFE)}")
        return SCHEME + ";".join(parts)


def is_token(text: str) -> bool:
    """Whether it is meant for a name of a key on a token, rightly written or not: a PIN may be in it."""
    return text.lstrip()[:len(SCHEME)].lower() == SCHEME


def parse(text: str) -> TokenUri:
    """Raises MalformedError, UnsupportedError, which say nothing of a PIN."""
    if not text.startswith(SCHEME) or len(text) > _MAX_SIZE:
        raise MalformedError("key", got=text.partition(":")[0][:200] + ":…", expected=f"{SCHEME}token=…;object=…")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    said = {**_attributes(path, ";", _PATH), **_attributes(query, "&", _QUERY)}
    slot = _text(said, "slot-id")
    if slot and not (slot.isascii() and slot.isdigit() and len(slot) < 20):
        raise MalformedError(f"{_URI}: slot-id", got=slot, expected="a number")
    if (kind := _text(said, "type")) not in ("", "private"):
        raise MalformedError(f"{_URI}: type", got=kind, expected="private, or nothing: a key signs")
    pin = said.get("pin-value")
    uri = TokenUri(token=_text(said, "token"), manufacturer=_text(said, "manufacturer"), model=_text(said, "model"),
                   serial=_text(said, "serial"), slot=int(slot) if slot else None, label=_text(said, "object"),
                   id=said.get("id", b""), module=_text(said, "module-path"), pin_source=_text(said, "pin-source"),
                   pin=None if pin is None else pin.decode(errors="surrogateescape"))
    if pin is not None and uri.pin_source:
        raise MalformedError(_URI, got="pin-value and pin-source", expected="one of them")
    if not (uri.token or uri.serial or slot):
        raise MalformedError(_URI, got="neither token nor slot-id", expected="token=LABEL, serial=… or "
                             "slot-id=NUMBER")
    if not (uri.label or uri.id):
        raise MalformedError(_URI, got="neither object nor id", expected="object=LABEL or id=%01")
    return uri


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    said: dict[str, bytes] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if not equals:
            raise MalformedError(_URI, got="an attribute without '='",
                                 expected=f"NAME=VALUE with {separator!r} between them")
        if name not in known:
            hint = "module-path=/PATH/OF/MODULE.so" if name == "module-name" else None
            if name in _ELSE:
                raise UnsupportedError(f"{_URI}: {name}", "custody does not go by it", hint=hint)
            raise MalformedError(f"{_URI}: attribute", got=name[:60],
                                 expected=f"{', '.join(known)}, with {separator!r} between them")
        if name in said:
            raise MalformedError(f"{_URI}: {name}", got="it twice", expected="it once (RFC 7512 section 2.3)")
        said[name] = unquote_to_bytes(value)
    return said


def _text(said: dict[str, bytes], name: str) -> str:
    try:
        return said.get(name, b"").decode()
    except UnicodeDecodeError:
        raise MalformedError(f"{_URI}: {name}", got="bytes", expected="UTF-8, percent-encoded") from None
