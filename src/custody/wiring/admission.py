"""The webhook: its judge, over a gatherer that it shares with whoever else asks, and the certificate it serves with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from custody.errors import UsageError
from custody.kit.clock import Clock
from custody.ports.http import Http

if TYPE_CHECKING:
    from custody.admission.answered import Observer
    from custody.admission.certs import ServingCertificate
    from custody.admission.webhook import Admission
    from custody.policy.counting import Counting
    from custody.policy.load import PolicySet
    from custody.policy.model import SummaryTerms
    from custody.ports.lookup import Lookup
    from custody.ports.violations import Violations
    from custody.registry.client import RegistryClient
    from custody.services.decisions import DecisionKeeper
    from custody.services.evidenceanswers import EvidenceAnswers
    from custody.services.gather import Gatherer
    from custody.services.prefetch import Names, Prefetch
    from custody.services.remembered import Remembered
    from custody.services.summaries import Summarizing
    from custody.settings import Settings
    from custody.sign.keptkeys import SigningKey
    from custody.sign.signer import Signer


def admission(policies: PolicySet, gatherer: Gatherer, clock: Clock, observer: Observer | None = None,
              lookup: Lookup | None = None, summaries: SummaryTerms | None = None) -> Admission:
    from custody.admission.webhook import Admission
    from custody.services.check import gathering
    from custody.services.evidencelookup import EvidenceLookup

    evidence = EvidenceLookup(gatherer, lookup)
    made = Admission(policies, gathering(gatherer), clock, observer=observer, lookup=evidence, summaries=summaries)
    evidence.root = lambda: made.snapshot.root
    return made


def prefetch(admission: Admission, gatherer: Gatherer, clock: Clock, lookup: Lookup | None = None,
             names: Callable[[str], Sequence[str]] = lambda _: ()) -> Prefetch:
    """Gathers beforehand what an admission will ask of this gatherer; to be run beside it."""
    from custody.admission.judging import Judging
    from custody.ports.lookup import NoLookup
    from custody.services.check import gathering
    from custody.services.evidencelookup import EvidenceLookup
    from custody.services.prefetch import Prefetch, Reading

    evidence = EvidenceLookup(gatherer, Reading(lookup or NoLookup()))
    evidence.root = lambda: admission.snapshot.root
    judging = Judging(gathering(gatherer), clock, evidence)
    return Prefetch(judging, gatherer, lambda: admission.parts.known, names)


def own_names(settings: Settings, url: str) -> Names:
    """What pods call the repositories of the registry at a URL."""
    from custody.services.prefetch import Names

    place = urlsplit(url)
    alike = [f"localhost:{place.port}"] if place.hostname == "127.0.0.1" else []
    return Names([place.netloc, *alike, *settings.hosts], settings.mirrors)


def summary_terms(settings: Settings) -> SummaryTerms | None:
    """Which summaries count; None where none do. Raises UsageError, MalformedError for keys that cannot be read."""
    if settings.summaries is None:
        return None
    from custody.policy.model import SummaryTerms
    from custody.sign.keys import load_public_key, read_key_file

    pems = [(path, read_key_file(path, "summaries.keys")) for path in settings.summaries.keys]
    keys = "".join(load_public_key(pem, path).pem.decode() for path, pem in pems)
    if not keys:
        raise UsageError("summaries.keys: got none, expected files of public keys")
    return SummaryTerms(keys=keys, verifier=settings.summary_verifier, max_age=settings.summaries.max_age * 3600)


def summarizing(settings: Settings, http: Http, client: RegistryClient, clock: Clock) -> Summarizing | None:
    """Writes summaries of what the webhook allows, to be run beside it; None where the settings name no key."""
    if settings.summary_key is None:
        return None
    from custody.services.summaries import Summarizing
    from custody.sign.keys import load_private_key, read_key_file

    password = os.environ.get("COSIGN_PASSWORD", "").encode()
    key = load_private_key(read_key_file(settings.summary_key, "summary_key"), password, settings.summary_key)
    hours = settings.summaries.max_age / 2 if settings.summaries is not None else 12.0
    return Summarizing(summary_signer(http, key, clock), client, clock, settings.summary_verifier,
                       timedelta(hours=hours))


def summary_signer(http: Http, key: SigningKey, clock: Clock) -> Signer:
    """By the key alone: a summary counts where logs and authorities cannot be reached."""
    from custody.sign.signer import Signer
    from custody.trust.roots import SigningConfig

    return Signer(http=http, config=SigningConfig(), root=None, key=key, clock=clock)


def exceptions(settings: Settings) -> Counting:
    """Which PolicyExceptions count by the settings. Raises UsageError, MalformedError for keys that are none."""
    from custody.policy.counting import Counting
    from custody.sign.keys import load_public_key, read_key_file

    return Counting(settings.exceptions, [load_public_key(read_key_file(path, "exception_keys"), path)
                                          for path in settings.exception_keys])


def decision_keeper(settings: Settings, clock: Clock) -> DecisionKeeper | None:
    """Writes what the webhook decides into the data directory; None where the settings keep nothing."""
    if not settings.keep_decisions:
        return None
    from custody.adapters.sqlite.decisions import SqliteDecisions
    from custody.services.decisions import DecisionKeeper

    return DecisionKeeper(SqliteDecisions(settings.state() / "decisions.db"), clock, settings.keep_decisions,
                          settings.max_decisions << 20)


def remembered(settings: Settings, clock: Clock) -> Remembered | None:
    """What was gathered before, in the data directory; None where the settings count none of it."""
    if not settings.stale_evidence:
        return None
    from custody.adapters.sqlite.evidence import SqliteEvidence
    from custody.services.remembered import Remembered

    return Remembered(SqliteEvidence(settings.state() / "evidence.db"), clock, timedelta(hours=settings.stale_evidence),
                      timedelta(minutes=settings.kept_first))


def evidence_answers(settings: Settings, gatherer: Gatherer, clock: Clock) -> EvidenceAnswers:
    """What the provider role says of images. Raises UsageError, MalformedError for keys and signers that are none."""
    import msgspec

    from custody.policy.evidencesigners import accepted
    from custody.services.evidenceanswers import EvidenceAnswers
    from custody.sign.keys import load_public_key, read_key_file

    stated = settings.external_data
    if stated is None:
        raise UsageError("external_data: got nothing, expected who may ask", hint="[external_data] with `client_ca`")
    keys = [load_public_key(read_key_file(path, "external_data.keys"), path).pem for path in stated.keys]
    who = accepted(msgspec.to_builtins(stated.signers)) if stated.signers else None
    return EvidenceAnswers(gatherer, clock, seconds=stated.seconds, keys=keys, who=who)


def serving_certificate(folder: Path, hosts: list[str], clock: Clock) -> ServingCertificate:
    from custody.admission.certs import ServingCertificate

    serving = ServingCertificate(folder, hosts)
    serving.ensure(clock())
    return serving


def violations(path: str, channel: str, keep: int) -> Violations:
    """Where a Connection of the disk driver exports to: a `ports.violations.Opened`."""
    from custody.adapters.filesystem.violations import ViolationFiles

    return ViolationFiles(path, channel, keep)
