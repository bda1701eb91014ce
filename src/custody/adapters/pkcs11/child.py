"""One question to a PKCS#11 module, in a process of its own: JSON on standard input, JSON on standard output.

What such a module does, custody cannot hold in check: it is C code that may crash, hang, or leave threads behind. Here
it ends with the process. Errors are `{"error": CODE, "message": …}`; no PIN is in them.
(OASIS PKCS #11 Base Specification 3.0; the library is python-pkcs11, the extra `pkcs11`.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

_PREFIXES = {"sha256": "3031300d060960864801650304020105000420"}
"""Of a digest in the DigestInfo that PKCS #1 v1.5 signs (RFC 8017 section 9.2, note 1)."""


class Failure(Exception):  # noqa: N818 - it is told, not raised to anybody
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # modules that print do not spoil the answer
    request = json.load(sys.stdin)
    try:
        answer = _answer(request)
    except Failure as failure:
        answer = {"error": failure.code, "message": str(failure)}
    with os.fdopen(answers, "w") as stream:
        json.dump(answer, stream)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        import pkcs11
    except ImportError:
        raise Failure("extra", "python-pkcs11 is not installed") from None
    try:
        module = pkcs11.lib(request["module"])
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        raise Failure("module", _words(error)) from None
    try:
        answer: dict[str, Any] = {"tokens": _tokens, "keys": _keys, "public": _public, "sign": _sign}[
            request["method"]](module, request)
    except pkcs11.PinIncorrect:
        raise Failure("pin", "the PIN is wrong") from None
    except pkcs11.PinLocked:
        raise Failure("pin", "the PIN is locked: it was wrong too often") from None
    except (pkcs11.PinInvalid, pkcs11.PinLenRange):
        raise Failure("pin", "the PIN is none of this token's") from None
    except pkcs11.UserNotLoggedIn:
        return {"login": True}
    except pkcs11.PinExpired:
        raise Failure("pin", "the PIN has expired: a new one must be set") from None
    except pkcs11.PKCS11Error as error:
        raise Failure("token", _words(error)) from None
    return answer


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}{f': {error}' if str(error) else ''}"


def _tokens(module: Any, _: dict[str, Any]) -> dict[str, Any]:
    return {"tokens": [
        {"slot": token.slot.slot_id, "label": token.label, "manufacturer": token.manufacturer_id, "model": token.model,
         "serial": _serial(token)} for token in module.get_tokens()]}


def _serial(token: Any) -> str:
    serial = token.serial
    return (serial.decode(errors="replace") if isinstance(serial, bytes) else str(serial)).rstrip()


def _token(module: Any, request: dict[str, Any]) -> Any:
    """The one token that is meant."""
    asked = request["token"]
    meant = [token for token in module.get_tokens()
             if all(asked[name] in ("", value) for name, value in (
                 ("label", token.label), ("manufacturer", token.manufacturer_id), ("model", token.model),
                 ("serial", _serial(token)))) and asked["slot"] in (None, token.slot.slot_id)]
    if not meant:
        present = ", ".join(f"{token.label!r} in slot {token.slot.slot_id}" for token in module.get_tokens())
        raise Failure("absent", f"there is no such token; there is {present or 'none'}")
    if len(meant) > 1:
        slots = ", ".join(str(token.slot.slot_id) for token in meant)
        raise Failure("ambiguous", f"there are {len(meant)} such tokens, in the slots {slots}: name one by slot-id or "
                      "serial")
    return meant[0]


def _session(token: Any, pin: str | None) -> Any:
    """One in which private keys are seen: with the PIN, or the one that somebody types on the token's own keypad."""
    import pkcs11

    return token.open(user_pin=pkcs11.PROTECTED_AUTH if pin is None and _has_keypad(token) else pin)


def _has_keypad(token: Any) -> bool:
    import pkcs11

    return bool(token.flags & pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH)


def _keys(module: Any, request: dict[str, Any]) -> dict[str, Any]:
    from pkcs11 import Attribute, ObjectClass

    token = _token(module, request)
    with _session(token, request["pin"]) as session:
        keys = [{"label": key.label or "", "id": (key.id or b"").hex()}
                for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})]
    return {"token": token.label, "keys": keys, "login": _wants_login(token) and request["pin"] is None}


def _wants_login(token: Any) -> bool:
    """Whether a PIN that is given would show more."""
    import pkcs11

    return bool(token.flags & pkcs11.TokenFlag.LOGIN_REQUIRED) and not _has_keypad(token)


def _objects(session: Any, request: dict[str, Any], kind: Any) -> Iterator[Any]:
    from pkcs11 import Attribute

    attributes = {Attribute.CLASS: kind}
    if request["label"]:
        attributes[Attribute.LABEL] = request["label"]
    if request["id"]:
        attributes[Attribute.ID] = bytes.fromhex(request["id"])
    objects: Iterator[Any] = session.get_objects(attributes)
    return objects


def _single(session: Any, request: dict[str, Any], kind: Any, words: str) -> Any:
    objects = list(_objects(session, request, kind))
    if len(objects) > 1:
        raise Failure("ambiguous", f"there are {len(objects)} {words} of that name: name one by its id")
    return objects[0] if objects else None


def _public(module: Any, request: dict[str, Any]) -> dict[str, Any]:
    from pkcs11 import ObjectClass

    token = _token(module, request)
    with token.open(user_pin=request["pin"]) as session:  # what is public is seen without a PIN, on most tokens
        key = _single(session, request, ObjectClass.PUBLIC_KEY, "public keys")
        if key is not None:
            return {"public": base64.b64encode(_encoded(key)).decode()}
        certificate = None if request["ignore_certificate"] else _single(
            session, request, ObjectClass.CERTIFICATE, "certificates")
        if certificate is not None:
            from pkcs11 import Attribute

            return {"certificate": base64.b64encode(certificate[Attribute.VALUE]).decode()}
        private = _single(session, request, ObjectClass.PRIVATE_KEY, "keys")
        if private is not None and _type(private) == "RSA":
            return {"public": base64.b64encode(_encoded(private)).decode()}
        return {"absent": True, "login": _wants_login(token) and request["pin"] is None, "private": private is not None}


def _type(key: Any) -> str:
    return str(key.key_type.name)


def _encoded(key: Any) -> bytes:
    """SubjectPublicKeyInfo in DER."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from pkcs11 import Attribute

    kind = _type(key)
    if kind == "RSA":
        n, e = (int.from_bytes(key[name]) for name in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT))
        return rsa.RSAPublicNumbers(e, n).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if kind == "EC":
        from pkcs11.util.ec import encode_ec_public_key

        encoded: bytes = encode_ec_public_key(key)
        return encoded
    if kind == "EC_EDWARDS":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        point = bytes(key[Attribute.EC_POINT])[-32:]  # in an OCTET STRING, or bare
        return Ed25519PublicKey.from_public_bytes(point).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raise Failure("kind", f"it is a key of type {kind}, expected EC, RSA or Ed25519")


def _sign(module: Any, request: dict[str, Any]) -> dict[str, Any]:
    import pkcs11
    from pkcs11 import Attribute, ObjectClass

    token = _token(module, request)
    with _session(token, request["pin"]) as session:
        key = _single(session, request, ObjectClass.PRIVATE_KEY, "private keys")
        if key is None:
            if _wants_login(token) and request["pin"] is None:
                return {"login": True}
            raise Failure("absent", "there is no such private key")
        if not key[Attribute.SIGN]:
            raise Failure("right", "the key may not sign (CKA_SIGN is false)")
        message, hash_name = base64.b64decode(request["message"]), request["hash"]
        try:
            mechanism, given = _mechanism(key, message, hash_name)
            again = {"pin": request["pin"]} if _asks_each_time(key) else {}
            signature = bytes(key.sign(given, mechanism=mechanism, **again))
        except (pkcs11.MechanismInvalid, pkcs11.MechanismParamInvalid):
            raise Failure("mechanism", f"the token does not sign with it by {hash_name or 'Ed25519'}") from None
    if _type(key) == "EC":
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        half = len(signature) // 2
        signature = encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
    return {"signature": base64.b64encode(signature).decode()}


def _asks_each_time(key: Any) -> bool:
    """Whether the PIN is wanted for each signature, as for the signing key of a PIV card."""
    import pkcs11

    try:
        return bool(key[pkcs11.Attribute.ALWAYS_AUTHENTICATE])
    except pkcs11.PKCS11Error:  # the token has no such attribute
        return False


def _mechanism(key: Any, message: bytes, hash_name: str) -> tuple[Any, bytes]:
    from pkcs11 import Mechanism

    kind = _type(key)
    if kind == "EC" and hash_name:
        return Mechanism.ECDSA, hashlib.new(hash_name, message).digest()
    if kind == "RSA" and hash_name in _PREFIXES:
        return Mechanism.RSA_PKCS, bytes.fromhex(_PREFIXES[hash_name]) + hashlib.new(hash_name, message).digest()
    if kind == "EC_EDWARDS" and not hash_name:
        return Mechanism.EDDSA, message
    return _no_mechanism(kind, hash_name)


def _no_mechanism(kind: str, hash_name: str) -> NoReturn:
    if kind == "EC_EDWARDS":
        raise Failure("mechanism", "on tokens an Ed25519 key does not sign as Ed25519ph, which logs "
                      "of API version 2 ask for")
    raise Failure("mechanism", f"a key of type {kind} does not sign by {hash_name or 'no hash'}")


if __name__ == "__main__":
    main()
