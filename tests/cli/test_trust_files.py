"""Trust files are written by the processes that they speak of, and by nobody else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from custody.errors import ConflictError
from custody.policy.load import PolicySet
from custody.server.platform import running
from custody.settings import Settings

FILES = ("trusted_root.json", "signing_config.json")


def written(folder: Path) -> dict[str, Any]:
    """The URLs of the signing configuration by kind, and those of the trusted root."""
    config, root = (json.loads((folder / name).read_text()) for name in reversed(FILES))
    return {"ca": config["caUrls"][0]["url"], "oidc": config["oidcUrls"][0]["url"],
            "log": config["rekorTlogUrls"][0]["url"], "tsa": config["tsaUrls"][0]["url"],
            "root log": root["tlogs"][0]["baseUrl"], "root ca": root["certificateAuthorities"][0]["uri"],
            "root ct": root["ctlogs"][0]["baseUrl"], "root tsa": root["timestampAuthorities"][0]["uri"]}


def test_serve_rewrites_trust(tmp_path: Path) -> None:
    settings, trust = Settings(data_dir=str(tmp_path)), tmp_path / "trust"

    async def main() -> None:
        async with running(settings) as first:
            before = [(trust / name).read_bytes() for name in FILES]
            async with running(settings, ["admission"], policies=PolicySet([])) as second:
                assert second.url != first.url
                assert [(trust / name).read_bytes() for name in FILES] == before
            with pytest.raises(ConflictError, match="one writes to a registry"):
                async with running(settings, ["registry"]):
                    raise AssertionError("two processes write to one registry")
            assert [(trust / name).read_bytes() for name in FILES] == before

    asyncio.run(main())


def test_an_admission_only_process_makes_no_keys(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Settings(data_dir=str(tmp_path)), ["admission", "registry"], policies=PolicySet([])):
            assert not (tmp_path / "trust").exists()

    asyncio.run(main())


def test_each_process_writes_what_it_serves(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))

    async def main() -> None:
        async with running(settings, ["oidc", "ca", "tsa"]) as first, running(settings, ["log"]) as second:
            found = written(tmp_path / "trust")
            assert {found[name] for name in ("ca", "root ca")} == {first.url}
            assert found["oidc"] == f"{first.url}/oidc"
            assert found["root ct"] == f"{first.url}/ct"
            assert {found[name] for name in ("tsa", "root tsa")} == {f"{first.url}/api/v1/timestamp"}
            assert {found[name] for name in ("log", "root log")} == {second.url}

    asyncio.run(main())


def test_trust_export_rewrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    trust = tmp_path / ".custody" / "trust"

    async def main() -> str:
        async with running(Settings()) as found:
            return found.url

    url = asyncio.run(main())
    before = [(trust / name).read_bytes() for name in FILES]
    assert run(["trust", "export", "out"]) == 0
    assert [Path("out", name).read_bytes() for name in FILES] == before
    assert run(["trust", "export"]) == 0
    assert run(["trust", "export", "elsewhere", "--url", "https://trust.example"]) == 0
    assert written(Path("elsewhere"))["root log"] == "https://trust.example"
    capsys.readouterr()
    assert run(["trust", "export", "--url", "https://trust.example"]) == 2
    assert "--url: the data directory's own files are the services' to write" in capsys.readouterr().err
    assert run(["trust", "token", "--email", "ann@example.com"]) == 0
    assert [(trust / name).read_bytes() for name in FILES] == before
    assert written(trust)["ca"] == url


def test_a_token_names_the_issuer_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    import base64

    monkeypatch.chdir(tmp_path)

    async def main() -> str:
        async with running(Settings()) as found:
            return found.url

    url = asyncio.run(main())
    for arguments, issuer in (([], f"{url}/oidc"), (["--url", "https://trust.example"], "https://trust.example/oidc")):
        capsys.readouterr()
        assert run(["trust", "token", "--email", "ann@example.com", *arguments]) == 0
        body = capsys.readouterr().out.split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["iss"] == issuer
    for person in (["--email", "ann@example.com"], ["--workload", "scanner"]):
        capsys.readouterr()
        assert run(["trust", "token", *person, "--audience", "registry.example"]) == 0
        body = capsys.readouterr().out.split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["aud"] == "registry.example"


def test_a_tuf_role_without_trust_files_says_so(tmp_path: Path) -> None:
    from custody.cli.services import describe

    async def lines(*roles: str) -> str:
        policies = PolicySet([])
        async with running(Settings(data_dir=str(tmp_path / "data")), [*roles], policies=policies) as found:
            return "\n".join(describe(found, policies))

    root = tmp_path / "data" / "trust" / "trusted_root.json"
    assert f"/tuf  (nothing yet: {root} is not there)" in asyncio.run(lines("tuf"))
    assert f"/tuf  (initial root {tmp_path / 'data' / 'tuf' / '1.root.json'})" in asyncio.run(lines("tuf", "log"))
    assert (tmp_path / "data" / "tuf" / "1.root.json").is_file()


def test_an_admission_only_process_says_that_it_trusts_nobody(tmp_path: Path) -> None:
    from custody.cli.services import describe

    async def lines(**more: Any) -> str:
        policies = PolicySet([])
        settings = Settings(data_dir=str(tmp_path / "data"), **more)
        async with running(settings, ["admission"], policies=policies) as found:
            return "\n".join(describe(found, policies))

    assert "trust files   none: only evidence by keys can be verified" in asyncio.run(lines())
    (tmp_path / "root.json").write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    assert "trust files" not in asyncio.run(lines(trusted_root=str(tmp_path / "root.json")))
