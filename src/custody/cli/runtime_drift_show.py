"""`custody runtime drift`: the containers of a cluster beside the records of admission."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from custody.admission.exemption import Exemption
from custody.cli import contents, kinds
from custody.cli.bars import progress
from custody.cli.run import settings
from custody.errors import CustodyError, DeniedError, MissingEvidenceError, NotJudgedError, UsageError
from custody.formats import reference
from custody.formats.containers import Running, of_runtime, pods_of
from custody.kit import strictjson
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.admissions import Admissions
from custody.services.restarting import Restart, restarted
from custody.services.runningfindings import Wrong, running_findings
from custody.services.runtimedrift import Report, State, drifted, reconcile
from custody.settings import Settings
from custody.wiring import cluster_client, cluster_lookup, gatherer, registry_client, service_http
from custody.wiring.admission import summary_terms
from custody.wiring.local import decisions, inventory

if TYPE_CHECKING:
    from custody.services.runtimedrift import Meaning

_LARGEST = 512 << 20
_SHOWN = 19


@click.command("show")
@click.option("--pods", "files", multiple=True, metavar="FILE|-",
              help="`kubectl get pods -A -o json`, in place of asking the API server; repeatable.")
@click.option("--runtime", "runtimes", multiple=True, metavar="FILE",
              help="`crictl ps -o json` of a node: containers that no pod of the API server has; repeatable.")
@click.option("--tags", is_flag=True, help="Ask registries whether tags still mean what runs.")
@click.option("--restart", is_flag=True,
              help="Judge each workload as if its pods were created now: which would be denied, by which rule.")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR", help="With --restart: by these policies; "
              "default: custody.toml's.")
@click.option("--vulnerabilities", is_flag=True, help="What is wrong with the images that run, and what of it appeared "
              "since they were let in; by the inventory that `custody watch` keeps.")
@click.option("--all", "everything", is_flag=True, help="Show also what matches, or would be allowed.")
@click.option("-o", "--output", "chosen", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets; json is one document.")
@partial(kinds.options, help_text="The API server that is asked which pods run; with --restart also which kinds it "
         "serves, and what policies ask of a cluster. Default: custody.toml's, or that of the pod this runs in.")
def command(files: tuple[str, ...], runtimes: tuple[str, ...], tags: bool, restart: bool, policies: tuple[str, ...],
            vulnerabilities: bool, everything: bool, chosen: str, crds: tuple[str, ...],
            kubeconfig: Path | None) -> None:
    """Each container of a cluster beside the records of admission that this data directory keeps: matched, tag moved,
    another digest, denied, no record (and why, as far as that can be told), or unknown.

    Exit 3 where something drifted, or would be denied; 4 where something was not judged.
    """
    configured = settings() if kubeconfig is None else settings().replace(kubeconfig=str(kubeconfig))
    if restart and (tags or runtimes):
        raise UsageError("--restart: is about pods that would be created; --tags and --runtime about those that run")
    if not restart and (policies or crds):
        raise UsageError("--policy, --crd: are of --restart")
    listed = [container for file in runtimes for container in of_runtime(_json(file, "--runtime"), f"--runtime {file}")]
    pods = [pod for file in files for pod in _pods(file)] if files else asyncio.run(_asked(configured))
    exemption = Exemption.of((), (), (), configured.exempt_namespaces)
    with _admissions(configured) as admissions:
        if restart:
            loaded = kinds.load(configured, policies, crds, kubeconfig)
            if not loaded.policies:
                raise UsageError("--restart: no policies", hint="--policy FILE, or `policies` in custody.toml")
            _tell_restarts(asyncio.run(_restarts(configured, pods, loaded, admissions, exemption.names_it)), chosen,
                           everything=everything)
            return
        report = reconcile(pods, admissions, runtime=listed, exempt=exemption.names_it,
                           meaning=_meaning(configured, pods, listed) if tags else None)
    wrong: Sequence[Wrong] = ()
    if vulnerabilities:
        wrong = running_findings(sorted({row.digest for row in report.findings if row.digest}), inventory(configured))
    _tell(report, wrong, chosen, everything=everything)


@contextlib.contextmanager
def _admissions(configured: Settings) -> Iterator[Admissions]:
    """What this data directory knows; without decisions where the webhook keeps none."""
    if not os.path.lexists(configured.data / "decisions.db"):  # what is there and cannot be read is no absence
        yield Admissions(inventory(configured), None)
        return
    with contextlib.closing(decisions(configured)) as kept:
        yield Admissions(inventory(configured), kept)


def _json(file: str, flag: str) -> Any:
    try:
        data = sys.stdin.buffer.read(_LARGEST + 1) if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{flag} {file}: {error.strerror}") from None
    return strictjson.loads(data, f"{flag} {file}", max_size=_LARGEST)


def _pods(file: str) -> list[dict[str, Any]]:
    return pods_of(_json(file, "--pods"), f"--pods {file}")


async def _asked(configured: Settings) -> list[dict[str, Any]]:
    client = cluster_client(configured)
    try:
        kind = await client.resource("v1", "Pod")
        if kind is None:
            raise MissingEvidenceError(f"{client.url}: serves no pods")
        return (await client.list(kind)).items
    finally:
        await client.cluster.close()


def _meaning(configured: Settings, pods: Sequence[dict[str, Any]], listed: Sequence[Running]) -> Meaning:
    """What tags mean now, asked once for each name."""
    from custody.formats.containers import of_pod

    names = {container.image for pod in pods for container in of_pod(pod)} | {container.image for container in listed}

    async def ask() -> dict[str, str]:
        meant: dict[str, str] = {}
        async with registry_client(configured) as client:
            for name in sorted(names - {""}):
                try:
                    ref = reference.parse(name)
                    if ref.digest is None:
                        meant[name] = (await client.resolve(ref)).digest
                except CustodyError as error:
                    reason = f"warning: {name}: what its tag means is not known: {error.message}"
                    print(visible(reason), file=sys.stderr)
        return meant

    return asyncio.run(ask()).get


async def _restarts(configured: Settings, pods: Sequence[dict[str, Any]], policies: Any, admissions: Admissions,
                    exempt: Callable[[str], bool]) -> list[Restart]:
    from custody.services.check import Checked, check
    from custody.services.manifests import Namespaces
    from custody.wiring import key_lookup, provider_lookup

    http, cluster = service_http(configured), cluster_lookup(configured)
    try:
        source, summaries = gatherer(configured, registry_client(configured, http)), summary_terms(configured)
        lookup = Namespaces((), cluster, None, provider_lookup(configured, http, key_lookup(configured, http)))

        async def judge(pod: dict[str, Any], namespace: str) -> Checked:
            return await check(pod, policies, source, system_clock, namespace, lookup=lookup, summaries=summaries)

        with progress("Judging workloads") as advance:
            return await restarted(pods, judge, policies, admissions, exempt, advance)
    finally:
        if cluster is not None:
            await cluster.close()
        await http.close()


def _tell(report: Report, wrong: Sequence[Wrong], chosen: str, *, everything: bool) -> None:
    if chosen == "json":
        document: dict[str, Any] = {"pods": report.pods, "recorded": report.recorded,
                                    "containers": msgspec.to_builtins(report.findings)}
        if wrong:
            document["vulnerabilities"] = msgspec.to_builtins(wrong)
        print(json.dumps(document, indent=2))
    else:
        shown = [row for row in report.findings if everything or row.state is not State.MATCHED]
        if shown:
            sys.stdout.write(contents.columns([("STATE", "NAMESPACE", "POD", "CONTAINER", "DIGEST", "WHY"), *(
                (str(row.state), row.namespace or "-", row.pod or "-", row.container, row.digest[:_SHOWN] or "-",
                 row.reason) for row in shown)]))
        if wrong:
            _tell_wrong(wrong)
    counts = ", ".join(f"{count} {state}" for state, count in report.counts.items() if count)
    print(f"{amount(len(report.findings), 'container')} of {amount(report.pods, 'pod')}: {counts or 'none runs'}",
          file=sys.stderr)
    first = next(drifted(report), None)
    if first is not None:
        number = sum(1 for _ in drifted(report))
        raise DeniedError(visible(f"{amount(number, 'container')} drifted, such as {first.namespace}/{first.pod} "
                                  f"{first.container}: {first.state}: {first.reason}"))
    unknown = [row for row in report.findings if row.state is State.UNKNOWN]
    if unknown:
        raise NotJudgedError(visible(f"{amount(len(unknown), 'container')} not judged, such as {unknown[0].namespace}/"
                                     f"{unknown[0].pod} {unknown[0].container}: {unknown[0].reason}"))


def _tell_wrong(wrong: Sequence[Wrong]) -> None:
    rows = [("IMAGE", "FINDINGS", "LEFT OUT", "SINCE ADMISSION", "EXPLOITED")]
    for image in wrong:
        if not image.kept:
            rows.append((image.digest[:_SHOWN], "not judged: its contents are not kept", "-", "-", "-"))
            continue
        counts = ", ".join(f"{count} {severity}" for severity, count in image.severities.items()) or "none"
        rows.append((image.digest[:_SHOWN], counts, str(image.left_out), _some(image.since), _some(image.exploited)))
    sys.stdout.write(contents.columns(rows))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"


def _tell_restarts(rows: Sequence[Restart], chosen: str, *, everything: bool) -> None:
    if chosen == "json":
        print(json.dumps({"workloads": msgspec.to_builtins(rows)}, indent=2))
    else:
        shown = [row for row in rows if everything or row.outcome != "allowed"]
        if shown:
            heads = ("RESTART", "NAMESPACE", "WORKLOAD", "PODS", "RULE", "WHY", "ALLOWED LAST")
            sys.stdout.write(contents.columns([heads, *(
                (row.outcome, row.namespace, row.workload, str(len(row.pods)), row.rule or "-", row.reason or "-",
                 _last(row)) for row in shown)]))
    counts = Counter(row.outcome for row in rows)
    print(f"{amount(len(rows), 'workload')}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()),
          file=sys.stderr)
    denied = [row for row in rows if row.outcome == "denied"]
    if denied:
        raise DeniedError(visible(f"{amount(len(denied), 'workload')} would be denied on restart, such as "
                                  f"{denied[0].namespace}/{denied[0].workload}: {denied[0].rule}: {denied[0].reason}"))
    unjudged = [row for row in rows if row.outcome == "not judged"]
    if unjudged:
        raise NotJudgedError(visible(f"{amount(len(unjudged), 'workload')} not judged, such as {unjudged[0].namespace}/"
                                     f"{unjudged[0].workload}: {unjudged[0].reason}"))


def _last(row: Restart) -> str:
    if not row.allowed_at:
        return "not known"
    if not row.policies_since:
        return f"{row.allowed_at}, by other policies than these"
    return f"{row.allowed_at}; these policies decide since {row.policies_since}"
