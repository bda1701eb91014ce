"""Keys that a plugin has: it signs what it is given, or makes whole envelopes (plugin-extensibility, signing)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.notary import PAYLOAD_TYPE
from custody.formats.protojson import decode_base64, encode_base64
from custody.kit.members import items, mapping, text
from custody.sign.notary.plugin import (
    CONTRACT,
    ENVELOPE,
    MAX_ENTRIES,
    MAX_TEXT,
    RAW,
    Metadata,
    Plugin,
    configured,
    same,
)
from custody.sign.notary.sign import AGENT, EnvelopeMaker, Key

_SPECS = {"RSA-2048": ("PS256", "SHA-256", "RSASSA-PSS-SHA-256"),
          "RSA-3072": ("PS384", "SHA-384", "RSASSA-PSS-SHA-384"),
          "RSA-4096": ("PS512", "SHA-512", "RSASSA-PSS-SHA-512"), "EC-256": ("ES256", "SHA-256", "ECDSA-SHA-256"),
          "EC-384": ("ES384", "SHA-384", "ECDSA-SHA-384"), "EC-521": ("ES512", "SHA-512", "ECDSA-SHA-512")}
"""By a key's specification: the algorithm as JOSE names it, its hash, the algorithm as plugins name it."""


def plugin_signer(plugin: Plugin, key_id: str, config: Mapping[str, str]) -> Key | EnvelopeMaker:
    """Whoever signs with a key of this plugin. Raises UnsupportedError where it does not sign, and as `Plugin` does."""
    metadata = plugin.metadata(config)
    if RAW in metadata.capabilities:
        return PluginKey(plugin, metadata, key_id, config)
    if ENVELOPE in metadata.capabilities:
        return PluginEnvelopes(plugin, key_id, config)
    raise UnsupportedError(f"plugin {plugin.name}", f"does not sign: it has {', '.join(metadata.capabilities)}")


class PluginKey:
    """A key of which the plugin signs what it is given (SIGNATURE_GENERATOR.RAW)."""

    def __init__(self, plugin: Plugin, metadata: Metadata, key_id: str, config: Mapping[str, str]) -> None:
        self.agent = f"{AGENT} {metadata.name}/{metadata.version}"
        self._plugin = plugin
        self._key_id = key_id
        self._config = config
        self._spec: str | None = None

    def algorithm(self) -> str:
        return _SPECS[self._described()][0]

    def sign(self, data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        spec = self._described()
        _, hash_name, algorithm = _SPECS[spec]
        answer = self._plugin.ask("generate-signature", configured({
            "contractVersion": CONTRACT, "keyId": self._key_id, "keySpec": spec, "hashAlgorithm": hash_name,
            "payload": encode_base64(data)}, self._config))
        where = f"plugin {self._plugin.name} generate-signature: answer"
        same(answer, "keyId", self._key_id, where)
        same(answer, "signingAlgorithm", algorithm, where)
        chain = tuple(decode_base64(entry, f"{where}.certificateChain[{at}]")
                      for at, entry in enumerate(items(answer, "certificateChain", where, MAX_ENTRIES)))
        if not chain:
            raise MalformedError(f"{where}.certificateChain", got="no certificate", expected="the key's, and issuers")
        return decode_base64(answer.get("signature"), f"{where}.signature"), chain

    def _described(self) -> str:
        """The key's kind and size; asked once."""
        if self._spec is None:
            answer = self._plugin.ask("describe-key", configured(
                {"contractVersion": CONTRACT, "keyId": self._key_id}, self._config))
            where = f"plugin {self._plugin.name} describe-key: answer"
            same(answer, "keyId", self._key_id, where)
            spec = text(answer, "keySpec", where, MAX_TEXT)
            if spec not in _SPECS:
                raise UnsupportedError(f"{where}.keySpec", f"{spec}; {', '.join(_SPECS)} sign")
            self._spec = spec
        return self._spec


class PluginEnvelopes:
    """A key with which the plugin makes whole envelopes (SIGNATURE_GENERATOR.ENVELOPE)."""

    def __init__(self, plugin: Plugin, key_id: str, config: Mapping[str, str]) -> None:
        self.name = plugin.name
        self._plugin = plugin
        self._key_id = key_id
        self._config = config

    def envelope(self, payload: bytes, media_type: str, expiry: timedelta | None) -> tuple[bytes, Mapping[str, str]]:
        request: dict[str, Any] = {"contractVersion": CONTRACT, "keyId": self._key_id, "payloadType": PAYLOAD_TYPE,
                                   "signatureEnvelopeType": media_type, "payload": encode_base64(payload)}
        if expiry:
            request["expiryDurationInSeconds"] = expiry // timedelta(seconds=1)
        answer = self._plugin.ask("generate-envelope", configured(request, self._config))
        where = f"plugin {self.name} generate-envelope: answer"
        same(answer, "signatureEnvelopeType", media_type, where)
        annotations = mapping(answer.get("annotations") or {}, f"{where}.annotations")
        if len(annotations) > MAX_ENTRIES or not all(isinstance(value, str) for value in annotations.values()):
            raise MalformedError(f"{where}.annotations", got=annotations, expected=f"at most {MAX_ENTRIES} texts")
        return decode_base64(answer.get("signatureEnvelope"), f"{where}.signatureEnvelope"), annotations
