"""The verifier of the Notary Project: one signature held against one statement of a trust policy.

(notaryproject/specifications trust-store-trust-policy, signature verification.) Five validations, each with what the
statement does where it fails: enforce, log or skip. What the caller must still do: find the statement that applies, and
count on an outcome only where `Outcome.error` is None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509

from custody.errors import Check, CustodyError, MalformedError, UnsupportedError, UsageError, VerificationError
from custody.formats import notary
from custody.kit.amount import amount
from custody.kit.clock import Clock, format_rfc3339
from custody.sign.certificate import load_certificate
from custody.sign.notary import crl, ocsp
from custody.sign.notary.chain import check_signing_chain, check_valid
from custody.sign.notary.distinguishedname import subject_name
from custody.sign.notary.envelope import check_signature, check_unexpired
from custody.sign.notary.issuance import algorithm_of
from custody.sign.notary.plugin import REVOCATION, TRUSTED_IDENTITY, Plugin
from custody.sign.notary.revocation import Answer, Revocations, State, check_answers
from custody.sign.notary.stapled import Fetch, StapledRevocations
from custody.sign.notary.trustpolicy import ANY, SKIP, Action, Level, Statement, Validation, VerifyTimestamp
from custody.sign.notary.truststore import TrustStores
from custody.sign.steps import NOTARY, SILENT, Step, StepResult, Trace

if TYPE_CHECKING:
    from custody.sign.notary.pluginverdict import PluginVerdict

_STEPS = {Validation.INTEGRITY: Step.INTEGRITY, Validation.AUTHENTICITY: Step.AUTHENTICITY,
          Validation.EXPIRY: Step.EXPIRY, Validation.AUTHENTIC_TIMESTAMP: Step.TIMESTAMP,
          Validation.REVOCATION: Step.REVOCATION}
_STORES = {notary.X509: "ca", notary.SIGNING_AUTHORITY: "signingAuthority"}
Describe = Callable[[str], notary.Target]
"""What must have been signed, by the hash of the signature (`sha256`, `sha384`, `sha512`), which files are named by. A
media type of "" is any."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one validation."""

    validation: Validation
    action: Action
    error: VerificationError | None = None
    """Why it failed; None where it passed."""


@dataclass(slots=True)
class Outcome:
    """Of one signature."""

    level: Level
    results: list[Result] = field(default_factory=list)
    envelope: notary.Envelope | None = None
    """What was signed; None until integrity is known."""
    chain: tuple[x509.Certificate, ...] = ()
    moment: datetime | None = None
    """When it was signed, as somebody who is trusted attests."""
    answers: dict[Validation, list[Answer]] = field(default_factory=dict)
    """What was found out of revoked certificates: of the timestamp authority's chain, and of the signer's."""
    error: VerificationError | None = None
    """Why it does not count."""

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.error is not None]

    @property
    def stapled(self) -> list[Answer]:
        """Those of the answers that were had before, since nobody could be asked."""
        return [answer for said in self.answers.values() for answer in said if answer.stapled]

    def failed(self, validation: Validation) -> bool:
        return any(result.validation is validation for result in self.failures)


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of a signature beside the trust policy."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Of the user's, that must have been signed with the artifact."""
    plugin_config: Mapping[str, str] = field(default_factory=dict)


class _Enforced(Exception):  # noqa: N818 - it ends the validations, and is no fault
    """A validation that is enforced failed."""

    def __init__(self, error: VerificationError) -> None:
        self.error = error


class Verifier:
    """`open_plugin` gives a verification plugin by its name; None where there are none to ask."""

    def __init__(self, stores: TrustStores, revocations: Revocations, clock: Clock,
                 open_plugin: Callable[[str], Plugin] | None = None,
                 tell: Callable[[str], None] = lambda _: None, max_staple_age: timedelta | None = None) -> None:
        """`tell` gets what went on, for people; `max_staple_age` is how long ago stapled answers may have been given,
        None for as long as they say themselves."""
        self._stores = stores
        self._revocations = revocations
        self._clock = clock
        self._open_plugin = open_plugin
        self._tell = tell
        self._max_staple_age = max_staple_age

    async def verify(self, data: bytes, media_type: str, statement: Statement, describe: Describe,
                     demands: Demands = Demands(), trace: Trace = SILENT, staples: Fetch | None = None) -> Outcome:
        """Never raises for what a signature is: `Outcome.error` says it, and `trace` is told each step. `staples` gets
        what is stapled to it, which counts where nobody can be asked of revoked certificates.

        Steps: 1 integrity; 2 the plugin that the signature asks for; 3 authenticity; 4 expiry; 5 authentic timestamp;
        6 revocation; 7 what the plugin says; 8 the artifact that was signed; 9 the user's metadata.
        """
        outcome = Outcome(statement.level)
        if statement.level == SKIP:
            trace.skipped(f"trust policy {statement.name} skips verification", *NOTARY)
            return outcome
        try:
            course = _Course(self, outcome, statement, demands, trace, self._asked(staples))
            await course.run(data, media_type, describe)
        except _Enforced as ended:
            outcome.error = ended.error
            if trace.failure is None:  # it was no validation's
                trace.failed(ended.error, ended.error.check)
        return outcome

    # What a course asks, and a test may look at

    def trusted(self, statement: Statement, store_type: str) -> list[x509.Certificate]:
        """Of all the statement's stores of a type. Raises VerificationError where there is none, or one is broken."""
        held = [certificate for name in statement.stores(store_type)
                for certificate in self._stores.certificates(store_type, name)]
        if not held:
            raise VerificationError(f"trust policy {statement.name}: no trust store of type {store_type}",
                                    check=Check.CERTIFICATE)
        return held

    def plugin(self, name: str) -> Plugin:
        """Raises VerificationError."""
        if self._open_plugin is None:
            raise VerificationError(f"the signature asks for the plugin {name}, and none is asked here",
                                    check=Check.FORMAT)
        try:
            return self._open_plugin(name)
        except CustodyError as error:
            raise VerificationError(f"the signature asks for the plugin {name}: {error.message}", hint=error.hint,
                                    check=Check.FORMAT) from None

    @property
    def now(self) -> datetime:
        return self._clock()

    def _asked(self, staples: Fetch | None) -> Revocations:
        return self._revocations if staples is None else StapledRevocations(
            self._revocations, staples, self._clock, self._max_staple_age)

    def tell(self, words: str) -> None:
        self._tell(words)


class _Course:
    """One signature on its way through the validations."""

    def __init__(self, verifier: Verifier, outcome: Outcome, statement: Statement, demands: Demands,
                 trace: Trace, revocations: Revocations) -> None:
        self._trace = trace
        self._revocations = revocations
        self._plugin_knows = False
        """Who signed is for the plugin to say."""
        self._verifier = verifier
        self._outcome = outcome
        self._statement = statement
        self._demands = demands

    async def run(self, data: bytes, media_type: str, describe: Describe) -> None:
        # 1.
        envelope = self._integrity(data, media_type)
        # 2.
        verdict = await self._plugin(envelope)
        self._plugin_knows = verdict is not None and TRUSTED_IDENTITY in verdict.capabilities
        # 3.
        self._note(Validation.AUTHENTICITY, self._authenticity(envelope, verdict))
        # 4.
        self._note(Validation.EXPIRY, self._expiry(envelope))
        # 5.
        self._note(Validation.AUTHENTIC_TIMESTAMP, await self._timestamp(envelope))
        # 6.
        action = self._outcome.level.actions[Validation.REVOCATION]
        if action is Action.SKIP:
            self._trace.skipped(f"level {self._outcome.level.name} skips it", Step.REVOCATION)
        elif verdict is None or REVOCATION not in verdict.capabilities:
            self._note(Validation.REVOCATION, await self._revocation(envelope))
        # 7.
        if verdict is not None:
            await self._heed(envelope, verdict)
        # 8.
        self._trace.begin(Step.SUBJECT)
        self._artifact(envelope, describe)
        self._trace.passed(envelope.target.digest)
        # 9.
        self._trace.begin(Step.ANNOTATIONS)
        for key, value in self._demands.metadata.items():
            if envelope.target.annotations.get(key) != value:
                raise _Enforced(VerificationError(f"user metadata: the signature has no {key}={value}",
                                                  check=Check.STATEMENT))
        if self._demands.metadata:
            self._trace.passed(", ".join(f"{key}={value}" for key, value in self._demands.metadata.items()))
        else:
            self._trace.skipped("none of the user's metadata was asked for", Step.ANNOTATIONS)

    def _note(self, validation: Validation, error: VerificationError | None) -> None:
        action = self._outcome.level.actions[validation]
        self._outcome.results = [*(result for result in self._outcome.results if result.validation is not validation),
                                 Result(validation, action, error)]
        self._verifier.tell(f"{validation}: {'passed' if error is None else f'failed ({action}): {error.message}'}")
        self._record(validation, error, action)
        if error is not None and action is Action.ENFORCE:
            raise _Enforced(error)

    def _record(self, validation: Validation, error: VerificationError | None, action: Action) -> None:
        """The steps that a validation is; that of authenticity is two, of which the second asks who it was."""
        step, trace = _STEPS[validation], self._trace
        if error is None:
            trace.passed(partial(self._seen, validation), step=step)
            if validation is Validation.AUTHENTICITY and not self._plugin_knows:
                trace.passed(lambda: self._outcome.chain[0].subject.rfc4514_string(), step=Step.IDENTITY)
            return
        if validation is Validation.AUTHENTICITY and error.check is Check.IDENTITY:
            trace.passed(partial(self._seen, validation), step=step)
            step = Step.IDENTITY
        trace.failed(error, error.check, step=step,
                     result=StepResult.FAILED if action is Action.ENFORCE else StepResult.LOGGED)

    def _seen(self, validation: Validation) -> str:
        """What a validation that passed saw, for people."""
        envelope, moment = self._outcome.envelope, self._outcome.moment
        assert envelope is not None  # integrity passed
        match validation:
            case Validation.INTEGRITY:
                return f"{envelope.scheme}, {amount(len(self._outcome.chain), 'certificate')}"
            case Validation.AUTHENTICITY:
                return f"a certificate of its chain is in the {_STORES[envelope.scheme]} trust stores"
            case Validation.EXPIRY:
                return format_rfc3339(envelope.expiry) if envelope.expiry else "it never expires"
            case Validation.AUTHENTIC_TIMESTAMP:
                return (f"every certificate was valid at {format_rfc3339(moment)}, as is attested"
                        + self._as_stapled(validation) if moment else
                        f"every certificate is valid now, at {format_rfc3339(self._verifier.now)}; no timestamp needed")
            case Validation.REVOCATION:
                return "no certificate of its chain is revoked" + self._as_stapled(validation)

    def _as_stapled(self, validation: Validation) -> str:
        return "".join(f"; {answer.subject} {answer.state} as stapled, answered at {format_rfc3339(answer.said_at)} by "
                       f"{answer.method}" for answer in self._outcome.answers.get(validation, ()) if answer.stapled)

    def _integrity(self, data: bytes, media_type: str) -> notary.Envelope:
        try:
            envelope = notary.parse_envelope(data, media_type)
            chain = tuple(load_certificate(der, f"certificate chain [{at}]") for at, der in enumerate(envelope.chain))
            if envelope.unprocessed and notary.PLUGIN not in envelope.critical:
                raise UnsupportedError("envelope.crit", f"{envelope.unprocessed[0]} is critical, and no verification "
                                       "plugin is named that knows it")
            check_signature(envelope, chain[0])
            check_signing_chain(chain)
        except (UsageError, VerificationError) as error:
            check = error.check if isinstance(error, VerificationError) else Check.FORMAT
            self._note(Validation.INTEGRITY, VerificationError(error.message, hint=error.hint, check=check))
            raise AssertionError("integrity is always enforced") from None
        self._outcome.envelope, self._outcome.chain = envelope, chain
        self._note(Validation.INTEGRITY, None)
        return envelope

    async def _plugin(self, envelope: notary.Envelope) -> PluginVerdict | None:
        """The plugin that the signature names, which can do what it must; None where it names none."""
        name, least = envelope.extended.get(notary.PLUGIN), envelope.extended.get(notary.PLUGIN_MIN_VERSION)
        if name is None and least is None:
            self._trace.skipped("the signature names none", Step.PLUGIN)
            return None
        self._trace.begin(Step.PLUGIN)
        from custody.sign.notary.pluginverdict import PluginVerdict, check_version

        try:
            if not isinstance(name, str) or not name.strip() or notary.PLUGIN not in envelope.critical:
                raise MalformedError(notary.PLUGIN, got=name, expected="the name of a plugin, critical")
            if least is not None and (not isinstance(least, str) or notary.PLUGIN_MIN_VERSION not in envelope.critical):
                raise MalformedError(notary.PLUGIN_MIN_VERSION, got=least, expected="a version, critical")
            plugin = self._verifier.plugin(name)
            metadata = await asyncio.to_thread(plugin.metadata, self._demands.plugin_config)
            check_version(metadata, least)
        except CustodyError as error:
            raise _Enforced(VerificationError(error.message, hint=error.hint, check=Check.FORMAT)) from None
        capabilities = tuple(given for given in metadata.capabilities if given in (TRUSTED_IDENTITY, REVOCATION))
        if not capabilities:
            raise _Enforced(VerificationError(f"the plugin {name} verifies neither identities nor revocation",
                                              check=Check.FORMAT))
        self._trace.passed(f"{name}: {', '.join(capabilities)}")
        return PluginVerdict(plugin, capabilities)

    def _authenticity(self, envelope: notary.Envelope, verdict: PluginVerdict | None) -> VerificationError | None:
        chain = self._outcome.chain
        name = chain[0].subject.rfc4514_string()
        try:
            trusted = self._verifier.trusted(self._statement, _STORES[envelope.scheme])
            if not set(chain) & set(trusted):
                raise VerificationError(f"signature is not produced by a trusted signer: no certificate of {name}'s "
                                        f"chain is in the {_STORES[envelope.scheme]} trust stores",
                                        check=Check.CERTIFICATE)
            if ANY in self._statement.trusted_identities or (verdict and TRUSTED_IDENTITY in verdict.capabilities):
                return None
            if not self._statement.subjects:
                raise VerificationError(f"trust policy {self._statement.name}: no x509.subject among its identities",
                                        check=Check.IDENTITY)
            if not self._statement.trusts(subject_name(chain[0], f"signing certificate {name}")):
                raise VerificationError(f"signing certificate {name}: no trusted identity of trust policy "
                                        f"{self._statement.name} is a part of its subject", check=Check.IDENTITY)
        except VerificationError as error:
            return error
        except UsageError as error:
            return VerificationError(error.message, hint=error.hint, check=Check.IDENTITY)
        return None

    def _expiry(self, envelope: notary.Envelope) -> VerificationError | None:
        try:
            check_unexpired(envelope, self._verifier.now)
        except VerificationError as error:
            return error
        return None

    async def _timestamp(self, envelope: notary.Envelope) -> VerificationError | None:
        try:
            if envelope.scheme == notary.SIGNING_AUTHORITY:
                check_valid(self._outcome.chain, envelope.signing_time, "the authentic signing time")
                self._outcome.moment = envelope.signing_time
            elif self._stamp_demanded():
                self._outcome.moment = await self._stamped(envelope)
            else:
                check_valid(self._outcome.chain, self._verifier.now, "now")
        except (UsageError, VerificationError) as error:
            return error if isinstance(error, VerificationError) else VerificationError(error.message, check=Check.TIME)
        return None

    def _stamp_demanded(self) -> bool:
        if not self._statement.stores("tsa"):
            return False
        return self._statement.verify_timestamp is VerifyTimestamp.ALWAYS or any(
            self._verifier.now > certificate.not_valid_after_utc for certificate in self._outcome.chain)

    async def _stamped(self, envelope: notary.Envelope) -> datetime:
        """Raises MalformedError, VerificationError."""
        from custody.sign.notary.countersignature import countersigned

        if not envelope.timestamp:
            raise VerificationError("timestamp: there is none, and the trust policy has a tsa store", check=Check.TIME,
                                    absent=True)
        stamp = countersigned(envelope.timestamp, envelope.signature, self._verifier.trusted(self._statement, "tsa"))
        for certificate in self._outcome.chain:
            stamp.check_within(certificate)
        # What it says of its own time must be believed, so its certificates are always asked for.
        answers = await self._asked(Validation.AUTHENTIC_TIMESTAMP, stamp.chain, None)
        check_answers(answers, "timestamp authority")
        return stamp.moment

    async def _asked(self, validation: Validation, chain: Sequence[x509.Certificate], signed_at: datetime | None
                     ) -> list[Answer]:
        answers = self._outcome.answers[validation] = await self._revocations.answers(chain, signed_at)
        for answer in answers:
            if answer.stapled:
                self._verifier.tell(f"{answer.subject}: {answer.state} as stapled, answered at "
                                    f"{format_rfc3339(answer.said_at)} by {answer.method}; now: {answer.reason}")
        return answers

    async def _revocation(self, envelope: notary.Envelope) -> VerificationError | None:
        chain = self._outcome.chain
        if self._outcome.failed(Validation.AUTHENTICITY) and any(
                ocsp.places(certificate) or crl.places(certificate) for certificate in chain):
            return VerificationError("revocation: not asked for, since nobody who is trusted says where to ask",
                                     check=Check.CERTIFICATE)
        signed_at = envelope.signing_time if envelope.scheme == notary.SIGNING_AUTHORITY else None
        answers = await self._asked(Validation.REVOCATION, chain, signed_at)
        for answer in answers:
            if answer.state is State.NOT_REVOKABLE:
                self._verifier.tell(f"{answer.subject}: names neither responders nor revocation lists")
        try:
            check_answers(answers, "revocation")
        except VerificationError as error:
            return error
        return None

    async def _heed(self, envelope: notary.Envelope, verdict: PluginVerdict) -> None:
        """What the plugin says of the validations that are its own, and whether it knew all critical attributes."""
        self._trace.begin(Step.PLUGIN)
        from custody.sign.notary.pluginverdict import judged_by

        skipped = self._outcome.level.actions[Validation.REVOCATION] is Action.SKIP
        asked = [capability for capability in verdict.capabilities if not (skipped and capability == REVOCATION)]
        if not asked:
            if envelope.unprocessed:
                raise _Enforced(VerificationError(f"envelope.crit: {envelope.unprocessed[0]} is critical, and the "
                                                  "plugin was not asked", check=Check.FORMAT))
            return
        try:
            said = await asyncio.to_thread(judged_by, verdict.plugin, asked, envelope,
                                           self._statement.trusted_identities, self._demands.plugin_config)
        except CustodyError as error:
            raise _Enforced(VerificationError(error.message, hint=error.hint, check=Check.FORMAT)) from None
        for capability in asked:
            validation = Validation.AUTHENTICITY if capability == TRUSTED_IDENTITY else Validation.REVOCATION
            reason = said[capability]
            failure = None if reason is None else VerificationError(
                f"{validation}: the plugin {verdict.plugin.name} says no: {reason}", check=Check.IDENTITY)
            if failure is None and self._outcome.failed(validation):
                continue  # what custody found out itself stays so
            self._note(validation, failure)

    def _artifact(self, envelope: notary.Envelope, describe: Describe) -> None:
        fitting = algorithm_of(self._outcome.chain[0].public_key())
        assert fitting is not None  # integrity holds
        target, expected = envelope.target, describe(fitting[1].name)
        for part, got, right in (("digest", target.digest, expected.digest), ("size", target.size, expected.size),
                                 ("media type", target.media_type, expected.media_type)):
            if got != right and right != "":
                raise _Enforced(VerificationError(f"subject: the signature is of the {part} {got}, expected {right}",
                                                  check=Check.SUBJECT))
