"""A real registry and real trust services, and the commands against them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.formats import oci
from custody.formats import reference as references
from custody.registry.client import RegistryClient
from tests.conftest import peer
from tests.trust.stack import Stack

PERSON = "dev@example.com"


@dataclass
class Site:
    folder: Path
    registry: str
    stack: Stack

    def custody(self, *arguments: str) -> int:
        return run(["--config", str(self.folder / "custody.toml"), *arguments])

    def token(self, email: str = PERSON) -> str:
        return self.stack.people.mint_email(email)

    def who(self, email: str = PERSON) -> tuple[str, ...]:
        return ("--certificate-identity", email, "--certificate-oidc-issuer", self.stack.people.url)

    def push(self, name: str, content: bytes = b"layer", architecture: str = "amd64") -> str:
        """A small image; returns its reference by digest."""

        async def store() -> str:
            ref = references.parse(f"{self.registry}/{name}:1")
            async with RegistryClient(StdlibHttp()) as client:
                config_data = (b'{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
                               % architecture.encode())
                config, layer = await client.push_blob(ref, config_data), await client.push_blob(ref, content)
                manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                                        (oci.Descriptor(oci.LAYER_GZIP, layer.digest, layer.size),))
                pushed = await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag="1")
                return f"{ref.name}@{pushed.digest}"

        return asyncio.run(store())

    def cosign(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "COSIGN_PASSWORD": "hello",
               "SIGSTORE_NO_CACHE": "1"}
        return subprocess.run([peer(program), *arguments], capture_output=True, text=True, env=env, cwd=self.folder,
                              timeout=60)
