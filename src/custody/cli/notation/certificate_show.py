"""`custody notation certificate show`: what a file of a trust store holds."""

from __future__ import annotations

from typing import Any

import click
from cryptography.hazmat.primitives.serialization import Encoding

from custody.cli.notation.options import Command, Narrator, logging_options
from custody.cli.notation.stores import held, read, store_options
from custody.kit.digest import sha256
from custody.kit.visible import visible
from custody.sign.certificate import is_ca
from custody.sign.notary.truststore import read_certificates

_LINE = "-" * 80


@click.command("show", cls=Command)
@click.argument("name", metavar="FILE")
@store_options
@logging_options
def command(name: str, store_type: str, store: str, **options: Any) -> None:
    """Show the certificates in a file of a trust store."""
    path = held(store_type, store, name)
    Narrator(options["debug"], options["verbose"]).debug(f"reading {path}")
    print(f"Certificate details\n{_LINE}")
    for at, certificate in enumerate(read_certificates(read(path), name)):
        if at:
            print(_LINE)
        print(f"Issuer: {visible(certificate.issuer.rfc4514_string())}\n"
              f"Subject: {visible(certificate.subject.rfc4514_string())}\n"
              f"Valid from: {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} +0000 UTC\n"
              f"Valid to: {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} +0000 UTC\n"
              f"IsCA: {str(is_ca(certificate)).lower()}\n"
              f"SHA256 Thumbprint: {sha256(certificate.public_bytes(Encoding.DER)).partition(':')[2]}")
