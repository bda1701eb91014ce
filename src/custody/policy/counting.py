"""Which PolicyExceptions count: those in the namespaces of their approvers, and signed, where keys are named.

What is signed is what an exception says and where, in canonical form (RFC 8785): its API version, name, namespace,
spec and custody's own annotations. What the API server and tools write beside it, such as a uid or a label, is not.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from custody.errors import MalformedError
from custody.kit.canonical import canonical

if TYPE_CHECKING:  # what few have: keys, and a library that takes long to import
    from custody.sign.keys import PublicKey

KIND = "PolicyException"
GROUPS = {"kyverno.io": ("v2", "v2beta1"), "policies.kyverno.io": ("v1", "v1beta1", "v1alpha1")}
OWN = "policies.custody.internal/"
SIGNATURE = f"{OWN}signature"
"""Annotation: a signature in base64."""
_TYPE = "custody/exception/v1"
_DEFAULTS = {"reportResult": "skip"}
"""What the API server writes into a spec that does not say it."""


def is_exception(document: Any) -> bool:
    return (isinstance(document, dict) and document.get("kind") == KIND
            and str(document.get("apiVersion")).partition("/")[0] in GROUPS)


class Counting(NamedTuple):
    """Which exceptions count."""

    namespaces: Collection[str] = ("*",)
    """`*`: all."""
    keys: Sequence[PublicKey] = ()
    """One of which must have signed; without any nobody must have."""

    def fault(self, document: Any) -> str:
        """Why a document does not count; "" for one that does, and for what is no exception."""
        if not is_exception(document):
            return ""
        metadata = document.get("metadata")
        name, namespace = (str((metadata if isinstance(metadata, dict) else {}).get(key) or "")
                           for key in ("name", "namespace"))
        if "*" not in self.namespaces and (not namespace or namespace not in self.namespaces):
            where = f"in namespace {namespace}" if namespace else "in no namespace"
            return (f"{KIND} {name} lies {where}, and exceptions count "
                    f"in {', '.join(sorted(self.namespaces)) or 'none'} (setting `exceptions`)")
        if self.keys and (reason := self._unsigned(document)):
            return f"{KIND} {name} {reason} (setting `exception_keys`)"
        return ""

    def _unsigned(self, document: dict[str, Any]) -> str:
        from custody.sign.keys import signed

        text = _annotations(document).get(SIGNATURE)
        if text is None:
            return "is not signed"
        try:
            signature = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
            message = statement(document)
        except (binascii.Error, ValueError, MalformedError):
            return "has a signature that is none"
        if any(signed(key.key, signature, message) for key in self.keys):
            return ""
        return "is not what a key that counts has signed"


def statement(document: dict[str, Any]) -> bytes:
    """What is signed of an exception. Raises MalformedError for what has no canonical form."""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    spec = document.get("spec")
    said = {name: value for name, value in spec.items() if _DEFAULTS.get(name) != value} if isinstance(
        spec, dict) else spec
    annotations = {name: value for name, value in _annotations(document).items()
                   if str(name).startswith(OWN) and name != SIGNATURE}
    return canonical({"type": _TYPE, "apiVersion": document.get("apiVersion"), "kind": KIND, "spec": said,
                      "name": metadata.get("name"), "namespace": metadata.get("namespace"), "annotations": annotations})


def sign(document: dict[str, Any], signing: Callable[[bytes], bytes]) -> dict[str, Any]:
    """The exception with a signature, which `signing` makes of a message.

    Raises MalformedError for what is none, or does not say where it lies.
    """
    if not is_exception(document):
        raise MalformedError("kind", got=document.get("kind"), expected=f"{KIND} of {' or '.join(GROUPS)}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(key), str) for key in ("name", "namespace")):
        raise MalformedError("metadata", got="no name or no namespace", expected="both: they are signed")
    signature = base64.b64encode(signing(statement(document))).decode()
    return {**document, "metadata": {**metadata, "annotations": {**_annotations(document), SIGNATURE: signature}}}


def _annotations(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}
