"""`custody notation certificate cleanup-test`: what generate-test made goes away."""

from __future__ import annotations

import click

from custody.cli.notation.options import Command, directory


@click.command("cleanup-test", cls=Command)
@click.argument("name", metavar="COMMON_NAME")
def command(name: str) -> None:
    """Delete a key and a certificate that generate-test made, from the list and the trust store too."""
    from custody.sign.notary.testcertificate import cleanup

    for role, path, present in cleanup(directory(), name):
        if path is None:
            print(f'Success: removed "{name}" from notation signing key list')
        elif present:
            print(f'Success: deleted the {role} "{path}"')
        else:
            print(f'Success: {role} "{path}" does not exist. It was cleaned up before.')
