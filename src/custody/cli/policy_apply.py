"""`custody policy apply`: what policies say of resources, and what they make of them."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from custody.cli import policy_constraints, policy_results
from custody.cli.bars import progress
from custody.cli.run import settings
from custody.errors import CustodyError, UnsupportedError, UsageError
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.simulation import applying, documents, policies, values
from custody.services.simulation.applying import Applied, Inputs
from custody.services.simulation.reporting import Counts, count
from custody.settings import Settings
from custody.wiring import cluster_client, others

_FORMATS = ("yaml", "json", "table", "junit", "markdown", "sarif")
_CLONE = "git clone, then custody policy apply DIR"
_REFUSED = {
    "git_branch": ("-b, --git-branch", _CLONE), "username": ("--username", _CLONE), "password": ("--password", _CLONE),
    "http_payload": ("--http-payload", "policies about HTTP requests are not evaluated by custody yet"),
    "envoy_payload": ("--envoy-payload", "policies about Envoy's requests are not evaluated by custody yet"),
    "concurrent": ("--concurrent", "a cluster's kinds are listed one after the other"),
    "batch_size": ("--batch-size", "a cluster's objects are listed in pages of 500"),
    "continue_on_error": ("--continue-on-error", "a cluster that does not answer ends the command; --continue-on-fail "
                          "goes on after a resource"),
    "show_performance": ("--show-performance", "`time custody policy apply …` does it"),
    "kube_context": ("--context", "kubectl config view --minify --flatten --context NAME writes a file for "
                     "--kubeconfig")}
"""What is refused, and what does it instead."""



def _several(texts: Sequence[str]) -> list[str]:
    return [part for text in texts for part in text.split(",") if part]


def _hours(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    amount, unit = text[:-1], text[-1:]
    scales = {"h": 3600, "m": 60, "s": 1}
    if unit not in scales or not amount.isdigit():
        raise UsageError(f"--generated-exception-ttl: got {text}, expected hours, minutes or seconds, such as 720h")
    return timedelta(seconds=int(amount) * scales[unit])


@click.command("apply")
@click.argument("paths", nargs=-1, metavar="POLICY…")
@click.option("-r", "--resource", "--resources", "resource", multiple=True, metavar="FILE|DIR|-", help="Resources.")
@click.option("--json", "payloads", multiple=True, metavar="FILE", help="JSON or YAML that is no resource.")
@click.option("-c", "--cluster", is_flag=True, help="The resources of the cluster of --kubeconfig.")
@click.option("-n", "--namespace", default="", help="With --cluster, of this namespace alone.")
@click.option("--cluster-wide-resources", "clusterwide", is_flag=True, help="With --cluster, those in no namespace.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="For --cluster.")
@click.option("--target-resource", "--target-resources", "targets", multiple=True, metavar="FILE|DIR",
              help="Objects that policies change beside the one that they are asked about.")
@click.option("--parameter-resource", "parameters", multiple=True, metavar="FILE", help="Parameters of admission "
              "policies.")
@click.option("-e", "--exception", "--exceptions", "exceptions", multiple=True, metavar="FILE", help="Exceptions.")
@click.option("--exceptions-with-resources", "--exceptions-within-resources", "within_resources", is_flag=True,
              help="Exceptions among the resources count.")
@click.option("--exceptions-within-policies", "within_policies", is_flag=True, help="And those among the policies.")
@click.option("-s", "--set", "variables", multiple=True, metavar="NAME=VALUE", help="Variables of policies.")
@click.option("-f", "--values-file", "values_file", metavar="FILE", help="The same from a file: cli.kyverno.io Values.")
@click.option("-u", "--userinfo", "who", metavar="FILE", help="Who asks: cli.kyverno.io UserInfo.")
@click.option("--context-file", metavar="FILE", help="Objects and images that CEL's libraries are told of.")
@click.option("--crd-paths", "--crd-path", "crds", multiple=True, metavar="FILE|DIR", help="CustomResourceDefinitions.")
@click.option("--registry", is_flag=True, help="Ask registries about images.")
@click.option("-p", "--policy-report", "report", is_flag=True, help="stdout gets a report.")
@click.option("--output-format", type=click.Choice(_FORMATS), default="yaml", show_default=True,
              help="Of the report and of exceptions; table, junit, markdown and sarif are of their own.")
@click.option("-t", "--table", is_flag=True, help="stdout gets a table.")
@click.option("--detailed-results", "detailed", is_flag=True, help="With the messages.")
@click.option("--generate-exceptions", "excepting", is_flag=True, help="stdout gets an exception for each failure.")
@click.option("--generated-exception-ttl", "ttl", default="720h", show_default=True, callback=_hours,
              help="How long those are to count.")
@click.option("-o", "--output", "written", metavar="FILE|DIR", help="Changed and made objects go there.")
@click.option("-i", "--stdin", "piped", is_flag=True, help="stdout gets changed objects alone, for kubectl.")
@click.option("--audit-warn", is_flag=True, help="Failures of policies under Audit are warnings.")
@click.option("--warn-exit-code", type=int, default=0, show_default=True, help="Exit code where there are warnings.")
@click.option("--warn-no-pass", is_flag=True, help="That exit code, too, where nothing passes.")
@click.option("--continue-on-fail", "go_on", is_flag=True, help="Go on after a resource that cannot be tried.")
@click.option("--warnings-as-errors", is_flag=True, help="Exit 1 for policies of kinds that Kyverno is to drop.")
@click.option("--remove-color", is_flag=True, help="Accepted; there is none.")
@click.option("--filename", "filenames", multiple=True, metavar="FILE|DIR", help="Gatekeeper's templates, constraints "
              "and objects in one heap, as `gator test` takes them; --output json or yaml is the format then.")
@click.option("--deny-only", is_flag=True, help="With --filename, only violations that deny.")
@click.option("-b", "--git-branch", hidden=True, help="Refused by name.")
@click.option("--username", hidden=True, help="Refused by name.")
@click.option("--password", hidden=True, help="Refused by name.")
@click.option("--http-payload", hidden=True, help="Refused by name.")
@click.option("--envoy-payload", hidden=True, help="Refused by name.")
@click.option("--concurrent", hidden=True, help="Refused by name.")
@click.option("--batch-size", hidden=True, help="Refused by name.")
@click.option("--continue-on-error", hidden=True, help="Refused by name.")
@click.option("--show-performance", is_flag=True, default=None, hidden=True, help="Refused by name.")
@click.option("--context", "kube_context", hidden=True, help="Refused by name.")
def command(paths: tuple[str, ...], **options: Any) -> int:
    """Apply policies to resources, as `kyverno apply`: its flags, texts and exit codes.

    stdout gets what policies say, and objects as they change and make them. Exit 1 where a rule fails or is an error.
    """
    for name, (flag, hint) in _REFUSED.items():
        if options[name] is not None:
            raise UnsupportedError(flag, "not obeyed by custody", hint=hint)
    if options["filenames"]:
        if paths or options["resource"]:
            raise UsageError("--filename takes all documents, and no POLICY or --resource beside")
        with _rarely_collected():
            return policy_constraints.run(options["filenames"], options["written"], deny_only=options["deny_only"])
    if options["deny_only"]:
        raise UsageError("--deny-only: it is of --filename")
    if remote := next((path for path in (*paths, *options["resource"]) if "://" in path), None):
        raise UnsupportedError(remote, "nothing is fetched from git or the web", hint=_CLONE)
    _check(paths, options)
    standard_input = sys.stdin.buffer.read() if "-" in (*paths, *_several(options["resource"])) else None
    with _rarely_collected():
        inputs = _inputs(paths, options, standard_input)
        now = system_clock()
        runs: list[Applied] = []  # asyncio writes out what a coroutine returns when it ends: all of a long run
        asyncio.run(_run(inputs, options, now, runs))
        return _conclude(runs[0], options, now)


def _check(paths: Sequence[str], options: dict[str, Any]) -> None:
    """Raises UsageError, in the Kyverno CLI's words."""
    resource, payloads = options["resource"], options["payloads"]
    if options["values_file"] and options["variables"]:
        raise UsageError("pass the values either using set flag or values_file flag")
    if not paths:
        raise UsageError("require policy")
    if "-" in paths and "-" in _several(resource):
        raise UsageError("a stdin pipe can be used for either policies or resources, not both")
    if resource and payloads:
        raise UsageError("both resource and json files can not be used together, use one or the other")
    if not (resource or payloads or options["cluster"]):
        raise UsageError("resource file(s) or cluster required")
    if options["crds"] and options["kubeconfig"]:
        raise UsageError("crd-paths and kubeconfig flags are mutually exclusive, please use only one of them")
    for flag in ("namespace", "clusterwide"):
        if options[flag] and not options["cluster"]:
            raise UsageError(f"--{'cluster-wide-resources' if flag == 'clusterwide' else flag}: it is of --cluster")
    if options["cluster"] and not options["kubeconfig"] and settings().kubeconfig is None:
        raise UsageError("--cluster: no kubeconfig", hint="--kubeconfig FILE, or `kubeconfig` in custody.toml")


def _inputs(paths: Sequence[str], options: dict[str, Any], standard_input: bytes | None) -> Inputs:
    inputs = Inputs(policies=[], cluster=options["cluster"])
    variables = values.read_set(options["variables"])
    inputs.kinds = applying.definitions([Path(path) for path in _several(options["crds"])], inputs.kinds)
    for path in paths:
        if path == "-" and standard_input is not None:
            inputs.policies += [("standard input", document)
                                for document in documents.parsed(standard_input, "standard input")]
        else:
            inputs.policies += policies.documents(policies.policy_files([Path(path)]))
    inputs.policies, apart = applying.split(inputs.policies)
    inputs.exceptions = apart if options["within_policies"] else []
    inputs.exceptions += policies.documents(Path(path) for path in _several(options["exceptions"]))
    inputs.targets = applying.read_resources(_several(options["targets"]), inputs.kinds)
    inputs.parameters = applying.read_resources(_several(options["parameters"]), inputs.kinds)
    if not options["cluster"]:
        inputs.resources = applying.read_resources(_several(options["resource"]), inputs.kinds, standard_input)
    for path in _several(options["payloads"]):
        inputs.payloads += [document for document in documents.read(Path(path)) if isinstance(document, dict)]
    if options["values_file"]:
        inputs.values = values.read_values(_one_document(options["values_file"]), options["values_file"])
    inputs.values.set = variables
    if options["who"]:
        inputs.who = values.read_who(_one_document(options["who"]), options["who"])
    inputs.context = Path(options["context_file"]) if options["context_file"] else None
    return inputs


def _one_document(path: str) -> Any:
    read = documents.read(Path(path))
    if len(read) != 1:
        raise UsageError(f"{path}: got {len(read)} documents, expected one")
    return read[0]


async def _run(inputs: Inputs, options: dict[str, Any], now: datetime, runs: list[Applied]) -> None:
    """What comes of it goes to `runs`."""
    configured: Settings = settings()
    if options["kubeconfig"]:
        configured = configured.replace(kubeconfig=options["kubeconfig"])
    if options["cluster"]:
        cluster = cluster_client(configured)
        try:
            inputs.kinds = await cluster.kinds()
            applied = applying.load(inputs)
            for resource in applying.listed(applied, inputs.kinds, clusterwide=options["clusterwide"]):
                inputs.resources += (await cluster.list(resource, options["namespace"])).items
        finally:
            await cluster.cluster.close()
        if names := _several(options["resource"]):
            inputs.resources = [resource for resource in inputs.resources if documents.name_of(resource) in names]
            if missing := sorted({*names} - {documents.name_of(resource) for resource in inputs.resources}):
                raise UsageError(f"{missing[0]} not found in cluster")
    applied = applying.load(inputs, within_resources=options["within_resources"])
    if deprecated := [*policies.deprecations(applied.loaded)]:
        for warning in deprecated:
            print(visible(f"Warning: {warning}"), file=sys.stderr)
        if options["warnings_as_errors"]:
            raise CustodyError(f"found {len(deprecated)} deprecation warning(s) and --warnings-as-errors is set")
    if not (options["piped"] or options["report"] or options["excepting"] or policy_results.apart(options)):
        count_of = len(inputs.resources) + len(inputs.payloads)
        excepted = f" with {applied.loaded.exceptions} exception(s)" if applied.loaded.exceptions else ""
        click.echo(f"\nApplying {applied.rules} policy rule(s) to {count_of} resource(s){excepted}...")
    async with others(configured, registry=options["registry"], cluster=options["cluster"]) as beside:
        with progress("applying policies") as tell:
            await applying.apply(applied, inputs, beside, now, go_on=options["go_on"], progress=tell)
    runs.append(applied)


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Resources and what is said of them stay until the end: looking for circles in them takes a sixth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _conclude(applied: Applied, options: dict[str, Any], now: datetime) -> int:
    counts = count(applied.responses, audit_warn=options["audit_warn"])
    counts["error"] += len(applied.refused)
    policy_results.objects(applied, options)
    policy_results.refusals(applied)
    for resource, error in applied.failed:
        print(visible(f"failed to apply policies on resource {applying.named(resource)} ({error.message})"),
              file=sys.stderr)
    policy_results.said(applied, counts, options, now)
    return _exit(counts, options)


def _exit(counts: Counts, options: dict[str, Any]) -> int:
    if counts["fail"]:
        raise CustodyError("exit as there are policy violations")
    if counts["error"]:
        raise CustodyError("exit as there are policy errors")
    if counts["warn"] and options["warn_exit_code"]:
        print(f"exit as warnExitCode is {options['warn_exit_code']}", file=sys.stderr)
        return int(options["warn_exit_code"])
    if not counts["pass"] and options["warn_no_pass"]:
        print("exit as no objects satisfied policy", file=sys.stderr)
        return int(options["warn_exit_code"])
    return 0
