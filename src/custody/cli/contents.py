"""What commands about contents share: `-o FORMAT[=FILE]`, a target's catalog, what a scan covered."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from custody.cli.bars import progress
from custody.errors import MalformedError, StorageError, UnsupportedError, UsageError
from custody.formats.bom import Catalog, Document
from custody.kit import destination
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.near import near
from custody.kit.visible import inert, visible
from custody.services import contents
from custody.services.documents import SPELLINGS, Format
from custody.settings import Settings

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from custody.vulns.coverage import Coverage

_SWITCH = 0.001  # seconds; Python has 0.005
_PLATFORM = re.compile(r"[a-z0-9]+(/[a-z0-9_]+(/[a-z0-9.]+)?)?")
_NO_FORMATS = {"template": "Go templates are not rendered; -o syft-json has every field by the names that they use",
               "cpes": "-o syft-json has them; packages are matched by name and version, not by CPE"}
"""What syft or Trivy write, and what does here."""
_Said = TypeVar("_Said")
Outputs = list[tuple[str, Path | None]]


def outputs(given: Sequence[str], accepted: Collection[str], default: str,
            shown: Collection[str] | None = None) -> Outputs:
    """`FORMAT` or `FORMAT=FILE`, several times; standard output, which is `-` too, once. `shown` are the names that a
    hint lists.

    Raises UnsupportedError, UsageError.
    """
    chosen: Outputs = []
    for text in given or (default,):
        name, equals, file = text.partition("=")
        if name not in accepted:
            hint = f"custody sbom TARGET -o {name}" if name in SPELLINGS else _NO_FORMATS.get(name)
            raise UnsupportedError(f"-o {name}", "this format is not written", hint=hint or near(
                name, accepted, f"formats: {', '.join(shown or accepted)}"))
        if equals and not file:
            raise UsageError(f"-o {text}: no file after the '='")
        if file == "-":
            equals = ""
        if equals:
            destination.check(file, f"-o {text}:")  # said before the work, not after it
        chosen.append((name, Path(file) if equals else None))
    if sum(file is None for _, file in chosen) > 1:
        raise UsageError("-o: two formats for standard output", hint="give all but one a file: -o FORMAT=FILE")
    files = [os.path.realpath(file) for _, file in chosen if file is not None]
    if twice := next((file for file in files if files.count(file) > 1 and not file.startswith("/dev/")), None):
        raise UsageError(f"-o: two formats for {twice}", hint="one file a format")
    return chosen


def complete(accepted: Collection[str]) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    """What completes `-o`: the formats, then a file behind `=`."""
    def items(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        return [CompletionItem("", "file")] if "=" in incomplete else [CompletionItem(name) for name in accepted]

    return items


def deliver(chosen: Outputs, formats: Mapping[str, Format[_Said]], said: _Said, now: datetime) -> None:
    """Write each format whole to its file, or to standard output; `now` is the time that documents bear."""
    for name, file in chosen:
        body = formats[name].write(said, now)
        if file is None:
            sys.stdout.write(inert(body.decode()))
            sys.stdout.flush()  # before what standard error says of it, where both are one log
            continue
        destination.write(file, body, f"-o {name}")


def moment() -> datetime:
    """Now, or $SOURCE_DATE_EPOCH for documents that must come out the same twice."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return system_clock()
    if not epoch.isdigit() or len(epoch) > 11:
        raise MalformedError("SOURCE_DATE_EPOCH", got=epoch, expected="seconds since 1970")
    return datetime.fromtimestamp(int(epoch), UTC)


def folder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What may be said of a folder, as syft spells it: given to the command as `folders`."""
    import click

    @click.option("--exclude", "exclude", multiple=True, metavar="GLOB",
                  help="Leave out files and folders below a folder: ./GLOB, */GLOB or **/GLOB; repeatable.")
    @click.option("--all-file-systems", is_flag=True, help="Go into other file systems that are mounted in a folder.")
    @functools.wraps(command)
    def wrapped(*arguments: Any, exclude: tuple[str, ...], all_file_systems: bool, **rest: Any) -> Any:
        return command(*arguments, folders=Folders(exclude, all_file_systems), **rest)

    return wrapped


def open_catalog(settings: Settings, target: str, platform: str | None, folders: Folders, *,
                 prove: bool = False) -> Catalog:
    """The catalog of an image, a folder or a file, or of an SBOM (`services.contents.local`)."""
    local = contents.local(target)
    if local is None or local.kind == "sbom":
        folders.refuse()
    if prove and local is not None and local.kind in ("sbom", "file"):
        raise UnsupportedError("--prove", "installed files are compared: those of an image or a folder")
    if local is None:
        if platform is not None and not _PLATFORM.fullmatch(platform):
            raise UsageError(f"--platform: got {platform!r}, expected OS/ARCH[/VARIANT], such as linux/arm64")
        return _catalog_image(settings, target, platform, prove)
    if platform is not None:
        raise UnsupportedError("--platform", f"{local.kind_with_article} is of one platform already")
    if local.kind == "sbom":
        catalog = contents.read_sbom(local.path)
        warn_of_signature(str(local.path), catalog)
        return catalog
    from custody.wiring.local import java_archives

    if local.kind == "file":
        folders.refuse()
        return contents.catalog_one(local.path, java_archives(settings))
    origin = ""
    if local.checkout:
        from custody.wiring.local import git_repository

        with contextlib.closing(git_repository(local.path)) as repository:
            origin = repository.origin()
    catalog, excluded = contents.catalog_folder(local, progress, exclude=folders.exclude, mounted=folders.mounted,
                                                origin=origin, prove=prove, archives=java_archives(settings))
    if folders.exclude:
        print(f"left out by --exclude: {excluded} files and folders", file=sys.stderr)
    return catalog


def warn_of_signature(place: str, catalog: Catalog) -> None:
    """Where an SBOM was in an envelope: nobody looked whether who it names signed it."""
    from custody.formats.sbom import UNVERIFIED

    if catalog.document and catalog.document.format.startswith(UNVERIFIED):
        print(visible(f"warning: {place}: its signature was not checked; `custody verify-attestation` checks those of "
                      "an image"), file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Folders:
    """What was said of a folder."""

    exclude: tuple[str, ...] = ()
    mounted: bool = False

    def refuse(self) -> None:
        """Raises UnsupportedError where the target is none, and something was said."""
        for flag, said in (("--exclude", bool(self.exclude)), ("--all-file-systems", self.mounted)):
            if said:
                raise UnsupportedError(flag, "this is for folders: dir:PATH, git:PATH, rootfs:PATH")


def _catalog_image(settings: Settings, target: str, platform: str | None, prove: bool) -> Catalog:
    from custody.services.stored import is_stored, open_stored
    from custody.wiring.local import java_archives, layer_cache

    # Threads that inflate and hash ask for the interpreter once a chunk: the one that reads entries gives it up sooner.
    sys.setswitchinterval(_SWITCH)
    cache = settings.state() / "cache"
    layers, archives = layer_cache(cache / "layers.db"), java_archives(settings)
    if is_stored(target):
        return contents.catalog_opened(target, open_stored(target, platform), layers, progress, prove=prove,
                                       archives=archives, forks=True)
    import asyncio  # for who asks a registry

    from custody.wiring import registry_client

    async def pulled() -> Catalog:
        async with registry_client(settings) as client:
            return await contents.catalog_image(target, client, cache, layers, progress, platform, prove=prove,
                                                archives=archives)

    return asyncio.run(pulled())


def keep(settings: Settings, catalog: Catalog, target: str) -> None:
    """In the inventory, for `custody affected`; a warning where that fails, since the work itself was done."""
    from custody.ports.inventory import Sighting
    from custody.wiring.local import inventory

    now = system_clock()
    try:
        store = inventory(settings)
        store.keep(catalog, now)
        store.see([Sighting(catalog.digest, "name", target.partition("@")[0], now)])
    except StorageError as error:
        print(visible(f"warning: not kept for `custody affected`: {error.message}"), file=sys.stderr)


def described(catalog: Catalog, authors: tuple[str, ...], source_name: str | None = None,
              source_version: str | None = None, source_supplier: str | None = None) -> Catalog:
    """With what the caller says of the document and its subject."""
    document = catalog.document or Document(phase="" if catalog.kind == "sbom" else "post-build")
    changes: dict[str, Any] = {}
    if authors:
        changes["authors"] = authors
    if source_version is not None:
        changes["version"] = source_version
    if source_supplier is not None:
        changes["supplier"] = source_supplier
    return msgspec.structs.replace(catalog, name=source_name or catalog.name,
                                   document=msgspec.structs.replace(document, **changes))


def title(catalog: Catalog) -> str:
    """The image with its digest, once; a folder or file with its path; an SBOM by the name that it says."""
    if catalog.kind in ("directory", "rootfs", "file"):
        return f"{catalog.kind} {visible(catalog.name)}"
    if catalog.kind == "sbom":
        return f"SBOM of {visible(catalog.name)}"
    return catalog.name if catalog.digest in catalog.name else f"{catalog.name}@{catalog.digest}"


def coverage_lines(coverage: Coverage) -> list[str]:
    """What was matched with what, and a warning for every gap."""
    said = [f"matched: {matched.ecosystem}: {amount(matched.packages, 'package')} with "
            f"{amount(matched.advisories, 'advisory', 'advisories')}"
            for matched in coverage.ecosystems]
    if coverage.distribution:
        said.append("left to the distribution's advisories in what those speak of: "
                    f"{amount(coverage.distribution, 'package')} that came with its packages")
    if coverage.adopted:
        said.append(f"matched in their own ecosystem: {amount(coverage.adopted, 'package')} that came with packages "
                    "that no advisory of the distribution names")
    uncatalogued = [gap for gap in coverage.gaps if gap.kind == "not-catalogued"]
    if uncatalogued:
        said.append("warning: not catalogued: " + ", ".join(f"{gap.what}: {gap.count}" for gap in uncatalogued))
        said += [f"  {gap}" for gap in uncatalogued]
    said += [f"warning: {'undecided' if gap.kind == 'undecided' else 'not scanned'}: {gap}"
             for gap in coverage.gaps if gap.kind != "not-catalogued"]
    return [visible(line) for line in said]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
                   for row in rows)
