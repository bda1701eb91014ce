"""`custody rego check`: do modules parse and compile?"""

from __future__ import annotations

import click

from custody.cli.rego_files import V0, load, refused


@click.command("check")
@click.argument("paths", nargs=-1, required=True)
@click.option("-S", "--strict", is_flag=True, help="Also: no unused variables and imports, no shadowing.")
@click.option("-f", "--format", "output", type=click.Choice(["pretty", "json"]), default="pretty", show_default=True,
              help="How errors are printed.")
@V0
def command(paths: tuple[str, ...], strict: bool, output: str, v0_compatible: bool) -> int:
    """Check the modules in files and folders. Exit code 2 where they are not one policy."""
    from policylang.rego import Policy, SourceError
    try:
        Policy(load(paths, modules_only=True).modules, version=0 if v0_compatible else 1, strict=strict)
    except SourceError as wrong:
        return refused(wrong, output)
    return 0
