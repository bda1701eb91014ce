"""`custody trust`: the files that make others trust these services, and tokens that make these services trust you."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from custody.cli.run import settings
from custody.errors import UsageError
from custody.wiring import WORKLOADS, Platform

_URL = click.option("--url", default="http://127.0.0.1:5080", show_default=True,
                    help="Where the services are reached, as given to `custody up --port`.")


@click.group("trust")
def command() -> None:
    """Trust root, signing configuration and identity tokens of the embedded services."""


@command.command("export")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@_URL
def _export(folder: Path | None, url: str) -> None:
    """Write trusted_root.json and signing_config.json, which cosign and sigstore-python read too.

    FOLDER: where copies go; by default only the data directory's own are written. Keys are made if there are none.
    """
    platform = Platform(settings(), url)
    for path in platform.export():
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).write_bytes(path.read_bytes())
            path = folder / path.name
        click.echo(path)


@command.command("token")
@_URL
@click.option("--email", metavar="ADDRESS", help="A person's token.")
@click.option("--workload", type=click.Choice(sorted(WORKLOADS)), help="A token for one of custody's own workloads.")
@click.option("--subject", metavar="URI", help="With --workload: who it is, a URI below the workload's issuer.")
@click.option("--minutes", default=10, show_default=True, type=click.IntRange(1, 60),
              help="How long the token counts.")
def _token(url: str, email: str | None, workload: str | None, subject: str | None, minutes: int) -> None:
    """Print an identity token of the embedded OIDC issuer, for `--identity-token`.

    It is signed with the key in the data directory: whoever can read that may be anybody here. That is right for one
    machine; where people sign, register your own issuer instead (`issuers` in custody.toml).
    """
    platform = Platform(settings(), url)
    lifetime = timedelta(minutes=minutes)
    if (email is None) == (workload is None):
        raise UsageError("trust token: give one of --email and --workload")
    if email is not None:
        _print(platform.people.mint_email(email, lifetime=lifetime))
        return
    issuer = platform.workloads[workload or ""]
    name = subject or f"{issuer.url}/{workload}"
    if not name.startswith(issuer.url + "/"):
        raise UsageError(f"--subject: got {name!r}, expected a URI below {issuer.url}")
    _print(issuer.mint({"sub": name}, lifetime=lifetime))


def _print(token: str) -> None:
    """Without a line end into a file: cosign sends a token file as it is."""
    click.echo(token, nl=sys.stdout.isatty())
