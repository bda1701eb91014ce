"""`custody notation`: the commands of the Notary Project's `notation`, over the same directory."""

from __future__ import annotations

import click

from custody.cli.groups import Group

PLACE = "custody.cli.notation"


@click.group("notation", cls=Group, places={
    "blob": f"{PLACE}.blob",
    "certificate": f"{PLACE}.certificate",
    "inspect": f"{PLACE}.inspect",
    "key": f"{PLACE}.key",
    "list": f"{PLACE}.list",
    "login": f"{PLACE}.login",
    "logout": f"{PLACE}.logout",
    "plugin": f"{PLACE}.plugin",
    "policy": f"{PLACE}.policy",
    "sign": f"{PLACE}.sign",
    "staple": f"{PLACE}.staple",
    "verify": f"{PLACE}.verify",
    "version": f"{PLACE}.version",
}, aliases={"cert": "certificate", "ls": "list"})
def command() -> None:
    """Sign and verify as `notation` does, with its keys, plugins, trust stores and trust policies."""
