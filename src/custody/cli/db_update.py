"""`custody db import`, `export` and `update`: from where advisories come, and where they go."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from custody.cli.bars import progress
from custody.cli.contents import columns
from custody.cli.kept_keys import trusted_key
from custody.cli.run import settings
from custody.cli.trust_options import message_signer
from custody.errors import NetworkError, UsageError
from custody.formats import reference
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, parse_rfc3339, system_clock
from custody.kit.visible import visible
from custody.ports.advisories import AdvisoryStore
from custody.services import advisoryartifact
from custody.services.advisoryupdate import Updated, Updater
from custody.settings.tables import Advisories
from custody.vulns import archive, feeds
from custody.vulns.feeds import Address
from custody.vulns.store import Imported
from custody.wiring import command_http, registry_client
from custody.wiring.local import advisories, advisory_importer, java_archives, java_index

_SHOWN = 5
_REGISTRY = "oci://"


def _trusted(work: Callable[..., Any]) -> Callable[..., Any]:
    """What says whose archives are taken."""
    for option in (
            click.option("--allow-older", is_flag=True,
                         help="Take an archive that is older than the one that was taken last, too."),
            click.option("--insecure-unsigned", is_flag=True, help="Take an archive that nobody signed, or anybody."),
            click.option("--key", "keys", multiple=True, metavar="FILE",
                         help="Public key of whoever signed an archive. Default: the setting advisories.keys.")):
        work = option(work)
    return work


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@_trusted
def import_(paths: tuple[Path, ...], keys: tuple[str, ...], insecure_unsigned: bool, allow_older: bool) -> None:
    """Add advisories: files, folders and archives of any publisher's format, or a signed file of `export`.

    OSV records (osv.dev's all.zip, GHSA, malicious packages), Debian's tracker, Ubuntu's notices and CVE tracker, secdb
    of Alpine, Wolfi and Chainguard, CSAF of Red Hat and SUSE, errata of AlmaLinux and Rocky Linux, updateinfo.xml
    (Amazon, Fedora), OVAL of Oracle and Azure Linux, Photon OS, NVD, CISA's KEV, EPSS; plain, .gz, .bz2, .xz or .zst.
    Databases of Trivy (schema 2) and Grype (schema 6): a file, its folder, its archive, an OCI layout of its artifact;
    so trivy-java.db, by which Java archives are told that say nothing of themselves.
    Newer records replace older ones; a feed that is the whole truth of a release replaces what it said before.
    """
    store = advisories(settings())
    for path in paths:
        if archive.is_archive(path):
            _import_archive(store, path, keys, unsigned=insecure_unsigned, older=allow_older)
            continue
        with progress(f"Importing {path}") as advance:
            done = advisory_importer(settings(), store).take(path, system_clock(), advance)
        _tell(str(path), done)


def _extent(contents: archive.Contents) -> str:
    return f"{amount(contents.records, 'record')} of {amount(len(contents.sources), 'publisher')}"


def _tell(path: str, done: Imported) -> None:
    if done.records or not done.catalogues:
        print(f"{visible(path)}: {amount(done.records, 'record')}, {done.added} new or newer, "
              f"{done.withdrawn} withdrawn, {done.refusals} refused", file=sys.stderr)
    elif done.refusals:
        print(f"{visible(path)}: {done.refusals} refused", file=sys.stderr)
    if done.errata:
        print(f"{visible(path)}: {done.errata} errata that name no vulnerability were not kept", file=sys.stderr)
    for line in done.catalogues:
        print(visible(f"{path}: {line}"), file=sys.stderr)
    for reason in done.refused[:_SHOWN]:
        print(f"warning: {visible(reason)}", file=sys.stderr)


def _import_archive(store: AdvisoryStore, path: Path, keys: Sequence[str], *, unsigned: bool, older: bool,
                    said: str = "") -> None:
    named = list(keys) or _configured().keys
    if not named and not unsigned:
        raise UsageError(f"{said or path}: whose signature counts?",
                         hint="--key FILE or the setting advisories.keys, or --insecure-unsigned")
    trusted = [trusted_key(name).key for name in named]
    with progress(f"Importing {said or path}"):
        contents, added = archive.read(store, path, trusted, system_clock(), unsigned=unsigned, older=older,
                                       java=lambda: java_index(settings()))
    print(visible(f"{said or path}: {amount(contents.records, 'record')} of {contents.created}, {added} new or "
                  "changed"), file=sys.stderr)
    _tell_index(said or str(path), contents)


def _tell_index(where: str, contents: archive.Contents) -> None:
    if contents.java_archives:
        print(visible(f"{where}: {amount(contents.java_archives, 'Java archive')} by their SHA-1"), file=sys.stderr)


@click.command("export")
@click.argument("target", metavar="FILE|oci://IMAGE")
@click.option("--key", metavar="FILE|NAME", help="Private key: cosign.key, PEM, or the name of a key that somebody "
              "keeps.")
@click.option("--insecure-unsigned", is_flag=True, help="Sign it with none.")
def export(target: str, key: str | None, insecure_unsigned: bool) -> None:
    """Write all advisories into one signed file, or as one artifact into a registry, for `import` and `update --from`.

    The index of Java archives, where there is one, is a part of it.
    """
    signing = message_signer(key)
    if signing is None and not insecure_unsigned:
        raise UsageError("export: who signs it?", hint="--key FILE, or --insecure-unsigned")
    store, now = advisories(settings()), system_clock()
    if not target.startswith(_REGISTRY):
        with progress(f"Exporting {target}"):
            contents = archive.write(store, Path(target), signing, now, java_archives(settings()))
        _tell_exported(target, contents)
        return
    ref = reference.parse(target.removeprefix(_REGISTRY), "target")
    with tempfile.TemporaryDirectory(prefix="custody-") as folder:
        path = Path(folder) / "advisories.custody"
        contents = archive.write(store, path, signing, now, java_archives(settings()))
        pushed = asyncio.run(_with_client(partial(advisoryartifact.push, ref=ref, archive=path)))
    _tell_exported(target, contents)
    print(pushed.digest)


def _tell_exported(target: str, contents: archive.Contents) -> None:
    print(visible(f"{target}: {_extent(contents)}"), file=sys.stderr)
    _tell_index(target, contents)


async def _with_client(work: Callable[..., Any]) -> Any:
    async with registry_client(settings()) as client:
        return await work(client)


@click.command("update")
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--from", "origin", metavar="URL|PATH|oci://IMAGE",
              help="Take these: a document or archive at an address, a file or folder, or an exported artifact.")
@click.option("--list", "listed", is_flag=True, help="Name all feeds, and where they are.")
@_trusted
def update(names: tuple[str, ...], origin: str | None, listed: bool, keys: tuple[str, ...], insecure_unsigned: bool,
           allow_older: bool) -> None:
    """Ask publishers for what is new. NAME is one of --list; without any, the setting advisories.feeds, or the usual.

    What does not answer stays as it was, and how old that is is said: exit 6 only where nothing of it is there.
    """
    configured, store = _configured(), advisories(settings())
    if listed:
        rows = [("NAME", "ADDRESS")] + [(name, feeds.mirrored(address.url, configured.mirror))
                                        for name, addresses in feeds.FEEDS.items() for address in addresses]
        rows += list(configured.addresses.items())
        print(columns([tuple(map(visible, row)) for row in rows]), end="")
        return
    if origin is not None and names:
        raise UsageError("update: NAME and --from exclude each other")
    if origin is not None and origin.startswith(_REGISTRY):
        _update_from_registry(store, origin, keys, unsigned=insecure_unsigned, older=allow_older)
        return
    if origin is not None and not origin.startswith(("https://", "http://")):
        path = Path(origin)
        if archive.is_archive(path):
            _import_archive(store, path, keys, unsigned=insecure_unsigned, older=allow_older)
        else:
            with progress(f"Importing {path}") as advance:
                done = advisory_importer(settings(), store).take(path, system_clock(), advance)
            _tell(str(path), done)
        return
    asked = [(origin, Address(origin))] if origin is not None else feeds.chosen(
        names or configured.feeds or feeds.USUAL, configured.addresses, configured.mirror)
    _report(asyncio.run(_update(store, asked)), system_clock())


def _update_from_registry(store: AdvisoryStore, origin: str, keys: Sequence[str], *, unsigned: bool,
                          older: bool) -> None:
    ref = reference.parse(origin.removeprefix(_REGISTRY), "--from")
    with tempfile.TemporaryDirectory(prefix="custody-") as folder:
        with progress(f"Fetching {origin}"):
            pulled, path = asyncio.run(_with_client(partial(advisoryartifact.pull, ref=ref, folder=Path(folder))))
        if store.feed(origin).etag == pulled.digest:
            print(visible(f"{origin}: nothing new"), file=sys.stderr)
            return
        if archive.is_archive(path):
            _import_archive(store, path, keys, unsigned=unsigned, older=older, said=origin)
        elif not unsigned:
            raise UsageError(f"{origin}: is another scanner's database, which nobody signed for custody",
                             hint="--insecure-unsigned takes it, or custody db export a signed file of it")
        else:
            with progress(f"Importing {origin}") as advance:
                done = advisory_importer(settings(), store).take(path, system_clock(), advance, origin)
            _tell(origin, done)
        store.keep(msgspec.structs.replace(store.feed(origin), etag=pulled.digest,
                                           checked=format_rfc3339(system_clock())))


async def _update(store: AdvisoryStore, asked: Sequence[tuple[str, Address]]) -> list[Updated]:
    http = command_http(settings())
    try:
        updater = Updater(http, store, advisory_importer(settings(), store), system_clock, progress,
                          mirror=_configured().mirror)
        updated = []
        for name, address in asked:
            answer = await updater.update(name, address)
            updated.append(answer)
            where = visible(f"{name}: {address.url}" if name != address.url else name)
            if answer.failure:
                print(f"warning: {where}: {visible(answer.failure)}", file=sys.stderr)
            else:
                print(f"{where}: {_said(answer)}", file=sys.stderr)
            for reason in answer.refused[:_SHOWN]:
                print(f"warning: {where}: left out: {visible(reason)}", file=sys.stderr)
            if answer.refusals > _SHOWN:
                print(f"warning: {where}: {answer.refusals - _SHOWN} more records were left out", file=sys.stderr)
        return updated
    finally:
        await http.close()


def _said(answer: Updated) -> str:
    if answer.unchanged:
        return "nothing new"
    records = [f"{amount(answer.added, 'record')} new or changed"] if answer.added or not answer.catalogues else []
    return "; ".join((*records, *map(visible, answer.catalogues)))


def _report(updated: Sequence[Updated], now: datetime) -> None:
    """Raises NetworkError where a feed failed of which nothing is there."""
    failed = [answer for answer in updated if answer.failure]
    for answer in failed:
        if answer.before:
            days = (now - parse_rfc3339(answer.before)).days
            age = f"{days} day{'s' * (days != 1)}" if days else "less than a day"
            print(visible(f"warning: {answer.name}: what is there is {age} old"), file=sys.stderr)
    absent = [answer for answer in failed if not answer.before]
    if absent:
        raise NetworkError(f"{len(absent)} of {len(updated)} addresses could not be read, of which nothing is there: "
                           + visible(absent[0].url),
                           hint="the setting advisories.mirror names a mirror, advisories.feeds what is asked")


def _configured() -> Advisories:
    return settings().advisories or Advisories()
