"""`custody netpol check`: what policies cover, and what they will do that their authors may not mean."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import click

from custody import __version__
from custody.cli import contents, netpol_documents
from custody.cli.bars import progress
from custody.errors import DeniedError
from custody.formats import sarif
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.network.coverage import Row, rows
from custody.network.findings import LEVELS, Finding, findings
from custody.services.documents import Format, encode, json_bytes


class _Report(NamedTuple):
    rows: list[Row]
    findings: list[Finding]


def _table(report: _Report, _now: datetime) -> bytes:
    lines = [("WORKLOAD", "PODS", "INGRESS", "EGRESS", "POLICIES")]
    lines += [(f"{row.namespace}/{row.name}", str(row.pods), row.ingress.value, row.egress.value,
               ", ".join(row.policies) or "none") for row in report.rows]
    said = "".join(visible(f"{finding.level}: {finding.subject}: {finding.message}"
                           + (f" ({finding.where})" if finding.where else "") + f" [{finding.code}]") + "\n"
                   for finding in report.findings)
    return encode(contents.columns(lines) + ("\n" + said if said else ""))


def _json(report: _Report, _now: datetime) -> bytes:
    return json_bytes({
        "workloads": [{"namespace": row.namespace, "name": row.name, "pods": row.pods, "ingress": row.ingress.value,
                       "egress": row.egress.value, "policies": list(row.policies)} for row in report.rows],
        "findings": [finding._asdict() for finding in report.findings]})


def _sarif(report: _Report, _now: datetime) -> bytes:
    return json_bytes(sarif.findings([sarif.Place(finding.code, finding.level, finding.message, finding.subject,
                                                  finding.where) for finding in report.findings],
                                     "custody", __version__))


_FORMATS = {"table": Format(_table), "json": Format(_json), "sarif": Format(_sarif)}


@click.command("check")
@netpol_documents.targets
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--fail-on", type=click.Choice(LEVELS), help="Exit 3 where there is a finding of this level or above.")
def command(targets: tuple[str, ...], kubeconfig: Path | None, chosen: tuple[str, ...], fail_on: str | None) -> None:
    """What policies cover, workload by workload, and what they will do that their authors may not mean.

    A workload is `open` where no policy isolates it, `isolated` where rules let something pass, `closed` where none
    does.
    """
    plan = contents.outputs(chosen, _FORMATS, "table")
    engine = netpol_documents.engine(netpol_documents.load(targets, kubeconfig))
    with progress("Judging"):
        report = _Report(rows(engine), findings(engine))
    contents.deliver(plan, _FORMATS, report, system_clock())
    counts = {level: sum(finding.level == level for finding in report.findings) for level in reversed(LEVELS)}
    told = ", ".join(amount(count, level) for level, count in counts.items() if count) or "no findings"
    pods, policies = len(engine.topology.pods), len({policy.identity for policy in engine.policies})
    print(f"{amount(pods, 'pod')}, {amount(policies, 'policy', 'policies')}: {told}", file=sys.stderr)
    if fail_on is not None:
        met = [finding for finding in report.findings if LEVELS.index(finding.level) >= LEVELS.index(fail_on)]
        if met:
            raise DeniedError(f"{amount(len(met), 'finding')} of level {fail_on} or above, first "
                              f"{met[0].subject}: {met[0].message}")
