"""Whether what listens on an address may be reached by those who can reach it."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from custody.errors import UsageError
from custody.settings import Settings

_GUIDE = "docs/guides/access.md"


def check_exposure(settings: Settings, roles: Collection[str], host: str, *, insecure: bool = False,
                   behind_proxy: bool = False) -> list[str]:
    """Warnings for people. Raises UsageError where others than this machine's users would be let too much.

    The log and the time-stamp authority are open to everybody by their protocols, and the OIDC issuer publishes keys.
    """
    encrypted = settings.tls_certificate is not None
    if behind_proxy and (encrypted or is_loopback(host)):
        raise UsageError("--behind-proxy: is for a proxy that ends TLS before an address of the network, and "
                         + ("tls_certificate is set" if encrypted else f"{host} is this machine's own"))
    if is_loopback(host):
        return [f"warning: --insecure: changes nothing on {host}"] if insecure else []
    problems = []
    if "registry" in roles and settings.auth is None:
        problems.append(("everybody who reaches the registry could push, overwrite and delete",
                         f"say who may, with [auth] in custody.toml ({_GUIDE}), or --insecure"))
    runtime = settings.runtime
    if "runtime" in roles and settings.tls_client_ca is None and (runtime is None or runtime.token is None):
        problems.append(("everybody who reaches it could post events, and alerts with them",
                         "`token` of [runtime], tls_client_ca, or --insecure"))
    asked = [role for role in ("registry", "ca", "runtime") if role in roles and (
        role == "ca" or (role == "registry" and settings.auth is not None)
        or (role == "runtime" and runtime is not None and runtime.token is not None))]
    if asked and not encrypted and not behind_proxy:
        problems.append(("passwords and tokens would cross the network without TLS",
                         "--tls-certificate and --tls-key, --behind-proxy where a proxy ends TLS, or --insecure"))
    if problems and not insecure:
        raise UsageError(f"--host {host}: {problems[0][0]}", hint=problems[0][1])
    if insecure and not problems:
        return ["warning: --insecure: changes nothing: what listens here asks who is calling, and speaks TLS"]
    return [f"warning: --insecure: {problem}" for problem, _ in problems]


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
