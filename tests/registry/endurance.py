"""A registry under trouble, and an account of what it said: kills, full disks, two writers of one session.

usage: python -m tests.registry.endurance [ROUNDS] [SEED]

In each round four clients push, move tags, delete; then the process is killed (SIGKILL) or, before that, may not write
files beyond some size for a while. The next process must have all that was acknowledged, and wrong bytes nowhere.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from custody.formats import oci
from tests.registry.api import Api, Process, custody, sha

_ACCEPTED = (201, 202)
_TROUBLE = (OSError, http.client.HTTPException)
_FULL = 300_000  # bytes of the largest file where the disk is full


@dataclass
class Account:
    """What one client was told. `unknown`: asked for, and no answer came."""

    name: str
    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    """None: deleted."""
    deleted: set[str] = field(default_factory=set)
    referrers: set[tuple[str, str]] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    acknowledged: int = 0
    refused: int = 0


class Writer(threading.Thread):
    def __init__(self, host: str, account: Account, seed: int) -> None:
        super().__init__(daemon=True)
        self.api, self.account, self.random = Api(host, 30), account, random.Random(seed)
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.step()
            except _TROUBLE:
                if self.stopped.wait(0.01):
                    return

    def step(self) -> None:
        account = self.account
        layer = self.random.randbytes(self.random.choice([10, 4096, 70_000, 400_000, 1_500_000]))
        if not (self.blob(b"{}") and self.blob(layer)):
            return
        body = json.dumps({
            "schemaVersion": 2, "mediaType": oci.MANIFEST, "config": {
                "mediaType": oci.CONFIG, "digest": sha(b"{}"), "size": 2},
            "layers": [{"mediaType": oci.LAYER_GZIP, "digest": sha(layer), "size": len(layer)}]}).encode()
        tag = f"t{self.random.randrange(4)}"
        if not self.manifest(tag, body):
            return
        account.tags[tag] = sha(body)
        account.unknown.discard(f"tag {tag}")
        subject = {"mediaType": oci.MANIFEST, "digest": sha(body), "size": len(body)}
        signature = json.dumps({
            "schemaVersion": 2, "mediaType": oci.MANIFEST, "artifactType": "a/sig", "subject": subject, "layers": [],
            "config": {"mediaType": oci.EMPTY, "digest": sha(b"{}"), "size": 2}}).encode()
        if self.manifest(sha(signature), signature):
            account.referrers.add((sha(body), sha(signature)))
        if self.random.random() < 0.2:
            self.delete(body, layer)
        if self.random.random() < 0.2:
            self.contend()

    def said(self, status: int) -> bool:
        if status in _ACCEPTED:
            self.account.acknowledged += 1
            return True
        assert status in (404, 409, 416, 500, 507), status
        self.account.refused += 1
        return False

    def blob(self, data: bytes) -> bool:
        """By one of three ways."""
        name, digest, way = self.account.name, sha(data), self.random.randrange(3)
        if way == 0:
            status = self.api("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)[0]
        else:
            place = self.api.start(name)
            if way == 1:
                status = self.api("PUT", f"{place}?digest={digest}", data)[0]
            else:
                half = len(data) // 2
                status, _, _ = self.api("PATCH", place, data[:half], Content_Range=f"0-{half - 1}")
                if not self.said(status):
                    return False
                status = self.api("PUT", f"{place}?digest={digest}", data[half:],
                                  Content_Range=f"{half}-{len(data) - 1}")[0]
        if self.said(status):
            self.account.blobs.add(digest)
            self.account.unknown.discard(digest)
            self.account.deleted.discard(digest)
            return True
        return False

    def manifest(self, reference: str, body: bytes) -> bool:
        self.account.unknown |= {sha(body), f"tag {reference}"}
        status = self.api("PUT", f"/v2/{self.account.name}/manifests/{reference}", body, Content_Type=oci.MANIFEST)[0]
        if not self.said(status):
            if status < 500:
                self.account.unknown -= {sha(body), f"tag {reference}"}
            return False
        self.account.manifests[sha(body)] = body
        self.account.unknown -= {sha(body), f"tag {reference}"}
        self.account.deleted.discard(sha(body))
        return True

    def delete(self, body: bytes, layer: bytes) -> None:
        account = self.account
        tags = [tag for tag, digest in account.tags.items() if digest == sha(body)]
        account.unknown |= {sha(body), sha(layer), *(f"tag {tag}" for tag in tags)}
        if not self.said(self.api("DELETE", f"/v2/{account.name}/manifests/{sha(body)}")[0]):
            return
        account.manifests.pop(sha(body))
        account.deleted.add(sha(body))
        account.tags.update(dict.fromkeys(tags))
        account.unknown -= {sha(body), *(f"tag {tag}" for tag in tags)}
        if self.said(self.api("DELETE", f"/v2/{account.name}/blobs/{sha(layer)}")[0]):
            account.blobs.discard(sha(layer))
            account.deleted.add(sha(layer))
            account.unknown.discard(sha(layer))

    def contend(self) -> None:
        """Two requests with different bytes for one session; at most one of the two blobs comes of it."""
        place = self.api.start(self.account.name)
        contents = [self.random.randbytes(200_000) for _ in range(2)]
        outcomes: dict[int, int] = {}

        def put(number: int) -> None:
            with contextlib.suppress(*_TROUBLE):
                outcomes[number] = self.api("PUT", f"{place}?digest={sha(contents[number])}", contents[number])[0]

        threads = [threading.Thread(target=put, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, status in outcomes.items():
            if status == 201:
                self.account.blobs.add(sha(contents[number]))


def check(api: Api, account: Account) -> list[str]:
    """What is not as the account says."""
    wrong, base = [], f"/v2/{account.name}"

    def get(path: str) -> tuple[int, dict[str, str], bytes]:
        return api("GET", base + path)

    for digest in account.blobs | {entry for entry in account.unknown if entry.startswith("sha256:")}:
        status, _, data = get(f"/blobs/{digest}")
        if status == 200 and sha(data) != digest:
            wrong.append(f"wrong bytes: {digest}")
        elif status != 200 and digest in account.blobs - account.unknown:
            wrong.append(f"lost blob: {digest} {status}")
    for digest, body in account.manifests.items():
        status, _, data = get(f"/manifests/{digest}")
        if digest not in account.unknown and (status, data) != (200, body):
            wrong.append(f"lost manifest: {digest} {status} {data[:200]!r}")
    for tag, wanted in account.tags.items():
        status, headers, _ = get(f"/manifests/{tag}")
        if f"tag {tag}" not in account.unknown and (headers.get("docker-content-digest") if status == 200
                                                    else None) != wanted:
            wrong.append(f"tag {tag}: {status}, expected {wanted}")
    wrong += [f"deleted and back: {digest}" for digest in account.deleted - account.unknown
              if 200 in (get(f"/manifests/{digest}")[0], get(f"/blobs/{digest}")[0])]
    for subject, digest in account.referrers:
        if digest in account.manifests and digest not in account.unknown and digest.encode() not in get(
                f"/referrers/{subject}")[2]:
            wrong.append(f"lost referrer: {digest}")
    return wrong


def settle(api: Api, account: Account) -> None:
    """After a round: what was not known is learned."""
    for entry in list(account.unknown):
        if entry.startswith("tag "):
            status, headers, _ = api("GET", f"/v2/{account.name}/manifests/{entry[4:]}")
            if not entry[4:].startswith("sha256:"):
                account.tags[entry[4:]] = headers["docker-content-digest"] if status == 200 else None
        else:
            account.blobs.discard(entry)
            account.manifests.pop(entry, None)
    account.unknown.clear()


def run(folder: Path, rounds: int, seed: int = 7, *, seconds: float = 1.0) -> tuple[int, list[str]]:
    """Number of acknowledged requests, and what was wrong."""
    chance, wrong = random.Random(seed), list[str]()
    accounts = [Account(f"team{number}/app") for number in range(4)]
    for number in range(rounds + 1):
        server = Process(folder)
        try:
            for account in accounts:
                wrong += [f"round {number}: {text}" for text in check(server.api, account)]
                settle(server.api, account)
            if number == rounds:
                break
            writers = [Writer(server.api.host, account, chance.randrange(1 << 30)) for account in accounts]
            for writer in writers:
                writer.start()
            end = time.monotonic() + chance.uniform(0.2, 1) * seconds
            if number % 2:  # a disk that is full for a while
                time.sleep((end - time.monotonic()) / 3)
                _, hard = resource.prlimit(server.child.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(server.child.pid, resource.RLIMIT_FSIZE, (_FULL, hard))
                time.sleep(max(0.0, (end - time.monotonic()) / 2))
                if number % 4 == 1:
                    resource.prlimit(server.child.pid, resource.RLIMIT_FSIZE, (hard, hard))
            scrubbed = custody(folder, "registry", "scrub") if number % 5 == 4 else None
            if scrubbed is not None and scrubbed.returncode:
                wrong.append(f"round {number}: scrub beside the server: {scrubbed.stdout}{scrubbed.stderr}")
            time.sleep(max(0.0, end - time.monotonic()))
            for writer in writers:
                writer.stopped.set()
            server.stop(signal.SIGKILL)
            for writer in writers:
                writer.join()
        finally:
            server.stop(signal.SIGKILL)
        if "Traceback" in server.said():
            wrong.append(f"round {number}: {server.said()[-2000:]}")
    report = custody(folder, "registry", "scrub", "-o", "json")
    if report.returncode:
        wrong.append(f"scrub: {report.stdout}{report.stderr}")
    return sum(account.acknowledged for account in accounts), wrong


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
        acknowledged, wrong = run(Path(folder), rounds, int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    print(f"{rounds} rounds, {acknowledged} acknowledged, {len(wrong)} wrong")
    print("\n".join(wrong[:20]))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
