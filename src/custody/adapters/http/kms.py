"""Public keys that key management services keep, which policies name: `hashivault://`, `awskms://` ….

Where a service is and who asks it is said by the environment, as its own tools have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from custody.adapters.http.awskms import AwsKey
from custody.adapters.http.azurekms import AzureKey
from custody.adapters.http.azuretoken import AzureToken
from custody.adapters.http.gcpkms import GoogleKey
from custody.adapters.http.gcptoken import GoogleToken
from custody.adapters.http.vault import VaultKey
from custody.errors import CustodyError, MalformedError
from custody.kit.clock import Clock
from custody.ports.http import Http
from custody.ports.keyservice import KeyService
from custody.ports.lookup import Absent, Answer, Answered, Failed, Lookup, NoLookup, PublicKeyAt, Question

KEEP = 60.0
"""Seconds for which a key counts; Sigstore's clients keep it for 300."""
_MAX_KEPT = 256


@dataclass(frozen=True, slots=True)
class KeyServices:
    """Who keeps keys, and as whom they are asked."""

    http: Http
    environ: Mapping[str, str]
    clock: Clock
    direct: Callable[[], Http] | None = None
    """Opens what asks no proxy, for machines' own metadata servers; `http` asks them where it is not given."""
    read_token: Callable[[], str] = lambda: ""
    """Reads the file where Vault's own command keeps a token."""
    profile: Callable[[], Mapping[str, str]] = dict
    """What AWS's files of profiles say, by the names of the variables in whose place it stands."""
    asked: Callable[[str], bool] = lambda _: True
    """Whether a host of an `awskms://` reference that is not Amazon's is asked."""

    def named(self, uri: str) -> KeyService:
        """Raises MalformedError for what is no key's name."""
        scheme = uri.partition("://")[0]
        if scheme in ("hashivault", "openbao"):
            return VaultKey(self.http, self.environ, uri, self.read_token)
        if scheme == "awskms":
            return AwsKey(self.http, self.environ, uri, self.clock, self.asked, self.profile)
        if scheme == "gcpkms":
            return GoogleKey(self.http, uri, GoogleToken(self.http, self.direct, self.environ, self.clock))
        if scheme == "azurekms":
            return AzureKey(self.http, uri, AzureToken(self.http, self.direct, self.environ))
        raise MalformedError("key", got=uri, expected="hashivault://NAME, openbao://NAME, awskms://[HOST]/ID, ARN or "
                             "alias, gcpkms://projects/… or azurekms://HOST/NAME")


class KeyLookup:
    """Implements ports.lookup.Lookup for keys at services. `beyond` answers other questions."""

    def __init__(self, http: Http, environ: Mapping[str, str], hosts: list[str], clock: Clock,
                 beyond: Lookup | None = None, read_token: Callable[[], str] = lambda: "") -> None:
        """`hosts` are `HOST` or `HOST:PORT` of AWS endpoints beside Amazon's own; `read_token` reads Vault's file."""
        self._services = KeyServices(http, environ, clock, read_token=read_token, asked=self._asked)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._clock = clock
        self._beyond = beyond or NoLookup()
        self._kept: dict[str, tuple[datetime, str]] = {}

    async def answer(self, question: Question) -> Answer:
        if not isinstance(question, PublicKeyAt):
            return await self._beyond.answer(question)
        try:
            pem = await self.key(question.uri)
        except CustodyError as error:
            return Failed(error.message)
        return Absent() if pem is None else Answered(pem)

    def known(self, question: Question) -> Answer | None:
        return None if isinstance(question, PublicKeyAt) else self._beyond.known(question)

    async def key(self, uri: str) -> str | None:
        """PEM; None where the service says that it has no such key.

        Raises UnsupportedError for a service that is not asked, UsageError where the environment does not say who asks,
        NetworkError, AuthenticationError, MalformedError.
        """
        now = self._clock()
        known = self._kept.get(uri)
        if known is not None and 0 <= (now - known[0]).total_seconds() < KEEP:
            return known[1]
        pem = await self._services.named(uri).public_key()
        if pem is not None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[uri] = now, pem
        return pem

    def _asked(self, host: str) -> bool:
        return host in self._hosts or host.rpartition(":")[0] in self._hosts
