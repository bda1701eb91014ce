"""cosign and sigstore-python learn of custody's services from its TUF repository alone: no file and no other flag."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.server.platform import Running, running
from custody.settings import Settings
from tests.cli.commands import custody
from tests.conftest import peer

EMAIL = "ann@example.com"


def with_services(tmp_path: Path, use: Callable[[Running, Path], None]) -> None:
    """Calls `use` with running services and the root metadata that their operator gives out."""

    async def main() -> None:
        async with running(Settings(data_dir=str(tmp_path / "data"))) as services:
            root = tmp_path / "root.json"
            root.write_bytes((services.platform.tuf.folder / "1.root.json").read_bytes())
            (tmp_path / "token").write_text(services.platform.people.mint_email(EMAIL))
            await asyncio.to_thread(use, services, root)

    asyncio.run(main())


def pushed(host: str, tmp_path: Path) -> str:
    """An image by its digest in the registry of these services."""
    layout = tmp_path / "layout"
    image = f"{host}/app"
    made = subprocess.run([sys.executable, "-c", PUSH, host, str(layout)], capture_output=True, text=True, check=True)
    return f"{image}@{made.stdout.strip()}"


PUSH = """
import hashlib, json, sys, urllib.request
host = sys.argv[1]
def put(path, data, kind):
    request = urllib.request.Request(f"http://{host}/v2/app/{path}", data=data, method="POST" if "uploads" in path
                                     else "PUT", headers={"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer
def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()
config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
put(f"blobs/uploads/?digest={digest(config)}", config, "application/octet-stream")
manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {
    "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
    "layers": []}).encode()
put(f"manifests/{digest(manifest)}", manifest, "application/vnd.oci.image.manifest.v1+json")
print(digest(manifest))
"""


class Client:
    """A peer with a home of its own."""

    def __init__(self, program: str, home: Path) -> None:
        self._program = program
        self._home = home
        home.mkdir()

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("SIGSTORE_", "TUF_", "XDG_"))}
        return subprocess.run([self._program, *arguments], capture_output=True, text=True, check=False, timeout=120,
                              env={**env, "HOME": str(self._home)}, cwd=self._home)


@pytest.mark.peer
@pytest.mark.parametrize("program", ["cosign-v3", "cosign-v2"])
def test_cosign_initializes_signs_and_verifies(tmp_path: Path, program: str) -> None:
    cosign = Client(peer(program), tmp_path / "home")
    newest = program == "cosign-v3"
    bundles = [] if newest else ["--new-bundle-format", "--use-signed-timestamps"]

    def use(services: Running, root: Path) -> None:
        mirror = f"{services.url}/tuf"
        checksum = hashlib.sha256(root.read_bytes()).hexdigest()
        for given in ([root], [f"{mirror}/1.root.json", "--root-checksum", checksum]):
            done = cosign("initialize", "--mirror", mirror, "--root", *given)
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
            assert "WARNING" not in done.stderr
        blob = tmp_path / "blob"
        blob.write_text("what is signed")
        bundle = tmp_path / "bundle.json"
        signing = [] if newest else ["--new-bundle-format", "--use-signing-config"]
        done = cosign("sign-blob", "-y", *signing, "--identity-token", tmp_path / "token", "--bundle", bundle, blob)
        assert done.returncode == 0, done.stderr
        who = ["--certificate-identity", EMAIL, "--certificate-oidc-issuer", f"{services.url}/oidc"]
        done = cosign("verify-blob", *bundles, *who, "--bundle", bundle, blob)
        assert done.returncode == 0, done.stderr
        who[1] = "bob@example.com"
        done = cosign("verify-blob", *bundles, *who, "--bundle", bundle, blob)
        assert done.returncode != 0
        assert f'got "{EMAIL}"' in done.stderr
        if not newest:
            return
        image = pushed(services.url.removeprefix("http://"), tmp_path)
        done = cosign("sign", "-y", "--allow-http-registry", "--identity-token", tmp_path / "token", image)
        assert done.returncode == 0, done.stderr
        who[1] = EMAIL
        done = cosign("verify", "--allow-http-registry", *who, image)
        assert done.returncode == 0, done.stderr
        said = custody("initialize", "--mirror", mirror, "--root", str(root), cwd=tmp_path)
        assert said.returncode == 0, said.stderr
        said = custody("verify", *who, image, cwd=tmp_path)
        assert said.returncode == 0, said.stderr

    with_services(tmp_path, use)


@pytest.mark.peer
@pytest.mark.parametrize("program", ["cosign-v3", "cosign-v2"])
def test_cosign_follows_a_rotation_and_refuses_another_root(tmp_path: Path, program: str) -> None:
    cosign = Client(peer(program), tmp_path / "home")

    def use(services: Running, root: Path) -> None:
        mirror = f"{services.url}/tuf"
        assert cosign("initialize", "--mirror", mirror, "--root", root).returncode == 0
        services.platform.rotate_tuf_root(None, online=True)
        done = cosign("initialize", "--mirror", mirror, "--root", root)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert "WARNING" not in done.stderr
        (tmp_path / "home" / "new").mkdir()
        strange = Client(peer(program), tmp_path / "elsewhere")
        document = root.read_text()
        signature = document.partition('"sig": "')[2].partition('"')[0]
        root.write_text(document.replace(signature, signature[:-2] + ("00" if signature[-2:] != "00" else "01")))
        done = strange("initialize", "--mirror", mirror, "--root", root)
        assert done.returncode != 0

    with_services(tmp_path, use)


@pytest.mark.peer
def test_sigstore_python_begins_with_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    from sigstore.models import ClientTrustConfig

    def use(services: Running, root: Path) -> None:
        config = ClientTrustConfig.from_tuf(f"{services.url}/tuf", bootstrap_root=root)
        certificates = config.trusted_root.get_fulcio_certs()
        assert services.platform.material.ca_chain[-1] in certificates
        assert len(config.signing_config.get_tsas()) == 1
        root.write_bytes(root.read_bytes().replace(b'"version": 1', b'"version": 2'))
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, str(tmp_path / f"another-{name}"))
        with pytest.raises(Exception, match=r"root was signed by 0/1 keys|Failed to refresh TUF metadata") as failure:
            ClientTrustConfig.from_tuf(f"{services.url}/tuf", bootstrap_root=root)
        assert "root was signed by 0/1 keys" in f"{failure.value} {failure.value.__cause__}"

    with_services(tmp_path, use)
