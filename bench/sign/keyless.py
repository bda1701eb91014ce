"""Keyless signatures against services on this machine: custody beside cosign, whole processes, and warm.

    python -m bench.sign.keyless [IMAGES]

Starts `custody up` with a registry in a folder of its own, stores IMAGES (default 200) images there and signs them.
Prints medians of whole processes in turns, in time gone by and in time of processors, which compares on a busy machine;
what each further image costs in one process beside a cosign process an image; and what verifying one bundle takes.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from custody.evidence.model import Evidence
from custody.formats import bundle
from custody.kit.clock import system_clock
from custody.sign.keys import generate_post_quantum_key, signed
from custody.sign.verify import Trust, verify_evidence
from custody.trust.roots import parse_trusted_root

_PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
_CUSTODY, _COSIGN = (sys.executable, "-m", "custody.cli.main"), (str(_PEERS / "cosign-v3"),)
_RUNS, _WARM = 7, 500
_WHO = "bench@myorg.example"


class _Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {**os.environ, "HOME": str(folder), "CUSTODY_DATA_DIR": str(folder / "data"),
                            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "CUSTODY_CONFIG": os.devnull}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=self.folder,
                              env=self.environment)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments[:4])}…: {done.stderr}")
        return done.stdout

    def timed(self, *arguments: str) -> tuple[float, float]:
        """Milliseconds that went by, and those of processors."""
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        self(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ((time.perf_counter() - start) * 1000,
                (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)

    def together(self, title: str, ours: Sequence[str], theirs: Sequence[str]) -> None:
        times = [(self.timed(*_CUSTODY, *ours), self.timed(*_COSIGN, *theirs)) for _ in range(_RUNS)]
        for part, unit in ((0, "gone by"), (1, "of processors")):
            custody, cosign = (statistics.median(pair[who][part] for pair in times) for who in (0, 1))
            print(f"{title}, ms {unit}: custody {custody:.0f}, cosign {cosign:.0f}, ratio {custody / cosign:.1f}")

    def push(self, number: int) -> str:
        """The digest of a new image of one layer."""
        name = f"bench{number}"
        (self.folder / name).write_text(name)
        self(str(_PEERS / "oras"), "push", "--plain-http", f"127.0.0.1:{self.port}/bench:{number}", name)
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        where = f"http://127.0.0.1:{self.port}/v2/bench/manifests/{number}"
        with urllib.request.urlopen(urllib.request.Request(where, headers=accept)) as answer:
            return f"127.0.0.1:{self.port}/bench@{answer.headers['Docker-Content-Digest']}"


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder))
        services = subprocess.Popen([*_CUSTODY, "up", "--port", str(bench.port)], cwd=folder, env=bench.environment,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(bench)
            _measure(bench, count)
        finally:
            services.terminate()
            services.wait()


def _wait(bench: _Bench) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{bench.port}/readyz"):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("custody up does not answer")


def _measure(bench: _Bench, count: int) -> None:
    images = [bench.push(number) for number in range(count)]
    bench(*_CUSTODY, "trust", "export", "out")
    root, config = "out/trusted_root.json", "out/signing_config.json"
    issuer = f"http://127.0.0.1:{bench.port}/oidc"
    (bench.folder / "token").write_text(bench(*_CUSTODY, "trust", "token", "--email", _WHO).strip())
    ours = ("--trusted-root", root, "--identity-token", "token", "--signing-config", config)
    bench(*_CUSTODY, "sign", "-y", *ours, *images)
    bench.together("sign keyless", ("sign", "-y", *ours, images[0]),
                   ("sign", "-y", "--allow-http-registry", *ours, images[0]))
    distinct = images[1:]
    verify = ("verify", "--trusted-root", root, "--certificate-identity", _WHO, "--certificate-oidc-issuer", issuer)
    bench.together("verify keyless", (*verify, distinct[0]), (*verify, "--allow-http-registry", distinct[0]))
    gone, used = bench.timed(*_CUSTODY, *verify, *distinct)
    theirs = [bench.timed(*_COSIGN, *verify, "--allow-http-registry", image) for image in distinct[:20]]
    for part, unit in ((0, "gone by"), (1, "of processors")):
        custody, cosign = (gone, used)[part], statistics.mean(times[part] for times in theirs) * len(distinct)
        print(f"verify {len(distinct)} images, ms {unit}: custody {custody:.0f} in one process, cosign {cosign:.0f} in "
              f"one each (of 20), ratio {cosign / custody:.1f}")
    bench(*_CUSTODY, "sign", "-y", *ours, "--upload=false", "--bundle", "one.json", distinct[0])
    evidence = Evidence(subject=distinct[0].partition("@")[2], media_type=bundle.MEDIA_TYPE,
                        data=(bench.folder / "one.json").read_bytes(), source="bench")
    trust = Trust(parse_trusted_root((bench.folder / root).read_bytes()))
    times = []
    for _ in range(_WARM):
        start = time.process_time()
        verify_evidence(evidence, trust, system_clock())
        times.append((time.process_time() - start) * 1000)
    print(f"one bundle, warm: {statistics.median(times):.2f} ms of a processor (best {min(times):.2f}); "
          f"{len(json.loads(evidence.data)['verificationMaterial']['tlogEntries'])} log entry")
    key, times = generate_post_quantum_key(), []
    for _ in range(_WARM):
        start = time.process_time()
        if not signed(key.public.key, key.sign(evidence.data), evidence.data):
            raise SystemExit("a signature by ML-DSA-65 does not verify")
        times.append((time.process_time() - start) * 1000)
    print(f"--pq: signing and verifying once more take {statistics.median(times):.2f} ms of a processor")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
