"""`custody generate-key-pair`, and the files of a pair."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from custody.cli.kept_keys import created_key
from custody.cli.password import ask
from custody.errors import UsageError
from custody.kit import destination
from custody.sign.keys import PrivateKey, encrypt_key, generate_key, generate_post_quantum_key
from custody.wiring import is_kept_elsewhere


@click.command("generate-key-pair")
@click.option("--kms", metavar="NAME", help="Make the key at a service, hashivault://NAME, awskms:///alias/NAME …, "
              "which keeps it; only PREFIX.pub is written.")
@click.option("--pq", is_flag=True, help="Make an ML-DSA-65 pair, for sign --pq and verify --pq-key.")
@click.option("--output-key-prefix", default="cosign", show_default=True, metavar="PREFIX",
              help="Writes PREFIX.key and PREFIX.pub.")
def command(kms: str | None, pq: bool, output_key_prefix: str) -> None:
    """Make a P-256 key pair, or an ML-DSA-65 pair.

    The private key is encrypted with $COSIGN_PASSWORD, or a password that is asked for on a terminal, or all of
    standard input.

    With --kms the key is made where it stays. A key of that name that is there already is taken as it is.
    """
    if kms is None:
        write_pair(*free_names(output_key_prefix), generate_post_quantum_key if pq else generate_key)
        return
    if pq:
        raise UsageError("--kms and --pq: give one; services make keys of their own kinds")
    if not is_kept_elsewhere(kms):
        raise UsageError(f"--kms: got {kms!r}, expected the name of a key at a service: hashivault://NAME, "
                         "awskms:///alias/NAME, gcpkms://…, azurekms://…, or NAME://… of a plugin")
    public = Path(f"{output_key_prefix}.pub")
    if os.path.lexists(public):
        raise UsageError(f"{public}: exists", hint="move it away, or choose another --output-key-prefix")
    destination.check(public, "--output-key-prefix")
    destination.write(public, created_key(kms).encode(), "--output-key-prefix")
    print(public)


def free_names(prefix: str, *, replace: bool = False) -> tuple[Path, Path]:
    """The files of a pair, which is not there yet unless it may be replaced. Raises UsageError."""
    names = Path(f"{prefix}.key"), Path(f"{prefix}.pub")
    for path in names:
        if os.path.lexists(path) and not replace:
            raise UsageError(f"{path}: exists", hint="move it away, or choose another --output-key-prefix")
        destination.check(path, "--output-key-prefix")
    return names


def write_pair(private: Path, public: Path, make: Callable[[], PrivateKey], *, replace: bool = False) -> None:
    """Both files or none; asks for the password of the new one. Raises UsageError."""
    password = ask("Password for the private key", confirm=True)
    key = make()
    if replace:
        with destination.opened(private, "--output-key-prefix", private=True) as stream:
            stream.write(encrypt_key(key, password))
        destination.write(public, key.public.pem, "--output-key-prefix")
        _tell(private, public, password)
        return
    written: list[Path] = []
    try:
        for path, data, mode in ((private, encrypt_key(key, password), 0o600), (public, key.public.pem, 0o666)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                written.append(path)
                stream.write(data)
    except OSError as error:
        for path in written:  # half a pair is none
            path.unlink(missing_ok=True)
        raise UsageError(f"{error.filename or written[-1]}: {error.strerror}") from None
    _tell(private, public, password)


def _tell(private: Path, public: Path, password: bytes) -> None:
    if not password:
        print(f"warning: {private} has an empty password", file=sys.stderr)
    print(f"{private}\n{public}")
