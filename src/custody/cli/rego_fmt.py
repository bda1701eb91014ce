"""`custody rego fmt`: modules in one style."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from custody.cli.rego_files import V0
from custody.errors import UsageError
from custody.kit import destination

if TYPE_CHECKING:
    from policylang.rego import SourceError


@click.command("fmt", short_help="Print modules as `opa fmt` would.")
@click.argument("paths", nargs=-1)
@click.option("-l", "--list", "names_only", is_flag=True, help="Print the names of files that would change.")
@click.option("-d", "--diff", is_flag=True, help="Print what would change.")
@click.option("-w", "--write", is_flag=True, help="Change the files.")
@click.option("--fail", is_flag=True, help="Exit 3 where a file would change.")
@V0
def command(paths: tuple[str, ...], names_only: bool, diff: bool, write: bool, fail: bool, v0_compatible: bool) -> int:
    """Print modules as `opa fmt` would: of files and folders, without any or for - of stdin.

    Exit code 2 where one is none.
    """
    from policylang.rego import SourceError
    from policylang.rego.syntax.format import formatted
    from policylang.source import read_source

    version = 0 if v0_compatible else 1
    changed = False
    refused: list[SourceError] = []
    for path in _files(paths) if paths else [None]:
        name = "stdin" if path is None else str(path)
        try:
            source = read_source(sys.stdin.buffer.read() if path is None else _bytes(path), name, limit=1 << 23)
            text = formatted(source, version)
        except SourceError as wrong:
            refused.append(wrong)
            continue
        different = text != source.text
        changed |= different
        if names_only and different:
            click.echo(name)
        if diff and different:
            click.echo("".join(difflib.unified_diff(source.text.splitlines(True), text.splitlines(True), name,
                                                    f"{name} (formatted)")), nl=False)
        if write and different and path is not None:
            destination.write(path, text.encode(), "--write")
        if not (names_only or diff or write):
            click.echo(text, nl=False)
    return _refused(refused) if refused else 3 if fail and changed else 0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise UsageError(f"{path}: {wrong.strerror}") from None


def _files(paths: tuple[str, ...]) -> list[Path | None]:
    """None is stdin."""
    files: list[Path | None] = []
    for name in paths:
        if name == "-":
            files.append(None)
            continue
        path = Path(name)
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder")
        files += sorted(path.rglob("*.rego")) if path.is_dir() else [path]
    return files


def _refused(refused: list[SourceError]) -> int:
    for error in refused:
        click.echo(error.pointed(), err=True)
    return 2
