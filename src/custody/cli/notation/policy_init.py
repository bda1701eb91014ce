"""`custody notation policy init`: a first trust policy for images."""

from __future__ import annotations

import click

from custody.cli.notation.options import Command
from custody.cli.notation.trustpolicies import IMAGES, begin_policy


@click.command("init", cls=Command)
@click.option("-n", "--name", required=True, metavar="NAME", help="What it is called.")
@click.option("--registry-scope", multiple=True, metavar="REPOSITORY", help="REGISTRY/NAME that it is for; repeatable. "
              "Default: \"*\", all.")
@click.option("--trust-store", multiple=True, required=True, metavar="TYPE:NAME", help="Such as ca:acme; repeatable.")
@click.option("--trusted-identity", multiple=True, required=True, metavar="IDENTITY",
              help="\"x509.subject: C=US, ST=WA, O=acme\", or \"*\"; repeatable.")
@click.option("--force", is_flag=True, help="Replace the policy that is there without asking.")
def command(name: str, registry_scope: tuple[str, ...], trust_store: tuple[str, ...],
            trusted_identity: tuple[str, ...], force: bool) -> None:
    """Make a trust policy document with one statement of level strict."""
    begin_policy(IMAGES, {"name": name, "registryScopes": list(registry_scope) or ["*"],
                          "signatureVerification": {"level": "strict"}, "trustStores": list(trust_store),
                          "trustedIdentities": list(trusted_identity)}, force=force)
