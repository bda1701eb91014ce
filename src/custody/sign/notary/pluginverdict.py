"""What a verification plugin says of a signature (plugin-extensibility, verify-signature)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.formats import cbor, notary
from custody.kit.clock import format_rfc3339
from custody.kit.members import mapping
from custody.sign.notary.plugin import CONTRACT, Metadata, Plugin, configured
from policylang.errors import LanguageError
from policylang.go import semver

_MAX_ATTRIBUTES = 100
_OWN = (notary.PLUGIN, notary.PLUGIN_MIN_VERSION)


@dataclass(frozen=True, slots=True)
class PluginVerdict:
    """A plugin that a signature names, and what it is there for."""

    plugin: Plugin
    capabilities: tuple[str, ...]


def check_version(metadata: Metadata, least: str | None) -> None:
    """Raises MalformedError for what is no version, VerificationError for one that is too old."""
    own = _version(metadata.version, f"plugin {metadata.name}: version")
    if least is not None and semver.compare(own, _version(least, notary.PLUGIN_MIN_VERSION)) < 0:
        raise VerificationError(f"plugin {metadata.name}: got version {metadata.version}, and the signature asks for "
                                f"{least} or later")


def _version(text: str, where: str) -> semver.Version:
    try:
        return semver.parse(text)
    except LanguageError:
        raise MalformedError(where, got=text, expected="a version such as 1.2.3") from None


def judged_by(plugin: Plugin, capabilities: Sequence[str], envelope: notary.Envelope, identities: Sequence[str],
              config: Mapping[str, str]) -> dict[str, str | None]:
    """By capability why the plugin says no; None where it says yes.

    Raises what `Plugin.ask` does, MalformedError for an answer that leaves a capability out, and VerificationError
    where it did not process a critical attribute.
    """
    attributes = {name: _plain(value, name) for name, value in envelope.extended.items()
                  if name not in _OWN}
    authentic = envelope.signing_time if envelope.scheme == notary.SIGNING_AUTHORITY else None
    critical: dict[str, Any] = {
        "contentType": notary.PAYLOAD_TYPE, "signingScheme": envelope.scheme, "expiry": _time(envelope.expiry),
        "authenticSigningTime": _time(authentic), "extendedAttributes": attributes}
    answer = plugin.ask("verify-signature", configured({
        "contractVersion": CONTRACT,
        "signature": {
            "criticalAttributes": {name: value for name, value in critical.items() if value is not None},
            "unprocessedAttributes": sorted(attributes),
            "certificateChain": [base64.b64encode(der).decode() for der in envelope.chain]},
        "trustPolicy": {"trustedIdentities": list(identities), "signatureVerification": list(capabilities)}}, config))
    where = f"plugin {plugin.name} verify-signature: answer"
    processed = answer.get("processedAttributes") or []
    if not isinstance(processed, list) or len(processed) > _MAX_ATTRIBUTES:
        raise MalformedError(f"{where}.processedAttributes", got=processed, expected="a list of names")
    for name in envelope.unprocessed:
        if name not in processed:
            raise VerificationError(f"{where}: {name} is critical, and the plugin did not process it")
    results = mapping(answer.get("verificationResults"), f"{where}.verificationResults")
    said: dict[str, str | None] = {}
    for capability in capabilities:
        result = mapping(results.get(capability), f"{where}.verificationResults.{capability}")
        if not isinstance(success := result.get("success"), bool):
            raise MalformedError(f"{where}.verificationResults.{capability}.success", got=success,
                                 expected="true or false")
        said[capability] = None if success else str(result.get("reason") or "without a reason")[:2000]
    return said


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_rfc3339(moment)


def _plain(value: Any, name: str) -> Any:
    """What JSON can say of an attribute. Raises UnsupportedError for what it cannot."""
    if isinstance(value, (bytes, cbor.Tagged)):
        raise UnsupportedError(name, "an attribute that is bytes or has a tag is not passed to plugins")
    if isinstance(value, dict):
        return {str(key): _plain(inner, name) for key, inner in value.items()}
    return [_plain(inner, name) for inner in value] if isinstance(value, list) else value
