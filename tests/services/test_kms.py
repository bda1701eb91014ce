"""Public keys at Vault and at AWS: what is asked, by whom, and every way in which there is no key."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.adapters.http.kms import KEEP, KeyLookup
from custody.adapters.http.sigv4 import Identity, signed_headers
from custody.ports.lookup import Absent, Answer, Answered, ConfigMap, Failed, PublicKeyAt
from tests.policy.signing import pem
from tests.services.keyservices import ALICE, ROOT_TOKEN, KeyServices
from tests.sign.authority import NOW, new_key

KEY = new_key()
EDWARDS = Ed25519PrivateKey.generate()
DER = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RAW = base64.b64encode(EDWARDS.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
VAULT = {"VAULT_ADDR": "https://vault.example:8200/", "VAULT_TOKEN": ROOT_TOKEN}
AWS = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": ALICE.key_id, "AWS_SECRET_ACCESS_KEY": ALICE.secret}
ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:us-east-2:111122223333:key/{ID}"


def versions(latest: int = 2, name: str = "ecdsa-p256", key: str | None = None, **more: Any) -> dict[str, Any]:
    return {"latest_version": latest, "keys": {"1": {"name": name, "public_key": pem(new_key())},
                                               "2": {"name": name, "public_key": key or pem(KEY)}}, **more}


def services(**vault: Any) -> KeyServices:
    return KeyServices({"transit/keys/release": versions(), **vault}, {ID: DER, ARN: DER, "alias/release": DER,
                                                                       "alias/other": b"no key"})


def asked(uri: str, environ: dict[str, str], http: KeyServices | None = None, **more: Any) -> Answer:
    lookup = KeyLookup(http or services(), environ, more.pop("hosts", []), lambda: NOW, **more)
    return asyncio.run(lookup.answer(PublicKeyAt(uri)))


def reason(answer: Answer) -> str:
    assert isinstance(answer, Failed), answer
    return answer.reason


# ── Vault ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_vault_gives_the_latest_version() -> None:
    http = services()
    assert asked("hashivault://release", VAULT, http) == Answered(pem(KEY))
    assert http.asked == ["GET https://vault.example:8200/v1/transit/keys/release"]
    assert asked("openbao://release", {"BAO_ADDR": VAULT["VAULT_ADDR"], "BAO_TOKEN": ROOT_TOKEN}) == Answered(pem(KEY))


def test_vault_ed25519_engine_namespace_and_token_file() -> None:
    text = EDWARDS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    http = services(**{"own/keys/ed": versions(name="ed25519", key=RAW, namespace="team/a")})
    environ = {"VAULT_ADDR": VAULT["VAULT_ADDR"], "TRANSIT_SECRET_ENGINE_PATH": "/own/", "VAULT_NAMESPACE": "team/a"}
    assert asked("hashivault://ed", environ, http, read_token=lambda: f"{ROOT_TOKEN}\n") == Answered(text)
    assert asked("hashivault://ed", {**environ, "VAULT_NAMESPACE": "b"}, http,
                 read_token=lambda: ROOT_TOKEN) == Absent()


@pytest.mark.parametrize(("uri", "environ", "vault", "words"), [
    ("hashivault://release", {}, {}, "VAULT_ADDR is not set"),
    ("hashivault://release", {"VAULT_ADDR": "https://vault.example:8200"}, {}, "VAULT_TOKEN is not set"),
    ("hashivault://release", {**VAULT, "VAULT_TOKEN": "x"}, {}, "answered 403: permission denied"),
    ("hashivault://release", {**VAULT, "VAULT_ADDR": "file:///etc"}, {}, "http:// or https://"),
    ("hashivault://../sys/seal", VAULT, {}, "expected hashivault://NAME"),
    ("hashivault://a/b", VAULT, {}, "expected hashivault://NAME"), ("hashivault://", VAULT, {}, "expected hashivault"),
    ("hashivault://aes", VAULT, {"transit/keys/aes": {"latest_version": 1, "keys": {"1": 1}}}, "expected an object"),
    ("hashivault://empty", VAULT, {"transit/keys/empty": versions(key="x", name="ed25519")}, "32 bytes in base64"),
    ("hashivault://old", VAULT, {"transit/keys/old": versions(latest=9)}, "data.keys.9"),
    ("gcpkms://projects/p/cryptoKeys/k", VAULT, {}, "expected gcpkms://projects/PROJECT/locations"),
    ("azurekms://evil.example/key", VAULT, {}, "expected azurekms://VAULT.vault.azure.net"), ("ftp://x", VAULT, {}, "ftp://x"),
])
def test_no_key(uri: str, environ: dict[str, str], vault: dict[str, Any], words: str) -> None:
    said = reason(asked(uri, environ, services(**vault)))
    assert words in said
    assert ROOT_TOKEN not in said


def test_a_key_that_is_not_there_is_absent() -> None:
    assert asked("hashivault://another", VAULT) == Absent()
    assert asked("awskms:///alias/another", AWS) == Absent()


# ── AWS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("uri", "host"), [
    (f"awskms:///{ID}", "kms.eu-central-1.amazonaws.com"),
    ("awskms:///alias/release", "kms.eu-central-1.amazonaws.com"),
    (f"awskms:///{ARN}", "kms.us-east-2.amazonaws.com"),  # the ARN's own region
    (f"awskms://kms.us-west-1.amazonaws.com/{ID}", "kms.us-west-1.amazonaws.com"),
    (f"awskms://localhost:4566/{ID}", "localhost:4566"),
])
def test_aws(uri: str, host: str) -> None:
    http = services()
    assert asked(uri, AWS, http, hosts=["localhost:4566"]) == Answered(pem(KEY))
    assert http.asked == [f"POST https://{host}/"]
    assert asked(uri, {**AWS, "AWS_SESSION_TOKEN": "of a role"}, hosts=["localhost"]) == Answered(pem(KEY))


@pytest.mark.parametrize(("uri", "environ", "words"), [
    (f"awskms:///{ID}", {**AWS, "AWS_REGION": ""}, "AWS_REGION is not set"),
    (f"awskms:///{ID}", {**AWS, "AWS_REGION": "x/../y"}, "expected a region"),
    (f"awskms:///{ID}", {**AWS, "AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is not set"),
    (f"awskms:///{ID}", {**AWS, "AWS_SECRET_ACCESS_KEY": "x"}, "answered 400: The request signature"),
    (f"awskms://evil.example/{ID}", AWS, "evil.example is not Amazon's"),
    (f"awskms://kms.eu-central-1.amazonaws.com.evil.example/{ID}", AWS, "is not Amazon's"),
    ("awskms:///alias/other", AWS, "expected a public key in DER"), ("awskms:///x", AWS, "expected awskms://[HOST]/ID"),
    (f"awskms://localhost:x@evil.example/{ID}", AWS, "expected awskms://[HOST]/ID"),
])
def test_no_key_at_aws(uri: str, environ: dict[str, str], words: str) -> None:
    said = reason(asked(uri, environ))
    assert words in said
    assert ALICE.secret not in said


@pytest.mark.parametrize("host", ["localhost:x@evil.example", "localhost:1@evil.example", "localhost:@evil.example",
                                  "localhost@evil.example", "localhost:80?@evil.example", "localhost:80#@evil.example",
                                  "localhost:80\\@evil.example", "localhost:443 evil.example", "localhost:"])
def test_a_host_that_is_asked_is_no_beginning_of_another(host: str) -> None:
    http = services()
    said = reason(asked(f"awskms://{host}/{ID}", {**AWS, "AWS_SESSION_TOKEN": "of a role"}, http, hosts=["localhost"]))
    assert "expected awskms://[HOST]/ID" in said
    assert http.asked == []


def test_amazons_published_signatures() -> None:
    """get-vanilla and post-vanilla of Amazon's test suite, and the example of its documentation."""
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    for method, url, headers, service, expected in (
            ("GET", "https://example.amazonaws.com/", {}, "service",
             "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "https://example.amazonaws.com/", {}, "service",
             "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            ("GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
             {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, "iam",
             "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")):
        made = signed_headers(method, url, headers, b"", Identity(*ALICE[:2]), "us-east-1", service, now)
        assert made["authorization"].endswith(f"Signature={expected}")


# ── both ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_kept_for_a_minute() -> None:
    http, moments = services(), [NOW]
    lookup = KeyLookup(http, VAULT, [], lambda: moments[0])

    async def ask() -> Answer:
        return await lookup.answer(PublicKeyAt("hashivault://release"))

    assert asyncio.run(ask()) == asyncio.run(ask()) == Answered(pem(KEY))
    assert len(http.asked) == 1
    moments[0] += timedelta(seconds=KEEP)
    http.vault = {}
    assert asyncio.run(ask()) == Absent()


def test_other_questions_are_somebody_elses() -> None:
    class Known:
        async def answer(self, _: Any) -> Answer:
            return Absent()

    question = ConfigMap("a", "b")
    assert asyncio.run(KeyLookup(services(), {}, [], lambda: NOW, Known()).answer(question)) == Absent()
    assert "nobody to ask" in reason(asyncio.run(KeyLookup(services(), {}, [], lambda: NOW).answer(question)))
