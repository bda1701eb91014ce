"""Who may sign commits: the options of `custody source check`, and what the settings say where none is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from custody.cli.trust_files import load_root, trusted_root_option
from custody.errors import UsageError
from custody.settings import Settings
from custody.settings.tables import Source, SourceIdentity
from custody.source.signatures import Believed, Keyless
from custody.source.signers import read_allowed_signers

if TYPE_CHECKING:
    from custody.sign.identity import Identity
    from custody.source.openpgp import Keyring
    from custody.trust.roots import CertificateAuthority

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--allowed-signers", "signers", metavar="FILE", type=click.Path(path_type=Path),
                 help="Who may sign: ssh-keygen's ALLOWED SIGNERS format."),
    click.option("--openpgp-keyring", "keyring", metavar="FILE", type=click.Path(path_type=Path),
                 help="Whose OpenPGP keys count: their certificates, as `gpg --export` writes them."),
    click.option("--ca-roots", metavar="FILE",
                 help="PEM of the authorities whose certificates count (gpgsm, smimesign), and of what is below them."),
    click.option("--certificate-identity", "identities", multiple=True, metavar="ID",
                 help="Whose certificates count (gitsign): an email address or a URI; repeatable."),
    click.option("--certificate-identity-regexp", "identity_regexp", metavar="RE",
                 help="The same as a pattern, not anchored."),
    click.option("--certificate-oidc-issuer", "issuer", metavar="URL", help="Who vouched for those identities."),
    click.option("--certificate-oidc-issuer-regexp", "issuer_regexp", metavar="RE",
                 help="The same as a pattern, not anchored."),
    trusted_root_option,
)


def signer_options(command: _F) -> _F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def believed(settings: Settings, options: Mapping[str, Any], now: datetime) -> Believed | None:
    """Who may sign: by the flags, or where none is given, by the settings' table `source`. None: nobody was named.

    Raises UsageError for a file that cannot be read, half of an identity, or where there is no trusted root.
    """
    given = _Named(options["signers"], options["keyring"], options["ca_roots"], _identities(options))
    if not any(given[:4]):
        if options["trusted_root"]:
            raise _half()
        configured = settings.source or Source()
        given = _Named(_path(configured.allowed_signers), _path(configured.openpgp_keyring), configured.ca_roots,
                       tuple(map(_configured, range(len(configured.identities)), configured.identities)), _SETTINGS)
        if not any(given[:4]):
            return None
    return Believed(
        read_allowed_signers(given.signers) if given.signers else None,
        _keyless(settings, given, options["trusted_root"], now) if given.identities else None,
        _keyring(given.keyring, given.names.keyring) if given.keyring else None,
        _authorities(given.ca_roots, given.names.ca_roots) if given.ca_roots else None)


def _configured(number: int, entry: SourceIdentity) -> Identity:
    """An entry of `source.identities`. Raises UsageError, which names it."""
    where = f"{_SETTINGS.identities}[{number}]"
    for name, exact, pattern in (("identity", entry.identity, entry.identity_regexp),
                                 ("issuer", entry.issuer, entry.issuer_regexp)):
        if bool(exact) is bool(pattern):
            raise UsageError(f"{where}.{name}: got {'both' if exact else 'neither'}, expected {name} or {name}_regexp",
                             hint="a certificate proves nothing until you say whose you expect, and who vouched for it")
    try:
        return _identity(entry.identity, entry.identity_regexp, entry.issuer, entry.issuer_regexp)
    except UsageError as error:  # of a pattern
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


class _Places(NamedTuple):
    """What people wrote them in, for errors."""

    keyring: str
    ca_roots: str
    identities: str


_FLAGS = _Places("--openpgp-keyring", "--ca-roots", "--certificate-identity")
_SETTINGS = _Places("source.openpgp_keyring", "source.ca_roots", "source.identities")


class _Named(NamedTuple):
    signers: Path | None
    keyring: Path | None
    ca_roots: str | None
    identities: tuple[Identity, ...]
    names: _Places = _FLAGS


def _identities(options: Mapping[str, Any]) -> tuple[Identity, ...]:
    identities, pattern = options["identities"], options["identity_regexp"]
    issuer, issuer_pattern = options["issuer"], options["issuer_regexp"]
    if not identities and not pattern:
        if issuer or issuer_pattern:
            raise _half()
        return ()
    if identities and pattern:
        raise UsageError("identity: given exactly and as a pattern",
                         hint="keep --certificate-identity or --certificate-identity-regexp")
    return tuple(_identity(subject, pattern, issuer, issuer_pattern) for subject in identities or (None,))


def _half() -> UsageError:
    return UsageError("identity: not given; a certificate proves nothing until you say whose you expect",
                      hint="--certificate-identity VALUE or --certificate-identity-regexp PATTERN")


def _identity(subject: str | None, pattern: str | None, issuer: str | None, issuer_pattern: str | None) -> Identity:
    from custody.sign.identity import Identity

    return Identity(subject, pattern, issuer, issuer_pattern)


def _keyless(settings: Settings, given: _Named, trusted_root: str | None, now: datetime) -> Keyless:
    from custody.sign.verify import Trust

    root = load_root(settings, trusted_root)
    if root is None:
        raise UsageError(f"{given.names.identities}: there is no trusted root to check certificates against",
                         hint="--trusted-root FILE")
    return Keyless(Trust(root), given.identities, now)


def _keyring(path: Path, name: str) -> Keyring:
    from custody.source.openpgp import read_keyring

    return read_keyring(path, name)


def _authorities(path: str, name: str) -> tuple[CertificateAuthority, ...]:
    from custody.sign.trusting import authorities
    from custody.trust.pemroots import read_pem

    return authorities(read_pem(path, name).decode("utf-8", "replace"), f"{name} {path}")
