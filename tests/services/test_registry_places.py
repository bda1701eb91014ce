"""How a registry is asked, where a policy says it: by certificates of its own, with logins of Secrets."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.admission.certs import ServingCertificate
from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.ports.http import believing
from custody.ports.lookup import Answer, Answered, Authority, Failed, ImageEvidence, Lookup, Question
from custody.registry.client import RegistryClient
from custody.services.evidencelookup import EvidenceLookup
from custody.services.gather import Gatherer
from tests.services.registries import FakeRegistry
from tests.services.test_gather import ROOT, signed
from tests.serving import served
from tests.sign.authority import IMAGE, NOW


def gathered(host: str, authority: Authority) -> EvidenceSet:
    async def main() -> EvidenceSet:
        async with RegistryClient(AiohttpHttp()) as client:
            gatherer = Gatherer(client, ROOT, lambda: NOW, keep=60)
            # That one policy believed a connection says nothing to another one.
            if authority.registry_ca:
                without = ImageEvidence(f"{host}/app@{IMAGE}", Authority(), ("https://sigstore.dev/cosign/sign/v1",))
                assert not (await gatherer.demanded(without, {})).subject
            return await gatherer.demanded(ImageEvidence(f"{host}/app@{IMAGE}", authority, (
                "https://sigstore.dev/cosign/sign/v1",)), {})

    return asyncio.run(main())


def test_a_registry_is_believed_by_the_certificates_that_a_policy_names_and_by_no_other(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    mine, other = ServingCertificate(tmp_path / "mine", ["127.0.0.1"]), ServingCertificate(tmp_path / "other", ["x"])
    mine.ensure(now)
    other.ensure(now)
    with served(signed(), certificate=mine.certificate, key=mine.key) as url:
        host = url.removeprefix("https://")
        assert url.startswith("https://")
        shown = gathered(host, Authority(registry_ca=mine.ca_bundle.decode()))
        assert shown.subject == IMAGE, shown
        wrong = gathered(host, Authority(registry_ca=other.ca_bundle.decode()))
        assert "certificate" in wrong.rejected[0].reason.lower(), wrong


def test_what_holds_no_certificate_is_an_error() -> None:
    with pytest.raises(MalformedError):
        believing(AiohttpHttp(), "nothing")


class Secrets(Lookup):
    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    async def answer(self, question: Question) -> Answer:
        return Answered({"data": {name: base64.b64encode(text.encode()).decode() for name, text in self._data.items()}})


def test_logins_of_connaisseurs_secrets() -> None:
    async def main(host: str, data: dict[str, str]) -> Answer:
        async with RegistryClient(AiohttpHttp()) as client:
            lookup = EvidenceLookup(Gatherer(client, ROOT, lambda: NOW, keep=0), Secrets(data))
            return await lookup.answer(ImageEvidence(
                f"{host}/app@{IMAGE}", Authority(secrets=("connaisseur/s",)), ("https://sigstore.dev/cosign/sign/v1",)))

    registry: FakeRegistry = signed()
    with served(registry) as url:
        host = url.removeprefix("http://")
        answer = asyncio.run(main(host, {"secret.yaml": f"username: u\npassword: p\nregistry: {host}\n"}))
        assert isinstance(answer, Answered)
        assert answer.value["subject"] == IMAGE
        for data in ({"secret.yaml": "username: u\n"}, {"secret.yaml": "{"}, {"more": "x"}):
            answer = asyncio.run(main(host, data))
            assert isinstance(answer, Failed)
            assert "there is none, or none with .dockerconfigjson" in answer.reason
