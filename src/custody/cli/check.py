"""`custody check`: may this image or pod run? The webhook's answer, before there is a webhook."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from custody.cli import asker, kinds
from custody.cli.carried import airgap_key_option, carried_root
from custody.cli.places import stored
from custody.cli.run import settings
from custody.cli.trust_options import signing_key
from custody.errors import DeniedError, MalformedError, NotJudgedError, UnsupportedError, UsageError
from custody.evidence.model import facts
from custody.formats import reference
from custody.formats.reference import is_layout
from custody.kit import destination
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Outcome, RuleResult, Verdict
from custody.policy.phases import Course
from custody.policy.summaries import SUMMARY
from custody.services.check import Checked, check, check_image, check_request, unjudged
from custody.services.manifests import Manifest, Namespaces, from_bytes, from_path
from custody.services.summaries import drafts, write
from custody.settings import Settings
from custody.sign.signer import Signer
from custody.wiring import (
    cluster_lookup,
    command_http,
    gatherer,
    key_lookup,
    provider_lookup,
    registry_client,
    service_http,
)
from custody.wiring.admission import summary_signer, summary_terms

_MARKS = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.WARN: "!", Outcome.SKIP: "-", Outcome.ERROR: "✗"}
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_AT_ONCE = 8
Asked = str | Manifest
"""An image's name, or a resource."""


@click.command("check")
@click.argument("targets", nargs=-1, required=True, metavar="IMAGE|FILE|DIR|-…")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR", help="Policies; default: custody.toml's.")
@click.option("--namespace", default="default", show_default=True,
              help="Where images, and resources that name none, would go.")
@click.option("--allow-unjudged", is_flag=True, help="Exit 0 also for what no rule speaks of, instead of 4.")
@click.option("--background", is_flag=True, help="Judge resources as they lie in a cluster: nobody asks for them, and "
              "nothing is changed.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--record", "folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Keep each decision with its inputs, for `custody replay`.")
@click.option("--summary", "summary_key", metavar="KEY", help="Sign a verification summary (SLSA VSA) of each image "
              "that is allowed, and store it beside the image.")
@airgap_key_option
@asker.options
@kinds.asking
def command(targets: tuple[str, ...], policies: tuple[str, ...], namespace: str, allow_unjudged: bool,
            background: bool, output: str, folder: Path | None, summary_key: str | None,
            airgap_key: str | None, crds: tuple[str, ...], kubeconfig: Path | None, **how: Any) -> None:
    """Gather the evidence, decide, and say rule by rule why.

    Targets are images, files of resources, folders of such files, and - for standard input; Lists are taken apart. An
    image of an OCI layout, oci:DIR, is judged under the name that it was saved under, by the evidence in the folder. Of
    an IMAGE only rules about images speak. With --background no rule speaks that reads who asks, or how, and none of a
    policy with `background: false`. --user, --group, --operation and --old say who asks, and how; without them nobody
    creates what is given.

    Exit 3 where a rule denies. Exit 4 where a resource that runs containers, or everything that was given, was judged
    by no rule: that is not a yes.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise MalformedError("--namespace", got=namespace, expected="lower-case letters, digits and '-', at most 63")
    configured = settings() if kubeconfig is None else settings().replace(kubeconfig=str(kubeconfig))
    root = carried_root([target for target in targets if is_layout(target)], airgap_key, configured.trusted_root)
    configured = configured.replace(trusted_root=root)
    chosen = kinds.load(configured, policies, crds, kubeconfig)
    if not chosen.policies:
        raise UsageError("check: no policies", hint="--policy FILE, or `policies` in custody.toml")
    if folder is not None:
        destination.make_folder(folder, "--record")  # said before the work, not after it
    asked = [subject for target in targets for subject in _targets(target)]
    if background and (image := next((target for target in asked if isinstance(target, str)), None)) is not None:
        raise UsageError(f"--background: got the image {image}, expected resources, which lie in a cluster")
    if background and asker.said(how):
        raise UsageError("--background: got who asks or how, expected neither: nobody asks for what lies in a cluster")
    signer = None if summary_key is None else asyncio.run(_summarizer(summary_key, configured))
    checked = asyncio.run(_check(asked, chosen, namespace, Course.BACKGROUND if background else Course.ADMISSION,
                                 configured, asker.asker(chosen, namespace, **how)))
    if signer is not None:
        asyncio.run(_summarize(checked, signer, configured))
    if folder is not None:
        for decided in checked:
            destination.write(folder / f"{decided.decision.inputs_digest.replace(':', '-')}.json", decided.record,
                              "--record")
    if output == "json":
        click.echo(json.dumps([to_json(decided) for decided in checked], indent=2))
    else:
        for decided in checked:
            click.echo("\n".join(lines(decided.decision, decided.name)))
        if len(checked) > 1:
            click.echo(summary([decided.decision for decided in checked]))
    conclude(checked, chosen, allow_unjudged=allow_unjudged)


async def _check(asked: Sequence[Asked], policies: PolicySet, namespace: str, at: Course,
                 configured: Settings, by: asker.Asker) -> list[Checked]:
    http, cluster = service_http(configured), cluster_lookup(configured)
    gate = asyncio.Semaphore(_AT_ONCE)
    try:
        source, summaries = gatherer(configured, registry_client(configured, http)), summary_terms(configured)
        folders = {target: stored(target) for target in asked if isinstance(target, str) and is_layout(target)}
        known = Namespaces((target for target in asked if isinstance(target, Manifest)), cluster, by.labels,
                           provider_lookup(configured, http, key_lookup(configured, http)))

        async def judge(target: Asked) -> Checked:
            async with gate:
                if isinstance(target, str) and target in folders:
                    image = folders[target]
                    return await check_image(str(image.ref), policies, gatherer(configured, image.client, http=http),
                                             system_clock, namespace, known, summaries)
                if isinstance(target, str):
                    return await check_image(target, policies, source, system_clock, namespace, known, summaries)
                if at is Course.BACKGROUND:
                    return await check(target.resource, policies, source, system_clock, namespace, at, known,
                                       summaries)
                request = by.request(target.resource, policies, namespace)
                return await check_request(request, policies, source, system_clock, at, known, summaries)

        return list(await asyncio.gather(*map(judge, asked)))
    finally:
        if cluster is not None:
            await cluster.close()
        await http.close()


async def _summarizer(name: str, configured: Settings) -> Signer:
    """Before the work, not after it: what is missing of the key is said by then."""
    http = command_http(configured)
    try:
        key = await signing_key(name, http, "--summary")
        assert key is not None  # it was named
    finally:
        await http.close()
    return summary_signer(http, key, system_clock)


async def _summarize(checked: Sequence[Checked], signer: Signer, configured: Settings) -> None:
    async with registry_client(configured, signer.http) as client:
        for decided in checked:
            for draft in drafts(decided.judged, configured.summary_verifier):
                digest = await write(draft, signer, client, system_clock)
                print(visible(f"summary of {draft.ref}: {digest}"), file=sys.stderr)


def _targets(target: str) -> Sequence[Asked]:
    if target == "-":
        return from_bytes(sys.stdin.buffer.read(), "standard input")
    path = Path(target)
    if target.endswith((".yaml", ".yml", ".json")) or path.exists():
        manifests = from_path(path)
        for where in manifests.passed_over:
            print(f"warning: {visible(where)}: passed over, it has no kind", file=sys.stderr)
        return manifests.resources
    if is_layout(target):
        return [target]
    for prefix in ("archive:", "dir:", "sbom:"):
        if target.startswith(prefix):
            raise UnsupportedError(target, "evidence is kept in registries and OCI layouts, and this target has none",
                                   hint="push the image, then check registry/name@digest")
    looks_like_path = target.startswith((".", "/", "~")) or target.endswith("/") or "\\" in target
    if looks_like_path or ("/" in target and path.parent.is_dir()):
        raise UsageError(f"{target}: no such file or folder",
                         hint=None if looks_like_path else
                         f"if it is an image, write its registry: {reference.DOCKER_HUB}/{target}")
    try:
        image = reference.parse(target, "target")
    except MalformedError as error:
        raise UsageError(f"{error.message}; and there is no such file") from None
    if not any(mark in target for mark in "/:@"):  # perhaps a folder's name, misspelt
        print(f"warning: {visible(target)}: no such file or folder; judged as the image {image}", file=sys.stderr)
    return [target]


def conclude(checked: Sequence[Checked], policies: PolicySet, *, allow_unjudged: bool) -> None:
    """Raises DeniedError, or NotJudgedError where something that runs, or everything, was not judged."""
    denied = sum(decided.decision.verdict is Verdict.DENIED for decided in checked)
    if denied:
        raise DeniedError(f"{denied} of {len(checked)} denied")
    if allow_unjudged:
        return
    reasons = [(decided.name, reason) for decided in checked
               if (reason := unjudged(decided.request, decided.decision, policies)) is not None]
    if not reasons and all(decided.decision.verdict is Verdict.NOT_JUDGED for decided in checked):
        reasons = [(decided.name, "no rule speaks of it") for decided in checked]
    if reasons:
        name, reason = reasons[0]
        raise NotJudgedError(f"{len(reasons)} of {len(checked)} not judged, such as {visible(name)}: {reason}",
                             hint="add a policy that speaks of it, or --allow-unjudged")


def lines(decision: Decision, name: str) -> list[str]:
    """The decision for people: a verdict, then a line a rule, the reason below those that did not pass."""
    result = [f"{visible(name)}: {decision.verdict}  (inputs {decision.inputs_digest})"]
    for rule in decision.results:
        audit = "" if rule.enforce else " (audit)"
        result.append(f"  {_MARKS[rule.outcome]} {visible(rule.title)}{audit}"
                      + (f"  {visible(rule.image)}" if rule.image else ""))
        if SUMMARY in rule.properties:
            result.append(f"      by a summary of {visible(rule.properties[SUMMARY])}: the evidence cannot be had")
        if rule.outcome is not Outcome.PASS:
            result += [f"      {visible(part)}" for part in rule.message.split("\n")]
            if excused := excuse(rule):
                result.append(f"      {visible(excused)}")
            if rule.remedy and rule.outcome is not Outcome.SKIP:
                result.append(f"      try: {visible(rule.remedy)}")
    if decision.verdict is Verdict.NOT_JUDGED and not decision.results:
        result += [visible(f"  - {rule.title}  {rule.reason}") for rule in decision.silent[:20]]
        if len(decision.silent) > 20:
            result.append(f"  - and {len(decision.silent) - 20} rules more")
    result += [f"  ? {visible(pointer)}  not judged: no rule looked into this pod template; its pods are judged when "
               "they are created" for pointer in decision.unjudged]
    return result + [visible(f"  → {change['path']} = {change['value']}" if "value" in change else
                             f"  → {change['op']} {change['path']}") for change in decision.patch]


def excuse(result: RuleResult) -> str:
    """What exceptions that left a rule out say of themselves: until when, why, by whom."""
    said = result.properties
    if "exceptions" not in said:
        return ""
    why = [f"{key.removeprefix('exception-')} {value}" for key, value in said.items() if key.startswith("exception-")]
    return f"exception {said['exceptions']}: {', '.join(why) or 'without an end, a reason or an approver'}"


def summary(decisions: Sequence[Decision]) -> str:
    """`3 resources: 1 allowed, 1 denied, 1 not judged`."""
    counts = Counter(decision.verdict for decision in decisions)
    return f"{len(decisions)} resources: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)


def to_json(decided: Checked) -> dict[str, Any]:
    """The decision as data; `spoke` are the rules that judged, `skipped` those that did not, each with its reason."""
    decision = decided.decision
    spoke = dict.fromkeys(rule.title for rule in decision.results
                          if rule.outcome is not Outcome.SKIP)
    skipped = [{"policy": rule.policy, "rule": rule.rule, "reason": rule.message} for rule in decision.results
               if rule.outcome is Outcome.SKIP and rule.title not in spoke]
    plain = facts(decision)
    plain.pop("silent")
    plain.pop("asks")
    return {"resource": decided.name, "allowed": decision.verdict is Verdict.ALLOWED, **plain, "spoke": list(spoke),
            "skipped": skipped + [facts(rule) for rule in decision.silent],
            "evidence": {image: {"digest": gathered.subject, "verified": [
                {"kind": item.kind, "predicateType": item.predicate_type, "signer": str(item.signer),
                 "digest": item.evidence, "source": item.source} for item in gathered.verified],
                "rejected": [facts(item) for item in gathered.rejected]} for image, gathered in
                decided.evidence.items()}}
