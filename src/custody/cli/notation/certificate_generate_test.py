"""`custody notation certificate generate-test`: a key and a certificate to try things out with."""

from __future__ import annotations

import click

from custody.cli.notation.options import Command, directory
from custody.kit.clock import format_rfc3339, system_clock


@click.command("generate-test", cls=Command)
@click.argument("name", metavar="COMMON_NAME")
@click.option("-b", "--bits", type=int, default=2048, show_default=True, metavar="BITS", help="Of the RSA key: 2048, "
              "3072 or 4096.")
@click.option("--default", is_flag=True, help="Sign with it where no key is named.")
def command(name: str, bits: int, default: bool) -> None:
    """Make an RSA key and a self-signed certificate for a day, list the key, and trust the certificate. For tests."""
    from custody.sign.notary.testcertificate import generate

    made = generate(directory(), name, bits, system_clock(), default=default)
    print(f"generated RSA Key with {bits} bits\n"
          f"generated certificate expiring on {format_rfc3339(made.expires)}\n"
          f"wrote key: {made.key_path}\nwrote certificate: {made.certificate_path}\n"
          f"Successfully added {made.stored_path.name} to named store {name} of type ca\n"
          f"{name}: added to the key list")
    if default:
        print(f"{name}: mark as default signing key")
