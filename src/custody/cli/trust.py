"""`custody trust`: the files that make others trust these services, and tokens that make these services trust you."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path

import click

from custody.cli import trust_tuf
from custody.cli.run import settings
from custody.errors import UsageError
from custody.kit import destination
from custody.trust.oidc import AUDIENCE
from custody.trust.roots import parse_signing_config
from custody.wiring import WORKLOADS, Platform

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_DEFAULT = "http://127.0.0.1:5080"


@click.group("trust")
def command() -> None:
    """Trust root, signing configuration and identity tokens of the embedded services."""


command.add_command(trust_tuf.command)


@command.command("export")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--url", help="Copies for services that are reached at this URL instead; needs a FOLDER.")
def _export(folder: Path | None, url: str | None) -> None:
    """Copy trusted_root.json and signing_config.json, which cosign and sigstore-python read too, to FOLDER.

    They are those that the services wrote when they started, and stay as they are; without FOLDER they are only named.
    Where no services ever ran, keys and files are made for http://127.0.0.1:5080.
    """
    if folder is not None:
        destination.make_folder(folder, "trust export")
        for path in Platform(settings(), _DEFAULT).trust_files:
            destination.check(folder / path.name, "trust export")
    platform = Platform(settings(), url or _DEFAULT)
    files = platform.trust_files
    written = all(path.is_file() for path in files)
    if url is not None and folder is None and written:
        raise UsageError("--url: the data directory's own files are the services' to write", hint="name a FOLDER")
    if not written:
        platform.export()
    documents = ([document.to_json() for document in platform.trust_documents()] if url is not None
                 else [path.read_bytes() for path in files])
    for path, document in zip(files, documents, strict=True):
        if folder is not None:
            path = folder / path.name
            destination.write(path, document, "trust export")
        click.echo(path)


@command.command("token")
@click.option("--url", help="Where the services are reached. Default: where signing_config.json says, else "
              f"{_DEFAULT}.")
@click.option("--email", metavar="ADDRESS", help="A person's token.")
@click.option("--workload", type=click.Choice(sorted(WORKLOADS)), help="A token for one of custody's own workloads.")
@click.option("--subject", metavar="URI", help="With --workload: who it is, a URI below the workload's issuer.")
@click.option("--audience", default=AUDIENCE, show_default=True,
              help="Whom the token is for: the certificate authority, or the `audience` of a registry's [auth].")
@click.option("--minutes", default=10, show_default=True, type=click.IntRange(1, 60),
              help="How long the token counts.")
def _token(url: str | None, email: str | None, workload: str | None, subject: str | None, audience: str,
           minutes: int) -> None:
    """Print an identity token of the embedded OIDC issuer, for `--identity-token`.

    It is signed with the key in the data directory: whoever can read that may be anybody here. That is right for one
    machine; where people sign, register your own issuer instead (`issuers` in custody.toml).
    """
    lifetime = timedelta(minutes=minutes)
    if (email is None) == (workload is None):
        raise UsageError("trust token: give one of --email and --workload")
    if subject is not None and workload is None:
        raise UsageError("--subject: is a workload's, and --email names a person", hint="--workload NAME")
    if email is not None and not (_EMAIL.fullmatch(email) and email.isascii() and email.isprintable()):
        raise UsageError(f"--email: got {email!r}, expected an address such as ann@myorg.example")
    if not (folder := settings().data / "trust").is_dir():
        print(f"warning: {folder}: no services have run in this data directory; the token is signed with a new key",
              file=sys.stderr)
    platform = Platform(settings(), url or _recorded() or _DEFAULT)
    if email is not None:
        _print(platform.people.mint_email(email, audience=audience, lifetime=lifetime))
        return
    issuer = platform.workloads[workload or ""]
    name = subject or f"{issuer.url}/{workload}"
    if not name.startswith(issuer.url + "/"):
        raise UsageError(f"--subject: got {name!r}, expected a URI below {issuer.url}")
    _print(issuer.mint({"sub": name}, audience=audience, lifetime=lifetime))


def _print(token: str) -> None:
    """Without a line end into a file: cosign sends a token file as it is."""
    click.echo(token, nl=sys.stdout.isatty())


def _recorded() -> str | None:
    """The base URL of the issuer that the running services wrote down."""
    _, config_file = Platform(settings(), _DEFAULT).trust_files
    if not config_file.is_file():
        return None
    issuers = parse_signing_config(config_file.read_bytes(), str(config_file)).oidc
    return issuers[0].url.removesuffix("/oidc") if issuers else None
