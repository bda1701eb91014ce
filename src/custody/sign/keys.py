"""Signing keys: what verifies, what signs, and cosign's encrypted key files.

cosign.key is PEM around JSON: scrypt for the password, XSalsa20-Poly1305 (NaCl secretbox) around a PKCS #8 document
(go-securesystemslib `encrypted`). Keys without encryption are PKCS #8, SEC 1 or PKCS #1 PEM.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from custody.errors import MalformedError, UnsupportedError, UsageError, VerificationError
from custody.evidence.model import KeySigner
from custody.formats.pkcs11uri import is_token
from custody.formats.protojson import Message, decode_base64, encode_base64
from custody.kit import regular, strictjson
from custody.kit.digest import sha256
from custody.trust.keys import CURVES, AnyPublicKey, hash_of, spki, verifies

_HEADERS = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_MAX_FILE = 64 * 1024
_SCRYPT = {"N": 65536, "r": 8, "p": 1}
_HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | mldsa.MLDSA65PrivateKey
_KINDS = "P-256, P-384, P-521, RSA, Ed25519 and ML-DSA-65"


def usable(key: object, where: str) -> AnyPublicKey:
    """The key itself if it is of a kind and strength that custody trusts. Raises UnsupportedError."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 8192:
            raise UnsupportedError(where, f"an RSA key of {key.key_size} bits; 2048 to 8192 are accepted")
        return key
    if isinstance(key, (ed25519.Ed25519PublicKey, mldsa.MLDSA65PublicKey)):
        return key
    raise UnsupportedError(where, f"the key is none of {_KINDS}")


def signed(key: AnyPublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is `key`'s over `message`, in any of the ways that are in use.

    ECDSA keys larger than P-256 may also have signed SHA-256, as cosign 2 did; Ed25519 keys may use Ed25519ph.
    """
    if verifies(key, signature, message, hash_of(key)):
        return True
    if isinstance(key, ed25519.Ed25519PublicKey):
        return verifies(key, signature, hashlib.sha512(message).digest(), Prehashed(hashes.SHA512()))
    return (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size > 256
            and verifies(key, signature, message, hashes.SHA256()))


def identity_of(key: PublicKey, signature: bytes, message: bytes) -> str:
    """A name of a valid signature that is the same for everything that anybody can make of it without the key.

    Of an ECDSA signature (r, s) anybody can make (r, -s), which is as valid, and none with
    another r. RSA and Ed25519 signatures are one for each message, and of ML-DSA's nobody else can make another.
    """
    fixed = str(decode_dss_signature(signature)[0]).encode() if isinstance(
        key.key, ec.EllipticCurvePublicKey) else signature
    return sha256(b"".join(hashlib.sha256(part).digest() for part in (key.der, message, fixed)))


Scheme = Callable[[AnyPublicKey, bytes, bytes], bool]
"""Whether the signature, the second, is the key's over the message, the third."""


def check_signature(key: AnyPublicKey, signature: bytes, message: bytes, name: str, scheme: Scheme = signed) -> None:
    """Raises VerificationError unless the scheme says yes."""
    if not scheme(key, signature, message):
        raise VerificationError(f"{name}: the signature is not this key's over these bytes")


def check_digest_signature(key: AnyPublicKey, signature: bytes, digest: bytes, name: str, algorithm: str = "sha256"
                           ) -> None:
    """The same where only a digest of the message is known, by `sha256`, `sha384` or `sha512`.

    Raises UnsupportedError for Ed25519, unless by SHA-512: then the signature may be Ed25519ph (RFC 8032 section 5.1);
    and for ML-DSA.
    """
    if isinstance(key, mldsa.MLDSA65PublicKey):
        raise UnsupportedError(name, "an ML-DSA-65 signature needs the artifact's bytes, and only its digest is here")
    if isinstance(key, ed25519.Ed25519PublicKey) and algorithm != "sha512":
        raise UnsupportedError(name, "an Ed25519 signature needs the artifact's bytes, and only its digest is here")
    if not verifies(key, signature, digest, Prehashed(_HASHES[algorithm])):
        raise VerificationError(f"{name}: the signature is not this key's over the artifact's digest")


@dataclass(frozen=True, slots=True, eq=False)
class PublicKey:
    """A key to verify with. `der` is its SubjectPublicKeyInfo."""

    key: AnyPublicKey
    der: bytes

    @property
    def signer(self) -> KeySigner:
        return KeySigner(fingerprint=sha256(self.der))

    @property
    def hint(self) -> str:
        """What cosign writes into a bundle's publicKey.hint: the base64 SHA-256 of `der`."""
        return encode_base64(hashlib.sha256(self.der).digest())

    @property
    def pem(self) -> bytes:
        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_key(key: object, where: str) -> PublicKey:
    """Raises UnsupportedError for a key of a kind or strength that custody does not trust."""
    trusted = usable(key, where)
    return PublicKey(trusted, spki(trusted))


def load_public_der(der: bytes, where: str) -> PublicKey:
    """Raises MalformedError or UnsupportedError, naming `where`."""
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedError(where, got=f"{len(der)} bytes", expected="a DER SubjectPublicKeyInfo") from None
    return public_key(key, where)


def load_public_key(pem: bytes, where: str) -> PublicKey:
    """One PEM public key (`cosign.pub`). Raises MalformedError or UnsupportedError, naming `where`."""
    if b"PRIVATE KEY" in pem:
        raise UsageError(f"{where}: is a private key", hint="verify with the public key: --key cosign.pub")
    try:
        key = serialization.load_pem_public_key(pem[:_MAX_FILE])
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedError(where, got=pem[:64].decode(errors="replace"),
                             expected="a PEM public key (BEGIN PUBLIC KEY) whose base64 is whole") from None
    return public_key(key, where)


@dataclass(frozen=True, slots=True, eq=False)
class PrivateKey:
    """A key to sign with."""

    key: _Private

    @property
    def public(self) -> PublicKey:
        key = self.key.public_key()
        return PublicKey(key, spki(key))

    async def signature(self, message: bytes, *, prehash: bool = False, hash_name: str | None = None) -> bytes:
        """The same as `sign`, for those who sign with keys that may be elsewhere (`keptkeys.SigningKey`)."""
        return self.sign(message, prehash=prehash, hash_name=hash_name)

    def sign(self, message: bytes, *, prehash: bool = False, hash_name: str | None = None) -> bytes:
        """`prehash` makes Ed25519 keys sign as Ed25519ph, which logs that see only a digest require.

        `hash_name` is for ECDSA, whose signatures are over the curve's own hash otherwise.
        """
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            own = hash_of(self.key.public_key())
            return self.key.sign(message, ec.ECDSA(hashes.SHA256() if hash_name == "sha256" else own))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(self.key, mldsa.MLDSA65PrivateKey) or not prehash:
            return self.key.sign(message)
        from nacl import bindings

        state = bindings.crypto_sign_ed25519ph_state()
        bindings.crypto_sign_ed25519ph_update(state, message)
        secret = self.key.private_bytes_raw() + self.key.public_key().public_bytes_raw()
        return bindings.crypto_sign_ed25519ph_final_create(state, secret)


ALGORITHMS: dict[str, Callable[[], _Private]] = {
    "ecdsa-sha2-256-nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-sha2-384-nistp384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-sha2-512-nistp521": lambda: ec.generate_private_key(ec.SECP521R1()),
    **{f"rsa-sign-pkcs1-{size}-sha256": partial(rsa.generate_private_key, 65537, size) for size in (2048, 3072, 4096)}}
"""How a key that signs once may sign, by cosign's `--signing-algorithm` names, the default first."""


def generate_key(algorithm: str = "ecdsa-sha2-256-nistp256") -> PrivateKey:
    """A new key, P-256 where nothing else is said."""
    return PrivateKey(ALGORITHMS[algorithm]())


def generate_post_quantum_key() -> PrivateKey:
    """A new ML-DSA-65 key (FIPS 204), kept as its seed of 32 bytes (RFC 9881)."""
    return PrivateKey(mldsa.MLDSA65PrivateKey.generate())


def algorithm_of(public: PublicKey) -> str | None:
    """The name in ALGORITHMS of what the key signs with; None for Ed25519, ML-DSA and unusual sizes of RSA."""
    key = public.key
    if isinstance(key, ec.EllipticCurvePublicKey):
        return next(name for name in ALGORITHMS if name.endswith(f"nistp{key.curve.key_size}"))
    name = f"rsa-sign-pkcs1-{key.key_size}-sha256" if isinstance(key, rsa.RSAPublicKey) else ""
    return name if name in ALGORITHMS else None


def encrypt_key(key: PrivateKey, password: bytes) -> bytes:
    """The bytes of a cosign.key file."""
    from nacl.secret import SecretBox

    plain = key.key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption())
    salt, nonce = os.urandom(32), os.urandom(24)
    box = SecretBox(_stretch(password, salt, _SCRYPT["N"], _SCRYPT["r"], _SCRYPT["p"]))
    document = {"kdf": {"name": "scrypt", "params": _SCRYPT, "salt": encode_base64(salt)},
                "cipher": {"name": "nacl/secretbox", "nonce": encode_base64(nonce)},
                "ciphertext": encode_base64(box.encrypt(plain, nonce).ciphertext)}
    text = base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {_HEADERS[0]}-----", *lines, f"-----END {_HEADERS[0]}-----", ""]).encode()


def load_private_key(pem: bytes, password: bytes, where: str) -> PrivateKey:
    """cosign.key, or an unencrypted PEM key. Raises MalformedError, UnsupportedError or UsageError."""
    text = pem[:_MAX_FILE].decode("ascii", "replace").strip()
    for header in _HEADERS:
        if text.startswith(f"-----BEGIN {header}-----"):
            body = text.removeprefix(f"-----BEGIN {header}-----").partition("-----END")[0]
            return _private(_decrypt(decode_base64("".join(body.split()), where), password, where), where)
    return _private(pem[:_MAX_FILE], where)


def _private(data: bytes, where: str) -> PrivateKey:
    load = serialization.load_pem_private_key if data.lstrip().startswith(b"-----") else \
        serialization.load_der_private_key
    if b"-----BEGIN PUBLIC KEY-----" in data or b"-----BEGIN CERTIFICATE-----" in data:
        kind = "public key" if b"PUBLIC KEY" in data else "certificate"
        raise UsageError(f"{where}: is a {kind}, expected a PEM private key", hint="sign with the private key: --key "
                         "cosign.key")
    try:
        key = load(data, None)
    except TypeError:
        raise UnsupportedError(where, "PEM encryption of its own; use an unencrypted key or cosign's format") from None
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError(where, got=f"{len(data)} bytes", expected="a PEM private key (cosign.key, PKCS #8, "
                             "SEC 1 or PKCS #1)") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey,
                            mldsa.MLDSA65PrivateKey)):
        raise UnsupportedError(where, f"the key is none of {_KINDS}")
    usable(key.public_key(), where)
    return PrivateKey(key)


def _decrypt(data: bytes, password: bytes, where: str) -> bytes:
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    root = Message(strictjson.loads(data, where, max_size=_MAX_FILE, max_depth=8), where)
    kdf, cipher = root.message("kdf"), root.message("cipher")
    if kdf.text("name") != "scrypt" or cipher.text("name") != "nacl/secretbox":
        raise UnsupportedError(f"{where}.cipher", "cosign's keys use scrypt and nacl/secretbox")
    params = kdf.message("params")
    n, r, p = (params.integer(name) for name in ("N", "r", "p"))
    if not (2 <= n <= 1 << 18 and n & (n - 1) == 0 and r == 8 and p == 1):
        raise UnsupportedError(params.where, f"N={n}, r={r}, p={p}; accepted are N up to 2^18, r=8, p=1")
    nonce = cipher.data("nonce")
    if len(nonce) != SecretBox.NONCE_SIZE:
        raise MalformedError(f"{cipher.where}.nonce", got=f"{len(nonce)} bytes", expected="24 bytes")
    try:
        return SecretBox(_stretch(password, kdf.data("salt"), n, r, p)).decrypt(root.data("ciphertext"), nonce)
    except CryptoError:
        raise UsageError(f"{where}: wrong password, or a damaged file", hint="set COSIGN_PASSWORD") from None


def _stretch(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, dklen=32, maxmem=1 << 29)


def read_key_file(path: str, name: str = "--key", hint: str = "a file, or env://NAME") -> bytes:
    """The bytes of `PATH` or of the variable in `env://NAME`; `name` is the option or setting that says so, `hint` says
    which names it takes.

    Raises UsageError, UnsupportedError.
    """
    if path.startswith("env://"):
        value = os.environ.get(path[6:])
        if value is None:
            raise UsageError(f"{name} {path}: the variable is not set")
        return value.encode()
    if "://" in path or is_token(path):  # a PIN may be in it: no more of it is shown
        scheme = path.partition(":")[0]
        raise UnsupportedError(name, f"custody takes no key of such a name ({scheme}) here", hint=hint)
    return regular.limited(Path(path), _MAX_FILE, name)
