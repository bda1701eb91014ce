"""Who was revoked: by responders and lists that are right, wrong in one thing, or silent; and what `notation` says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.errors import VerificationError
from custody.kit.clock import system_clock
from custody.sign.notary import crl
from custody.sign.notary.crl import ListCache
from custody.sign.notary.directory import Directory
from custody.sign.notary.revocation import Answer, OnlineRevocations, State, check_answers
from tests.conftest import peer
from tests.sign.notary.materials import chain_of, directory_in, environment, key_of, layout, list_key, trust
from tests.sign.notary.revoking import REASONS, RESPONDER_KEY, ROOT_KEY, STRANGE_KEY, Authority, authority, now

GOOD, REVOKED, UNKNOWN = (ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN)
HOUR = timedelta(hours=1)
Case = Callable[[Authority], tuple[x509.Certificate, ...]]


@pytest.fixture
def ca() -> Iterator[Authority]:
    with authority() as made:
        yield made


def asked(chain: tuple[x509.Certificate, ...], cache: Path | None = None, *, offline: bool = False) -> Answer:
    async def ask() -> list[Answer]:
        http = StdlibHttp(offline=offline)
        try:
            return await OnlineRevocations(http, system_clock, ListCache(cache) if cache else None).answers(chain, None)
        finally:
            await http.close()

    return asyncio.run(ask())[0]


def by_list(*entries: x509.ReasonFlags | None, **changes: object) -> Case:
    """A chain with one list."""
    def make(ca: Authority) -> tuple[x509.Certificate, ...]:
        chain = ca.issued(lists=("a",))
        ca.lists["a"] = ca.revoked(*((reason, None) for reason in entries), **changes)  # type: ignore[arg-type]
        return chain

    return make


def by_response(status: ocsp.OCSPCertStatus = GOOD, **changes: object) -> Case:
    """A chain with one responder."""
    def make(ca: Authority) -> tuple[x509.Certificate, ...]:
        chain = ca.issued(responders=("a",))
        ca.responses["a"] = ca.response(status, **changes)  # type: ignore[arg-type]
        return chain

    return make


def by_changes(base: x509.ReasonFlags | None, changed: x509.ReasonFlags | None, **changes: object) -> Case:
    """A chain with a list and one of what changed since then."""
    def make(ca: Authority) -> tuple[x509.Certificate, ...]:
        chain = ca.issued(lists=("a",))
        ca.lists["a"] = ca.revoked(*([(base, None)] if base else []), number=1, newer="b")
        said = {"number": 2, "delta_of": 1, **changes}
        ca.lists["b"] = ca.revoked(*([(changed, None)] if changed else []), **said)  # type: ignore[arg-type]
        return chain

    return make


def silent(**answers: object) -> Case:
    def make(ca: Authority) -> tuple[x509.Certificate, ...]:
        chain = ca.issued(**answers)  # type: ignore[arg-type]
        ca.lists["a"], ca.responses["a"] = 500, 500
        return chain

    return make


def fallen_back(ca: Authority) -> tuple[x509.Certificate, ...]:
    chain = ca.issued(responders=("a",), lists=("a",))
    ca.responses["a"], ca.lists["a"] = 500, ca.revoked()
    return chain


def fallen_back_to_bad(ca: Authority) -> tuple[x509.Certificate, ...]:
    chain = fallen_back(ca)
    ca.lists["a"] = ca.revoked((REASONS.key_compromise, None))
    return chain


def second_responder(ca: Authority) -> tuple[x509.Certificate, ...]:
    chain = ca.issued(responders=("a", "b"))
    ca.responses["a"], ca.responses["b"] = 503, ca.response(REVOKED)
    return chain


def second_list(ca: Authority) -> tuple[x509.Certificate, ...]:
    chain = ca.issued(lists=("a", "b"))
    ca.lists["a"] = ca.revoked()
    ca.lists["b"] = ca.revoked((None, None))
    return chain


def second_list_silent(ca: Authority) -> tuple[x509.Certificate, ...]:
    chain = ca.issued(lists=("a", "b"))
    ca.lists["a"] = ca.revoked()
    return chain


def by_responder(**changes: object) -> Case:
    def make(ca: Authority) -> tuple[x509.Certificate, ...]:
        chain = ca.issued(responders=("a",))
        ca.responses["a"] = ca.response(key=RESPONDER_KEY, responder=ca.responder(**changes))  # type: ignore[arg-type]
        return chain

    return make


def of_another(ca: Authority) -> tuple[x509.Certificate, ...]:
    other, chain = ca.issued(), ca.issued(responders=("a",))
    ca.responses["a"] = ca.response(certificate=other[0])
    return chain


def refusing(ca: Authority) -> tuple[x509.Certificate, ...]:
    chain = ca.issued(responders=("a",))
    ca.responses["a"] = ocsp.OCSPResponseBuilder.build_unsuccessful(
        ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)
    return chain


def freshest_in_certificate(ca: Authority) -> tuple[x509.Certificate, ...]:
    chain = ca.issued(lists=("a",), freshest="b")
    ca.lists["a"] = ca.revoked()
    return chain


def _garbage(kind: str, data: bytes) -> Case:
    def make(ca: Authority) -> tuple[x509.Certificate, ...]:
        chain = ca.issued(lists=("a",)) if kind == "list" else ca.issued(responders=("a",))
        ca.lists["a"] = ca.responses["a"] = data
        return chain

    return make


CASES: dict[str, tuple[Case, State, str]] = {
    "nothing to ask": (lambda ca: ca.issued(), State.NOT_REVOKABLE, ""),
    "list: good": (by_list(), State.GOOD, ""),
    "list: revoked": (by_list(REASONS.key_compromise), State.REVOKED, "(keyCompromise)"),
    "list: revoked for no reason": (by_list(None), State.REVOKED, "revoked since"),
    "list: on hold": (by_list(REASONS.certificate_hold), State.REVOKED, "on hold since"),
    "list: another serial": (by_list(None, serial=5), State.GOOD, ""),
    "list: too old": (by_list(until=-timedelta(minutes=1)), State.UNAVAILABLE, "too old"),
    "list: another's": (by_list(key=STRANGE_KEY), State.UNAVAILABLE, "is not signed by"),
    "list: critical extension": (by_list(extensions=((x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.2.3"), b"\5\0"), True),)), State.UNAVAILABLE, "critical extension 1.2.3"),
    "list: garbage": (_garbage("list", b"garbage"), State.UNAVAILABLE, "expected a revocation list in DER"),
    "list: not there": (silent(lists=("a",)), State.UNAVAILABLE, "the answer has the status 500"),
    "list: https": (lambda ca: ca.issued(urls=("https://crl.example/a",)), State.UNAVAILABLE, "over http:// alone"),
    "list: second one": (second_list, State.REVOKED, "revoked since"),
    "list: second one silent": (second_list_silent, State.UNAVAILABLE, "404"),
    "list: freshest in the certificate": (freshest_in_certificate, State.UNAVAILABLE, "names a list of changes"),
    "changes: none": (by_changes(None, None), State.GOOD, ""),
    "changes: revoked": (by_changes(None, REASONS.superseded), State.REVOKED, "(superseded)"),
    "changes: hold is over": (by_changes(REASONS.certificate_hold, REASONS.remove_from_crl), State.GOOD, ""),
    "changes: revoked for good": (by_changes(REASONS.key_compromise, REASONS.remove_from_crl), State.REVOKED,
                                  "keyCompromise"),
    "changes: no later": (by_changes(None, None, number=1), State.UNAVAILABLE, "expected more than 1"),
    "changes: of a later list": (by_changes(None, None, delta_of=2), State.UNAVAILABLE, "is to the list 2"),
    "changes: no indicator": (by_changes(None, None, delta_of=None), State.UNAVAILABLE, "has no number"),
    "changes: another's": (by_changes(None, None, key=STRANGE_KEY), State.UNAVAILABLE, "is not signed by"),
    "responder: good": (by_response(), State.GOOD, ""),
    "responder: revoked": (by_response(REVOKED, reason=REASONS.key_compromise), State.REVOKED, "(keyCompromise)"),
    "responder: unknown": (by_response(UNKNOWN), State.UNKNOWN, "does not know the certificate"),
    "responder: too old": (by_response(until=-timedelta(minutes=1)), State.UNAVAILABLE, "too old"),
    "responder: no end": (by_response(until=None), State.UNAVAILABLE, "good until no time"),
    "responder: another's": (by_response(key=STRANGE_KEY), State.UNAVAILABLE, "not signed by the issuer's"),
    "responder: of another": (of_another, State.UNAVAILABLE, "of another certificate"),
    "responder: refusing": (refusing, State.UNAVAILABLE, "answered try later"),
    "responder: garbage": (_garbage("response", b"garbage"), State.UNAVAILABLE, "expected one in DER"),
    "responder: silent": (silent(responders=("a",)), State.UNAVAILABLE, "status 500"),
    "responder: second one": (second_responder, State.REVOKED, "revoked since"),
    "responder: in its place": (by_responder(), State.GOOD, ""),
    "responder: for anything": (by_responder(purposes=[Usage.CODE_SIGNING]), State.UNAVAILABLE, "not for OCSPSigning"),
    "responder: made by a stranger": (by_responder(key=STRANGE_KEY), State.UNAVAILABLE, "the responder's certificate"),
    "fall back: good": (fallen_back, State.GOOD, ""), "fall back: revoked": (fallen_back_to_bad, State.REVOKED, ""),
    "fall back: silent": (silent(responders=("a",), lists=("a",)), State.UNAVAILABLE, "OCSP: ")}


STRICTER = {"responder: for anything"}
"""Where custody refuses what `notation` takes: any certificate of the authority, the signer's own one too, may say
there that it was not revoked (golang.org/x/crypto/ocsp looks at no extended key usage)."""


@pytest.mark.parametrize("name", CASES)
def test_states(name: str, ca: Authority) -> None:
    make, state, words = CASES[name]
    answer = asked(make(ca))
    assert (answer.state, words in answer.reason) == (state, True), answer
    if state in (State.GOOD, State.NOT_REVOKABLE):
        check_answers([answer], "x")
    else:
        with pytest.raises(VerificationError, match=r"is revoked|is unknown to|revocation unavailable"):
            check_answers([answer], "x")


@pytest.mark.parametrize("name", CASES)
def test_notation_says_the_same(name: str, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                capsys: pytest.CaptureFixture[str]) -> None:
    """Of each case whether a signature counts."""
    make, state, _ = CASES[name]
    directory = directory_in(tmp_path / "notation")
    image = _signed(directory, make(ca), tmp_path, monkeypatch)
    arguments = ["verify", "--oci-layout", "--scope", "local/app", image]
    theirs = subprocess.run([peer("notation"), *arguments], capture_output=True, text=True, check=False)
    capsys.readouterr()
    ours = run(["notation", *arguments])
    right = state in (State.GOOD, State.NOT_REVOKABLE)
    assert (ours == 0, theirs.returncode == 0) == (right, right or name in STRICTER), (
        theirs.stderr, capsys.readouterr().err)


def _signed(directory: Directory, chain: tuple[x509.Certificate, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
            ) -> str:
    for name, value in environment(directory).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    list_key(directory, "mine", key_of("EC-256"), chain, default=True)
    trust(directory, "ca", "acme", chain[-1])
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}))
    image = f"{folder / 'stored'}@{layout(folder / 'stored')}"
    signed = subprocess.run([peer("notation"), "sign", "--oci-layout", image], capture_output=True, text=True,
                            check=False)
    assert signed.returncode == 0, signed.stderr
    return image


def test_lists_are_kept(ca: Authority, tmp_path: Path) -> None:
    chain = by_changes(None, None)(ca)
    assert asked(chain, tmp_path).state is State.GOOD
    assert ca.asked == ["/crl/a", "/crl/b"]
    kept = json.loads((tmp_path / hashlib.sha256(f"{ca.url}/crl/a".encode()).hexdigest()).read_text())
    assert {name: base64.b64decode(data) for name, data in kept.items()} == {
        "baseCRL": ca.lists["a"], "deltaCRL": ca.lists["b"]}
    assert asked(chain, tmp_path, offline=True).state is State.GOOD
    assert ca.asked == ["/crl/a", "/crl/b"]
    assert asked(chain, offline=True).state is State.UNAVAILABLE


@pytest.mark.parametrize("broken", [b"", b"{}", b"[]", b'{"baseCRL":"AAAA"}', b'{"baseCRL":"!"}', b"\xff",
                                    b'{"baseCRL":1}'])
def test_a_broken_cache_is_no_cache(broken: bytes, ca: Authority, tmp_path: Path) -> None:
    chain = by_list(REASONS.key_compromise)(ca)
    (tmp_path / hashlib.sha256(f"{ca.url}/crl/a".encode()).hexdigest()).write_bytes(broken)
    assert asked(chain, tmp_path).state is State.REVOKED


def test_what_is_kept_is_trusted_for_nothing(ca: Authority, tmp_path: Path) -> None:
    """One that a stranger put there, one of changes alone, and one that is too old: each is fetched anew."""
    chain = by_list(REASONS.key_compromise)(ca)
    path = tmp_path / hashlib.sha256(f"{ca.url}/crl/a".encode()).hexdigest()
    for kept in (ca.revoked(key=STRANGE_KEY), ca.revoked(delta_of=1, number=2), ca.revoked(until=-HOUR / 2)):
        path.write_text(json.dumps({"baseCRL": base64.b64encode(kept).decode()}))
        assert asked(chain, tmp_path).state is State.REVOKED
        assert json.loads(path.read_text())["baseCRL"] == base64.b64encode(ca.lists["a"]).decode()  # type: ignore[arg-type]


def test_lists_that_notation_kept(ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = directory_in(tmp_path / "notation")
    chain = by_list()(ca)
    image = _signed(directory, chain, tmp_path, monkeypatch)
    arguments = ["verify", "--oci-layout", "--scope", "local/app", image]
    assert subprocess.run([peer("notation"), *arguments], check=False).returncode == 0
    assert asked(chain, directory.revocation_lists, offline=True).state is State.GOOD
    assert run(["--offline", "notation", *arguments]) == 0


def test_before_it_was_invalid(ca: Authority) -> None:
    """What a signing authority vouches for was signed before the key was stolen counts still."""
    chain = ca.issued(lists=("a",))
    ca.lists["a"] = ca.revoked((REASONS.key_compromise, now() - HOUR))

    async def at(signed_at: object) -> State:
        http = StdlibHttp()
        try:
            return (await OnlineRevocations(http, system_clock).answers(chain, signed_at))[0].state  # type: ignore[arg-type]
        finally:
            await http.close()

    assert asyncio.run(at(now() - 2 * HOUR)) is State.GOOD
    assert asyncio.run(at(now() - HOUR / 2)) is State.REVOKED
    assert asyncio.run(at(None)) is State.REVOKED


def test_what_is_forged_is_not_kept(ca: Authority, tmp_path: Path) -> None:
    """One answer of somebody on the way does not keep the issuer's from us."""
    chain = by_list(key=STRANGE_KEY)(ca)
    answer = asked(chain, tmp_path)
    assert (answer.state, "is not signed by" in answer.reason) == (State.UNAVAILABLE, True)
    assert list(tmp_path.iterdir()) == []
    ca.lists["a"] = ca.revoked()
    assert asked(chain, tmp_path).state is State.GOOD
    assert len([*tmp_path.iterdir()]) == 1


def scope(*paths: str, reasons: tuple[x509.ReasonFlags, ...] = (), relative: str = "", **named: bool) -> Case:
    """A chain with one list of no entries, whose scope is the list's own word."""
    def make(ca: Authority) -> tuple[x509.Certificate, ...]:
        chain = ca.issued(lists=("a",))
        said = _scope(ca, *paths, reasons=reasons, relative=relative, **named)
        ca.lists["a"] = ca.revoked(extensions=((said, True),))
        return chain

    return make


def _scope(ca: Authority, *paths: str, reasons: tuple[x509.ReasonFlags, ...] = (), relative: str = "", **named: bool
           ) -> x509.IssuingDistributionPoint:
    said = {"only_contains_user_certs": False, "only_contains_ca_certs": False, "indirect_crl": False,
            "only_contains_attribute_certs": False, **named}
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(f"{ca.url}/crl/{path}") for path in paths] or None,
        relative_name=x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, relative)])
        if relative else None, only_some_reasons=frozenset(reasons) or None, **said)


SCOPES: dict[str, tuple[Case, State, str]] = {
    "the place that was asked": (scope("a"), State.GOOD, ""),
    "it among others": (scope("b", "a"), State.GOOD, ""),
    "users' certificates": (scope(only_contains_user_certs=True), State.GOOD, ""),
    "another place": (scope("b"), State.UNAVAILABLE, "of another distribution point"),
    "a relative name": (scope(relative="x"), State.UNAVAILABLE, "has a relative name"),
    "authorities' certificates": (scope(only_contains_ca_certs=True), State.UNAVAILABLE, "of other certificates"),
    "attributes' certificates": (scope(only_contains_attribute_certs=True), State.UNAVAILABLE, "of other certificates"),
    "others' certificates": (scope("a", indirect_crl=True), State.UNAVAILABLE, "of other certificates"),
    "one reason": (scope("a", reasons=(REASONS.superseded,)), State.UNAVAILABLE, "of some reasons alone, and not of"),
    "all reasons but a hold": (scope(reasons=tuple({*REASONS} - {
        REASONS.certificate_hold, REASONS.unspecified, REASONS.remove_from_crl})), State.UNAVAILABLE,
        "alone, and not of certificateHold"),
    "changes in its place": (by_list(delta_of=1, number=2), State.UNAVAILABLE, "is one of changes alone"),
    "end of a hold, of no changes": (by_list(REASONS.remove_from_crl), State.UNAVAILABLE, "removeFromCRL, which only"),
    "of the future": (by_list(age=-HOUR), State.UNAVAILABLE, "of the future"),
    "answer of the future": (by_response(age=-HOUR), State.UNAVAILABLE, "of the future"),
}
"""Where `notation` looks away: what a list says of itself."""


@pytest.mark.parametrize("name", SCOPES)
def test_what_a_list_is_of(name: str, ca: Authority) -> None:
    make, state, words = SCOPES[name]
    answer = asked(make(ca))
    assert (answer.state, words in answer.reason) == (state, True), answer


def test_lists_of_others(ca: Authority) -> None:
    other = chain_of("EC-256")[-1].subject
    assert "is by CN=" in asked(by_list(issuer=other)(ca)).reason


def test_reasons_between_lists(ca: Authority) -> None:
    """Two lists that are of all reasons between them, and what either of them has against the certificate."""
    chain = ca.issued(lists=("a", "b"))
    some = (REASONS.superseded, REASONS.key_compromise)
    rest = tuple({*REASONS} - {*some, REASONS.unspecified, REASONS.remove_from_crl})
    for entries, state in (((), State.GOOD), (((REASONS.superseded, None),), State.REVOKED)):
        ca.lists["a"] = ca.revoked(*entries, extensions=((_scope(ca, "a", reasons=some), True),))
        ca.lists["b"] = ca.revoked(extensions=((_scope(ca, "b", reasons=rest), True),))
        assert asked(chain).state is state
    ca.lists["a"] = ca.revoked(extensions=((_scope(ca, "b", reasons=some), True),))
    assert f"expected {ca.url}/crl/a" in asked(chain).reason  # another of the certificate's own, but not this one
    ca.lists["a"] = ca.lists["b"] = ca.revoked(extensions=((_scope(ca, reasons=some), True),))
    assert "of some reasons alone" in asked(chain).reason


def test_changes_of_another_scope(ca: Authority) -> None:
    chain = ca.issued(lists=("a",))
    for base, changes, right in (("a", "a", True), ("a", "b", False), ("a", "", False), ("", "a", False)):
        of_base, of_changes = (((_scope(ca, path), True),) if path else () for path in (base, changes))
        ca.lists["a"] = ca.revoked(newer="b", extensions=of_base)
        ca.lists["b"] = ca.revoked(number=2, delta_of=1, extensions=of_changes)
        answer = asked(chain)
        assert answer.state is (State.GOOD if right else State.UNAVAILABLE)
        assert ("of another distribution point than the list" in answer.reason) != right


@pytest.mark.parametrize(("base", "changed", "words"), [
    ((REASONS.certificate_hold, HOUR), (REASONS.key_compromise, 10 * HOUR), "(keyCompromise)"),
    ((REASONS.key_compromise, HOUR), (REASONS.key_compromise, 10 * HOUR), "(keyCompromise)"),
    ((REASONS.key_compromise, HOUR), (REASONS.superseded, None), "(superseded)"),
    ((REASONS.key_compromise, 10 * HOUR), (REASONS.superseded, HOUR), ""),
    ((REASONS.certificate_hold, 10 * HOUR), (REASONS.remove_from_crl, None), ""),
    ((REASONS.key_compromise, 10 * HOUR), (REASONS.remove_from_crl, None), "(keyCompromise)"),
    (None, (REASONS.key_compromise, 10 * HOUR), "(keyCompromise)"),
    (None, (REASONS.certificate_hold, 10 * HOUR), "on hold since"),
    ((REASONS.key_compromise, HOUR), None, "")])
def test_changes_count_over_the_list(base: tuple[x509.ReasonFlags, timedelta] | None, words: str, ca: Authority,
                                     changed: tuple[x509.ReasonFlags, timedelta | None] | None) -> None:
    """Of what an authority says was signed two hours ago, with how long ago each says that it became invalid."""
    leaf, root = ca.issued(lists=("a",))

    def entries(said: tuple[x509.ReasonFlags, timedelta | None] | None
                ) -> list[tuple[x509.ReasonFlags, datetime | None]]:
        return [(said[0], None if said[1] is None else now() - said[1])] if said else []

    lists = crl.Lists(crl.load(ca.revoked(*entries(base), newer="b"), "x"),
                      crl.load(ca.revoked(*entries(changed), number=2, delta_of=1), "x"))
    against = crl.revoked(leaf, root, lists, now() - 2 * HOUR, now())
    assert (words in against, against == "") == (True, words == "")


def test_the_event_loop_goes_on(ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are read, from the network and from where they are kept, and judged in other threads than the loop's."""
    threads: dict[str, set[str]] = {}

    def told(name: str) -> None:
        real = getattr(crl, name)

        def call(*arguments: Any, **options: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread().name)
            return real(*arguments, **options)

        monkeypatch.setattr(crl, name, call)

    for name in ("load", "revoked"):
        told(name)
    chain = by_changes(None, None)(ca)
    assert [asked(chain, tmp_path).state for _ in range(2)] == [State.GOOD] * 2
    assert threads.keys() == {"load", "revoked"}
    assert threading.main_thread().name not in set().union(*threads.values())


def test_many_places(ca: Authority) -> None:
    assert "more than 8 places" in asked(ca.issued(lists=tuple("abcdefghi"))).reason
    assert ROOT_KEY is not STRANGE_KEY
    assert ca.asked == []
