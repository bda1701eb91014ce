"""Tokens behind a PKCS#11 module, and keys on them: what is asked of the child process, and what it answers."""

from __future__ import annotations

import base64
import json
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from custody.errors import (
    AuthenticationError,
    CustodyError,
    MalformedError,
    NetworkError,
    NotFoundError,
    UnsupportedError,
    UsageError,
)
from custody.formats.pkcs11uri import TokenUri
from custody.kit import regular, strictjson
from custody.kit.members import list_of, mapping, text_of
from custody.ports.programs import Programs

_SECONDS = 120.0
"""In which a module answers: somebody may have to touch a token."""
_MAX_ANSWER = 1 << 20
_MAX_PIN = 4096
_ERRORS: Mapping[str, type[CustodyError]] = {
    "pin": AuthenticationError, "absent": NotFoundError, "ambiguous": UsageError, "right": UsageError}
_EXTRA = "pip install '.[pkcs11]' where custody's sources are"


class Token(NamedTuple):
    slot: int
    label: str
    manufacturer: str
    model: str
    serial: str


class Module:
    """One module. Every method runs a child process, and raises AuthenticationError where the PIN is wrong, missing or
    locked, NotFoundError, UsageError for a module that is none, UnsupportedError where the extra is not installed,
    NetworkError where the module does not answer in time, CustodyError where it fails or crashes."""

    def __init__(self, path: str, programs: Programs, *, seconds: float = _SECONDS) -> None:
        """Raises UsageError for what is no file by its whole path."""
        if not path.startswith("/"):
            raise UsageError(f"PKCS#11 module: got {path!r}, expected the whole path of a library",
                             hint="module-path in the URI, or COSIGN_PKCS11_MODULE_PATH")
        try:
            regular = stat.S_ISREG(Path(path).stat().st_mode)
        except (OSError, ValueError) as error:
            raise UsageError(f"PKCS#11 module {path}: {getattr(error, 'strerror', None) or 'no file name'}") from None
        if not regular:
            raise UsageError(f"PKCS#11 module {path}: got no regular file, expected a library")
        self.path = path
        self._programs = programs
        self._seconds = seconds

    async def tokens(self) -> list[Token]:
        answer = await self._ask(self.path, {"method": "tokens"})
        return [Token(int(entry["slot"]), *(text_of(entry, name) for name in ("label", "manufacturer", "model",
                                                                              "serial")))
                for entry in list_of(answer, "tokens")]

    async def keys(self, slot: int, pin: str | None) -> tuple[list[TokenUri], bool]:
        """Names of the private keys on the token in a slot, and whether a PIN might show more."""
        where = f"slot {slot} of {self.path}"
        token = {"label": "", "manufacturer": "", "model": "", "serial": "", "slot": slot}
        answer = await self._ask(where, {"method": "keys", "token": token, "pin": pin})
        names = [TokenUri(token=text_of(answer, "token"), slot=slot, id=bytes.fromhex(text_of(entry, "id")),
                          label=text_of(entry, "label"), module=self.path) for entry in list_of(answer, "keys")]
        return [name for name in names if name.id or name.label], answer.get("login") is True

    async def ask(self, uri: TokenUri, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        token = {"label": uri.token, "manufacturer": uri.manufacturer, "model": uri.model, "serial": uri.serial,
                 "slot": uri.slot}
        return await self._ask(uri.name, {"method": method, "token": token, "label": uri.label, "id": uri.id.hex(),
                                          **request})

    async def _ask(self, where: str, request: Mapping[str, Any]) -> dict[str, Any]:
        # -P: what lies in the working directory is not imported. The PIN is on standard input, where nobody sees it.
        argv = [sys.executable, "-P", "-m", "custody.adapters.pkcs11.child"]
        given = json.dumps({**request, "module": self.path}).encode()
        try:
            # In place, not in a thread: whoever interrupts a command ends the child too.
            done = self._programs.run(argv, given, seconds=self._seconds, limit=_MAX_ANSWER)
        except NetworkError:
            raise NetworkError(f"{where}: the module {self.path} was ended: it did not answer within "
                               f"{self._seconds:g} s") from None
        try:
            answer = mapping(strictjson.loads(done.output, where, max_size=_MAX_ANSWER, max_depth=8), where)
        except MalformedError:
            words = done.errors[-300:].decode(errors="replace").strip().rpartition("\n")[2]
            ended = f"signal {-done.status}" if done.status < 0 else f"status {done.status}"
            raise CustodyError(f"{where}: the module {self.path} ended its process with {ended}"
                               f"{f': {words}' if words else ''}") from None
        if code := text_of(answer, "error"):
            raise self._failure(where, code, text_of(answer, "message"))
        return answer

    def _failure(self, where: str, code: str, message: str) -> CustodyError:
        if code == "extra":
            return UnsupportedError(where, "keys on PKCS#11 tokens need python-pkcs11, which is not installed",
                                    hint=_EXTRA)
        if code == "module":
            return UsageError(f"PKCS#11 module {self.path}: cannot be loaded: {message}")
        if code in ("kind", "mechanism"):
            return UnsupportedError(where, message)
        return _ERRORS.get(code, CustodyError)(f"{where}: {message}")


class TokenKey:
    """Implements ports.keyservice.KeyService."""

    def __init__(self, uri: TokenUri, module: Module, stated: Callable[[], str | None],
                 ask: Callable[[str], str | None] | None = None, *, ignore_certificate: bool = False) -> None:
        """`stated`: the PIN that is written somewhere; `ask` asks a person for that of the key of a name. Both are
        called where the token wants one, and at most once. `ignore_certificate`: the public key of a certificate beside
        the private key does not stand for one that is not there."""
        self.name = uri.name
        self._uri = uri
        self._module = module
        self._stated = stated
        self._ask = ask
        self._pin: str | None = None
        self._ignore = ignore_certificate

    async def public_key(self) -> str | None:
        request = {"pin": None, "ignore_certificate": self._ignore}
        answer = await self._module.ask(self._uri, "public", request)
        if answer.get("login") is True and (pin := self._known()) is not None:  # wrong PINs count: none in vain
            answer = await self._module.ask(self._uri, "public", {**request, "pin": pin})
        if answer.get("absent") is True:
            if answer.get("private") is True:
                raise UnsupportedError(self.name, "the private key is there, and neither its public key nor "
                                       "a certificate")
            return None
        encoded = text_of(answer, "certificate") or text_of(answer, "public")
        data = base64.b64decode(encoded)
        try:
            key = x509.load_der_x509_certificate(data).public_key() if "certificate" in answer else \
                load_der_public_key(data)
        except ValueError:
            raise MalformedError(self.name, got="what is no key", expected="a public key or a certificate") from None
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    async def sign(self, message: bytes, hash_name: str) -> bytes:
        request = {"hash": hash_name, "message": base64.b64encode(message).decode()}
        answer = await self._module.ask(self._uri, "sign", {**request, "pin": self._pin})
        if answer.get("login") is True and self._pin is None and self._known() is not None:
            answer = await self._module.ask(self._uri, "sign", {**request, "pin": self._pin})
        if answer.get("login") is True:
            raise AuthenticationError(f"{self.name}: the token wants a PIN before it signs",
                                      hint="set COSIGN_PKCS11_PIN")
        return base64.b64decode(text_of(answer, "signature"))

    async def create(self) -> str:
        raise UnsupportedError(self.name, "custody makes no keys on tokens", hint="pkcs11-tool --keypairgen, or the "
                               "token's own tool")

    def _known(self) -> str | None:
        if self._pin is None:
            self._pin = self._stated()
            if self._pin is None and self._ask is not None:
                self._pin = self._ask(self.name)
                self._ask = None
        return self._pin


def stated_pin(uri: TokenUri, environ: Mapping[str, str]) -> str | None:
    """The PIN of the URI, of its pin-source, or of COSIGN_PKCS11_PIN. Raises UsageError, UnsupportedError."""
    if uri.pin is not None:
        return uri.pin
    if not uri.pin_source:
        return environ.get("COSIGN_PKCS11_PIN") or None
    path = uri.pin_source.removeprefix("file:").removeprefix("//")
    if not path.startswith("/"):
        raise UnsupportedError("pkcs11: pin-source", "custody reads it from a file", hint="pin-source=/PATH or "
                               "file:/PATH")
    try:
        return regular.limited(Path(path), _MAX_PIN, "pkcs11: pin-source").decode().rstrip("\n")
    except UnicodeDecodeError:
        raise UsageError(f"pkcs11: pin-source {path}: no text") from None
