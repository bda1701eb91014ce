"""Summaries and what is gathered beforehand, through the services and commands as they are run."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import yaml

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.cli.main import main
from custody.formats import intoto, vsa
from custody.formats.reference import parse
from custody.policy.load import PolicySet
from custody.registry.client import RegistryClient
from custody.server.platform import running
from custody.settings import Settings
from custody.settings.tables import Summaries
from custody.sign.keys import encrypt_key, generate_key
from tests.cli.commands import custody
from tests.services.test_nothing_else_up import pod, pushed
from tests.services.test_summaries import SUMS, policy
from tests.serving import registry_on


def _keys(folder: Path) -> None:
    (folder / "sums.key").write_bytes(encrypt_key(SUMS, b""))
    (folder / "sums.pub").write_bytes(SUMS.public.pem)


def test_check_goes_by_a_summary_as_the_webhook_does(tmp_path: Path) -> None:
    """By a key that the settings name, where the registry of the evidence is away; without the setting by none."""
    _keys(tmp_path)
    (tmp_path / "other.pub").write_bytes(generate_key().public.pem)

    async def push(host: str) -> str:
        async with RegistryClient(AiohttpHttp()) as client:
            return await pushed(client, host, 1)

    def check(*options: str) -> subprocess.CompletedProcess[str]:
        return custody(*options, "check", image, "--policy", "p.yaml", cwd=tmp_path, COSIGN_PASSWORD="")

    with registry_on(tmp_path / "registry") as (host, _):
        image = asyncio.run(push(host))
        with registry_on(tmp_path / "evidence") as (evidence, _):
            asyncio.run(push(evidence))
            (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy(host, evidence)))
            done = custody("check", image, "--policy", "p.yaml", "--summary", "sums.key", cwd=tmp_path,
                           COSIGN_PASSWORD="")
            assert done.returncode == 0, done.stderr
        for name, key in (("trusting", "sums.pub"), ("another", "other.pub")):
            (tmp_path / f"{name}.toml").write_text(f'[summaries]\nkeys = ["{tmp_path / key}"]\n')
        assert check().returncode == 3
        done = check("--config", "trusting.toml")
        assert done.returncode == 0, done.stdout
        assert "by a summary of https://custody.internal/verifier at " in done.stdout
        denied = check("--config", "another.toml")
        assert denied.returncode == 3
        assert "by no summary either" in denied.stdout


def test_check_writes_a_summary_that_verifies(tmp_path: Path) -> None:
    _keys(tmp_path)

    async def push(host: str) -> str:
        async with RegistryClient(AiohttpHttp()) as client:
            return await pushed(client, host, 1)

    with registry_on(tmp_path / "registry") as (host, _):
        image = asyncio.run(push(host))
        (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy(host, host)))
        done = custody("check", image, "--policy", "p.yaml", "--summary", "sums.key", cwd=tmp_path, COSIGN_PASSWORD="")
        assert done.returncode == 0, done.stderr
        assert f"summary of {image}: sha256:" in done.stderr
        done = custody("verify-attestation", "--key", "sums.pub", "--type", vsa.PREDICATE_TYPE,
                       "--insecure-ignore-tlog", image, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        denied = custody("check", f"{host}/app:2", "--policy", "p.yaml", "--summary", "sums.key", cwd=tmp_path,
                         COSIGN_PASSWORD="")
        assert denied.returncode == 3
        assert "summary of" not in denied.stderr
        # A policy can demand one, by that key.
        demand = policy(host, host)
        entry = demand["spec"]["rules"][0]["verifyImages"][0]
        entry["attestations"] = [{"type": vsa.PREDICATE_TYPE, "attestors": [{"entries": [{"keys": {
            "publicKeys": SUMS.public.pem.decode(), "rekor": {"ignoreTlog": True}}}]}], "conditions": [{"all": [
                {"key": "{{ verificationResult }}", "operator": "Equals", "value": "PASSED"}]}]}]
        (tmp_path / "demand.yaml").write_text(yaml.safe_dump(demand))
        assert custody("check", image, "--policy", "demand.yaml", cwd=tmp_path).returncode == 0


def test_the_webhook_writes_one_and_gathers_what_is_pushed(tmp_path: Path) -> None:
    _keys(tmp_path)
    settings = Settings(data_dir=str(tmp_path / "data"), summary_key=str(tmp_path / "sums.key"),
                        summaries=Summaries(keys=[str(tmp_path / "sums.pub")]), keep_evidence=60.0)

    async def run() -> None:
        async with running(settings, ("registry", "admission"), policies=PolicySet([])) as services:
            host = services.url.removeprefix("http://")
            app = services.admission
            assert app is not None
            assert app.admission is not None
            app.admission.policies = PolicySet([policy(host, host)])
            async with RegistryClient(AiohttpHttp()) as client:
                image = await pushed(client, host, 1)
                metrics = services.metrics
                await _until(metrics.registry.get_sample_value, "custody_evidence_prefetched_total")
                answer = json.loads(await app.admission.review(pod(image)))["response"]
                assert answer["allowed"], answer
                await _until(metrics.registry.get_sample_value, "custody_summaries_written_total")
                referrers = await client.referrers(parse(image))
                kinds = sorted(str(entry.annotations.get("dev.sigstore.bundle.predicateType")) for entry in referrers)
                assert kinds == [intoto.COSIGN_SIGN, vsa.PREDICATE_TYPE]

    asyncio.run(run())


async def _until(value: object, name: str) -> None:
    async with asyncio.timeout(30):
        while not value(name):  # type: ignore[operator]  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


def test_the_settings_are_refused_by_name(tmp_path: Path, capsys: object) -> None:
    (tmp_path / "custody.toml").write_text("[summaries]\nkeys = []\nmax_age = 0\n")
    assert main(["--config", str(tmp_path / "custody.toml"), "decisions"]) == 2
