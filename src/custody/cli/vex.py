"""`custody vex`: write, check and join statements on vulnerabilities."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from custody import __version__
from custody.cli import contents, publishing, waiving
from custody.cli.publishing import Publishing
from custody.cli.run import settings
from custody.errors import DeniedError, UsageError
from custody.formats import vex
from custody.formats.vex import csafwriter, openvex
from custody.formats.vex.statement import JUSTIFICATIONS, STATUSES, Product, Statement
from custody.kit import destination
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, parse_rfc3339, system_clock
from custody.kit.visible import visible
from custody.services import statements
from custody.services.documents import json_bytes
from custody.vulns.report import scan
from custody.vulns.vex.product import parsed
from custody.vulns.vex.settlement import settled
from custody.wiring.local import advisories

_TOOLING = f"custody {__version__}"


@dataclass(frozen=True, slots=True)
class _Written:
    """How statements are written, and who says so."""

    form: str
    publishing: Publishing
    output: str | None

    def check(self) -> None:
        self.publishing.check(f"--format {self.form}", csaf=self.form == "csaf")

    def write(self, stated: list[Statement]) -> None:
        now = contents.moment()
        if self.form == "csaf":
            stated, outdated = settled(stated)
            if outdated:
                print(f"left out: {outdated} that a newer statement on the same product takes back", file=sys.stderr)
            document = csafwriter.write(stated, now=now, tool_version=__version__,
                                        publisher=self.publishing.publisher())
        else:
            document = openvex.write(stated, author=self.publishing.author, now=now, tooling=_TOOLING)
        body = json_bytes(document)
        if self.output is None:
            print(body.decode(), end="")
        else:
            destination.write(Path(self.output), body, "-o")


def _written(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say how it is written, for a command that takes them as `written`."""
    @publishing.options("--format csaf")
    @functools.wraps(function)
    def run(form: str, publishing: Publishing, output: str | None, **rest: Any) -> None:
        written = _Written(form, publishing, output)
        written.check()
        function(written=written, **rest)

    for option in reversed((
            click.option("--format", "form", type=click.Choice(["openvex", "csaf"]), default="openvex",
                         show_default=True, help="OpenVEX 0.2.0, or CSAF 2.0 (profile VEX)."),
            click.option("-o", "--output", "--file", metavar="FILE", help="Where to; default: standard output."))):
        run = option(run)
    return run


@click.group("vex")
def command() -> None:
    """What is known of vulnerabilities in a product: OpenVEX and CSAF out; OpenVEX, CycloneDX and CSAF in."""


@command.command("create")
@click.option("--product", "-p", "products", multiple=True, required=True, metavar="PURL|DIGEST",
              help="The image (pkg:oci/NAME@sha256:…?repository_url=…, or sha256:…) or package; repeatable.")
@click.option("--subcomponent", "--subcomponents", "components", multiple=True, metavar="PURL",
              help="Only this package in the product; repeatable.")
@click.option("--vulnerability", "--vuln", "-v", required=True, metavar="CVE", help="Its identifier.")
@click.option("--alias", "aliases", multiple=True, metavar="ID", help="Another name of it; repeatable.")
@click.option("--status", "-s", type=click.Choice(STATUSES), required=True, help="What is so.")
@click.option("--justification", "-j", type=click.Choice(JUSTIFICATIONS), help="Why it is not affected.")
@click.option("--impact-statement", metavar="TEXT", help="The same in words.")
@click.option("--action-statement", "-a", metavar="TEXT", help="What to do where it is affected.")
@_written
def create(products: tuple[str, ...], components: tuple[str, ...], vulnerability: str, aliases: tuple[str, ...],
           status: Any, justification: str | None, impact_statement: str | None, action_statement: str | None,
           written: _Written) -> None:
    """One statement as an OpenVEX or CSAF document. It counts where somebody chooses to believe it: sign OpenVEX with
    `custody attest --type openvex --predicate FILE IMAGE`.
    """
    for text in (*products, *components):
        if text.startswith("pkg:") and parsed(text) is None:
            raise UsageError(f"got {text!r}, expected a package URL such as pkg:npm/lodash@4.17.20")
    if status == "not_affected" and not (justification or impact_statement):
        raise UsageError("--status not_affected: no reason",
                         hint=f"--justification {'|'.join(JUSTIFICATIONS)}, or --impact-statement TEXT")
    if status != "not_affected" and justification:
        raise UsageError(f"--justification: this is for --status not_affected, and not {status}")
    if status == "affected" and not action_statement:
        raise UsageError("--status affected: nothing to do about it", hint="--action-statement TEXT")
    parts = tuple((component,) for component in components)
    written.write([Statement(
        vulnerability=vulnerability, aliases=aliases, status=status, justification=justification or "",
        impact=impact_statement or "", action=action_statement or "", time=format_rfc3339(contents.moment()),
        products=tuple(Product(names=(name,), components=parts) for name in products))])


@command.command("merge")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_written
def merge(files: tuple[Path, ...], written: _Written) -> None:
    """All statements of documents of any format as one document, by time; each once.

    What could not be read whole, such as a range of versions, is left out and said on standard error. CSAF has one time
    for a whole document: there only the newest statement on a product stays, and is said anew.
    """
    merged: dict[bytes, Statement] = {}
    for file in files:
        for statement in _read(file).statements:
            if statement.unread:
                print(visible(f"left out: {file} {statement.place}: {statement.unread}"), file=sys.stderr)
                continue
            bare = msgspec.structs.replace(statement, place="")
            merged.setdefault(msgspec.json.encode(bare), bare)
    ordered = sorted(merged.values(), key=lambda statement: (
        parse_rfc3339(statement.time).timestamp() if statement.time else 0.0))
    written.write(ordered)
    print(f"{amount(len(ordered), 'statement')} of {amount(len(files), 'document')}", file=sys.stderr)


@command.command("check")
@click.argument("files", nargs=-1, required=True)
@click.option("--target", metavar="TARGET", help="An image, folder or sbom:FILE, scanned to see what matches.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--fail-on-unused", is_flag=True, help="Exit 3 where a statement matched nothing or does not count.")
@waiving.signer_options
def check(files: tuple[str, ...], target: str | None, platform: str | None, output: str, fail_on_unused: bool,
          words: waiving.Waiving) -> None:
    """What the statements of FILE… come to: which matched findings of the target, which nothing, which do not count."""
    if target is None:
        for file in files:
            document = _read(Path(file))
            print(visible(f"{file}: {document.format}, {amount(len(document.statements), 'statement')}, by "
                          f"{document.author or 'nobody'}, of {document.time or 'no time'}"))
        return
    words = words.with_vex(files)
    words.check(settings())
    catalog = contents.open_catalog(settings(), target, platform, contents.Folders())
    now = system_clock()
    report = scan(catalog, advisories(settings()), now, waivers=words.waivers(settings(), catalog, target))
    if output == "json":
        print(json.dumps(msgspec.to_builtins(report.waivers), indent=2, ensure_ascii=False))
    else:
        rows = [("STATE", "VULNERABILITY", "STATUS", "FINDINGS", "BY", "UNTIL", "WHERE", "WHY")]
        rows += [(use.state, use.id, use.status, str(use.findings), use.by, use.until or "no expiry",
                  f"{use.source} {use.place}".strip(), use.reason) for use in report.waivers]
        print(contents.columns(rows), end="")
    vain = [use for use in report.waivers if use.state in ("unused", "refused", "expired")]
    if fail_on_unused and vain:
        raise DeniedError(visible(f"matching nothing or not counting: {amount(len(vain), 'statement')}, such as "
                                  f"{waiving.describe(vain[0])}"))


def _read(file: Path) -> vex.Document:
    spoken, _ = statements.read_file(file, "", None, system_clock())
    return spoken[0].document
