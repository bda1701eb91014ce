"""`custody log watch`: who signs in my name?"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import click

from custody.cli.bars import progress
from custody.cli.kept_keys import is_kept, trusted_key
from custody.cli.log import LOG, readers, verifier_of
from custody.cli.run import settings
from custody.cli.trust_files import load_root, read_input, trusted_root_option
from custody.errors import DeniedError, NetworkError, UsageError
from custody.formats.bundle import parse_bundle
from custody.kit import destination
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339
from custody.kit.merkle import leaf_hash
from custody.kit.visible import visible
from custody.ports.tiles import LogReader
from custody.sign.keys import PublicKey, load_public_key
from custody.sign.logwatch import Names, Seen, Sighting, begin_at, describe, look, parse_seen
from custody.trust.checkpoint import parse_checkpoint
from custody.trust.roots import CertificateAuthority

_BUNDLES = (".json", ".bundle", ".sigstore")
_MAX_HEAD = 64 << 10


@click.command("watch")
@LOG
@click.option("--identity", "--certificate-identity", metavar="NAME", help="Signatures by this e-mail address or URI.")
@click.option("--identity-regexp", "--certificate-identity-regexp", metavar="PATTERN",
              help="By those that this pattern is found in (RE2).")
@click.option("--issuer", "--certificate-oidc-issuer", metavar="URL", help="Whose identities this issuer vouches for.")
@click.option("--issuer-regexp", "--certificate-oidc-issuer-regexp", metavar="PATTERN", help="The same by a pattern.")
@click.option("--key", "keys", multiple=True, metavar="FILE|NAME", help="Signatures by this public key, or by the "
              "one that somebody keeps under this name; repeatable.")
@click.option("--known", multiple=True, type=click.Path(path_type=Path, exists=True), metavar="FILE|DIR",
              help="Bundles that your builds made: what is in these is yours, and any other signature a stranger's; "
              "repeatable.")
@click.option("--since", type=click.IntRange(min=0), metavar="INDEX",
              help="Begin with this entry where the log was not read before. Default: with its first.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Where is kept how far it was read. Default: in the data directory, by log and by what is asked.")
@click.option("--once", is_flag=True, help="Look once, and end.")
@click.option("--interval", type=click.FloatRange(min=1), default=60.0, show_default=True, metavar="SECONDS",
              help="Between two looks.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="What stdout gets: a line each.")
@trusted_root_option
def command(place: str | None, identity: str | None, identity_regexp: str | None, issuer: str | None,
            issuer_regexp: str | None, keys: tuple[str, ...], known: tuple[Path, ...], since: int | None,
            state: Path | None, once: bool, interval: float, output: str, trusted_root: str | None) -> None:
    """Read a log on and on, of Rekor v1 or v2, and print who signed in your name.

    Each entry is checked against the log's signed tree, and the tree against the one that was seen before. With
    --known, signatures that are in none of those bundles alone are printed; with --once the exit code is 3 then.
    """
    names = Names(subject=identity, subject_regexp=identity_regexp, issuer=issuer, issuer_regexp=issuer_regexp,
                  keys=frozenset(_watched(key).der for key in keys))
    root = load_root(settings(), trusted_root)
    authorities = root.certificate_authorities if root else ()
    own = frozenset(_leaves(known))
    question = _Question(names, authorities, own, f"{names.digest} {'strangers' if known else 'all'}", bool(known))
    strangers = 0
    if sys.stdout is None:
        raise UsageError("standard output: is closed, and what is told once is not told again")
    while True:
        try:
            with readers(place) as shards:
                strangers += sum(_watch(shards, trusted_root, question, since, state, output, always=once))
        except NetworkError as error:
            if once:
                raise
            print(visible(f"warning: {error.message}; it is tried again"), file=sys.stderr)
        if once:
            break
        time.sleep(interval)
    if known and strangers:
        raise DeniedError(f"{amount(strangers, 'signature')} in your name, in none of the bundles that are yours")


def _watched(name: str) -> PublicKey:
    return trusted_key(name) if is_kept(name) else load_public_key(read_input(name, "--key"), name)


class _Question(NamedTuple):
    names: Names
    authorities: tuple[CertificateAuthority, ...]
    own: Set[bytes]
    """Leaf hashes of entries that are one's own."""
    asked: str
    """The same for all who ask the same: what was read is kept by it."""
    joined: bool
    """Whether one's own were named: strangers alone are told then."""


def _watch(shards: Sequence[LogReader], trusted_root: str | None, question: _Question, since: int | None,
           state: Path | None, output: str, *, always: bool) -> Iterator[int]:
    """Read what is new in each shard, tell it and keep how far that was; how many were told of each."""
    kept = state or _kept(verifier_of(shards[-1], trusted_root).host, question.asked)
    seen = _read(kept, question.asked)
    if seen is not None:
        shards = shards[next((place for place, shard in enumerate(shards) if _origin(shard) == seen.origin), -1):]
    elif since is not None:
        shards = shards[max(place for place, shard in enumerate(shards) if place == 0 or shard.first <= since):]
        seen = begin_at(shards[0], verifier_of(shards[0], trusted_root), since)
    for shard in shards:
        verifier = verifier_of(shard, trusted_root)
        with progress(f"Reading {verifier.name}") as advance:
            watched = look(shard, verifier, seen, question.names, question.authorities, question.own, advance)
        told = [sighting for sighting in watched.sightings if not sighting.known]
        for sighting in told:
            print(_line(sighting) if output == "json" else visible(describe(sighting)), flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Told, then kept: rather twice than never.
        destination.write(kept, replace(watched.seen, asked=question.asked).to_json(), "--state")
        if always or watched.entries:
            print(_sum(verifier.name, watched.entries, watched.unread, watched.seen.size, len(told),
                       len(watched.sightings) - len(told), question.joined), file=sys.stderr)
        yield len(told)
        seen = None  # the next shard begins with its first


def _origin(shard: LogReader) -> str:
    return parse_checkpoint(shard.read("checkpoint") or b"").origin


def _sum(log: str, entries: int, unread: int, size: int, told: int, known: int, joined: bool) -> str:
    signatures = f"{amount(told, 'stranger')}" if joined else amount(told, "signature")
    return (f"{visible(log)}: {amount(entries, 'new entry', 'new entries')} of {size}, each where the signed tree has "
            f"it: {signatures}" + (f", {known} known" if joined else "")
            + (f"; {unread} do not say who signed" if unread else ""))


def _line(sighting: Sighting) -> str:
    moment = format_rfc3339(sighting.signed_at) if sighting.signed_at else None
    return json.dumps({**asdict(sighting), "signed_at": moment})


def _kept(log: str, asked: str) -> Path:
    return settings().data / "log-watch" / f"{hashlib.sha256(f'{log} {asked}'.encode()).hexdigest()[:16]}.json"


def _read(path: Path, asked: str) -> Seen | None:
    try:
        seen = parse_seen(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"--state {path}: {error.strerror}") from None
    if seen.asked != asked:
        raise UsageError(f"--state {path}: is of who looked for others, or with --known for strangers alone",
                         hint="give each question a file of its own")
    return seen


def _leaves(known: tuple[Path, ...]) -> Iterator[bytes]:
    """The hashes of the entries in bundles."""
    for path in known:
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in _BUNDLES) if (
            path.is_dir()) else [path]
        if not files:
            raise UsageError(f"--known {path}: no bundle is in it", hint=f"files that end with {', '.join(_BUNDLES)}")
        for file in files:
            try:
                data = file.read_bytes()
            except OSError as error:
                raise UsageError(f"--known {file}: {error.strerror}") from None
            if path.is_dir() and b"application/vnd.dev.sigstore.bundle" not in data[:_MAX_HEAD]:
                print(visible(f"note: {file} is no bundle"), file=sys.stderr)
                continue
            for entry in parse_bundle(data, str(file)).entries:
                yield leaf_hash(entry.body)
