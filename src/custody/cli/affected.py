"""`custody affected QUESTION`: which of all images that are kept have it."""

from __future__ import annotations

import sys
from datetime import datetime

import click
import msgspec

from custody.cli import contents
from custody.cli.run import settings
from custody.errors import DeniedError, MissingEvidenceError
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.affected import Affected, Answer, ask
from custody.services.documents import Format, encode
from custody.wiring.local import advisories, inventory

_SHOWN = 3


def _table(answer: Answer, _now: datetime) -> bytes:
    if not answer.affected and not answer.undecided:
        return encode(f"none of {answer.images} images\n")
    rows: list[tuple[str, ...]] = [("IMAGE", "PACKAGE", "VERSION", "WHY", "WHERE", "RUNS IN")]
    rows += [_row(answer, row, "") for row in answer.affected]
    rows += [_row(answer, row, "undecided: ") for row in answer.undecided]
    return encode(contents.columns(rows))


def _row(answer: Answer, row: Affected, before: str) -> tuple[str, ...]:
    image = answer.where[row.image]
    name = f"{image.names[0]}@{row.image}" if image.names else row.image
    place = f"{row.locations[0].layer[:19]}:{row.locations[0].path}".lstrip(":") if row.locations else ""
    more = f" and {len(row.locations) - 1} more" if len(row.locations) > 1 else ""
    fixed = f" (fixed in {', '.join(row.fixed)})" if row.fixed else ""
    return name, row.package, row.version, before + row.why + fixed, place + more, _some(image.pods)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _json(answer: Answer, _now: datetime) -> bytes:
    return msgspec.json.format(msgspec.json.encode(answer.to_json()), indent=2) + b"\n"


_FORMATS = {"table": Format(_table), "json": Format(_json)}


@click.command("affected")
@click.argument("question")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--fail", is_flag=True, help="Exit 3 where some image is affected, 4 where only that cannot be decided.")
def command(question: str, chosen: tuple[str, ...], fail: bool) -> None:
    """Which images have QUESTION, of all that were kept: a package (log4j-core, 'log4j-core@<2.17', pkg:npm/lodash@4),
    a vulnerability (CVE-2021-44228, GHSA-…), a hash (sha256:…) or a licence (license:GPL-3.0-only).

    Exit 4 where no image is kept, or no advisory names the vulnerability: that is no "none".
    """
    plan = contents.outputs(chosen, _FORMATS, "table")
    answer = ask(question, inventory(settings()), advisories(settings()))
    contents.deliver(plan, _FORMATS, answer, system_clock())
    images, unsure = {row.image for row in answer.affected}, {row.image for row in answer.undecided}
    said = f"{len(images)} of {answer.images} images are affected"
    if unsure - images:
        said += f", of {len(unsure - images)} that cannot be decided"
    print(f"{visible(question)}: {said}; the newest was kept at {answer.newest}", file=sys.stderr)
    if fail and images:
        raise DeniedError(f"{said}, such as {_example(answer, answer.affected[0])}")
    if fail and unsure:
        raise MissingEvidenceError(f"{said}, such as {_example(answer, answer.undecided[0])}")


def _example(answer: Answer, row: Affected) -> str:
    names = answer.where[row.image].names
    return visible(f"{names[0] if names else row.image}: {row.package} {row.version}")
