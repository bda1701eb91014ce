"""What the verifying commands verify with: the policies, stores, plugins and revocation lists of the directory."""

from __future__ import annotations

from custody.cli.notation.options import Narrator, directory
from custody.errors import UsageError
from custody.kit.clock import system_clock
from custody.ports.http import Http
from custody.settings import Settings
from custody.sign.notary.crl import ListCache
from custody.sign.notary.directory import read_document
from custody.sign.notary.plugin import Plugin, open_plugin
from custody.sign.notary.revocation import OnlineRevocations
from custody.sign.notary.trustpolicy import Document, parse_blob, parse_oci
from custody.sign.notary.truststore import DirectoryStores
from custody.sign.notary.verify import Verifier
from custody.wiring import programs

_HINT = "custody notation {}policy import FILE puts one there"


def oci_policy() -> Document:
    """trustpolicy.oci.json, or trustpolicy.json. Raises UsageError where there is none, MalformedError."""
    for path in directory().oci_policies:
        if (data := read_document(path)) is not None:
            return parse_oci(data, path.name)
    raise UsageError(f"{directory().oci_policies[-1]}: there is no trust policy", hint=_HINT.format(""))


def blob_policy() -> Document:
    """trustpolicy.blob.json. Raises UsageError where there is none, MalformedError."""
    data = read_document(directory().blob_policy)
    if data is None:
        raise UsageError(f"{directory().blob_policy}: there is no trust policy", hint=_HINT.format("blob "))
    return parse_blob(data, directory().blob_policy.name)


def open_verifier(http: Http, settings: Settings, narrator: Narrator) -> Verifier:
    """Over notation's directory. With --offline, revocation is known of lists that were fetched before alone."""
    place = directory()

    def plugin(name: str) -> Plugin:
        return open_plugin(place, name, programs())

    if settings.offline:
        narrator.info("offline: responders are not asked, and lists not fetched")
    revocations = OnlineRevocations(http, system_clock, ListCache(place.revocation_lists), tell=narrator.debug)
    return Verifier(DirectoryStores(place), revocations, system_clock, plugin, narrator.info)
