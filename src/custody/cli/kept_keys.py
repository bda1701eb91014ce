"""`--key` of commands that verify: a file, or a name of a key that a service or a cluster keeps."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

from custody.cli.run import settings
from custody.errors import VerificationError
from custody.ports.lookup import KEY_SERVICES, Answer, Answered, ApiCall, Failed, PublicKeyAt
from custody.sign.keys import read_key_file
from custody.wiring import cluster_lookup, command_http, key_lookup

_SECRET = re.compile(r"k8s://([a-z0-9-]+)/([a-z0-9.-]+)")


def is_kept(name: str) -> bool:
    """Whether a name is that of a key which a service or a cluster keeps."""
    return name.startswith(KEY_SERVICES) or _SECRET.fullmatch(name) is not None


def public_key(name: str) -> bytes:
    """PEM. Raises VerificationError for a key that is not there or cannot be had, UsageError for a file."""
    if secret := _SECRET.fullmatch(name):
        answer = asyncio.run(_of_cluster(ApiCall(f"/api/v1/namespaces/{secret[1]}/secrets/{secret[2]}")))
        pem = _decoded(answer.value) if isinstance(answer, Answered) else None
    elif name.startswith(KEY_SERVICES):
        answer = asyncio.run(_of_service(PublicKeyAt(name)))
        pem = answer.value.encode() if isinstance(answer, Answered) else None
    else:
        return read_key_file(name)
    if pem is None:
        reason = answer.reason if isinstance(answer, Failed) else "there is no such key"
        raise VerificationError(f"--key {name}: {reason}")
    return pem


async def _of_service(asked: PublicKeyAt) -> Answer:
    http = command_http(settings())
    try:
        return await key_lookup(settings(), http).answer(asked)
    finally:
        await http.close()


async def _of_cluster(asked: ApiCall) -> Answer:
    lookup = cluster_lookup(settings())
    if lookup is None:
        return Failed("no cluster: `kubeconfig` of custody.toml, or CUSTODY_KUBECONFIG, names one")
    try:
        return await lookup.answer(asked)
    finally:
        await lookup.close()


def _decoded(secret: Any) -> bytes | None:
    data = secret.get("data") if isinstance(secret, dict) else None
    text = data.get("cosign.pub") if isinstance(data, dict) else None
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        return None
