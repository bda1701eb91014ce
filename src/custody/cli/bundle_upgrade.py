"""`custody bundle upgrade`: a bundle 0.1 or 0.2 as one of 0.3."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from custody.cli.run import settings
from custody.cli.trust_files import load_root, read_input
from custody.errors import UsageError
from custody.formats.bundle import Bundle, LogEntry, parse_bundle
from custody.kit import destination
from custody.kit.visible import visible
from custody.sign.rekor import request_proof
from custody.trust.roots import TrustedRoot
from custody.wiring import command_http


@click.command("upgrade")
@click.argument("file", metavar="BUNDLE")
@click.option("--out", metavar="FILE", help="Where the new one goes. Default: standard output.")
@click.option("--rekor-url", metavar="URL", help="The log to ask for a proof that is not there. Default: the trusted "
              "root's for the entry's log ID.")
def command(file: str, out: str | None, rekor_url: str | None) -> None:
    """Bring a Sigstore bundle to version 0.3, as `cosign bundle upgrade` does.

    Of a certificate chain the first stays. A log is asked only for an entry that has its promise and no proof.
    """
    if out:
        destination.check(out, "--out")
    data = read_input(file, "BUNDLE")
    bundle = parse_bundle(data, file)
    if bundle.version == "0.3":
        print("Bundle is already at v0.3, no upgrade needed.", file=sys.stderr)
    else:
        print(f"Upgrading from v{bundle.version} to v0.3...", file=sys.stderr)
        data = asyncio.run(with_proofs(bundle, rekor_url)).to_bytes()
    write_bundle(data, out)


def write_bundle(data: bytes, out: str | None) -> None:
    if out:
        destination.write(Path(out), data, "--out")
        print(f"Wrote bundle to file {visible(out)}", file=sys.stderr)
    else:
        print(data.decode())


async def with_proofs(bundle: Bundle, rekor_url: str | None) -> Bundle:
    """Every entry with its proof of inclusion, which is what version 0.3 asks for. Raises UsageError, NetworkError."""
    root = load_root(settings(), None)
    http = command_http(settings())
    try:
        entries: list[LogEntry] = []
        for entry in bundle.entries:
            if entry.proof is None or not entry.proof.checkpoint:
                print(f"Fetching missing inclusion proof from Rekor for log index {entry.log_index}...",
                      file=sys.stderr)
                entry = await request_proof(http, rekor_url or _url_of(entry, root), entry)
            entries.append(entry)
    finally:
        await http.close()
    return msgspec.structs.replace(bundle, entries=tuple(entries))


def _url_of(entry: LogEntry, root: TrustedRoot | None) -> str:
    for log in root.tlogs if root else ():
        if log.log_id == entry.log_id:
            return log.base_url
    raise UsageError(f"log entry {entry.log_index}: has no proof, and the trusted root names no log with the ID "
                     f"{entry.log_id.hex()[:16]}…", hint="--rekor-url URL")
