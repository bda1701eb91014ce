"""`custody gitsign`: what git runs to sign a commit or tag (gpg.x509.program; git's gpg-interface.c)."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click

from custody.cli.run import settings
from custody.cli.sign import make_signer
from custody.cli.trust_options import Command, sign_options
from custody.errors import UnsupportedError, UsageError
from custody.evidence.model import Verified
from custody.kit.visible import visible
from custody.wiring import command_http

_MAX_OBJECT = 4 << 20


@click.command(cls=Command)
@click.option("-s", "--sign", is_flag=True, help="Sign what standard input brings.")
@click.option("-b", "--detach-sign", is_flag=True, help="The signature alone, as git wants it; without it nothing is.")
@click.option("-a", "--armor", is_flag=True, help="As PEM, as git wants it; without it nothing is.")
@click.option("-u", "--local-user", metavar="NAME", help="Whom git takes for the committer; the certificate says who.")
@click.option("--status-fd", type=int, metavar="N", help="Where git reads that a signature was made.")
@click.option("--verify", metavar="FILE", help="Refused: git does not say whom you expect.")
@sign_options
def command(sign: bool, detach_sign: bool, armor: bool, local_user: str | None, status_fd: int | None,
            verify: str | None, **options: Any) -> None:
    """Sign a commit or tag keyless, as gitsign does: certificate, signature and the log's entry in one.

    git calls it: `git config gpg.format x509` and `git config gpg.x509.program` with a script of one line,
    `exec custody gitsign "$@"`. The token is that of `custody sign`.
    """
    if verify is not None:
        raise UnsupportedError("--verify", "git does not say whom you expect, and any certificate would be good",
                               hint="custody source check --certificate-identity ID --certificate-oidc-issuer URL")
    if options["key"]:
        raise UsageError("--key: a commit is signed keyless", hint="git signs with keys itself: gpg.format ssh")
    if not (sign and detach_sign and armor):
        raise UsageError("gitsign: got no -b, -s and -a together, expected -bsau NAME, as git gives it")
    payload = sys.stdin.buffer.read(_MAX_OBJECT + 1)
    if len(payload) > _MAX_OBJECT or not payload.startswith((b"tree ", b"object ")):
        raise UsageError(f"gitsign: got {len(payload)} bytes on standard input, expected a commit or tag of at most "
                         f"{_MAX_OBJECT}")
    signature, verified = asyncio.run(_sign(payload, options))
    if status_fd is not None:
        _say_made(status_fd, verified)
    click.echo(signature, nl=False)
    by = f" for {local_user}" if local_user else ""
    print(f"custody: signed{visible(by)} by {visible(str(verified.signer))}", file=sys.stderr)


async def _sign(payload: bytes, options: dict[str, Any]) -> tuple[str, Verified]:
    http = command_http(settings())
    try:
        signer = await make_signer(http, options)
        return await signer.sign_object(payload)
    finally:
        await http.close()


def _say_made(descriptor: int, verified: Verified) -> None:
    """git looks for this line, and reads nothing in it (GnuPG's doc/DETAILS)."""
    assert verified.signed_at is not None  # a certificate counts only at a time that somebody attests
    made = f"D 19 8 00 {int(verified.signed_at.timestamp())} {verified.signature.partition(':')[2][:40]}"
    try:
        os.write(descriptor, f"\n[GNUPG:] SIG_CREATED {made}\n".encode())
    except OSError as error:
        raise UsageError(f"--status-fd {descriptor}: {error.strerror}") from None
