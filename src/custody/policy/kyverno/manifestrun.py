"""What the API server would make of a signed manifest (`validate.manifests.dryRun`): its defaults, and webhooks'.

The manifest is created without being kept, under another name; where that is not allowed, or nobody can be asked, an
object is compared with what was signed alone, which denies more.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.objects import plural_of
from custody.policy.lookup import LookupFailedError
from custody.ports.lookup import ApiCall

_USUAL = "kyverno-dryrun"
_NEVER = "kyverno"
"""The namespace of Kyverno, in which nothing is tried out."""
_CRD = "CustomResourceDefinition"


class DryRun:
    def __init__(self, fields: Fields | None) -> None:
        fields = fields or Fields({}, "dryRun")
        enabled = fields.take("enable", bool) is True
        self._namespace = fields.take("namespace", str) or _USUAL
        self._enabled = enabled and self._namespace != _NEVER
        fields.done()

    def created(self, given: Given, signed: dict[str, Any], judged: dict[str, Any]
                ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What was made of the manifest, and the object, both without their name and namespace; None: nobody knows.

        Raises UnansweredError.
        """
        version, kind = str(signed.get("apiVersion", "")), str(signed.get("kind", ""))
        if not self._enabled or kind == _CRD:
            return None
        written = signed.get("metadata")
        metadata = written if isinstance(written, dict) else {}
        namespaced = bool(_metadata(judged).get("namespace"))
        named = {**metadata, "name": f"{metadata.get('name') or ''}-dry-run"}
        named.pop("namespace", None)
        if namespaced:
            named["namespace"] = self._namespace
        place = f"namespaces/{quote(self._namespace, safe='')}/" if namespaced else ""
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        body = json.dumps({**signed, "metadata": named}, sort_keys=True)
        try:
            made = given.answers.value(
                ApiCall(f"{root}/{place}{plural_of(version, kind)}?dryRun=All", "POST", body))
        except LookupFailedError:
            return None
        return None if not isinstance(made, dict) else (_unnamed(made), _unnamed(judged))


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _unnamed(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "metadata": {name: value for name, value in _metadata(document).items()
                                     if name not in ("name", "namespace")}}
