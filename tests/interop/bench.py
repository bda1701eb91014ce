"""The services that all pairs of the matrix share: custody's own, run by `custody up`, and Sigstore's real ones."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import unittest.mock
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.formats import oci
from custody.formats import reference as references
from custody.formats.cosign import certificate_pem
from custody.registry.client import RegistryClient
from custody.sign.keys import load_private_key
from custody.trust.roots import parse_signing_config, parse_trusted_root
from tests.apiserver import PEERS, TOOLS, AbsentError, program
from tests.conftest import ROOT
from tests.serving import registry_on

PERSON, STRANGER = "dev@example.com", "evil@example.com"
PASSWORD = "hello"
PREDICATE = {"buildDefinition": {"buildType": "https://example.com/build", "externalParameters": {},
                                 "internalParameters": {}, "resolvedDependencies": []},
             "runDetails": {"builder": {"id": "https://example.com/builder"}, "metadata": {}, "byproducts": []}}
"""One that sigstore-python takes too, which looks into it."""


@dataclass
class Done:
    """How a program ended, and all that it said."""

    code: int
    said: str


@dataclass
class Bench:
    """Services, and in one folder root.json, config.json, tsa-only.json, both.json, keys and certificates in PEM."""

    name: str
    folder: Path
    registry: str
    issuer: str
    token: Callable[[str], str]
    _count: int = field(default=0)

    def __post_init__(self) -> None:
        root = parse_trusted_root(self.path("root.json").read_bytes())
        config = parse_signing_config(self.path("config.json").read_bytes())
        document = json.loads(self.path("config.json").read_bytes())
        self.ca, self.log, self.tsa = config.ca[0].url, config.rekor[0].url, config.tsa[0].url
        self.path("tsa-only.json").write_text(json.dumps(
            {name: value for name, value in document.items() if not name.startswith("rekorTlog")}))
        self.path("both.json").write_text(json.dumps({
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": json.loads(self.path("root.json").read_bytes()), "signingConfig": document}))
        self.path("custody.toml").write_text('trusted_root = "root.json"\nsigning_config = "config.json"\n')
        self.path("blob").write_bytes(b"what is signed\n")
        self.path("other").write_bytes(b"another file\n")
        self.path("predicate.json").write_text(json.dumps(PREDICATE))
        for name, chain in (("ca.pem", root.certificate_authorities[0].chain[::-1]),
                            ("tsa.pem", root.timestamp_authorities[0].chain)):
            self.path(name).write_bytes(b"".join(map(certificate_pem, chain)))
        for name, der in (("ct.pub", root.ctlogs[0].key_der), ("log.pub", root.tlogs[0].key_der)):
            self.path(name).write_bytes(load_der_public_key(der).public_bytes(
                Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        for name in ("cosign", "other-key"):
            self.custody("generate-key-pair", "--output-key-prefix", str(self.path(name)))
        key = load_private_key(self.path("cosign.key").read_bytes(), PASSWORD.encode(), "cosign.key")
        self.path("plain.key").write_bytes(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def path(self, name: str) -> Path:
        return self.folder / name

    def fresh(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count}"

    def custody(self, *arguments: str, **more: str) -> Done:
        """A command of custody's, in this process."""
        said = io.StringIO()
        with (unittest.mock.patch.dict(os.environ, {"COSIGN_PASSWORD": PASSWORD, **more}),
              contextlib.redirect_stdout(said), contextlib.redirect_stderr(said)):
            code = run(["--config", str(self.path("custody.toml")), *arguments])
        return Done(code, said.getvalue())

    def program(self, *command: str, given: str | None = None, place: str | None = None, **more: str
                ) -> Done:
        """A program that knows nothing but what it is given here."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "COSIGN_PASSWORD": PASSWORD,
                       "SIGSTORE_NO_CACHE": "1", "TUF_ROOT": str(self.path("tuf")), **more}
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment,
                              cwd=place or self.folder, input=given)
        return Done(done.returncode, done.stdout + done.stderr)

    def push(self, name: str) -> str:
        """A small image; its reference by digest."""

        async def store() -> str:
            ref = references.parse(f"{self.registry}/{name}:1")
            async with RegistryClient(StdlibHttp()) as client:
                config = await client.push_blob(ref, b'{"architecture":"amd64","os":"linux","rootfs":'
                                                     b'{"type":"layers","diff_ids":[]}}')
                layer = await client.push_blob(ref, name.encode())
                manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                                        (oci.Descriptor(oci.LAYER_GZIP, layer.digest, layer.size),))
                pushed = await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag="1")
                return f"{ref.name}@{pushed.digest}"

        return asyncio.run(store())


@contextlib.contextmanager
def custody_up(folder: Path) -> Iterator[Bench]:
    """All of custody's services, as `custody up` runs them."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}"}
    command = [sys.executable, "-m", "custody.cli.main"]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen([*command, "up", "--port", "0", "--webhook-port", "0"], cwd=folder, stdout=log,
                                   stderr=log, env=environment)
        try:
            written = folder / "up.log"
            for _ in range(300):
                if b"ctrl-c stops" in written.read_bytes() or process.poll() is not None:
                    break
                time.sleep(0.1)
            lines = dict(line.split(maxsplit=1) for line in written.read_text().splitlines() if " " in line)
            if "registry" not in lines:
                raise RuntimeError(f"custody up: {written.read_text()}")
            for name, copy in (("trusted_root", "root"), ("signing_config", "config")):
                shutil.copy(folder / f".custody/trust/{name}.json", folder / f"{copy}.json")

            def token(email: str) -> str:
                return subprocess.run([*command, "trust", "token", "--email", email], cwd=folder, check=True,
                                      capture_output=True, text=True, env=environment).stdout.strip()

            issuer = lines[next(name for name in lines if name == "OIDC")].split()[-1]
            yield Bench("custody", folder, lines["registry"].partition("/")[0], issuer, token)
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def sigstore_up(folder: Path) -> Iterator[Bench]:
    """The real fulcio, rekor-tiles and timestamp-server, by the script that boots them. Raises AbsentError."""
    script = TOOLS / "sigstore"
    for name in ("fulcio", "rekor-tiles", "timestamp-server", "cosign-v3"):
        program(name)
    if not script.exists():
        raise AbsentError("the script that boots the real services is not here")
    environment = {**os.environ, "PYTHON": sys.executable, "CUSTODY_PEERS": str(PEERS)}
    place = folder / "stack"

    def ask(*words: str) -> str:
        done = subprocess.run([str(script), words[0], str(place), *words[1:]], capture_output=True, text=True,
                              check=False, timeout=120, env=environment)
        if done.returncode != 0:
            raise RuntimeError(f"{script.name} {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    with registry_on(folder / "registry") as (host, _):
        told = ask("start")
        try:
            said = dict(word.split("=", 1) for line in told.splitlines() for word in line.split()[1:])
            for name, copy in (("trusted_root", "root"), ("signing_config", "config")):
                shutil.copy(place / f"{name}.json", folder / f"{copy}.json")
            yield Bench("sigstore", folder, host, said["EMAIL_ISSUER"],
                        lambda email: ask("token", "email", f"email={email}").strip())
        finally:
            ask("stop")
