"""Trust policy documents: what is read, what is refused and why, and which statement is whose."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, VerificationError
from custody.sign.notary.distinguishedname import is_part, parse_name
from custody.sign.notary.trustpolicy import Action, Document, Validation, VerifyTimestamp, parse_blob, parse_oci

STATEMENT: dict[str, Any] = {"name": "one", "registryScopes": ["registry.example/app"],
                             "signatureVerification": {"level": "strict"}, "trustStores": ["ca:acme"],
                             "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme"]}


def document(*statements: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({"version": "1.0", "trustPolicies": list(statements or [STATEMENT]), **changes}).encode()


def with_(**changes: Any) -> dict[str, Any]:
    """The statement with fields changed; None takes one away."""
    made = {**copy.deepcopy(STATEMENT), **changes}
    return {name: value for name, value in made.items() if value is not None}


def verification(**changes: Any) -> dict[str, Any]:
    return with_(signatureVerification={"level": "strict", **changes})


REFUSED: list[tuple[bytes, str]] = [
    (b"", "one JSON document"), (b"[]", "a JSON object"), (document(version="1.1"), "version: '1.1'; 1.0 is read"),
    (document(version=None), "version"), (document(trustPolicies=[]), "expected a statement"),
    (document(more=1), "more: a field that custody does not know"),
    (b'{"version":"1.0","version":"1.0","trustPolicies":[]}', "'version' twice"),
    (document(with_(name=None)), "expected a name"), (document(with_(name="")), "expected a name"),
    (document(STATEMENT, with_(registryScopes=["a.example/b"])), "expected a name that no other has"),
    (document(STATEMENT, with_(name="two")), "expected each scope in one statement"),
    (document(with_(more=1)), "a field that custody does not know"), (document(with_(Name="x")), "Name: a field"),
    (document(with_(registryScopes=None)), "expected repositories, or '*'"),
    (document(with_(registryScopes=["*", "a.example/b"])), "'*' alone"),
    (document(with_(registryScopes=["a.example/*"])), "without scheme, tag or wildcard"),
    (document(with_(registryScopes=["app"])), "expected a whole repository"),
    (document(with_(registryScopes=["https://a.example/b"])), "expected a whole repository"),
    (document(with_(registryScopes=["a.example/b:v1"])), "expected a whole repository"),
    (document(with_(registryScopes=["a.example/b", "a.example/b"])), "expected each once"),
    (document(with_(registryScopes=[1])), "a list of at most"),
    *((document(with_(registryScopePrefixes=[prefix])), "with '/' at the end: registry.example/team/") for prefix in (
        "a.example", "a.example/team", "a.example/*", "*", "/", "https://a.example/", "a.example/te am/", "a.example//",
        "a.example/team/app:1/", "", "a.example/Team/")),
    (document(with_(registryScopePrefixes=["a.example/", "a.example/"])), "registryScopePrefixes: got 'one twice'"),
    (document(with_(registryScopes=["*"], registryScopePrefixes=["a.example/"])), "'*' alone"),
    (document(with_(registryScopePrefixes=["a.example/"]), with_(name="two", registryScopes=["a.example/x"],
                                                                 registryScopePrefixes=["a.example/"])),
     "two.registryScopePrefixes: got \"'a.example/', which 'one' has too\""),
    (document(verification(level="")), "''; strict"), (document(verification(level="Strict")), "'Strict'"),
    (document(verification(override={"integrity": "log"})), "it is always enforced"),
    (document(verification(override={"expiry": "skip"})), "expected enforce or log"),
    (document(verification(override={"expiry": "never"})), "'never'; enforce, log, skip are known"),
    (document(verification(override={"other": "log"})), "'other'; integrity"),
    (document(verification(override=["expiry"])), "an object of validations"),
    (document(verification(verifyTimestamp="never")), "always and afterCertExpiry are known"),
    (document(verification(more=1)), "a field that custody does not know"),
    (document(with_(trustStores=[])), "0 trustStores and 1 trustedIdentities"),
    (document(with_(trustedIdentities=None)), "1 trustStores and 0 trustedIdentities"),
    (document(with_(signatureVerification={"level": "skip"})), "at level skip"),
    (document(with_(signatureVerification={"level": "skip", "override": {"expiry": "log"}}, trustStores=None,
                    trustedIdentities=None)), "one of level skip"),
    (document(with_(trustStores=["acme"])), "TYPE:NAME"), (document(with_(trustStores=["cb:acme"])), "of no type"),
    (document(with_(trustStores=["ca:../x"])), "a name of letters"),
    (document(with_(trustStores=["ca:"])), "a name of letters"),
    (document(with_(trustedIdentities=["*", "other:me"])), "'*' alone"),
    (document(with_(trustedIdentities=["acme"])), "TYPE:VALUE"),
    (document(with_(trustedIdentities=[""])), "TYPE:VALUE"),
    (document(with_(trustedIdentities=["x509.subject:"])), "C is missing"),
    (document(with_(trustedIdentities=["x509.subject: C=US, ST=WA"])), "O is missing"),
    (document(with_(trustedIdentities=["x509.subject: C=US, C=DE, ST=WA, O=a"])), "C twice"),
    (document(with_(trustedIdentities=["x509.subject: C=US+ST=WA, O=a"])), "several values in one part"),
    (document(with_(trustedIdentities=["x509.subject: C=US, ST=WA, O=#0c01"])), "encoded (=#)"),
    (document(with_(trustedIdentities=["x509.subject: C=US, ST=WA, O=a, O"])), "a type before each value"),
    (document(with_(trustedIdentities=["x509.subject: C=US, ST=WA, O=a\\zz"])), "two hexadecimal digits"),
    (document(with_(trustedIdentities=["x509.subject: C=US, ST=WA, O=a\\ff"])), "expected UTF-8"),
    (document(with_(trustedIdentities=["x509.subject: C=US, ST=WA, O=a", "x509.subject: C=US, ST=WA, O=a, CN=b"])),
     "expected no overlap")]


@pytest.mark.parametrize(("data", "words"), REFUSED)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(CustodyError) as caught:
        parse_oci(data)
    assert words in caught.value.message


def test_a_prefix_is_no_scope() -> None:
    """notation refuses such a file; who writes one reads how a repository is named."""
    with pytest.raises(CustodyError) as caught:
        parse_oci(document(with_(registryScopes=["a.example/team/*"])))
    assert caught.value.hint is not None
    assert "registryScopePrefixes is for all that begin alike" in caught.value.hint


def test_levels() -> None:
    override = {"expiry": "enforce", "revocation": "skip"}
    (statement,) = parse_oci(document(verification(level="permissive", override=override,
                                                   verifyTimestamp="afterCertExpiry"))).statements
    assert statement.level.name == "custom"
    assert statement.level.actions == {
        Validation.INTEGRITY: Action.ENFORCE, Validation.AUTHENTICITY: Action.ENFORCE,
        Validation.AUTHENTIC_TIMESTAMP: Action.LOG, Validation.EXPIRY: Action.ENFORCE,
        Validation.REVOCATION: Action.SKIP}
    assert statement.verify_timestamp is VerifyTimestamp.AFTER_CERT_EXPIRY
    (skipped,) = parse_oci(document(with_(signatureVerification={"level": "skip"}, trustStores=None,
                                          trustedIdentities=None))).statements
    assert set(skipped.level.actions.values()) == {Action.SKIP}


def test_whose_statement_it_is() -> None:
    both = parse_oci(document(STATEMENT, with_(name="rest", registryScopes=["*"])))
    assert both.for_image("registry.example/app").name == "one"
    assert both.for_image("registry.example/app/more").name == "rest"  # a scope is no prefix
    alone = parse_oci(document())
    with pytest.raises(VerificationError, match="no trust policy has it among its registryScopes"):
        alone.for_image("registry.example/other")
    with pytest.raises(CustodyError, match="expected a whole repository"):
        alone.for_image("app")


def test_the_longest_prefix_of_a_name() -> None:
    policy = parse_oci(document(
        with_(name="team", registryScopes=None, registryScopePrefixes=["registry.example/team/"]),
        STATEMENT, with_(name="registry", registryScopes=None, registryScopePrefixes=["registry.example/"]),
        with_(name="exact", registryScopes=["registry.example/team/app"]), with_(name="rest", registryScopes=["*"])))
    for repository, name in (("registry.example/team/app", "exact"), ("registry.example/team/app/more", "team"),
                             ("registry.example/team", "registry"), ("registry.example/teams/app", "registry"),
                             ("registry.example/app", "one"), ("registry.example:5000/team/app", "rest"),
                             ("registry.example.org/team/app", "rest")):
        assert policy.for_image(repository).name == name


def test_statements_for_files() -> None:
    def blobs(*statements: dict[str, Any]) -> Document:
        return parse_blob(document(*statements))

    one, rest = with_(registryScopes=None), with_(registryScopes=None, name="rest", globalPolicy=True)
    assert blobs(one, rest).for_blob().name == "rest"
    assert blobs(one, rest).for_blob("one").name == "one"
    with pytest.raises(VerificationError, match="no statement has globalPolicy"):
        blobs(one).for_blob()
    with pytest.raises(VerificationError, match="no statement is named 'two'"):
        blobs(one).for_blob("two")
    for statements, words in (((rest, with_(registryScopes=None, globalPolicy=True)), "expected one statement"),
                              ((STATEMENT,), "registryScopes: a field"),
                              ((with_(registryScopes=None, globalPolicy="yes"),), "true or false")):
        with pytest.raises(CustodyError, match=words):
            blobs(*statements)


_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda text: text.strip(" ") == text)


@given(st.dictionaries(st.sampled_from(["C", "ST", "O", "OU", "CN", "L", "X-Y"]), _TEXTS))
def test_names_are_read_as_they_are_written(values: dict[str, str]) -> None:
    """RFC 4514: whatever stands behind a backslash means itself."""
    values = {"C": "US", "ST": "WA", "O": "acme", **values}
    text = ",".join(f"{kind}=" + "".join(f"\\{char}" if char in ',+"\\<>;=# ' else char for char in value)
                    for kind, value in values.items())
    assert parse_name(text, "x") == values
    assert is_part({"C": values["C"]}, values)
    assert not is_part({**values, "Z": "1"}, values)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=80).map(lambda text: document(with_(trustedIdentities=[
    f"x509.subject:{text}"])))))
def test_hostile_documents(data: bytes) -> None:
    for parse in (parse_oci, parse_blob):
        try:
            parse(data)
        except CustodyError:
            continue
