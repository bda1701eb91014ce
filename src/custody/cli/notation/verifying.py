"""What the verifying commands verify with: the policies, stores, plugins and revocation lists of the directory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from custody.cli.notation.options import Narrator, directory
from custody.errors import UsageError
from custody.kit.clock import system_clock
from custody.ports.http import Http
from custody.settings import Settings
from custody.sign.notary.crl import ListCache
from custody.sign.notary.directory import read_document
from custody.sign.notary.plugin import Plugin, open_plugin
from custody.sign.notary.revocation import OnlineRevocations, Revocations
from custody.sign.notary.trustpolicy import Document, parse_blob, parse_oci
from custody.sign.notary.truststore import DirectoryStores
from custody.sign.notary.verify import Verifier
from custody.wiring import programs

_HINT = "custody notation {}policy import FILE puts one there"


def oci_policy() -> Document:
    """The one for images. Raises UsageError where there is none, MalformedError."""
    return _read(directory().oci_policy, parse_oci, "")


def blob_policy() -> Document:
    """The one for files. Raises UsageError where there is none, MalformedError."""
    return _read(directory().blob_policy, parse_blob, "blob ")


def _read(path: Path, parse: Callable[[bytes, str], Document], word: str) -> Document:
    data = read_document(path)
    if data is None:
        raise UsageError(f"{path}: there is no trust policy", hint=_HINT.format(word))
    return parse(data, path.name)


def open_verifier(http: Http, settings: Settings, narrator: Narrator, max_staple_age: timedelta | None = None
                  ) -> Verifier:
    """Over notation's directory. With --offline, revocation is known of what was had before alone: lists that are kept,
    and answers that are stapled, of which `max_staple_age` says how long ago they may have been given."""
    if settings.offline:
        narrator.info("offline: responders are not asked, and lists not fetched")
    cache = ListCache(directory().revocation_lists)
    return verifier_of(OnlineRevocations(http, system_clock, cache, tell=narrator.debug), narrator, max_staple_age)


def verifier_of(revocations: Revocations, narrator: Narrator, max_staple_age: timedelta | None = None) -> Verifier:
    """Over the trust stores and plugins of notation's directory."""
    place = directory()

    def plugin(name: str) -> Plugin:
        return open_plugin(place, name, programs())

    return Verifier(DirectoryStores(place), revocations, system_clock, plugin, narrator.info, max_staple_age)
