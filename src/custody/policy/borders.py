"""What a policy that lies in a namespace may name of others: no Secrets.

Who writes such a policy is no administrator, and custody reads Secrets that he may not: by the logins of another one he
would be told what private images hold. The namespace of Kyverno is an administrator's, and Kyverno reads Secrets there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.errors import UnsupportedError

_KEY = re.compile(r"\s*k8s://([^/]*)/")
_OWNERS = "kyverno"
_PLACES = ("imageRegistryCredentials", "credentials")


def stay(document: Any) -> None:
    """Raises UnsupportedError that names the field which names a Secret of another namespace."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    if not isinstance(namespace, str) or not namespace or document.get("kind") not in _KINDS:
        return
    for where, named in _named(document.get("spec"), "spec"):
        if named not in (namespace, _OWNERS):
            raise UnsupportedError(where, f"a policy of namespace {namespace} does not read Secrets of {named!r}",
                                   hint=f"keep it in {namespace}, or let a policy of the cluster name it")


_KINDS = frozenset({"Policy", "NamespacedImageValidatingPolicy"})


def _named(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """(field, namespace) of the Secrets that are named."""
    if isinstance(value, str):
        if (key := _KEY.match(value)) is not None:
            yield where, key[1]
    elif isinstance(value, list):
        for at, member in enumerate(value):
            yield from _named(member, f"{where}[{at}]")
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _named(member, f"{where}.{name}")
            if name == "secret" and isinstance(member, dict) and isinstance(member.get("namespace"), str):
                yield f"{where}.{name}.namespace", member["namespace"]
            listed = member.get("secrets") if name in _PLACES and isinstance(member, dict) else None
            for at, secret in enumerate(listed if isinstance(listed, list) else ()):
                if isinstance(secret, str) and "/" in secret:
                    yield f"{where}.{name}.secrets[{at}]", secret.partition("/")[0]
