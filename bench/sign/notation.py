"""`notation verify`: custody beside notation, whole processes, one signed image in an OCI layout.

    python -m bench.sign.notation

Prints the median of whole processes of each, in turns, and what each further image costs in a process of custody's that
verifies many. notation takes one image a process. On a machine that is busy the time of processors compares.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.sign.notary import materials

from custody.adapters.http.stdlib import StdlibHttp
from custody.kit.clock import system_clock
from custody.registry.listedlayout import ListedLayout
from custody.services.notaryplaces import LayoutPlace
from custody.services.notarysignatures import verify_artifact
from custody.sign.notary.crl import ListCache
from custody.sign.notary.directory import Directory
from custody.sign.notary.revocation import OnlineRevocations
from custody.sign.notary.trustpolicy import parse_oci
from custody.sign.notary.truststore import DirectoryStores
from custody.sign.notary.verify import Verifier

_PEER = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers")) / "notation"
_RUNS, _IMAGES = 9, 100
_POLICY = (b'{"version": "1.0", "trustPolicies": [{"name": "bench", "registryScopes": ["*"],'
           b'"trustStores": ["ca:bench"], "signatureVerification": {"level": "strict"}, "trustedIdentities": ["*"]}]}')


def _run(program: list[str], *arguments: str, directory: Directory) -> tuple[float, float]:
    """Milliseconds that went by, and those of processors."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*program, *arguments], check=True, capture_output=True, env=_environment(directory))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ((time.perf_counter() - start) * 1000,
            (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)


def _environment(directory: Directory) -> dict[str, str]:
    """With bytecode kept, as that of an installed package is."""
    kept = materials.environment(directory) | {"PYTHONPYCACHEPREFIX": str(directory.config.parent / "bytecode")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


async def _many(layout: Path, digest: str, directory: Directory) -> float:
    """Milliseconds of a processor an image in one process."""
    http = StdlibHttp()
    verifier = Verifier(DirectoryStores(directory), OnlineRevocations(
        http, system_clock, ListCache(directory.revocation_lists)), system_clock)
    statement = parse_oci(_POLICY, "policy").for_image("registry.example/bench")

    async def once() -> None:
        place = ListedLayout(layout)
        judged = await verify_artifact(LayoutPlace(place), place.resolve(digest), statement, verifier)
        assert judged[-1].reason == "", judged[-1].reason

    await once()
    start = time.process_time()
    for _ in range(_IMAGES):
        await once()
    taken = time.process_time() - start
    await http.close()
    return taken * 1000 / _IMAGES


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        directory, layout = materials.directory_in(Path(place) / "config"), Path(place) / "image"
        chain = materials.chain_of("EC-256")
        materials.list_key(directory, "bench", materials.key_of("EC-256"), chain, default=True)
        materials.trust(directory, "ca", "bench", chain[-1])
        directory.oci_policy.write_bytes(_POLICY)
        digest = materials.layout(layout)
        programs = {"custody": [sys.executable, "-m", "custody.cli.main", "notation"], "notation": [str(_PEER)]}
        _run(programs["custody"], "sign", "--oci-layout", f"{layout}@{digest}", directory=directory)
        verify = ("verify", "--oci-layout", f"{layout}@{digest}", "--scope", "registry.example/bench")
        _run(programs["custody"], *verify, directory=directory)  # bytecode
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for _ in range(_RUNS):
            for name, program in programs.items():
                taken[name].append(_run(program, *verify, directory=directory))
        gone_by, processors = ([statistics.median(pair[at] for pair in pairs) for pairs in taken.values()]
                               for at in (0, 1))
        for measure, (ours, theirs) in (("time gone by", gone_by), ("time of processors", processors)):
            print(f"whole process, {measure}: custody {ours:.0f} ms, notation {theirs:.0f} ms, custody / notation "
                  f"{ours / theirs:.1f}")
        further = asyncio.run(_many(layout, digest, directory))
        print(f"each further image in custody's process, of a processor: {further:.2f} ms; a process of notation's "
              f"{processors[1]:.0f}, custody / notation {further / processors[1]:.2f}")


if __name__ == "__main__":
    main()
