"""`custody notation certificate doctor`: what a chain lacks to sign, or to stamp, for the Notary Project."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from custody.cli.notation.options import Command
from custody.cli.notation.stores import read
from custody.errors import DeniedError, UsageError
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.sign.notary import crl, ocsp
from custody.sign.notary.chain import Flaw, signing_flaws, stamping_flaws
from custody.sign.notary.distinguishedname import subject_name
from custody.sign.notary.truststore import read_certificates, unfit


@click.command("doctor", cls=Command)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("-t", "--type", "store_type", type=click.Choice(["ca", "signingAuthority", "tsa"]), default="ca",
              show_default=True, help="For which trust store its root is meant: tsa for a timestamp authority's chain.")
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="text", show_default=True,
              help="What stdout gets.")
def command(file: Path, store_type: str, output: str) -> None:
    """Say by name what a chain lacks of the Notary Project's requirements for certificates.

    FILE holds it in PEM or DER, leaf first, root last. ✗ is what verifiers refuse, ! what the specification asks for
    and they do not look at, or what will hinder somebody. Exit code 3 where something is refused.
    """
    chain, now = read_certificates(read(file), file.name), system_clock()
    flaws = list((stamping_flaws if store_type == "tsa" else signing_flaws)(chain))
    flaws += [*_validity(chain, now), *_hindrances(chain, store_type)]
    refused = [flaw for flaw in flaws if flaw.enforced]
    if output == "json":
        print(json.dumps({"certificates": [certificate.subject.rfc4514_string() for certificate in chain],
                          "flaws": [_entry(flaw) for flaw in flaws]}, indent=4, ensure_ascii=False))
    else:
        for at, certificate in enumerate(chain):
            print(f"{at}  {visible(certificate.subject.rfc4514_string())}")
            for flaw in flaws:
                if flaw.position == at:
                    print(f"   {'✗' if flaw.enforced else '!'} {flaw.rule}: {visible(flaw.reason)}")
        if not flaws:
            print("nothing is missing")
    if refused:
        raise DeniedError(f"{file}: {len(refused)} requirement{'s' if len(refused) > 1 else ''} of the Notary Project "
                          f"not met: {', '.join(dict.fromkeys(flaw.rule for flaw in refused))}")


def _entry(flaw: Flaw) -> dict[str, Any]:
    return {"rule": flaw.rule, "certificate": flaw.position, "reason": flaw.reason, "refused": flaw.enforced}


def _validity(chain: list[x509.Certificate], now: datetime) -> list[Flaw]:
    return [Flaw("validity", at, f"not valid at {format_rfc3339(now)}, but from "
                 f"{format_rfc3339(certificate.not_valid_before_utc)} to "
                 f"{format_rfc3339(certificate.not_valid_after_utc)}")
            for at, certificate in enumerate(chain)
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc]


def _hindrances(chain: list[x509.Certificate], store_type: str) -> list[Flaw]:
    """What no verifier refuses, and somebody will ask about."""
    flaws: list[Flaw] = []
    if reason := unfit(chain[-1], store_type):
        flaws.append(Flaw("trust-store", len(chain) - 1, f"no {store_type} store may hold it: {reason}"))
    if store_type != "tsa":
        try:
            subject_name(chain[0], "identity")
        except UsageError as error:
            flaws.append(Flaw("trusted-identity", 0, f"trust policies can name it by \"*\" alone: {error.message}",
                              enforced=False))
    for at, certificate in enumerate(chain[:-1]):
        places = [*ocsp.places(certificate), *crl.places(certificate)]
        if not places:
            flaws.append(Flaw("revocation", at, "names neither responders nor lists: it cannot be revoked",
                              enforced=False))
        elif not any(place.lower().startswith("http://") for place in places):
            flaws.append(Flaw("revocation", at, f"is asked for over http:// alone, and it names {places[0]}",
                              enforced=False))
    return flaws
