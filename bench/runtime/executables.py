"""An image's files by path and digest: how long the index takes, how large it is, and what a look-up costs.

    python -m bench.runtime.executables oci:DIR…

Beside it, as a floor, what `tar` and `sha256sum` take to unpack the same layers and hash every file, once. Medians of
3, in seconds of processors: the disk, and who else uses the machine, are left out.
"""

from __future__ import annotations

import contextlib
import gzip
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from custody.adapters.sqlite.drift import SqliteDrift
from custody.kit.clock import system_clock
from custody.registry.image import Image
from custody.runtime.containers import Containers
from custody.runtime.event import RuntimeEvent
from custody.runtime.executables import Executables, Verdict, read
from custody.runtime.executing import ExecutableDetector
from custody.runtime.witness import Witness
from custody.services.imagefiles import read_files
from custody.services.stored import open_stored

_ROUNDS = 3
_LOOKUPS = 50_000


class _Known:
    def __init__(self, files: Executables) -> None:
        self._files = files

    def get(self, _digest: str) -> Executables:
        return self._files

    def ask(self, _digest: str, _image: str) -> str:
        return ""


def _spent() -> float:
    """Seconds of processors, of this process and of those that it waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _median(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        begin = _spent()
        work()
        times.append(_spent() - begin)
    return statistics.median(times)


@contextlib.contextmanager
def _silent(_title: str, _total: int | None) -> Iterator[None]:
    yield None


def _built(image: Image) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(SqliteDrift(Path(folder) / "drift.db")) as store:
        read_files(image, store, system_clock, _silent)


def _floor(image: Image) -> None:
    folder = tempfile.mkdtemp()
    try:
        for layer in image.manifest.layers:
            with image.open_blob(layer) as blob:
                data = blob.read()
            if layer.media_type.endswith("gzip"):
                data = gzip.decompress(data)
            subprocess.run(["tar", "-x", "-C", folder, "--exclude=*.wh.*", "-f", "-"], input=data, check=True)
        subprocess.run(f"find {folder} -type f -print0 | xargs -0 sha256sum > /dev/null", shell=True,
                       check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rate(work: Callable[[int], object], number: int) -> float:
    begin = time.process_time()
    for at in range(number):
        work(at)
    return number / (time.process_time() - begin)


def measured(target: str) -> None:
    image = open_stored(target)
    size = sum(layer.size for layer in image.manifest.layers)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(SqliteDrift(Path(folder) / "d.db")) as store:
        files = read_files(image, store, system_clock, _silent)
        again = _median(lambda: read_files(image, store, system_clock, _silent))
        layers = sum(len(store.layer(diff) or b"") for diff in image.config.diff_ids)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    data = files.to_bytes()
    built, floor = _median(lambda: _built(image)), _median(lambda: _floor(image), 1)
    loaded = _median(lambda: read(data))
    entries = Random(1).choices([entry for entry in files.entries() if entry.sha256], k=5000)
    known = _rate(lambda at: files.judge(entries[at % 5000].path, entries[at % 5000].sha256), _LOOKUPS)
    unknown = _rate(lambda at: files.judge(f"/tmp/{at}", f"{at:064x}"), _LOOKUPS)
    detector = ExecutableDetector(_Known(files), Containers(), Witness(system_clock()))
    events = [RuntimeEvent("syscall", "execve", {
        "container.id": "0123456789ab", "container.image.digest": files.digest, "proc.exepath": f"/{entry.path}",
        "custody.exe.sha256": entry.sha256, "proc.args": "-v"}, at, "bench") for at, entry in enumerate(entries)]
    judged = _rate(lambda at: [*detector(events[at % 5000])], _LOOKUPS)
    assert all(files.judge(entry.path, entry.sha256).verdict is Verdict.KNOWN for entry in entries)
    print(f"{target}: {size / 1e6:.0f} MB compressed, {len(files)} files")
    print(f"  index               {built:6.2f} s   tar and sha256sum {floor:.2f} s   ratio {built / floor:.2f}")
    print(f"  layers known        {again:6.2f} s   read from the store {loaded * 1000:.0f} ms")
    print(f"  kept                {len(data) / 1e6:6.2f} MB ({len(data) / len(files):.0f} bytes a file), and "
          f"{layers / 1e6:.2f} MB of layers; {files.size / 1e6:.1f} MB in memory, {memory:.0f} MiB while it was made")
    print(f"  look-ups            {known:,.0f}/s known, {unknown:,.0f}/s unknown; detector {judged:,.0f} events/s")


def main(targets: list[str]) -> None:
    for target in targets:
        measured(target)


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
