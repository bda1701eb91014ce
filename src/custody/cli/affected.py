"""`custody affected QUESTION`: which of all images that are kept have it."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from custody.cli import contents
from custody.cli.run import settings
from custody.cli.sign import make_signer
from custody.cli.trust_options import Command, sign_options
from custody.errors import DeniedError, MissingEvidenceError, UsageError
from custody.kit.amount import amount
from custody.kit.clock import parse_rfc3339, system_clock
from custody.kit.visible import visible
from custody.services.affected import Affected, Answer, ask
from custody.services.documents import Format, encode, json_bytes
from custody.services.drafts import PREDICATE_TYPES, Draft, draft
from custody.vulns.question import MarkAsked
from custody.wiring import command_http
from custody.wiring.local import advisories, inventory

_SHOWN = 3
# Of `sha256:` and 64 digits a table shows 12, as other tools do; -o json has them all.
_DIGEST = len("sha256:") + 12


def _table(answer: Answer, _now: datetime) -> bytes:
    if not answer.affected and not answer.undecided:
        return encode(f"none of {amount(answer.images, 'image')}\n")
    rows: list[tuple[str, ...]] = [("IMAGE", "PACKAGE", "VERSION", "WHY", "WHERE", "SIGNED BY", "RUNS IN")]
    rows += [_row(answer, row, "") for row in answer.affected]
    rows += [_row(answer, row, "undecided: ") for row in answer.undecided]
    return encode(contents.columns(rows))


def _row(answer: Answer, row: Affected, before: str) -> tuple[str, ...]:
    image = answer.where[row.image]
    name = f"{image.names[0]}@{row.image[:_DIGEST]}" if image.names else row.image
    place = f"{row.locations[0].layer[:_DIGEST]}:{row.locations[0].path}".strip(":") if row.locations else ""
    more = f" and {len(row.locations) - 1} more" if len(row.locations) > 1 else ""
    fixed = f" (fixed in {', '.join(row.fixed)})" if row.fixed else ""
    return (name, row.package, row.version, before + row.why + fixed, place + more, _signed(image.signers),
            _some(image.pods))


def _signed(names: tuple[str, ...] | None) -> str:
    return "unknown" if names is None else _some(names) or "nobody"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _json(answer: Answer, _now: datetime) -> bytes:
    return msgspec.json.format(answer.to_json(), indent=2) + b"\n"


_FORMATS = {"table": Format(_table), "json": Format(_json)}


_REPORTS: Mapping[str, Format[Draft]] = {"markdown": Format(lambda report, _: encode(report.to_markdown())),
                                         "json": Format(lambda report, _: json_bytes(report.to_json()))}
_SIGNED, _FILE = "bundle", "file:"


@click.command("affected", cls=Command)
@click.argument("question")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table. With "
                   f"--report: {', '.join(_REPORTS)} or {_SIGNED}, which is signed; default: markdown.")
@click.option("--fail", is_flag=True, help="Exit 3 where some image is affected, 4 where only that cannot be decided.")
@click.option("--report", "kind", type=click.Choice(tuple(PREDICATE_TYPES)),
              help="Draft what the law asks for: cra, of the Cyber Resilience Act's Article 14; vdr, of FedRAMP's "
                   "Vulnerability Detection and Response. What nobody knows is left to be filled in.")
@click.option("--aware", metavar="TIME",
              help="With --report: when you became aware of it (RFC 3339), from which the law counts.")
@click.option("--corrected", metavar="TIME", help="With --report cra: when a corrective measure was available.")
@sign_options
def command(question: str, chosen: tuple[str, ...], fail: bool, kind: str | None, aware: str | None,
            corrected: str | None, **options: Any) -> None:
    """Which images have QUESTION, of all that were kept: a package (log4j-core, 'log4j-core@<2.17', pkg:npm/lodash@4),
    a vulnerability (CVE-2021-44228, GHSA-…), a hash (sha256:…), a file by its hashes (file:app.jar) or a licence
    (license:GPL-3.0-only).

    Exit 4 where no image is kept, or no advisory names the vulnerability: that is no "none".
    """
    if kind is None:
        _refuse_unused(aware, corrected, options)
        plan = contents.outputs(chosen, _FORMATS, "table")
        answer = ask(question, inventory(settings()), advisories(settings()), _of_file(question))
        contents.deliver(plan, _FORMATS, answer, system_clock())
    else:
        answer = _report(kind, question, chosen, aware, corrected, options)
    images, unsure = {row.image for row in answer.affected}, {row.image for row in answer.undecided}
    said = f"affects {len(images)} of {amount(answer.images, 'image')}"
    if unsure - images:
        said += f", {len(unsure - images)} cannot be decided"
    print(f"{visible(question)}: {said}; the newest was kept at {answer.newest}", file=sys.stderr)
    if fail and images:
        raise DeniedError(f"{said}, such as {_example(answer, answer.affected[0])}")
    if fail and unsure:
        raise MissingEvidenceError(f"{said}, such as {_example(answer, answer.undecided[0])}")


def _of_file(question: str) -> MarkAsked | None:
    """`file:PATH` asks for the file by each hash that an SBOM may carry of it; None for other questions."""
    if not question.startswith(_FILE):
        return None
    path, marks = Path(question.removeprefix(_FILE)), []
    for algorithm in ("sha256", "sha512", "sha1", "md5"):
        try:
            with path.open("rb") as stream:
                marks.append(f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}")
        except OSError as error:
            raise UsageError(f"{question}: {error.strerror}") from None
    return MarkAsked(marks[0], tuple(marks[1:]))


def _refuse_unused(aware: str | None, corrected: str | None, options: dict[str, Any]) -> None:
    for flag, value in (("aware", aware), ("corrected", corrected),
                        *((name, options[name]) for name in ("key", "identity_token", "oidc_provider"))):
        if value:
            raise UsageError(f"--{flag.replace('_', '-')}: is of a report", hint="--report cra or --report vdr")


def _report(kind: str, question: str, chosen: tuple[str, ...], aware: str | None, corrected: str | None,
            options: dict[str, Any]) -> Answer:
    plan = contents.outputs(chosen, (*_REPORTS, _SIGNED), "markdown")
    times = {flag: parse_rfc3339(text, f"--{flag}") for flag, text in (("aware", aware), ("corrected", corrected))
             if text is not None}
    store, records = inventory(settings()), advisories(settings())
    answer = ask(question, store, records)
    report = draft(kind, answer, records, store, contents.moment(), **times)
    signed = [file for name, file in plan if name == _SIGNED]
    formats = dict(_REPORTS)
    if signed:
        data = asyncio.run(_sign(report, options))
        formats[_SIGNED] = Format(lambda _report, _now: data)
    contents.deliver(plan, formats, report, system_clock())
    return answer


async def _sign(report: Draft, options: dict[str, Any]) -> bytes:
    statement = report.statement()
    http = command_http(settings())
    try:
        signer = await make_signer(http, options)
        data, verified = await signer.sign(statement, report.images[0])
    finally:
        await http.close()
    print(f"{visible(report.vulnerability)}: draft signed by {visible(str(verified.signer))}", file=sys.stderr)
    return data


def _example(answer: Answer, row: Affected) -> str:
    names = answer.where[row.image].names
    return visible(f"{names[0] if names else row.image}: {row.package} {row.version}")
