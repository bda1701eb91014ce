"""`custody pkcs11-tool`: the tokens of a PKCS#11 module, and the names of keys on them."""

from __future__ import annotations

import asyncio
import os

import click

from custody.cli.kept_keys import ask_pin
from custody.errors import AuthenticationError
from custody.kit.visible import visible
from custody.wiring import token_module

_module = click.option("--module-path", metavar="FILE", help="The module, by its whole path. Default: "
                       "$COSIGN_PKCS11_MODULE_PATH.")


@click.group("pkcs11-tool")
def command() -> None:
    """What there is on PKCS#11 tokens to sign with. The extra `pkcs11` must be installed."""


@command.command("list-tokens")
@_module
def _list_tokens(module_path: str | None) -> None:
    """List the tokens of a module, as `cosign pkcs11-tool list-tokens` does."""
    module = token_module(module_path)
    tokens = asyncio.run(module.tokens())
    print(f"\nListing tokens of PKCS11 module '{visible(module.path)}'")
    for token in tokens:
        print(f"Token in slot {token.slot}")
        for name, value in (("Label", token.label), ("Manufacturer", token.manufacturer), ("Model", token.model),
                            ("S/N", token.serial)):
            print(f"\t{name}: {visible(value)}")
        print()


@command.command("list-keys-uris")
@_module
@click.option("--slot-id", type=click.IntRange(min=0), default=0, show_default=True, metavar="NUMBER",
              help="The slot of the token.")
@click.option("--pin", metavar="PIN", help="Of the token. Others see a command line: $COSIGN_PKCS11_PIN, else a "
              "terminal is asked.")
def _list_keys_uris(module_path: str | None, slot_id: int, pin: str | None) -> None:
    """List the names of the private keys on a token, for --key. A PIN is in none of them."""
    module = token_module(module_path)
    stated = pin or os.environ.get("COSIGN_PKCS11_PIN") or None
    names, login = asyncio.run(module.keys(slot_id, stated))
    if login:
        stated = ask_pin(f"slot {slot_id} of {module.path}")
        if stated is None:
            raise AuthenticationError(f"slot {slot_id} of {module.path}: the token wants a PIN before it shows private "
                                      "keys", hint="set COSIGN_PKCS11_PIN")
        names, _ = asyncio.run(module.keys(slot_id, stated))
    print(f"\nListing URIs of keys in slot '{slot_id}' of PKCS11 module '{visible(module.path)}'")
    for position, name in enumerate(names):
        print(f"Object {position}")
        if name.label:
            print(f"\tLabel: {visible(name.label)}")
        if name.id:
            print(f"\tID: {name.id.hex()}")
        print(f"\tURI: {name}")
