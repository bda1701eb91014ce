"""Whose certificates count on commits: the options of `custody source check` about keyless signatures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from custody.cli.trust_files import load_root, trusted_root_option
from custody.errors import UsageError
from custody.settings import Settings
from custody.source.signatures import Keyless

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--certificate-identity", "identities", multiple=True, metavar="ID",
                 help="Whose certificates count (gitsign): an email address or a URI; repeatable."),
    click.option("--certificate-identity-regexp", "identity_regexp", metavar="RE",
                 help="The same as a pattern, not anchored."),
    click.option("--certificate-oidc-issuer", "issuer", metavar="URL", help="Who vouched for those identities."),
    click.option("--certificate-oidc-issuer-regexp", "issuer_regexp", metavar="RE",
                 help="The same as a pattern, not anchored."),
    trusted_root_option,
)


def keyless_options(command: _F) -> _F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def keyless(settings: Settings, identities: tuple[str, ...], identity_regexp: str | None, issuer: str | None,
            issuer_regexp: str | None, trusted_root: str | None, now: datetime) -> Keyless | None:
    """None where no identity was named. Raises UsageError for half of one, or where there is no trusted root."""
    if not identities and not identity_regexp:
        if issuer or issuer_regexp or trusted_root:
            raise UsageError("identity: not given; a certificate proves nothing until you say whose you expect",
                             hint="--certificate-identity VALUE or --certificate-identity-regexp PATTERN")
        return None
    if identities and identity_regexp:
        raise UsageError("identity: given exactly and as a pattern",
                         hint="keep --certificate-identity or --certificate-identity-regexp")
    from custody.sign.identity import Identity
    from custody.sign.verify import Trust

    subjects = identities or (None,)
    expected = tuple(Identity(subject, identity_regexp, issuer, issuer_regexp) for subject in subjects)
    root = load_root(settings, trusted_root)
    if root is None:
        raise UsageError("--certificate-identity: there is no trusted root to check certificates against",
                         hint="--trusted-root FILE")
    return Keyless(Trust(root), expected, now)
