"""`verify --key`: custody beside cosign, whole processes, one image on a registry on loopback.

    python bench/sign/verify.py REGISTRY     REGISTRY such as 127.0.0.1:5000 holds nothing yet that matters

Prints the median of whole processes for one image, and what each further image in the same process costs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PEERS = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers"))
_CUSTODY = str(Path(sys.executable).with_name("custody"))
_RUNS, _IMAGES = 9, 120


def _run(*arguments: str, cwd: str) -> float:
    start = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True, cwd=cwd,
                   env={**os.environ, "COSIGN_PASSWORD": "bench", "HOME": cwd})
    return (time.perf_counter() - start) * 1000


def _median(*arguments: str, cwd: str) -> float:
    return statistics.median(_run(*arguments, cwd=cwd) for _ in range(_RUNS))


def main(registry: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "f").write_text("bench")
        _run(_CUSTODY, "generate-key-pair", cwd=folder)
        images = []
        for number in range(10):
            Path(folder, "f").write_text(f"bench {number}")
            _run(str(_PEERS / "oras"), "push", "--plain-http", f"{registry}/bench:{number}", "f", cwd=folder)
            found = subprocess.run([_PEERS / "crane", "digest", "--insecure", f"{registry}/bench:{number}"], check=True,
                                   capture_output=True, text=True)
            images.append(f"{registry}/bench@{found.stdout.strip()}")
        _run(_CUSTODY, "sign", "--key", "cosign.key", *images, cwd=folder)
        ours = (_CUSTODY, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog")
        theirs = (str(_PEERS / "cosign-v3"), "verify", "--allow-http-registry", "--key", "cosign.pub",
                  "--insecure-ignore-tlog")
        cold, many = _median(*ours, images[0], cwd=folder), _median(*ours, *(images * (_IMAGES // 10)), cwd=folder)
        peer = _median(*theirs, images[0], cwd=folder)
        peer_many = _median(*theirs, *(images * (_IMAGES // 10)), cwd=folder)
        print(f"verify --key, one image, whole process: custody {cold:.0f} ms, cosign {peer:.0f} ms, "
              f"ratio {cold / peer:.1f}")
        print(f"each further image: custody {(many - cold) / (_IMAGES - 1):.2f} ms, "
              f"cosign {(peer_many - peer) / (_IMAGES - 1):.2f} ms")


if __name__ == "__main__":
    main(sys.argv[1])
