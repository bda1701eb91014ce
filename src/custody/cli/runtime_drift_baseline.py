"""`custody runtime drift baseline`: where images connect to, as it was learned or declared."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click
import msgspec

from custody.cli import contents
from custody.cli.run import settings
from custody.errors import MissingEvidenceError, UsageError
from custody.kit import destination, strictjson
from custody.kit.amount import amount
from custody.kit.members import items, mapping
from custody.kit.visible import visible
from custody.runtime.egress import Baseline, of_json, to_json
from custody.services.baselines import read_all, write
from custody.wiring.drift import drift_store

_LARGEST = 64 << 20
_MOST = 5_000


@click.group("baseline")
def command() -> None:
    """Where the containers of each image connect to: learned while `custody runtime watch` runs, or declared."""


@command.command("show")
@click.argument("digest", required=False)
@click.option("-o", "--output", "chosen", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def show(digest: str | None, chosen: str) -> None:
    """The baselines that are kept, or all of the one of DIGEST (its beginning will do) with what changed since the
    digest before: + what is new, - what was not used again.
    """
    baselines = _chosen(digest)
    if chosen == "json":
        print(json.dumps([{**to_json(baseline), "added": sorted(map(str, baseline.added)),
                           "unused": sorted(map(str, baseline.unused))} for baseline in baselines], indent=2))
    elif digest is None:
        rows = [("IMAGE", "DIGEST", "STATE", "DESTINATIONS", "NEW", "UNUSED")]
        rows += [(baseline.image or "-", baseline.digest[:19], baseline.state,
                  str(len(baseline.destinations | baseline.carried)),
                  str(len(baseline.added)) if baseline.previous else "-",
                  str(len(baseline.unused)) if baseline.previous else "-") for baseline in baselines]
        sys.stdout.write(contents.columns(rows))
    else:
        for baseline in baselines:
            for place in sorted(map(str, baseline.destinations | baseline.carried)):
                new = place in set(map(str, baseline.added)) and baseline.previous
                unused = place in set(map(str, baseline.unused))
                print(visible(f"{'+' if new else '-' if unused else ' '} {place}"))


@command.command("export")
@click.argument("digest", required=False)
@click.option("-o", "--output", "file", metavar="FILE", help="Where to; default: standard output.")
def export(digest: str | None, file: str | None) -> None:
    """Baselines as JSON, to be looked at, changed and imported again."""
    body = json.dumps({"baselines": [to_json(baseline) for baseline in _chosen(digest)]}, indent=2).encode() + b"\n"
    if file is None:
        sys.stdout.write(body.decode())
    else:
        destination.write(Path(file), body, "-o")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--declare", is_flag=True, help="What is imported is all that is allowed: nothing is learned to it.")
def import_(file: Path, declare: bool) -> None:
    """Take the baselines of a file that was exported, each in place of what is kept of its digest. All or nothing."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    document = mapping(strictjson.loads(data, str(file), max_size=_LARGEST), str(file))
    if set(document) != {"baselines"}:
        raise UsageError(f"{file}: got {', '.join(sorted(document)) or 'nothing'}, expected baselines")
    baselines = [of_json(entry, f"{file}.baselines[{place}]")
                 for place, entry in enumerate(items(document, "baselines", str(file), _MOST))]
    if declare:
        for baseline in baselines:
            baseline.state = "declared"
    with closing(drift_store(settings())) as store:
        write(baselines, store)
    print(f"{amount(len(baselines), 'baseline')} imported", file=sys.stderr)


@command.command("forget")
@click.argument("digest")
def forget(digest: str) -> None:
    """Let go of the baseline of DIGEST: the image learns anew."""
    with closing(drift_store(settings())) as store:
        if not store.forget_baseline(digest):
            raise MissingEvidenceError(f"{visible(digest)}: no baseline of such an image is kept")


def _chosen(digest: str | None) -> list[Baseline]:
    with closing(drift_store(settings())) as store:
        kept: Mapping[str, Baseline] = read_all(store)
    chosen = [baseline for baseline in kept.values()
              if digest is None or baseline.digest.startswith(digest) or baseline.digest[7:].startswith(digest)]
    if not chosen:
        raise MissingEvidenceError("no baseline is kept" + (f" of {visible(digest)}" if digest else ""),
                                   hint="custody runtime watch learns them; custody runtime drift baseline import FILE")
    return [msgspec.structs.replace(baseline) for baseline in sorted(chosen, key=lambda row: (row.image, row.since))]
