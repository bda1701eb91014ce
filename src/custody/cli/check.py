"""`custody check`: may this image or pod run? The webhook's answer, before there is a webhook."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import click

from custody.cli.run import settings
from custody.errors import DeniedError, UnsupportedError, UsageError
from custody.evidence.model import facts
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet, read
from custody.policy.model import Decision, Outcome
from custody.services.check import Checked, check, pod_of, resources
from custody.wiring import gatherer, registry_client, service_http

_MARKS = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.WARN: "!", Outcome.SKIP: "-", Outcome.ERROR: "✗"}


@click.command("check")
@click.argument("targets", nargs=-1, required=True, metavar="IMAGE|POD.yaml…")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR", help="Policies; default: custody.toml's.")
@click.option("--namespace", default="default", show_default=True, help="Where resources that name none would go.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--record", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep each decision with its inputs, for `custody replay`.")
def command(targets: tuple[str, ...], policies: tuple[str, ...], namespace: str, output: str,
            folder: Path | None) -> None:
    """Gather the evidence, decide, and say rule by rule why.

    An IMAGE is judged as the only container of a restricted pod. Exit 3 where a rule denies.
    """
    chosen = PolicySet.load(policies or settings().policies)
    if not chosen.policies:
        raise UsageError("check: no policies", hint="--policy FILE, or `policies` in custody.toml")
    asked = [resource for target in targets for resource in _resources(target)]
    found = asyncio.run(_check(asked, chosen, namespace))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for one in found:
            (folder / f"{one.decision.inputs_digest.replace(':', '-')}.json").write_bytes(one.record)
    if output == "json":
        click.echo(json.dumps([to_json(one) for one in found], indent=2))
    else:
        for one in found:
            click.echo("\n".join(lines(one.decision, _name(one))))
    denied = [one for one in found if not one.decision.allowed]
    if denied:
        raise DeniedError(f"{len(denied)} of {len(found)} denied")


async def _check(asked: list[dict[str, Any]], policies: PolicySet, namespace: str) -> list[Checked]:
    http = service_http(settings())
    try:
        source = gatherer(settings(), registry_client(settings(), http))
        return [await check(resource, policies, source, system_clock, namespace) for resource in asked]
    finally:
        await http.close()


def _resources(target: str) -> list[dict[str, Any]]:
    if target == "-" or target.endswith((".yaml", ".yml", ".json")) or Path(target).is_file():
        if target == "-":
            from custody.policy.load import documents

            return resources(documents(sys.stdin.buffer.read(), "standard input"), "standard input")
        return resources(read(Path(target)), target)
    for prefix in ("oci:", "archive:", "dir:", "sbom:"):
        if target.startswith(prefix):
            raise UnsupportedError(target, "evidence is kept in registries, and this target has none",
                                   hint="push the image, then check registry/name@digest")
    return [pod_of(target)]


def lines(decision: Decision, name: str) -> list[str]:
    """The decision for people: a verdict, then a line a rule, the reason below those that did not pass."""
    verdict = "allowed" if decision.allowed else "denied"
    result = [f"{name}: {verdict}  (inputs {decision.inputs_digest})"]
    for one in decision.results:
        audit = "" if one.enforce else " (audit)"
        result.append(f"  {_MARKS[one.outcome]} {one.policy}/{one.rule}{audit}"
                      + (f"  {one.image}" if one.image else ""))
        if one.outcome is not Outcome.PASS:
            result.append(f"      {one.message}")
            if one.remedy and one.outcome is not Outcome.SKIP:
                result.append(f"      try: {one.remedy}")
    return result + [f"  → {change['path']} = {change['value']}" for change in decision.patch]


def to_json(one: Checked) -> dict[str, Any]:
    return {"resource": _name(one), **facts(one.decision),
            "evidence": {image: {"digest": found.subject, "verified": [
                {"kind": item.kind, "predicateType": item.predicate_type, "signer": str(item.signer),
                 "digest": item.evidence, "source": item.source} for item in found.verified],
                "rejected": [facts(item) for item in found.rejected]} for image, found in one.evidence.items()}}


def _name(one: Checked) -> str:
    containers = (one.request.object or {}).get("spec", {}).get("containers", [])
    if one.request.name == "image" and len(containers) == 1:
        return str(containers[0].get("image"))
    return f"{one.request.kind.kind}/{one.request.namespace}/{one.request.name}"

