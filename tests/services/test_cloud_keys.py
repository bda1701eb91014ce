"""Keys at Google's Cloud KMS and Azure's Key Vault: who is asked, as whom, what signs, and what is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.adapters.http.kms import KeyServices
from custody.errors import (
    AuthenticationError,
    CustodyError,
    MalformedError,
    NotFoundError,
    UnsupportedError,
    UsageError,
)
from custody.sign.keptkeys import KeptKey, open_kept_key
from tests.services.cloudkeys import NAME, TOKEN, Clouds
from tests.sign.authority import NOW

GOOGLE = {"GOOGLE_OAUTH_ACCESS_TOKEN": TOKEN}
AZURE = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "right"}
P256, RSA = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)


def opened(name: str, environ: dict[str, str], clouds: Clouds) -> KeptKey:
    return asyncio.run(open_kept_key(KeyServices(clouds, environ, lambda: NOW).named(name)))


def refusal(kind: type[CustodyError], name: str, environ: dict[str, str], clouds: Clouds) -> str:
    with pytest.raises(kind) as caught:
        asyncio.run(opened(name, environ, clouds).signature(b"x"))
    assert TOKEN not in str(caught.value)
    return f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(("algorithm", "key"), [
    ("EC_SIGN_P256_SHA256", P256), ("EC_SIGN_P384_SHA384", ec.generate_private_key(ec.SECP384R1())),
    ("RSA_SIGN_PKCS1_2048_SHA256", RSA), ("EC_SIGN_ED25519", ed25519.Ed25519PrivateKey.generate())])
def test_google_signs_by_the_newest_version(algorithm: str, key: Any) -> None:
    clouds = Clouds()
    clouds.versions = {1: ("EC_SIGN_P256_SHA256", P256), 10: (algorithm, key), 11: ("EC_SIGN_P256_SHA256", P256)}
    clouds.disabled = {11}
    kept = opened(f"gcpkms://{NAME}", GOOGLE, clouds)
    assert kept.public.key == key.public_key()
    asyncio.run(kept.signature(b"message"))  # which verifies it
    assert clouds.asked[-1] == f"POST cloudkms.googleapis.com/v1/{NAME}/cryptoKeyVersions/10:asymmetricSign"
    first = opened(f"gcpkms://{NAME}/versions/1", GOOGLE, clouds)
    assert first.public.key == P256.public_key()


@pytest.mark.parametrize("key", [P256, ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1()),
                                 RSA], ids=["p256", "p384", "p521", "rsa"])
def test_azure_signs(key: Any) -> None:
    clouds = Clouds()
    clouds.vault["release"] = key
    for name in ("azurekms://mine.vault.azure.net/release", "azurekms://mine.vault.azure.net/release/abc123"):
        kept = opened(name, AZURE, clouds)
        assert kept.public.key == key.public_key()
        asyncio.run(kept.signature(b"message"))
    assert clouds.asked.count("POST login.microsoftonline.com/tenant/oauth2/v2.0/token") == 2  # once a key


def test_what_google_does_not_have_or_do() -> None:
    clouds = Clouds()
    name = f"gcpkms://{NAME}"
    assert "there is no such key" in refusal(NotFoundError, name, GOOGLE, clouds)
    clouds.versions = {1: ("RSA_SIGN_PSS_2048_SHA256", RSA), 2: ("EC_SIGN_P256_SHA256", P256)}
    assert "there is no such key" in refusal(NotFoundError, f"{name}/versions/3", GOOGLE, clouds)
    said = refusal(UnsupportedError, f"{name}/versions/1", GOOGLE, clouds)
    assert "signs by RSA_SIGN_PSS_2048_SHA256, and SHA256 is to be signed here" in said
    clouds.disabled = {1, 2}
    assert "there is no such key" in refusal(NotFoundError, name, GOOGLE, clouds)
    assert "answered 401: invalid authentication" in refusal(
        AuthenticationError, name, {"GOOGLE_OAUTH_ACCESS_TOKEN": "ya29.other"}, clouds)
    for wrong in ("gcpkms://projects/p", f"gcpkms://{NAME}/versions/x", f"gcpkms://{NAME}/../x", f"gcpkms://{NAME}?a"):
        assert "expected gcpkms://projects/PROJECT" in refusal(MalformedError, wrong, GOOGLE, clouds)


def test_what_azure_does_not_have_or_do() -> None:
    clouds = Clouds()
    name = "azurekms://mine.vault.azure.net/release"
    assert "there is no such key" in refusal(NotFoundError, name, AZURE, clouds)
    for wrong in ("azurekms://mine.vault.azure.net.evil.example/k", "azurekms://evil.example/k",
                  "azurekms://a@mine.vault.azure.net/k", "azurekms://mine.vault.azure.net/k/../x",
                  "azurekms://mine.vault.azure.net:443/k"):
        assert "expected azurekms://VAULT.vault.azure.net/NAME" in refusal(MalformedError, wrong, AZURE, clouds)
    assert clouds.asked.count("GET evil.example/keys/k") == 0
    said = refusal(AuthenticationError, name, {**AZURE, "AZURE_CLIENT_SECRET": "wrong"}, clouds)
    assert "answered 401: AADSTS7000215" in said
    assert "AZURE_TENANT_ID is not set" in refusal(UsageError, name, {**AZURE, "AZURE_TENANT_ID": ""}, clouds)
    assert "neither an id nor a domain" in refusal(UsageError, name, {**AZURE, "AZURE_TENANT_ID": "a/b"}, clouds)
    assert "expected an https:// URL" in refusal(
        UsageError, name, {**AZURE, "AZURE_AUTHORITY_HOST": "http://evil"}, clouds)


def test_keys_that_are_made() -> None:
    for name, environ in ((f"gcpkms://{NAME}", GOOGLE), ("azurekms://mine.vault.azure.net/made", AZURE)):
        clouds = Clouds()
        service = KeyServices(clouds, environ, lambda: NOW).named(name)
        made = asyncio.run(service.create())
        assert asyncio.run(service.create()) == made  # it is there
        assert opened(name, environ, clouds).public.pem.decode() == made


def account(folder: Path, **stated: Any) -> dict[str, str]:
    (folder / "account.json").write_text(json.dumps(stated))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "account.json"), "HOME": str(folder)}


def test_as_whom_google_is_asked(tmp_path: Path) -> None:
    pem = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    user = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "refresh"}
    service = {"type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "private_key": pem,
               "private_key_id": "1"}
    clouds = Clouds(account=RSA)
    clouds.versions = {1: ("EC_SIGN_P256_SHA256", P256)}
    name = f"gcpkms://{NAME}"
    for stated in (user, service):
        assert opened(name, account(tmp_path, **stated), clouds).public.key == P256.public_key()
    login = tmp_path / ".config" / "gcloud"
    login.mkdir(parents=True)
    (login / "application_default_credentials.json").write_text(json.dumps(user))
    assert opened(name, {"HOME": str(tmp_path)}, clouds).public.key == P256.public_key()
    assert not any(asked.startswith("GET metadata") for asked in clouds.asked)
    clouds.machine = True
    assert opened(name, {}, clouds).public.key == P256.public_key()
    clouds.machine = False
    assert "nothing says who asks Google" in refusal(UsageError, name, {}, clouds)
    assert "answered 400: Token has been revoked." in refusal(
        AuthenticationError, name, account(tmp_path, **{**user, "refresh_token": "old"}), clouds)
    assert "expected service_account or authorized_user" in refusal(
        UnsupportedError, name, account(tmp_path, type="external_account"), clouds)
    assert "expected an RSA key in PEM" in refusal(
        MalformedError, name, account(tmp_path, **{**service, "private_key": "x"}), clouds)
    assert "expected an https:// URL" in refusal(
        MalformedError, name, account(tmp_path, **service, token_uri="http://evil"), clouds)
    assert "No such file" in refusal(UsageError, name, {"GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent"}, clouds)


def test_as_whom_azure_is_asked(tmp_path: Path) -> None:
    clouds = Clouds()
    clouds.vault["release"] = P256
    name = "azurekms://mine.vault.azure.net/release"
    (tmp_path / "token").write_text("right\n")
    workload = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")}
    assert opened(name, workload, clouds).public.key == P256.public_key()
    assert "FileNotFoundError" in refusal(
        UsageError, name, {**workload, "AZURE_FEDERATED_TOKEN_FILE": "/nonexistent"}, clouds)
    assert "nothing says who asks Azure" in refusal(UsageError, name, {}, clouds)
    clouds.machine = True
    assert opened(name, {"AZURE_CLIENT_ID": "c"}, clouds).public.key == P256.public_key()
