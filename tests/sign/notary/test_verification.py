"""The five validations: what each refuses and why, and what a level or an override makes of it."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from custody.adapters.programs import SystemPrograms
from custody.errors import Check, VerificationError
from custody.formats import notary
from custody.sign.notary.distinguishedname import subject_name
from custody.sign.notary.plugin import open_plugin
from custody.sign.notary.revocation import Answer, State
from custody.sign.notary.trustpolicy import Action, Statement, Validation, parse_oci
from custody.sign.notary.verify import Demands, Outcome, Verifier
from tests.sign.authority import NOW, OTHER, World
from tests.sign.notary.envelopes import CHAINS, NAME, ROOT, ROOT_KEY, SPAN, TSA_ROOT, made, target, token
from tests.sign.notary.materials import chain_of, directory_in, issue, key_of, usage

FORMATS = {"jws": notary.JWS, "cose": notary.COSE}
LATER = NOW + timedelta(days=40)
"""When the chains have expired."""


class Stores:
    """ca:acme has the root, tsa:time the timestamp authority's; ca:other has somebody's."""

    def certificates(self, store_type: str, name: str) -> tuple[x509.Certificate, ...]:
        held = {("ca", "acme"): ROOT, ("ca", "leaf"): CHAINS["EC-256"][0], ("tsa", "time"): TSA_ROOT,
                ("ca", "other"): chain_of("EC-384")[-1], ("signingAuthority", "acme"): ROOT}
        if (store_type, name) not in held:
            raise VerificationError(f"trust store {store_type}:{name}: there is none", check=Check.CERTIFICATE)
        return (held[store_type, name],)


class Known:
    """Says the same of each certificate, and keeps what it was asked."""

    def __init__(self, state: State = State.GOOD) -> None:
        self.state = state
        self.asked: list[tuple[int, datetime | None]] = []

    async def answers(self, chain: Sequence[x509.Certificate], signed_at: datetime | None) -> list[Answer]:
        self.asked.append((len(chain), signed_at))
        return [Answer("CN=x", self.state, "OCSP", "because") for _ in chain[:-1]]


def statement(level: str = "strict", **changes: Any) -> Statement:
    override = changes.pop("override", {})
    verification = {"level": level} | ({"override": override} if override else {}) | (
        {"verifyTimestamp": changes.pop("verifyTimestamp")} if "verifyTimestamp" in changes else {})
    said = {"name": "one", "registryScopes": ["*"], "signatureVerification": verification,
            "trustStores": ["ca:acme"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"], **changes}
    return parse_oci(json.dumps({"version": "1.0", "trustPolicies": [said]}).encode()).statements[0]


def verify(data: bytes, policy: Statement, *, form: str = "jws", now: datetime = NOW + timedelta(minutes=1),
           revocations: Any = None, plugin: Any = None, expected: notary.Target | None = None, **demands: Any
           ) -> Outcome:
    verifier = Verifier(Stores(), revocations or Known(), lambda: now, plugin)
    return asyncio.run(verifier.verify(data, FORMATS[form], policy, lambda _: expected or target(),
                                       Demands(**demands)))


def failures(outcome: Outcome) -> list[str]:
    return [f"{result.validation} {result.action}" for result in outcome.failures]


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_right(form: str) -> None:
    outcome = verify(made(form, annotations={"env": "prod"}), statement(), form=form, metadata={"env": "prod"})
    assert outcome.error is None
    assert {result.validation for result in outcome.results} == {*Validation}
    assert (outcome.moment, outcome.failures) == (None, [])


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "authenticity": (lambda: made("jws"), {"trustStores": ["ca:other"]}, "not produced by a trusted signer"),
    "expiry": (lambda: made("jws", expiry=NOW + timedelta(seconds=30)), {}, "signature: expired at"),
    "authenticTimestamp": (lambda: made("jws"), {"trustStores": ["ca:acme", "tsa:time"]}, "timestamp: there is none"),
    "revocation": (lambda: made("jws"), {}, "CN=x is revoked: because")}


@pytest.mark.parametrize("validation", WRONG)
@pytest.mark.parametrize(("level", "action"), [("strict", "enforce"), ("permissive", "log"), ("audit", "log")])
def test_levels(validation: str, level: str, action: str) -> None:
    make, changes, words = WRONG[validation]
    revocations = Known(State.REVOKED if validation == "revocation" else State.GOOD)
    outcome = verify(make(), statement(level, **changes), revocations=revocations)
    enforced = action == "enforce" or (validation == "authenticity" and level == "permissive")
    assert (outcome.error is not None) == enforced
    assert failures(outcome)[0] == f"{validation} {'enforce' if enforced else 'log'}"
    assert words in str(outcome.failures[0].error)


@pytest.mark.parametrize("validation", WRONG)
def test_overrides(validation: str) -> None:
    make, changes, _ = WRONG[validation]
    revocations = Known(State.REVOKED if validation == "revocation" else State.GOOD)
    logged = verify(make(), statement("strict", override={validation: "log"}, **changes), revocations=revocations)
    assert (logged.error, failures(logged)) == (None, [f"{validation} log"])
    enforced = verify(make(), statement("audit", override={validation: "enforce"}, **changes), revocations=revocations)
    assert enforced.error is not None


def test_skipping() -> None:
    asked = Known(State.REVOKED)
    skipped = verify(made("jws"), statement("strict", override={"revocation": "skip"}), revocations=asked)
    assert (skipped.error, asked.asked) == (None, [])
    assert Validation.REVOCATION not in {result.validation for result in skipped.results}
    nothing = verify(b"no envelope", statement("skip", trustStores=[], trustedIdentities=[]), revocations=asked)
    assert (nothing.error, nothing.results, asked.asked) == (None, [], [])


@pytest.mark.parametrize("level", ["strict", "permissive", "audit"])
def test_integrity_is_always_enforced(level: str) -> None:
    for data, words in ((made("jws", key=key_of("EC-256", 5)), "not this certificate's"), (b"{}", "payload"),
                        (made("jws", extended={"x": "1"}), "x is critical, and no verification plugin is named"),
                        (made("jws", chain=CHAINS["EC-256"][:1]), "issuers are missing (chain-root)")):
        outcome = verify(data, statement(level))
        assert words in str(outcome.error)
        assert [(result.validation, result.action) for result in outcome.results] == [
            (Validation.INTEGRITY, Action.ENFORCE)]


@pytest.mark.parametrize(("identities", "words"), [
    (["*"], ""), (["x509.subject: C=US, ST=WA, O=acme, CN=EC-256"], ""),
    (["x509.subject: CN=EC-256, S=WA, O=acme, C=US"], ""),
    (["x509.subject: C=US, ST=WA, O=Acme"], "no trusted identity of trust policy one"),
    (["x509.subject: C=US, ST=WA, O=acme, OU=x"], "no trusted identity"), (["other:me"], "no x509.subject among"),
    (["x509.subject: C=US, ST=WA, O=acme, CN=EC-256x", "x509.subject: C=US, ST=WA, O=acme, CN=EC-256"], "")])
def test_identities(identities: list[str], words: str) -> None:
    outcome = verify(made("jws"), statement(trustedIdentities=identities))
    assert words in str(outcome.error or "")
    assert (outcome.error is None) == (words == "")


@pytest.mark.parametrize(("attributes", "words"), [
    ([(x509.NameOID.COUNTRY_NAME, "US"), (x509.NameOID.STATE_OR_PROVINCE_NAME, "WA")], "O is missing"),
    ([(x509.NameOID.COUNTRY_NAME, "US"), (x509.NameOID.STATE_OR_PROVINCE_NAME, "WA"),
      (x509.NameOID.ORGANIZATION_NAME, "acme"), (x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "a"),
      (x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "b")], "OU twice"),
    ([(x509.NameOID.COUNTRY_NAME, "US"), (x509.NameOID.STATE_OR_PROVINCE_NAME, "WA"),
      (x509.NameOID.ORGANIZATION_NAME, "acme"), (x509.NameOID.EMAIL_ADDRESS, "a@b.example")], "1.2.840.113549.1.9.1"),
    ([(x509.NameOID.COUNTRY_NAME, "US"), (x509.NameOID.STATE_OR_PROVINCE_NAME, "WA"),
      (x509.NameOID.ORGANIZATION_NAME, "x=#acme")], "'#' where encoded")])
def test_subjects_that_are_not_compared(attributes: list[tuple[x509.ObjectIdentifier, str]], words: str) -> None:
    """They count where anybody is trusted, and for no identity: what cannot be compared is no match."""
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
    leaf = (x509.CertificateBuilder().subject_name(name).issuer_name(ROOT.subject)
            .public_key(key_of("EC-256").public_key()).serial_number(5).not_valid_before(SPAN["start"]).not_valid_after(SPAN["end"]))
    certificate = leaf.add_extension(usage("digital_signature"), True).sign(ROOT_KEY, hashes.SHA256())
    with pytest.raises(Exception, match=words):
        subject_name(certificate, "x")
    data = made("jws", chain=(certificate, ROOT))
    outcome = verify(data, statement())
    assert words in str(outcome.error)
    assert verify(data, statement(trustedIdentities=["*"])).error is None


def test_any_certificate_of_the_chain_may_be_trusted() -> None:
    assert verify(made("jws"), statement(trustStores=["ca:leaf"])).error is None
    missing = verify(made("jws"), statement(trustStores=["ca:acme", "ca:gone"]))
    assert "trust store ca:gone: there is none" in str(missing.error)  # one that is broken is not passed over
    of_another_type = verify(made("jws"), statement(trustStores=["signingAuthority:acme"]))
    assert "no trust store of type ca" in str(of_another_type.error)


@pytest.mark.parametrize("form", FORMATS)
def test_timestamps(form: str) -> None:
    stamped, policy = made(form, stamped=True), statement(trustStores=["ca:acme", "tsa:time"])
    outcome = verify(stamped, policy, form=form, now=LATER)
    assert (outcome.error, outcome.moment) == (None, NOW)
    assert "not valid at" in str(verify(stamped, statement(), form=form, now=LATER).error)
    after = statement(trustStores=["ca:acme", "tsa:time"], verifyTimestamp="afterCertExpiry")
    assert verify(made(form), after, form=form).error is None
    assert verify(stamped, after, form=form, now=LATER).error is None
    assert "timestamp: there is none" in str(verify(made(form), after, form=form, now=LATER).error)
    stranger = made(form, stamp=token(b"x"))
    assert "it is of another signature (imprint)" in str(verify(stranger, policy, form=form).error)
    broken = made(form, stamp=b"\x30\x03\x02\x01\x00")
    assert "expected an RFC 3161 TimeStampToken" in str(verify(broken, policy, form=form).error)


def test_the_authority_of_time_is_asked_for_and_judged() -> None:
    policy = statement("permissive", trustStores=["ca:acme", "tsa:time"], override={"authenticTimestamp": "enforce"})
    asked = Known(State.REVOKED)
    outcome = verify(made("jws", stamped=True), policy, revocations=asked)
    assert "timestamp authority: CN=x is revoked" in str(outcome.error)
    assert asked.asked == [(2, None)]
    outside = verify(made("jws", stamped=True, at=NOW - timedelta(days=15), chain=(issue(
        key_of("EC-256"), "young", (ROOT, ROOT_KEY), start=NOW - timedelta(days=1), end=SPAN["end"]), ROOT)), policy)
    assert "is before certificate CN=young" in str(outside.error)
    other = World()
    data = made("jws")
    envelope = notary.parse_envelope(data, notary.JWS)
    document = json.loads(data)
    document["header"][f"{NAME}timestampSignature"] = base64.b64encode(token(envelope.signature, world=other)).decode()
    assert "no trusted authority issued CN=tsa" in str(verify(json.dumps(document).encode(), policy).error)


def test_signing_authorities() -> None:
    data = made("jws", scheme=notary.SIGNING_AUTHORITY)
    policy = statement(trustStores=["signingAuthority:acme"])
    asked = Known()
    outcome = verify(data, policy, now=LATER, revocations=asked)
    assert (outcome.error, outcome.moment) == (None, NOW)  # the time that it vouches for counts, not now
    assert asked.asked == [(2, NOW)]
    early = made("jws", scheme=notary.SIGNING_AUTHORITY, at=NOW - timedelta(days=31))
    assert "(the authentic signing time)" in str(verify(early, policy).error)
    assert "no trust store of type signingAuthority" in str(verify(data, statement()).error)


@pytest.mark.parametrize("state", [State.REVOKED, State.UNKNOWN, State.UNAVAILABLE])
def test_revocation_has_states(state: State) -> None:
    words = {State.REVOKED: "is revoked", State.UNKNOWN: "is unknown to its responder",
             State.UNAVAILABLE: "could not be looked up (revocation unavailable)"}
    assert words[state] in str(verify(made("jws"), statement(), revocations=Known(state)).error)
    assert verify(made("jws"), statement(), revocations=Known(State.NOT_REVOKABLE)).error is None


@pytest.mark.parametrize(("changes", "words"), [
    ({"digest": OTHER}, f"expected {OTHER}"), ({"size": 8}, "of the size 7, expected 8"),
    ({"media_type": "text/plain"}, "media type")])
def test_the_artifact_is_the_one(changes: dict[str, Any], words: str) -> None:
    for level in ("strict", "audit"):
        outcome = verify(made("jws"), statement(level), expected=target(**changes))
        assert words in str(outcome.error)
        assert outcome.error is not None
        assert outcome.error.check is Check.SUBJECT
    assert "no env=prod" in str(verify(made("jws"), statement("audit"), metadata={"env": "prod"}).error)


SOUGHT = {notary.PLUGIN: "try", notary.PLUGIN_MIN_VERSION: "1.0.0", "com.example.x": "1"}


def asking(folder: Path, data: bytes, policy: Statement, revocations: Any = None, **config: str) -> str:
    """Why a signature that names a plugin does not count, where that says this; "" where it counts."""
    directory = directory_in(folder)
    path = directory.plugin("try")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n" + (Path(__file__).parent / "verification_program.py").read_text())
    path.chmod(0o755)
    return str(verify(data, policy, plugin=lambda name: open_plugin(directory, name, SystemPrograms()),
                      revocations=revocations, plugin_config=config).error or "")


def test_what_a_plugin_says_counts(tmp_path: Path) -> None:
    data = made("jws", extended=SOUGHT)
    ours = statement(trustedIdentities=["plugin:whoever"])
    assert asking(tmp_path, data, ours, identity="plugin:whoever") == ""
    assert "the plugin try says no: it is not ours" in asking(tmp_path, data, ours, no="IDENTITY")
    assert "revocation: the plugin try says no" in asking(tmp_path, data, ours, no="REVOCATION")
    assert asking(tmp_path, data, statement("audit"), no="IDENTITY") == ""
    assert "no x509.subject among" in asking(tmp_path, data, ours, can="REVOCATION_CHECK")
    asked = Known(State.REVOKED)
    assert asking(tmp_path, data, ours, asked) == ""
    assert asked.asked == []  # revocation is the plugin's then
    assert "is revoked" in asking(tmp_path, data, ours, asked, can="TRUSTED_IDENTITY")


def test_what_a_plugin_leaves_out_does_not_count(tmp_path: Path) -> None:
    data, ours = made("jws", extended=SOUGHT), statement("audit", trustedIdentities=["plugin:whoever"])
    assert "com.example.x is critical, and the plugin did not process it" in asking(tmp_path, data, ours, knows="y")
    assert "verificationResults.SIGNATURE_VERIFIER.TRUSTED_IDENTITY" in asking(
        tmp_path, data, ours, silent="TRUSTED_IDENTITY")
    assert "verifies neither identities nor revocation" in asking(tmp_path, data, ours, can="NOTHING")
    skipping = statement("audit", trustedIdentities=["plugin:whoever"], override={"revocation": "skip"})
    assert "com.example.x is critical, and the plugin was not asked" in asking(
        tmp_path, data, skipping, can="REVOCATION_CHECK")
    assert "asks for the plugin try, and none is asked here" in str(verify(data, ours).error)


@pytest.mark.parametrize(("least", "version", "words"), [
    ("1.0.0", "1.0.0", ""), ("1.0.0-alpha.beta", "1.0.0", ""), ("0.0.9", "1.0.0", ""),
    ("1.0.1", "1.0.0", "asks for 1.0.1 or later"), ("1.1.0-alpha", "1.0.0", "asks for 1.1.0-alpha"),
    ("1.0", "1.0.0", "expected a version"), ("1.0.0", "one", "expected a version"), ("", "1.0.0", "expected a version"),
    ("1.0.0", "01.0.0", "expected a version")])
def test_versions_of_plugins(least: str, version: str, words: str, tmp_path: Path) -> None:
    said = asking(tmp_path, made("jws", extended={notary.PLUGIN: "try", notary.PLUGIN_MIN_VERSION: least}),
                  statement("audit"), version=version)
    assert words in said
    assert (said == "") == (words == "")


def test_plugins_that_are_named_wrongly() -> None:
    for extended in ({notary.PLUGIN: " "}, {notary.PLUGIN: 1}, {notary.PLUGIN_MIN_VERSION: "1.0.0"}):
        for form in FORMATS:
            assert notary.PLUGIN in str(verify(made(form, extended=extended), statement("audit"), form=form).error)
