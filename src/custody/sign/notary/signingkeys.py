"""signingkeys.json: which keys sign, by name. A key of this machine is a PEM file and one of certificates; others are
a plugin's. And what of config.json is about signing.

The documents are notation's (notation-go `config`): either program uses what the other wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.kit import regular, strictjson
from custody.kit.members import mapping
from custody.kit.near import near
from custody.sign.notary.directory import Directory, read_document, write_document

if TYPE_CHECKING:
    from custody.sign.notary.sign import LocalKey

_MAX_KEYS = 10_000
_MAX_FILE = 1 << 20
_OF_LIST, _OF_KEY = ("default", "keys"), ("name", "keyPath", "certPath", "id", "pluginName", "pluginConfig")
_OF_CONFIG = ("insecureRegistries", "credsStore", "credHelpers", "signatureFormat", "auths")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One entry: `key_path` and `certificate_path`, or `id` and `plugin`."""

    name: str
    key_path: str = ""
    certificate_path: str = ""
    id: str = ""
    plugin: str = ""
    plugin_config: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        said = {"name": self.name, "keyPath": self.key_path, "certPath": self.certificate_path, "id": self.id,
                "pluginName": self.plugin, "pluginConfig": dict(self.plugin_config)}
        return {key: value for key, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """All entries, and the name of the one that signs where none is named."""

    keys: tuple[SigningKey, ...] = ()
    default: str | None = None

    def key(self, name: str | None) -> SigningKey:
        """The key of that name, or the default one. Raises UsageError where there is none."""
        if name is None:
            if self.default is None:
                raise UsageError("--key: got none, and no default signing key is set",
                                 hint="custody notation key update --default NAME")
            name = self.default
        for key in self.keys:
            if key.name == name:
                return key
        raise UsageError(f"signing key {name}: not in the list of keys", hint=near(
            name, [key.name for key in self.keys], "custody notation key list shows those that are"))

    def with_key(self, key: SigningKey, *, default: bool) -> SigningKeys:
        """Raises UsageError where its name is taken."""
        if any(key.name == present.name for present in self.keys):
            raise UsageError(f"signing key {key.name}: is in the list already",
                             hint="custody notation key delete takes it out; the key itself stays")
        return SigningKeys((*self.keys, key), key.name if default else self.default)

    def without(self, names: Sequence[str]) -> SigningKeys:
        """Raises UsageError where one is not there; none is taken out then."""
        keys = self
        for name in names:
            keys.key(name)
            keys = SigningKeys(tuple(key for key in keys.keys if key.name != name),
                               None if keys.default == name else keys.default)
        return keys

    def with_default(self, name: str) -> SigningKeys:
        return replace(self, default=self.key(name).name)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What config.json says; its logins are read by `logins`."""

    signature_format: str = "jws"
    insecure_registries: tuple[str, ...] = ()


def load_signing_keys(directory: Directory) -> SigningKeys:
    """No keys where there is no file. Raises MalformedError, UnsupportedError for a field that nobody knows."""
    where = str(directory.signing_keys)
    data = read_document(directory.signing_keys)
    if data is None:
        return SigningKeys()
    document = _known(strictjson.loads(data, where, max_depth=8), _OF_LIST, where)
    entries = document.get("keys")
    if not isinstance(entries if entries is not None else [], list) or len(entries or []) > _MAX_KEYS:
        raise MalformedError(f"{where}.keys", got=entries, expected=f"a list of at most {_MAX_KEYS} keys")
    keys = tuple(_key(entry, f"{where}.keys[{at}]") for at, entry in enumerate(entries or []))
    names = [key.name for key in keys]
    if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
        raise MalformedError(where, got=f"two keys named {twice}", expected="each name once")
    default = document.get("default")
    if default is not None and default not in names:
        raise MalformedError(f"{where}.default", got=default, expected="the name of one of its keys")
    return SigningKeys(keys, default)


def save_signing_keys(directory: Directory, keys: SigningKeys) -> None:
    """Raises UsageError, StorageFullError where it cannot be written; the file stays as it was then."""
    said = {**({"default": keys.default} if keys.default is not None else {}),
            "keys": [key.to_json() for key in keys.keys]}
    write_document(directory.signing_keys, json.dumps(said, indent=4, ensure_ascii=False).encode() + b"\n")


def load_configuration(directory: Directory) -> Configuration:
    """What holds where there is no file. Raises MalformedError, UnsupportedError for a field that nobody knows."""
    where = str(directory.config_file)
    data = read_document(directory.config_file)
    if data is None:
        return Configuration()
    document = _known(strictjson.loads(data, where, max_depth=8), _OF_CONFIG, where)
    form, registries = document.get("signatureFormat") or "jws", document.get("insecureRegistries") or []
    if form not in ("jws", "cose"):
        raise MalformedError(f"{where}.signatureFormat", got=form, expected="jws or cose")
    if not isinstance(registries, list) or not all(isinstance(host, str) for host in registries):
        raise MalformedError(f"{where}.insecureRegistries", got=registries, expected="a list of hosts")
    return Configuration(form, tuple(registries))


def open_local_key(key: SigningKey) -> LocalKey:
    """The private key and the certificates that an entry names.

    Raises UsageError where a file cannot be read or the two do not belong together, MalformedError for one that is
    not PEM, UnsupportedError for a key that does not sign, or is encrypted.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from custody.formats.cosign import pem_certificates
    from custody.sign.certificate import load_certificate
    from custody.sign.keys import load_private_key
    from custody.sign.notary.sign import LocalKey

    certificates = regular.read(Path(key.certificate_path), _MAX_FILE, f"signing key {key.name}: certificates")
    private = regular.read(Path(key.key_path), _MAX_FILE, f"signing key {key.name}: private key")
    where = f"{key.certificate_path}"
    chain = tuple(load_certificate(der, f"{where}: certificate {at}") for at, der in enumerate(
        pem_certificates(certificates.decode("utf-8", "replace"), where)))
    if b"ENCRYPTED" in private[:128]:
        raise UnsupportedError(key.key_path, "an encrypted private key; notation and custody take them as they are, or "
                               "ask a plugin that holds them")
    loaded = load_private_key(_private_block(private), b"", key.key_path).key
    if not isinstance(loaded, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise UnsupportedError(key.key_path, "an Ed25519 key, with which nobody signs for the Notary Project")
    return LocalKey(loaded, chain, f"signing key {key.name}")


def _private_block(pem: bytes) -> bytes:
    """The private key where there is more in the file, such as the parameters that openssl writes before it."""
    for block in pem.split(b"-----BEGIN ")[1:]:
        label, _, _ = block.partition(b"-----")
        if label == b"PRIVATE KEY" or label.endswith(b" PRIVATE KEY"):
            return b"-----BEGIN " + block
    return pem


def _key(entry: Any, where: str) -> SigningKey:
    fields = _known(entry, _OF_KEY, where)
    texts = {name: fields.get(name) or "" for name in _OF_KEY[:-1]}
    config = fields.get("pluginConfig") or {}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise MalformedError(f"{where}.{name}", got=value, expected="text")
    if not isinstance(config, dict) or not all(isinstance(value, str) for value in config.values()):
        raise MalformedError(f"{where}.pluginConfig", got=config, expected="texts by name")
    name, key_path, certificate_path, identifier, plugin = texts.values()
    if not name:
        raise MalformedError(f"{where}.name", got="nothing", expected="a name")
    is_local, is_plugin = bool(key_path or certificate_path), bool(identifier or plugin)
    if is_local == is_plugin or (is_local and not (key_path and certificate_path)) or (
            is_plugin and not (identifier and plugin)):
        raise MalformedError(where, got=sorted(field for field in fields if fields[field]),
                             expected="keyPath and certPath, or id and pluginName")
    return SigningKey(name, key_path, certificate_path, identifier, plugin, config)


def _known(value: Any, fields: Sequence[str], where: str) -> dict[str, Any]:
    document = mapping(value, where)
    if unknown := sorted({*document} - {*fields}):
        raise UnsupportedError(f"{where}.{unknown[0]}", f"no such field; there are {', '.join(fields)}")
    return document
