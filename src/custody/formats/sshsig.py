"""SSH signatures: the armoured SSHSIG blob, and the keys that make them (OpenSSH PROTOCOL.sshsig, RFC 4253 6.6).

Ed25519, ECDSA over the NIST curves and RSA with SHA-2 are verified; keys on hardware (sk-…), certificates and RSA with
SHA-1 are refused by name.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.formats.protojson import decode_base64

ARMOR, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAX_SIZE = 64 * 1024
_CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()), "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512())}
_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}


@dataclass(frozen=True, slots=True)
class SshSignature:
    """One signature: who could have made it, for what purpose, over which hash of the message."""

    public_key: bytes
    """The key blob, as in `ssh-ed25519 <base64 of this>`."""
    namespace: str
    hash_algorithm: str
    signature: bytes
    """Algorithm name and raw signature, as SSH strings."""

    def to_armor(self) -> str:
        body = b"SSHSIG\x00\x00\x00\x01" + b"".join(map(_string, (
            self.public_key, self.namespace.encode(), b"", self.hash_algorithm.encode(), self.signature)))
        text = base64.b64encode(body).decode()
        return "\n".join([ARMOR, *(text[i:i + 70] for i in range(0, len(text), 70)), _END]) + "\n"

    def verify(self, message: bytes, namespace: str) -> None:
        """Raises VerificationError unless this key signed `message` for `namespace`."""
        if self.namespace != namespace:
            raise VerificationError(f"SSH signature: namespace {self.namespace!r}, expected {namespace!r}")
        signed = signed_bytes(message, self.namespace, self.hash_algorithm)
        key_type, key = load_public_key(self.public_key)
        reader = _Reader(self.signature, "SSH signature")
        algorithm, raw = reader.text("algorithm"), reader.string("signature")
        reader.end()
        try:
            if isinstance(key, rsa.RSAPublicKey):
                if algorithm not in _RSA_HASHES:
                    raise UnsupportedError("SSH signature: algorithm", f"{algorithm!r} with an RSA key is not accepted",
                                           hint="ssh-keygen signs with rsa-sha2-512 by default")
                key.verify(raw, signed, padding.PKCS1v15(), _RSA_HASHES[algorithm])
                return
            if algorithm != key_type:
                raise VerificationError(f"SSH signature: algorithm {algorithm!r} with a key of type {key_type!r}")
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(raw, signed)
            else:
                numbers = _Reader(raw, "SSH signature")
                der = encode_dss_signature(numbers.integer("r"), numbers.integer("s"))
                numbers.end()
                key.verify(der, signed, ec.ECDSA(_CURVES[key_type.rpartition("-")[2]][1]))
        except InvalidSignature:
            raise VerificationError(f"SSH signature: does not fit the message and key {fingerprint(self.public_key)}"
                                    ) from None


PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def parse_armor(text: str, where: str = "SSH signature") -> SshSignature:
    """Decode `-----BEGIN SSH SIGNATURE-----`. Raises MalformedError."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(text) > _MAX_SIZE or len(lines) < 3 or lines[0] != ARMOR or lines[-1] != _END:
        raise MalformedError(where, got=lines[0] if lines else "nothing", expected=f"{ARMOR} … {_END}")
    data = decode_base64("".join(lines[1:-1]), where)
    reader = _Reader(data, where)
    if reader.take(6) != b"SSHSIG" or reader.number() != 1:
        raise MalformedError(where, got=data[:10], expected="SSHSIG version 1")
    key, namespace = reader.string("public key"), reader.text("namespace")
    reader.string("reserved")
    hash_algorithm, signature = reader.text("hash algorithm"), reader.string("signature")
    reader.end()
    if hash_algorithm not in ("sha256", "sha512"):
        raise UnsupportedError(f"{where}: hash algorithm", f"{hash_algorithm!r} is neither sha256 nor sha512")
    return SshSignature(key, namespace, hash_algorithm, signature)


def signed_bytes(message: bytes, namespace: str, hash_algorithm: str) -> bytes:
    """What the key signs (PROTOCOL.sshsig section 3)."""
    digest = hashlib.new(hash_algorithm, message).digest()
    return b"SSHSIG" + b"".join(map(_string, (namespace.encode(), b"", hash_algorithm.encode(), digest)))


def sign_ed25519(key: ed25519.Ed25519PrivateKey, message: bytes, namespace: str) -> SshSignature:
    raw = key.sign(signed_bytes(message, namespace, "sha512"))
    return SshSignature(ed25519_blob(key.public_key()), namespace, "sha512",
                        _string(b"ssh-ed25519") + _string(raw))


def ed25519_blob(key: ed25519.Ed25519PublicKey) -> bytes:
    return _string(b"ssh-ed25519") + _string(key.public_bytes_raw())


def fingerprint(blob: bytes) -> str:
    """`SHA256:…` as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def load_public_key(blob: bytes, where: str = "SSH public key") -> tuple[str, PublicKey]:
    """Key type and key. Raises MalformedError, UnsupportedError."""
    reader = _Reader(blob, where)
    kind = reader.text("type")
    try:
        if kind == "ssh-ed25519":
            result: PublicKey = ed25519.Ed25519PublicKey.from_public_bytes(reader.string("key"))
        elif kind.startswith("ecdsa-sha2-") and kind[11:] in _CURVES:
            if reader.text("curve") != kind[11:]:
                raise MalformedError(where, got="another curve inside", expected=kind[11:])
            result = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[kind[11:]][0], reader.string("point"))
        elif kind == "ssh-rsa":
            exponent, modulus = reader.integer("e"), reader.integer("n")
            if modulus.bit_length() < 2048:
                raise UnsupportedError(where, f"RSA of {modulus.bit_length()} bits is too weak; at least 2048")
            result = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        else:
            raise UnsupportedError(where, f"keys of type {kind!r} are not verified by custody yet")
    except ValueError as error:
        raise MalformedError(where, got=str(error), expected=f"a key of type {kind}") from None
    reader.end()
    return kind, result


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


class _Reader:
    """SSH's wire types (RFC 4251 section 5)."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._at, self._where = data, 0, where

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise MalformedError(self._where, got=f"the end after {len(self._data)} bytes", expected=f"{size} more")
        self._at += size
        return self._data[self._at - size:self._at]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self, name: str) -> bytes:
        size = self.number()
        if size > _MAX_SIZE:
            raise MalformedError(f"{self._where}: {name}", got=f"{size} bytes", expected=f"at most {_MAX_SIZE}")
        return self.take(size)

    def text(self, name: str) -> str:
        try:
            return self.string(name).decode("ascii")
        except UnicodeDecodeError:
            raise MalformedError(f"{self._where}: {name}", got="bytes", expected="ASCII text") from None

    def integer(self, name: str) -> int:
        value = int.from_bytes(self.string(name), "big", signed=True)
        if value <= 0:
            raise MalformedError(f"{self._where}: {name}", got=value, expected="a positive number")
        return value

    def end(self) -> None:
        if self._at != len(self._data):
            raise MalformedError(self._where, got=f"{len(self._data) - self._at} bytes after the end",
                                 expected="nothing more")
