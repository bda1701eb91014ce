"""What `up` and `serve` share: run until a signal, and say on standard error what runs where."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable

import uvloop

from custody.policy.load import PolicySet
from custody.server.platform import Running, running
from custody.settings import Settings
from custody.wiring import TRUST_ROLES, trusted_root


def serve_forever(settings: Settings, roles: Iterable[str], host: str, port: int, webhook_port: int,
                  policies: tuple[str, ...]) -> None:
    chosen = PolicySet.load(policies or settings.policies)
    uvloop.run(_serve(settings, tuple(roles), host, port, webhook_port, chosen))


async def _serve(settings: Settings, roles: tuple[str, ...], host: str, port: int, webhook_port: int,
                 policies: PolicySet) -> None:
    async with running(settings, roles, host=host, port=port, webhook_port=webhook_port, policies=policies) as found:
        print("\n".join(describe(found, policies)), file=sys.stderr, flush=True)
        await until_stopped()


async def until_stopped() -> None:
    """Wait for SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def describe(found: Running, policies: PolicySet) -> list[str]:
    """One line for each thing that runs."""
    data, base = found.platform.data, found.url
    lines = {"registry": f"registry      {base.partition('//')[2]}/NAME", "oidc": f"OIDC issuer   {base}/oidc",
             "ca": f"CA            {base}/api/v2/signingCert", "log": f"log           {base}/api/v2",
             "tsa": f"timestamps    {base}/api/v1/timestamp",
             "admission": f"admission     {found.webhook}/validate, /mutate  ({len(policies.policies)} policies; "
                          f"CA bundle {data / 'admission' / 'ca.crt'})"}
    if any(role in TRUST_ROLES for role in found.roles):
        lines["trust"] = f"trust files   {', '.join(map(str, found.platform.trust_files))}"
    elif "admission" in found.roles and trusted_root(found.platform.settings) is None:
        lines["trust"] = ("trust files   none: only evidence by keys can be verified; name a trusted_root, or start "
                          "the trust services first")
    return [*(line for role, line in lines.items() if role in found.roles or role == "trust"), "ctrl-c stops"]
