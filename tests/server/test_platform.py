"""`custody up` as a process: what it acknowledged survives kill -9, roles run apart, ports and logs are not shared."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from custody.adapters.filesystem.tiles import DirectoryReader
from custody.errors import ConflictError, MalformedError, NetworkError, UsageError
from custody.policy.load import PolicySet
from custody.server.platform import running
from custody.settings import Settings
from custody.settings.tables import Issuer
from custody.trust import audit
from custody.trust.roots import parse_trusted_root
from tests.apiserver import free_port
from tests.trust.test_hashedrekord import request


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "custody.cli.main", *command], cwd=folder,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if b"ctrl-c" in line:
            return process
    raise AssertionError(f"custody {' '.join(command)} did not start")


def stop(process: subprocess.Popen[bytes], how: signal.Signals) -> int:
    process.send_signal(how)
    assert process.stderr is not None
    process.stderr.close()
    return process.wait(timeout=30)


def ask(port: int, method: str, path: str, body: bytes | None = None,
        kind: str = "") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    port, webhook = free_port(), free_port()
    blobs: dict[str, bytes] = {}
    tags: dict[str, str] = {}
    entries: dict[int, bytes] = {}
    rng = random.Random(7)
    for round_number in range(4):
        process = start(tmp_path, "up", "--port", str(port), "--webhook-port", str(webhook))
        stopped = threading.Event()

        def push(round_number: int = round_number, stopped: threading.Event = stopped) -> None:
            number = 0
            while not stopped.is_set():
                number += 1
                data = os.urandom(2000)
                digest = "sha256:" + hashlib.sha256(data).hexdigest()
                try:
                    where = ask(port, "POST", "/v2/app/blobs/uploads/")[1]["location"]
                    if ask(port, "PUT", f"{where}?digest={digest}", data)[0] == 201:
                        blobs[digest] = data
                        manifest = json.dumps({
                            "schemaVersion": 2, "layers": [],
                            "mediaType": "application/vnd.oci.image.manifest.v1+json",
                            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest,
                                       "size": 2000}}).encode()
                        tag = f"t{round_number}-{number}"
                        status, headers, _ = ask(port, "PUT", f"/v2/app/manifests/{tag}", manifest,
                                                 "application/vnd.oci.image.manifest.v1+json")
                        if status == 201:
                            tags[tag] = headers["docker-content-digest"]
                except (OSError, http.client.HTTPException, KeyError):
                    continue

        def log(stopped: threading.Event = stopped) -> None:
            while not stopped.is_set():
                try:
                    sent = json.dumps(request(os.urandom(16))).encode()
                    status, _, body = ask(port, "POST", "/api/v2/log/entries", sent, "application/json")
                    if status == 201:
                        answer = json.loads(body)
                        entries[int(answer.get("logIndex", 0))] = answer["canonicalizedBody"].encode()
                except (OSError, http.client.HTTPException, ValueError):
                    continue

        workers = [threading.Thread(target=work) for work in (push, log, log)]
        for worker in workers:
            worker.start()
        time.sleep(0.6 + rng.random() * 0.4)
        stop(process, signal.SIGKILL)
        stopped.set()
        for worker in workers:
            worker.join()
    assert len(blobs) > 10
    assert len(entries) > 10
    process = start(tmp_path, "up", "--port", str(port), "--webhook-port", str(webhook))
    try:
        for digest, data in blobs.items():
            assert ask(port, "GET", f"/v2/app/blobs/{digest}")[2] == data
        for tag, digest in tags.items():
            assert ask(port, "HEAD", f"/v2/app/manifests/{tag}")[1]["docker-content-digest"] == digest
        reader = DirectoryReader(tmp_path / ".custody" / "log")
        root = parse_trusted_root((tmp_path / ".custody" / "trust" / "trusted_root.json").read_bytes())
        audited = audit.verify_log(reader, audit.verifier_for(reader, root),
                                   held={at: base64.b64decode(body) for at, body in entries.items()})
        assert audited.size >= len(entries)
    finally:
        assert stop(process, signal.SIGTERM) == 0


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(data_dir=str(tmp_path))
        async with running(settings, ["log"]):
            async with running(settings, ["registry", "tsa"]) as other:
                assert other.roles == ("registry", "tsa")
            with pytest.raises(ConflictError, match="another sequencer has it"):
                async with running(settings, ["log"]):
                    raise AssertionError("two writers")

    asyncio.run(main())


def test_roles_that_were_not_asked_for_do_not_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Settings(data_dir=str(tmp_path)), ["tsa"]) as found:
            port = int(found.url.rpartition(":")[2])
            assert found.webhook is None

            def status(method: str, path: str) -> int:
                return ask(port, method, path)[0]

            assert await asyncio.to_thread(status, "GET", "/api/v1/timestamp/certchain") == 200
            assert await asyncio.to_thread(status, "GET", "/healthz") == 200
            for path in ("/v2/", "/api/v2/checkpoint", "/api/v2/trustBundle", "/oidc/keys"):
                assert await asyncio.to_thread(status, "GET", path) == 404, path

    asyncio.run(main())


def test_refusals(tmp_path: Path) -> None:
    async def start_with(settings: Settings, *roles: str) -> None:
        async with running(settings, roles):
            raise AssertionError("it started")

    with pytest.raises(UsageError, match="--roles: got 'rekor'"):
        asyncio.run(start_with(Settings(data_dir=str(tmp_path)), "rekor"))
    missing = Settings(data_dir=str(tmp_path), issuers=[Issuer(url="https://x.example", jwks=str(tmp_path / "no"))])
    with pytest.raises(UsageError, match=r"issuer https://x\.example"):
        asyncio.run(start_with(missing, "ca"))


def test_the_webhook_is_ready_only_with_policies(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Settings(data_dir=str(tmp_path)), ["admission"], policies=PolicySet([])) as found:
            assert found.webhook is not None
            assert found.webhook.startswith("https://127.0.0.1:")
            assert found.admission is not None
            assert found.admission.admission is not None

    asyncio.run(main())


def test_admission_alone_listens_on_one_port_by_the_names_that_it_has(tmp_path: Path) -> None:
    names = ["custody.custody.svc", "127.0.0.1", "10.1.2.3"]

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            async with running(Settings(data_dir=str(tmp_path)), ["admission"], port=None,
                               webhook_names=names, policies=PolicySet([])) as found:
                assert found.url == ""
                certificate = x509.load_pem_x509_certificate((tmp_path / "admission" / "tls.crt").read_bytes())
                named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                assert [str(name.value) for name in named] == ["127.0.0.1", names[0], names[2], "localhost"]
                webhook = int(str(found.webhook).rpartition(":")[2])
            with pytest.raises(NetworkError, match="Address already in use") as caught:
                await start(webhook_port=taken.getsockname()[1])
            assert caught.value.hint == "another program listens there; choose another --webhook-port"
            assert webhook != taken.getsockname()[1]
        with pytest.raises(MalformedError, match=r"webhook's name: got 'https://x', expected a host's name"):
            await start(webhook_names=["https://x"])
        # Where a port is asked for, it tells those who only look after it, without TLS.
        async with running(Settings(data_dir=str(tmp_path)), ["admission"], policies=PolicySet([])) as found, \
                aiohttp.ClientSession() as session:
            for path, status in (("/healthz", 200), ("/readyz", 200), ("/validate", 404), ("/v2/", 404)):
                async with session.get(found.url + path) as answer:
                    assert answer.status == status, path
        with pytest.raises(UsageError, match="--port: got none, expected one for log"):
            async with running(Settings(data_dir=str(tmp_path)), ["log"], port=None):
                raise AssertionError("it started")

    async def start(webhook_port: int = 0, webhook_names: Iterable[str] = ()) -> None:
        async with running(Settings(data_dir=str(tmp_path)), ["admission"], webhook_port=webhook_port,
                           webhook_names=webhook_names, policies=PolicySet([])):
            raise AssertionError("it started")

    asyncio.run(main())
