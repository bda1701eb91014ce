"""`custody notation blob policy init`: a first trust policy for files."""

from __future__ import annotations

import click

from custody.cli.notation.options import Command
from custody.cli.notation.trustpolicies import BLOBS, begin_policy


@click.command("init", cls=Command)
@click.option("-n", "--name", required=True, metavar="NAME", help="What it is called.")
@click.option("--trust-store", multiple=True, required=True, metavar="TYPE:NAME", help="Such as ca:acme; repeatable.")
@click.option("--trusted-identity", multiple=True, required=True, metavar="IDENTITY",
              help="\"x509.subject: C=US, ST=WA, O=acme\", or \"*\"; repeatable.")
@click.option("--global", "is_global", is_flag=True, help="It counts where no policy is named.")
@click.option("--force", is_flag=True, help="Replace the policy that is there without asking.")
def command(name: str, trust_store: tuple[str, ...], trusted_identity: tuple[str, ...], is_global: bool,
            force: bool) -> None:
    """Make a trust policy document with one statement of level strict."""
    statement = {"name": name, "signatureVerification": {"level": "strict"}, "trustStores": list(trust_store),
                 "trustedIdentities": list(trusted_identity)}
    begin_policy(BLOBS, statement | ({"globalPolicy": True} if is_global else {}), force=force)
