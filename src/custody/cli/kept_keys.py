"""`--key` that is no file: a name of a key that a service, a token, a plugin or a cluster keeps."""

from __future__ import annotations

import asyncio
import base64
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from custody.cli.run import settings
from custody.errors import CustodyError, UsageError, VerificationError
from custody.formats.pkcs11uri import is_token
from custody.kit.visible import visible
from custody.ports.http import Http
from custody.ports.keyservice import KeyService
from custody.ports.lookup import Answer, Answered, ApiCall, Failed
from custody.sign.keptkeys import KeptKey, open_kept_key
from custody.sign.keys import PublicKey, load_public_key, read_key_file
from custody.wiring import cluster_lookup, command_http, is_kept_elsewhere, key_service

KEPT = ("hashivault://, openbao://, awskms://, gcpkms://, azurekms://, pkcs11:, or NAME:// of a plugin "
        "sigstore-kms-NAME")
"""The names that keys have which a service, a token or a plugin keeps."""
_T = TypeVar("_T")
_SECRET = re.compile(r"k8s://([a-z0-9-]+)/([a-z0-9.-]+)")


def is_kept(name: str) -> bool:
    """Whether a name is that of a key which somebody else keeps."""
    return is_kept_elsewhere(name) or _SECRET.fullmatch(name) is not None


def public_key(name: str, option: str = "--key") -> bytes:
    """PEM. Raises VerificationError for a key that is not there or cannot be had, UsageError for a file, and for what
    is no name of a key."""
    if secret := _SECRET.fullmatch(name):
        answer = asyncio.run(_of_cluster(ApiCall(f"/api/v1/namespaces/{secret[1]}/secrets/{secret[2]}")))
        pem = _decoded(answer.value) if isinstance(answer, Answered) else None
        if pem is None:
            reason = answer.reason if isinstance(answer, Failed) else "there is no such key"
            raise VerificationError(f"{option} {name}: {reason}")
        return pem
    if not is_kept_elsewhere(name):
        return read_key_file(name, option, f"a file, env://NAME, k8s://NAMESPACE/SECRET, {KEPT}")
    return asyncio.run(_with_http(lambda http: _stated(key_service(settings(), http, name), option)))


def trusted_key(name: str, option: str = "--key") -> PublicKey:
    """To verify with. Raises what `public_key` does, and UnsupportedError for a kind that custody does not trust."""
    return load_public_key(public_key(name, option), _shown(name))


def _shown(name: str) -> str:
    """Without the PIN that may be in the name of a token's key."""
    return name.partition("?")[0] if is_token(name) else name


async def opened_key(name: str, http: Http) -> KeptKey:
    """To sign with. Somebody at a terminal is asked for the PIN of a token that wants one.

    Raises UsageError for what is no name of a key, and what `open_kept_key` does.
    """
    return await open_kept_key(key_service(settings(), http, name, ask_pin))


def own_public_key(name: str) -> bytes:
    """PEM of a key that is one's own: who asks may be asked for a PIN. Raises what `opened_key` does."""
    return asyncio.run(_with_http(lambda http: opened_key(name, http))).public.pem


def created_key(name: str) -> str:
    """PEM of the key that was made at a service, or that is there. Raises what `KeyService.create` does."""
    return asyncio.run(_with_http(lambda http: key_service(settings(), http, name).create()))


def ask_pin(name: str) -> str | None:
    """None where there is nobody to ask."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    return str(click.prompt(f"PIN of {visible(name)}", hide_input=True, err=True))


async def _stated(service: KeyService, option: str) -> bytes:
    try:
        pem = await service.public_key()
    except UsageError:
        raise
    except CustodyError as error:
        raise VerificationError(f"{option} {service.name}: {error.message}", hint=error.hint) from None
    if pem is None:
        raise VerificationError(f"{option} {service.name}: there is no such key")
    return pem.encode()


async def _with_http(work: Callable[[Http], Awaitable[_T]]) -> _T:
    http = command_http(settings())
    try:
        return await work(http)
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
