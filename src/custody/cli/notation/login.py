"""`custody notation login`: a login at a registry, tried and kept."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, directory, logging_options, registry_options, warn
from custody.cli.run import settings
from custody.errors import UsageError
from custody.formats.reference import Reference, parse_host
from custody.registry.credentials import Credential
from custody.registry.helper import ask_helper
from custody.sign.notary.logins import HINT, find_login, keeper
from custody.sign.notary.signingkeys import load_configuration
from custody.wiring import registry_client

_LONGEST = 64 * 1024


@click.command("login", cls=Command)
@click.argument("server", metavar="REGISTRY")
@click.option("--password-stdin", is_flag=True, help="Take the password from standard input.")
@registry_options
@logging_options
def command(server: str, password_stdin: bool, **options: Any) -> None:
    """Try a login at a registry, and keep it with a credential helper."""
    host = parse_host(server, "registry")
    credential = _credential(options, from_input=password_stdin)
    narrator = Narrator(options["debug"], options["verbose"])
    kept = keeper(directory(), os.environ)
    narrator.debug(f"logins are kept by {kept.helper(host) or 'nobody'} ({kept.path})")
    insecure = options["insecure_registry"] or host in load_configuration(directory()).insecure_registries
    asyncio.run(_try(host, credential, insecure=insecure))
    if not kept.keep(host, credential):
        if find_login(directory(), host, "", ask_helper) != credential:
            raise UsageError(f"failed to log in to {host}: the credential could not be saved because a credentials "
                             f"store is required to securely store the password. See {HINT}")
        warn(f"The credentials store is not set up. It is recommended to configure the credentials store to securely "
             f"store your credentials. See {HINT}.")
        print("Authenticated with existing credentials")
    print("Login Succeeded")


async def _try(host: str, credential: Credential, *, insecure: bool) -> None:
    async with registry_client(settings()) as client:
        known = client.knowing(lambda *_: credential, plain_http=[host] if insecure else [])
        await known.check_login(Reference(host, "login"))


def _credential(options: dict[str, Any], *, from_input: bool) -> Credential:
    """A name with a password, or a token alone. Raises UsageError where there is neither."""
    name = options["username"] or os.environ.get("NOTATION_USERNAME", "")
    secret = options["password"] or os.environ.get("NOTATION_PASSWORD", "")
    if from_input:
        secret = sys.stdin.read(_LONGEST).removesuffix("\n").removesuffix("\r")
    elif not secret:
        name = name or click.prompt("Username", default="", show_default=False, err=True)
        secret = click.prompt("Password" if name else "Token", default="", show_default=False, err=True,
                              hide_input=sys.stdin.isatty())
    if not secret:
        raise UsageError("password required" if name else "token required")
    return Credential(name, secret) if name else Credential(identity_token=secret)
